"""`python -m judges preflight`: calls, tokens, money and hours of a run, and what would stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from judges.client.backends import chains_of, is_priced, resolve
from judges.commands.flags import read_flags, told
from judges.commands.forecast import Forecast, Workload, forecast
from judges.config import JudgeConfig, above


def describe(config: JudgeConfig, total: Forecast) -> str:
    """For people, a line each; with a warning for every budget that would stop the run."""
    lines = [
        f"judge {config.backend}{':' + config.model if config.model else ''}: "
        f"about {total.calls:,} calls, {_short(total.input_tokens)} tokens in, "
        f"{_short(total.output_tokens)} out"
    ]
    members = [member for chain in chains_of(config) for member in chain]
    if unpriced := next((member for member in members if not is_priced(member)), None):
        give = ". Give judge.usd_per_m_in and judge.usd_per_m_out, 0 where it is free"
        lines.append(
            f"  money: unknown, for nobody has said what {unpriced.backend} charges for "
            f"{unpriced.model} there{give if unpriced is config else ''}"
        )
    elif total.usd_at_most:
        lines.append(
            f"  money: about ${total.usd:,.2f}, at most ${total.usd_at_most:,.2f} without retries "
            "if no question or answer is longer than assumed; equal ones in the ledger cost nothing"
        )
    if total.judge_hours >= 0.01:
        lines.append(f"  judge-bound: about {total.judge_hours:.2f} h")
    needs = (
        ("max_calls", config.max_calls, total.calls),
        ("max_tokens", config.max_tokens, total.input_tokens + total.output_tokens),
        ("max_usd", config.max_usd, total.usd),
    )
    lines += [
        f"  the run would stop at once: {backend.key_env} is not set, and backend {backend.name} "
        f"needs it. Type: export {backend.key_env}=..."
        for backend in (resolve(member, keyless=True) for member in members)
        if backend.key_env and not backend.key()
    ]
    lines += [
        f"  judge.{name} is {limit:,}: about {need:,.6g} are needed, so the run will stop early"
        for name, limit, need in needs
        if limit is not None and need is not None and need > limit
    ]
    return "\n".join(lines)


def _short(count: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


@dataclass(frozen=True, kw_only=True)
class PreflightConfig:
    """Calls, tokens, money and judge-bound hours of a run, before it runs."""

    judge: JudgeConfig = field(default_factory=JudgeConfig)
    work: Workload = field(default_factory=Workload)
    reply_s: float | None = None
    """The judge's latency, where you have measured it."""

    def __post_init__(self) -> None:
        above("reply_s", self.reply_s, 0)


def main(args: Sequence[str]) -> int:
    config = read_flags(PreflightConfig, "preflight", args)

    def work() -> int:
        total = forecast(config.judge, config.work, reply_s=config.reply_s)
        print(describe(config.judge, total))
        return 0

    return told(work, kept=lambda: "nothing was asked")

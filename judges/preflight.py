"""What a run will ask of its judge: calls, tokens, money and hours, before it asks anything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from judges.backends import Backend, named, resolve
from judges.config import JudgeConfig
from judges.lineup import ROUNDS, line_up, lineup_prompt
from judges.prompt import Prompt, commitment_prompt, grading_prompt
from judges.rubric import Rubric, load_rubric
from judges.verdict import JudgeRequest

RATIONALE_TOKENS = 60
"""What a short rationale and a tier come to. A judge that thinks aloud writes more."""
ENTRY_TOKENS = 8
"""An entry of a line-up, named in JSON."""
FENCE = "0" * 8
QUESTION = "Which deficiency is the usual cause of this condition in an adult, and why? "
TRUTH = "A lack of this vitamin. "


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much there is to judge."""

    prompts: int = 8
    """Questions in a step."""
    group_size: int = 8
    """Answers to each question."""
    steps: int = 100
    answer_tokens: int = 64
    """A typical answer, reasoning gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float
    usd_at_most: float
    """Where every reply is as long as it may be."""
    judge_hours: float
    """If the run did nothing but wait for its judge."""

    def __add__(self, other: Estimate) -> Estimate:
        """Two judges asked side by side: the slower one is waited for."""
        return Estimate(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=self.usd + other.usd,
            usd_at_most=self.usd_at_most + other.usd_at_most,
            judge_hours=max(self.judge_hours, other.judge_hours),
        )


def estimate(config: JudgeConfig, work: Workload, *, reply_s: float | None = None) -> Estimate:
    """`reply_s` is the judge's latency where it was measured; else the backend's row guesses."""
    rubric = load_rubric(config.rubric)
    judges = [config, *(named(config, entry) for entry in config.panel)]
    parts = [
        _one_judge(judge, resolve(judge, keyless=True), rubric, work, reply_s) for judge in judges
    ]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _one_judge(
    config: JudgeConfig, backend: Backend, rubric: Rubric, work: Workload, reply_s: float | None
) -> Estimate:
    request = JudgeRequest(question=QUESTION, truth=TRUTH, answer="", lang=rubric.lang)
    prompt = grading_prompt(request, rubric, config.grading, defences=config.defences)
    groups = work.prompts * work.steps
    gradings = groups * work.group_size * config.samples
    per_grading = _tokens(prompt) + work.answer_tokens
    per_reply = 1 if config.grading == "labels" else RATIONALE_TOKENS
    longest_reply = 4 if config.grading == "labels" else config.max_reply_tokens
    calls, tokens_in, tokens_out = gradings, gradings * per_grading, gradings * per_reply
    most_out = gradings * longest_reply
    if config.commit_first:
        calls += groups
        tokens_in += groups * _tokens(commitment_prompt(request, rubric))
        tokens_in += gradings * RATIONALE_TOKENS  # the claims, shown with every answer
        tokens_out += groups * RATIONALE_TOKENS
        most_out += groups * config.max_reply_tokens
    if config.lineup:  # as if every answer earned something and passed the first
        lined_up = groups * work.group_size * ROUNDS
        shown = lineup_prompt(request, line_up(request, 0), config.grading, FENCE)
        calls += lined_up
        tokens_in += lined_up * (_tokens(shown) + work.answer_tokens)
        tokens_out += lined_up * (1 if config.grading == "labels" else ENTRY_TOKENS)
        most_out += lined_up * longest_reply
    return Estimate(
        calls=calls,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=backend.bill(tokens_in, tokens_out).usd,
        usd_at_most=backend.bill(tokens_in, most_out).usd,
        judge_hours=_hours(backend, calls, tokens_in + tokens_out, work, reply_s),
    )


def _hours(
    backend: Backend, calls: int, tokens: int, work: Workload, reply_s: float | None
) -> float:
    at_once = min(backend.max_in_flight, max(calls // work.steps, 1))
    seconds = [calls / at_once * (reply_s or backend.reply_s)]
    if backend.rpm:
        seconds.append(calls / backend.rpm * 60)
    if backend.tpm:
        seconds.append(tokens / backend.tpm * 60)
    return max(seconds) / 3600


def _tokens(prompt: Prompt) -> int:
    """About: a Han character is a token, four others are one."""
    text = prompt.system + "".join(turn["content"] for turn in prompt.turns())
    wide = sum(character >= "⺀" for character in text)
    return wide + (len(text) - wide) // 4


def describe(config: JudgeConfig, total: Estimate) -> str:
    """For people, a line each; with a warning for every budget that would stop the run."""
    lines = [
        f"judge {config.backend}{':' + config.model if config.model else ''}: "
        f"about {total.calls:,} calls, {_short(total.input_tokens)} tokens in, "
        f"{_short(total.output_tokens)} out"
    ]
    if total.usd_at_most:
        lines.append(
            f"  money: about ${total.usd:,.2f}, at most ${total.usd_at_most:,.2f} "
            "without retries; equal questions in the ledger cost nothing"
        )
    if total.judge_hours >= 0.01:
        lines.append(f"  judge-bound: about {total.judge_hours:.2f} h")
    needs = (
        ("max_calls", config.max_calls, total.calls),
        ("max_tokens", config.max_tokens, total.input_tokens + total.output_tokens),
        ("max_usd", config.max_usd, total.usd),
    )
    lines += [
        f"  judge.{name} is {limit:,}: about {need:,.6g} are needed, so the run will stop early"
        for name, limit, need in needs
        if limit is not None and need > limit
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


def main(args: Sequence[str]) -> int:
    import tyro

    flat = (tyro.conf.OmitArgPrefixes,)
    config = tyro.cli(PreflightConfig, args=args, prog="python -m judges preflight", config=flat)
    try:
        total = estimate(config.judge, config.work, reply_s=config.reply_s)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe(config.judge, total))
    return 0

"""What a run will ask of its judge: calls, tokens, money and hours, before it asks anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from judges.client.backends import Backend, is_priced, named, resolve
from judges.client.features import Features
from judges.client.wire import Ask, Json, in_its_format
from judges.commands.flags import at_least, read_flags, told
from judges.config import JudgeConfig
from judges.rubric.lineup import DECOYS, ROUNDS, Lineup, lineup_prompt, lineup_schema, wording
from judges.rubric.prompt import Prompt, commitment_prompt, grading_prompt
from judges.rubric.reply import CLAIMS_SCHEMA, verdict_schema
from judges.rubric.rubric import LETTERS, Rubric, load_rubric
from judges.verdict import JudgeRequest

RATIONALE_TOKENS = 60
"""What a short rationale and a tier come to. A judge that thinks aloud writes more."""
ENTRY_TOKENS = 8
"""An entry of a line-up, named in JSON."""
FENCE = "0" * 8


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much there is to judge."""

    prompts: int = 8
    """Questions in a step."""
    group_size: int = 8
    """Answers to each question."""
    steps: int = 100
    heldout: int = 0
    """Held-out questions, answered once before training and once after it."""
    question_tokens: int = 32
    """A typical question with its truth."""
    answer_tokens: int = 64
    """A typical answer, reasoning gone."""

    def __post_init__(self) -> None:
        for name in ("prompts", "group_size", "steps"):
            at_least(name, getattr(self, name), 1)
        for name in ("heldout", "question_tokens", "answer_tokens"):
            at_least(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    """None where nobody has said what one of the judges charges."""
    usd_at_most: float | None
    """Where every prompt and reply is billed at the most that a budget sets aside for it, by the
    dearest of the judges that may answer, with questions and answers of the lengths given."""
    judge_hours: float
    """If the run did nothing but wait for its judge."""

    def __add__(self, other: Estimate) -> Estimate:
        """Two judges asked side by side: the slower one is waited for."""
        return Estimate(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=_sum(self.usd, other.usd),
            usd_at_most=_sum(self.usd_at_most, other.usd_at_most),
            judge_hours=max(self.judge_hours, other.judge_hours),
        )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of call that a judge is asked."""

    calls: int
    prompt: Prompt
    longest_prompt: Prompt
    schema: Json
    reply_tokens: int
    logprobs: bool


def estimate(config: JudgeConfig, work: Workload, *, reply_s: float | None = None) -> Estimate:
    """`reply_s` is the judge's latency where it was measured; else the backend's row guesses."""
    rubric = load_rubric(config.rubric)
    total, *others = [_one_chain(chain, rubric, work, reply_s) for chain in _chains(config)]
    for other in others:
        total += other
    return total


def _chains(config: JudgeConfig) -> list[list[JudgeConfig]]:
    chains = [[config, *(named(config, entry) for entry in config.fallback)]]
    return chains + [[named(config, entry)] for entry in config.panel]


def _one_chain(
    chain: Sequence[JudgeConfig], rubric: Rubric, work: Workload, reply_s: float | None
) -> Estimate:
    """What its first judge is expected to take, and at most what the dearest of them would."""
    config, backend = chain[0], resolve(chain[0], keyless=True)
    kinds = _kinds(config, rubric, work, rubric.lang)
    calls = sum(kind.calls for kind in kinds)
    tokens_in = sum(kind.calls * _tokens(kind.prompt) for kind in kinds)
    tokens_out = sum(kind.calls * kind.reply_tokens for kind in kinds)
    return Estimate(
        calls=calls,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=backend.bill(tokens_in, tokens_out).usd if is_priced(config) else None,
        usd_at_most=max(
            _usd_at_most(link, rubric, work, lang)
            for link in chain
            for lang in (rubric.lang, *rubric.siblings)
        )
        if all(map(is_priced, chain))
        else None,
        judge_hours=_hours(backend, calls, tokens_in + tokens_out, work, reply_s),
    )


def _kinds(config: JudgeConfig, rubric: Rubric, work: Workload, lang: str) -> list[Kind]:
    """As if every answer earned something, so that it is lined up."""
    request = _request(lang, work)
    logprobs = config.grading == "labels"
    answers = work.prompts * work.steps * work.group_size + 2 * work.heldout

    def grading(claims_tokens: int) -> Prompt:
        claims = _filler("look", lang, claims_tokens) if config.commit_first else ""
        return grading_prompt(
            request, rubric, config.grading, defences=config.defences, claims=claims
        )

    kinds = [
        Kind(
            calls=answers * config.samples,
            prompt=grading(RATIONALE_TOKENS),
            longest_prompt=grading(config.max_reply_tokens),
            schema=verdict_schema(rubric),
            reply_tokens=1 if logprobs else RATIONALE_TOKENS,
            logprobs=logprobs,
        )
    ]
    if config.commit_first:
        prompt = commitment_prompt(request, rubric)
        kinds.append(
            Kind(
                calls=work.prompts * work.steps + work.heldout,
                prompt=prompt,
                longest_prompt=prompt,
                schema=CLAIMS_SCHEMA,
                reply_tokens=RATIONALE_TOKENS,
                logprobs=False,
            )
        )
    if config.lineup:
        lineup = _longest_lineup(request)
        prompt = lineup_prompt(request, lineup, config.grading, FENCE)
        # a sample may come too late to share another's line-up, unless a ledger holds it
        of_an_answer = ROUNDS * (1 if config.ledger else config.samples)
        kinds.append(
            Kind(
                calls=answers * of_an_answer,
                prompt=prompt,
                longest_prompt=prompt,
                schema=lineup_schema(lineup),
                reply_tokens=1 if logprobs else ENTRY_TOKENS,
                logprobs=logprobs,
            )
        )
    return kinds


def _request(lang: str, work: Workload) -> JudgeRequest:
    truth_tokens = work.question_tokens // 4
    return JudgeRequest(
        question=_filler("asks", lang, work.question_tokens - truth_tokens),
        truth=_filler("true", lang, truth_tokens),
        answer=_filler("says", lang, work.answer_tokens),
        lang=lang,
    )


def _filler(word: str, lang: str, tokens: int) -> str:
    return ("字" if lang == "zh" else word) * tokens


def _longest_lineup(request: JudgeRequest) -> Lineup:
    words = wording()
    decoys = sorted(words.decoys_in(request.lang), key=len)
    entries = (request.truth, *decoys[-DECOYS:], words.none)
    return Lineup(entries=entries, letters=LETTERS[: len(entries)], truth=LETTERS[0])


def _usd_at_most(config: JudgeConfig, rubric: Rubric, work: Workload, lang: str) -> float:
    """What the budget would set aside for it all, so that so much money is enough."""
    request = _request(lang, work)
    backend = resolve(config, keyless=True)
    usd = 0.0
    for kind in _kinds(config, rubric, work, lang):
        longest = kind.longest_prompt
        ask = Ask(
            key="",
            request=request,
            prompt=lambda _, longest=longest: longest,
            schema=kind.schema,
            temperature=config.sampling_temperature,
            max_tokens=config.max_reply_tokens,
            seed=config.samples if config.samples > 1 else None,
        )
        features = Features(form=backend.form, logprobs=kind.logprobs)
        _, worst = in_its_format(backend, ask, features)
        usd += kind.calls * worst.usd
    return usd


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
    members = [member for chain in _chains(config) for member in chain]
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
        if self.reply_s is not None and not self.reply_s > 0:
            raise ValueError(f"reply_s is {self.reply_s}: it must be above 0")


def main(args: Sequence[str]) -> int:
    config = read_flags(PreflightConfig, "preflight", args)

    def work() -> int:
        total = estimate(config.judge, config.work, reply_s=config.reply_s)
        print(describe(config.judge, total))
        return 0

    return told(work, kept=lambda: "nothing was asked")

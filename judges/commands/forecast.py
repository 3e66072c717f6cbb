"""What a run will ask of its judge, reckoned from how much there is to judge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from judges.asks import asks_for_a_verdict, claims_ask, entry_ask, worst_of
from judges.client.backends import Backend, chains_of, is_priced, resolve
from judges.client.wire import Ask
from judges.config import JudgeConfig, at_least
from judges.fit.profile import in_its_way
from judges.rubric.lineup import DECOYS, LETTERS, ROUNDS, Lineup, wording
from judges.rubric.prompt import Prompt
from judges.rubric.rubric import Rubric, load_rubric
from judges.verdict import JudgeRequest

RATIONALE_TOKENS = 60
"""What a short rationale and a tier come to. A judge that thinks aloud writes more."""
ENTRY_TOKENS = 8
"""An entry of a line-up, named in JSON."""
_WIDE = re.compile("[\u2e80-\U0010ffff]")


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
class Forecast:
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

    def __add__(self, other: Forecast) -> Forecast:
        """Two judges asked side by side: the slower one is waited for."""
        return Forecast(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=_sum(self.usd, other.usd),
            usd_at_most=_sum(self.usd_at_most, other.usd_at_most),
            judge_hours=max(self.judge_hours, other.judge_hours),
        )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call that a judge is asked."""

    calls: int
    ask: Ask
    reply_tokens: int


def forecast(config: JudgeConfig, work: Workload, *, reply_s: float | None = None) -> Forecast:
    """`reply_s` is the judge's latency where it was measured; else the backend's row guesses."""
    config, rubric = in_its_way(config), load_rubric(config.rubric)
    total, *others = [_one_chain(chain, rubric, work, reply_s) for chain in chains_of(config)]
    for other in others:
        total += other
    return total


def forecast_of(config: JudgeConfig, asks: Sequence[Ask], reply_tokens: int) -> Forecast:
    """Of asks that are there already, each answered in so many tokens."""
    backend = resolve(config, keyless=True)
    tokens_in = sum(_tokens(ask.prompt("schema")) for ask in asks)
    tokens_out = len(asks) * reply_tokens
    is_known = is_priced(config)
    return Forecast(
        calls=len(asks),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=backend.bill(tokens_in, tokens_out).usd if is_known else None,
        usd_at_most=sum(worst_of(ask, backend, config).usd for ask in asks) if is_known else None,
        judge_hours=_hours(backend, len(asks), tokens_in + tokens_out, Workload(steps=1), None),
    )


def _one_chain(
    chain: Sequence[JudgeConfig], rubric: Rubric, work: Workload, reply_s: float | None
) -> Forecast:
    """What its first judge is expected to take, and at most what the dearest of them would."""
    config, backend = chain[0], resolve(chain[0], keyless=True)
    kinds = _kinds(config, rubric, work, rubric.lang, RATIONALE_TOKENS)
    calls = sum(kind.calls for kind in kinds)
    tokens_in = sum(
        kind.calls * _tokens(kind.ask.prompt("labels" if config.reads_logprobs else "schema"))
        for kind in kinds
    )
    tokens_out = sum(kind.calls * kind.reply_tokens for kind in kinds)
    return Forecast(
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


def _kinds(
    config: JudgeConfig, rubric: Rubric, work: Workload, lang: str, claims_tokens: int
) -> list[Kind]:
    """As if every answer earned something, so that it is lined up, and left no rung unasked."""
    request = _request(lang, work)
    answers = work.prompts * work.steps * work.group_size + 2 * work.heldout
    entry_tokens = 1 if config.reads_logprobs else ENTRY_TOKENS
    says_why = config.rationale and not config.reads_logprobs
    verdict_tokens = RATIONALE_TOKENS if says_why else entry_tokens
    claims = _filler("look", lang, claims_tokens) if config.commit_first else ""
    asks = asks_for_a_verdict(request, rubric, config, claims=claims)
    kinds = [Kind(answers * config.samples, ask, verdict_tokens) for ask in asks]
    if config.commit_first:
        questions = work.prompts * work.steps + work.heldout
        kinds.append(Kind(questions, claims_ask(request, rubric, config), RATIONALE_TOKENS))
    if config.lineup:
        # a sample may come too late to share another's line-up, unless a ledger holds it
        calls = answers * ROUNDS * (1 if config.ledger else config.samples)
        ask = entry_ask(request, _longest_lineup(request), config)
        kinds.append(Kind(calls, ask, entry_tokens))
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
    return Lineup(entries=dict(zip(LETTERS, entries, strict=False)), truth=LETTERS[0])


def _usd_at_most(config: JudgeConfig, rubric: Rubric, work: Workload, lang: str) -> float:
    """What the budget would set aside for it all, so that so much money is enough."""
    backend = resolve(config, keyless=True)
    kinds = _kinds(config, rubric, work, lang, config.max_reply_tokens)
    return sum(kind.calls * worst_of(kind.ask, backend, config).usd for kind in kinds)


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
    wide = len(_WIDE.findall(text))
    return wide + (len(text) - wide) // 4

"""The one reward: split, gate, judge, tier. One sample at a time, as completions finish."""

from dataclasses import dataclass
from typing import Protocol

from judges import JudgeRequest, Verdict
from rewards.config import RewardConfig
from rewards.gates import gate
from rewards.split import Tokenizer, split
from rewards.tiers import Reward, gated_reward, judged_reward


class Judge(Protocol):
    """The part of a judge that is needed here."""

    async def score_one(self, request: JudgeRequest) -> Verdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion and what it should have said."""

    question: str
    truth: str
    prompt_ids: list[int]
    completion_ids: list[int]
    finish_reason: str | None
    aliases: tuple[str, ...] = ()
    lang: str = "en"


class JudgedReward:
    """Await it with a sample, as many at once as there are: the judge limits itself."""

    def __init__(self, judge: Judge, config: RewardConfig, tokenizer: Tokenizer) -> None:
        self._judge = judge
        self._config = config
        self._tokenizer = tokenizer

    async def __call__(self, sample: Sample) -> Reward:
        parts = split(
            sample.prompt_ids,
            sample.completion_ids,
            self._tokenizer,
            sample.finish_reason,
            self._config.family,
        )
        if stopped := gate(parts, sample.lang, self._config):
            return gated_reward(parts, stopped, self._config)
        verdict = await self._judge.score_one(
            JudgeRequest(
                question=sample.question,
                truth=sample.truth,
                answer=parts.answer,
                aliases=sample.aliases,
                lang=sample.lang,
            )
        )
        return judged_reward(parts, verdict)

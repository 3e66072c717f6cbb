"""A policy's own answers to questions, held against the truth and, where there is one, judged."""

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import chain
from statistics import fmean
from typing import Any

from judges import JudgeConfig, make_judge
from judges.rubric.rubric import load_rubric
from rewards.config import RewardConfig
from rl.config import DataConfig
from rl.data.rows import Prompt, Row, to_prompts
from rl.data.words import words
from rl.evaluate.engines import EngineOf, engine_of
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate, Metric, Score, mean_of
from rl.evaluate.text.asking import asked, judged_by, split_alone
from rl.evaluate.text.figures import exact_match, in_language, repetition, rouge_l, token_f1
from rl.evaluate.text.judging import facts_of_judge, refuse_faults
from rl.policy.load import Policy
from rl.policy.thinking import check_thinking
from rl.refusal import Refusal
from rl.rollout.engine import Sampling
from rl.rollout.stream import Rollout

AT_ONCE = 32
"""Answers between two writings down: so many a killed run may lose."""
ENOUGH = 8
"""Fewer answers than this may be the same by chance."""
OF_TEXT = (
    Metric(name="token F1", better="higher", of=mean_of("f1"), is_share=True),
    Metric(name="exact match", better="higher", of=mean_of("exact"), is_share=True),
    Metric(name="ROUGE-L", better="higher", of=mean_of("rouge_l"), is_share=True),
    Metric(name="words", better=None, of=mean_of("words")),
    Metric(name="tokens", better=None, of=mean_of("tokens")),
    Metric(name="cut off", better="lower", of=mean_of("cut_off"), is_share=True),
    Metric(name="repetition", better="lower", of=mean_of("repetition"), is_share=True),
    Metric(
        name="in the question's language", better="higher", of=mean_of("language"), is_share=True
    ),
)

Told = tuple[dict[str, float], dict[str, Any]]
"""Of one answer: what it is worth, and what a reader would want to see of it."""


class Answers:
    def __init__(
        self,
        name: str,
        rows: Sequence[Row],
        sampling: Sampling,
        *,
        samples: int = 1,
        most_questions: int | None = None,
        thinking: bool | None = None,
        judge: JudgeConfig | None = None,
        reward: RewardConfig | None = None,
        engine_of: EngineOf = engine_of,
    ) -> None:
        """`samples` answers an item, whose score is their mean. `thinking` is the candidate's own
        where it is not given."""
        self.name = name
        self._of_data = {
            "questions": len(rows),
            "sha": hashlib.sha256(repr(rows).encode()).hexdigest()[:16],
        }
        drawn = random.Random(sampling.seed).sample(rows, len(rows))
        self._rows = drawn[:most_questions]  # so that fewer are some of the same
        self.items = [row.id for row in self._rows]
        self._sampling, self.samples, self._thinking = sampling, samples, thinking
        self._judge, self._reward = judge, reward or RewardConfig()
        self._engine_of = engine_of
        if not rows:
            raise Refusal(f"{name}: no question to ask")
        item, times = Counter(self.items).most_common(1)[0]
        if times > 1:
            raise Refusal(f"{name}: {times} questions are called {item!r}. Give each its own `id`")
        self._tiers = load_rubric(judge.rubric).labels if judge else ()
        self.metrics = (*_of_judge(self._tiers), *OF_TEXT)

    @property
    def texts(self) -> Mapping[str, str]:
        return {row.id: f"{row.question}\n{row.answer}" for row in self._rows}

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            **self._of_data,
            "sampling": asdict(self._sampling) | {"samples": self.samples},
            "thinking": self._thinking,
            "reward": asdict(self._reward),
            "judge": self._judge and facts_of_judge(self._judge),
            "rouge-score": version("rouge-score"),
        }

    def check(self, candidate: Candidate) -> None:
        check_thinking(candidate.tokenizer, self._data(candidate).thinking)
        room = candidate.window - self._sampling.max_new_tokens
        _, too_long = self._prompts(candidate, room)
        if too_long:
            raise Refusal(
                f"{self.name}: {too_long} of {len(self._rows)} questions and an answer of "
                f"{self._sampling.max_new_tokens} tokens do not fit together into the window of "
                f"{candidate.window}. Let answers be shorter, or leave these questions out"
            )

    def score(
        self, policy: Policy | Served, candidate: Candidate, done: Collection[str]
    ) -> Iterator[Score]:
        prompts, _ = self._prompts(candidate, candidate.window)
        questions_at_once = max(1, AT_ONCE // self.samples)
        with ExitStack() as opened:
            background, engine = opened.enter_context(self._engine_of(policy, candidate))
            tokenizer = candidate.tokenizer
            reward, wait = split_alone(tokenizer, self._reward.family), None
            if self._judge:
                judge = opened.enter_context(background.entered(make_judge(self._judge)))
                reward, wait = judged_by(judge, self._reward, tokenizer)
            for start in range(0, len(prompts), questions_at_once):
                # What is drawn depends on what it is drawn together with: all of it again, where
                # some is missing, so that a run that was cut short has the answers of a whole one.
                together = prompts[start : start + questions_at_once]
                if all(prompt.row.id in done for prompt in together):
                    continue
                sampling = replace(self._sampling, seed=self._sampling.seed + start)
                some = [prompt for prompt in together for _ in range(self.samples)]
                rollouts = background.call(asked(engine, reward, tokenizer, some, sampling, wait))
                for prompt in together:
                    if prompt.row.id not in done:
                        own = [rollout for rollout in rollouts if rollout.prompt is prompt]
                        yield _in_one(prompt.row, [self._told(rollout) for rollout in own])

    def hold(self, scores: Sequence[Score]) -> None:
        said = {each["answer"] for score in scores for each in score.shown["answers"]}
        truths = {score.shown["truth"] for score in scores}
        if len(scores) >= ENOUGH and len(said) == 1 < len(truths):
            raise Refusal(
                f"{self.name}: all answers to {len(scores)} questions are the same, "
                f"{said.pop()[:80]!r}. Look at the chat template, the system prompt and the room "
                "for an answer"
            )
        refuse_faults(self.name, scores)

    def control(self, name: str) -> Iterable[Score]:
        """The oracle says the truth."""
        if name != "oracle":
            raise Refusal(f"{self.name} has no control {name!r}. Known: oracle")
        return [
            _in_one(row, [(_values(row, row.answer), {"answer": row.answer})]) for row in self._rows
        ]

    def _data(self, candidate: Candidate) -> DataConfig:
        thinking = candidate.thinking if self._thinking is None else self._thinking
        return DataConfig(system_prompt=candidate.system_prompt, thinking=thinking)

    def _prompts(self, candidate: Candidate, max_tokens: int) -> tuple[list[Prompt], int]:
        return to_prompts(self._rows, candidate.tokenizer, self._data(candidate), max_tokens)

    def _told(self, rollout: Rollout) -> Told:
        row, reward, completion = rollout.prompt.row, rollout.reward, rollout.completion
        values = _values(row, reward.answer) | {
            "tokens": len(completion.token_ids),
            "cut_off": float(completion.finish_reason == "length"),
        }
        shown: dict[str, Any] = {
            "answer": reward.answer,
            "reasoning": reward.reasoning,
            "status": reward.status,
        }
        if self._judge:
            values["judge_fault"] = float(reward.value is None)
            shown |= {"tier": reward.tier, "score": reward.value, "rationale": reward.rationale}
        if reward.value is not None:
            values["judge"] = reward.value
            values |= {f"tier {tier}": float(tier == reward.tier) for tier in self._tiers}
        return values, shown


def _in_one(row: Row, answers: Sequence[Told]) -> Score:
    """Each value is the mean over the answers that have it."""
    found = [values for values, _ in answers]
    return Score(
        item=row.id,
        values={
            name: fmean(values[name] for values in found if name in values)
            for name in dict.fromkeys(chain(*found))
        },
        shown={
            "question": row.question,
            "truth": row.answer,
            "lang": row.lang,
            "answers": [shown for _, shown in answers],
        },
    )


def _of_judge(tiers: Sequence[str]) -> list[Metric]:
    if not tiers:
        return []
    return [
        Metric(name="judge's score", better="higher", of=mean_of("judge")),
        Metric(name="judge's faults", better=None, of=mean_of("judge_fault"), is_share=True),
        *(
            Metric(name=f"tier {tier}", better=None, of=mean_of(f"tier {tier}"), is_share=True)
            for tier in tiers
        ),
    ]


def _values(row: Row, answer: str) -> dict[str, float]:
    accepted = (row.answer, *row.aliases)
    maybe = {
        "repetition": repetition(answer),
        "language": in_language(answer, row.question, row.lang),
    }
    return {
        "f1": token_f1(answer, accepted),
        "exact": exact_match(answer, accepted),
        "rouge_l": rouge_l(answer, accepted),
        "words": len(words(answer)),
        **{name: value for name, value in maybe.items() if value is not None},
    }

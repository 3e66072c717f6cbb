"""The option that a written answer names, once the reasoning before it is taken off."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewards.split import split
from rl.evaluate.choice.describe import Description
from rl.evaluate.choice.guards import refuse_cut, refuse_no_chat, refuse_one_pick
from rl.evaluate.choice.questions import LETTERS, Question
from rl.evaluate.choice.wording import Wording, shown
from rl.evaluate.engines import engine_of
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate, Metric, Score, mean_of
from rl.policy.load import Policy
from rl.policy.thinking import check_thinking
from rl.rollout.engine import Completion, Engine, Sampling

AT_ONCE = 16
"""Questions between two writings down: so many a killed run may lose."""

_LETTER = r"[\s\[(（【\"'“*_$]*(?:\\boxed\{|\\text\{)*([A-Z])(?![A-Za-z])"
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?\(?([A-Z])(?![A-Za-z])")
_ANSWER = re.compile(r"(?i:answer(?:\s+is|\s*:)|答案(?:是|为|选|\s*[:：])|(?<!可)选)" + _LETTER)
_OPTION = re.compile(r"(?i:option|choice|选项)(?i:\s+is|\s*[:：是为])?" + _LETTER)
_ALONE = re.compile(r"\A[\[(（【\"'“*_]*([A-Za-z])[\])）】\"'”*_]*(?:[.:：、．)]|\Z)")


def option_in(answer: str, options: Sequence[str]) -> int | None:
    """Which one it names: by its letter, or by the text of one of them and no other."""
    places = {letter: place for place, letter in enumerate(LETTERS[: len(options)])}
    text = answer.strip()
    for pattern in (_BOXED, _ANSWER, _ALONE):
        named = [letter.upper() for letter in pattern.findall(text) if letter.upper() in places]
        if named:
            return places[named[-1]]
    if len(spoken_of := set(_OPTION.findall(text)) & places.keys()) == 1:
        return places[spoken_of.pop()]
    return _only_text_in(text, options)


def _only_text_in(text: str, options: Sequence[str]) -> int | None:
    """An option whose text stands there; one that is part of another's text gives way to it."""
    said = text.casefold()
    there = [
        place
        for place, option in enumerate(options)
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(option.casefold())}(?![A-Za-z0-9])", said)
    ]
    whole = [
        place
        for place in there
        if not any(
            options[place].casefold() in options[other].casefold()
            for other in there
            if other != place
        )
    ]
    return whole[0] if len(whole) == 1 else None


class ByAnswer:
    metrics = (
        Metric(name="acc", better="higher", of=mean_of("acc"), is_share=True),
        Metric(name="extracted", better="higher", of=mean_of("extracted"), is_share=True),
        Metric(name="cut off", better="lower", of=mean_of("cut_off"), is_share=True),
        Metric(name="tokens", better=None, of=mean_of("tokens")),
    )

    def __init__(
        self,
        description: Description,
        rows: Sequence[Question],
        *,
        few_shot: int,
        seed: int,
        max_new_tokens: int,
    ) -> None:
        self._name = description.name
        self._wording = Wording(description, rows, few_shot=few_shot, seed=seed, by_letter=True)
        self._sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0, seed=seed)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "answered by": "a written answer, greedily",
            "max_new_tokens": self._sampling.max_new_tokens,
            **self._wording.examples,
            "text": self._wording.text,
        }

    def check(self, questions: Sequence[Question], candidate: Candidate) -> None:
        refuse_no_chat(self._name, candidate)
        check_thinking(candidate.tokenizer, candidate.thinking)
        most = self._sampling.max_new_tokens
        refuse_cut(
            self._name,
            {each.item: len(self._prompt(each, candidate)) + most for each in questions},
            candidate.window,
        )

    def scores(
        self, questions: Sequence[Question], policy: Policy | Served, candidate: Candidate
    ) -> Iterator[Score]:
        with engine_of(policy, candidate) as (background, engine):
            for start in range(0, len(questions), AT_ONCE):
                some = questions[start : start + AT_ONCE]
                prompts = [self._prompt(question, candidate) for question in some]
                completions = background.call(_all(engine, prompts, self._sampling))
                for each in completions:
                    yield _score(some[each.prompt], prompts[each.prompt], each, candidate)

    def hold(self, name: str, scores: Sequence[Score]) -> None:
        refuse_one_pick(name, scores)

    def made_up(self, question: Question, pick: int) -> Score:
        values = {"acc": float(pick == question.gold), "extracted": 1.0}
        return Score(item=question.item, values=values, shown=shown(question, pick))

    def _prompt(self, question: Question, candidate: Candidate) -> list[int]:
        prompt = self._wording.prompt(question, candidate)
        return candidate.tokenizer.encode(prompt, add_special_tokens=False)


async def _all(
    engine: Engine, prompts: Sequence[list[int]], sampling: Sampling
) -> list[Completion]:
    return [completion async for completion in engine.stream(prompts, sampling)]


def _score(
    question: Question, prompt: Sequence[int], completion: Completion, candidate: Candidate
) -> Score:
    parts = split(prompt, completion.token_ids, candidate.tokenizer, completion.finish_reason)
    pick = option_in(parts.answer, question.options)
    return Score(
        item=question.item,
        values={
            "acc": float(pick == question.gold),
            "extracted": float(pick is not None),
            "cut_off": float(completion.finish_reason == "length"),
            "tokens": len(completion.token_ids),
        },
        shown=shown(question, pick)
        | {"answer": parts.answer, "reasoning": parts.reasoning, "status": parts.status},
    )

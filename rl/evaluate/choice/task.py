"""Choice questions as tasks: what each is called, asks and keeps to."""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rl.evaluate.choice.answered import ByAnswer
from rl.evaluate.choice.describe import Description, tasks_called
from rl.evaluate.choice.guards import refuse_one_gold
from rl.evaluate.choice.likelihood import ByLikelihood
from rl.evaluate.choice.questions import Question, Questions, read_questions
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate, Metric, Score
from rl.names import did_you_mean
from rl.policy.load import Policy
from rl.refusal import Refusal

WAYS = ("", "chat", "answer")
"""The likeliest option; the same with the question in chat; the option that is written."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    limit: int | None = None
    """So many questions, drawn by the seed; more are the same and others. None is all."""
    few_shot: int = 0
    seed: int = 0
    max_new_tokens: int = 1024
    """Of an answer with its reasoning."""


class Way(Protocol):
    """How a question gets its answer."""

    metrics: Sequence[Metric]

    @property
    def facts(self) -> Mapping[str, Any]: ...
    def check(self, questions: Sequence[Question], candidate: Candidate) -> None: ...
    def scores(
        self, questions: Sequence[Question], policy: Policy | Served, candidate: Candidate
    ) -> Iterator[Score]: ...
    def hold(self, name: str, scores: Sequence[Score]) -> None: ...
    def made_up(self, question: Question, pick: int) -> Score: ...


def choice_tasks(name: str, file: str | None, asking: Asking) -> list["ChoiceTask"]:
    """By a name such as medqa, medqa:chat or medqa:answer. A set has one task, or one for each
    subject; a file stands for the hub's rows of one."""
    called, _, way = name.partition(":")
    if way not in WAYS:
        raise Refusal(f"--tasks {name}: no such way to ask{did_you_mean(way, WAYS[1:])}")
    descriptions = tasks_called(called)
    if file and len(descriptions) > 1:
        names = [description.name for description in descriptions]
        raise Refusal(
            f"--tasks {name}={file}: {called} is {len(names)} tasks and the file has rows of one. "
            f"Name it: {', '.join(names)}"
        )
    return [_task(description, way, file, asking) for description in descriptions]


def _task(description: Description, way: str, file: str | None, asking: Asking) -> "ChoiceTask":
    questions = read_questions(description, file)
    refuse_one_gold(description.name, questions.source, questions.rows)
    rows = questions.rows
    settings: Any = {"few_shot": asking.few_shot, "seed": asking.seed}
    answered: Way
    if way == "answer":
        answered = ByAnswer(description, rows, max_new_tokens=asking.max_new_tokens, **settings)
    else:
        answered = ByLikelihood(description, rows, chat=way == "chat", **settings)
    name = f"{description.name}:{way}" if way else description.name
    return ChoiceTask(name, description, questions, answered, _drawn(rows, asking))


class ChoiceTask:
    def __init__(
        self,
        name: str,
        description: Description,
        questions: Questions,
        way: Way,
        asked: Sequence[Question],
    ) -> None:
        self.name, self.metrics = name, way.metrics
        self._description, self._questions = description, questions
        self._way, self._asked = way, asked
        self.items = [question.item for question in asked]

    @property
    def texts(self) -> Mapping[str, str]:
        return {
            each.item: "\n".join([each.context, each.question, *each.options])
            for each in self._asked
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "source": self._questions.source,
            "sha": self._questions.sha,
            "licence": self._description.licence,
            "questions": len(self._questions.rows),
            "left_out": dict(self._questions.left_out),
            "form": self._description.form,
            **self._way.facts,
        }

    def check(self, candidate: Candidate) -> None:
        self._way.check(self._asked, candidate)

    def score(
        self, policy: Policy | Served, candidate: Candidate, done: Collection[str]
    ) -> Iterator[Score]:
        left = [question for question in self._asked if question.item not in done]
        yield from self._way.scores(left, policy, candidate)

    def hold(self, scores: Sequence[Score]) -> None:
        self._way.hold(self.name, scores)

    def control(self, name: str) -> Iterable[Score]:
        """oracle knows the right option, constant:A always takes that one."""
        kind, _, letter = name.partition(":")
        if name == "oracle":
            return [self._way.made_up(question, question.gold) for question in self._asked]
        letters = {letter for question in self._asked for letter in question.letters}
        if kind != "constant" or letter not in letters:
            known = ["oracle", *(f"constant:{each}" for each in sorted(letters))]
            raise Refusal(f"{self.name} has no control {name!r}{did_you_mean(name, known)}")
        return [self._way.made_up(question, ord(letter) - ord("A")) for question in self._asked]


def _drawn(rows: Sequence[Question], asking: Asking) -> list[Question]:
    if asking.limit is None or asking.limit >= len(rows):
        return list(rows)
    places = list(range(len(rows)))
    random.Random(asking.seed).shuffle(places)
    return [rows[place] for place in sorted(places[: asking.limit])]

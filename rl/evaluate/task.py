"""What a task is to whoever compares policies: items, and what each of them gave a policy."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from rl.evaluate.served import Served
from rl.policy.load import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one item gave one policy."""

    item: str
    """Its name in the task: policies are paired by it."""
    values: Mapping[str, float]
    shown: Mapping[str, Any]
    """What a reader would want to see of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of many scores."""

    name: str
    better: Literal["higher", "lower"] | None
    of: Callable[[Sequence[Score]], float | None]
    """None where there is nothing to count. A Quotient, where it can be: its interval is quick."""
    is_share: bool = False
    """Told in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotient:
    """A sum over another, or over how many there are, so that thousands of draws of the same
    scores are counted at once."""

    above: str
    below: str | None = None
    then: Callable[[Any], Any] | None = None
    """Made of it, be it one number or an array of them: numpy.exp, where losses are summed."""

    def __call__(self, scores: Sequence[Score]) -> float | None:
        parts = [self.parts(score) for score in scores]
        below = math.fsum(part for _, part in parts)
        if not below:
            return None
        quotient = math.fsum(part for part, _ in parts) / below
        return float(self.then(quotient)) if self.then else quotient

    def parts(self, score: Score) -> tuple[float, float]:
        """What it adds above and below: nothing, where it was not measured."""
        if self.above not in score.values:
            return 0.0, 0.0
        return score.values[self.above], score.values[self.below] if self.below else 1.0


def mean_of(value: str) -> Quotient:
    """Of the scores that have it."""
    return Quotient(above=value)


def ratio_of(above: str, below: str, then: Callable[[Any], Any] | None = None) -> Quotient:
    """A sum over another sum: documents count by their length."""
    return Quotient(above=above, below=below, then=then)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who is measured, as far as it is known before its weights are read."""

    tokenizer: Any
    """With its chat template."""
    window: int
    """Longest prompt and completion together, in tokens."""
    system_prompt: str = ""
    """First message of what it is asked in chat, as it was trained; empty for none."""
    is_served: bool = False
    """By a server, whose weights are not here."""
    thinking: bool | None = None
    """Passed to the chat template as enable_thinking; None leaves the template's own default."""


class Measured(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> Sequence[Metric]:
        """The first is the one that a table's reader looks at."""
        ...

    @property
    def items(self) -> Sequence[str]:
        """Known before any policy is loaded."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the record: hash and licence of the data, what was left out and why, versions, and
        each setting that a score depends on: scores under other facts are not gone on with."""
        ...

    def hold(self, scores: Sequence[Score]) -> None:
        """Refuse scores that only look like a measurement. All of a policy's are there."""
        ...


class Task(Measured, Protocol):
    @property
    def texts(self) -> Mapping[str, str]:
        """What is asked, and the truth, by item: training data may have held it."""
        ...

    def check(self, candidate: Candidate) -> None:
        """Refuse what cannot be measured on it."""
        ...

    def score(
        self, policy: Policy | Served, candidate: Candidate, done: Collection[str]
    ) -> Iterator[Score]:
        """Each item that is not done, as soon as it is known, in any order."""
        ...


@runtime_checkable
class OfAnswers(Measured, Protocol):
    """A task that asks a judge of what the columns answered to another task."""

    @property
    def answers_of(self) -> str:
        """The other task's name."""
        ...

    @property
    def is_against_first(self) -> bool:
        """Whether an answer is held against what the first column answered."""
        ...

    def score_answers(
        self, own: Sequence[Score], first: Sequence[Score] | None, done: Collection[str]
    ) -> Iterator[Score]:
        """Each item that is not done. `own` are the other task's scores of the column, `first`
        those of the first column, where this one is held against it."""
        ...


@runtime_checkable
class Controlled(Protocol):
    """A task that knows what would score it: its table can be read against that."""

    def control(self, name: str) -> Iterable[Score]:
        """Of every item, by a column such as `oracle` or `constant:A`. Refusal for others."""
        ...

"""What a task is to whoever compares policies: items, and what each of them gave a policy."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

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
    """None where there is nothing to count."""
    is_share: bool = False
    """Told in per cent."""


def mean_of(value: str) -> Callable[[Sequence[Score]], float | None]:
    """Of the scores that have it."""

    def mean(scores: Sequence[Score]) -> float | None:
        found = [score.values[value] for score in scores if value in score.values]
        return math.fsum(found) / len(found) if found else None

    return mean


def ratio_of(above: str, below: str) -> Callable[[Sequence[Score]], float | None]:
    """A sum over another sum: documents count by their length."""

    def ratio(scores: Sequence[Score]) -> float | None:
        total = math.fsum(score.values[below] for score in scores)
        return math.fsum(score.values[above] for score in scores) / total if total else None

    return ratio


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who is measured, as far as it is known before its weights are read."""

    tokenizer: Any
    """With its chat template."""
    window: int
    """Longest prompt and completion together, in tokens."""
    system_prompt: str = ""
    """First message of what it is asked in chat, as it was trained; empty for none."""
    thinking: bool | None = None
    """Passed to the chat template as enable_thinking; None leaves the template's own default."""


class Task(Protocol):
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

    def check(self, candidate: Candidate) -> None:
        """Refuse what cannot be measured on it."""
        ...

    def score(self, policy: Policy, candidate: Candidate, done: Collection[str]) -> Iterator[Score]:
        """Each item that is not done, as soon as it is known, in any order."""
        ...

    def hold(self, scores: Sequence[Score]) -> None:
        """Refuse scores that only look like a measurement. All of a policy's are there."""
        ...


@runtime_checkable
class Controlled(Protocol):
    """A task that knows what would score it: its table can be read against that."""

    def control(self, name: str) -> Iterable[Score]:
        """Of every item, by a column such as `oracle` or `constant:A`. Refusal for others."""
        ...

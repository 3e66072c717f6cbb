"""What a task is to whoever compares policies: items, and what each of them gave a policy."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
        """Of the record: hash and licence of the data, what was left out and why, versions."""
        ...

    def check(self, tokenizer: Any, window: int) -> None:
        """Refuse what cannot be measured on a policy with this tokenizer and context window."""
        ...

    def score(self, policy: Policy, done: Collection[str]) -> Iterator[Score]:
        """Each item that is not done, as soon as it is known, in any order."""
        ...

    def hold(self, scores: Sequence[Score]) -> None:
        """Refuse scores that only look like a measurement. All of a policy's are there."""
        ...

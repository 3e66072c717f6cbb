"""What a run may spend: reserved at its worst before a call, corrected once the bill is known."""

from dataclasses import dataclass

from judges.verdict import FREE, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent, at most: a call whose bill is unknown counts at its worst."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


class BudgetExceeded(Exception):
    """The next call could go beyond what is allowed, so it was not made."""


class Budget:
    """Calls, tokens and money; None is no limit. `already` is what earlier parts of a run spent."""

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        already: Spent | None = None,
    ) -> None:
        already = already or Spent()
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        self._max_usd = max_usd
        self._calls = already.calls
        self._tokens = already.tokens
        self._usd = already.usd

    def spent(self) -> Spent:
        return Spent(calls=self._calls, tokens=self._tokens, usd=self._usd)

    def reserve(self, worst: Usage) -> None:
        """Take the worst a call can cost, or raise and take nothing."""
        calls = self._calls + 1
        tokens = self._tokens + worst.tokens
        usd = self._usd + worst.usd
        if self._max_calls is not None and calls > self._max_calls:
            raise BudgetExceeded(_message("calls", self._max_calls, self._calls, 1))
        if self._max_tokens is not None and tokens > self._max_tokens:
            need = tokens - self._tokens
            raise BudgetExceeded(_message("tokens", self._max_tokens, self._tokens, need))
        if self._max_usd is not None and usd > self._max_usd:
            raise BudgetExceeded(_message("usd", self._max_usd, self._usd, worst.usd))
        self._calls, self._tokens, self._usd = calls, tokens, usd

    def settle(self, worst: Usage, actual: Usage) -> None:
        """Put the bill in the place of what was reserved for it."""
        self._tokens += actual.tokens
        self._tokens -= worst.tokens
        self._usd += actual.usd - worst.usd

    def unsent(self, worst: Usage) -> None:
        """It never reached anyone: no call, and no money."""
        self.release(worst)
        self._calls -= 1

    def release(self, worst: Usage) -> None:
        """A call that was sent and not billed: it counts as a call and costs nothing."""
        self.settle(worst, FREE)


def _message(name: str, limit: float, spent: float, need: float) -> str:
    return (
        f"judge.max_{name} is {limit:g}: {spent:g} are spent and the next call may need {need:g}. "
        f"Raise --judge.max_{name} to go on; what is in a ledger is not paid for again"
    )

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
        self.spent = already or Spent()
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        self._max_usd = max_usd

    def reserve(self, worst: Usage) -> None:
        """Take the worst a call can cost, or raise and take nothing."""
        spent = self.spent
        for name, limit, taken, need in (
            ("calls", self._max_calls, spent.calls, 1),
            ("tokens", self._max_tokens, spent.tokens, worst.tokens),
            ("usd", self._max_usd, spent.usd, worst.usd),
        ):
            if limit is not None and taken + need > limit:
                raise BudgetExceeded(
                    f"judge.max_{name} is {limit:g}: {taken:g} are spent and the next call may "
                    f"need {need:g}. Raise --judge.max_{name} to go on; what is in a ledger is "
                    "not paid for again"
                )
        self._add(1, worst.tokens, worst.usd)

    def settle(self, worst: Usage, actual: Usage | None) -> None:
        """Put the bill in the place of what was reserved for it; None where it reached nobody."""
        bill = actual or FREE
        self._add(0 if actual else -1, bill.tokens - worst.tokens, bill.usd - worst.usd)

    def _add(self, calls: int, tokens: int, usd: float) -> None:
        was = self.spent
        self.spent = Spent(calls=was.calls + calls, tokens=was.tokens + tokens, usd=was.usd + usd)

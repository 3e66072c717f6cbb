"""What is asked of a judge, written down and paid for: a run has one budget and one ledger."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from judges.client.budget import Budget
from judges.client.ledger import Ledger, Setup
from judges.client.wire import Ask
from judges.verdict import Faulty, Usage


@dataclass(frozen=True, kw_only=True)
class Books:
    """Where it is written down what is asked of a judge, and what it costs."""

    setup: Setup
    budget: Budget
    ledger: Ledger | None = None
    on_bill: Callable[[Usage], None] = lambda bill: None
    """Told of every bill, whether or not a verdict came of it."""


class Attempt:
    """One attempt's money and record.

    The worst it can cost is set aside, and what is asked is on disk, before it leaves. Its bill
    takes the place of the worst, and what became of it is on disk, before anyone is told.
    """

    def __init__(self, books: Books, ask: Ask, worst: Usage) -> None:
        self.ask = ask
        self.worst = worst
        self.is_sent = False
        self.reply: bytes | None = None
        """Kept, once it has been read."""
        self._cost = worst
        self._books = books
        self._id = secrets.token_hex(8)

    def bill(self, cost: Usage) -> None:
        self._cost = cost

    async def __aenter__(self) -> Self:
        books, ask = self._books, self.ask
        books.budget.reserve(self.worst)
        if books.ledger is None:
            return self
        try:
            await books.ledger.asked(
                ask.key, books.setup, ask.request, self.worst, attempt=self._id
            )
        except BaseException as error:
            self._close(error)
            raise
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        on_disk = self._close(error)
        if on_disk is not None and (error is None or isinstance(error, Faulty)):
            await on_disk

    def _close(self, error: BaseException | None) -> asyncio.Future[None] | None:
        budget, ledger, key = self._books.budget, self._books.ledger, self.ask.key
        if self.is_sent:
            budget.settle(self.worst, self._cost)
        else:
            budget.unsent(self.worst)
        if ledger is None:
            return None
        cause = error.cause if isinstance(error, Faulty) else None
        if not self.is_sent:
            return ledger.unsent(key, cause, attempt=self._id)
        if self.reply is None:
            return ledger.fault(key, cause, self._cost, attempt=self._id)
        return ledger.scored(key, self.reply, self._cost, attempt=self._id)

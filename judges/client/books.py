"""What is asked of a judge, written down and paid for: a run has one budget and one ledger."""

import asyncio
import secrets
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
            await books.ledger.asked(ask.key, self._id, books.setup, ask.request, self.worst)
        except BaseException as error:
            self._close(error)
            raise
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        on_disk = self._close(error)
        if on_disk is not None and (error is None or isinstance(error, Faulty)):
            await on_disk

    def _close(self, error: BaseException | None) -> asyncio.Future[None] | None:
        ledger, key = self._books.ledger, self.ask.key
        cost = self._cost if self.is_sent else None
        self._books.budget.settle(self.worst, cost)
        if ledger is None:
            return None
        if self.reply is None:
            cause = error.cause if isinstance(error, Faulty) else None
            return ledger.fault(key, self._id, cause, cost)
        return ledger.scored(key, self._id, self.reply, self._cost)

"""Several things asked at once."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar, cast

T = TypeVar("T")


async def all_to_their_end(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Also where one of them fails: what was asked is paid for, and its answer worth keeping."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[T], outcomes)

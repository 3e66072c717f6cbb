"""How long to wait before asking again."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks for: in milliseconds, in seconds or as a date. None if unreadable."""
    wait_s = _number(headers.get("retry-after-ms"))
    if wait_s is not None:
        return wait_s / 1000.0
    said = headers.get("retry-after")
    wait_s = _number(said)
    if wait_s is not None or said is None:
        return wait_s
    until = _date(said)
    if until is None:
        return None
    # The server's clock may be wrong; then it is wrong in both dates.
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)

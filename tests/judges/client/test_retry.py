"""How long a server asks to wait, in each of the ways servers say it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.client.retry import retry_after_s

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def date(seconds: int) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": date(20), "date": date(0)}, 20.0),
        ({"retry-after": date(-20), "date": date(0)}, 0.0),
        ({"retry-after": "Mon, 04 May 2026 12:00:07", "date": date(0)}, 7.0),
        ({}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, None),
        ({"retry-after": date(20), "date": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, 0.0),
    ],
)
def test_a_wait_is_read_in_milliseconds_seconds_or_as_a_date(headers, wait_s):
    assert retry_after_s(headers) == wait_s


def test_a_date_is_held_against_our_clock_where_the_server_does_not_say_its_own():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wait_s = retry_after_s({"retry-after": soon})
    assert wait_s is not None
    assert 50 < wait_s <= 100


@given(said=st.text(max_size=40), date=st.text(max_size=40))
def test_nonsense_is_no_wait_and_no_error(said, date):
    wait_s = retry_after_s({"retry-after": said, "date": date})
    assert wait_s is None or wait_s >= 0

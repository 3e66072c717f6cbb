"""The ledger, closed properly and killed; what it says was asked is checked with the server."""

import asyncio
import json
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import JudgeRequest
from judges.client.ledger import Ledger, LedgerError, Setup, without_secrets
from judges.verdict import FaultCause, Usage

SETUP = Setup(model="m", url="http://h/v1", rubric="r", template="t", sampling="s")
REQUEST = JudgeRequest(question="Q?", truth="T", answer="A", aliases=("a", "b"))
BILL = Usage(input_tokens=10, output_tokens=5, cached_tokens=2, usd=0.25)


def with_ledger(path, work):
    async def run():
        async with Ledger(path) as ledger:
            ledger.register(SETUP)
            return await work(ledger)

    return asyncio.run(run())


def test_a_scored_reply_is_found_at_once_and_after_reopening(tmp_path):
    key = SETUP.key(REQUEST)

    async def write(ledger):
        assert ledger.find(key) is None
        await ledger.asked(key, key, SETUP, REQUEST)
        assert ledger.find(key) is None
        saving = asyncio.ensure_future(ledger.scored(key, key, b'{"ok": "\xe8\xaf\x8a"}', BILL))
        await asyncio.sleep(0)
        assert ledger.find(key) == b'{"ok": "\xe8\xaf\x8a"}'  # not on disk yet, and known
        await saving
        return ledger.find(key)

    async def read(ledger):
        return ledger.find(key), ledger.spent(), ledger.setups()

    written = with_ledger(tmp_path / "deep" / "ledger.sqlite", write)
    found, spent, setups = with_ledger(tmp_path / "deep" / "ledger.sqlite", read)
    assert found == written
    assert found == b'{"ok": "\xe8\xaf\x8a"}'
    assert (spent.calls, spent.tokens, spent.usd) == (1, 15, 0.25)
    assert setups == [SETUP]


def test_faults_and_filtered_replies_are_kept_but_never_found(tmp_path):
    async def write(ledger):
        for cause in (FaultCause.CONTENT_FILTER, FaultCause.SERVER_ERROR):
            await ledger.asked("k", cause, SETUP, REQUEST)
            await ledger.fault("k", cause, cause, BILL)
        return ledger.find("k"), ledger.spent()

    found, spent = with_ledger(tmp_path / "l.sqlite", write)
    assert found is None
    assert spent.usd == 0.5


def test_what_was_asked_can_be_read_by_anyone_with_sqlite(tmp_path):
    async def write(ledger):
        await ledger.asked(SETUP.key(REQUEST), "1", SETUP, REQUEST)

    with_ledger(tmp_path / "l.sqlite", write)
    rows = sqlite3.connect(tmp_path / "l.sqlite").execute(
        "SELECT request, model FROM events JOIN setups ON setup = id"
    )
    ((request, model),) = rows
    assert JudgeRequest(**json.loads(request) | {"aliases": ("a", "b")}) == REQUEST
    assert model == "m"


WORST = Usage(input_tokens=1000, usd=1.0)


def test_a_key_asked_again_after_its_fault_is_open_again(tmp_path):
    async def write(ledger):
        await ledger.asked("k", "first", SETUP, REQUEST, WORST)
        await ledger.fault("k", "first", FaultCause.RESET)
        await ledger.asked("k", "second", SETUP, REQUEST, WORST)
        return ledger.spent()

    assert with_ledger(tmp_path / "l.sqlite", write).usd == 1.0


WORDS = st.text(max_size=6)
REQUESTS = st.builds(
    JudgeRequest,
    question=WORDS,
    truth=WORDS,
    answer=WORDS,
    aliases=st.lists(WORDS, max_size=2).map(tuple),
    lang=st.sampled_from(["en", "zh"]),
)


@given(one=REQUESTS, other=REQUESTS, samples=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_keys_are_equal_exactly_when_everything_is(one, other, samples):
    same = (one, samples[0]) == (other, samples[1])
    assert (SETUP.key(one, sample=samples[0]) == SETUP.key(other, sample=samples[1])) == same


@pytest.mark.parametrize("field", ["model", "url", "rubric", "template", "sampling"])
def test_whatever_a_reply_depends_on_changes_the_key(field):
    assert replace(SETUP, **{field: "other"}).key(REQUEST) != SETUP.key(REQUEST)


@pytest.mark.parametrize("answer", ["\ud800 half a pair", "a\x00b", "", "诊断" * 5000])
def test_any_answer_can_be_asked_about(tmp_path, answer):
    request = replace(REQUEST, answer=answer)

    async def write(ledger):
        await ledger.asked(SETUP.key(request), "1", SETUP, request)
        await ledger.scored(SETUP.key(request), "1", b"\xff\x00", BILL)
        return ledger.find(SETUP.key(request))

    assert with_ledger(tmp_path / "l.sqlite", write) is not None


def test_a_url_loses_user_query_and_fragment():
    assert without_secrets("https://me:pw@h:8/v1?key=sk-1#x") == "https://h:8/v1"


def test_a_thousand_at_once_go_in_with_few_commits(tmp_path):
    async def write(ledger):
        statements: list[str] = []
        ledger._writer.set_trace_callback(statements.append)
        keys = [f"k{n}" for n in range(1000)]
        await asyncio.gather(*(ledger.asked(key, key, SETUP, REQUEST) for key in keys))
        await asyncio.gather(*(ledger.scored(key, key, b"{}") for key in keys))
        return statements.count("COMMIT"), sum(ledger.find(key) is not None for key in keys)

    commits, found = with_ledger(tmp_path / "l.sqlite", write)
    assert found == 1000
    assert commits <= 6


def test_one_who_is_cancelled_does_not_take_the_others_along(tmp_path):
    async def write(ledger):
        first = asyncio.ensure_future(ledger.scored("a", "a", b"{}"))
        second = asyncio.ensure_future(ledger.scored("b", "b", b"{}"))
        await asyncio.sleep(0)
        first.cancel()
        await second
        return ledger.find("a"), ledger.find("b")

    assert None not in with_ledger(tmp_path / "l.sqlite", write)


def test_a_ledger_that_cannot_be_written_says_so_to_everyone_and_loses_nothing_before(tmp_path):
    async def write(ledger):
        await ledger.scored("a", "a", b"{}")
        ledger._writer.execute("PRAGMA query_only = ON")  # as a disk that became read-only would
        outcomes = await asyncio.gather(
            ledger.asked("b", "b", SETUP, REQUEST),
            ledger.scored("c", "c", b"{}"),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [LedgerError, LedgerError]
        return ledger.find("a"), ledger.find("c")

    found, lost = with_ledger(tmp_path / "l.sqlite", write)
    assert found is not None
    assert lost is None


def test_every_attempt_that_was_not_closed_may_have_been_billed(tmp_path):
    async def asked_thrice(ledger):
        for attempt in ("first", "second"):
            await ledger.asked("retried", attempt, SETUP, REQUEST, WORST)
        await ledger.asked("closed", "closed", SETUP, REQUEST, WORST)
        await ledger.scored("closed", "closed", b"{}", BILL)

    with_ledger(tmp_path / "l", asked_thrice)

    async def after(ledger):
        return ledger.spent()

    spent = with_ledger(tmp_path / "l", after)
    assert (spent.calls, spent.tokens, spent.usd) == (3, 2000 + BILL.tokens, 2.0 + BILL.usd)


def test_an_attempt_is_closed_by_its_own_row_and_by_no_other_of_its_key(tmp_path):
    async def write(ledger):
        for attempt in ("killed", "refused", "answered"):
            await ledger.asked("k", attempt, SETUP, REQUEST, WORST)
        await ledger.fault("k", "refused", FaultCause.CONNECT, None)
        await ledger.scored("k", "answered", b"{}", BILL)
        return ledger.spent()

    spent = with_ledger(tmp_path / "l", write)
    assert (spent.calls, spent.tokens, spent.usd) == (2, 1000 + BILL.tokens, 1.0 + BILL.usd)


def test_a_full_disk_is_named_as_what_it_is(tmp_path):
    async def fill(ledger):
        ledger._writer.execute("PRAGMA max_page_count = 8")
        for i in range(200):
            await ledger.scored(str(i), str(i), b"x" * 4000, BILL)

    with pytest.raises(LedgerError, match="full"):
        with_ledger(tmp_path / "l", fill)

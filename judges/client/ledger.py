"""What was asked and what came back, on disk: to pay for nothing twice, and to replay.

One append-only table. Each attempt has two rows: `asked`, on disk before it leaves, and what became
of it, on disk before anyone is told: `scored`, `fault`, or `unsent` where it never left. So after
kill -9 an attempt with the first row alone is exactly one that may have been paid for without an
answer. Rows go in together, a few milliseconds' worth at a time, from a thread of their own:
waiting for them costs a judge's call nothing.

Keys, headers and a URL's query have no column here.
"""

import asyncio
import hashlib
import json
import math
import os
import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

from judges.client.budget import Spent
from judges.verdict import FREE, FaultCause, JudgeRequest, Usage

TOGETHER_S = 0.04
"""The least time between two commits: a lone row is on disk at once, many go in together."""
SOON_S = 0.001
BUSY_TIMEOUT_S = 60.0
PIECES = 64
PIECE_BYTES = 2**16

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setups (
    id TEXT PRIMARY KEY, model TEXT, url TEXT, rubric TEXT, template TEXT, sampling TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY CHECK (id = 1), secret TEXT);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at REAL, kind TEXT, key TEXT, setup TEXT, request TEXT,
    reply TEXT, input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, usd REAL,
    cause TEXT, attempt TEXT
);
"""
_SPENT = """
SELECT total(kind = 'asked') - total(kind = 'unsent'),
    total((input_tokens + output_tokens) * counts), total(usd * counts)
FROM (SELECT *, kind != 'asked' OR attempt NOT IN (
    SELECT attempt FROM events WHERE kind != 'asked'
) AS counts FROM events)
"""


class _Row(NamedTuple):
    at: float
    kind: str
    key: str
    setup: str | None
    request: str | None
    reply: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    usd: float
    cause: str | None
    attempt: str


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything but the request that a reply depends on."""

    model: str
    url: str
    rubric: str
    """Its hash."""
    template: str
    """Its hash."""
    sampling: str

    def public(self) -> dict[str, str]:
        """As it is written down, in the order of its columns."""
        return asdict(self) | {"url": without_secrets(self.url)}

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.public(), sort_keys=True).encode()).hexdigest()[:32]

    def key(self, request: JudgeRequest, *, sample: int | str = 0) -> str:
        """Names one question to one judge. Lengths go in first: no two texts run together.

        `sample` is which of several, or what else is asked about the request.
        """
        parts = (request.question, request.truth, request.answer, request.lang, *request.aliases)
        digest = hashlib.sha256(f"{self.id} {sample} {[len(part) for part in parts]}".encode())
        digest.update("".join(parts).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:32]


class LedgerError(OSError):
    """The ledger cannot be written, and what cannot be recorded is not to be paid for."""


class Ledger:
    """`async with Ledger(path) as ledger`; one process and one loop write it, others may read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._rows: list[_Row] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._unsaved: dict[str, bytes] = {}
        self._saved_at = -math.inf
        self._saving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._writer = _open(self.path)
        self._writer.executescript(_SCHEMA)
        self._reader = _open(self.path)
        self.secret = self._kept_secret()
        # Kept here and not in an index: keys are random, and each would rewrite a page of its own.
        rows = self._reader.execute("SELECT key, seq FROM events WHERE kind = 'scored'")
        self._seq_by_key: dict[str, int] = dict(rows.fetchall())
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._saving:
                await asyncio.wait([self._saving])
        finally:
            self._thread.shutdown()
            self._writer.close()
            self._reader.close()

    def _kept_secret(self) -> str:
        """The run's own, drawn once: a run that goes on shows its judge the same prompts."""
        while (row := self._reader.execute("SELECT secret FROM run").fetchone()) is None:
            self._reader.execute("INSERT OR IGNORE INTO run VALUES (1, ?)", (new_secret(),))
        (secret,) = row
        return secret

    def register(self, setup: Setup) -> None:
        """Once for each judge, before its first row."""
        row = (setup.id, *setup.public().values())
        self._reader.execute("INSERT OR IGNORE INTO setups VALUES (?, ?, ?, ?, ?, ?)", row)

    def setups(self) -> list[Setup]:
        rows = self._reader.execute(f"SELECT {', '.join(Setup.__annotations__)} FROM setups")
        return [Setup(**dict(zip(Setup.__annotations__, row, strict=True))) for row in rows]

    def __contains__(self, key: str) -> bool:
        """Whether `find` would find it, without reading it."""
        return key in self._unsaved or key in self._seq_by_key

    def find(self, key: str) -> bytes | None:
        """The scored reply to that key, if there ever was one."""
        if key in self._unsaved:
            return self._unsaved[key]
        if (seq := self._seq_by_key.get(key)) is None:
            return None
        row = self._reader.execute("SELECT reply FROM events WHERE seq = ?", (seq,))
        (reply,) = row.fetchone()
        return reply.encode()

    def asked(
        self, key: str, attempt: str, setup: Setup, request: JudgeRequest, worst: Usage = FREE
    ) -> asyncio.Future[None]:
        """Done when it is on disk: send the request after, not before.

        `worst` is what the attempt counts for while it has no bill.
        """
        return self._append("asked", key, attempt, worst, setup=setup.id, request=_text(request))

    def scored(
        self, key: str, attempt: str, reply: bytes, usage: Usage = FREE
    ) -> asyncio.Future[None]:
        """Done when it is on disk: hand the verdict out after, not before."""
        self._unsaved[key] = reply
        return self._append("scored", key, attempt, usage, reply=reply.decode("utf-8", "replace"))

    def fault(
        self, key: str, attempt: str, cause: FaultCause | None, usage: Usage | None = FREE
    ) -> asyncio.Future[None]:
        """No score came of it. No cause: we broke it off. No usage: it reached nobody."""
        kind = "unsent" if usage is None else "fault"
        return self._append(kind, key, attempt, usage or FREE, cause=cause)

    def spent(self) -> Spent:
        """What earlier runs on this file have spent, at most, to go on budgeting from."""
        calls, tokens, usd = self._reader.execute(_SPENT).fetchone()
        return Spent(calls=int(calls), tokens=int(tokens), usd=usd)

    def _append(
        self,
        kind: str,
        key: str,
        attempt: str,
        usage: Usage,
        *,
        setup: str | None = None,
        request: str | None = None,
        reply: str | None = None,
        cause: str | None = None,
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        saved = loop.create_future()
        saved.add_done_callback(_retrieved)
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        row = (time.time(), kind, key, setup, request, reply, *tokens, usage.usd, cause, attempt)
        self._rows.append(_Row(*row))
        self._waiting.append(saved)
        if self._saving is None or self._saving.done():
            self._saving = loop.create_task(self._save())
        return saved

    async def _save(self) -> None:
        """Whatever there is, together, until there is no more."""
        loop = asyncio.get_running_loop()
        while self._rows:
            await asyncio.sleep(max(self._saved_at + TOGETHER_S - loop.time(), SOON_S))
            self._saved_at = loop.time()
            rows, waiting = self._rows, self._waiting
            self._rows, self._waiting = [], []
            problem, last = None, 0
            try:
                last = await loop.run_in_executor(self._thread, self._write, rows)
            except Exception as error:  # whatever it is, nobody waits for ever
                problem = f"{self.path} cannot be written: {error}"
            for seq, row in enumerate(rows, last + 1 - len(rows)):
                if row.kind == "scored":
                    self._unsaved.pop(row.key, None)
                    if not problem:
                        self._seq_by_key[row.key] = seq
            for saved in waiting:
                if saved.done():
                    continue
                if problem:
                    saved.set_exception(LedgerError(problem))
                else:
                    saved.set_result(None)

    def _write(self, rows: list[_Row]) -> int:
        """The last row's number; those before it are the ones just before."""
        # Few statements, because each hands Python's lock over and back, and a busy loop gives it
        # up only every 5 ms; in powers of two, because a new statement costs as much as its rows.
        last = 0
        with self._writer as writer:
            writer.execute("BEGIN IMMEDIATE")
            while rows:
                size = 1 << (len(rows).bit_length() - 1)
                values = [value for row in rows[:size] for value in row]
                last = writer.execute(_insert(size), values).lastrowid or 0
                rows = rows[size:]
        return last


@cache
def _insert(rows: int) -> str:
    row = f"({','.join('?' * len(_Row._fields))})"
    return f"INSERT INTO events ({','.join(_Row._fields)}) VALUES {','.join([row] * rows)}"


def new_secret() -> str:
    return secrets.token_hex(16)


def fingerprint(path: str) -> str:
    """Of a file's content: gigabytes of weights by their size and a few pieces."""
    digest = hashlib.sha256()
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(str(size).encode())
            for start in range(0, size, max(size // PIECES, PIECE_BYTES)):
                file.seek(start)
                digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()[:16]


def _retrieved(saved: asyncio.Future[None]) -> None:
    """Nobody may be left to await it."""
    if not saved.cancelled():
        saved.exception()


def without_secrets(url: str) -> str:
    """Scheme, host, port and path: some services take the key in the query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8192")  # the only time it waits for the disk
    return connection


def _text(request: JudgeRequest) -> str:
    fields = {name: getattr(request, name) for name in JudgeRequest.__slots__}
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode()

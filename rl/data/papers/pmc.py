"""PubMed Central's open articles: which there are, by E-utilities, and each out of the bucket.

One request after another, three a second or ten with a key, as its terms ask.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from judges.client.retry import retry_after_s
from rl.data.papers.jats import Unusable

T = TypeVar("T")
KEY_ENV = "NCBI_API_KEY"
TOOL = "gspo-judge"
ATTEMPTS = 6
LONGEST_WAIT_S = 60.0
IDS_A_PAGE = 500
TIMEOUT_S = 60.0


class Unreachable(Exception):
    """After every attempt."""


class _Passing(Exception):
    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Pmc:
    def __init__(
        self,
        *,
        eutils: str,
        bucket: str,
        email: str,
        per_second: float | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self._eutils = eutils.rstrip("/")
        self._bucket = bucket.rstrip("/")
        self._key = os.environ.get(KEY_ENV, "").strip()
        self._email = email
        self._apart_s = 1 / (per_second or (10 if self._key else 3))
        self._next_at = 0.0
        self._backoff = wait_random_exponential(backoff_s, LONGEST_WAIT_S)
        agent = f"{TOOL} (mailto:{email})"
        self._http = httpx.Client(timeout=TIMEOUT_S, headers={"user-agent": agent})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def search(self, term: str, limit: int) -> list[str]:
        """As PMC123, the most relevant first."""
        found: dict[str, None] = {}
        while len(found) < limit:
            page = self._retried(partial(self._page, term, len(found)))
            new = [f"PMC{id_}" for id_ in page if f"PMC{id_}" not in found]
            if not new:
                break
            found |= dict.fromkeys(new)
        return list(found)[:limit]

    def article(self, pmcid: str) -> bytes:
        """Its newest version's XML. Raises Unusable where the bucket has none."""
        listing = self._retried(lambda: self._listed(pmcid))
        versions = [int(n) for n in re.findall(rf"<Prefix>{pmcid}\.(\d+)/</Prefix>", listing)]
        if not versions:
            raise Unusable("not in the bucket", "it is not open to be taken")
        name = f"{pmcid}.{max(versions)}"
        return self._retried(lambda: self._xml(f"{self._bucket}/{name}/{name}.xml"))

    def _page(self, term: str, start: int) -> list[str]:
        """Posted: a key in a URL is a key in somebody's log."""
        fields = {
            "db": "pmc",
            "term": f"({term}) AND open access[filter]",
            "retmode": "json",
            "retmax": str(IDS_A_PAGE),
            "retstart": str(start),
            "sort": "relevance",
            "tool": TOOL,
            "email": self._email,
        }
        fields |= {"api_key": self._key} if self._key else {}
        reply = self._sent("POST", f"{self._eutils}/esearch.fcgi", data=fields)
        try:
            found = reply.json()["esearchresult"]
            return [str(int(id_)) for id_ in found["idlist"]]
        except (ValueError, KeyError, TypeError):
            raise _Passing(f"not a list of articles: {reply.text[:80]!r}") from None

    def _listed(self, pmcid: str) -> str:
        query = {"list-type": "2", "prefix": f"{pmcid}.", "delimiter": "/"}
        listing = self._sent("GET", f"{self._bucket}/", params=query).text
        if "</ListBucketResult>" not in listing:
            raise _Passing(f"not a list of files: {listing[:80]!r}")
        return listing

    def _xml(self, url: str) -> bytes:
        reply = self._sent("GET", url)
        if b"<article" not in reply.content:
            raise _Passing(f"not an article: {reply.text[:80]!r}")
        return reply.content

    def _sent(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        time.sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._apart_s
        try:
            reply = self._http.request(method, url, params=params, data=data)
        except httpx.TransportError as error:
            raise _Passing(str(error) or type(error).__name__) from None
        if reply.status_code == 429 or reply.status_code >= 500:
            wait_s = retry_after_s(reply.headers)
            raise _Passing(f"HTTP {reply.status_code}", wait_s)
        if reply.status_code == 404:
            raise Unusable("not in the bucket", "its XML is not there")
        if reply.status_code != 200:
            raise Unreachable(f"{reply.url.host}: HTTP {reply.status_code} {reply.text[:80]!r}")
        return reply

    def _retried(self, attempt: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._pause_s,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Passing as error:
            raise Unreachable(f"{error}, {ATTEMPTS} times") from None

    def _pause_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wait_s = error.wait_s if isinstance(error, _Passing) else None
        return self._backoff(state) if wait_s is None else min(wait_s, LONGEST_WAIT_S)

"""What is asked of a caller, in what manner, and how it can fail."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from judges.verdict import FREE, FaultCause, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a judge is asked. Times in seconds."""

    timeout_s: float = 60.0
    """One attempt."""
    retries: int = 5
    """Attempts after the first, for 5xx, resets and timeouts. A 429 is waited out."""
    backoff_s: float = 0.5
    """The first pause is up to this long, each further one up to twice the one before."""
    longest_backoff_s: float = 20.0
    max_in_flight: int = 256
    start_in_flight: int = 16
    rest_s: float = 15.0
    """After a cut of the concurrency, this long without another."""
    rpm: int | None = None
    tpm: int | None = None
    hedge_share: float = 0.0
    """Share of calls that may be sent a second time when they are late."""
    failures_to_open: int = 20
    """Failures on end after which the judge counts as dead."""
    breaker_rest_s: float = 2.0
    """How long a dead judge is left alone before the first probe; doubled with each."""


@dataclass(slots=True, kw_only=True)
class Call:
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    key: str = ""
    """Its place in the ledger."""
    twin: str = ""
    """Calls in flight with the same share one reply; empty shares with none."""
    worst: Usage = FREE
    """The most it can cost."""
    before_send: Callable[[], Awaitable[None]] | None = None
    """Awaited before each attempt: what must be on disk before it may be paid."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Never shown, whoever quotes them: some servers send them back."""
    lost: list[Usage] = field(default_factory=list[Usage])
    """The worst of each attempt whose bill never came."""
    is_sent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """No reply worth reading. `shared` says that it is an equal request's failure."""

    cause: FaultCause
    detail: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A failure that may pass, and how long the server asked to wait."""

    failure: CallFailure
    wait_s: float | None = None

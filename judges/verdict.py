"""What goes into a judge and what comes out: a request, and a score or a named fault."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """One answer to grade. `answer` is what a person would be shown, reasoning already gone."""

    question: str
    truth: str
    answer: str
    aliases: tuple[str, ...] = ()
    lang: str = "en"

    @property
    def accepted(self) -> tuple[str, ...]:
        """Whatever counts as the truth."""
        return (self.truth, *self.aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the backend says a verdict cost. Zero tokens where it does not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            usd=self.usd + other.usd,
        )


FREE = Usage()


class FaultCause(StrEnum):
    """Why there is no score. Never a number: a fault does not vote."""

    CONNECT = "connect"  # nobody listens
    RESET = "reset"  # the connection broke under way
    TIMEOUT = "timeout"  # one call took too long
    DEADLINE = "deadline"  # the step's time was up
    RATE_LIMITED = "rate_limited"  # still 429 after every retry, or the account is empty
    SERVER_ERROR = "server_error"  # still 5xx after every retry
    BAD_REQUEST = "bad_request"  # 4xx: asking again would not help
    AUTH = "auth"  # 401 or 403
    BREAKER_OPEN = "breaker_open"  # the judge is down and is not being asked
    BUDGET = "budget"  # the calls, tokens or money allowed are used up
    NOT_RECORDED = "not_recorded"  # replay: this was never asked

    BAD_REPLY = "bad_reply"  # the response is not of the wire format
    REFUSED = "refused"  # the judge declined
    CONTENT_FILTER = "content_filter"  # the backend withheld the reply
    EMPTY = "empty"  # nothing was said
    TRUNCATED = "truncated"  # it ran out of tokens before the verdict ended
    NO_VERDICT = "no_verdict"  # words, but no verdict in them
    UNKNOWN_TIER = "unknown_tier"  # a tier the rubric does not have
    SEVERAL_VERDICTS = "several_verdicts"  # more than one, agreeing or not
    BAD_SCORE = "bad_score"  # a number beside the tier that is not the tier's
    NO_LOGPROBS = "no_logprobs"  # asked for, and not given
    UNSURE = "unsure"  # the labels hold too little of the probability
    NO_MAJORITY = "no_majority"  # too few of the samples or judges agree, or too few answered


OUTAGES = frozenset(
    (
        FaultCause.CONNECT,
        FaultCause.RESET,
        FaultCause.TIMEOUT,
        FaultCause.DEADLINE,
        FaultCause.RATE_LIMITED,
        FaultCause.SERVER_ERROR,
        FaultCause.BREAKER_OPEN,
    )
)
"""Nobody answered, or not in time. Another judge may, or the same one later."""

TURNED_AWAY = frozenset((FaultCause.AUTH, FaultCause.BAD_REQUEST))
"""Asking again would not help: the key, the model or the URL is wrong, or no longer right."""


class Faulty(Exception):
    """Raised where a fault is found, inside; `Judge` turns it into a JudgeFault."""

    def __init__(self, cause: FaultCause, detail: str, usage: Usage = FREE) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail
        self.usage = usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A verdict. `score` is the tier's, or a blend of tiers when read from log-probs or several."""

    tier: str
    score: float
    rationale: str = ""
    latency_s: float = 0.0
    cached: bool = False
    demoted: bool = False
    """By the line-up, whatever the verdict was."""
    usage: Usage = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFault:
    """No verdict, and why."""

    cause: FaultCause
    detail: str
    latency_s: float = 0.0
    usage: Usage = FREE


Verdict = Scored | JudgeFault

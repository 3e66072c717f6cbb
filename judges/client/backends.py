"""The backends, a row each: where, which model, which key, what it can do, what it costs.

Prices are US dollars a million tokens as published in 2026; they serve estimates and budgets. Give
your own with judge.usd_per_m_in and judge.usd_per_m_out where they have moved.
"""

import os
import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from judges.config import JudgeConfig, Reasoning
from judges.names import did_you_mean
from judges.verdict import Usage

CACHE_WRITE = 1.25
"""What a token costs that is written to Anthropic's cache, in prompt tokens."""
Form = Literal["json_schema", "json_object"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    name: str
    url: str | None = None
    model: str | None = None
    key_env: str | None = None
    wire: Literal["openai", "anthropic"] = "openai"
    form: Form = "json_schema"
    """The best form it is known to hold to; the next is tried when it refuses."""
    logprobs: bool = True
    reasoning: Reasoning = "none"
    cache_from_tokens: int | None = None
    """The shortest system prompt that its model caches when told to."""
    max_tokens_field: str = "max_tokens"
    timeout_s: float = 60.0
    reply_s: float = 2.0
    """A typical reply, for estimates only."""
    max_in_flight: int = 64
    rpm: int | None = None
    tpm: int | None = None
    usd_per_m_in: float = 0.0
    usd_per_m_out: float = 0.0

    def key(self) -> str | None:
        """Read where it is sent and nowhere else, so that no object holds it."""
        return os.environ.get(self.key_env or "", "").strip() or None

    def bill(self, tokens_in: int, tokens_out: int, cached: int = 0, written: int = 0) -> Usage:
        """`written`: those of `tokens_in` that went into a cache, which some hosts charge for."""
        priced_in = tokens_in + written * (CACHE_WRITE - 1)
        usd = (priced_in * self.usd_per_m_in + tokens_out * self.usd_per_m_out) / 1e6
        return Usage(
            input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached, usd=usd
        )


ROWS = {
    row.name: row
    for row in (
        Backend(name="rules", model="rules", timeout_s=30.0, reply_s=0.02, max_in_flight=256),
        Backend(
            name="deepseek",
            url="https://api.deepseek.com/v1",
            model="deepseek-chat",
            key_env="DEEPSEEK_API_KEY",
            form="json_object",
            reply_s=4.0,
            max_in_flight=256,
            usd_per_m_in=0.28,
            usd_per_m_out=0.42,
        ),
        Backend(
            name="openai",
            url="https://api.openai.com/v1",
            model="gpt-4.1-mini",
            key_env="OPENAI_API_KEY",
            max_tokens_field="max_completion_tokens",
            usd_per_m_in=0.40,
            usd_per_m_out=1.60,
        ),
        Backend(
            name="anthropic",
            url="https://api.anthropic.com/v1",
            model="claude-haiku-4-5",
            key_env="ANTHROPIC_API_KEY",
            wire="anthropic",
            logprobs=False,
            cache_from_tokens=4096,
            usd_per_m_in=1.0,
            usd_per_m_out=5.0,
        ),
        Backend(
            name="openrouter",
            url="https://openrouter.ai/api/v1",
            model="deepseek/deepseek-chat",
            key_env="OPENROUTER_API_KEY",
            usd_per_m_in=0.30,
            usd_per_m_out=0.90,
        ),
        Backend(
            name="vllm",
            url="http://127.0.0.1:8000/v1",
            reasoning="think",
            timeout_s=120.0,
            max_in_flight=256,
        ),
        Backend(
            name="ollama",
            url="http://127.0.0.1:11434/v1",
            reasoning="think",
            timeout_s=300.0,
            max_in_flight=4,
        ),
        Backend(name="llamacpp", reasoning="think", timeout_s=300.0, max_in_flight=2),
        Backend(name="custom", reasoning="think", timeout_s=120.0),
        Backend(name="replay", reasoning="think"),
    )
}


SERVED_HERE = ("rules", "vllm", "ollama", "llamacpp", "replay")
"""Free, whatever the model, where the row says they are."""
BLOT = "***"
SECRET = 8
"""Characters from which a value in a URL may be a key."""
LIMITS = ("timeout_s", "max_in_flight", "rpm", "tpm")
OWN = ("url", "model", "key_env", "reasoning", *LIMITS, "usd_per_m_in", "usd_per_m_out")
"""What a config may say of a row in its place."""


def swapped(config: JudgeConfig, backend: str) -> JudgeConfig:
    """Another backend, with nothing left of what was said of the last one."""
    return replace(config, backend=backend, **dict.fromkeys(OWN))


def secrets_in(url: str) -> tuple[str, ...]:
    """What of a URL is nobody's business: a user with a password, and keys in the query."""
    parts = urlsplit(url)
    pairs = (pair.partition("=") for pair in parts.query.split("&"))
    said = [value for name, _, value in pairs if "version" not in name.lower()]
    return tuple(text for text in (parts.netloc.rpartition("@")[0], *said) if len(text) >= SECRET)


def shown(config: JudgeConfig) -> JudgeConfig:
    """As it may be written down and sent to a tracker."""

    def blot(entry: str) -> str:
        before, at, rest = entry.partition("http")
        for secret in secrets_in(at + rest):
            rest = rest.replace(secret, BLOT)
        rest = re.sub("(?<=://)[^/?#]*@", f"{BLOT}@", rest)  # however short
        return before + at + rest

    return replace(
        config,
        url=config.url and blot(config.url),
        panel=tuple(map(blot, config.panel)),
        fallback=tuple(map(blot, config.fallback)),
    )


def nameable(url: str) -> str:
    """What an error may say of a URL, even of one that is none: no user, password or query."""
    scheme = re.match("([a-z]+://)?", url)
    assert scheme
    user, at, place = url[scheme.end() :].rpartition("@")
    place, question_mark, query = place.partition("?")
    return scheme[0] + (user and BLOT) + at + place + question_mark + (query and BLOT)


def _check_url(url: str) -> None:
    if BLOT in url:
        raise ValueError(
            f"judge.url is {nameable(url)!r}: a key was left out when it was written down. "
            "Give it whole with --judge.url"
        )
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"judge.url is {nameable(url)!r}: it must begin with http:// or https://")
    try:
        parts = urlsplit(url)
        _ = parts.port
        problem = None if parts.hostname else "it names no host"
    except ValueError as error:
        problem = str(error)
        if "@" in url:  # those words may quote the password
            problem = "it cannot be read; / ? # [ ] @ in a password are written %2F and so on"
    if problem:
        raise ValueError(
            f"judge.url is {nameable(url)!r}: {problem}. Write it as http://host:8000/v1"
        )


def endpoint(base: str, path: str) -> str:
    """Some hosts take a version or a key in the query, which stays at the end."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def resolve(config: JudgeConfig, *, keyless: bool = False) -> Backend:
    """The row with the config's own values in it, checked. Raises ValueError at once.

    `keyless` is for those who will not ask it anything.
    """
    row = ROWS.get(config.backend)
    if row is None:
        hint = did_you_mean(config.backend, ROWS)
        raise ValueError(
            f"judge.backend is {config.backend!r}: no such backend.{hint} Known: {', '.join(ROWS)}"
        )
    own = {name: value for name in OWN if (value := getattr(config, name)) is not None}
    backend = replace(row, **own)
    if config.url:
        _check_url(config.url)
    if config.url and not config.key_env and config.url != row.url:
        backend = replace(backend, key_env=None)  # a row's key goes to the row's own host only
    if backend.key_env and not backend.key() and not keyless:
        raise ValueError(
            f"judge.backend {config.backend} needs a key and the environment variable "
            f"{backend.key_env} is not set. Type: export {backend.key_env}=..., or name another "
            "variable with judge.key_env, or use --judge.backend rules, which needs none"
        )
    if len((backend.key() or "").splitlines()) > 1:
        raise ValueError(f"{backend.key_env} holds more than one line: export the key alone")
    if config.backend == "custom" and not backend.url:
        raise ValueError(
            "judge.url is missing: backend custom is any OpenAI-compatible server, so say which, "
            "for example --judge.url http://127.0.0.1:8000/v1"
        )
    if backend.model is None and config.backend != "replay":
        what = "the GGUF file" if config.backend == "llamacpp" else "the model the server has"
        raise ValueError(
            f"judge.model is missing: backend {config.backend} has no default. Name {what} with "
            "--judge.model"
        )
    if config.max_usd is not None and not is_priced(config):
        raise ValueError(
            f"judge.max_usd is {config.max_usd} and nobody has said what backend {config.backend} "
            f"charges for {backend.model} there: a row's prices are for its own model and host. "
            "Give judge.usd_per_m_in and judge.usd_per_m_out (0 where it is free), or limit "
            "judge.max_calls and judge.max_tokens instead"
        )
    if config.grading == "labels" and not backend.logprobs:
        raise ValueError(
            f"judge.grading is labels, and backend {config.backend} gives no log-probs. "
            "Use --judge.grading schema"
        )
    return backend


def is_priced(config: JudgeConfig) -> bool:
    """Whether a limit on money can hold: by the row's own prices, or by prices that were given."""
    row = ROWS[config.backend]
    if config.usd_per_m_in is not None and config.usd_per_m_out is not None:
        return True
    is_rows_own = config.url in (None, row.url) and config.model in (None, row.model)
    is_on_this_machine = row.name in SERVED_HERE and config.url in (None, row.url)
    return is_rows_own or is_on_this_machine


def chains_of(config: JudgeConfig) -> list[list[JudgeConfig]]:
    """Who votes, each with those who stand in for it; the config's own judge leads the first."""
    first = [config, *(named(config, entry) for entry in config.fallback)]
    return [first, *([named(config, entry)] for entry in config.panel)]


def named(config: JudgeConfig, entry: str) -> JudgeConfig:
    """The config of another judge, written `backend[:model][@url]`: only its limits carry over."""
    rest, _, host = entry.partition("@http")
    backend, _, model = rest.partition(":")
    limits = {name: getattr(config, name) for name in LIMITS}
    url = f"http{host}" if host else None
    own = replace(swapped(config, backend), model=model or None, url=url, **limits)
    return replace(own, panel=(), fallback=())

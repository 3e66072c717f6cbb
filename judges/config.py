"""Everything a judge can be told. `None` means the backend row's own value."""

from dataclasses import dataclass
from typing import Literal

Grading = Literal["schema", "labels", "ladder"]
Vote = Literal["median", "majority"]
Reasoning = Literal["none", "think", "opened"]


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Which judge, how it grades, and how hard it may be asked."""

    backend: str = "rules"
    """A row of judges/client/backends.py: rules, deepseek, openai, anthropic, openrouter, vllm,
    ollama, custom, llamacpp, replay."""
    model: str | None = None
    """Model name, or a GGUF file for llamacpp."""
    url: str | None = None
    """Base URL up to and with /v1."""
    key_env: str | None = None
    """Name of the environment variable that holds the key."""
    rubric: str = "medical_en"
    """A name in judges/rubric/rubrics, or a path to a .toml file."""
    known: str | None = None
    """rules: JSONL of known answers, so that a wrong one counts as a contradiction."""

    grading: Grading = "schema"
    """schema: a rationale, then a tier. labels: one token, read from its log-probs. ladder: a plain
    question for each tier that may matter, yes or no, read from the log-probs."""
    reasoning: Reasoning | None = None
    """What may stand before the verdict. none: nothing. think: a block in <think> tags, or another
    family's. opened: the same, its first tag already in the prompt."""
    rationale: bool = True
    """schema: whether it says why before it names a tier."""
    samples: int = 1
    """Verdicts asked for each answer; the tier most of them name wins."""
    temperature: float | None = None
    """Sampling temperature; 0 for one sample, 0.7 for several."""
    max_reply_tokens: int = 512
    """Room for the judge's reply, its own reasoning included."""
    commit_first: bool = False
    """Let the judge write down what it will look for, once a question, before it sees an answer."""
    lineup: bool = False
    """Before an answer earns anything: which entry of a list is it? The truth is not marked."""
    defences: bool = True
    """Secret fences and neutralised delimiters. Off only to measure what they do."""

    profile: str | None = None
    """TOML file of `python -m judges fit`: how this judge is asked best, and what its scores are
    worth. It sets grading, samples, lineup and the like."""

    panel: tuple[str, ...] = ()
    """Further judges, each `backend[:model][@url]`, that vote beside the first."""
    vote: Vote = "median"
    """How a panel becomes one verdict."""
    fallback: tuple[str, ...] = ()
    """Judges asked in turn while the one before them is down, each `backend[:model][@url]`."""

    timeout_s: float | None = None
    """One call."""
    deadline_s: float = 300.0
    """One score(); what is missing then is a fault."""
    retries: int = 5
    """Attempts after the first, for 5xx, resets and timeouts. A 429 is waited out."""
    max_in_flight: int | None = None
    """Ceiling of the adaptive concurrency."""
    rpm: int | None = None
    """Requests a minute; no limit where neither this nor the row says."""
    tpm: int | None = None
    """Tokens a minute."""
    hedge_share: float = 0.0
    """Share of calls that may be sent a second time when slow."""

    usd_per_m_in: float | None = None
    """Price of a million prompt tokens."""
    usd_per_m_out: float | None = None
    """Price of a million reply tokens."""

    ledger: str | None = None
    """SQLite file of what was asked and answered; nothing in it is paid for twice."""
    max_calls: int | None = None
    """Stop before more calls than this."""
    max_tokens: int | None = None
    """Stop before more tokens than this, prompts and replies together."""
    max_usd: float | None = None
    """Stop before more money than this."""

    @property
    def reads_logprobs(self) -> bool:
        return self.grading != "schema"

    @property
    def sampling_temperature(self) -> float:
        if self.temperature is not None:
            return self.temperature
        return 0.7 if self.samples > 1 else 0.0

    def __post_init__(self) -> None:
        counts = ("samples", "max_reply_tokens", "max_in_flight", "rpm", "tpm")
        for name in (*counts, "max_calls", "max_tokens"):
            at_least(f"judge.{name}", getattr(self, name), 1)
        at_least("judge.retries", self.retries, 0)
        for name in ("timeout_s", "deadline_s", "max_usd"):
            above(f"judge.{name}", getattr(self, name), 0)
        for name in ("usd_per_m_in", "usd_per_m_out"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"judge.{name} is {value}: it must be 0 or more dollars")
        share_of_one("judge.hedge_share", self.hedge_share)
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ValueError(f"judge.temperature is {self.temperature}: it must be from 0 to 2")
        if self.reads_logprobs and self.samples > 1:
            raise ValueError(
                f"judge.samples is {self.samples} with judge.grading {self.grading}: log-probs "
                "already hold every sample. Use --judge.samples 1, or --judge.grading schema"
            )
        if not self.rationale and self.grading != "schema":
            raise ValueError(
                f"judge.rationale is off with judge.grading {self.grading}, which asks for none. "
                "Leave it out, or use --judge.grading schema"
            )
        if self.grading == "ladder" and self.commit_first:
            raise ValueError(
                "judge.commit_first is set with judge.grading ladder: a plain question has no "
                "place for claims. Leave it out, or use --judge.grading labels"
            )


def at_least(name: str, value: float | None, low: float) -> None:
    if value is not None and not value >= low:
        raise ValueError(f"{name} is {value}: it must be at least {low}")


def above(name: str, value: float | None, low: float) -> None:
    if value is not None and not value > low:
        raise ValueError(f"{name} is {value}: it must be above {low}")


def share_of_one(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}: it is a share, from 0 to 1")

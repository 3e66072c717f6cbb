"""What a talk with a run's policy is."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from judges.config import above, at_least


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A talk with what a run trained, as it was trained: its system prompt, its template."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's folder, as in runs/NAME."""
    once: str | None = None
    """Ask this, show the answer and end."""
    truth: str | None = None
    """What the answer to --once should say: the judge of the run's training grades it."""
    against: Literal["base"] | None = None
    """Show the answer of the model before training too."""
    think: bool | None = None
    """Reason before the answer; None is as the run was trained."""
    temperature: float | None = None
    """0 takes the likeliest token; None is 1.0 where it reasons and 0.7 where not."""
    top_p: float | None = None
    """Likeliest tokens of this share together; None is 0.95 where it reasons and 0.8 where not."""
    top_k: int = 20
    """The likeliest so many."""
    max_new_tokens: int = 1024
    """Longest answer, its reasoning included."""
    seed: int = 0
    """Of the sampling."""

    def __post_init__(self) -> None:
        if self.truth is not None and self.once is None:
            raise ValueError("truth is given without once: type --once QUESTION --truth ANSWER")
        if self.temperature is not None and not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}: it must be 0 or more")
        above("top_p", self.top_p, 0)
        at_least("top_k", self.top_k, 1)
        at_least("max_new_tokens", self.max_new_tokens, 1)

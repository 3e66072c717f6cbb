"""A generation as a value: what one call sampled and had judged, and one update learns from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Generation:
    """`prompts x group_size` rows, the completions of one prompt next to each other."""

    prompt_ids: Sequence[Sequence[int]]
    completion_ids: Sequence[Sequence[int]]
    rewards: Sequence[float | None]
    """None is a verdict that never came: the row does not vote."""
    logprobs: Sequence[Sequence[float | None]] | None = None
    """The sampler's, of the tokens it sampled; None if it has none, or none of a token."""
    truncated: Sequence[bool] | None = None
    """Which completions were cut at the limit; None if nobody knows."""
    causes: Sequence[str] | None = None
    """Why a row has no reward, for the metrics; what is said of the other rows is not read."""

    def __post_init__(self) -> None:
        rows = len(self.prompt_ids)
        for name in ("completion_ids", "rewards", "logprobs", "truncated", "causes"):
            value = getattr(self, name)
            assert value is None or len(value) == rows, f"{len(value)} {name} for {rows} rows"


NextGeneration = Callable[[int], Generation]
"""Called with the generation's number, which counts from 1. Every process gets the whole of it."""

"""What every engine offers: completions of token prompts, handed over one by one as they finish."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rl.policy.load import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    max_new_tokens: int
    temperature: float
    seed: int
    max_total_tokens: int | None = None

    def room_after(self, prompt: Sequence[int]) -> int:
        """The longest completion that this prompt may have."""
        if self.max_total_tokens is None:
            return self.max_new_tokens
        return min(self.max_new_tokens, self.max_total_tokens - len(prompt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """`prompt` is the index of its prompt; `logprobs` are the sampler's, of the sampled tokens."""

    prompt: int
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str


class Engine(Protocol):
    async def publish(self, policy: Policy, version: int) -> dict[str, float]:
        """From now on completions come from the policy as it is now. Versions only grow.

        Returns what was measured of the swap, by metric name.
        """
        ...

    def stream(self, prompts: Sequence[list[int]], sampling: Sampling) -> AsyncIterator[Completion]:
        """One completion of each prompt, in the order they finish."""
        ...


class EngineError(RuntimeError):
    """Completions can no longer be had; the message says why and what to do."""

"""A server that is asked in a policy's place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from rl.policy.load import Policy
from rl.refusal import Refusal
from rl.rollout.engine import Completion, EngineError, Sampling
from rl.rollout.vllm_client import Server, as_they_finish


@dataclass(frozen=True, kw_only=True)
class Served:
    """`model` is a name that the server knows: its base's, or an adapter's."""

    url: str
    model: str
    weights: str
    """Where the server has its base from: a folder, or an id on the hub."""
    window: int | None = None
    """Longest prompt and completion together, in tokens, where the server says it."""

    @property
    def completions(self) -> str:
        return f"{self.url}/v1/completions"


def served_at(url: str, model: str | None = None) -> Served:
    """The model of that name there, or the server's own."""

    async def listed() -> tuple[str, list[dict[str, Any]]]:
        async with Server(url) as server:
            return server.url, await server.models()

    try:
        root, models = asyncio.run(listed())
        known = {each["id"]: each for each in models}
    except (EngineError, ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(
            f"{url}: no server that lists its models there ({error}). Is it up?"
        ) from None
    if not known or (model is not None and model not in known):
        raise Refusal(f"{url} serves no {model!r}. It serves {', '.join(known) or 'nothing'}")
    name = model or next(iter(known))
    base = known.get(known[name].get("parent") or name, known[name])
    return Served(
        url=root,
        model=name,
        weights=base.get("root") or base["id"],
        window=known[name].get("max_model_len") or base.get("max_model_len"),
    )


class ServedEngine(Server):
    """Writes what its server's model writes; nothing is published to it. The server draws by its
    own seed."""

    def __init__(self, served: Served, tokenizer: Any) -> None:
        super().__init__(served.url)
        self._model, self._tokenizer = served.model, tokenizer

    async def publish(self, policy: Policy, version: int) -> dict[str, float]:
        raise AssertionError("a server that is measured keeps its weights")

    def stream(self, prompts: Sequence[list[int]], sampling: Sampling) -> AsyncIterator[Completion]:
        return as_they_finish(
            self._written(i, prompt, sampling) for i, prompt in enumerate(prompts)
        )

    async def _written(self, i: int, prompt: list[int], sampling: Sampling) -> Completion:
        choice = await self.complete(
            self._model,
            prompt,
            max_tokens=sampling.room_after(prompt),
            temperature=sampling.temperature,
            return_token_ids=True,
        )
        token_ids = choice.get("token_ids")  # vLLM alone says them
        if token_ids is None:
            token_ids = self._tokenizer.encode(choice["text"], add_special_tokens=False)
        return Completion(
            prompt=i, token_ids=token_ids, logprobs=[], finish_reason=choice["finish_reason"]
        )

"""Completions from a vLLM server, the one this run started or any other that sees the adapters."""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from rl.policy.load import Policy
from rl.refusal import Refusal
from rl.rollout.engine import Completion, EngineError, Sampling
from rl.rollout.published import save_for_vllm
from rl.rollout.swap_proof import TEXT, SwapProof, hold_base

# Said each time: a server takes what is not said from the model's own generation_config, and a cut
# distribution biases every ratio.
UNCUT = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
# How long a server may take to forget a run's last adapter, once the run is over.
_FAREWELL_S = 5.0
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class Server:
    """Asked over connections of its own, and told nobody's key. `died` says why it is gone, if it
    is: it turns a refused connection into a reason."""

    def __init__(self, url: str, died: Callable[[], str | None] = lambda: None) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._died = died
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # The server may close a kept connection between two generations, just as it is used.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(timeout=_NO_TIMEOUT, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    async def models(self) -> list[dict[str, Any]]:
        return (await self._request("GET", "/v1/models"))["data"]

    async def complete(self, model: str, prompt: list[int] | str, **options: Any) -> dict[str, Any]:
        body = {"model": model, "prompt": prompt, **UNCUT, **options}
        return (await self._post("/v1/completions", body))["choices"][0]

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        return await self._request("POST", path, json=body)

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        assert self._session
        try:
            async with self._session.request(method, self.url + path, **options) as reply:
                if reply.status != 200:
                    raise EngineError(
                        f"vLLM at {self.url} answered {reply.status} to {path}: "
                        f"{(await reply.text())[:500]}{_hint(path, reply.status)}"
                    )
                with contextlib.suppress(aiohttp.ContentTypeError):
                    return await reply.json()
        except aiohttp.ClientError as error:
            raise EngineError(
                self._died() or f"vLLM at {self.url} cannot be reached ({error!r}). Is it up?"
            ) from error


class VllmEngine(Server):
    """`adapters` is a folder this process and the server both see.

    Every adapter gets a name of its own. vLLM keys its prefix cache by that name, so one name for
    all of them would serve keys and values of an older policy; and runs that share a server must
    not meet. No seed goes with a request: vLLM's CPU engine dies of one (0.31) when it cuts a
    prompt in two; the server's own seed has to do.
    """

    def __init__(
        self, url: str, adapters: Path, died: Callable[[], str | None] = lambda: None
    ) -> None:
        super().__init__(url, died)
        self._adapters = adapters.resolve()
        self._run = secrets.token_hex(4)
        self._name: str | None = None
        self._scored: _Scored | None = None

    async def __aexit__(self, *_: object) -> None:
        if self._name and not self._died():
            # The server may be another's, and goes on. That it is gone by now harms nobody.
            with contextlib.suppress(EngineError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._unload(self._name)
        await super().__aexit__()

    async def publish(self, policy: Policy, version: int) -> dict[str, float]:
        self._scored = scored = self._scored or await self._score_base(policy)
        name, old = f"policy-{self._run}-{version}", self._name
        folder = self._adapters / name
        await asyncio.to_thread(save_for_vllm, policy, folder)
        await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        self._name = name
        if old:
            await self._unload(old)
        served, adapted = await asyncio.gather(
            self._prompt_logprobs(name, scored.token_ids),
            asyncio.to_thread(policy.logprobs, scored.token_ids),
        )
        proof = SwapProof.of(served, adapted, scored.plain)
        proof.hold(precision=scored.precision)
        return {"swap/error": proof.error, "swap/moved": proof.moved}

    async def refuse_raw_logprobs(self, temperature: float) -> None:
        """Refusal where the server's log-probs are not those of what it samples from.

        A temperature of 2 halves the distance between the two likeliest tokens' log-probs. A server
        that reports the same distance as at 1 reports them from before the temperature.
        """
        if temperature == 1:
            return
        at_1, at_2 = await self._lead(temperature=1.0), await self._lead(temperature=2.0)
        if at_2 > 0.75 * at_1:
            raise Refusal(
                f"the vLLM server at {self.url} reports log-probs from before the temperature, and"
                f" --rollout.temperature is {temperature}: every ratio would be wrong. Start it"
                " with --logprobs-mode processed_logprobs, or type --rollout.temperature 1"
            )

    async def _lead(self, *, temperature: float) -> float:
        """Of the likeliest first token over the second likeliest, in log-probs."""
        choice = await self.complete(
            await self._base_name(), "The", max_tokens=1, temperature=temperature, logprobs=2
        )
        first, second = sorted(choice["logprobs"]["top_logprobs"][0].values(), reverse=True)[:2]
        return first - second

    async def _score_base(self, policy: Policy) -> "_Scored":
        token_ids = policy.tokenizer.encode(TEXT, add_special_tokens=False)
        served, plain = await asyncio.gather(
            self._prompt_logprobs(await self._base_name(), token_ids),
            asyncio.to_thread(policy.logprobs, token_ids, adapter=False),
        )
        return _Scored(token_ids, plain, precision=hold_base(served, plain))

    async def _base_name(self) -> str:
        return next(model["id"] for model in await self.models() if not model.get("parent"))

    async def _prompt_logprobs(self, model: str, token_ids: list[int]) -> list[float]:
        choice = await self.complete(
            model, token_ids, max_tokens=1, temperature=1.0, prompt_logprobs=0
        )
        return [
            place[str(token)]["logprob"]
            for token, place in zip(token_ids[1:], choice["prompt_logprobs"][1:], strict=True)
        ]

    async def _unload(self, name: str) -> None:
        await self._post("/v1/unload_lora_adapter", {"lora_name": name})
        await asyncio.to_thread(shutil.rmtree, self._adapters / name, ignore_errors=True)

    def stream(self, prompts: Sequence[list[int]], sampling: Sampling) -> AsyncIterator[Completion]:
        assert self._name, "an adapter is published before anything is sampled"
        return as_they_finish(
            self._sampled(i, prompt, sampling) for i, prompt in enumerate(prompts)
        )

    async def _sampled(self, i: int, prompt: list[int], sampling: Sampling) -> Completion:
        assert self._name
        choice = await self.complete(
            self._name,
            prompt,
            max_tokens=sampling.room_after(prompt),
            temperature=sampling.temperature,
            logprobs=0,
            return_token_ids=True,
        )
        return Completion(
            prompt=i,
            token_ids=choice["token_ids"],
            logprobs=choice["logprobs"]["token_logprobs"],
            finish_reason=choice["finish_reason"],
        )


async def as_they_finish(
    asked: Iterable[Coroutine[Any, Any, Completion]],
) -> AsyncIterator[Completion]:
    tasks = [asyncio.create_task(each) for each in asked]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Scored:
    """The text that every swap is proven on, and its log-probs without an adapter."""

    token_ids: list[int]
    plain: list[float]
    precision: float


def _hint(path: str, status: int) -> str:
    if path.endswith("lora_adapter") and status in (403, 404):
        return (
            ". Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its "
            "environment"
        )
    return ""

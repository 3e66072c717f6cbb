"""Completions from a vLLM server, the one this run started or any other that sees the adapters."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from rl.policy import Policy
from rl.rollout.engine import Completion, EngineError, Sampling

# Said each time: a server takes what is not said from the model's own generation_config, and a cut
# distribution biases every ratio.
UNCUT = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class VllmEngine:
    """`adapters` is a folder this process and the server both see. `died` says why the server is
    gone, if it is: it turns a refused connection into a reason.

    Every adapter gets a name of its own. vLLM keys its prefix cache by that name, so one name for
    all of them would serve keys and values of an older policy. No seed goes with a request: vLLM's
    CPU engine dies of one (0.31) when it cuts a prompt in two; the server's own seed has to do.
    """

    def __init__(
        self, url: str, adapters: Path, died: Callable[[], str | None] = lambda: None
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._adapters = adapters.resolve()
        self._died = died
        self._name: str | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "VllmEngine":
        # The server may close a kept connection between two generations, just as it is used.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(timeout=_NO_TIMEOUT, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    async def publish(self, policy: Policy, version: int) -> None:
        name, old = f"policy-{version}", self._name
        folder = self._adapters / name
        await asyncio.to_thread(policy.save_adapter, folder)
        await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        self._name = name
        if old:
            await self._post("/v1/unload_lora_adapter", {"lora_name": old})
            await asyncio.to_thread(shutil.rmtree, self._adapters / old)

    async def stream(
        self, prompts: Sequence[list[int]], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        assert self._name, "an adapter is published before anything is sampled"
        tasks = [
            asyncio.create_task(self._complete(i, prompt, sampling))
            for i, prompt in enumerate(prompts)
        ]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _complete(self, i: int, prompt: list[int], sampling: Sampling) -> Completion:
        reply = await self._post(
            "/v1/completions",
            {
                "model": self._name,
                "prompt": prompt,
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                **UNCUT,
                "logprobs": 0,
                "return_token_ids": True,
            },
        )
        choice = reply["choices"][0]
        return Completion(
            prompt=i,
            token_ids=choice["token_ids"],
            logprobs=choice["logprobs"]["token_logprobs"],
            finish_reason=choice["finish_reason"],
        )

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        assert self._session
        try:
            async with self._session.post(self._url + path, json=body) as reply:
                if reply.status != 200:
                    raise EngineError(
                        f"vLLM at {self._url} answered {reply.status} to {path}: "
                        f"{(await reply.text())[:500]}{_hint(path, reply.status)}"
                    )
                with contextlib.suppress(aiohttp.ContentTypeError):
                    return await reply.json()
        except aiohttp.ClientError as error:
            raise EngineError(
                self._died() or f"vLLM at {self._url} cannot be reached ({error!r}). Is it up?"
            ) from error


def _hint(path: str, status: int) -> str:
    if path.endswith("lora_adapter") and status in (403, 404):
        return (
            ". Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its "
            "environment"
        )
    return ""

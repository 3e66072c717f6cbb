"""A GGUF file served inside this process, as an OpenAI-compatible endpoint on loopback."""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SLOTS = 2
"""Each keeps the rubric's prompt in its cache, so more of them begin more slowly."""
CONTEXT_TOKENS = 4096
"""For each slot: the rubric's prompt takes about a thousand."""


def check_gguf(path: str) -> None:
    if find_spec("xllamacpp") is None:
        raise ValueError(
            "judge.backend llamacpp needs the package xllamacpp, which is not installed. "
            "Type: pip install xllamacpp"
        )
    if not Path(path).is_file():
        raise ValueError(f"judge.model is {path!r}: no such file. Backend llamacpp needs a GGUF")


class LlamaServer:
    """Loads in a thread; the server's own threads stop when it is let go of."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._server: Any = None
        self.url = ""

    async def __aenter__(self) -> LlamaServer:
        self._server = await asyncio.to_thread(self._load)
        self.url = f"{self._server.listening_address}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server = None

    def _load(self) -> Any:
        return open_gguf(self._model, slots=SLOTS, context_tokens=CONTEXT_TOKENS)


def open_gguf(path: str, *, slots: int, context_tokens: int) -> Any:
    """llama.cpp's server with that model, up for as long as it is held."""
    xllamacpp: Any = import_module("xllamacpp")  # it has no types
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = context_tokens * slots
    params.n_parallel = slots
    params.port = 0
    params.cache_ram_mib = 0  # the slots keep what is shared; a pile of old prompts takes 8 GB
    params.warmup = False
    params.verbosity = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    return xllamacpp.Server(params)


def _threads() -> int:
    """One core is left to the rest: threads that wait for each other on a busy core crawl."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) - 1))

"""vLLM's own OpenAI server as a child process: started on loopback, watched, ended with the run."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rl.refusal import Refusal
from rl.rollout.engine import EngineError
from rl.run.ranks import without_ranks

BASE = "base"
_STOP_S = 20.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    model: str
    dtype: str
    lora_rank: int
    lora_targets: tuple[str, ...]
    is_wrapped: bool
    """The checkpoint has more than the language model, which alone is served."""
    max_model_len: int
    seed: int
    port: int
    on_gpu: bool
    memory_share: float
    cache_gib: int
    start_timeout_s: float
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """By the name that requests call them by; a run publishes its own as it goes."""
    chat_template: Path | None = None
    """In the place of the model's own."""
    thinking: bool | None = None
    """What the template is told where a request does not say."""


def why_no_vllm() -> str | None:
    """Why vLLM cannot be used here, in a sentence; None where it can."""
    if importlib.util.find_spec("vllm") is not None:
        return None
    if sys.platform != "linux":
        return f"vLLM has no wheel for {platform.system()}"
    return "vLLM is not installed"


def why_not_served(model_type: str, dtype: str, *, on_gpu: bool) -> str | None:
    """Why a vLLM that is here cannot serve this kind of model; None where it can."""
    if not model_type.startswith("qwen3_5"):
        return None
    if importlib.util.find_spec("torchvision") is None:
        return "vLLM needs torchvision for Qwen3.5, and it is not installed"
    if dtype == "float32" and not on_gpu:
        return "vLLM on a CPU computes Qwen3.5 in bfloat16 only (--policy.dtype bfloat16)"
    return None


class VllmServer:
    """Starts at once; `wait` returns when it answers. Its output goes to `log`."""

    def __init__(self, settings: ServerSettings, log: Path) -> None:
        self.port = settings.port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings, self._log = settings, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rl.rollout.tethered", *_command(settings, self.port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(settings),
                start_new_session=True,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + self._settings.start_timeout_s
        while not _answers(self.url):
            if self._process.poll() is not None:
                raise EngineError(
                    f"vLLM ended at start (exit {self._process.returncode}): {self._reason()} "
                    f"Its whole output is in {self._log}"
                )
            if time.monotonic() > deadline:
                raise EngineError(
                    f"vLLM did not come up within {self._settings.start_timeout_s:.0f} s; see "
                    f"{self._log}"
                )
            time.sleep(0.2)

    def died(self) -> str | None:
        """Why it is gone, if it is."""
        if self._process.poll() is None:
            return None
        return f"vLLM ended (exit {self._process.returncode}): {self._reason()} See {self._log}."

    def stop(self) -> None:
        """End the server and its engine processes, and wait until they are gone."""
        for end in (signal.SIGTERM, signal.SIGKILL):
            if not _group_lives(self._process.pid):
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, end)
            self._await_end(_STOP_S if end == signal.SIGTERM else 5.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)

    def _await_end(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and _group_lives(self._process.pid):
            self._process.poll()
            time.sleep(0.05)

    def _reason(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line and "raise " not in line]
        # the first error is the cause; what follows is its echo through the processes
        return (errors or lines or ["it said nothing"])[0].strip()[-300:]


def _command(settings: ServerSettings, port: int) -> list[str]:
    where = (
        ["--gpu-memory-utilization", str(settings.memory_share)]
        if settings.on_gpu
        # The smallest block there is: a group's short prompt is then computed once, not per row.
        else ["--enforce-eager", "--block-size", "32"]
    )
    adapters = [(name, str(folder)) for name, folder in settings.adapters.items()]
    thinks = json.dumps({"enable_thinking": settings.thinking})
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", settings.model, "--served-model-name", BASE),
        *("--host", "127.0.0.1", "--port", str(port)),
        # a model's own file may ask for penalties and cuts: another distribution than is trained
        *("--seed", str(settings.seed), "--generation-config", "vllm"),
        *("--dtype", settings.dtype, "--max-model-len", str(settings.max_model_len)),
        # two adapters: the one being sampled from and the one taking its place
        *("--enable-lora", "--max-loras", "2", "--max-lora-rank", _served_rank(settings.lora_rank)),
        *("--lora-target-modules", *settings.lora_targets),
        *(["--language-model-only"] if settings.is_wrapped else []),
        *(["--lora-modules", *map("=".join, adapters)] if adapters else []),
        *(["--chat-template", str(settings.chat_template)] if settings.chat_template else []),
        *([] if settings.thinking is None else ["--default-chat-template-kwargs", thinks]),
        # the log-probs of what is sampled from, temperature included
        *("--logprobs-mode", "processed_logprobs"),
        *where,
    ]


def _served_rank(rank: int) -> str:
    """The smallest rank vLLM has buffers for that holds ours."""
    return str(next(size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank))


def _environment(settings: ServerSettings) -> dict[str, str]:
    return (
        without_ranks(dict(os.environ))
        | _threads()
        | {
            "TETHERED_TO": str(os.getpid()),
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_CPU_KVCACHE_SPACE": str(settings.cache_gib),
            "VLLM_NO_USAGE_STATS": "1",
            # trainer and sampler take turns on the same cores: whoever waits must not spin
            "OMP_WAIT_POLICY": "PASSIVE",
        }
    )


def _threads() -> dict[str, str]:
    """On how many cores the CPU engine computes, and which, unless the environment says."""
    if "VLLM_CPU_OMP_THREADS_BIND" in os.environ or sys.platform != "linux":
        return {}
    cores = sorted(os.sched_getaffinity(0))
    # The run may have been told to use one thread; the server has cores of its own to bind.
    threads = {"OMP_NUM_THREADS": str(len(cores))}
    # vLLM keeps a core for itself, which is right where there are many and half of them here.
    return threads | (
        {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))} if len(cores) <= 4 else {}
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_port(port: int, flag: str, otherwise: str) -> None:
    """Refusal where something already listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Refusal(f"{flag} {port} is in use. {otherwise}") from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2.0) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _group_lives(pgid: int) -> bool:
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    return True

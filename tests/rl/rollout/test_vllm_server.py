"""The server's process, around real child processes; the real vLLM is met in the quickstart."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl.refusal import Refusal
from rl.rollout.vllm_server import ServerSettings, VllmServer, check_port, why_not_served

ROOT = Path(__file__).parents[3]


def settings(**changes):
    values = {
        "model": "nowhere",
        "dtype": "float32",
        "lora_rank": 8,
        "lora_targets": ("o_proj",),
        "is_wrapped": False,
        "max_model_len": 64,
        "seed": 0,
        "port": 0,
        "on_gpu": False,
        "memory_share": 0.4,
        "cache_gib": 1,
        "start_timeout_s": 1.0,
    }
    return ServerSettings(**(values | changes))


def test_a_port_in_use_is_refused_with_what_to_type():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refusal, match=f"^--port {port} is in use. Name another$"):
            check_port(port, "--port", "Name another")


def test_a_server_that_takes_too_long_is_given_up_and_gone(tmp_path):
    server = VllmServer(settings(), tmp_path / "log")
    try:
        with pytest.raises(RuntimeError, match="did not come up within 1 s"):
            server.wait()
    finally:
        server.stop()
    assert server.died()


def test_vllm_is_not_started_for_a_model_that_it_could_not_serve_here(tmp_path, monkeypatch):
    def why(model_type, dtype, *, on_gpu=False):
        return why_not_served(model_type, dtype, on_gpu=on_gpu)

    monkeypatch.setattr(sys, "path", [path for path in sys.path if "torchvision" not in path])
    assert why("llama", "float32") is None
    if importlib.util.find_spec("torchvision") is None:
        assert "needs torchvision for Qwen3.5" in why("qwen3_5_text", "bfloat16")
    (tmp_path / "torchvision.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "--policy.dtype bfloat16" in why("qwen3_5_text", "float32")
    assert why("qwen3_5_text", "bfloat16") is None
    assert why("qwen3_5_text", "float32", on_gpu=True) is None


PARENT = """
import os, subprocess, sys, threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
env = os.environ | {"TETHERED_TO": str(os.getpid())}
command = ["bash", "-c", "trap '' TERM; sleep 600 & echo $! >grandchild; wait"]
subprocess.Popen(
    [sys.executable, "-m", "rl.rollout.tethered", *command], env=env, start_new_session=True
)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_all_that_is_tethered_ends_with_a_parent_that_is_killed_outright(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=tmp_path, stdin=subprocess.PIPE, text=True
    )
    note = tmp_path / "grandchild"
    wait_until(lambda: note.is_file() and note.read_text().strip() != "")
    grandchild = int(note.read_text())
    assert b"sleep" in command_of(grandchild)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not command_of(grandchild))  # though it does not care for SIGTERM


def wait_until(it_is_so, patience_s=60.0):
    deadline = time.monotonic() + patience_s
    while not it_is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_tethered_process_whose_parent_is_already_gone_does_not_start():
    done = subprocess.run(
        [sys.executable, "-m", "rl.rollout.tethered", "echo", "started"],
        cwd=ROOT,
        env=os.environ | {"TETHERED_TO": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "started" not in done.stdout

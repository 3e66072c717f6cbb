"""What a run trained, behind vLLM's own OpenAI server: by its name, and `base` beside it."""

import contextlib
import json
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl.chat.reply import recommended
from rl.config.serve import Serve
from rl.policy.blueprint import draw_blueprint
from rl.policy.export.trained import Trained, trained_by
from rl.policy.load import context_window, has_cuda
from rl.policy.models import resolve_model
from rl.refusal import Refusal
from rl.rollout.engine import EngineError
from rl.rollout.published import rename_for_wrapped
from rl.rollout.vllm_server import (
    BASE,
    ServerSettings,
    VllmServer,
    check_port,
    why_no_vllm,
    why_not_served,
)
from rl.run.ranks import say

QUESTION = "What is aspirin for?"


def serve(asked: Serve) -> None:
    """Until it is interrupted, or vLLM ends."""
    try:
        with served(asked) as (server, trained):
            say(told(server.url, trained))
            while not (why := server.died()):
                time.sleep(0.5)
            raise Refusal(why)
    except KeyboardInterrupt:
        say("ended")


@contextlib.contextmanager
def served(asked: Serve) -> Iterator[tuple[VllmServer, Trained]]:
    if why := why_no_vllm():
        raise Refusal(f"{why}: nothing here can serve. Take experiments.chat, which needs none")
    trained = trained_by(asked.run)
    check_port(asked.port, "--port", "Name another, or 0 for a free one")
    with tempfile.TemporaryDirectory(prefix="served-") as folder:
        server = VllmServer(_settings(asked, trained, Path(folder)), trained.run / "serve.log")
        say(f"vLLM is starting; its output is in {trained.run}/serve.log")
        try:
            server.wait()
            yield server, trained
        except EngineError as error:
            raise Refusal(str(error)) from None
        finally:
            server.stop()


def told(url: str, trained: Trained) -> str:
    ask = shlex.quote(json.dumps(request(trained), ensure_ascii=False))
    return (
        f"{trained.run.name} is served at {url}/v1, and {BASE} is the model before training\n\n"
        f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d {ask}\n\n"
        "Ctrl-C ends it"
    )


def request(trained: Trained) -> dict[str, Any]:
    temperature, top_p = recommended(trained.thinks)
    return {
        "model": trained.run.name,
        "messages": trained.messages(QUESTION),
        "temperature": temperature,
        "top_p": top_p,
        "top_k": 20,
    }


def _settings(asked: Serve, trained: Trained, folder: Path) -> ServerSettings:
    policy, on_gpu = trained.policy, has_cuda()
    blueprint = draw_blueprint(policy, trained.tokenizer)
    if why := why_not_served(blueprint.model_type, policy.dtype, on_gpu=on_gpu):
        raise Refusal(why)
    adapter = folder / "adapter"
    shutil.copytree(trained.adapter, adapter)
    if blueprint.is_wrapped:
        rename_for_wrapped(adapter)
    template = folder / "chat_template.jinja"
    template.write_text(trained.tokenizer.chat_template, encoding="utf-8")
    return ServerSettings(
        model=resolve_model(policy.model),
        dtype=policy.dtype,
        lora_rank=policy.lora_rank,
        lora_targets=blueprint.lora_targets,
        is_wrapped=blueprint.is_wrapped,
        max_model_len=min(asked.longest, context_window(policy)),
        seed=trained.config.seed,
        port=asked.port,
        on_gpu=on_gpu,
        memory_share=asked.memory_share,
        cache_gib=asked.cache_gib,
        start_timeout_s=asked.start_timeout_s,
        adapters={trained.run.name: adapter},
        chat_template=template,
        thinking=trained.config.data.thinking,
    )

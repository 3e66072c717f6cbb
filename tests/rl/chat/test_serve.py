"""What a run trained, served: asked as it was trained, by the line that is printed."""

import dataclasses
import json
import socket
import subprocess

import httpx
import pytest

from experiments.quickstart import QUICKSTART
from rl.chat.reply import Sampling, reply
from rl.chat.serve import request, served, told
from rl.config import PolicyConfig, to_json
from rl.config.serve import Serve
from rl.policy.load import load_policy, load_tokenizer
from rl.refusal import Refusal
from rl.rollout.vllm_server import BASE, why_no_vllm

THINKING = PolicyConfig(chat_template="chatml-think", lora_rank=4, lora_alpha=8, dtype="float32")
NO_VLLM = why_no_vllm()


@pytest.fixture(scope="module")
def run(tmp_path_factory, move):
    """A run with thinking, of a template that is not its model's own."""
    folder = tmp_path_factory.mktemp("runs") / "thinker"
    data = dataclasses.replace(QUICKSTART.data, thinking=True, system_prompt='思考 it\'s "over".')
    config = dataclasses.replace(QUICKSTART, policy=THINKING, data=data)
    move(load_policy(THINKING, load_tokenizer(THINKING), seed=0)).save_adapter(folder / "adapter")
    (folder / "config.json").write_text(to_json(config))
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
@pytest.mark.skipif(NO_VLLM is not None, reason=str(NO_VLLM))
def test_a_run_is_served_by_its_name_and_says_what_it_says_here(run):
    with served(Serve(run=str(run), port=0, longest=256, cache_gib=1)) as (server, trained):
        line = told(server.url, trained).split("\n\n")[1]
        assert line.startswith("curl ")
        done = subprocess.run(["bash", "-c", f"{line} -sS"], capture_output=True, text=True)
        said = json.loads(done.stdout)["choices"][0]["message"]["content"]
        assert said.strip(), done.stderr

        greedy = {"temperature": 0, "max_tokens": 16}
        texts = {
            model: httpx.post(
                f"{server.url}/v1/chat/completions",
                json=request(trained) | greedy | {"model": model},
                timeout=60,
            ).json()["choices"][0]["message"]["content"]
            for model in (trained.run.name, BASE)
        }
    policy = load_policy(trained.policy, trained.tokenizer, seed=0)
    prompt = trained.prompt(request(trained)["messages"])
    sampling = Sampling(temperature=0, top_p=1.0, top_k=20, max_new_tokens=16, seed=0)
    here = reply(policy.model, trained.tokenizer, prompt, sampling, lambda *_: None)
    assert texts[trained.run.name].strip() == (here.split.reasoning + here.split.answer).strip()
    assert texts[BASE] != texts[trained.run.name]


def test_a_port_that_is_taken_is_said_before_anything_starts(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(Refusal, match=f"--port {port} is in use. Name another, or 0"),
            served(Serve(run=str(run), port=port)),
        ):
            pass
    assert not (run / "serve.log").exists()

"""One real vLLM server with SmolLM2, and what runs that use it must be able to rely on."""

import asyncio
import json
import urllib.request

import pytest
import safetensors.torch
import torch

from rl.config import PolicyConfig
from rl.data.source import SHIPPED
from rl.evaluate.choice.task import Asking, choice_tasks
from rl.evaluate.served import served_at
from rl.evaluate.task import Candidate
from rl.policy.load import Policy, load_policy, load_tokenizer
from rl.policy.models import resolve_model
from rl.refusal import Refusal
from rl.rollout.engine import EngineError, Sampling
from rl.rollout.vllm_client import VllmEngine
from rl.rollout.vllm_server import ServerSettings, VllmServer, why_no_vllm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("vllm"),
    pytest.mark.skipif(why_no_vllm() is not None, reason=f"{why_no_vllm()}"),
]
CONFIG = PolicyConfig(lora_rank=8, lora_alpha=16, dtype="float32")
SAMPLING = Sampling(max_new_tokens=4, temperature=1.0, seed=0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = ServerSettings(
        model=resolve_model(CONFIG.model),
        dtype="float32",
        lora_rank=CONFIG.lora_rank,
        lora_targets=CONFIG.lora_targets,
        is_wrapped=False,
        max_model_len=128,
        seed=0,
        port=0,
        on_gpu=False,
        memory_share=0.4,
        cache_gib=1,
        start_timeout_s=600.0,
    )
    server = VllmServer(settings, tmp_path_factory.mktemp("server") / "vllm.log")
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


def fresh_policy() -> Policy:
    return load_policy(CONFIG, load_tokenizer(CONFIG), seed=0)


def fill(policy: Policy, draw) -> None:
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            draw(parameter.data)


def moved(policy: Policy) -> Policy:
    """As a policy is after some training: its adapter changes what it says."""
    torch.manual_seed(0)
    fill(policy, lambda weights: weights.normal_(std=0.05))
    return policy


def models_at(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/v1/models") as reply:
        return [model["id"] for model in json.load(reply)["data"]]


def test_a_swap_that_took_effect_is_near_the_trainer_and_away_from_the_base(url, tmp_path):
    policy = fresh_policy()

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            first = await engine.publish(policy, 1)
            return first, await engine.publish(moved(policy), 2)

    first, second = asyncio.run(main())
    assert first["swap/moved"] == 0.0
    assert second["swap/moved"] > 0.1
    assert max(first["swap/error"], second["swap/error"]) < 1e-3


class OfAnotherClass(Policy):
    """Its adapter's keys are those of a class that wraps the one that is served."""

    def save_adapter(self, folder):
        super().save_adapter(folder)
        file = folder / "adapter_model.safetensors"
        tensors = safetensors.torch.load_file(file)
        renamed = {
            name.replace("base_model.model.model.", "base_model.model.model.language_model."): each
            for name, each in tensors.items()
        }
        assert renamed.keys() != tensors.keys()
        safetensors.torch.save_file(renamed, file)


def test_an_adapter_whose_keys_match_nothing_stops_the_run_with_the_reason(url, tmp_path):
    policy = fresh_policy()
    foreign = OfAnotherClass(model=policy.model, tokenizer=policy.tokenizer, loaded=policy.loaded)

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            await engine.publish(foreign, 1)
            with pytest.raises(EngineError, match="took the adapter and does not use it"):
                await engine.publish(moved(foreign), 2)

    asyncio.run(main())


def test_an_adapter_that_makes_nan_stops_the_run(url, tmp_path):
    policy = fresh_policy()
    fill(policy, lambda weights: weights.fill_(float("nan")))

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            with pytest.raises(EngineError):
                await engine.publish(policy, 1)

    asyncio.run(main())


def test_two_runs_on_one_server_do_not_meet_and_leave_it_as_it_was(url, tmp_path):
    plain, other = fresh_policy(), moved(fresh_policy())
    prompt = plain.tokenizer.encode("The heart pumps")
    greedy = Sampling(max_new_tokens=8, temperature=0.0, seed=0)

    async def answer(engine):
        (completion,) = [each async for each in engine.stream([prompt], greedy)]
        return completion.logprobs

    async def alone(policy, folder):
        async with VllmEngine(url, folder) as engine:
            await engine.publish(policy, 1)
            return await answer(engine)

    async def together():
        async with VllmEngine(url, tmp_path / "c") as one, VllmEngine(url, tmp_path / "d") as two:
            await one.publish(plain, 1)
            await two.publish(other, 1)
            return await answer(one), await answer(two)

    apart = asyncio.run(alone(plain, tmp_path / "a")), asyncio.run(alone(other, tmp_path / "b"))
    met = asyncio.run(together())
    assert apart[0] != pytest.approx(apart[1], abs=1e-2)
    assert met[0] == pytest.approx(apart[0], abs=1e-4)
    assert met[1] == pytest.approx(apart[1], abs=1e-4)
    assert models_at(url) == ["base"]


def asked(tmp_path, *, name="medqa", rows=8):
    """Of a shipped set, each question with its own answer and three others."""
    lines = (SHIPPED / "medical_en.jsonl").read_text(encoding="utf-8").splitlines()[::5][: rows + 3]
    known = [json.loads(line) for line in lines]
    path = tmp_path / "set.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for place in range(rows):
            options = [row["answer"] for row in known[place : place + 4]]
            options.insert(place % 4, options.pop(0))
            row = {"question": known[place]["question"], "options": options, "answer": place % 4}
            file.write(json.dumps(row) + "\n")
    (task,) = choice_tasks(name, str(path), Asking())
    return task


@pytest.mark.parametrize("name", ["medqa", "medqa:chat", "arc_challenge"])
def test_a_server_finds_the_options_as_likely_as_the_policy_in_this_process(url, tmp_path, name):
    task, policy = asked(tmp_path, name=name), fresh_policy()
    candidate = Candidate(tokenizer=policy.tokenizer, window=128)
    task.check(candidate)
    here = list(task.score(policy, candidate, ()))
    there = list(task.score(served_at(url), candidate, ()))
    assert [score.shown["picked"] for score in there] == [score.shown["picked"] for score in here]
    for own, served in zip(here, there, strict=True):
        assert served.values == own.values
        assert served.shown["log_likelihoods"] == pytest.approx(
            own.shown["log_likelihoods"], abs=1e-3
        )


def test_a_server_writes_what_the_policy_in_this_process_writes(url, tmp_path):
    file = asked(tmp_path, rows=3).facts["source"]
    (task,) = choice_tasks("medqa:answer", file, Asking(max_new_tokens=5))
    policy, server = fresh_policy(), served_at(url)
    candidate = Candidate(tokenizer=policy.tokenizer, window=128)
    here, there = (
        {score.item: score.shown["answer"] for score in task.score(whom, candidate, ())}
        for whom in (policy, server)
    )
    assert here == there
    assert all(here.values())


def test_a_server_with_a_smaller_window_than_the_model_says_so(url, tmp_path):
    task, policy = asked(tmp_path, rows=1), fresh_policy()
    long = Candidate(tokenizer=policy.tokenizer, window=1024, system_prompt="Be brief. " * 60)
    (in_chat,) = choice_tasks("medqa:chat", task.facts["source"], Asking())
    with pytest.raises(Refusal, match=r"maximum context length"):
        list(in_chat.score(served_at(url), long, ()))


def test_log_probs_of_what_is_sampled_from_are_recognised_at_any_temperature(url, tmp_path):
    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            await engine.refuse_raw_logprobs(0.7)

    asyncio.run(main())


def test_a_completion_has_the_room_its_prompt_leaves(url, tmp_path):
    policy = fresh_policy()
    prompts = [policy.tokenizer.encode(text) for text in ("Water", "Water is wet and so is")]
    together = len(prompts[1]) + 2
    sampling = Sampling(max_new_tokens=5, max_total_tokens=together, temperature=1.0, seed=0)

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            await engine.publish(policy, 1)
            return {each.prompt: each async for each in engine.stream(prompts, sampling)}

    sampled = asyncio.run(main())
    for place, most in enumerate((5, 2)):
        length = len(sampled[place].token_ids)
        assert length == most if sampled[place].finish_reason == "length" else length <= most


def raw_logprobs(path, body):
    if body is None:
        return 200, {"data": [{"id": "someone's", "parent": None}]}
    return 200, {"choices": [{"logprobs": {"top_logprobs": [{" heart": -0.9, " a": -4.0}]}}]}


def test_log_probs_from_before_the_temperature_are_refused_with_what_to_type(tmp_path, serving):
    async def main(url):
        async with VllmEngine(url, tmp_path) as engine:
            await engine.refuse_raw_logprobs(1.0)
            with pytest.raises(Refusal, match="--logprobs-mode processed_logprobs"):
                await engine.refuse_raw_logprobs(0.7)

    with serving(raw_logprobs) as url:
        asyncio.run(main(url))

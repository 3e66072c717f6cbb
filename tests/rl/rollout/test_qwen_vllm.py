"""Real vLLM with Qwen3.5, linear attention and all, as a text checkpoint and as the hub has it."""

import asyncio
import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rl.config import PolicyConfig
from rl.policy.blueprint import draw_blueprint
from rl.policy.load import Policy, load_policy, load_tokenizer
from rl.policy.models import resolve_model
from rl.rollout.engine import EngineError, Sampling
from rl.rollout.vllm_client import VllmEngine
from rl.rollout.vllm_server import ServerSettings, VllmServer, why_no_vllm
from rl.run.folder import read_run

ROOT = Path(__file__).parents[3]
TORCHVISION = ROOT / "build" / "torchvision"
HAS_ITS_OWN = importlib.util.find_spec("torchvision") is not None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("vllm"),
    pytest.mark.skipif(why_no_vllm() is not None, reason=f"{why_no_vllm()}"),
    pytest.mark.skipif(
        not (HAS_ITS_OWN or TORCHVISION.is_dir()),
        reason="vLLM needs torchvision for Qwen3.5: make build/torchvision",
    ),
]
PROMPTS = ("The heart pumps", "发热三天,咳嗽", "A patient with", "Which organ")


def config_of(model: str) -> PolicyConfig:
    return PolicyConfig(
        model=model, lora_rank=8, lora_alpha=16, lora_targets=("all-linear",), dtype="bfloat16"
    )


@pytest.fixture(scope="module", params=["tiny-qwen3.5", "tiny-qwen3.5-vl"])
def served(request, tmp_path_factory):
    """A server, and the policy as it is after some training."""
    config = config_of(request.param)
    tokenizer = load_tokenizer(config)
    blueprint = draw_blueprint(config, tokenizer)
    settings = ServerSettings(
        model=resolve_model(config.model),
        dtype="bfloat16",
        lora_rank=config.lora_rank,
        lora_targets=blueprint.lora_targets,
        is_wrapped=blueprint.is_wrapped,
        max_model_len=128,
        seed=0,
        port=0,
        on_gpu=False,
        memory_share=0.4,
        cache_gib=1,
        start_timeout_s=600.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", with_torchvision())
        server = VllmServer(settings, tmp_path_factory.mktemp("server") / "vllm.log")
    try:
        server.wait()
        yield server.url, moved(load_policy(config, tokenizer, seed=0))
    finally:
        server.stop()


def with_torchvision() -> str:
    """The PYTHONPATH of the server."""
    before = os.environ.get("PYTHONPATH")
    laid_over = [] if HAS_ITS_OWN else [str(TORCHVISION)]
    return os.pathsep.join([str(ROOT), *([before] if before else []), *laid_over])


def moved(policy: Policy) -> Policy:
    torch.manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05)
    return policy


def test_greedy_answers_and_their_log_probs_are_the_trainers_with_the_adapter(served, tmp_path):
    url, policy = served
    prompts = [policy.tokenizer.encode(prompt) for prompt in PROMPTS]

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            swap = await engine.publish(policy, 1)
            greedy = Sampling(max_new_tokens=16, temperature=0.0, seed=0)
            return swap, [each async for each in engine.stream(prompts, greedy)]

    swap, completions = asyncio.run(main())
    assert swap["swap/error"] < 0.1 < 0.4 < swap["swap/moved"]
    gaps, errors, errors_without = [], [], []
    for completion in completions:
        prompt = prompts[completion.prompt]
        ids = torch.tensor([prompt + completion.token_ids])
        said = ids[0, len(prompt) :, None]
        served_T = torch.tensor(completion.logprobs)
        with torch.no_grad():
            adapted_TV = policy.model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
            with policy.model.disable_adapter():
                plain_TV = policy.model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        adapted_T, plain_T = adapted_TV.gather(1, said)[:, 0], plain_TV.gather(1, said)[:, 0]
        gaps.append(adapted_TV.amax(-1) - adapted_T)
        errors.append(served_T - adapted_T)
        errors_without.append(served_T - plain_T)
    # bfloat16 may order two tokens of nearly the same chance either way
    assert torch.cat(gaps).max() < 0.2
    assert (torch.cat(gaps) == 0).float().mean() > 0.9
    assert torch.cat(errors).abs().mean() < 0.1
    assert torch.cat(errors_without).abs().mean() > 0.4


def test_keys_of_the_class_that_is_trained_are_used_by_none_but_that(served, tmp_path):
    """Published as they are, the hub's class takes them, says so, and samples from the base."""
    url, policy = served
    as_it_is = dataclasses.replace(policy.loaded, is_wrapped=False)
    unrenamed = Policy(model=policy.model, tokenizer=policy.tokenizer, loaded=as_it_is)

    async def main():
        async with VllmEngine(url, tmp_path) as engine:
            await engine.publish(unrenamed, 1)

    if not policy.loaded.is_wrapped:
        asyncio.run(main())
        return
    with pytest.raises(EngineError, match="took the adapter and does not use it"):
        asyncio.run(main())


def test_a_run_on_the_hubs_class_samples_from_what_it_trains(tmp_path):
    flags = (
        "--policy.model tiny-qwen3.5-vl-closed --policy.dtype bfloat16 --policy.lora-targets "
        "all-linear --rollout.engine vllm --rollout.max-new-tokens 96 --reward.floor -3 "
        "--data.heldout-rows 4 --gspo.generations 2 --gspo.learning-rate 1e-2 --save-every 1 "
        "--gspo.old-policy trainer --tracking.mode disabled"
    ).split()
    done = subprocess.run(
        [sys.executable, "-m", "experiments.quickstart", "--out", str(tmp_path), *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": with_torchvision()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = read_run(tmp_path / "quickstart").metrics
    assert first["swap/moved"] < 0.1 < 0.3 < second["swap/moved"]
    assert max(first["swap/error"], second["swap/error"]) < 0.1
    assert max(first["kl/sampler"], second["kl/sampler"]) < 0.02

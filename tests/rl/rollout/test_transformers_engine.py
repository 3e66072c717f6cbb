"""Sampling in process: the log-probs are those of the plain distribution, whatever a model asks."""

import asyncio

import pytest
import torch
from transformers import GenerationConfig

from rl.config import PolicyConfig
from rl.policy.load import load_policy, load_tokenizer
from rl.rollout.engine import Sampling
from rl.rollout.transformers_engine import TransformersEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def policy():
    config = PolicyConfig(lora_rank=8, dtype="float32")
    return load_policy(config, load_tokenizer(config), seed=0)


WISHES = {
    "repetition_penalty": 1.5,
    "min_p": 0.2,
    "top_k": 3,
    "top_p": 0.5,
    "no_repeat_ngram_size": 2,
    "suppress_tokens": [28, 30, 33],
}


@pytest.mark.parametrize("wish", WISHES)
def test_what_a_models_own_file_asks_of_sampling_is_not_done(policy, wish):
    base = policy.model.get_base_model()
    own = base.generation_config.to_dict()
    prompt = policy.tokenizer.encode("Water water water is")

    def sampled():
        sampling = Sampling(max_new_tokens=12, temperature=1.0, seed=3)

        async def main():
            engine = TransformersEngine(policy)
            return [each async for each in engine.stream([prompt] * 2, sampling)]

        return asyncio.run(main())

    base.generation_config = GenerationConfig(**(own | {wish: WISHES[wish]}))
    for completion in sampled():
        ids = torch.tensor([prompt + completion.token_ids])
        with torch.no_grad():
            logps = policy.model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logps.gather(1, ids[0, len(prompt) :, None]).squeeze(1)
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_a_completion_has_the_room_its_prompt_leaves(policy):
    short, long = (
        policy.tokenizer.encode("Water"),
        policy.tokenizer.encode("Water is wet and so is"),
    )
    sampling = Sampling(max_new_tokens=9, max_total_tokens=len(long) + 4, temperature=1.0, seed=1)
    endless = policy.model.get_base_model()
    ends = endless.generation_config.eos_token_id

    async def main():
        engine = TransformersEngine(policy)
        engine._ends = set()  # nothing ends before its room does
        endless.generation_config.eos_token_id = None
        return {each.prompt: each async for each in engine.stream([short, long], sampling)}

    sampled = asyncio.run(main())
    endless.generation_config.eos_token_id = ends
    assert [len(sampled[place].token_ids) for place in (0, 1)] == [min(9, len(long) + 4 - 1), 4]
    assert [len(sampled[place].logprobs) for place in (0, 1)] == [min(9, len(long) + 4 - 1), 4]
    assert {each.finish_reason for each in sampled.values()} == {"length"}

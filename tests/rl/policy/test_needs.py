"""What training takes, counted before there are weights, is what it takes once there are."""

import dataclasses
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rl.policy.hours
import rl.run.checked
import rl.stages.sft
from rl.config.gspo import GSPORun, RolloutConfig
from rl.config.sft import SFTRun
from rl.policy.hours import DECODED, TRAINED, Pace, measured_pace, said_of_hours
from rl.policy.needs import Needs, needs, said_of_memory
from rl.run.checked import check
from rl.stages.sft import SFTStage

ROWS, TOKENS = 2, 48


def really_kept(model) -> int:
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    ids = torch.zeros((ROWS, TOKENS), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_base_model().model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
        )
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def gradients(policy) -> list[torch.Tensor]:
    policy.model.train()
    torch.manual_seed(0)
    ids = torch.randint(10, 1000, (ROWS, TOKENS))
    policy.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return [each.grad for each in policy.model.parameters() if each.requires_grad]


@pytest.mark.parametrize("targets", [("o_proj", "down_proj"), ("all-linear",)])
def test_what_is_counted_without_weights_is_what_is_kept_with_them(tiny_config, load, targets):
    config = tiny_config(lora_targets=targets, dtype="float32")
    policy = load(config)
    need = needs(config, rows=ROWS, tokens=TOKENS)
    kept = really_kept(policy.model.train())
    assert need.kept == pytest.approx(kept, rel=0.03)
    learning = [each for each in policy.model.parameters() if each.requires_grad]
    assert need.learning == 4 * sum(each.nbytes for each in learning)
    assert need.weights + need.learning // 4 == sum(
        each.nbytes for each in policy.model.parameters()
    )


def test_checkpointing_keeps_less_and_changes_no_gradient(tiny_config, load, move):
    config = tiny_config(lora_targets=("all-linear",), dtype="float32")
    frugal = dataclasses.replace(config, gradient_checkpointing=True)
    plain = gradients(move(load(config)))
    again = gradients(move(load(frugal)))
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert needs(frugal, rows=8, tokens=64).kept < 0.6 * needs(config, rows=8, tokens=64).kept


def test_memory_is_told_by_its_parts(tiny_config):
    shape = {"rows": 4, "tokens": 1000}
    said = said_of_memory(needs(tiny_config(), **shape), tiny_config(), **shape)
    assert "kept for the backward pass of 4 rows of 1,000 tokens" in said


def test_what_is_counted_without_weights_is_what_is_multiplied_with_them(tiny_config, load):
    config = tiny_config(lora_targets=("all-linear",), dtype="float32")
    counter = FlopCounterMode(display=False)
    ids = torch.zeros((1, TOKENS), dtype=torch.long)
    with counter, torch.no_grad():
        load(config).model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    counted = needs(config, rows=ROWS, tokens=TOKENS).row_flops
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.02)


NEED = Needs(weights=8 * 10**9, learning=0, kept=0, row_flops=10**13)
PACE = Pace(flops_per_s=10**14 / TRAINED, bytes_per_s=2 * 10**12 / DECODED)


@pytest.mark.parametrize(
    ("checkpointing", "more_passes", "said"),
    [
        (
            False,
            0,
            "about 50 min if every row has its full length (update 33 min, sampling 17 min)",
        ),
        (True, 0, "about 1.1 h if every row has its full length (update 50 min, sampling 17 min)"),
        (True, 1, "about 1.4 h if every row has its full length (update 1.1 h, sampling 17 min)"),
    ],
)
def test_hours_are_multiplications_and_bytes_over_the_devices_pace(
    tiny_config, monkeypatch, checkpointing, more_passes, said
):
    monkeypatch.setattr(rl.policy.hours, "measured_pace", lambda dtype: PACE)
    config = tiny_config(gradient_checkpointing=checkpointing)
    # 10,000 rows x 2 passes x 1e13 / 1e14 a second; 250,000 tokens x 8e9 bytes / 2e12 a second
    run = {"rows": 10_000, "passes_without_gradient": more_passes, "tokens_sampled": 250_000}
    assert said in said_of_hours(NEED, config, **run)


def test_the_pace_of_this_device_is_that_of_a_multiplication_timed_by_hand():
    matrix = torch.ones((1024, 1024))
    pace = measured_pace(torch.float32)
    begun = time.perf_counter()
    for _ in range(8):
        matrix @ matrix
    by_hand = 8 * 2 * 1024**3 / (time.perf_counter() - begun)
    assert 1 / 30 < pace.flops_per_s / by_hand < 30


@pytest.mark.parametrize("stage", ["sft", "gspo"])
def test_on_a_gpu_a_run_says_what_it_takes_before_it_starts(
    monkeypatch, capsys, stage, tiny_config
):
    monkeypatch.setattr(rl.policy.hours, "measured_pace", lambda dtype: PACE)
    if stage == "sft":
        monkeypatch.setattr(rl.stages.sft, "has_cuda", lambda: True)
        SFTStage(SFTRun(policy=tiny_config(chat_template="chatml-think"))).check()
    else:
        monkeypatch.setattr(rl.run.checked, "has_cuda", lambda: True)
        rollout = RolloutConfig(engine="transformers")
        check(GSPORun(policy=tiny_config(), rollout=rollout))
    said = "".join(capsys.readouterr())
    assert "training takes" in said
    assert "computing takes about" in said
    assert ("sampling" in said) == (stage == "gspo")


def test_all_weights_take_their_gradients_and_moments_too(tiny_config, load):
    config = tiny_config("tiny-llama", learns="weights", dtype="bfloat16")
    count = sum(each.numel() for each in load(config).model.parameters())
    need = needs(config, rows=ROWS, tokens=TOKENS)
    assert (need.weights, need.learning) == (0, 4 * 4 * count)
    small = needs(config, rows=ROWS, tokens=TOKENS, moment_bytes=1)
    assert small.learning == 2 * 4 * count + 2 * count


def test_a_base_in_4_bits_is_counted_as_it_is_held(tiny_config, load):
    from bitsandbytes.nn import Params4bit

    config = tiny_config("tiny-llama", quantise="nf4", dtype="bfloat16", lora_targets=("q_proj",))
    held = 0
    for each in load(config).model.parameters():
        held += 0 if each.requires_grad else each.nbytes
        if isinstance(each, Params4bit):
            state = each.quant_state
            held += state.absmax.nbytes + state.state2.absmax.nbytes
    need = needs(config, rows=ROWS, tokens=TOKENS)
    assert need.weights == pytest.approx(held, rel=0.01)

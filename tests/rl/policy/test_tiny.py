"""The tiny Qwen3.5: made by anybody, the same each time, and shaped like the hub's."""

import json

import pytest
import torch

from rl.data.rows import read_rows
from rl.data.source import SHIPPED
from rl.policy.models import EMBEDDED, resolve_model
from rl.policy.tiny import THINK, TinyQwen

TINY = [name for name, model in EMBEDDED.items() if isinstance(model, TinyQwen)]
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "什么病? Why?"}]
OPEN = "<|im_start|>assistant\n<think>\n"
CLOSED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def tokenizer_of(name):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model(name))


def test_it_is_the_same_weights_and_tokens_wherever_it_is_made(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        EMBEDDED["tiny-qwen3.5-vl"].make("tiny-qwen3.5-vl", tmp_path / name)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_making_it_does_not_touch_anybodys_random_state(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    EMBEDDED["tiny-qwen3.5"].make("tiny-qwen3.5", tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", TINY)
def test_its_checkpoint_is_of_the_class_it_says_and_trains_as_the_text_class(name):
    from transformers import AutoModelForCausalLM

    folder = resolve_model(name)
    with open(f"{folder}/config.json") as file:
        (said,) = json.load(file)["architectures"]
    assert said == (
        "Qwen3_5ForConditionalGeneration" if EMBEDDED[name].has_vision else "Qwen3_5ForCausalLM"
    )
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "Qwen3_5ForCausalLM"
    assert not report["missing_keys"]
    logits = model(torch.arange(20)[None]).logits
    assert logits.isfinite().all()
    assert logits.std() > 1  # what is likeliest can be told in bfloat16 too


@pytest.mark.parametrize("name", TINY)
def test_its_template_opens_or_closes_the_think_block_as_its_size_does_on_the_hub(name):
    tokenizer = tokenizer_of(name)

    def prompt(**said):
        return tokenizer.apply_chat_template(
            ASKED, add_generation_prompt=True, tokenize=False, **said
        )

    start = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n什么病? Why?<|im_end|>\n"
    assert prompt(enable_thinking=True) == start + OPEN
    assert prompt(enable_thinking=False) == start + CLOSED
    assert prompt() == start + (CLOSED if name.endswith("closed") else OPEN)


def test_a_last_turn_keeps_its_reasoning_and_earlier_ones_lose_theirs():
    tokenizer = tokenizer_of("tiny-qwen3.5")
    spoken = [
        *ASKED,
        {"role": "assistant", "content": "<think>\nlong ago\n</think>\n\nFlu."},
        {"role": "user", "content": "Sure?"},
    ]
    prompt = tokenizer.apply_chat_template(spoken, add_generation_prompt=True, tokenize=False)
    assert "long ago" not in prompt
    assert "<|im_start|>assistant\nFlu.<|im_end|>" in prompt
    for last in (
        {"role": "assistant", "content": "<think>\nit is\n</think>\n\nYes."},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "it is"},
    ):
        whole = tokenizer.apply_chat_template([*spoken, last], tokenize=False)
        assert whole == prompt + "it is\n</think>\n\nYes.<|im_end|>\n"


def test_its_tokens_spell_any_text_and_know_the_words_of_the_questions():
    tokenizer = tokenizer_of("tiny-qwen3.5")
    text = "Ω 发热 <think>a</think> 🙂\n"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert all(len(tokenizer.encode(mark)) == 1 for mark in (*THINK, "<|im_end|>"))
    assert tokenizer.decode(tokenizer.encode("<|im_end|>"), skip_special_tokens=True) == ""
    for file in SHIPPED.glob("*.jsonl"):
        questions = [row.question for row in read_rows(file)]
        tokens = sum(len(tokenizer.encode(question)) for question in questions)
        assert tokens < 0.7 * sum(len(question.encode()) for question in questions)

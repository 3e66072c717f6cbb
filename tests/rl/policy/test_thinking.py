"""`--data.thinking` gives what it says, or is refused."""

import pytest

from rl.config import DataConfig, PolicyConfig
from rl.data.rows import Row, to_prompts
from rl.policy.load import load_tokenizer
from rl.policy.thinking import check_thinking
from rl.refusal import Refusal

ROW = Row(id="1", question="Which organ pumps blood?", answer="the heart")
OPEN, CLOSED = "<think>\n", "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("model", "thinking", "end"),
    [
        ("tiny-qwen3.5", None, OPEN),
        ("tiny-qwen3.5", True, OPEN),
        ("tiny-qwen3.5", False, CLOSED),
        ("tiny-qwen3.5-closed", None, CLOSED),
        ("tiny-qwen3.5-closed", True, OPEN),
        ("tiny-qwen3.5-closed", False, CLOSED),
    ],
)
def test_the_prompt_ends_as_thinking_says_with_either_template(model, thinking, end, tiny_config):
    tokenizer = load_tokenizer(tiny_config(model))
    check_thinking(tokenizer, thinking)
    (prompt,), _ = to_prompts([ROW], tokenizer, DataConfig(thinking=thinking), 512)
    assert tokenizer.decode(prompt.token_ids).endswith(f"<|im_start|>assistant\n{end}")


def test_thinking_is_refused_where_the_template_has_no_think_block(tiny_config):
    tokenizer = load_tokenizer(tiny_config())
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    check_thinking(tokenizer, None)
    check_thinking(tokenizer, False)
    with pytest.raises(Refusal, match=r"data.thinking is True, .* no think block"):
        check_thinking(tokenizer, True)


def test_a_model_without_a_think_block_is_given_one():
    config = PolicyConfig(model="smollm2-135m", chat_template="chatml-think")
    tokenizer = load_tokenizer(config)
    check_thinking(tokenizer, True)
    said = prompt_of(tokenizer, True)
    assert said.endswith("<|im_start|>assistant\n<think>\n")
    assert prompt_of(tokenizer, False) == f"{said}\n</think>\n\n"


def test_a_template_of_the_users_is_read_from_its_file(tmp_path):
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}!")
    config = PolicyConfig(model="smollm2-135m", chat_template=str(tmp_path / "mine.jinja"))
    assert prompt_of(load_tokenizer(config), None) == "?!"


def test_a_template_that_is_not_there_is_refused_with_the_nearest():
    config = PolicyConfig(model="smollm2-135m", chat_template="chatml-thin")
    with pytest.raises(Refusal, match=r"chat_template chatml-thin: .*did you mean 'chatml-think'"):
        load_tokenizer(config)


def prompt_of(tokenizer, thinking):
    options = {} if thinking is None else {"enable_thinking": thinking}
    asked = [{"role": "user", "content": "?"}]
    return tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=False, **options
    )

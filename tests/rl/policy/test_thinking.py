"""`--data.thinking` gives what it says, or is refused."""

import pytest

from rl.config import DataConfig
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

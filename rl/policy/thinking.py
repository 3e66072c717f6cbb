"""Whether a chat template can do what is asked of it."""

from typing import Any

from rl.data.rows import thinking_options
from rl.refusal import Refusal

THINK = "<think>\n"


def check_thinking(tokenizer: Any, thinking: bool | None) -> None:
    """Refusal where a think block is asked for and the template knows of none."""
    if thinking and not _heeds_thinking(tokenizer):
        raise Refusal(
            "data.thinking is True, and the model's chat template has no think block to open: its "
            "prompts are the same without. Leave --data.thinking out, or choose a model that thinks"
        )


def has_think_block(tokenizer: Any) -> bool:
    """Whether it knows of reasoning: told to think it prompts otherwise, or it always thinks."""
    return _heeds_thinking(tokenizer) or _prompt(tokenizer, True).endswith(THINK)


def _heeds_thinking(tokenizer: Any) -> bool:
    return _prompt(tokenizer, True) != _prompt(tokenizer, False)


def _prompt(tokenizer: Any, thinking: bool) -> str:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}],
        add_generation_prompt=True,
        tokenize=False,
        **thinking_options(thinking),
    )

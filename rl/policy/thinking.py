"""Whether a chat template can do what is asked of it."""

from typing import Any

from rl.refusal import Refusal


def check_thinking(tokenizer: Any, thinking: bool | None) -> None:
    """Refusal where a think block is asked for and the template knows of none."""
    if thinking and _prompt(tokenizer, True) == _prompt(tokenizer, False):
        raise Refusal(
            "data.thinking is True, and the model's chat template has no think block to open: its "
            "prompts are the same without. Leave --data.thinking out, or choose a model that thinks"
        )


def _prompt(tokenizer: Any, thinking: bool) -> str:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}],
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=thinking,
    )

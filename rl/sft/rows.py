"""Examples as tokens, and how many of them are prompt: what is learnt is decided by position.

What is learnt goes on, token for token, from the very prompt that the policy would be given to
answer. Where the chat template would not render it so, the row is left out with the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rl.data.examples import Example
from rl.data.rows import prompt_ids, thinking_options
from rl.policy.thinking import THINK, has_think_block

END_OF_THINK = "\n</think>\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    example: Example
    token_ids: list[int]
    prompt_tokens: int

    @property
    def learnt_tokens(self) -> int:
        return len(self.token_ids) - self.prompt_tokens

    def begun(self, learnt_tokens: int) -> "TokenRow":
        """Itself, ended where so many of its tokens are learnt."""
        return replace(self, token_ids=self.token_ids[: self.prompt_tokens + learnt_tokens])

    def labels(self) -> list[int]:
        """A first token has none before it to be told from."""
        hidden = max(self.prompt_tokens, 1)
        return [-100] * hidden + self.token_ids[hidden:]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    where: str
    reason: str
    kind: str
    """`broken` or `too long`."""


class _Unusable(Exception):
    pass


class _TooLong(Exception):
    pass


def to_token_rows(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    thinking: bool | None,
    max_tokens: int | None,
    overlap_tokens: int = 0,
) -> tuple[list[TokenRow], list[LeftOut]]:
    """Rows that fit, and why others are left out. `thinking` is data.thinking; without max_tokens
    all fit, and with it a plain text is cut, each part after the last overlap_tokens before it."""
    rows: list[TokenRow] = []
    left_out: list[LeftOut] = []
    render = _renderer(tokenizer, thinking)
    for example in examples:
        try:
            if example.fault:
                raise _Unusable(example.fault)
            rows += _fitting(render(example), max_tokens, overlap_tokens)
        except _Unusable as error:
            left_out.append(LeftOut(where=example.where, reason=str(error), kind="broken"))
        except _TooLong as error:
            left_out.append(LeftOut(where=example.where, reason=str(error), kind="too long"))
    return rows, left_out


def _fitting(row: TokenRow, max_tokens: int | None, overlap_tokens: int) -> Iterator[TokenRow]:
    """The row, or the parts of a plain text: it has no answer to be cut in the middle."""
    if max_tokens is None or len(row.token_ids) <= max_tokens:
        yield row
    elif row.example.prompt == "":
        step = max_tokens - overlap_tokens
        for start in range(0, len(row.token_ids) - overlap_tokens, step):
            part = row.token_ids[start : start + max_tokens]
            if len(part) > 1:
                # what overlaps is read again for what follows it, and not learnt twice
                read_again = overlap_tokens if start else 0
                yield TokenRow(example=row.example, token_ids=part, prompt_tokens=read_again)
    else:
        raise _TooLong(f"{len(row.token_ids)} tokens, more than sft.max_tokens {max_tokens}")


def _renderer(tokenizer: Any, thinking: bool | None) -> Callable[[Example], TokenRow]:
    can_think = bool(tokenizer.chat_template) and has_think_block(tokenizer)

    def render(example: Example) -> TokenRow:
        if isinstance(example.prompt, str):
            prompt = _plain_ids(tokenizer, example.prompt)
            learnt = _plain_ids(tokenizer, example.answer)
        else:
            if thinking is False:
                example = replace(example, reasoning="")
            _check_thinking(example, thinking, can_think=can_think)
            prompt, learnt = _turn_ids(example, tokenizer, True if example.reasoning else thinking)
        return TokenRow(
            example=example,
            token_ids=[*prompt, *_ended(learnt, tokenizer.eos_token_id)],
            prompt_tokens=len(prompt),
        )

    return render


def _check_thinking(example: Example, thinking: bool | None, *, can_think: bool) -> None:
    if example.reasoning and not can_think:
        raise _Unusable(
            "it has reasoning and the chat template has no think block. Type --data.thinking False "
            "to learn the answers alone, or --policy.chat-template chatml-think to give it one"
        )
    if thinking and not example.reasoning:
        raise _Unusable("it has no reasoning and data.thinking is True. Leave --data.thinking out")


def _turn_ids(
    example: Example, tokenizer: Any, thinking: bool | None
) -> tuple[list[int], list[int]]:
    """Of the prompt, and of what the assistant's turn adds to it."""
    prompt = list(example.prompt)
    said = example.answer
    if example.reasoning:
        said = f"{THINK}{example.reasoning}{END_OF_THINK}{said}"
    whole = [*prompt, {"role": "assistant", "content": said}]
    before = _text(tokenizer, prompt, thinking, add_generation_prompt=True)
    after = _text(tokenizer, whole, thinking)
    if before.endswith(THINK) and not example.reasoning:
        raise _Unusable(
            "it has no reasoning and the chat template opens a think block. Type --data.thinking "
            "False"
        )
    if before.endswith(THINK):
        said = said.removeprefix(THINK)
    if not after.startswith(before + said):
        raise _Unusable("the chat template does not render it as its prompt and what follows")
    ids_before = prompt_ids(prompt, tokenizer, thinking)
    ids = tokenizer.apply_chat_template(
        whole, tokenize=True, return_dict=False, **thinking_options(thinking)
    )
    if ids[: len(ids_before)] != ids_before:
        raise _Unusable("its tokens do not begin with those of its prompt")
    return ids_before, ids[len(ids_before) :]


def _ended(ids: list[int], eos: int) -> list[int]:
    """To the end token, which is learnt too: what a template writes after it is never sampled."""
    ends = ids.count(eos)
    if ends > 1:
        raise _Unusable("its text holds the token that ends an answer")
    return ids[: ids.index(eos) + 1] if ends else [*ids, eos]


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _text(tokenizer: Any, messages: list[Any], thinking: bool | None, **options: Any) -> str:
    return tokenizer.apply_chat_template(
        messages, tokenize=False, **options, **thinking_options(thinking)
    )

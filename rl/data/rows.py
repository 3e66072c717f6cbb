"""Rows of questions with their truth: read, check, split, turn into prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rl.config import DataConfig
from rl.data.heldout import parted
from rl.data.source import Record, Source, read_source
from rl.refusal import Refusal

WANTED = '{"question": "...", "answer": "..."}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    lang: str = "en"
    split: str = "train"

    @property
    def asked(self) -> str:
        return self.question


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A row as the policy sees it."""

    row: Row
    token_ids: list[int]


Message = dict[str, str]


class ChatTokenizer(Protocol):
    def apply_chat_template(self, messages: list[Message], /, **options: Any) -> Any: ...


def load_rows(config: DataConfig) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows; no question is in both."""
    train, heldout = parted(config, lambda name, flag: read_rows(name, config, flag=flag))
    if not train:
        raise Refusal(
            f"--data.train {config.train}: no row to train on. Each line is {WANTED}, and "
            'rows with "split": "heldout" are kept back'
        )
    return train, heldout


def read_rows(
    name: str | Path, config: DataConfig | None = None, *, flag: str = "--data.train"
) -> list[Row]:
    """Every row, whatever it is kept for; a bad one is named by its line."""
    source = read_source(str(name), config or DataConfig(), flag=flag)
    return [_row(source, record) for record in source.records]


def _row(source: Source, record: Record) -> Row:
    where, raw = source.where(record.line), record.values
    if record.fault:
        raise Refusal(f"{where}: {record.fault}. Each line is {WANTED}")
    for name in ("question", "answer"):
        if not isinstance(raw.get(name), str) or not raw[name].strip():
            raise Refusal(f"{where}: {name!r} is missing or empty. Wanted: {WANTED}")
    aliases = raw.get("aliases") or []
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise Refusal(f"{where}: 'aliases' must be a list of strings")
    return Row(
        id=str(raw.get("id", f"{source.stem}-{record.line}")),
        question=raw["question"],
        answer=raw["answer"],
        aliases=tuple(aliases),
        lang=str(raw.get("lang", "en")),
        split=str(raw.get("split", "train")),
    )


def to_prompts(
    rows: Sequence[Row], tokenizer: ChatTokenizer, config: DataConfig, max_tokens: int
) -> tuple[list[Prompt], int]:
    """Prompts that fit, and how many did not."""
    prompts = [
        Prompt(
            row=row,
            token_ids=prompt_ids(messages_of(row.question, config), tokenizer, config.thinking),
        )
        for row in rows
    ]
    fitting = [prompt for prompt in prompts if len(prompt.token_ids) <= max_tokens]
    return fitting, len(prompts) - len(fitting)


def messages_of(question: str, config: DataConfig) -> list[Message]:
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    return [*system, {"role": "user", "content": question}]


def prompt_ids(
    messages: list[Message], tokenizer: ChatTokenizer, thinking: bool | None
) -> list[int]:
    """What a policy is given to go on from."""
    return tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
        **thinking_options(thinking),
    )


def thinking_options(thinking: bool | None) -> dict[str, bool]:
    """None leaves the template's own default."""
    return {} if thinking is None else {"enable_thinking": thinking}

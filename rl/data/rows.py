"""Rows of questions with their truth: read, check, split, turn into prompts."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rl.config import DataConfig
from rl.names import did_you_mean
from rl.refusal import Refusal

SHIPPED = Path(__file__).parents[2] / "experiments" / "data"
WANTED = '{"question": "...", "answer": "..."}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    lang: str = "en"
    split: str = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A row as the policy sees it."""

    row: Row
    token_ids: list[int]


class ChatTokenizer(Protocol):
    def apply_chat_template(
        self, messages: list[dict[str, str]], /, **options: Any
    ) -> list[int]: ...


def data_file(name: str, flag: str) -> Path:
    """A shipped set by its name, or a file of the user's."""
    shipped = {path.stem: path for path in SHIPPED.glob("*.jsonl")}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise Refusal(f"{flag} {name}: no such file{did_you_mean(name, shipped)}")
    return path


def load_rows(config: DataConfig) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows; no question is in both."""
    rows = read_rows(data_file(config.train, "--data.train"))
    if config.heldout is None:
        train = [row for row in rows if row.split != "heldout"]
        heldout = [row for row in rows if row.split == "heldout"]
    else:
        train, heldout = rows, read_rows(data_file(config.heldout, "--data.heldout"))
        asked = {row.question for row in train}
        heldout = [row for row in heldout if row.question not in asked]
    if not train:
        raise Refusal(
            f"--data.train {config.train}: no row to train on. Each line is {WANTED}, and "
            'rows with "split": "heldout" are kept back'
        )
    # a fixed sample, the same for every seed, so that runs can be compared
    random.Random(0).shuffle(heldout)
    return train, heldout[: config.heldout_rows]


def read_rows(path: Path) -> list[Row]:
    """Rows of a JSONL file; a bad one is named by its line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 text ({error.reason})") from None
    return [_row(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, n: int, line: str) -> Row:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise Refusal(f"{path}, line {n}: not JSON ({error}). Each line is {WANTED}") from None
    if not isinstance(raw, dict):
        raise Refusal(f"{path}, line {n}: not a JSON object. Each line is {WANTED}")
    for name in ("question", "answer"):
        if not isinstance(raw.get(name), str) or not raw[name].strip():
            raise Refusal(f"{path}, line {n}: {name!r} is missing or empty. Wanted: {WANTED}")
    aliases = raw.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise Refusal(f"{path}, line {n}: 'aliases' must be a list of strings")
    return Row(
        id=str(raw.get("id", f"{path.stem}-{n}")),
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
    options = {} if config.thinking is None else {"enable_thinking": config.thinking}
    prompts = [
        Prompt(
            row=row,
            token_ids=tokenizer.apply_chat_template(
                _messages(row, config),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                **options,
            ),
        )
        for row in rows
    ]
    fitting = [prompt for prompt in prompts if len(prompt.token_ids) <= max_tokens]
    return fitting, len(prompts) - len(fitting)


def _messages(row: Row, config: DataConfig) -> list[dict[str, str]]:
    system = [{"role": "system", "content": config.system_prompt}] if config.system_prompt else []
    return [*system, {"role": "user", "content": row.question}]

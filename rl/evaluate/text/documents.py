"""Plain-text documents to measure perplexity on, by domain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rl.config import DataConfig
from rl.data.source import read_source
from rl.refusal import Refusal

FORMS = "text, prompt and completion, or question and answer"
_PARTS = (("text",), ("prompt", "completion"), ("question", "answer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    item: str
    text: str


def read_domains(name: str, config: DataConfig, *, flag: str) -> dict[str, list[Document]]:
    """By the `domain` of the rows, where they have one, and else by the name of the file."""
    source = read_source(name, config, flag=flag)
    domains: dict[str, list[Document]] = {}
    for record in source.records:
        where, values = source.where(record.line), record.values
        if record.fault:
            raise Refusal(f"{where}: {record.fault}. A row is {FORMS}")
        item = str(values.get("id", f"{source.stem}-{record.line}"))
        domain = str(values.get("domain") or source.stem)
        domains.setdefault(domain, []).append(Document(item=item, text=_text(values, where)))
    if not domains:
        raise Refusal(f"{flag} {name}: no document to measure on. A row is {FORMS}")
    return domains


def _text(values: Mapping[str, Any], where: str) -> str:
    """All of a row that someone wrote, as it would be read."""
    for parts in _PARTS:
        if all(values.get(part) is not None for part in parts):
            for part in parts:
                if not isinstance(values[part], str) or not values[part].strip():
                    raise Refusal(f"{where}: {part!r} is empty or not text. A row is {FORMS}")
            return ("\n" if "question" in parts else "").join(values[part] for part in parts)
    has = ", ".join(sorted(name for name, value in values.items() if value is not None))
    raise Refusal(f"{where}: it has {has or 'nothing'}; wanted is {FORMS}")

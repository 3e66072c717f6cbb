"""What is to be written: a kind of question from each passage of a section that it fits."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from judges.commands.jsonl import Row, read_jsonl, text_of, texts_of
from judges.verdict import JudgeRequest
from rl.config.questions import Questions
from rl.data.questions.kinds import Kind, Kinds
from rl.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    id: str
    kind: Kind
    section: Row
    passage: str

    @property
    def request(self) -> JudgeRequest:
        return JudgeRequest(question=self.kind.name, truth="", answer=self.passage)


def read_sections(path: str) -> list[Row]:
    def section(row: Row) -> Row:
        for name in ("id", "article", "title", "type", "licence"):
            text_of(row, name)
        return row | {"paragraphs": texts_of(row, "paragraphs"), "path": texts_of(row, "path")}

    try:
        return read_jsonl(path, section, wanted="the sections.jsonl of experiments.papers")
    except ValueError as error:
        raise Refusal(str(error)) from None


def tasks_of(sections: Sequence[Row], kinds: Kinds, config: Questions) -> list[Task]:
    """In the order of the sections; so many of them as the limit leaves, drawn by the seed."""
    tasks = [
        Task(id=f"{section['id']}-{place}-{kind.name}", kind=kind, section=section, passage=passage)
        for section in sections
        if section.get("clinical") or not config.clinical_only
        for place, passage in enumerate(passages_of(section, config))
        for kind in kinds.by_name.values()
        if section["type"] in kind.sections
    ]
    if not tasks:
        raise Refusal(
            f"{config.sections}: no section that a question could be written from. There are "
            f"{len(sections)}; --no-clinical-only takes those of articles that are not about "
            f"patients, and --min-chars ({config.min_chars}) is how long a passage must be"
        )
    if config.limit is not None and config.limit < len(tasks):
        drawn = sorted(random.Random(config.seed).sample(range(len(tasks)), config.limit))
        return [tasks[place] for place in drawn]
    return tasks


def passages_of(section: Row, config: Questions) -> Iterator[str]:
    """Whole paragraphs, as many as fit, under what they are headed by."""
    heading = ": ".join(filter(None, [section["title"], " > ".join(section["path"])]))
    held: list[str] = []
    for paragraph in [*section["paragraphs"], None]:
        if held and (paragraph is None or len("\n\n".join([*held, paragraph])) > config.max_chars):
            text = "\n\n".join(held)
            if len(text) >= config.min_chars:
                yield f"{heading}\n\n{text}"
            held = []
        if paragraph is not None:
            held.append(paragraph)

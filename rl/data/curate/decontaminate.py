"""The step that leaves out what a policy will be asked: runs of words of evaluation sets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rl.config import DataConfig
from rl.data.contamination import RUN_WORDS, first_shared, runs_of
from rl.data.curate.row import Row
from rl.data.curate.step import Step
from rl.data.source import read_source
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Decontaminate(Step):
    """By runs of 13 words that any text of an evaluation set has too."""

    against: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.against:
            raise Refusal(
                "decontaminate: it wants the files that will be asked, as in "
                "decontaminate=medqa.jsonl+pubmedqa.jsonl"
            )

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        runs = {name: runs_of(_texts_of(name)) for name in self.against}
        for name, found in runs.items():
            if not found:
                raise Refusal(
                    f"decontaminate={name}: none of its texts has {RUN_WORDS} words, so nothing "
                    "could be found of it. Leave it out"
                )
        for row in rows:
            shared = ((name, first_shared(row.text, runs[name])) for name in runs)
            yield next((f"{name}: {run}" for name, run in shared if run), "")


def _texts_of(name: str) -> Iterator[str]:
    for record in read_source(name, DataConfig(), flag="decontaminate").records:
        yield from _texts(record.values)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))

"""What columns were trained on, held against what they are asked."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rl.config import DataConfig
from rl.config.evaluate import EvaluateRun
from rl.data.contamination import RUN_WORDS, Overlap, overlapping
from rl.data.examples import Example, load_examples
from rl.evaluate.columns import Column, Control, run_folder, settings_of
from rl.evaluate.task import Task
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Between some training data and a task."""

    data: str
    task: str
    overlap: Overlap

    def __str__(self) -> str:
        overlap = self.overlap
        told = overlap.items - len(overlap.too_short)
        said = f"{len(overlap.overlapping)} of {told} items"
        if overlap.share is not None:
            said += f" ({overlap.share:.1%})"
        short = (
            f"; {len(overlap.too_short)} more are too short to tell" if overlap.too_short else ""
        )
        return f"{self.task}: {said} share {RUN_WORDS} words in a row with {self.data}{short}"


def shared_with(
    config: EvaluateRun, columns: Sequence[Column | Control], tasks: Sequence[Task]
) -> list[Shared]:
    """With what --trained-on names, and with the data of every run among the columns."""
    own = [str(each.trained_in) for each in columns if isinstance(each, Column) and each.trained_in]
    found: list[Shared] = []
    for data in dict.fromkeys([*config.trained_on, *own]):
        try:
            texts = list(_texts(data))
        except ValueError as error:
            if data in config.trained_on:
                raise Refusal(f"--trained-on {data}: {error}") from None
            continue  # a run's data need not be here any more
        found += [
            Shared(data=data, task=task.name, overlap=overlapping(texts, task.texts))
            for task in tasks
        ]
    return found


def as_jsonl(found: Sequence[Shared]) -> str:
    """Each item that shares words with some data, and the first of them."""
    rows = (
        {"data": each.data, "task": each.task, "item": item, "words": words}
        for each in found
        for item, words in each.overlap.overlapping.items()
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _texts(data: str) -> Iterator[str]:
    run = run_folder(data)
    config = settings_of(run).data if run else DataConfig(train=data)
    examples, _ = load_examples(config)
    return map(_text, examples)


def _text(example: Example) -> str:
    prompt = example.prompt
    asked = prompt if isinstance(prompt, str) else "\n".join(each["content"] for each in prompt)
    return f"{asked}\n{example.reasoning}\n{example.answer}"

"""The tasks there are, by the names a person types."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from judges import JudgeConfig
from rl.config import DataConfig
from rl.config.evaluate import EvaluateRun
from rl.evaluate.choice.describe import choice_names
from rl.evaluate.task import Task
from rl.names import did_you_mean
from rl.refusal import Refusal
from rl.run.preflight import with_ledger

Make = Callable[[str, EvaluateRun, JudgeConfig], Sequence[Task]]
"""Of a file, the settings, and the judge with its ledger."""


def tasks_of(config: EvaluateRun, folder: Path | None = None) -> list[Task]:
    """All that are named. What is asked of a judge is written down in `folder`."""
    if not config.tasks:
        raise Refusal(f"measure on what? Name tasks: --tasks {' '.join(_known()[:4])} ...")
    judge = with_ledger(config.judge, folder) if folder else config.judge
    tasks = [task for entry in config.tasks for task in _tasks_called(entry, config, judge)]
    name, count = Counter(task.name for task in tasks).most_common(1)[0]
    if count > 1:
        raise Refusal(f"--tasks: {count} of them are called {name}. Leave one out")
    return tasks


def _tasks_called(entry: str, config: EvaluateRun, judge: JudgeConfig) -> Sequence[Task]:
    name, _, file = entry.partition("=")
    if name in OF_FILES:
        if not file:
            raise Refusal(f"--tasks {name}: of what? Give a file, as in {name}=FILE.jsonl")
        return OF_FILES[name](file, config, judge)
    if name.partition(":")[0] in choice_names():
        return _choices(name, file or None, config)
    raise Refusal(f"--tasks {entry}: no such task{did_you_mean(name, _known())}")


def _known() -> list[str]:
    return [*OF_FILES, *choice_names()]


def _choices(name: str, file: str | None, config: EvaluateRun) -> Sequence[Task]:
    from rl.evaluate.choice.task import Asking, choice_tasks

    asking = Asking(
        limit=config.limit,
        few_shot=config.few_shot,
        seed=config.seed,
        max_new_tokens=config.max_new_tokens,
    )
    return choice_tasks(name, file, asking)


def _perplexity(file: str, config: EvaluateRun, judge: JudgeConfig) -> Sequence[Task]:
    from rl.evaluate.text.perplexity import perplexity_tasks

    return perplexity_tasks(
        *(file, DataConfig()), flag="--tasks", most_documents=config.limit, seed=config.seed
    )


def _answers(file: str, config: EvaluateRun, judge: JudgeConfig) -> Sequence[Task]:
    return [_of_answers("answers", file, config, None)]


def _judged(file: str, config: EvaluateRun, judge: JudgeConfig) -> Sequence[Task]:
    if judge.backend == "rules" and not judge.known and file.endswith(".jsonl"):
        judge = dataclasses.replace(judge, known=file)
    return [_of_answers("judged", file, config, judge)]


def _of_answers(kind: str, file: str, config: EvaluateRun, judge: JudgeConfig | None) -> Task:
    """Of the rows that are held out, where some are; else of all."""
    from rl.data.rows import read_rows
    from rl.evaluate.text.answers import Answers
    from rl.rollout.engine import Sampling

    rows = read_rows(file, flag="--tasks")
    rows = [row for row in rows if row.split == "heldout"] or rows
    sampling = Sampling(
        max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=config.seed
    )
    name = f"{kind}-{Path(file).stem}"
    settings: Any = {"samples": config.samples, "most_questions": config.limit, "judge": judge}
    return Answers(name, rows, sampling, **settings)


OF_FILES: Mapping[str, Make] = {
    "perplexity": _perplexity,
    "answers": _answers,
    "judged": _judged,
}
"""What can be measured on any file of documents, or of questions and their answers."""

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
from rl.evaluate.task import Measured, OfAnswers, Task
from rl.names import did_you_mean
from rl.refusal import Refusal
from rl.run.preflight import with_ledger

Make = Callable[[str, EvaluateRun, JudgeConfig], Sequence[Task]]
"""Of a file, the settings, and the judge with its ledger."""
MakeOfAnswers = Callable[[str, Sequence[Measured], EvaluateRun, JudgeConfig], OfAnswers]
"""The same, and of the tasks among which are the answers to the file."""


def tasks_of(config: EvaluateRun, folder: Path | None = None) -> list[Task | OfAnswers]:
    """All that are named, and the written answers that some of them are about. What is asked of a
    judge is written down in `folder`."""
    if not config.tasks:
        raise Refusal(f"measure on what? Name tasks: --tasks {' '.join(_known()[:4])} ...")
    judge = with_ledger(config.judge, folder) if folder else config.judge
    tasks: list[Task | OfAnswers] = []
    for entry in _with_answers(config.tasks):
        name, _, file = entry.partition("=")
        if name in OF_ANSWERS:
            tasks.append(OF_ANSWERS[name](file, tasks, config, _knowing(judge, file)))
        else:
            tasks += _tasks_called(entry, config, judge)
    name, count = Counter(task.name for task in tasks).most_common(1)[0]
    if count > 1:
        raise Refusal(f"--tasks: {count} of them are called {name}. Leave one out")
    return tasks


def _tasks_called(entry: str, config: EvaluateRun, judge: JudgeConfig) -> Sequence[Task]:
    name, _, file = entry.partition("=")
    if name in OF_FILES:
        return OF_FILES[name](file, config, judge)
    if name.partition(":")[0] in choice_names():
        return _choices(name, file or None, config)
    raise Refusal(f"--tasks {entry}: no such task{did_you_mean(name, _known())}")


def _with_answers(entries: Sequence[str]) -> list[str]:
    """Behind all others those that are about answers, which `answers` or `judged` writes."""
    others: list[str] = []
    about: list[str] = []
    for entry in entries:
        name, _, file = entry.partition("=")
        if not file and (name in OF_FILES or name in OF_ANSWERS):
            raise Refusal(f"--tasks {name}: of what? Give a file, as in {name}=FILE.jsonl")
        (about if name in OF_ANSWERS else others).append(entry)
    for entry in about:
        _, _, file = entry.partition("=")
        if not {f"answers={file}", f"judged={file}"} & {*others}:
            others.append(f"answers={file}")
    return others + about


def _known() -> list[str]:
    return [*OF_FILES, *OF_ANSWERS, *choice_names()]


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
    return [_of_answers("judged", file, config, _knowing(judge, file))]


def _knowing(judge: JudgeConfig, file: str) -> JudgeConfig:
    """The rule judge knows the answers of the file, so that it can tell one from another."""
    if judge.backend == "rules" and not judge.known and file.endswith(".jsonl"):
        return dataclasses.replace(judge, known=file)
    return judge


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


def _pairwise(
    file: str, tasks: Sequence[Measured], config: EvaluateRun, judge: JudgeConfig
) -> OfAnswers:
    from rl.evaluate.text.pairwise import Pairwise

    return Pairwise(
        f"pairwise-{Path(file).stem}", _answers_to(file, tasks), judge, seed=config.seed
    )


def _axes(
    file: str, tasks: Sequence[Measured], config: EvaluateRun, judge: JudgeConfig
) -> OfAnswers:
    from rl.evaluate.text.axes import Axes

    return Axes(f"axes-{Path(file).stem}", _answers_to(file, tasks), judge)


def _answers_to(file: str, tasks: Sequence[Measured]) -> Any:
    names = {f"{kind}-{Path(file).stem}" for kind in ("answers", "judged")}
    return next(task for task in tasks if task.name in names)


OF_FILES: Mapping[str, Make] = {
    "perplexity": _perplexity,
    "answers": _answers,
    "judged": _judged,
}
"""What can be measured on any file of documents, or of questions and their answers."""
OF_ANSWERS: Mapping[str, MakeOfAnswers] = {"pairwise": _pairwise, "axes": _axes}
"""What a judge can be asked of the answers to a file of questions."""

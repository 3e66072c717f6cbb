"""Policies on tasks: every item scored once, then one table of them."""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from rl.config.evaluate import EvaluateRun
from rl.evaluate.cells import Cells, names_of
from rl.evaluate.columns import Column, Control, columns_of, policies_of
from rl.evaluate.compare.chance import RESAMPLES
from rl.evaluate.compare.shown import print_table, write_answers, write_table
from rl.evaluate.compare.table import cells_of, header_of, told_value
from rl.evaluate.opened import candidate_of, facts_of, opened
from rl.evaluate.outlook import said_of
from rl.evaluate.scores import CellName
from rl.evaluate.task import Measured, OfAnswers, Score, Task
from rl.evaluate.tasks import tasks_of
from rl.evaluate.trained_on import as_jsonl, shared_with
from rl.refusal import Refusal
from rl.run.drift import PACKAGES, versions
from rl.run.folder import read_run
from rl.run.lifecycle import OpenRun
from rl.run.progress import duration
from rl.run.ranks import say

MEASURED_BY = (*PACKAGES, "lm_eval", "rouge_score", "scipy", "numpy")


class EvaluateStage:
    def __init__(self, config: EvaluateRun) -> None:
        self.config = config

    @property
    def length(self) -> int:
        return len(self._names)

    def check(self) -> None:
        self._columns = columns_of(self.config)
        self._tasks = tasks_of(self.config)
        self._names = names_of(self._columns, self._tasks)
        self._candidates = {each.label: candidate_of(each) for each in policies_of(self._columns)}
        for label, candidate in self._candidates.items():
            for task in _of_policies(self._tasks):
                try:
                    task.check(candidate)
                except Refusal as error:
                    raise Refusal(f"column {label}: {error}") from None
        for task in self._tasks:
            if isinstance(task, OfAnswers) and task.is_against_first and len(self._candidates) < 2:
                raise Refusal(f"{task.name}: against whom? Name a column before this one")
        say(said_of(self.config, self._columns, self._tasks))
        self._shared = shared_with(self.config, self._columns, _of_policies(self._tasks))
        for each in self._shared:
            if each.overlap.overlapping:
                say(str(each))

    def made_with(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {
            **{f"task {task.name}": task.facts for task in self._tasks},
            **{f"column {label}": facts for label, facts in self._facts_of_columns.items()},
            **versions(MEASURED_BY),
        }
        return json.loads(json.dumps(facts, default=str))  # as it will be read back

    def run(self, run: OpenRun) -> str | None:
        tasks = tasks_of(self.config, run.log.folder)
        folder, facts = run.log.folder / "scores", self._facts_of_columns
        cells = Cells(folder, self._names, self._columns, tasks, facts, self.config.seed)
        record = _Record(run, cells, self._columns)
        run.log.text("overlap.jsonl", as_jsonl(self._shared))
        run.exits.callback(record.conclude, self._facts(), [str(each) for each in self._shared])
        for column in self._columns:
            own = {
                name: task
                for task in tasks
                if (name := CellName(task.name, column.label)) in self._names
            }
            if isinstance(column, Column):
                self._measure(column, own, cells, record)
            else:
                for name, task in own.items():
                    record.fill(name, task, self._names[name] if name in cells.missing() else ())
        return record.why_unfinished()

    def follow(self) -> None:
        """The first process measures alone."""

    def _measure(
        self,
        column: Column,
        own: Mapping[CellName, Task | OfAnswers],
        cells: Cells,
        record: "_Record",
    ) -> None:
        """A column from its first task to its last. Its policy is loaded once, if at all."""
        candidate, missing = self._candidates[column.label], cells.missing()
        of_policy = {name: task for name, task in own.items() if not isinstance(task, OfAnswers)}
        with contextlib.ExitStack() as exits:
            if of_policy.keys() & missing.keys():
                record.run.progress.phase(f"{column.label}: loading")
                policy = exits.enter_context(opened(column, candidate, self.config.seed))
            for name, task in of_policy.items():
                scores: Iterable[Score] = ()
                if name in missing:
                    record.run.progress.phase(str(name))
                    done = {score.item for score in cells.known(name)}
                    scores = task.score(policy, candidate, done)
                record.fill(name, task, scores)
        for name, task in own.items():
            if isinstance(task, OfAnswers):
                scores = _scored_by_judge(name, task, cells) if name in missing else ()
                record.fill(name, task, scores)

    @cached_property
    def _facts_of_columns(self) -> dict[str, dict[str, Any]]:
        return {
            column.label: facts_of(column, self._candidates[column.label])
            if isinstance(column, Column)
            else {"control": column.name}
            for column in self._columns
        }

    def _facts(self) -> dict[str, Any]:
        return {"seed": self.config.seed, "resamples": RESAMPLES, **versions(MEASURED_BY)}


def _of_policies(tasks: Sequence[Task | OfAnswers]) -> list[Task]:
    return [task for task in tasks if not isinstance(task, OfAnswers)]


def _scored_by_judge(name: CellName, task: OfAnswers, cells: Cells) -> Iterator[Score]:
    own, first = cells.answers(name)
    done = {score.item for score in cells.known(name)}
    yield from task.score_answers(own, first, done)


class _Record:
    """What is written down and told while cells fill."""

    def __init__(self, run: OpenRun, cells: Cells, columns: Sequence[Column | Control]) -> None:
        self.run, self._cells = run, cells
        policies = policies_of(columns)
        self._random = {column.label for column in policies if column.has_random_weights}
        """Of whose figures one is refused as a rule: that is what they are there to show."""
        rows = read_run(run.log.folder).metrics
        self._told = {CellName(row["task"], row["column"]) for row in rows}
        if known := cells.known_in_all():
            say(f"{known:,} scores are there already, and are not computed again")

    def fill(self, name: CellName, task: Measured, scores: Iterable[Score]) -> None:
        """Each score is written down as it comes. A refusal ends this cell alone."""
        known, began_s = len(self._cells.known(name)), time.perf_counter()
        try:
            for count, score in enumerate(scores, 1):
                self._cells.add(name, score)
                took_s = time.perf_counter() - began_s
                left = len(task.items) - known - count
                self.run.progress.detail(_pace(known + count, left, count / took_s))
        except Refusal as error:
            why = str(error).removeprefix(f"{name.task}: ")
            self._cells.broke_off[name] = why
            self.run.progress.note(f"{name} broke off: {why}")
        else:
            self._tell(name, task)

    def why_unfinished(self) -> str | None:
        missing = self._cells.missing()
        if not missing:
            return None
        name, why = next(iter(missing.items()))
        return f"{len(missing)} of {len(self._cells)} cells are unfinished. {name}: {why}"

    def conclude(self, facts: Mapping[str, Any], notes: Sequence[str]) -> None:
        """The table of what is there, however the run ended."""
        table = self._cells.table(facts, notes)
        write_table(table, self.run.log)
        write_answers(self._cells, self.run.log.folder / "answers")
        rows = [[" ".join(cell).strip() for cell in cells_of(table, row)] for row in table.rows]
        self.run.tracker.log_table("table", header_of(table), rows)
        self.run.progress.close()
        print_table(table)
        refused = {
            str(name): why for name, why in table.refused.items() if name.column not in self._random
        }
        self.run.figures.update(cells=len(self._told), refused=refused)

    def _tell(self, name: CellName, task: Measured) -> None:
        """A line and a row, once a cell."""
        if name in self._told:
            return
        self._told.add(name)
        scores, run = self._cells.known(name), self.run
        row: dict[str, Any] = {
            "cell": len(self._told),
            "seconds": time.perf_counter() - run.began_s,
            "task": name.task,
            "column": name.column,
        }
        if refusal := self._cells.refusal(name):
            said = f"refused: {refusal}"
        else:
            figures = [(metric, metric.of(scores)) for metric in task.metrics]
            row |= {f"{name.task}/{metric.name}/{name.column}": of for metric, of in figures}
            said = f"{figures[0][0].name} {told_value(*figures[0])}"
        run.log.metrics(row)
        run.tracker.log(row)
        run.progress.row(row, is_told=False)
        head = f"cell {len(self._told & {*self._cells})}/{len(self._cells)}  {name}"
        run.progress.note(f"{head}  {said}  n {len(scores)}  {duration(row['seconds'])}")
        checkpoints = run.log.checkpoints
        checkpoints.unfinished.mkdir(parents=True, exist_ok=True)
        state = {"done": row["cell"], "seconds": row["seconds"], "score": None}
        checkpoints.seal(checkpoints.unfinished, state)


def _pace(done: int, left: int, per_s: float) -> str:
    return f"{done}/{done + left}  {per_s:.1f} a second  {duration(left / per_s)} left"

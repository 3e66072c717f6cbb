"""The cells of a table while they fill: a task and a column each, kept on disk."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.evaluate.columns import Column, Control
from rl.evaluate.compare.figures import rows_of, with_holm
from rl.evaluate.compare.table import Table
from rl.evaluate.scores import CellName, ScoreFile
from rl.evaluate.task import Controlled, Measured, OfAnswers, Score
from rl.refusal import Refusal


def names_of(
    columns: Sequence[Column | Control], tasks: Sequence[Measured]
) -> dict[CellName, list[Score]]:
    """The cells there are. Those of controls come with their scores: a task that does not know one
    has no cell for it."""
    names: dict[CellName, list[Score]] = {}
    for column in columns:
        refusals: list[Refusal] = []
        for task in tasks:
            name = CellName(task.name, column.label)
            if isinstance(column, Column):
                names[name] = []
            elif isinstance(task, Controlled):
                try:
                    names[name] = list(task.control(column.name))
                except Refusal as error:
                    refusals.append(error)
        if not any(name.column == column.label for name in names):
            said = refusals[0] if refusals else "no task here knows it"
            raise Refusal(f"column {column.label}: {said}")
    return names


class Cells:
    """`facts_of_columns` says what the scores of each depend on besides the task's own facts."""

    def __init__(
        self,
        folder: Path,
        names: Iterable[CellName],
        columns: Sequence[Column | Control],
        tasks: Sequence[Measured],
        facts_of_columns: Mapping[str, Mapping[str, Any]],
        seed: int,
    ) -> None:
        self._columns, self._tasks, self._seed = columns, tasks, seed
        self._facts_of_columns = facts_of_columns
        self._compared = [column.label for column in columns if isinstance(column, Column)]
        by_name = {task.name: task for task in tasks}
        self._task_of = {name: by_name[name.task] for name in names}
        self._files = {
            name: ScoreFile(folder, name, self._depends_on(name)) for name in self._task_of
        }
        self.broke_off: dict[CellName, str] = {}
        """Why a cell has not all of its scores."""

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[CellName]:
        return iter(self._files)

    def answers(self, name: CellName) -> tuple[list[Score], list[Score] | None]:
        """What its task asks a judge of: the column's own, and the first one's where they meet."""
        task, first = self._task_of[name], self._compared[0]
        assert isinstance(task, OfAnswers)
        is_alone = name.column == first or not task.is_against_first
        own = self._answers_of(task, name.column)
        return own, None if is_alone else self._answers_of(task, first)

    def known(self, name: CellName) -> list[Score]:
        return self._files[name].of(self._task_of[name].items)

    def known_in_all(self) -> int:
        return sum(len(self.known(name)) for name in self._files)

    def add(self, name: CellName, score: Score) -> None:
        self._files[name].add(score)

    def refusal(self, name: CellName) -> str | None:
        """Why scores that are all there are no measurement. A control is known to be none."""
        if name.column not in self._compared:
            return None
        try:
            self._task_of[name].hold(self.known(name))
        except Refusal as error:
            return str(error).removeprefix(f"{name.task}: ")
        return None

    def _depends_on(self, name: CellName) -> dict[str, Any]:
        task = self._task_of[name]
        facts: dict[str, Any] = {"task": task.facts, "seed": self._seed}
        facts["column"] = self._facts_of_columns[name.column]
        if isinstance(task, OfAnswers) and task.is_against_first:
            facts["first column"] = self._facts_of_columns[self._compared[0]]
        return facts

    def _answers_of(self, task: OfAnswers, label: str) -> list[Score]:
        name = CellName(task.answers_of, label)
        if name in self.missing():
            raise Refusal(f"{task.name}: the answers of {label} are not all there")
        return self.known(name)

    def missing(self) -> dict[CellName, str]:
        return {
            name: f"{have:,} of {of:,} items are scored" + _because(self.broke_off.get(name))
            for name in self._files
            if (have := len(self.known(name))) < (of := len(self._task_of[name].items))
        }

    def table(self, facts: Mapping[str, Any], notes: Sequence[str] = ()) -> Table:
        """Of what is there: only cells that are whole and held have figures."""
        missing = self.missing()
        whole = [name for name in self._files if name not in missing]
        refused = {name: why for name in whole if (why := self.refusal(name))}
        rows = [
            row
            for task in self._tasks
            for row in rows_of(
                task.name,
                task.metrics,
                {
                    name.column: self.known(name)
                    for name in whole
                    if name.task == task.name and name not in refused
                },
                compared=self._compared,
                seed=self._seed,
            )
        ]
        return Table(
            columns=[column.label for column in self._columns],
            compared=self._compared,
            rows=with_holm(rows),
            refused=refused,
            missing=missing,
            notes=notes,
            facts=facts,
            facts_of_tasks={task.name: task.facts for task in self._tasks},
            facts_of_columns=self._facts_of_columns,
        )


def _because(why: str | None) -> str:
    return f": {why}" if why else ""

"""What an evaluation will take, in sentences, before anything heavy is loaded."""

from collections.abc import Sequence

from rl.config.evaluate import EvaluateRun
from rl.evaluate.columns import Column, Control, columns_of
from rl.evaluate.task import Task
from rl.evaluate.tasks import tasks_of


def outlook(config: EvaluateRun) -> str:
    return said_of(columns_of(config), tasks_of(config))


def said_of(columns: Sequence[Column | Control], tasks: Sequence[Task]) -> str:
    return "\n".join(
        [
            f"columns: {', '.join(column.label for column in columns)}",
            f"tasks: {', '.join(f'{task.name} ({len(task.items):,} items)' for task in tasks)}",
        ]
    )

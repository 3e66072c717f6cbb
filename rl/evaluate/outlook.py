"""What an evaluation will take, in sentences, before anything heavy is loaded."""

from collections.abc import Sequence
from pathlib import Path

from judges.commands.forecast import Workload, forecast
from judges.commands.preflight import describe
from rl.config.evaluate import EvaluateRun
from rl.evaluate.columns import Column, Control, columns_of, policies_of
from rl.evaluate.task import Measured, OfAnswers
from rl.evaluate.tasks import tasks_of
from rl.run.preflight import with_ledger


def outlook(config: EvaluateRun) -> str:
    return said_of(config, columns_of(config), tasks_of(config))


def said_of(
    config: EvaluateRun, columns: Sequence[Column | Control], tasks: Sequence[Measured]
) -> str:
    """Also what a judge will be asked, and what that costs."""
    lines = [
        f"columns: {', '.join(column.label for column in columns)}",
        f"tasks: {', '.join(f'{task.name} ({len(task.items):,} items)' for task in tasks)}",
    ]
    thinking = {column.label: column.thinking for column in policies_of(columns)}
    if len(set(thinking.values())) > 1:
        told = ", ".join(f"{label} {value}" for label, value in thinking.items())
        lines.append(f"asked differently, thinking {told}: --thinking says it to all")
    policies = len(policies_of(columns))
    if judged := sum(
        len(task.items) * _times_asked(task, policies) for task in tasks if task.facts.get("judge")
    ):
        work = Workload(
            prompts=judged,
            group_size=config.samples,
            steps=1,
            answer_tokens=config.max_new_tokens,
        )
        judge = with_ledger(config.judge, Path(config.out))
        lines.append(describe(judge, forecast(judge, work)))
    return "\n".join(lines)


def _times_asked(task: Measured, policies: int) -> int:
    """Of each item, with an answer of each policy or, in both orders, with two."""
    is_paired = isinstance(task, OfAnswers) and task.is_against_first
    return 2 * (policies - 1) if is_paired else policies

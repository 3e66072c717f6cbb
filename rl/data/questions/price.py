"""What writing and judging would take, before anything is asked."""

from collections.abc import Sequence

from judges.axes.axes import Axes
from judges.axes.grader import rating_ask
from judges.commands.forecast import forecast_of
from judges.commands.preflight import describe
from judges.verdict import JudgeRequest
from rl.config.questions import Questions
from rl.data.questions.kinds import Kinds
from rl.data.questions.tasks import Task
from rl.data.questions.writer import writing_ask

WRITTEN_TOKENS = 200
"""A sentence, a question and an answer, in JSON."""
RATED_TOKENS = 80
A_QUESTION, AN_ANSWER = "word " * 60, "word " * 60


def describe_price(config: Questions, tasks: Sequence[Task], kinds: Kinds, axes: Axes) -> str:
    """As if the judge were asked of everything: what is dropped before it is not known yet."""
    articles = len({task.section["article"] for task in tasks})
    written = [writing_ask(task.request, kinds, config.writer) for task in tasks]
    rated = [
        rating_ask(
            JudgeRequest(question=A_QUESTION, truth=task.passage, answer=AN_ANSWER),
            axes,
            config.judge,
        )
        for task in tasks
    ]
    return "\n".join(
        [
            f"{len(tasks):,} questions from {articles:,} articles",
            describe(config.writer, forecast_of(config.writer, written, WRITTEN_TOKENS)).replace(
                "judge", "writer"
            ),
            describe(config.judge, forecast_of(config.judge, rated, RATED_TOKENS)),
        ]
    )

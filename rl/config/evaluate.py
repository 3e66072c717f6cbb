"""What a run of evaluation is: whom it measures, on what, and who judges."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import tyro

from judges.client.backends import shown
from judges.config import JudgeConfig, at_least
from rl.config.shared import RunConfig
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class EvaluateRun(RunConfig):
    """Policies on tasks, each pair of them a cell of one table."""

    kind: ClassVar[str] = "evaluate"
    unit: ClassVar[str] = "cell"

    columns: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="[COLUMN ...]")]
    ] = ()
    """Whom to measure: a model, a run's folder, an adapter's folder, a control (oracle, constant:A,
    random); label=WHOM names it. The others are held against the first. Of a run alone, what it
    began with and what it trained."""
    tasks: tuple[str, ...] = ()
    """What to measure on, each NAME or NAME=FILE: choice questions (medqa, medqa:chat,
    medqa:answer, mmlu, ...), perplexity=FILE, answers=FILE, judged=FILE; pairwise=FILE and
    axes=FILE, which ask the judge of the answers."""
    limit: int | None = None
    """So many items of each task, drawn by the seed, the same for everybody; None is all."""
    few_shot: int = 0
    """Worked examples before each choice question."""
    seed: int = 0
    """Of the items that limit leaves, of worked examples, sampled answers and intervals."""
    max_new_tokens: int = 512
    """Longest written answer."""
    temperature: float = 0.0
    """Of the answers to `answers` and `judged`; 0 writes what is likeliest."""
    samples: int = 1
    """Answers to each question of `answers` and `judged`, whose mean is its score; more than one
    wants a temperature."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights and compute; auto is bfloat16 on CUDA, float32 on CPU."""
    system_prompt: str | None = None
    """First message of what is asked in chat; None leaves each column its own: a run's is that of
    its training, others have none."""
    thinking: bool | None = None
    """Passed to chat templates as enable_thinking; None leaves each column its own."""
    trained_on: tuple[str, ...] = ()
    """Training data, files or runs, that items are looked for in; that of runs among the columns
    always is."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("limit", self.limit, 1)
        at_least("few_shot", self.few_shot, 0)
        at_least("max_new_tokens", self.max_new_tokens, 1)
        at_least("temperature", self.temperature, 0)
        at_least("samples", self.samples, 1)
        if self.samples > 1 and not self.temperature:
            raise Refusal(
                f"samples is {self.samples} and temperature is 0: all answers to a question would "
                "be the same. Give --temperature 1, or leave --samples out"
            )

    def recorded(self) -> dict[str, Any]:
        """Without what a URL may hold of a key."""
        return super().recorded() | {"judge": dataclasses.asdict(shown(self.judge))}

    def flag_for_more(self, done: int) -> str:
        return " ".join(["--tasks", *self.tasks, "ANOTHER"])

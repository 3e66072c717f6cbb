"""What a run of supervised fine-tuning is."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from judges.config import above, at_least
from rl.config.shared import TrainingRun
from rl.sft.refusals import TRL
from rl.trl_settings import TrlTable


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """The update: batch_rows rows an optimizer step, every learnt token of the step alike."""

    epochs: float = 1.0
    """How often every row is learnt from."""
    steps: int | None = None
    """Optimizer steps, whatever epochs says; None is what epochs takes."""
    batch_rows: int = 16
    """Rows in an optimizer step, over all processes; packs of rows where packing is on."""
    micro_batch_rows: int = 4
    """Rows in one forward and backward pass."""
    max_tokens: int = 2048
    """Longest row, prompt included. Longer ones are left out, and counted; plain text is cut."""
    packing: bool = False
    """Fill passes with several rows up to max_tokens, where no row can see another."""
    learning_rate: float = 1e-4
    """Adam's, at its highest."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warmup; the first two fall to 0."""
    warmup_share: float = 0.03
    """Share of the steps over which the learning rate rises to its value."""
    weight_decay: float = 0.0
    """Adam's, decoupled."""
    answers: int = 0
    """Held-out rows that are answered before and after, once greedily and once sampled."""
    answer_tokens: int = 256
    """Longest of these answers."""

    def __post_init__(self) -> None:
        above("sft.epochs", self.epochs, 0)
        if self.steps is not None:
            at_least("sft.steps", self.steps, 1)
        for name in ("batch_rows", "micro_batch_rows", "answer_tokens"):
            at_least(f"sft.{name}", getattr(self, name), 1)
        at_least("sft.max_tokens", self.max_tokens, 2)
        at_least("sft.answers", self.answers, 0)
        above("sft.learning_rate", self.learning_rate, 0)
        if not 0 <= self.warmup_share < 1:
            raise ValueError(
                f"sft.warmup_share is {self.warmup_share}: it must be from 0 to under 1"
            )
        if not self.weight_decay >= 0:
            raise ValueError(f"sft.weight_decay is {self.weight_decay}: it must be 0 or more")
        if self.batch_rows % self.micro_batch_rows:
            raise ValueError(
                f"sft.batch_rows is {self.batch_rows}, which sft.micro_batch_rows "
                f"{self.micro_batch_rows} does not divide. Change one of them"
            )


@dataclass(frozen=True, kw_only=True)
class SFTRun(TrainingRun):
    """A policy that learns from written answers."""

    kind: ClassVar[str] = "sft"
    unit: ClassVar[str] = "step"
    length_flag: ClassVar[str] = "--sft.steps"
    trl_table: ClassVar[TrlTable] = TRL

    sft: SFTConfig = field(default_factory=SFTConfig)

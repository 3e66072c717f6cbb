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
    """Rows in an optimizer step, over all processes; packs of rows, or blocks, where there are."""
    micro_batch_rows: int = 4
    """Rows in one forward and backward pass."""
    max_tokens: int = 2048
    """Longest row, prompt included. Longer ones are left out, and counted; plain text is cut."""
    packing: bool = False
    """Fill passes with several rows up to max_tokens, where no row can see another."""
    blocks: bool = False
    """Plain text in one line, each text with its end, cut every max_tokens: continued
    pretraining."""
    overlap_tokens: int = 0
    """Tokens before a cut of plain text that are read again after it, and not learnt again."""
    learning_rate: float = 1e-4
    """Adam's, at its highest."""
    schedule: Literal["cosine", "linear", "constant", "warmup_stable_decay"] = "cosine"
    """How the learning rate falls after the warmup: all but constant fall to 0."""
    warmup_share: float = 0.03
    """Share of the steps over which the learning rate rises to its value."""
    decay_share: float | None = None
    """With warmup_stable_decay: share of the steps over which it falls, as a cosine, at the end."""
    optimizer: Literal["adamw_torch", "adamw_8bit", "paged_adamw_8bit"] = "adamw_torch"
    """AdamW. The second keeps its moments in 8 bits, the third also moves them to the CPU's memory
    where a GPU has too little."""
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
        if self.blocks and self.packing:
            raise ValueError(
                "sft.blocks with sft.packing: blocks are full as they are. Type --sft.no-packing"
            )
        self._check_overlap()
        self._check_decay()
        if not self.weight_decay >= 0:
            raise ValueError(f"sft.weight_decay is {self.weight_decay}: it must be 0 or more")
        if self.batch_rows % self.micro_batch_rows:
            raise ValueError(
                f"sft.batch_rows is {self.batch_rows}, which sft.micro_batch_rows "
                f"{self.micro_batch_rows} does not divide. Change one of them"
            )

    def _check_overlap(self) -> None:
        if not 0 <= self.overlap_tokens < self.max_tokens:
            raise ValueError(
                f"sft.overlap_tokens is {self.overlap_tokens}: it must be from 0 to under "
                f"sft.max_tokens {self.max_tokens}"
            )
        if self.blocks and self.overlap_tokens:
            raise ValueError(
                f"sft.overlap_tokens is {self.overlap_tokens} with sft.blocks, where texts go on "
                "from one to the next. Type --sft.no-blocks: each text is then cut by itself"
            )

    def _check_decay(self) -> None:
        falls_last = self.schedule == "warmup_stable_decay"
        if self.decay_share is not None and not falls_last:
            raise ValueError(
                f"sft.decay_share is {self.decay_share} with sft.schedule {self.schedule}, which "
                "has no such part. Type --sft.schedule warmup_stable_decay, or leave it out"
            )
        if falls_last and not 0 < (self.decay_share or 0) <= 1 - self.warmup_share:
            raise ValueError(
                f"sft.decay_share is {self.decay_share} with sft.warmup_share {self.warmup_share}: "
                "it must be above 0, and both together at most 1, as in --sft.decay-share 0.14"
            )


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """What others published of such a run, drawn behind its own curves."""

    loss: tuple[float, ...] = ()
    """The first and the last that they give."""

    def __post_init__(self) -> None:
        if len(self.loss) not in (0, 2):
            raise ValueError(
                f"published.loss is {self.loss}: it must be two numbers, as in --published.loss "
                "2.92 2.21"
            )


@dataclass(frozen=True, kw_only=True)
class SFTRun(TrainingRun):
    """A policy that learns from written answers."""

    kind: ClassVar[str] = "sft"
    unit: ClassVar[str] = "step"
    length_flag: ClassVar[str] = "--sft.steps"
    trl_table: ClassVar[TrlTable] = TRL

    sft: SFTConfig = field(default_factory=SFTConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)

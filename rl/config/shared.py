"""The sections every kind of run has, and what such a run is."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import tyro

from judges.config import at_least
from rl.names import did_you_mean
from rl.trl_settings import TrlTable

FIELDS = (
    *("question", "reasoning", "answer", "aliases"),
    *("messages", "prompt", "completion", "text"),
    *("id", "lang", "split"),
)
"""What a row may have."""

ALL_LINEAR = "all-linear"
ATTENTION_AND_MLP = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)
"""The seven projections of a layer that recipes name."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The model that learns, and what of it does."""

    model: str = "smollm2-135m"
    """A hub id, a folder, or an embedded model: smollm2-135m, tiny-qwen3.5."""
    chat_template: str | None = None
    """A Jinja file in the place of the model's own; chatml-think is ChatML with a think block."""
    learns: Literal["adapter", "weights"] = "adapter"
    """A LoRA adapter on the model, or all of the model's own weights."""
    quantise: Literal["nf4"] | None = None
    """nf4 holds the model in 4 bits under its adapter, their constants quantised too: QLoRA."""
    adapter: str | None = None
    """Go on from this LoRA adapter, with its own LoRA settings: its folder, a run's, or a
    checkpoint's. None begins a new one."""
    lora_rank: int = 16
    """Rank of the LoRA adapter."""
    lora_alpha: int = 32
    """Scale of the adapter: its output is multiplied by alpha / rank."""
    lora_targets: tuple[str, ...] = ("o_proj", "down_proj")
    """Modules that get an adapter, or all-linear. Fewer make sampling on a CPU much faster."""
    lora_dropout: float = 0.0
    """Share of what goes into the adapter that each step leaves out."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute, and weights that do not learn: those that do are float32. auto is bfloat16 on CUDA,
    float32 on CPU."""
    gradient_checkpointing: bool = False
    """Compute each forward pass twice and keep little of it: slower, in much less memory."""

    def __post_init__(self) -> None:
        at_least("policy.lora_rank", self.lora_rank, 1)
        at_least("policy.lora_alpha", self.lora_alpha, 1)
        if not self.lora_targets:
            raise ValueError(
                "policy.lora_targets is empty: nothing would learn. Try --policy.lora-targets "
                "o_proj down_proj"
            )
        if ALL_LINEAR in self.lora_targets and len(self.lora_targets) > 1:
            raise ValueError(
                f"policy.lora_targets is {' '.join(self.lora_targets)}: all-linear is all of them. "
                "Type --policy.lora-targets all-linear, or name modules"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(
                f"policy.lora_dropout is {self.lora_dropout}: it must be from 0 to under 1"
            )
        if self.learns == "weights" and self.quantise:
            raise ValueError(
                f"policy.learns is weights with policy.quantise {self.quantise}: weights of 4 bits "
                "cannot learn. Type --policy.learns adapter, or leave --policy.quantise out"
            )
        if self.learns == "weights" and self.adapter:
            raise ValueError(
                f"policy.learns is weights with policy.adapter {self.adapter}: merge the adapter "
                "into its base and name that as --policy.model, or type --policy.learns adapter"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is learnt from, and what it is measured on."""

    train: str = "medical_en"
    """A set of experiments/data (medical_en, medical_zh), a JSONL or Parquet file, a hub id, or, to
    fine-tune, a TOML file of several with their shares."""
    subset: str | None = None
    """Of a data set of the hub, where it has several."""
    split: str | None = None
    """Of a data set of the hub; None is its train."""
    fields: tuple[str, ...] = ()
    """Columns that have other names: question=Question answer=Response, ours before theirs."""
    heldout: str | None = None
    """Rows never trained on: a file or hub id, or `sample`, which keeps some rows of `train` back;
    None takes those marked split=heldout."""
    heldout_rows: int = 64
    """How many of them are measured on before and after; 0 skips both."""
    system_prompt: str = "You are a medical assistant. Answer with a short final answer."
    """First message of every prompt; empty for none."""
    thinking: bool | None = None
    """Passed to the chat template as enable_thinking; None leaves the template's own default. False
    also leaves the reasoning of written answers out."""

    def __post_init__(self) -> None:
        at_least("data.heldout_rows", self.heldout_rows, 0)
        self.column_of()

    def column_of(self) -> dict[str, str]:
        """`fields` as a mapping: our names to those of the columns."""
        columns: dict[str, str] = {}
        for entry in self.fields:
            ours, equals, column = entry.partition("=")
            if not equals or not column:
                raise ValueError(
                    f"data.fields {entry}: write ours=theirs, as in --data.fields "
                    "question=Question answer=Response"
                )
            if ours not in FIELDS:
                raise ValueError(
                    f"data.fields {entry}: no {ours!r} here{did_you_mean(ours, FIELDS)}"
                )
            columns[ours] = column
        return columns


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto is online where a key is configured, else offline; there is never a prompt."""
    project: str = "gspo-judge"
    """W&B project."""


Preset = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RunConfig(ABC):
    """What every run depends on. A kind of run adds its own sections."""

    kind: ClassVar[str]
    unit: ClassVar[str]
    """What it counts in: rows of metrics, checkpoints and the report's axis are by it."""
    presets: ClassVar[Mapping[str, Preset]] = {}

    name: str = "run"
    """The run's folder is <out>/<name>-<number>."""
    out: str = "runs"
    """Folder of runs."""
    seed: int = 0
    """Of the data order, the adapter's start and the sampling."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        if not self.name or "/" in self.name:
            raise ValueError(f"name is {self.name!r}: it must be the name of a folder, without /")

    def recorded(self) -> dict[str, Any]:
        """As it is written down."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @abstractmethod
    def flag_for_more(self, done: int) -> str:
        """What to type to go on with a run that came to its end after so many of its unit."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun(RunConfig):
    """A run in which a policy learns."""

    length_flag: ClassVar[str]
    """How many generations or steps there are."""
    trl_table: ClassVar[TrlTable]

    save_every: int = 10
    """Generations, or steps where these are counted, between checkpoints, from which --resume goes
    on; 0 for none."""
    evaluate_every: int = 0
    """Generations, or steps, between measurements on held-out rows; 0 measures before and after
    alone."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trl: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A further TRL setting, name=value, for what has no name here; may be given again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("save_every", self.save_every, 0)
        at_least("evaluate_every", self.evaluate_every, 0)

    def flag_for_more(self, done: int) -> str:
        return f"{self.length_flag} {2 * done}"

    def trl_overrides(self) -> dict[str, Any]:
        """ValueError for a name that is not TRL's, or not its to set."""
        return self.trl_table.parse(self.trl)

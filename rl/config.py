"""What a run is: frozen settings, checked in our own words, before anything heavy is imported.

A section's numbers are what runs: presets are written over them, nothing is filled in later.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_type_hints

import tyro

from judges.client.backends import shown
from judges.config import JudgeConfig
from rewards.config import RewardConfig
from rl.gspo.refusals import check_on_policy, check_reference
from rl.names import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The model that learns, and the adapter it learns in."""

    model: str = "smollm2-135m"
    """The embedded smollm2-135m, a hub id, or a folder."""
    lora_rank: int = 16
    """Rank of the LoRA adapter."""
    lora_alpha: int = 32
    """Scale of the adapter: its output is multiplied by alpha / rank."""
    lora_targets: tuple[str, ...] = ("o_proj", "down_proj")
    """Modules that get an adapter. Fewer make sampling on a CPU much faster."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights and compute; auto is bfloat16 on CUDA, float32 on CPU."""

    def __post_init__(self) -> None:
        at_least("policy.lora_rank", self.lora_rank, 1)
        at_least("policy.lora_alpha", self.lora_alpha, 1)
        if not self.lora_targets:
            raise ValueError(
                "policy.lora_targets is empty: nothing would learn. Try --policy.lora-targets "
                "o_proj down_proj"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Questions with their ground truth."""

    train: str = "medical_en"
    """A set of experiments/data (medical_en, medical_zh), or a JSONL file."""
    heldout: str | None = None
    """Questions never trained on; None takes the rows of `train` marked split=heldout."""
    heldout_rows: int = 64
    """How many of them are asked before and after; 0 skips both."""
    system_prompt: str = "You are a medical assistant. Answer with a short final answer."
    """First message of every prompt; empty for none."""
    thinking: bool | None = None
    """Passed to the chat template as enable_thinking; None leaves the template's own default."""

    def __post_init__(self) -> None:
        at_least("data.heldout_rows", self.heldout_rows, 0)


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Where completions come from."""

    engine: Literal["auto", "vllm", "transformers"] = "auto"
    """auto is vllm where it is installed."""
    url: str | None = None
    """A vLLM server that is already up, with runtime LoRA updating; None starts one."""
    port: int = 0
    """Loopback port of the server that is started; 0 takes a free one."""
    max_new_tokens: int = 512
    """Longest completion."""
    max_prompt_tokens: int = 512
    """Longer prompts are left out, and counted."""
    temperature: float = 1.0
    """Sampling temperature. top_p and top_k stay off: they bias the importance ratio."""
    memory_share: float = 0.4
    """CUDA: the part of the GPU's memory that is vLLM's."""
    cache_gib: int = 1
    """CPU: vLLM's key-value cache."""
    start_timeout_s: float = 600.0
    """How long the server may take to come up."""

    def __post_init__(self) -> None:
        at_least("rollout.max_new_tokens", self.max_new_tokens, 1)
        at_least("rollout.max_prompt_tokens", self.max_prompt_tokens, 1)
        at_least("rollout.cache_gib", self.cache_gib, 1)
        above("rollout.temperature", self.temperature, 0)
        above("rollout.start_timeout_s", self.start_timeout_s, 0)
        if self.url and self.engine == "transformers":
            raise ValueError(
                f"rollout.url is {self.url} with rollout.engine transformers, which has no server. "
                "Leave one of them out"
            )
        if not 0 <= self.port < 65536:
            raise ValueError(f"rollout.port is {self.port}: it must be from 0 to 65535")
        if not 0 < self.memory_share < 1:
            raise ValueError(
                f"rollout.memory_share is {self.memory_share}: it must be above 0 and under 1"
            )


@dataclass(frozen=True, kw_only=True)
class GSPOConfig:
    """The update. A generation samples prompts x group_size rows, then takes minibatches steps."""

    generations: int = 200
    """Rollout batches in the run."""
    prompts: int = 16
    """Questions in a generation."""
    group_size: int = 8
    """Completions of each question."""
    minibatches: int = 4
    """Optimizer steps a generation."""
    on_policy: bool = False
    """Says that one minibatch is meant: every ratio is then exactly 1 and nothing clips."""
    micro_batch_rows: int = 4
    """Rows in one forward and backward pass."""
    learning_rate: float = 1e-5
    """Adam's, constant."""
    warmup_steps: int = 0
    """Optimizer steps over which the learning rate rises to its value."""
    clip_low: float = 3e-4
    """A sequence's ratio counts down to 1 - clip_low."""
    clip_high: float = 4e-4
    """A sequence's ratio counts up to 1 + clip_high."""
    aggregation: Literal["sequence", "dr_grpo"] = "sequence"
    """sequence is the paper; dr_grpo weighs by length over rollout.max_new_tokens."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What a reward's distance from its group's mean is divided by."""
    quorum: int = 2
    """A group with fewer judged rows than this does not vote."""
    min_spread: float | None = None
    """Rewards of a group that are less than this apart are one opinion, which teaches nothing. None
    is 0 where the judge names whole tiers, 0.05 where its grading reads scores between them."""
    truncated: Literal["floor", "dead"] = "floor"
    """A completion cut at max_new_tokens scores reward.floor, or does not vote."""
    old_policy: Literal["sampler", "trainer"] = "trainer"
    """Whose log-probs the ratio divides by. sampler saves a forward pass."""
    sampler_correction: Literal["off", "token_truncate"] = "off"
    """With old_policy trainer: token_truncate weighs each token by the trainer's chance of it over
    the sampler's, at most sampler_cap."""
    sampler_cap: float = 2.0
    """Largest weight of a token in sampler_correction."""
    beta: float = 0.0
    """Weight of the KL to the reference, which is the policy without its adapter."""
    kl_target: float | None = None
    """beta is adapted so that the KL to the reference stays near this; None keeps beta as it is."""
    kl_limit: float | None = None
    """The run saves and stops when the KL to the reference passes this."""
    mismatch_limit: float = 0.05
    """The run stops when kl/sampler passes this: what samples is not the policy that is trained."""

    def __post_init__(self) -> None:
        for name in ("generations", "prompts", "minibatches", "micro_batch_rows"):
            at_least(f"gspo.{name}", getattr(self, name), 1)
        at_least("gspo.group_size", self.group_size, 2)
        at_least("gspo.quorum", self.quorum, 2)
        at_least("gspo.warmup_steps", self.warmup_steps, 0)
        for name in ("learning_rate", "clip_low", "clip_high", "mismatch_limit"):
            above(f"gspo.{name}", getattr(self, name), 0)
        for name in ("kl_target", "kl_limit"):
            if getattr(self, name) is not None:
                above(f"gspo.{name}", getattr(self, name), 0)
        if self.min_spread is not None and not self.min_spread >= 0:
            raise ValueError(f"gspo.min_spread is {self.min_spread}: it must be 0 or more")
        if self.quorum > self.group_size:
            raise ValueError(
                f"gspo.quorum is {self.quorum} with gspo.group_size {self.group_size}: no group "
                f"could ever vote. Type --gspo.quorum {self.group_size}"
            )
        if self.sampler_correction != "off" and self.old_policy == "sampler":
            raise ValueError(
                f"gspo.sampler_correction is {self.sampler_correction} with gspo.old_policy "
                "sampler: the ratio already divides by the sampler's log-probs. Type "
                "--gspo.old-policy trainer, or --gspo.sampler-correction off"
            )
        if not self.sampler_cap >= 1:
            raise ValueError(f"gspo.sampler_cap is {self.sampler_cap}: it must be at least 1")
        if not self.beta >= 0:
            raise ValueError(f"gspo.beta is {self.beta}: it must be 0 or more")
        if self.clip_low >= 1:
            raise ValueError(f"gspo.clip_low is {self.clip_low}: it must be under 1")
        if self.rows % (self.minibatches * self.micro_batch_rows):
            raise ValueError(
                f"gspo: {self.prompts} prompts x {self.group_size} completions = {self.rows} rows "
                f"do not split into {self.minibatches} minibatches of whole micro-batches of "
                f"{self.micro_batch_rows}. Change --gspo.prompts, --gspo.minibatches or "
                "--gspo.micro-batch-rows"
            )
        check_on_policy(minibatches=self.minibatches, on_policy=self.on_policy)
        check_reference(beta=self.beta, kl_target=self.kl_target)

    @property
    def rows(self) -> int:
        return self.prompts * self.group_size


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto is online where a key is configured, else offline; there is never a prompt."""
    project: str = "gspo-judge"
    """W&B project."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run depends on; saved beside it as config.json."""

    name: str = "run"
    """The run's folder is <out>/<name>-<number>."""
    out: str = "runs"
    """Folder of runs."""
    seed: int = 0
    """Of the data order, the adapter's start and the sampling."""
    save_every: int = 10
    """Generations between checkpoints, from which --resume goes on; 0 for none."""
    evaluate_every: int = 0
    """Generations between askings of the held-out questions; 0 asks before and after alone."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    gspo: GSPOConfig = field(default_factory=GSPOConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    trl: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A further TRL setting, name=value, for what has no name here; may be given again."""

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        at_least("save_every", self.save_every, 0)
        at_least("evaluate_every", self.evaluate_every, 0)
        if not self.name or "/" in self.name:
            raise ValueError(f"name is {self.name!r}: it must be the name of a folder, without /")


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "gspo": {
            "group_size": 8,
            "minibatches": 4,
            "on_policy": False,
            "clip_low": 3e-4,
            "clip_high": 4e-4,
            "aggregation": "sequence",
            "scale_rewards": "group",
            "beta": 0.0,
        },
    },
    "seed": {
        "policy": {"lora_rank": 16, "lora_alpha": 32},
        "rollout": {"max_new_tokens": 2048},
        "gspo": {
            "prompts": 2,
            "group_size": 4,
            "minibatches": 1,
            "on_policy": True,
            "micro_batch_rows": 2,
            "clip_low": 0.2,
            "clip_high": 0.2,
            "aggregation": "dr_grpo",
            "scale_rewards": "none",
            "beta": 0.0,
        },
    },
}


def with_preset(config: RunConfig, name: str) -> RunConfig:
    """The config with the preset's values written over its own."""
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is not known{did_you_mean(name, PRESETS)}")
    sections = {
        section: dataclasses.replace(getattr(config, section), **values)
        for section, values in PRESETS[name].items()
    }
    return dataclasses.replace(config, **sections)


def recorded(config: RunConfig) -> dict[str, Any]:
    """As it is written down: without what a URL may hold of a key."""
    return dataclasses.asdict(dataclasses.replace(config, judge=shown(config.judge)))


def to_json(config: RunConfig) -> str:
    return json.dumps(recorded(config), indent=2, ensure_ascii=False) + "\n"


def load(path: str | Path) -> RunConfig:
    """A config that `to_json` wrote, from the run's folder or the file itself."""
    path = Path(path)
    file = path / "config.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"--from {path}: no such file. Give a run's folder or its config.json"
        ) from None
    except ValueError as error:
        raise ValueError(f"--from {path}: not JSON ({error})") from None
    return _build(RunConfig, raw, "")


def _build(kind: type[T], raw: Any, prefix: str) -> T:
    if not isinstance(raw, dict):
        raise ValueError(f"{prefix or 'config'}: a mapping was expected, not {raw!r}")
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in cast(dict[str, Any], raw).items():
        if name not in hints:
            raise ValueError(f"{prefix}{name} is not a setting{did_you_mean(name, hints)}")
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            value = _build(hint, value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(cast(list[Any], value))
        values[name] = value
    return kind(**values)


def at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name} is {value}: it must be at least {low}")


def above(name: str, value: float, low: float) -> None:
    if not value > low:
        raise ValueError(f"{name} is {value}: it must be above {low}")

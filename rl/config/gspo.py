"""What a GSPO run is: where completions come from, who judges them, and the update."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from judges.client.backends import shown
from judges.config import JudgeConfig, above, at_least
from rewards.config import RewardConfig
from rl.config.shared import Preset, TrainingRun
from rl.gspo.refusals import TRL, check_on_policy, check_policy, check_reference
from rl.trl_settings import TrlTable


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
    max_total_tokens: int | None = None
    """Longest prompt and completion together: a long prompt leaves its completion less room. None
    leaves each its own limit."""
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
        if self.max_total_tokens is not None and self.max_total_tokens <= self.max_prompt_tokens:
            raise ValueError(
                f"rollout.max_total_tokens is {self.max_total_tokens} with "
                f"rollout.max_prompt_tokens {self.max_prompt_tokens}: the longest prompt would "
                "have no completion. Lower --rollout.max-prompt-tokens"
            )
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

    @property
    def longest_row(self) -> int:
        """Tokens of prompt and completion together."""
        both = self.max_prompt_tokens + self.max_new_tokens
        return both if self.max_total_tokens is None else min(both, self.max_total_tokens)


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
    """Weight of the KL to the reference, which is the policy as the run began."""
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
class PublishedConfig:
    """What others published of such a run, drawn behind its own curves."""

    reward: tuple[float, ...] = ()
    """Smoothed reward of the training completions, at the beginning and at the end."""
    kl: float | None = None
    """KL to the reference, at the end."""

    def __post_init__(self) -> None:
        if len(self.reward) not in (0, 2):
            raise ValueError(
                f"published.reward is {self.reward}: it must be two numbers, as in "
                "--published.reward 0.57 0.89"
            )


PRESETS: dict[str, Preset] = {
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


@dataclass(frozen=True, kw_only=True)
class GSPORun(TrainingRun):
    """A policy that learns from a judge."""

    kind: ClassVar[str] = "gspo"
    unit: ClassVar[str] = "generation"
    length_flag: ClassVar[str] = "--gspo.generations"
    presets: ClassVar[Mapping[str, Preset]] = PRESETS
    trl_table: ClassVar[TrlTable] = TRL

    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    gspo: GSPOConfig = field(default_factory=GSPOConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_policy(self.policy)

    def recorded(self) -> dict[str, Any]:
        """Without what a URL may hold of a key."""
        return super().recorded() | {"judge": dataclasses.asdict(shown(self.judge))}

"""Settings that would quietly do nothing, or the wrong thing. Each refusal says what to type.

Pure functions of plain values, without torch, so that a config is refused before anything loads.
"""

from typing import Protocol

from rl.trl_settings import TrlTable


class BatchSettings(Protocol):
    @property
    def prompts(self) -> int: ...
    @property
    def group_size(self) -> int: ...
    @property
    def minibatches(self) -> int: ...
    @property
    def micro_batch_rows(self) -> int: ...


class PolicySettings(Protocol):
    @property
    def learns(self) -> str: ...
    @property
    def quantise(self) -> str | None: ...
    @property
    def lora_dropout(self) -> float: ...
    @property
    def dtype(self) -> str: ...


def check_policy(policy: PolicySettings) -> None:
    """What is sampled from is an adapter on the very weights that are trained, as it is."""
    if policy.learns != "adapter":
        raise ValueError(
            f"policy.learns is {policy.learns}: GSPO hands what it learnt to the sampler every"
            " generation, as an adapter. Type --policy.learns adapter"
        )
    if policy.quantise:
        raise ValueError(
            f"policy.quantise is {policy.quantise}: completions would come from other weights than"
            " those in 4 bits that are trained. Leave --policy.quantise out"
        )
    if policy.lora_dropout:
        raise ValueError(
            f"policy.lora_dropout is {policy.lora_dropout}: {_DROPOUT}. Type --policy.lora-dropout"
            " 0"
        )
    if policy.dtype == "float16":
        raise ValueError(
            "policy.dtype is float16: its losses have to be scaled, which is done for fine-tuning"
            " alone. Type --policy.dtype auto"
        )


_DROPOUT = (
    "dropout moves ratios further than the clip window is wide, and 25 to 50 % of sequences clip"
    " with no training at all"
)


def check_data(gspo: BatchSettings, *, prompts_in_data: int) -> None:
    """The data must fill a generation without asking a prompt twice."""
    if prompts_in_data < gspo.prompts:
        raise ValueError(
            f"gspo.prompts is {gspo.prompts}, but the data has only {prompts_in_data}"
            " prompts: not one generation. Type --gspo.prompts"
            f" {max(prompts_in_data, 1)}"
        )


def check_batch(gspo: BatchSettings, *, ranks: int) -> None:
    """Every process must get whole groups and whole steps."""
    prompts = gspo.prompts
    if prompts % ranks:
        raise ValueError(
            f"gspo.prompts is {prompts} on {ranks} processes: groups would be split"
            f" between them. Type --gspo.prompts {ranks * max(1, prompts // ranks)}"
        )
    where = f" on each of {ranks} processes" if ranks > 1 else ""
    mine = prompts // ranks * gspo.group_size
    if mine % gspo.minibatches:
        raise ValueError(
            f"gspo.minibatches is {gspo.minibatches}, which does not divide the {mine} rows of a"
            f" generation{where}. Type --gspo.minibatches"
            f" {_largest_divisor(mine, gspo.minibatches)}"
        )
    step = mine // gspo.minibatches
    if step % gspo.micro_batch_rows:
        raise ValueError(
            f"gspo.micro_batch_rows is {gspo.micro_batch_rows}, which does not divide the {step}"
            f" rows of an optimizer step{where}. Type --gspo.micro-batch-rows"
            f" {_largest_divisor(step, gspo.micro_batch_rows)}"
        )


def check_on_policy(*, minibatches: int, on_policy: bool) -> None:
    if minibatches == 1 and not on_policy:
        raise ValueError(
            "gspo.minibatches is 1: every update is made on completions the policy just sampled,"
            " so every ratio is exactly 1 and clipping never happens. Type --gspo.minibatches 4"
            " for GSPO as published, or --gspo.on-policy if that is meant"
        )
    if minibatches > 1 and on_policy:
        raise ValueError(
            f"gspo.on_policy with gspo.minibatches {minibatches}: from the second minibatch on, the"
            " policy is no longer the one that sampled. Type --gspo.minibatches 1, or leave"
            " --gspo.on-policy out"
        )


def check_reference(
    *, beta: float, kl_target: float | None, backend: str = "transformers", adapter: str = ""
) -> None:
    """`adapter` is the folder of the adapter a run starts from, empty for a fresh one."""
    if beta < 0:
        raise ValueError(
            f"gspo.beta is {beta}: it would push the policy away from its reference. Type"
            " --gspo.beta 0"
        )
    if kl_target is not None and beta == 0:
        raise ValueError(
            f"gspo.kl_target is {kl_target} with gspo.beta 0: a beta of 0 stays 0 however it is"
            " scaled. Type --gspo.beta 0.01"
        )
    if beta > 0 and adapter and backend == "unsloth":
        raise ValueError(
            f"gspo.beta is {beta} on the adapter {adapter} with the unsloth backend: its reference"
            " would be the base model, not the policy you start from. Merge the adapter into the"
            " model first, type --gspo.beta 0, or use the transformers backend"
        )


def _largest_divisor(whole: int, at_most: int) -> int:
    return next(part for part in range(min(at_most, whole), 0, -1) if whole % part == 0)


_NO_EFFECT = "nothing here reads it"
_BIASED = "a cut sampling distribution biases every ratio; sample with --rollout.temperature"
_REFUSED = {
    "delta": "the window is --gspo.clip-low and --gspo.clip-high",
    "disable_dropout": _DROPOUT,
    "entropy_coef": _NO_EFFECT,
    "generation_batch_size": "it is --gspo.prompts times --gspo.group-size",
    "importance_sampling_level": "GSPO has one ratio a sequence",
    "logging_steps": "metrics need every step's log",
    "logging_strategy": "metrics need every step's log",
    "min_p": _BIASED,
    "multi_objective_aggregation": "there is one composite reward",
    "num_iterations": "more updates a generation are --gspo.minibatches",
    "off_policy_mask_threshold": _NO_EFFECT,
    "reward_weights": "there is one composite reward",
    "sync_ref_model": "the reference is the policy before training",
    "top_entropy_quantile": "a sequence's ratio is over all its tokens, low entropy or high",
    "top_k": _BIASED,
    "top_p": _BIASED,
    "use_adaptive_entropy": _NO_EFFECT,
    "use_bias_correction_kl": "it weighs a token's KL by its sequence's ratio, which is the"
    " gradient of no KL; --gspo.beta weighs it by the token's own",
    "use_liger_kernel": "the loss is not computed by the model's own head",
}
_LOSSES = {"grpo": "sequence", "dr_grpo": "dr_grpo"}


def _refused_value(name: str, value: object) -> str | None:
    if name == "loss_type":
        ours = _LOSSES.get(str(value))
        way_out = (
            f"Type --gspo.aggregation {ours}"
            if ours
            else "It weighs sequences by their length within a batch, which is not GSPO. Type"
            " --gspo.aggregation sequence, or dr_grpo to weigh by length by name"
        )
        return f"the loss is not TRL's. {way_out}"
    if name.startswith(("vllm_", "sapo_", "vespo_")):
        return f"{_NO_EFFECT}. Leave it out"
    return None


_OURS = {
    "learning_rate": "--gspo.learning-rate",
    "warmup_steps": "--gspo.warmup-steps",
    "epsilon": "--gspo.clip-low",
    "epsilon_high": "--gspo.clip-high",
    "beta": "--gspo.beta",
    "num_generations": "--gspo.group-size",
    "scale_rewards": "--gspo.scale-rewards",
    "per_device_train_batch_size": "--gspo.micro-batch-rows",
    "steps_per_generation": "--gspo.minibatches",
    "gradient_accumulation_steps": "--gspo.minibatches and --gspo.micro-batch-rows",
    "max_steps": "--gspo.generations",
    "num_train_epochs": "--gspo.generations",
    "max_completion_length": "--rollout.max-new-tokens",
    "temperature": "--rollout.temperature",
    "mask_truncated_completions": "--gspo.truncated",
    "gradient_checkpointing": "--policy.gradient-checkpointing",
    "output_dir": "--out and --name",
    "report_to": "--tracking.mode",
    "seed": "--seed",
    "use_vllm": "--rollout.engine",
}
TRL = TrlTable(config="grpo_config", ours=_OURS, refused=_REFUSED, refused_value=_refused_value)

"""What can be checked, read and counted before anything is started."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from judges import JudgeConfig, make_judge
from rl.config.gspo import GSPORun
from rl.data.rows import Prompt, load_rows, to_prompts
from rl.policy.blueprint import Blueprint
from rl.policy.fit import checked_blueprint
from rl.policy.hours import said_of_hours
from rl.policy.load import context_window, has_cuda, load_tokenizer, resolved_dtype
from rl.policy.needs import needs, said_of_memory
from rl.policy.thinking import check_thinking
from rl.refusal import Refusal
from rl.rollout.vllm_server import check_port, why_no_vllm, why_not_served
from rl.run.preflight import judge_of, outlook
from rl.run.ranks import rank_count, say


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    config: GSPORun
    judge: JudgeConfig
    tokenizer: Any
    blueprint: Blueprint
    train: Sequence[Prompt]
    heldout: Sequence[Prompt]
    starts_vllm: bool


def check(config: GSPORun, *, training: bool = True) -> Checked:
    """`training` is False where only the held-out questions are asked, of two policies."""
    refuse_idle_gpus()
    train_rows, heldout_rows = load_rows(config.data)
    judge = judge_of(config)
    make_judge(judge)
    tokenizer = load_tokenizer(config.policy)
    check_thinking(tokenizer, config.data.thinking)
    blueprint = checked_blueprint(config.policy, tokenizer)
    starts_vllm = _starts_vllm(config, blueprint)
    if starts_vllm and config.rollout.port:
        check_port(
            config.rollout.port,
            "--rollout.port",
            "Leave it out to take a free one, or attach to the server there with "
            f"--rollout.url http://127.0.0.1:{config.rollout.port}",
        )
    _check_window(config)
    longest = config.rollout.max_prompt_tokens
    train, dropped = to_prompts(train_rows, tokenizer, config.data, longest)
    heldout, dropped_too = to_prompts(heldout_rows, tokenizer, config.data, longest)
    if dropped + dropped_too:
        say(f"left out {dropped + dropped_too} prompts of more than {longest} tokens")
    if not train:
        raise Refusal(
            f"every prompt has more than {longest} tokens. Raise --rollout.max-prompt-tokens"
        )
    if not (training or heldout):
        raise Refusal(
            'there are no questions to ask: mark some rows "split": "heldout", or give a file of '
            "others with --data.heldout"
        )
    say(outlook(config, train=len(train), heldout=len(heldout), training=training))
    if training and has_cuda():
        _say_what_it_takes(config, config.rollout.memory_share if starts_vllm else 0.0)
    return Checked(
        config=config,
        judge=judge,
        tokenizer=tokenizer,
        blueprint=blueprint,
        train=train,
        heldout=heldout,
        starts_vllm=starts_vllm,
    )


def _say_what_it_takes(config: GSPORun, sampler_share: float) -> None:
    policy, gspo = config.policy, config.gspo
    shape = {"rows": gspo.micro_batch_rows, "tokens": config.rollout.longest_row}
    need = needs(policy, **shape)
    say(said_of_memory(need, policy, **shape, sampler_share=sampler_share))
    hours = said_of_hours(
        need,
        policy,
        rows=gspo.generations * gspo.rows,
        passes_without_gradient=(gspo.old_policy == "trainer") + (gspo.beta > 0),
        tokens_sampled=gspo.generations * config.rollout.max_new_tokens,
    )
    say(hours)


def _check_window(config: GSPORun) -> None:
    window, rollout = context_window(config.policy), config.rollout
    if rollout.longest_row > window:
        raise Refusal(
            f"rollout.max_prompt_tokens {rollout.max_prompt_tokens} and rollout.max_new_tokens "
            f"{rollout.max_new_tokens} do not fit together into the model's window of {window} "
            f"tokens. Lower one of them, or both: --rollout.max-total-tokens {window}"
        )


def refuse_idle_gpus() -> None:
    """Several GPUs in one process would be split by TRL, which refuses only once all is loaded."""
    import torch

    count = torch.cuda.device_count()
    if count > 1 and rank_count() == 1:
        raise Refusal(
            f"{count} GPUs are visible and this is one process. Share the update among them: "
            f"torchrun --nproc-per-node {count} ...; or use one: CUDA_VISIBLE_DEVICES=0 ..."
        )


def _starts_vllm(config: GSPORun, blueprint: Blueprint) -> bool:
    rollout = config.rollout
    if rollout.url or rollout.engine == "transformers":
        return False
    missing = why_no_vllm() or why_not_served(
        blueprint.model_type, resolved_dtype(config.policy), on_gpu=has_cuda()
    )
    if missing and rollout.engine == "vllm":
        raise Refusal(f"--rollout.engine vllm: {missing}. Leave it out, or install it first")
    if missing:
        say(f"{missing}: sampling with transformers instead, which is slower")
    return not missing

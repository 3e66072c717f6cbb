"""What a policy answers to held-out rows: greedily, and once as it would sample."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from rewards.split import split
from rl.policy.load import Policy
from rl.rollout.engine import Completion, Sampling
from rl.rollout.transformers_engine import TransformersEngine
from rl.sft.rows import TokenRow

TEMPERATURE_OF = {"greedy": 0.0, "sampled": 1.0}


def answers_to(
    rows: Sequence[TokenRow], policy: Policy, *, max_new_tokens: int, seed: int
) -> list[dict[str, Any]]:
    """`ended` is with the end token, `in_format` with reasoning and then an answer where wanted."""
    engine = TransformersEngine(policy)
    prompts = [row.token_ids[: row.prompt_tokens] for row in rows]
    answers: list[dict[str, Any]] = []
    for how, temperature in TEMPERATURE_OF.items():
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        for completion in asyncio.run(_all(engine.stream(prompts, sampling))):
            answers.append(_to_row(rows[completion.prompt], completion, how, policy.tokenizer))
    return answers


async def _all(completions: AsyncIterator[Completion]) -> list[Completion]:
    return [completion async for completion in completions]


def _to_row(row: TokenRow, completion: Completion, how: str, tokenizer: Any) -> dict[str, Any]:
    example = row.example
    prompt = row.token_ids[: row.prompt_tokens]
    said = split(prompt, completion.token_ids, tokenizer, completion.finish_reason)
    answered = {
        "id": example.id,
        "how": how,
        "question": example.asked,
        "truth": example.answer,
        "reasoning": said.reasoning,
        "answer": said.answer,
        "status": said.status,
        "ended": completion.finish_reason == "stop",
        "n_tokens": len(completion.token_ids),
    }
    if example.reasoning:
        answered["in_format"] = said.status == "ok" and bool(said.reasoning)
    return answered

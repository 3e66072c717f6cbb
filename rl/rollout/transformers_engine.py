"""Completions from the policy itself, in this process: slower, but needs nothing besides torch."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rl.policy.load import Policy
from rl.rollout.engine import Completion, Sampling

_ROWS_AT_ONCE = 32


class TransformersEngine:
    def __init__(self, policy: Policy) -> None:
        from transformers import GenerationConfig

        self._policy = policy
        self._ends = _end_tokens(policy.base.generation_config)
        # A model's own file may ask for penalties, cuts and banned words. `generate` adds them to
        # whatever it is told, and the update would compute another distribution's log-probs.
        self._plainly = GenerationConfig(
            top_k=0,
            eos_token_id=sorted(self._ends),
            pad_token_id=policy.tokenizer.pad_token_id,
        )

    async def publish(self, policy: Policy, version: int) -> dict[str, float]:
        """Nothing to do: it samples from the very weights that are trained."""
        return {}

    async def stream(
        self, prompts: Sequence[list[int]], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        for start in range(0, len(prompts), _ROWS_AT_ONCE):
            rows = prompts[start : start + _ROWS_AT_ONCE]
            for completion in await asyncio.to_thread(self._sample, rows, start, sampling):
                yield completion

    def _sample(
        self, prompts: Sequence[list[int]], first: int, sampling: Sampling
    ) -> list[Completion]:
        import torch

        tokenizer, model = self._policy.tokenizer, self._policy.model
        batch = tokenizer.pad(
            {"input_ids": list(prompts)}, padding_side="left", return_tensors="pt"
        ).to(model.device)
        choice: dict[str, Any] = {"do_sample": False}
        if sampling.temperature:
            choice = {"do_sample": True, "temperature": sampling.temperature}
        was_training = model.training
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(), self._nothing_added():
            torch.manual_seed(sampling.seed * 1_000_003 + first)
            out = model.generate(
                **batch,
                **choice,
                max_new_tokens=max(map(sampling.room_after, prompts)),
                return_dict_in_generate=True,
                output_scores=True,
            )
        model.train(was_training)
        tokens_BT = out.sequences[:, batch["input_ids"].shape[1] :]
        logps_BT = torch.stack(
            [
                scores.float().log_softmax(-1).gather(1, tokens_BT[:, t : t + 1]).squeeze(1)
                for t, scores in enumerate(out.scores)
            ],
            dim=1,
        )
        return [
            _completion(first + i, tokens[:room], logps, self._ends)
            for i, (room, tokens, logps) in enumerate(
                zip(
                    map(sampling.room_after, prompts),
                    tokens_BT.tolist(),
                    logps_BT.tolist(),
                    strict=True,
                )
            )
        ]

    @contextmanager
    def _nothing_added(self) -> Iterator[None]:
        base = self._policy.base
        own, base.generation_config = base.generation_config, self._plainly
        try:
            yield
        finally:
            base.generation_config = own


def _end_tokens(generation_config: Any) -> set[int]:
    ends = generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [ends])


def _completion(
    prompt: int, tokens: list[int], logprobs: list[float], ends: set[int]
) -> Completion:
    end = next((t for t, token in enumerate(tokens) if token in ends), None)
    length = len(tokens) if end is None else end + 1
    return Completion(
        prompt=prompt,
        token_ids=tokens[:length],
        logprobs=logprobs[:length],
        finish_reason="length" if end is None else "stop",
    )

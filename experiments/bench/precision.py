"""What rounding does to a sequence's ratio where nothing has been learnt: learning rate 0.

    python -m experiments.bench.precision [--rows 16] [--tokens 200]

The policy completes questions of the data in float32. Each completion is scored alone in float32,
and again in other precisions, four together. Were all exact, every ratio would be 1: what is left
is rounding, and between a trainer and a sampler of unlike precision it would be clipped as if it
had been learnt. `logits` says what the head's product is rounded to; the update's are float32
whatever the model is in. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from rl.config import DataConfig, PolicyConfig
from rl.config.gspo import GSPOConfig
from rl.gspo.batch import Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    result = measure(options.model, options.rows, options.tokens)
    for name, row in result.items():
        print(f"{name:32}" + "".join(f"  {key} {value:.2g}" for key, value in row.items()))
    print(json.dumps(result))


def measure(model_name: str, rows: int, tokens: int) -> dict[str, dict[str, float]]:
    from rl.gspo import head
    from rl.gspo.head import attach_token_head

    # Weights that both precisions can hold, so that only the computing differs.
    model = _policy(model_name, "bfloat16").float()
    batch = _completions(model, model_name, rows, tokens)
    attach_token_head(model, temperature=1.0)
    exact_BT = _logps(model, batch, together=1)
    logits = {"float32": head._float32_logits, "bfloat16": _rounded(head._float32_logits)}
    result: dict[str, dict[str, float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = model.to(dtype)
        for name, product in logits.items():
            with mock.patch.object(head, "_float32_logits", product):
                spread = _spread(_logps(model, batch, together=4), exact_BT, batch)
            result[f"model {str(dtype)[6:]}, logits {name}"] = spread
    return result


def _spread(logps_BT: Tensor, exact_BT: Tensor, batch: Batch) -> dict[str, float]:
    from rl.gspo.objective import sequence_log_ratios

    mask_BT, window = batch.mask_BT(exact_BT.shape[1]), GSPOConfig()
    ratios_B = sequence_log_ratios(logps_BT, exact_BT, mask_BT).exp()
    outside_B = (ratios_B < 1 - window.clip_low) | (ratios_B > 1 + window.clip_high)
    return {
        "a_token": float((logps_BT - exact_BT)[mask_BT].abs().mean()),
        "ratio_std": float(ratios_B.std(correction=0)),
        "ratio_furthest": float((ratios_B - 1).abs().max()),
        "outside_the_window": float(outside_B.float().mean()),
    }


def _rounded(product: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda hidden, weight: product(hidden, weight).bfloat16().float()


def _logps(model: Any, batch: Batch, *, together: int) -> Tensor:
    from rl.gspo.update import score

    width = int(batch.lengths_B.max())
    parts: list[Tensor] = []
    for rows in torch.arange(len(batch.lengths_B)).split(together):
        with torch.no_grad():
            logps_bT, _ = score(model, batch.take(rows))
        parts.append(torch.nn.functional.pad(logps_bT, (0, width - logps_bT.shape[1])))
    return torch.cat(parts).float()


def _policy(name: str, dtype: str) -> Any:
    from rl.models import resolve_model
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, dtype)
    return AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=dtype).to(device).eval()


def _completions(model: Any, name: str, rows: int, tokens: int) -> Batch:
    from rl.data.rows import load_rows, to_prompts
    from rl.policy import load_tokenizer

    torch.manual_seed(0)
    data, tokenizer = DataConfig(), load_tokenizer(PolicyConfig(model=name))
    prompts, _ = to_prompts(load_rows(data)[0][:rows], tokenizer, data, 512)
    ids = [prompt.token_ids for prompt in prompts]
    asked = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        # No end before the limit, so that every row is as long as a row of a real task.
        out = model.generate(
            **asked.to(model.device),
            do_sample=True,
            top_k=0,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
    completions = out[:, asked["input_ids"].shape[1] :].tolist()
    return Batch.of(ids, completions, None, model.device)


if __name__ == "__main__":
    main()

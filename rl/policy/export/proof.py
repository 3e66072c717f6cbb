"""Whether an exported form is the policy: its logits or log-probs, and what it says, greedily."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.refusal import Refusal

SHARE = {"float32": 3e-5, "bfloat16": 0.1}
"""Of the largest logit: how far another may be."""
IN_THE_MEAN = 10
"""So many times nearer they must be in the mean: one torn layer moves everything a little."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """The policy's greedy answer to one prompt, and the logits of each of its tokens."""

    prompt: list[int]
    answer: list[int]
    logits_TV: Any


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How far one form is from the policy."""

    form: str
    loaded_by: str
    of: str
    """Logits, or log-probs of what it said itself."""
    dtype: str
    farthest: float
    mean: float
    bound: float
    equal_texts: int
    texts: int

    def told(self) -> str:
        return (
            f"{self.form} by {self.loaded_by}, {self.dtype}: {self.of} within {self.farthest:.2g} "
            f"(at most {self.bound:.2g}; mean {self.mean:.2g}), {self.equal_texts} of "
            f"{self.texts} greedy texts equal"
        )

    def hold(self) -> None:
        is_near = self.farthest <= self.bound and self.mean <= self.bound / IN_THE_MEAN
        if not is_near:  # a NaN is not
            raise Refusal(
                f"{self.told()}: that is another model, and it is not exported. Try a wider "
                "--dtype, or more bits"
            )
        if self.dtype == "float32" and self.equal_texts < self.texts:
            raise Refusal(
                f"{self.told()}: equal weights should say the same, so its generation settings or "
                "its end tokens differ, and it is not exported"
            )


def say(model: Any, prompts: Sequence[list[int]], new_tokens: int) -> list[Said]:
    answers = [greedy(model, prompt, new_tokens) for prompt in prompts]
    return [
        Said(prompt=prompt, answer=answer, logits_TV=logits(model, prompt, answer))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def compared(
    model: Any, said: Sequence[Said], new_tokens: int, *, form: str, loaded_by: str, dtype: str
) -> Fidelity:
    """A model on the policy's own answers, and on its own."""
    apart = [(logits(model, each.prompt, each.answer) - each.logits_TV).abs() for each in said]
    return Fidelity(
        form=form,
        loaded_by=loaded_by,
        of="logits",
        dtype=dtype,
        farthest=max(each.max().item() for each in apart),
        mean=sum(each.mean().item() for each in apart) / len(apart),
        bound=SHARE[dtype] * max(each.logits_TV.abs().max().item() for each in said),
        equal_texts=sum(greedy(model, each.prompt, new_tokens) == each.answer for each in said),
        texts=len(said),
    )


def greedy(model: Any, prompt: list[int], new_tokens: int) -> list[int]:
    import torch

    ids_1L = torch.tensor([prompt], device=model.device)
    out_1L = model.generate(
        input_ids=ids_1L,
        attention_mask=torch.ones_like(ids_1L),
        do_sample=False,
        max_new_tokens=new_tokens,
    )
    return out_1L[0, len(prompt) :].tolist()


def logits(model: Any, prompt: list[int], answer: list[int]) -> Any:
    """Of each token of the answer, before it is known."""
    import torch

    ids_1L = torch.tensor([prompt + answer], device=model.device)
    with torch.no_grad():
        logits_LV = model(ids_1L).logits[0]
    return logits_LV[len(prompt) - 1 : -1].float().cpu()

"""Packing is exact where no row of a pack can see another. It is tried, on the model itself.

An attention's mask keeps rows apart. A recurrence or a convolution over the pack does not, unless
its kernel knows where rows begin; without that it leaks, and no library says so.
"""

from typing import Any

from rl.refusal import Refusal

MOST_SEEN = 1e-5
"""Of the logits of a second row, when the first is another. Nothing is seen through a mask."""
_ROW_TOKENS = 12


def refuse_leaking(model: Any, *, model_name: str) -> None:
    seen = seen_of_another_row(model)
    if seen > MOST_SEEN:
        raise Refusal(
            f"sft.packing with policy.model {model_name}: a row changes the logits of the row "
            f"packed after it by {seen:.2g}, so documents would leak into one another. Its layers "
            "need kernels that are not installed here. Type --sft.no-packing"
        )


def seen_of_another_row(model: Any) -> float:
    """How far the logits of a row move when the row packed before it is another one."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    vocabulary = model.get_input_embeddings().num_embeddings
    draw = torch.Generator().manual_seed(0)
    one, other, second = torch.randint(vocabulary, (3, _ROW_TOKENS), generator=draw).tolist()
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)

    def second_after(first: list[int]) -> Any:
        batch = collate([{"input_ids": first}, {"input_ids": second}])
        del batch["labels"]
        given = {
            name: value.to(model.device) if torch.is_tensor(value) else value
            for name, value in batch.items()
        }
        return model(**given, use_cache=False).logits[0, _ROW_TOKENS:].float()

    was_training = model.training
    model.eval()
    with torch.no_grad():
        moved = (second_after(one) - second_after(other)).abs().max().item()
    model.train(was_training)
    return moved

"""Which rows are computed together, and that it does not matter."""

import pytest
import torch

from rl.gspo.batch import Batch, micro_batches, spread_over_minibatches
from rl.gspo.head import NOT_SCORED, attach_token_head
from rl.gspo.update import score

CPU = torch.device("cpu")


def test_targets_are_the_completions_tokens_one_place_early():
    batch = Batch.of([[5, 6], [7]], [[8], [9, 10, 11]], None, CPU)
    assert batch.ids_BL.tolist() == [[5, 6, 8, 0], [7, 9, 10, 11]]
    no = NOT_SCORED
    assert batch.targets_BL().tolist() == [[no, 8, no, no], [9, 10, 11, no]]
    assert batch.mask_BT(3).tolist() == [[True, False, False], [True, True, True]]


def test_a_slice_is_cut_to_its_own_longest_row():
    batch = Batch.of([[5, 6], [7]], [[8], [9, 10, 11]], [[-1.0], [-2.0, None, -3.0]], CPU)
    part = batch.take(torch.tensor([0]))
    assert part.ids_BL.tolist() == [[5, 6, 8]]
    assert batch.sampler_logps_BT.isnan().tolist() == [[False] * 3, [False, True, False]]


@pytest.mark.parametrize("kind", ["llama", "qwen35"])
def test_padding_and_company_do_not_change_a_rows_log_probs(tiny, kind):
    policy = tiny(kind)
    attach_token_head(policy.model.get_base_model(), temperature=0.8)
    prompts = [[3, 4, 5, 6, 7], [8], [9, 10]]
    completions = [[11], [12, 13, 14, 15, 16, 17], []]
    with torch.no_grad():
        together, entropies = score(policy.model, Batch.of(prompts, completions, None, CPU))
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            n = len(completion)
            ids = torch.tensor([prompt + completion])
            logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : len(prompt) - 1 + n]
            chances = (logits / 0.8).log_softmax(-1)
            wanted = chances[range(n), completion]
            torch.testing.assert_close(together[row, :n], wanted, rtol=1e-4, atol=1e-5)
            wanted = -(chances.exp() * chances).sum(-1)
            torch.testing.assert_close(entropies[row, :n], wanted, rtol=1e-4, atol=1e-5)
            assert not together[row, n:].any()


def test_each_minibatch_gets_its_share_of_every_run_of_rows():
    dealt = spread_over_minibatches(24, 4, first_row=0, seed=3, generation=5)
    assert dealt.view(6, 4).sort().values.tolist() == [[0, 1, 2, 3]] * 6
    other = spread_over_minibatches(24, 4, first_row=0, seed=3, generation=6)
    assert dealt.tolist() != other.tolist()


def test_who_computes_a_row_does_not_change_its_minibatch():
    whole = spread_over_minibatches(24, 4, first_row=0, seed=3, generation=5)
    halves = [spread_over_minibatches(12, 4, first_row=r, seed=3, generation=5) for r in (0, 12)]
    assert whole.tolist() == torch.cat(halves).tolist()


def test_micro_batches_hold_rows_of_like_length_and_the_last_is_never_empty():
    totals = torch.tensor([3, 9, 4, 8, 2])
    parts = micro_batches(torch.arange(5), totals, slots=4, size=2)
    assert [part.tolist() for part in parts] == [[], [1, 3], [2, 0], [4]]
    assert [len(part) for part in micro_batches(torch.arange(0), totals, slots=2, size=2)] == [0, 0]

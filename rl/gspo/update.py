"""One generation's update: what each optimizer step computes, and what it measured.

A generation is dealt to `minibatches` optimizer steps, a step to `slots` micro-batches. The step's
means are over the live rows of all its micro-batches on all ranks, so neither the split nor the
number of ranks is in the gradient. Rows whose advantage is exactly 0 have no gradient at beta 0 and
are not computed; they stay in every denominator.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from rl.config.gspo import GSPOConfig
from rl.gspo.batch import Batch, micro_batches, spread_over_minibatches
from rl.gspo.diagnostics import RowTable, k1, k3
from rl.gspo.objective import gspo_loss, kl_loss, truncated_weights
from rl.gspo.reference import Reference

# One row in so many is compared with the reference when the loss does not need the reference.
PROBED_ROWS = 64


@dataclass(frozen=True, slots=True)
class Ranks:
    """Who else computes this generation. `add` sums a tensor over ranks."""

    count: int
    index: int
    add: Callable[[Tensor], Tensor]


class MicroBatch(TypedDict):
    """A part of an optimizer step: which of this process's rows. It may have none."""

    step: int
    rows: Tensor


class Update:
    """Hands out the micro-batches of a generation one after another, and their losses."""

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        advantages_B: Tensor,
        live_B: Tensor,
        *,
        settings: GSPOConfig,
        reference: Reference | None,
        beta: float,
        max_length: int,
        ranks: Ranks,
        seed: int,
        generation: int,
    ) -> None:
        self.batch, self.settings, self.beta, self.max_length = batch, settings, beta, max_length
        self.advantages_B, self.live_B = advantages_B, live_B
        self.table = RowTable.empty(len(live_B), live_B.device)
        everyone = torch.arange(len(live_B), device=live_B.device)
        self.table.write(everyone, length=batch.lengths_B)
        self.table.write(everyone, where=live_B, advantage=advantages_B)
        self._plan(ranks, seed, generation)
        self._slot = 0
        self.old_logps_BT = self._old_logps(model)
        self.referred_B = torch.zeros_like(live_B)
        self.ref_logps_BT = self._reference_logps(model, reference, seed + generation)

    def _plan(self, ranks: Ranks, seed: int, generation: int) -> None:
        settings, live_B = self.settings, self.live_B
        rows = len(live_B)
        step_of_B = spread_over_minibatches(
            rows,
            settings.minibatches,
            first_row=ranks.index * rows,
            seed=seed,
            generation=generation,
        ).to(live_B.device)
        self.moves_B = self._moving()
        self.table.write(torch.arange(rows, device=live_B.device), step=step_of_B)
        steps_S = torch.arange(settings.minibatches, device=live_B.device)
        in_step_SB = step_of_B == steps_S[:, None]
        counts_S2 = torch.stack([(in_step_SB & v).sum(-1) for v in (live_B, self.moves_B)], dim=-1)
        counts = ranks.add(counts_S2).tolist()
        # Ranks average their gradients, so each takes its mean over its share of the step's rows.
        self.live_totals = [live / ranks.count for live, _ in counts]

        totals_B = self.batch.prompt_lengths_B + self.batch.lengths_B
        slots = -(-rows // (settings.minibatches * settings.micro_batch_rows))
        self.slots: list[tuple[int, Tensor]] = []
        for step, (_, moving) in enumerate(counts):
            chosen = (self.moves_B & in_step_SB[step]).nonzero().flatten()
            if moving and not len(chosen):
                # Another rank has work and waits for our backward: one row, weighing nothing.
                chosen = in_step_SB[step].nonzero().flatten()
                chosen = chosen[totals_B[chosen].argmin()][None]
            parts = micro_batches(chosen, totals_B, slots=slots, size=settings.micro_batch_rows)
            self.slots += [(step, part) for part in parts]

    def _moving(self) -> Tensor:
        """The rows that have a gradient; the others are not computed."""
        return self.live_B if self.beta else self.live_B & (self.advantages_B != 0)

    def _samples_itself(self, step: int) -> bool:
        """In the generation's first step the policy is still the one that sampled."""
        return step == 0

    def next_micro_batch(self) -> MicroBatch:
        step, rows = self.slots[self._slot]
        self._slot += 1
        return {"step": step, "rows": rows}

    @property
    def exhausted(self) -> bool:
        return self._slot == len(self.slots)

    def loss(self, model: nn.Module, micro_batch: MicroBatch) -> Tensor:
        """The micro-batch's share of its step's loss."""
        step, rows = micro_batch["step"], micro_batch["rows"]
        if not len(rows):
            return torch.zeros((), device=self.live_B.device, requires_grad=True)
        part = self.batch.take(rows)
        logps_bT, entropies_bT = score(model, part)
        mask_bT = part.mask_BT(logps_bT.shape[1])
        on_policy = self._samples_itself(step)
        old_bT = logps_bT.detach() if on_policy else self._columns(self.old_logps_BT, rows, mask_bT)
        options: dict[str, Any] = {
            "aggregation": self.settings.aggregation,
            "max_length": self.max_length,
            "live_B": self.live_B[rows],
            "live_total": self.live_totals[step],
            "weights_BT": self._correction(rows, old_bT, mask_bT),
        }
        out = gspo_loss(
            logps_bT,
            old_bT,
            self.advantages_B[rows],
            mask_bT,
            clip_low=self.settings.clip_low,
            clip_high=self.settings.clip_high,
            **options,
        )
        loss = out.loss
        if not bool(self.moves_B[rows].any()):
            return loss
        now_bT = logps_bT.detach()
        if self.ref_logps_BT is not None:
            ref_bT = self._columns(self.ref_logps_BT, rows, mask_bT)
            if self.beta:
                loss = loss + self.beta * kl_loss(logps_bT, old_bT, ref_bT, mask_bT, **options)
            self._measure(rows, mask_bT, self.referred_B, kl_ref_sum=k3(now_bT, ref_bT))
        self._measure(
            rows, mask_bT, self.live_B, entropy_sum=entropies_bT, kl_old_sum=k3(old_bT, now_bT)
        )
        if on_policy:
            self._measure_sampler(rows, now_bT, mask_bT)
        self.table.write(rows, where=self.live_B[rows], ratio=out.ratios_B)
        return loss

    def _old_logps(self, model: nn.Module) -> Tensor | None:
        """Of the rows that a later policy will see, as the policy is now."""
        later = [r for step, r in self.slots if len(r) and not self._samples_itself(step)]
        if not later:
            return None
        if self.settings.old_policy == "sampler":
            assert self.batch.sampler_logps_BT is not None
            return self.batch.sampler_logps_BT
        logps_BT = self._blank()
        for rows in later:
            mask_bT, logps_bT = self._score_quietly(model, rows)
            logps_BT[rows, : mask_bT.shape[1]] = logps_bT
            self._measure_sampler(rows, logps_bT, mask_bT)
        return logps_BT

    def _reference_logps(
        self, model: nn.Module, reference: Reference | None, seed: int
    ) -> Tensor | None:
        if reference is None:
            assert not self.beta, "beta > 0 without a reference"
            return None
        parts = [rows for _, rows in self.slots if len(rows)]
        if not self.beta:
            parts = self._probe(seed)
        logps_BT = self._blank()
        with reference.standing_in():
            for rows in parts:
                mask_bT, logps_bT = self._score_quietly(model, rows)
                logps_BT[rows, : mask_bT.shape[1]] = logps_bT
                self.referred_B[rows] = True
        return logps_BT

    def _probe(self, seed: int) -> list[Tensor]:
        """A few rows of the first step, whose own log-probabilities the update will make anyway."""
        parts = [rows for step, rows in self.slots if self._samples_itself(step) and len(rows)]
        if not parts:
            return []
        candidates = torch.cat(parts)
        candidates = candidates[self.batch.lengths_B[candidates] > 0]
        generator = torch.Generator().manual_seed(seed)
        count = -(-len(self.live_B) // PROBED_ROWS)
        picks = torch.randperm(len(candidates), generator=generator)[:count]
        return [candidates[picks.to(candidates.device)]] if len(picks) else []

    def _score_quietly(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
        part = self.batch.take(rows)
        with torch.no_grad(), _evaluating(model):
            logps_bT, _ = score(model, part)
        return part.mask_BT(logps_bT.shape[1]), logps_bT

    def _correction(self, rows: Tensor, old_bT: Tensor, mask_bT: Tensor) -> Tensor | None:
        """Token weights that take the sampler's difference from the old policy into account."""
        if self.settings.sampler_correction == "off":
            return None
        cap = self.settings.sampler_cap
        said_bT = self._columns(self.batch.sampler_logps_BT, rows, mask_bT)
        weights_bT = truncated_weights(old_bT, said_bT, mask_bT, cap=cap)
        self._measure(rows, mask_bT, self.moves_B, capped_sum=weights_bT >= cap)
        return weights_bT

    def _measure_sampler(self, rows: Tensor, now_bT: Tensor, mask_bT: Tensor) -> None:
        if self.batch.sampler_logps_BT is None:
            return
        said_bT = self._columns(self.batch.sampler_logps_BT, rows, mask_bT)
        self._measure(
            rows,
            mask_bT,
            self.batch.scored_B,
            kl_sampler_sum=k3(said_bT, now_bT),
            drift_sampler_sum=k1(said_bT, now_bT),
        )

    def _measure(self, rows: Tensor, mask_bT: Tensor, asked_B: Tensor, **sums: Tensor) -> None:
        """Sums over the tokens of the live rows that were asked at all."""
        self.table.write(
            rows,
            where=(self.live_B & asked_B)[rows],
            **{
                name: values_bT.double().masked_fill(~mask_bT, 0.0).sum(-1)
                for name, values_bT in sums.items()
            },
        )

    def _columns(self, logps_BT: Tensor | None, rows: Tensor, mask_bT: Tensor) -> Tensor:
        assert logps_BT is not None
        return logps_BT[rows, : mask_bT.shape[1]]

    def _blank(self) -> Tensor:
        shape = (len(self.live_B), int(self.batch.lengths_B.max()))
        return torch.full(shape, float("nan"), device=self.live_B.device)


def score(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the batch's completion tokens, 0 on padding."""
    out = model(input_ids=batch.ids_BL, targets_BL=batch.targets_BL())
    mask_BT = batch.mask_BT(int(batch.lengths_B.max()))
    blank_BT = out["logps_N"].new_zeros(mask_BT.shape)
    logps_BT = blank_BT.masked_scatter(mask_BT, out["logps_N"])
    return logps_BT, blank_BT.masked_scatter(mask_BT, out["entropies_N"])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Without this, gradient checkpointing runs (and warns) in a forward nobody differentiates."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

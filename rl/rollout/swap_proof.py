"""Proof that a server samples from the adapter it was just given.

vLLM matches an adapter's keys by its own class of the model. Where none match it answers "Success"
and goes on sampling from the weights below: a run would never learn, and nothing would say so. So
the server scores one short text after each swap, and is held against the trainer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rl.rollout.engine import EngineError

TEXT = "The patient has had a fever and a cough for three days."
MISMATCH_LIMIT = 0.2
"""Mean distance of a token's two log-probs. bfloat16 on both sides makes about 0.04."""
_CLEAR = 3.0
"""So many times the distance that precision makes, and two sets of weights are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapProof:
    """Mean distances of a token's log-probs: server to trainer, both under the new adapter; the
    same server to the trainer without it; and the trainer with to the trainer without it."""

    error: float
    error_without: float
    moved: float

    @classmethod
    def of(
        cls, served: Sequence[float], adapted: Sequence[float], plain: Sequence[float]
    ) -> "SwapProof":
        return cls(
            error=distance(served, adapted),
            error_without=distance(served, plain),
            moved=distance(adapted, plain),
        )

    def hold(self, *, precision: float) -> None:
        """EngineError where the swap did nothing or the wrong thing. `precision` is how far server
        and trainer are apart on the weights that both began with."""
        if not math.isfinite(self.error):
            raise EngineError(
                "vLLM gives log-probs that are not numbers under the adapter it was given. Some GPU"
                " kernels do so for LoRA on hybrid models. Try --policy.dtype float32, another"
                " vLLM, or --rollout.engine transformers"
            )
        if self.moved > _CLEAR * precision and self.error_without < self.error:
            raise EngineError(
                f"vLLM took the adapter and does not use it: its log-probs are {self.error:.2g} a"
                f" token from the trainer's with the adapter and {self.error_without:.2g} from"
                " those without it. Its class of the model has other names for the adapted layers."
                " Serve a checkpoint of the class that is trained, or sample with"
                " --rollout.engine transformers"
            )
        if self.error > MISMATCH_LIMIT:
            raise EngineError(
                f"vLLM's log-probs under the new adapter are {self.error:.2g} a token from the"
                f" trainer's, over the limit of {MISMATCH_LIMIT}: it samples from another policy"
                " than the one that is trained. Use the same --policy.dtype and weights on both"
                " sides, or --rollout.engine transformers"
            )


def hold_base(served: Sequence[float], plain: Sequence[float]) -> float:
    """How far apart the two are before anything was swapped: what precision alone makes."""
    precision = distance(served, plain)
    if not precision <= MISMATCH_LIMIT:
        raise EngineError(
            f"vLLM's log-probs of a fixed text are {precision:.2g} a token from the policy's, over"
            f" the limit of {MISMATCH_LIMIT}: it serves other weights than those of --policy.model,"
            " or computes them in another way"
        )
    return precision


def distance(some: Sequence[float], others: Sequence[float]) -> float:
    """NaN where either holds one."""
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))

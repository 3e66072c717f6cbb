"""The policy before training, which the KL is measured against, and how far one may drift from it.

A limit ends the run, beta may adapt. The reference is a copy of what trains (an adapter's weights,
a few MB), swapped in for a forward. A second adapter beside the first would do too, but a
checkpoint then holds two, and a resumed run is given back only the second: its training is lost
without a word.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from statistics import fmean

from torch import nn


class Reference:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._start = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """The model is the reference inside, and itself again after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._model.named_parameters():
            if name in self._start:
                parameter.data, self._start[name] = self._start[name], parameter.data


class KlLimit:
    """At beta 0 a generation's KL is that of a row or two, so it is a recent mean that counts."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self._recent: deque[float] = deque(maxlen=4)

    @property
    def recent(self) -> list[float]:
        return list(self._recent)

    @recent.setter
    def recent(self, values: Iterable[float]) -> None:
        self._recent = deque(values, maxlen=4)

    def check(self, kl: float | None) -> str | None:
        """Why the run must stop, or None. A KL that could not be measured stops nothing."""
        if self.limit is None or kl is None:
            return None
        self._recent.append(kl)
        mean = fmean(self._recent)
        if mean <= self.limit:
            return None
        return (
            f"kl/ref is {kl:.4g}, and {mean:.4g} over the last {len(self._recent)} generations,"
            f" above gspo.kl_limit {self.limit:.4g}: the policy left its reference and its rewards"
            " may be hacks. The adapter is saved. Read the last rollouts; to go further, raise"
            " gspo.kl_limit, lower gspo.learning_rate, or set gspo.beta"
        )


class BetaController:
    """Scales beta so that the KL to the reference settles at a target.

    Proportional in log space, its error bounded so that one odd generation moves beta 2 % at most.
    Without a target beta stays as it was given.
    """

    _gain, _bound = 0.1, 0.2

    def __init__(self, beta: float, target: float | None) -> None:
        self.beta, self.target = beta, target

    def observe(self, kl: float | None) -> None:
        if self.target is None or kl is None:
            return
        error = min(max(kl / self.target - 1, -self._bound), self._bound)
        self.beta *= 1 + self._gain * error


def sampler_mismatch(kl: float | None, limit: float) -> str | None:
    """Why a run must stop whose completions come from another policy than it trains, or None."""
    if kl is None or kl <= limit:
        return None
    return (
        f"kl/sampler is {kl:.4g} a token, above gspo.mismatch_limit {limit:.4g}: what samples is"
        " not the policy that is trained. Use the same weights and --policy.dtype on both sides, or"
        " --rollout.engine transformers; bfloat16 makes about 1e-3"
    )

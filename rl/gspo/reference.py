"""The policy before training, which the KL is measured against.

It is a copy of what trains (an adapter's weights, a few MB), swapped in for a forward. A second
adapter beside the first would do too, but a checkpoint then holds two, and a resumed run is given
back only the second: its training is lost without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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

"""The average of the trained values over the last steps of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class WeightAverage:
    """The mean of the trained values after each step since a share of the training, all steps with equal weight.

    Izmailov et al. 2018, arXiv:1803.05407, section 3: weights averaged along the path of SGD lie in wider optima.

    The sum is compensated (Kahan 1965), so that it does not drift in float32 however many steps it has.
    """

    def __init__(self, values: torch.Tensor, start: float) -> None:
        """Begin without a step.

        Args:
            values: the optimizer's buffer of trained values; it is read after each step.
            start: steps after which the average begins.
        """
        self._values, self._start = values, start
        self._sum, self._lost = torch.zeros_like(values), torch.zeros_like(values)
        self.steps = 0
        """Steps in the average."""

    def after(self, position: float) -> None:
        """Add the present values, if the step that led to them is past the start.

        Args:
            position: of that step in the schedule, counted from 0; see `schedule_position`.
        """
        if position + 1 <= self._start:
            return
        added = self._values - self._lost
        total = self._sum + added
        self._lost = (total - self._sum) - added
        self._sum = total
        self.steps += 1

    def mean(self) -> torch.Tensor:
        """Return the average, a new tensor; there must be a step in it."""
        return self._sum / self.steps

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in place of the present values inside the block."""
        present = self._values.clone()
        self._values.copy_(self.mean())
        try:
            yield
        finally:
            self._values.copy_(present)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what later averages depend on, by name; the tensors are the live ones."""
        steps = torch.tensor(self.steps)
        return {"average.sum": self._sum, "average.lost": self._lost, "average.steps": steps}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        for name, tensor in (("average.sum", self._sum), ("average.lost", self._lost)):
            tensor.copy_(tensors[name])
        self.steps = int(tensors["average.steps"])

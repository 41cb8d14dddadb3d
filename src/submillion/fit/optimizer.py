"""AdamW over one flat buffer that holds all trainable values, and one that holds their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from submillion.errors import SubmillionError

# Floats; parameters start at multiples of 64 bytes, where matrix products are fastest. Gaps stay zero.
ALIGNMENT = 16
FUSED = ("cpu", "cuda", "mps", "xpu")  # device types with a fused AdamW in torch


class FlatAdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101) and gradient clipping.

    A LoRA model trains hundreds of small matrices. With one flat tensor of values and one of gradients, of which
    parameters and their `.grad` are views, it takes a handful of calls to zero, clip, update, average between
    processes or save them. Measured on one core with 146 tensors of 998,404 values in total, clipping included:
    10.0 ms per step tensor by tensor, 8.1 with foreach, 2.8 fused, 1.1 flat and fused.

    Weight decay applies to matrices (adapters, head weights), not to vectors (biases, norms, DoRA's magnitudes).
    """

    def __init__(
        self, module: nn.Module, weight_decay: float, max_grad_norm: float, b_ratio: float = 1.0
    ) -> None:
        """Move the trainable parameters of `module` into one buffer; they keep their values.

        Args:
            module: any module; its parameters with `requires_grad` are trained. They must be on one device.
            weight_decay: share of a matrix's value subtracted per unit of learning rate.
            max_grad_norm: gradients are scaled down to this Euclidean norm over all parameters.
            b_ratio: learning rate of the adapters' B divided by that of all other parameters (LoRA+, Hayou et
                al. 2024, arXiv:2402.12354, section 4).

        Raises:
            SubmillionError: no parameter is trainable, or one is not float32.
        """
        named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
        wrong = [name for name, value in named if value.dtype != torch.float32]
        if wrong or not named:
            found = f"other types in {', '.join(wrong[:3])}" if wrong else "none"
            raise SubmillionError(f"expected trainable parameters in float32, found {found}.")
        # Kinds by weight decay and learning rate are ranges of the buffer: B, other matrices, vectors.
        kinds = [(weight_decay, b_ratio), (weight_decay, 1.0), (0.0, 1.0)]

        def kind_of(item: tuple[str, nn.Parameter]) -> int:
            if item[1].ndim < 2:
                return 2
            return 0 if b_ratio != 1 and ".lora_B." in item[0] else 1

        named.sort(key=kind_of)
        self._parameters = [value for _, value in named]
        self.layout = [(name, list(value.shape)) for name, value in named]
        *self._starts, size = starts = list(_starts([value.numel() for value in self._parameters]))
        ends = [starts[sum(kind_of(item) <= kind for item in named)] for kind in range(len(kinds))]

        device = named[0][1].device
        self.values = torch.zeros(size, device=device)
        # Two more cells than values: loss and stop request, which the processes also sum at every step.
        self.exchange = torch.zeros(size + 2, device=device)
        self.gradients = self.exchange[:size]
        values, gradients = self.views(self.values), self.views(self.gradients)
        for name, value in named:
            values[name].copy_(value.detach())
            value.data, value.grad = values[name], gradients[name]

        groups = []
        self._ratios = []
        for begin, end, (decay, ratio) in zip([0, *ends], ends, kinds, strict=False):
            if begin < end:
                group = nn.Parameter(self.values[begin:end])
                group.grad = self.gradients[begin:end]
                groups.append({"params": [group], "weight_decay": decay})
                self._ratios.append(ratio)
        self._adamw = torch.optim.AdamW(groups, lr=0.0, fused=device.type in FUSED)
        self._max_grad_norm = max_grad_norm

    def zero_gradients(self) -> None:
        """Set all gradients, and the two cells after them, to 0."""
        self.exchange.zero_()

    def step(self, learning_rate: float) -> torch.Tensor:
        """Clip the gradients and update the values; return the norm before clipping (0-dim, not synchronised)."""
        norm: torch.Tensor = torch.linalg.vector_norm(self.gradients)
        # As torch.nn.utils.clip_grad_norm_. On an accelerator, multiplying by 1 costs less than reading the norm.
        share = (self._max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        if share.device.type != "cpu" or share != 1.0:
            self.gradients.mul_(share)
        for group, ratio in zip(self._adamw.param_groups, self._ratios, strict=True):
            group["lr"] = learning_rate * ratio
        self._adamw.step()
        return norm

    def forget(self) -> None:
        """Drop the moments: the next step is as the first one."""
        self._adamw.state.clear()

    def release(self) -> None:
        """Remove the gradients from the parameters; the values stay in the buffer."""
        for value in self._parameters:
            value.grad = None

    def views(self, buffer: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters in a buffer of this layout by name, as views in their shapes."""
        return {
            name: buffer[start : start + value.numel()].view(value.shape)
            for (name, _), start, value in zip(self.layout, self._starts, self._parameters, strict=True)
        }

    def state(self) -> dict[str, torch.Tensor]:
        """Return values, moments and step counts by name; the tensors are the live ones, not copies."""
        tensors = {"values": self.values}
        for index, moments in self._adamw.state_dict()["state"].items():
            tensors |= {f"adamw.{index}.{name}": tensor for name, tensor in moments.items()}
        return tensors

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self.values.copy_(tensors["values"])
        moments: dict[int, dict[str, Any]] = {}
        for key, tensor in tensors.items():
            if key.startswith("adamw."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = tensor
        self._adamw.load_state_dict(self._adamw.state_dict() | {"state": moments})


def _starts(sizes: list[int]) -> Iterator[int]:
    """Yield the start of each parameter, rounded up to the alignment, then the end of the last one."""
    position = 0
    for size in sizes:
        yield position
        position += -(-size // ALIGNMENT) * ALIGNMENT
    yield position

"""Moves a batch's tensors to the device of the model, without making the device wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on `device`.

    To a CUDA device it is copied from page-locked memory: from ordinary memory, the copy would only begin when
    everything given to the device before is done, and the processor would wait for it at every step.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

"""Moves a batch's tensors to the model's device without making the device wait."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on `device`.

    A copy to a CUDA device goes through page-locked memory. From ordinary memory the copy would start only after
    all work queued on the device, and the CPU would wait for it in every step.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

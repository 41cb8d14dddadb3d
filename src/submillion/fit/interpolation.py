"""Interpolates between the values that a training began with and those that it ended with."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def interpolate(first: Mapping[str, torch.Tensor], last: Mapping[str, torch.Tensor], share: float) -> None:
    """Move trained values back towards the first ones, in place, so that `share` of the change is left.

    M. Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), CVPR 2022, arXiv:2109.01903, section 3:
    (1 - share) theta_first + share theta_last, for the weights W + s B A that the adapters make. B begins at 0, so the
    change of a matrix is s B A, and a share of it is that share of B with the same A.

    Args:
        first: trained values before the first step, by parameter name; B of every adapter is 0.
        last: the present ones, which are changed.
        share: mixing coefficient, from 0 to 1.
    """
    with torch.no_grad():
        for name, value in last.items():
            if ".lora_B." in name:
                value.mul_(share)
            elif ".lora_A." not in name:
                value.copy_(torch.lerp(first[name], value, share))

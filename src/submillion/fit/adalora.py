"""AdaLoRA's part of a training: its penalty, and which singular values stay, decided on the way."""

from __future__ import annotations

from typing import Any

import torch

# Of the steps: the first tenth trains all ranks, the last half only those that stay; between are at most so many
# allocations.
WARMUP, FINAL, ALLOCATIONS = 10, 2, 500
PENALTY = 0.1  # gamma


class RankAllocation:
    """Prunes the singular values of lowest importance, over all matrices, on the cubic schedule of the paper.

    Zhang et al. 2023 (arXiv:2303.10512, algorithm 1) as peft's RankAllocator has it. A pruned value is held at
    zero; its vectors stay in the adapter, so that count and file keep the rank that training began with.
    """

    def __init__(self, allocator: Any, model: Any, total_steps: int) -> None:
        """Plan the allocation.

        Args:
            allocator: peft's.
            model: the model that peft wrapped.
            total_steps: optimizer steps of the whole training.
        """
        self._allocator, self._model = allocator, model
        config = allocator.peft_config
        config.total_step = total_steps
        config.tinit, config.tfinal = total_steps // WARMUP, total_steps // FINAL
        config.deltaT = max(1, total_steps // ALLOCATIONS)
        self._settled = total_steps - config.tfinal
        self._prunes = allocator.target_bgt < allocator.init_bgt
        self._kept: dict[str, torch.Tensor] = {}
        """By name of each matrix's singular values: which stay, bool [r]; empty until that is decided."""

    @classmethod
    def of(cls, module: Any, total_steps: int) -> RankAllocation | None:
        """Return the allocation of a PeftModel's AdaLoRA, None for every other module."""
        tuner = getattr(module, "base_model", None)
        allocator = getattr(tuner, "rankallocator", None)
        return None if tuner is None or allocator is None else cls(allocator, tuner.model, total_steps)

    def penalty(self) -> torch.Tensor:
        """Return what keeps P and Q orthogonal: the mean of |P'P - I| and |QQ' - I| over all matrices, times gamma.

        The norms are not squared, as in peft.
        """
        norms = []
        for name, value in self._model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                product = value @ value.T if ".lora_A." in name else value.T @ value
                identity = torch.eye(len(product), device=product.device)
                norms.append(torch.linalg.matrix_norm(product - identity))
        return PENALTY * torch.stack(norms).mean()

    def after(self, steps: int) -> None:
        """Take note of a step's gradients, and prune where it is time.

        Args:
            steps: optimizer steps done, this one included; its gradients still stand.
        """
        if not self._prunes:
            return
        if steps < self._settled:
            self._allocator.update_and_allocate(self._model, steps)
        elif steps == self._settled:
            _, kept = self._allocator.update_and_allocate(self._model, steps, force_mask=True)
            self._kept = {name: torch.tensor(mask) for name, mask in kept.items()}
        else:
            self._allocator.mask_using_rank_pattern(self._model, self._kept)

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that the allocations to come depend on, by name."""
        tensors = {f"kept.{name}": mask for name, mask in self._kept.items()}
        tensors |= {f"sensitivity.{name}": value for name, value in self._allocator.exp_avg_ipt.items()}
        return tensors | {f"uncertainty.{name}": value for name, value in self._allocator.exp_avg_unc.items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned; other tensors are passed over."""
        device = next(self._model.parameters()).device
        found: dict[str, dict[str, torch.Tensor]] = {"kept": {}, "sensitivity": {}, "uncertainty": {}}
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind in found:
                found[kind][name] = tensor if kind == "kept" else tensor.to(device)
        self._kept = found["kept"]
        allocator = self._allocator
        allocator.exp_avg_ipt, allocator.exp_avg_unc = found["sensitivity"], found["uncertainty"]
        # peft takes a name in here for one whose averages have begun.
        allocator.ipt = dict.fromkeys(found["sensitivity"])

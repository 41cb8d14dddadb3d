"""AdaLoRA during training: its orthogonality penalty and the pruning of singular values."""

from __future__ import annotations

from typing import Any

import torch

# Shares of the steps: the first tenth trains all ranks, the last half only the ranks that are left. In between there
# are at most 500 allocations.
WARMUP, FINAL, MAX_ALLOCATIONS = 10, 2, 500
PENALTY = 0.1  # gamma


class RankAllocation:
    """Prunes the singular values of lowest importance, over all matrices, by the cubic schedule of the paper.

    Zhang et al. 2023 (arXiv:2303.10512, algorithm 1), computed by peft's RankAllocator. A pruned value is held at
    zero; its vectors stay in the adapter, so that count and file keep the initial rank.
    """

    def __init__(self, allocator: Any, model: Any, total_steps: int) -> None:
        """Plan the allocation.

        Args:
            allocator: peft's RankAllocator.
            model: the model inside peft's wrapper.
            total_steps: optimizer steps of the whole training.
        """
        self._allocator, self._model = allocator, model
        config = allocator.peft_config
        config.total_step = total_steps
        config.tinit, config.tfinal = total_steps // WARMUP, total_steps // FINAL
        config.deltaT = max(1, total_steps // MAX_ALLOCATIONS)
        self._pruning_end = total_steps - config.tfinal
        self._prunes = allocator.target_bgt < allocator.init_bgt
        self._masks: dict[str, torch.Tensor] = {}
        """By name of each matrix's singular values: True for those that are left, bool [r]; empty until decided."""

    @classmethod
    def of(cls, module: Any, total_steps: int) -> RankAllocation | None:
        """Return the allocation of an AdaLoRA PeftModel; None for every other module."""
        tuner = getattr(module, "base_model", None)
        allocator = getattr(tuner, "rankallocator", None)
        return None if tuner is None or allocator is None else cls(allocator, tuner.model, total_steps)

    def penalty(self) -> torch.Tensor:
        """Return the penalty that keeps P and Q orthogonal: gamma times the mean of |P'P - I| and |QQ' - I|.

        The mean is over all matrices; the norms are not squared, as in peft.
        """
        norms = []
        for name, value in self._model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                product = value @ value.T if ".lora_A." in name else value.T @ value
                identity = torch.eye(len(product), device=product.device)
                norms.append(torch.linalg.matrix_norm(product - identity))
        return PENALTY * torch.stack(norms).mean()

    def after(self, steps: int) -> None:
        """Update importances from a step's gradients, and prune if the schedule says so.

        Args:
            steps: optimizer steps done, this one included; its gradients must still be there.
        """
        if not self._prunes:
            return
        if steps < self._pruning_end:
            self._allocator.update_and_allocate(self._model, steps)
        elif steps == self._pruning_end:
            # With one or two steps in all, no earlier step has told importances.
            if not self._allocator.exp_avg_ipt:
                self._allocator.update_ipt(self._model)
            _, masks = self._allocator.update_and_allocate(self._model, steps, force_mask=True)
            self._masks = {name: torch.tensor(mask) for name, mask in masks.items()}
        else:
            self._allocator.mask_using_rank_pattern(self._model, self._masks)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that later allocations depend on, by name."""
        tensors = {f"kept.{name}": mask for name, mask in self._masks.items()}
        tensors |= {f"sensitivity.{name}": value for name, value in self._allocator.exp_avg_ipt.items()}
        return tensors | {f"uncertainty.{name}": value for name, value in self._allocator.exp_avg_unc.items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; other tensors are ignored."""
        device = next(self._model.parameters()).device
        by_kind: dict[str, dict[str, torch.Tensor]] = {"kept": {}, "sensitivity": {}, "uncertainty": {}}
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind in by_kind:
                by_kind[kind][name] = tensor if kind == "kept" else tensor.to(device)
        self._masks = by_kind["kept"]
        allocator = self._allocator
        allocator.exp_avg_ipt, allocator.exp_avg_unc = by_kind["sensitivity"], by_kind["uncertainty"]
        # For peft, a name in `ipt` is one whose averages have been started.
        allocator.ipt = dict.fromkeys(by_kind["sensitivity"])

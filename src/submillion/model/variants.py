"""The adapter variants: peft's configuration of each, and PiSSA's initialisation and conversion to LoRA."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, VeraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor

from submillion.model import heads

if TYPE_CHECKING:
    from submillion.model.loading import Loaded
    from submillion.recipe import HeadRecipe, LoraRecipe

# peft reserves this name for configurations that adapt no module.
NO_MODULE = "dummy-target-modules"
# Power iterations of the randomised decomposition (Halko et al. 2011, arXiv:0909.4061).
ITERATIONS = 16
# AdaLoRA starts with 1.5 times its final rank (arXiv:2303.10512).
INITIAL_PER_FINAL_RANK = 1.5
STEPS_UNKNOWN = 10  # placeholder: peft requires the number of steps before training has counted them


def peft_config(loaded: Loaded, lora: LoraRecipe, head: HeadRecipe, seed: int) -> PeftConfig:
    """Return peft's configuration of a recipe; it adapts exactly the recipe's matrices, never the output layer.

    Args:
        loaded: the encoder with its head.
        lora: the recipe's lora section.
        head: the recipe's head section.
        seed: seed of VeRA's random matrices.
    """
    in_head = heads.adapted_modules(loaded.family, head)
    patterns = [] if lora.variant == "bitfit" else [_layers_pattern(loaded, lora)]
    common: dict[str, Any] = {
        "task_type": heads.task_type(head),
        "base_model_name_or_path": loaded.model.name_or_path,
        "target_modules": "|".join([*patterns, *map(re.escape, in_head)]) or NO_MODULE,
        "modules_to_save": heads.trained_modules(loaded.family, head) or None,
    }
    if lora.variant == "vera":
        bias = {"lora_only": "vera_only"}.get(lora.bias, lora.bias)
        return VeraConfig(
            **common,
            r=lora.r,
            vera_dropout=lora.dropout,
            bias=bias,
            projection_prng_key=seed,
            save_projection=True,
        )
    common |= {"lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "bias": lora.bias}
    if lora.variant == "adalora":
        final_rank = max(1, round(lora.r / INITIAL_PER_FINAL_RANK))
        return AdaLoraConfig(**common, init_r=lora.r, target_r=final_rank, total_step=STEPS_UNKNOWN)
    return LoraConfig(
        **common,
        r=lora.r,
        use_rslora=lora.rslora,
        use_dora=lora.variant == "dora",
        rank_pattern=dict.fromkeys(in_head, head.r),
        alpha_pattern=dict.fromkeys(in_head, head.alpha),
    )


@dataclass(frozen=True)
class Principal:
    """The principal part that PiSSA took out of one matrix: W = R + scale * B A; the frozen R replaces W."""

    a: Tensor
    b: Tensor
    scale: float


def start_pissa(module: Any, in_head: list[str]) -> dict[str, Principal]:
    """Initialise each adapter with the principal part of its matrix, and subtract that part from the frozen matrix.

    Meng et al. 2024 (arXiv:2404.02948). The head's adapter keeps its usual initialisation: the checkpoint may lack
    its matrix. The decomposition draws from torch's default generator.

    Args:
        module: the PeftModel.
        in_head: modules of the head that carry an adapter.

    Returns:
        The principal part of each adapted matrix, by the name of its module in `module`.
    """
    principals = {}
    for name, submodule in module.named_modules():
        if isinstance(submodule, LoraLayer) and not name.endswith(tuple(in_head)):
            layer: Any = submodule
            layer.pissa_init("default", f"pissa_niter_{ITERATIONS}")
            a, b = (matrices["default"].weight.detach().clone() for matrices in (layer.lora_A, layer.lora_B))
            principals[name] = Principal(a, b, layer.scaling["default"])
    return principals


def pissa_as_lora(tensors: Mapping[str, Tensor], principals: Mapping[str, Principal]) -> dict[str, Tensor]:
    """Return the tensors of a LoRA of twice the rank that gives the same function on the original encoder.

    With A0 and B0 as the adapter's initial values (arXiv:2404.02948):
    R + s B A = W + s (B A - B0 A0) = W + s [B, -B0] [A; A0].
    """
    converted = dict(tensors)
    for name, initial in principals.items():
        of_a, of_b = (f"{name}.{part}.weight" for part in ("lora_A", "lora_B"))
        converted[of_a] = torch.cat([tensors[of_a], initial.a.cpu()], dim=0)
        converted[of_b] = torch.cat([tensors[of_b], -initial.b.cpu()], dim=1)
    return converted


def pissa_config_as_lora(config: LoraConfig) -> LoraConfig:
    """Return the configuration for the tensors of `pissa_as_lora`: twice the rank, the same scale."""
    config = copy.copy(config)
    config.r *= 2
    config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2  # type: ignore[assignment]  # any number will do
    return config


def _layers_pattern(loaded: Loaded, lora: LoraRecipe) -> str:
    """Return a regular expression for the adapted matrices, e.g. `bert[.]encoder[.]layer[.](4|5)[.](...)`."""
    family = loaded.family
    layers = "|".join(map(str, lora.layer_indices(family.n_layers(loaded.config))))
    suffixes = "|".join(re.escape(family.suffixes[target]) for target in family.expand(lora.targets))
    return rf"{re.escape(family.layers)}\.({layers})\.({suffixes})"

"""How the adapter variants stand in peft: the configuration of each, and PiSSA's start and its way back to LoRA."""

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

# peft wraps no module under this name, which it keeps for configurations that are to have none.
NO_MODULE = "dummy-target-modules"
# Of the randomised decomposition (Halko et al. 2011, arXiv:0909.4061).
ITERATIONS = 16
# AdaLoRA begins with 1.5 times the rank that it keeps (arXiv:2303.10512).
START_OVER_KEPT = 1.5
STEPS_UNKNOWN = 10  # peft wants a number of steps before training has counted them


def peft_config(loaded: Loaded, lora: LoraRecipe, head: HeadRecipe, seed: int) -> PeftConfig:
    """Return peft's configuration: exactly the recipe's matrices, so never the output layer.

    Args:
        seed: of VeRA's random matrices.
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
        kept = max(1, round(lora.r / START_OVER_KEPT))
        return AdaLoraConfig(**common, init_r=lora.r, target_r=kept, total_step=STEPS_UNKNOWN)
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
    """PiSSA's start on one matrix: W = R + scale B A, of which R took W's place and stays frozen."""

    a: Tensor
    b: Tensor
    scale: float


def start_pissa(module: Any, in_head: list[str]) -> dict[str, Principal]:
    """Make the adapters their matrices' principal parts, and the frozen matrices what is left (arXiv:2404.02948).

    The head's adapter stays plain: its matrix may be one that the checkpoint lacks.

    Args:
        module: the PeftModel; draws from torch's default generator.
        in_head: modules of the head that carry an adapter.

    Returns:
        What each adapter began as, by the name of its module in `module`.
    """
    principals = {}
    for name, found in module.named_modules():
        if isinstance(found, LoraLayer) and not name.endswith(tuple(in_head)):
            layer: Any = found
            layer.pissa_init("default", f"pissa_niter_{ITERATIONS}")
            a, b = (matrices["default"].weight.detach().clone() for matrices in (layer.lora_A, layer.lora_B))
            principals[name] = Principal(a, b, layer.scaling["default"])
    return principals


def pissa_as_lora(tensors: Mapping[str, Tensor], principals: Mapping[str, Principal]) -> dict[str, Tensor]:
    """Return an adapter file's tensors for the encoder as it was, at twice the rank.

    R + s B A = W + s (B A - B0 A0) = W + s [B, -B0] [A; A0], A0 and B0 being what the adapter began as
    (arXiv:2404.02948).
    """
    converted = dict(tensors)
    for name, start in principals.items():
        of_a, of_b, base = (f"{name}.{part}.weight" for part in ("lora_A", "lora_B", "base_layer"))
        converted[of_a] = torch.cat([tensors[of_a], start.a.cpu()], dim=0)
        converted[of_b] = torch.cat([tensors[of_b], -start.b.cpu()], dim=1)
        if (
            base in tensors
        ):  # the checkpoint lacks this matrix, so the file holds it: whole, not what PiSSA left
            converted[base] = tensors[base] + start.scale * (start.b @ start.a).cpu()
    return converted


def pissa_config_as_lora(config: LoraConfig) -> LoraConfig:
    """Return the configuration that belongs to `pissa_as_lora`: the rank doubled, the scale unchanged."""
    config = copy.copy(config)
    config.r *= 2
    config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2  # type: ignore[assignment]  # any number will do
    return config


def _layers_pattern(loaded: Loaded, lora: LoraRecipe) -> str:
    """Return a regular expression for the adapted matrices, as `bert[.]encoder[.]layer[.](4|5)[.](...)`."""
    family = loaded.family
    layers = "|".join(map(str, lora.layer_indices(family.n_layers(loaded.config))))
    suffixes = "|".join(re.escape(family.suffixes[target]) for target in family.expand(lora.targets))
    return rf"{re.escape(family.layers)}\.({layers})\.({suffixes})"

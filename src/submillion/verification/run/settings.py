"""Checks that recipe, manifest and adapter record the same settings."""

from __future__ import annotations

import math
from typing import Any

from submillion.model import head_file
from submillion.model.adapter import read_adapter_config, read_tensors
from submillion.recipe import Recipe
from submillion.sources.adapter_files import CONFIG, HEAD, TENSORS
from submillion.verification.run.budget import adapter_shapes, count_tensors
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared


def recipe(case: Case) -> list[Check]:
    """Compare the settings that recipe and manifest both record.

    Detects: another name, seed or maximum length in one of them. Cannot detect: the same change in both.
    """
    claimed = {name: case.manifest.get(name) for name in ("name", "seed", "max_length")}
    actual = {"name": case.recipe.name, "seed": case.recipe.seed, "max_length": case.recipe.data.max_length}
    return compared(
        "recipe", "manifest.json, against recipe.yaml", claimed, actual, summary="{leaves} settings"
    )


def adapter(case: Case) -> list[Check]:
    """Compare the adapter's configuration, modules and classes with the recipe and the manifest.

    Detects: a recipe whose rank, scale, targets, layers or biases are not the adapter's, and other class names.
    Cannot detect: settings that the adapter does not record, such as the weight decay; see `checkpoint`.
    """
    recipe, run = case.recipe, case.run
    family = case.family
    in_head = [family.projection] if recipe.head.kind == "lora" else []
    config: Any = read_adapter_config(run.adapter)
    claimed = _expected_config(recipe, in_head)
    where = f"recipe.yaml, against adapter/{CONFIG}"
    actual = {name: getattr(config, name, None) for name in claimed} | {"peft_type": config.peft_type.value}
    checks = compared("adapter", where, claimed, actual, summary="{leaves} settings")
    layers = recipe.lora.layer_indices(family.n_layers(case.config))
    targets = [] if recipe.lora.variant == "bitfit" else family.expand(recipe.lora.targets)
    expected = in_head + [
        family.target_module(case.config, target, layer) for target in targets for layer in layers
    ]
    shapes = adapter_shapes(case)
    present = count_tensors(shapes, family, case.config, recipe.lora, recipe.head).adapted
    where = f"recipe.yaml: lora.targets and layers, against adapter/{TENSORS}"
    checks += compared(
        "adapter", where, sorted(expected), sorted(present), summary="{leaves} adapted matrices"
    )
    return checks + _head(case) + _labels(case)


def _expected_config(recipe: Recipe, in_head: list[str]) -> dict[str, Any]:
    """Return the values that the adapter's configuration must have, by peft's names.

    Args:
        recipe: the run's recipe.
        in_head: modules of the head that have an adapter.
    """
    lora, head = recipe.lora, recipe.head
    if lora.variant == "vera":
        bias = "vera_only" if lora.bias == "lora_only" else lora.bias
        rest = {"vera_dropout": lora.dropout, "bias": bias, "projection_prng_key": recipe.seed}
        return {"peft_type": "VERA", "r": lora.r, "save_projection": True} | rest
    common = {"lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "bias": lora.bias}
    if lora.variant == "adalora":
        return {"peft_type": "ADALORA", "init_r": lora.r} | common
    if lora.variant == "pissa":  # saved for the original encoder: twice the rank at the same scale
        common["lora_alpha"] = lora.alpha * (math.sqrt(2) if lora.rslora else 2)
    return common | {
        "peft_type": "LORA",
        "r": 2 * lora.r if lora.variant == "pissa" else lora.r,
        "use_rslora": lora.rslora,
        "use_dora": lora.variant == "dora",
        "rank_pattern": dict.fromkeys(in_head, head.r),
        "alpha_pattern": dict.fromkeys(in_head, head.alpha),
    }


def _head(case: Case) -> list[Check]:
    """Compare whether the head reads the mean scaled to length 1."""
    if case.recipe.head.pooling != "mean":
        return []
    where = f"recipe.yaml: head.normalize, against adapter/{HEAD}"
    found = head_file.normalizes(case.run.adapter / HEAD)
    return compared("adapter", where, case.recipe.head.normalize, found, summary="the scale of the mean")


def _labels(case: Case) -> list[Check]:
    _, names = read_tensors(case.run.adapter)
    where = f"manifest.json: labels, against adapter/{TENSORS}"
    return compared("adapter", where, case.manifest["labels"], names, summary="{leaves} classes")

"""Counts the parameters in an adapter file that another program trained, by part, from the shapes of its tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from math import prod
from typing import Any

from submillion.budget.count import Count
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.sources.adapter_files import PREFIX

_ADDED = re.compile(r"\.lora_(?:A|B|magnitude_vector)(?:\.\w+)?(?:\.weight)?$")
_NUMBER = re.compile(r"\.\d+(?=\.)")


def count_saved(
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    num_labels: int,
    budget: int,
    *,
    headless: bool = False,
) -> Count:
    """Count every value in an adapter file as trained.

    Args:
        shapes: shape of each tensor by name, as peft saves them; the output layer of a head in a file of its own
            under its usual names.
        config: the encoder's config.json.
        num_labels: number of classes.
        budget: trainable parameters allowed; a count over it is returned, not refused.
        headless: the adapter is one of the encoder alone, whose head reads the mean of the last states.

    Returns:
        The count by part and by layer. A module outside the encoder's matrices and the head has a part of its own,
        `module.NAME` if it is trained as a whole.

    Raises:
        BadInput: the encoder's family is not supported.
    """
    family = family_of(config)
    inventory = family.inventory(config, num_labels)
    if headless:
        family, inventory = family.alone(), inventory.without_projection()
    layers = family.n_layers(config)
    targets = {
        family.target_module(config, target, layer): target
        for layer in range(layers)
        for target in family.targets
    }
    parts: Counter[str] = Counter()
    tensors: Counter[str] = Counter()
    by_layer: list[Counter[str]] = [Counter() for _ in range(layers)]
    for name, shape in shapes.items():
        plain = name.removeprefix(PREFIX).replace(".base_layer.", ".")
        part = _part(family, plain, targets)
        parts[part] += prod(shape)
        tensors[part] += 1
        layer = re.match(rf"{re.escape(family.layers)}\.(\d+)\.", plain)
        if layer and int(layer[1]) < layers:
            by_layer[int(layer[1])][part] += prod(shape)
    adapters = sum(size for part, size in parts.items() if "lora" in part)
    return Count(
        parts=dict(parts),
        total=inventory.all.total + adapters,
        budget=budget,
        by_layer=[
            {"layer": layer, "trainable": sum(own.values()), "parts": dict(own)}
            for layer, own in enumerate(by_layer)
        ],
        arithmetic={part: f"{number:,} tensors of the file" for part, number in tensors.items()},
    )


def _part(family: Family, name: str, targets: Mapping[str, str]) -> str:
    """Return the part that a tensor counts for.

    Args:
        family: the encoder's.
        name: the tensor's name in the model before peft wrapped it.
        targets: target by the name of its module, of every layer.
    """
    module = _ADDED.sub("", name)
    if module != name:
        if module == family.projection:
            return "head.lora"
        return f"lora.{targets.get(module) or _NUMBER.sub('', module)}"
    module, _, leaf = name.rpartition(".")
    of_head = {family.output: "head.output", family.projection: "head.projection", family.norm: "head.norm"}
    if module in of_head:
        return of_head[module]
    return "bias" if leaf == "bias" else f"module.{_NUMBER.sub('', module)}"

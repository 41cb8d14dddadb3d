"""Check of a run's budget: trained parameters counted from its adapter's tensors and from its recipe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from submillion.budget.count import count
from submillion.errors import BadInput, Problem
from submillion.families.family import Family
from submillion.model.adapter_settings import ANOTHER
from submillion.recipe import HeadRecipe, LoraRecipe
from submillion.sources.adapter_files import HEAD, PREFIX, TENSORS
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared

# peft's names of the tensors it adds to a module, by variant: `lora_A.weight`, or with the adapter's name in between.
_MATRICES = r"\.lora_(?:A|B)(?:\.\w+)?\.weight$"
_ADDED = {
    "dora": rf"{_MATRICES}|\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?$",
    "adalora": r"\.lora_[ABE](?:\.\w+)?$",
    "vera": r"\.vera_lambda_[bd](?:\.\w+)?$",
}
# VeRA's random matrices, one pair shared by all modules: saved with the adapter, and never trained.
_SHARED = re.compile(r"base_model\.vera_[AB]$")


@dataclass(frozen=True)
class Counted:
    """Trained parameters of an adapter file."""

    parts: dict[str, int]
    """Trained parameters by part, with the names of `budget.count`."""
    by_layer: list[int]
    """Trained parameters of each layer, lowest first."""
    adapted: list[str]
    """Modules that have an adapter."""
    unexpected: list[str]
    """Tensors that such an adapter does not have."""


def budget(case: Case) -> list[Check]:
    """Count the trained parameters from the adapter's tensors and from the recipe, part by part.

    Detects: a budget in the manifest that does not follow from the recipe, and an adapter with more, fewer or larger
    tensors. Cannot detect: tensors that were trained and not saved; re-predicted rows would differ.
    """
    claimed, recipe = case.manifest["budget"], case.recipe
    labels = len(case.manifest["labels"])
    from_recipe = count(case.config, labels, recipe.lora, recipe.head, recipe.budget).to_json()
    summary = f"{from_recipe['trainable']:,} trainable of {from_recipe['total']:,}, counted from recipe.yaml"
    checks = compared("budget", "manifest.json: budget", claimed, from_recipe, summary=summary)

    saved = count_tensors(adapter_shapes(case), case.family, case.config, recipe.lora, recipe.head)
    of_manifest = {
        "trainable": claimed["trainable"],
        "parts": claimed["parts"],
        "by_layer": [layer["trainable"] for layer in claimed["by_layer"]],
    }
    trainable = sum(saved.parts.values())
    of_file = {
        "trainable": trainable,
        "parts": saved.parts,
        "by_layer": saved.by_layer,
    }
    where = f"manifest.json: budget, against adapter/{TENSORS}"
    summary = f"{trainable:,} trainable, counted from the adapter's tensors"
    checks += compared("budget", where, of_manifest, of_file, summary=summary)
    checks += [
        Check("budget", False, f"adapter/{TENSORS}", "only tensors of this classifier", f"'{name}'")
        for name in saved.unexpected
    ]
    return checks


def adapter_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the adapter's tensors, and those of the head in a file of its own under its usual names.

    Raises:
        BadInput: a file is missing or damaged.
    """
    shapes = tensor_shapes(case.run.adapter / TENSORS)
    if case.family.headless:
        head = tensor_shapes(case.run.adapter / HEAD)
        shapes |= {f"{PREFIX}{case.family.output}.{name}": shape for name, shape in head.items()}
    return shapes


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of each tensor from the header of a safetensors file.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            names = list(opened.keys())
            return {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise BadInput(Problem(str(file), "the tensors of an adapter", f"{error}", ANOTHER)) from error


def count_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    family: Family,
    config: Mapping[str, Any],
    lora: LoraRecipe,
    head: HeadRecipe,
) -> Counted:
    """Count the trained parameters in an adapter file; frozen tensors in it do not count.

    Tensors that the encoder's checkpoint lacks are saved in the adapter even if they are not trained: projection and
    norm of a `linear` or `lora` head, of which at most the biases are trained. PiSSA's file fits the original encoder:
    each adapter in it has twice its rank, and one half is its initial value.

    Args:
        shapes: shape of each tensor by name, as peft saves them.
        family: the encoder's family.
        config: the encoder's config.json.
        lora: the recipe's adapters.
        head: the recipe's head.
    """
    targets = {
        family.target_module(config, target, layer): target
        for layer in range(family.n_layers(config))
        for target in family.targets
    }
    parts: Counter[str] = Counter()
    layers = [0] * family.n_layers(config)
    added = re.compile(_ADDED.get(lora.variant, _MATRICES))
    plain_names = {name: name.removeprefix(PREFIX).replace(".base_layer.", ".") for name in shapes}
    if lora.variant == "vera":
        plain_names = {name: plain for name, plain in plain_names.items() if not _SHARED.match(name)}
    adapted = {added.sub("", plain) for plain in plain_names.values() if added.search(plain)}
    biased = {"none": set(), "lora_only": adapted, "all": None}[lora.bias]
    unexpected: list[str] = []
    for name, plain in plain_names.items():
        module, size = added.sub("", plain), prod(shapes[name])
        if module == plain:
            part = _plain_part(family, plain, biased, head)
        elif module == family.projection:
            part = "head.lora"
        else:
            part = f"lora.{targets[module]}" if module in targets else None
            size //= 2 if lora.variant == "pissa" else 1
        if part is None:
            unexpected.append(name)
        elif part:
            parts[part] += size
            layer = re.match(rf"{re.escape(family.layers)}\.(\d+)\.", plain)
            if layer and int(layer[1]) < len(layers):
                layers[int(layer[1])] += size
    return Counted(dict(parts), layers, sorted(adapted), unexpected)


def _plain_part(family: Family, name: str, biased: Collection[str] | None, head: HeadRecipe) -> str | None:
    """Return the part of a saved tensor outside the adapters: "" if it is frozen, None if it is unexpected.

    Args:
        family: the encoder's family.
        name: the tensor's name in the model before peft wrapped it.
        biased: modules whose biases are trained although the modules are frozen; None means all modules.
        head: the recipe's head.
    """
    module, _, leaf = name.rpartition(".")
    if module == family.output:
        return "head.output"
    if head.kind == "stock" and module in (family.projection, family.norm):
        return "head.projection" if module == family.projection else "head.norm"
    if family.headless or module in (family.projection, family.norm) or module.startswith(f"{family.base}."):
        return "bias" if leaf == "bias" and (biased is None or module in biased) else ""
    return None

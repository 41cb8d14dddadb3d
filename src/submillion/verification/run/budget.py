"""Whether a run trains what it says: counted from the tensors of its adapter, and from its recipe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from submillion.budget.count import count
from submillion.errors import BadInput, Problem
from submillion.families.families import Family, family_of
from submillion.recipe import HeadRecipe, LoraRecipe
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check, compared

# peft's names of what it adds to a module, by variant: `lora_A.weight`, with the adapter's own name in between or not.
_MATRICES = r"\.lora_(?:A|B)(?:\.\w+)?\.weight$"
_ADDED = {
    "dora": rf"{_MATRICES}|\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?$",
    "adalora": r"\.lora_[ABE](?:\.\w+)?$",
    "vera": r"\.vera_lambda_[bd](?:\.\w+)?$",
}
# VeRA's random matrices, one pair for all modules: saved, so that nobody has to draw them again, and never trained.
_SHARED = re.compile(r"base_model\.vera_[AB]$")


@dataclass(frozen=True)
class Counted:
    """What the tensors of an adapter file amount to."""

    parts: dict[str, int]
    """Trained parameters by part, named as `budget.count` names them."""
    by_layer: list[int]
    """Trained parameters of each layer, lowest first."""
    adapted: list[str]
    """Modules that carry an adapter."""
    strange: list[str]
    """Tensors that such an adapter does not have."""


def budget(case: Case) -> list[Check]:
    """Count what the run trains from its adapter's tensors and from its recipe, part by part.

    Finds: a budget in the manifest that the recipe does not give, and an adapter with more, fewer or larger
    tensors than either says. Cannot find: tensors that were trained, then thrown away and not saved; the
    predictions that are made again would differ.
    """
    from submillion.model.adapter import TENSORS

    claimed, recipe = case.manifest["budget"], case.recipe
    labels = len(case.manifest["labels"])
    from_recipe = count(case.config, labels, recipe.lora, recipe.head, recipe.budget).to_json()
    said = f"{from_recipe['trainable']:,} trainable of {from_recipe['total']:,}, counted from recipe.yaml"
    checks = compared("budget", "manifest.json: budget", claimed, from_recipe, said=said)

    file = case.run.adapter / TENSORS
    saved = count_tensors(tensor_shapes(file), family_of(case.config), case.config, recipe.lora, recipe.head)
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
    said = f"{trainable:,} trainable, counted from the adapter's tensors"
    checks += compared(
        "budget", f"manifest.json: budget, against adapter/{TENSORS}", of_manifest, of_file, said=said
    )
    checks += [
        Check("budget", False, f"adapter/{TENSORS}", "only tensors of this classifier", f"'{name}'")
        for name in saved.strange
    ]
    return checks


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a safetensors file, from its header alone.

    Raises:
        BadInput: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    from submillion.model.adapter import ANOTHER

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
    """Count the trained parameters in an adapter file; what it holds beside them, frozen, does not count.

    A tensor that the encoder's checkpoint lacks is saved in the adapter though it may not be trained: the
    head's projection and norm where the head is `linear` or `lora`, of which at most the bias is. PiSSA's file is
    for the encoder as it was: each adapter has twice its rank there, one half of it what training began with.

    Args:
        shapes: of the tensors by name, as peft saves them.
        config: the encoder's config.json.
        lora, head: say which of the saved tensors are trained.
    """
    from submillion.model.adapter import PREFIX

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
    strange: list[str] = []
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
            strange.append(name)
        elif part:
            parts[part] += size
            layer = re.match(rf"{re.escape(family.layers)}\.(\d+)\.", plain)
            if layer and int(layer[1]) < len(layers):
                layers[int(layer[1])] += size
    return Counted(dict(parts), layers, sorted(adapted), strange)


def _plain_part(family: Family, name: str, biased: Collection[str] | None, head: HeadRecipe) -> str | None:
    """Return the part of a saved tensor that is no adapter; "" where it is not trained, None if it is strange.

    Args:
        name: of the tensor in the model before peft wrapped it.
        biased: modules whose biases are trained though the modules are not; None is all of them.
    """
    module, _, leaf = name.rpartition(".")
    if module == family.output:
        return "head.output"
    if head.kind == "stock" and module in (family.projection, family.norm):
        return "head.projection" if module == family.projection else "head.norm"
    if module in (family.projection, family.norm) or module.startswith(f"{family.base}."):
        return "bias" if leaf == "bias" and (biased is None or module in biased) else ""
    return None

"""Whether recipe, manifest and adapter name the same settings: each is kept in more than one place."""

from __future__ import annotations

from submillion.budget.families import family_of
from submillion.verify.budget import count_tensors, tensor_shapes
from submillion.verify.case import Case
from submillion.verify.verdict import Check, compared


def recipe(case: Case) -> list[Check]:
    """Compare what recipe and manifest both say.

    Finds: a changed name, seed, length or encoder in either. Cannot find: a change in both.
    """
    claimed = {name: case.manifest.get(name) for name in ("name", "seed", "max_length")}
    found = {"name": case.recipe.name, "seed": case.recipe.seed, "max_length": case.recipe.data.max_length}
    return compared("recipe", "manifest.json, against recipe.yaml", claimed, found, said="{leaves} settings")


def adapter(case: Case) -> list[Check]:
    """Compare the adapter's own configuration, modules and classes with the recipe.

    Finds: a recipe whose rank, scale, targets, layers or biases are not the adapter's. Cannot find: settings
    that leave no trace in the adapter, such as its dropout's effect or the weight decay; see `checkpoint`.
    """
    from submillion.model.adapter import CONFIG, TENSORS, read_config

    recipe, run = case.recipe, case.run
    family = family_of(case.config)
    in_head = [family.projection] if recipe.head.kind == "lora" else []
    found = read_config(run.adapter)
    names = ("r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "rank_pattern", "alpha_pattern")
    claimed = {
        "r": recipe.lora.r,
        "lora_alpha": recipe.lora.alpha,
        "lora_dropout": recipe.lora.dropout,
        "use_rslora": recipe.lora.rslora,
        "bias": recipe.lora.bias,
        "rank_pattern": dict.fromkeys(in_head, recipe.head.r),
        "alpha_pattern": dict.fromkeys(in_head, recipe.head.alpha),
    }
    where = f"recipe.yaml, against adapter/{CONFIG}"
    said = "{leaves} settings"
    checks = compared("adapter", where, claimed, {name: getattr(found, name) for name in names}, said=said)
    layers = recipe.lora.layer_indices(family.n_layers(case.config))
    wanted = in_head + [
        family.target_module(case.config, target, layer)
        for target in family.expand(recipe.lora.targets)
        for layer in layers
    ]
    shapes = tensor_shapes(run.adapter / TENSORS)
    present = count_tensors(shapes, family, case.config, recipe.lora, recipe.head).adapted
    where = f"recipe.yaml: lora.targets and layers, against adapter/{TENSORS}"
    checks += compared("adapter", where, sorted(wanted), sorted(present), said="{leaves} adapted matrices")
    return checks + _labels(case)


def _labels(case: Case) -> list[Check]:
    from submillion.model.adapter import TENSORS, read_tensors

    _, saved = read_tensors(case.run.adapter)
    where = f"manifest.json: labels, against adapter/{TENSORS}"
    return compared("adapter", where, case.manifest["labels"], saved, said="{leaves} classes")

"""Builds a classifier from an encoder and a recipe, or from an encoder and a saved adapter, the same way every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import get_peft_model

from submillion import notices
from submillion.budget.count import count
from submillion.errors import BadInput, Problem
from submillion.model import adapter, heads, variants
from submillion.model.adapter_settings import ANOTHER, check_rank
from submillion.model.classifier import Classifier
from submillion.model.loading import Loaded, check_length, load_encoder, quiet_libraries
from submillion.model.process_state import seeded
from submillion.sources.adapter_files import CONFIG, PREFIX

if TYPE_CHECKING:
    from submillion.recipe import Recipe
    from submillion.sources.fetch import FetchedEncoder


def build(encoder: FetchedEncoder | Path | str, label_names: Sequence[str], recipe: Recipe) -> Classifier:
    """Build the classifier that a recipe describes; encoder, labels and recipe determine every value in it.

    Args:
        encoder: a fetched encoder, or a folder that holds one.
        label_names: class names by index.
        recipe: its sections encoder (dropouts), lora and head, its seed and data.max_length are used.

    Raises:
        BadInput: the encoder does not support what the recipe asks for.
    """
    folder = Path(encoder) if isinstance(encoder, str | Path) else encoder.path
    origin = str(encoder) if isinstance(encoder, str | Path) else encoder.origin
    with seeded(recipe.seed):
        if recipe.head.pooling == "auto":
            raise RuntimeError("head.pooling is auto: `with_pooling` of submillion.budget.pooling decides it")
        headless = recipe.head.pooling == "mean"
        loaded = load_encoder(folder, label_names, origin, recipe.encoder, headless=headless)
        if loaded.foreign_head:
            loaded.foreign_head.notice(loaded.config)
        if loaded.config.get("auto_map"):
            notices.emit(
                "custom_code",
                f"the encoder's config.json names code of its own (auto_map); it is not run, and transformers' "
                f"{loaded.family.name} is used.",
            )
        check_length(loaded, recipe.data.max_length)
        counted = count(loaded.config, len(label_names), recipe.lora, recipe.head, recipe.budget)
        heads.init_identity_projection(loaded.model, loaded.family, recipe.head, loaded.randomly_initialised)
        module = _wrapped(loaded, variants.peft_config(loaded, recipe.lora, recipe.head, recipe.seed))
        in_head = heads.adapted_modules(loaded.family, recipe.head)
        principals = variants.start_pissa(module, in_head) if recipe.lora.variant == "pissa" else {}
    classifier = Classifier(module, loaded, label_names, principals, recipe.head.normalize)
    if classifier.output is not None and recipe.encoder.classifier_dropout is not None:
        classifier.output.dropout.p = recipe.encoder.classifier_dropout
    if classifier.trainable_count() != counted.trainable:
        raise RuntimeError(
            f"the built classifier trains {classifier.trainable_count():,} parameters, but "
            f"{counted.trainable:,} were counted: {counted.parts}"
        )
    return classifier


def open_adapter(encoder: Path | str, folder: Path | str, label_names: Sequence[str]) -> Classifier:
    """Load a saved adapter onto its encoder, in evaluation mode.

    Args:
        encoder: folder of the encoder that the adapter was trained on.
        folder: the adapter, in peft's format.
        label_names: class names by index, the same as in training.

    Raises:
        BadInput: encoder, adapter or labels do not belong together; a missing tensor is never randomly initialised.
    """
    encoder, folder = Path(encoder), Path(folder)
    config = adapter.read_adapter_config(folder)
    with seeded(0):
        headless = config.task_type == heads.MEAN_TASK
        origin = config.base_model_name_or_path or str(encoder)
        loaded = load_encoder(encoder, label_names, origin, headless=headless)
        hidden = loaded.family.inventory(loaded.config, 2).hidden
        check_rank(config, hidden, str(folder / CONFIG))
        try:
            module = _wrapped(loaded, config)
        except Exception as error:
            # peft raises whatever its code raises that meets a setting first; all mean the same here.
            message = " ".join(str(error).split())[:300]
            where, found = str(folder / CONFIG), f"{type(error).__name__}: {message}"
            raise BadInput(Problem(where, "settings that fit the encoder", found, ANOTHER)) from error
    classifier = Classifier(module, loaded, label_names)
    classifier.load_adapter(folder)
    return classifier.eval()


def _wrapped(loaded: Loaded, config: Any) -> Any:
    with quiet_libraries():
        module = get_peft_model(loaded.model, config)
    output = None if loaded.family.headless else loaded.family.output
    set_requires_grad(module, output, config.bias)
    return module


def set_requires_grad(module: Any, output: str | None, bias: str) -> None:
    """Train the adapters, the head's trained modules and the requested biases, and freeze everything else.

    This is peft's choice, except for the copy of a trained module's original that peft stores: the bias of that copy
    is never used.

    Args:
        module: the PeftModel.
        output: the head's output layer, trained in every head; None if the model is the encoder alone.
        bias: `none`, `lora_only` or `vera_only` (those of the adapted matrices), or `all`.
    """
    in_output = f"{PREFIX}{output}."
    ending = {"none": None, "all": ".bias"}.get(bias, ".base_layer.bias")
    for name, value in module.named_parameters():
        added = any(part in name for part in adapter.ADDED)
        own = (output is not None and name.startswith(in_output)) or (
            ending is not None and name.endswith(ending)
        )
        value.requires_grad_(added or (own and ".original_module." not in name))

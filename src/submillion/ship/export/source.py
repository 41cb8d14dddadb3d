"""A run that is opened for export: its classifier with the adapter merged, its tokenizer, and its calibration texts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper

from submillion.data.tokenizer import load_tokenizer
from submillion.model.build import open_adapter
from submillion.model.loading import quiet_libraries
from submillion.model.trained import check_same_weights
from submillion.ship.policy import fitted_temperature
from submillion.sources.fetch import fetch_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.model.heads import PooledHead
    from submillion.rundir import RunDir

TYPES = "token_type_ids"


@dataclass(frozen=True)
class ExportSource:
    """What the writers of all forms read; C classes, D the encoder's hidden size."""

    model: Any
    """The transformers model with the adapter merged: a classifier, or the encoder alone if `head` is not None."""
    head: PooledHead | None
    """The head that reads the mean of the last states; None if `model` has its own head."""
    tokenizer: PreTrainedTokenizerFast
    """The run's tokenizer; it truncates to the run's length and names the inputs that the model accepts."""
    labels: list[str]
    """The C class names, in the order of the logits."""
    longest: int
    """Tokens that the encoder has positions for."""
    calibration_texts: Sequence[str]
    """Training texts from which quantisation takes the ranges of activations."""
    scratch: Path
    """A temporary folder for files that several forms are made from."""
    name: str
    """Of the run."""
    temperature: float | None
    """That the run's analysis has fitted; None without one, or if it calibrates nothing."""

    @property
    def input_names(self) -> list[str]:
        """The inputs of the model, in the order of its tokenizer."""
        return list(self.tokenizer.model_input_names)


def open_source(run: RunDir, calibration_texts: Sequence[str], scratch: Path) -> ExportSource:
    """Open a finished run for export, on the CPU.

    Args:
        run: the run.
        calibration_texts: training texts for the forms that need calibration.
        scratch: an existing temporary folder.

    Raises:
        BadInput: the run is unreadable, or its encoder is missing or has changed.
    """
    manifest, recipe = run.read_manifest(), run.read_recipe()
    fetched = fetch_encoder(run.located(manifest["encoder"]["source"]), manifest["encoder"].get("revision"))
    check_same_weights(run, manifest["encoder"]["sha256"], fetched)
    labels = [str(name) for name in manifest["labels"]]
    classifier = open_adapter(fetched.path, run.adapter, labels)
    with quiet_libraries():
        model = merged_model(classifier.module).eval()
    model.config.problem_type = "single_label_classification"
    return ExportSource(
        model,
        classifier.output,
        _plain_tokenizer(run, model, recipe.data.max_length),
        labels,
        classifier.longest,
        calibration_texts,
        scratch,
        str(manifest["name"]),
        fitted_temperature(run),
    )


def merged_model(module: Any) -> Any:
    """Return the transformers model inside a PeftModel with the adapters merged, and nothing of peft left in it.

    peft's own `merge_and_unload` fails for VeRA with a trained head (peft 0.21).

    Raises:
        ValueError: a merged weight is not finite.
    """
    module.base_model.merge_adapter(safe_merge=True)
    model = module.get_base_model()
    replaced: list[str] = []
    for name, child in list(model.named_modules()):
        if name.startswith(tuple(f"{above}." for above in replaced)):
            continue
        if isinstance(child, ModulesToSaveWrapper):
            plain: Any = child.modules_to_save[child.active_adapters[0]]
        elif isinstance(child, BaseTunerLayer):
            plain = child.get_base_layer()
        else:
            continue
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, plain)
        replaced.append(name)
    return model


def _plain_tokenizer(run: RunDir, model: Any, max_length: int) -> PreTrainedTokenizerFast:
    """Return the run's tokenizer such that `tokenizer(texts, truncation=True)` gives what the run reads.

    Sentence encoders' files switch padding on, and truncation at a length of their own. No tokenizer of transformers
    reads more of a long text than one side: that of `data.windows: first`.
    """
    tokenizer = load_tokenizer(run.tokenizer)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.model_max_length = max_length
    tokenizer.padding_side = "right"  # as the run pads; padding on the left moves the text to other positions
    accepted = inspect.signature(type(model).forward).parameters
    names = ["input_ids", "attention_mask"]
    if TYPES in tokenizer.model_input_names and TYPES in accepted:
        names.append(TYPES)
    tokenizer.model_input_names = names
    return tokenizer

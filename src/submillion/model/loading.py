"""Loads an encoder's folder as a transformers classifier, and finds the tensors that its checkpoint lacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.model.heads import outside_head
from submillion.sources.folder import read_config

if TYPE_CHECKING:
    from submillion.recipe import EncoderRecipe


@dataclass(frozen=True)
class Loaded:
    """An encoder with a new head, before peft wraps it."""

    model: PreTrainedModel
    family: Family
    config: dict[str, Any]
    """The encoder's config.json."""
    randomly_initialised: list[str]
    """Names of the tensors that the checkpoint lacks."""


def load_encoder(
    folder: Path, label_names: Sequence[str], origin: str, dropouts: EncoderRecipe | None = None
) -> Loaded:
    """Load config and weights in float32, on the CPU, from local files only.

    Tensors that the checkpoint lacks are initialised from torch's default generator.

    Args:
        folder: config.json and safetensors weights.
        label_names: class names by index.
        origin: name to record as the adapter's base model.
        dropouts: the recipe's encoder section; None in a field keeps the encoder's own value.

    Raises:
        BadInput: the family is not supported, a file cannot be read, or the weights belong to another encoder.
    """
    values = read_config(folder, str(folder))
    family = family_of(values)
    settings = {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: index for index, name in enumerate(label_names)},
        **_dropout_settings(family, dropouts),
    }
    try:
        with quiet_libraries():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=AutoConfig.from_pretrained(folder, local_files_only=True, **settings),
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError, SafetensorError) as error:
        message = " ".join(str(error).split())
        raise BadInput(Problem(str(folder), "an encoder that transformers can load", message)) from error
    missing = sorted(info["missing_keys"])
    _check_checkpoint(folder, model, family, missing, sorted(info["mismatched_keys"]))
    model.name_or_path = origin
    if dropouts is not None and dropouts.classifier_dropout is not None:
        _dropout_before_output(model, family).p = dropouts.classifier_dropout
    return Loaded(model, family, values, missing)


def check_length(loaded: Loaded, max_length: int) -> None:
    """Reject a maximum length that the encoder has no positions for.

    Raises:
        BadInput: `max_length` exceeds the encoder's longest input.
    """
    longest = loaded.family.longest_input(loaded.config)
    if max_length > longest:
        raise BadInput(
            Problem(
                "data.max_length",
                f"at most the {longest} tokens that the encoder has positions for",
                str(max_length),
                f"Lower @{{data.max_length}} to {longest}.",
            )
        )


def _check_checkpoint(
    folder: Path, model: PreTrainedModel, family: Family, missing: list[str], mismatched: list[Any]
) -> None:
    """Reject the weights of another model; emit a notice if some of the encoder's own tensors are missing."""
    if mismatched:
        name, shape, expected = mismatched[0]
        raise BadInput(
            Problem(
                str(folder / "model.safetensors"),
                f"an encoder, or a classifier with as many labels ('{name}' of shape {list(expected)})",
                f"shape {list(shape)}",
                "Name the encoder that this classifier was trained from.",
            )
        )
    of_encoder = outside_head(family, model.state_dict())
    lacking = outside_head(family, missing)
    if len(lacking) * 2 > len(of_encoder):
        raise BadInput(
            Problem(
                str(folder),
                f"the weights of a {family.name} encoder",
                f"a checkpoint that lacks {len(lacking)} of its {len(of_encoder)} tensors "
                f"('{lacking[0]}' and others)",
                "Are config.json and weights of the same encoder?",
            )
        )
    if lacking:
        notices.emit(
            "missing_tensors",
            f"the checkpoint lacks {len(lacking)} of the encoder's tensors ({', '.join(lacking[:3])}); they "
            "are initialised from the seed and saved with the adapter",
            tensors=lacking,
        )


def _dropout_settings(family: Family, dropouts: EncoderRecipe | None) -> dict[str, float]:
    if dropouts is None:
        return {}
    values = dict.fromkeys(family.hidden_dropouts, dropouts.dropout)
    values |= dict.fromkeys(family.attention_dropouts, dropouts.attention_dropout)
    return {name: value for name, value in values.items() if value is not None}


def _dropout_before_output(model: PreTrainedModel, family: Family) -> Any:
    """Return the dropout module of the head; config.json has five names for its rate, or none (MPNet)."""
    owner, _, _ = family.output.rpartition(".")
    return getattr(model.get_submodule(owner), family.head_dropout)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress transformers' loading report and progress bar inside the block.

    A notice lists the tensors that matter. Also suppresses the warning about an old attribute name that peft uses.
    """
    logging: Any = transformers_logging  # its functions have no types
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()

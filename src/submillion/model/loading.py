"""Loads an encoder's folder as a classifier of transformers, and finds what its checkpoint does not hold."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.families.families import Family, family_of
from submillion.model.heads import outside_head

if TYPE_CHECKING:
    from submillion.recipe import EncoderRecipe

# Names in config.json of the dropouts on hidden states and on attention probabilities.
HIDDEN_DROPOUT = {"distilbert": ["dropout"], "modernbert": ["embedding_dropout", "mlp_dropout"]}
ATTENTION_DROPOUT = {"distilbert": ["attention_dropout"], "modernbert": ["attention_dropout"]}
# RoBERTa counts positions from the padding index + 1, and MPNet does so with 1 whatever its padding index is.
PADDED_POSITIONS = ("roberta", "xlm-roberta", "mpnet")


@dataclass(frozen=True)
class Loaded:
    """An encoder with a fresh head, before anything is adapted."""

    model: PreTrainedModel
    family: Family
    config: dict[str, Any]
    """The encoder's config.json."""
    drawn: list[str]
    """Names of the tensors that the checkpoint lacks and that were drawn at random."""


def load_encoder(
    folder: Path, label_names: Sequence[str], origin: str, dropouts: EncoderRecipe | None = None
) -> Loaded:
    """Load config and weights in float32, on the cpu, from local files only.

    What the checkpoint lacks is drawn from torch's default generator.

    Args:
        folder: config.json and safetensors weights.
        label_names: class names by index.
        origin: name to record as the adapter's base model.
        dropouts: the recipe's encoder section; a None in it keeps the encoder's own value.

    Raises:
        BadInput: the family is unknown, the files cannot be read, or they are not of this encoder.
    """
    values = read_config(folder)
    family = family_of(values)
    settings = {
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: index for index, name in enumerate(label_names)},
        **_dropout_settings(values["model_type"], dropouts),
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
        said = " ".join(str(error).split())
        raise BadInput(Problem(str(folder), "an encoder that transformers can load", said)) from error
    drawn = sorted(info["missing_keys"])
    _check_checkpoint(folder, model, family, drawn, sorted(info["mismatched_keys"]))
    model.name_or_path = origin
    if dropouts is not None and dropouts.classifier_dropout is not None:
        _dropout_before_output(model, family).p = dropouts.classifier_dropout
    return Loaded(model, family, values, drawn)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the encoder's config.json.

    Raises:
        BadInput: it is missing or is no JSON object.
    """
    file = folder / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__} instead of an object")
    except (OSError, ValueError) as error:
        raise BadInput(Problem(str(file), "the configuration of an encoder", str(error))) from error
    return values


def longest_input(config: Mapping[str, Any]) -> int:
    """Return how many tokens, special ones included, the encoder has positions for.

    roberta-base has 514 position vectors, of which those of padding index 1 and below are no position: 512.
    """
    positions = int(config.get("max_position_embeddings", 512))
    if config["model_type"] not in PADDED_POSITIONS:
        return positions
    padding = None if config["model_type"] == "mpnet" else config.get("pad_token_id")
    return positions - (1 if padding is None else int(padding)) - 1


def check_length(config: Mapping[str, Any], max_length: int) -> None:
    """Refuse a length that the encoder has no positions for.

    Raises:
        BadInput: `max_length` is beyond the encoder's longest input.
    """
    longest = longest_input(config)
    if max_length > longest:
        raise BadInput(
            Problem(
                "data.max_length",
                f"at most the {longest} tokens that the encoder has positions for",
                str(max_length),
                f"For example --set data.max_length={longest}.",
            )
        )


def _check_checkpoint(
    folder: Path, model: PreTrainedModel, family: Family, drawn: list[str], mismatched: list[Any]
) -> None:
    """Refuse weights of something else; say which of the encoder's tensors are missing, if any are."""
    if mismatched:
        name, found, expected = mismatched[0]
        raise BadInput(
            Problem(
                str(folder / "model.safetensors"),
                f"an encoder, or a classifier of as many labels ('{name}' of shape {list(expected)})",
                f"shape {list(found)}",
                "Name the encoder that this classifier was made from.",
            )
        )
    of_encoder = outside_head(family, model.state_dict())
    lacking = outside_head(family, drawn)
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
            "drawn_tensors",
            f"the checkpoint lacks {len(lacking)} of the encoder's tensors ({', '.join(lacking[:3])}); they "
            "are drawn with the seed and saved with the adapter",
            tensors=lacking,
        )


def _dropout_settings(model_type: str, dropouts: EncoderRecipe | None) -> dict[str, float]:
    if dropouts is None:
        return {}
    hidden = HIDDEN_DROPOUT.get(model_type, ["hidden_dropout_prob"])
    attention = ATTENTION_DROPOUT.get(model_type, ["attention_probs_dropout_prob"])
    wanted = dict.fromkeys(hidden, dropouts.dropout)
    wanted |= dict.fromkeys(attention, dropouts.attention_dropout)
    return {name: value for name, value in wanted.items() if value is not None}


def _dropout_before_output(model: PreTrainedModel, family: Family) -> Any:
    """Return the dropout module of the head; its setting in config.json has five names, or none (MPNet)."""
    owner, _, _ = family.output.rpartition(".")
    head = model.get_submodule(owner)
    return head.drop if hasattr(head, "drop") else head.dropout


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hold back transformers' loading report and bar: what the checkpoint lacks is told where it matters.

    And its word to peft, which still asks a question under its old name.
    """
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

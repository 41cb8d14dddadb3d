"""Loads an encoder's folder as a transformers classifier with a head of our own."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from submillion.errors import BadInput, Problem
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.model.checkpoint import Checkpoint, ForeignHead, check_tensors
from submillion.sources.folder import read_config

if TYPE_CHECKING:
    from submillion.recipe import EncoderRecipe


_OF_A_TASK = ("num_labels", "id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params")
_OF_THE_OUTPUT = (
    "return_dict",
    "use_return_dict",
    "output_attentions",
    "output_hidden_states",
    "torchscript",
)
_OF_DECODERS = ("is_decoder", "is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size")
CODE = ("auto_map", "attn_implementation", "experts_implementation", "use_kernels", "quantization_config")
"""Entries of a config.json by which transformers loads code of the folder, of the hub or of other packages."""
_REST = ("dtype", "torch_dtype", "name_or_path", "tokenizer_class", "transformers_version", "pruned_heads")
NOT_THE_ENCODERS = frozenset((*_OF_A_TASK, *_OF_THE_OUTPUT, *_OF_DECODERS, *CODE, *_REST))
"""Entries of a config.json that do not describe the encoder, or that would load code or kernels for it."""


@dataclass(frozen=True)
class Loaded:
    """An encoder with a new head, before peft wraps it."""

    model: PreTrainedModel
    family: Family
    config: dict[str, Any]
    """The encoder's config.json."""
    randomly_initialised: list[str]
    """Names of the tensors that the checkpoint lacks, or that belong to the head of another classifier."""
    foreign_head: ForeignHead | None
    """The head of another classifier that the checkpoint has and that is not used."""


def load_encoder(
    folder: Path,
    label_names: Sequence[str],
    origin: str,
    dropouts: EncoderRecipe | None = None,
    *,
    headless: bool = False,
) -> Loaded:
    """Load config and weights in float32, on the CPU, from local files only.

    Tensors that the checkpoint lacks are initialised from torch's default generator. So is the head if the checkpoint
    has one of another classifier.

    Args:
        folder: config.json and safetensors weights.
        label_names: class names by index.
        origin: name to record as the adapter's base model.
        dropouts: the recipe's encoder section; None in a field keeps the encoder's own value.
        headless: load the encoder alone, as AutoModel does; it has no pooler.

    Raises:
        BadInput: the family is not supported, a file cannot be read, or the weights belong to another encoder.
    """
    values = read_config(folder, str(folder))
    family = family_of(values)
    checkpoint = Checkpoint.of(folder)
    checkpoint.check_size(family, values)
    foreign = checkpoint.foreign_head(family)
    model, info = _from_transformers(
        folder,
        config_values(values)
        | {
            "id2label": dict(enumerate(label_names)),
            "label2id": {name: index for index, name in enumerate(label_names)},
        }
        | _dropout_settings(family, dropouts),
        foreign,
        headless,
    )
    family = family.alone() if headless else family
    missing = check_tensors(folder, family, list(model.state_dict()), info)
    model.name_or_path = origin
    if not headless and dropouts is not None and dropouts.classifier_dropout is not None:
        _dropout_before_output(model, family).p = dropouts.classifier_dropout
    return Loaded(model, family, values, missing, foreign)


def config_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config.json that describe an encoder.

    Raises:
        BadInput: the weights are quantised.
    """
    if values.get("quantization_config") is not None:
        raise BadInput(
            Problem(
                "the encoder's config.json, quantization_config",
                "weights in float32, float16 or bfloat16",
                "quantised weights",
                "Name the encoder that they were made from.",
            )
        )
    return {
        name: value
        for name, value in values.items()
        if name not in NOT_THE_ENCODERS and not name.startswith("_")
    }


def _from_transformers(
    folder: Path, values: dict[str, Any], foreign: ForeignHead | None, headless: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the model of a folder's weights, and transformers' loading info.

    The configuration is made of `values`, not of the folder's file, and the class is that of its family: an `auto_map`
    in the file would name code to run.

    Args:
        folder: the encoder's.
        values: entries of the configuration.
        foreign: a head in the weights that the model must not get.
        headless: the encoder alone.
    """
    options: dict[str, Any] = {}
    try:
        with quiet_libraries():
            config = CONFIG_MAPPING[values["model_type"]].from_dict(values)
            kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
            if headless:  # the head in the weights, if any, is not in such a model
                kind, foreign = MODEL_MAPPING[type(config)], None
                if "add_pooling_layer" in inspect.signature(kind).parameters:
                    options["add_pooling_layer"] = False
            model, info = kind.from_pretrained(
                None if foreign else folder,
                state_dict=foreign.other_tensors(folder) if foreign else None,
                **options,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        return model, info
    except Exception as error:
        # An entry of an unexpected type raises whatever the code raises that meets it first; all mean the same here.
        message = " ".join(str(error).split())[:300]
        known = isinstance(error, OSError | SafetensorError)
        found = message if known else f"{type(error).__name__}: {message}"
        raise BadInput(Problem(str(folder), "an encoder that transformers can load", found)) from error


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

    A notice lists the tensors that matter. Also suppresses warnings of peft about an attribute's old name, and about an
    adapter that names another encoder or none, of which `adopt` says what matters.
    """
    logging: Any = transformers_logging  # its functions have no types
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
            warnings.filterwarnings("ignore", ".*base_model_name_or_path.*", UserWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()

"""Encoders in folders: the files that one is loaded from, and which of them are missing or broken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.sources import adapter_files

CONFIG = "config.json"
POOLING = "1_Pooling/config.json"
"""The file in which sentence-transformers records how the last states become the features of a text."""
RUN_PARTS = ("manifest.json", "recipe.yaml")
INDEX = "model.safetensors.index.json"
# Any of these sets is enough for transformers to build a fast tokenizer.
TOKENIZERS: tuple[tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
    ("spm.model",),
    ("spiece.model",),
)
TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
ENCODER_PATTERNS = (
    CONFIG,
    *WEIGHTS,
    INDEX,
    *dict.fromkeys(name for names in TOKENIZERS for name in names),
    *TOKENIZER_EXTRAS,
)
"""The files that an encoder is loaded from; the rest of a repository is not needed."""
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors library
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Return an encoder's config.json.

    Args:
        folder: the encoder's.
        name: how the user named it, for messages.

    Raises:
        BadInput: it is missing or not a JSON object with a model_type.
    """
    file = folder / CONFIG
    remedy = "Name a folder as `save_pretrained` writes it: config.json, tokenizer files, model.safetensors."
    if problem := _not_an_encoder(folder, name):
        raise BadInput(problem)
    if not file.is_file():
        raise BadInput(Problem(name, f"an encoder's folder with {CONFIG}", f"no {CONFIG}", remedy))
    values = strict_json.read(file, "an encoder's configuration in JSON", remedy)
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise BadInput(Problem(str(file), "a JSON object with the key model_type", "none", remedy))
    return values


def pools_by_mean(file: Path) -> bool:
    """Return whether a sentence encoder was trained with the mean of its last states, and with nothing beside it.

    Args:
        file: its POOLING.

    Raises:
        BadInput: it is not a JSON object.
    """
    values = strict_json.read(file, "the pooling of a sentence encoder in JSON", "Copy it again.")
    if not isinstance(values, dict):
        raise BadInput(Problem(str(file), "a JSON object", type(values).__name__, "Copy it again."))
    modes = [name for name, used in values.items() if name.startswith("pooling_mode_") and used is True]
    return modes == ["pooling_mode_mean_tokens"] or values.get("pooling_mode") == "mean"


def _not_an_encoder(folder: Path, name: str) -> Problem | None:
    """Return the problem with a folder that holds an adapter or a run instead of an encoder, None if it holds neither.

    transformers would load an adapter from a folder of its own accord.
    """
    if all((folder / part).exists() for part in RUN_PARTS):
        base = _named_in(folder / "manifest.json", "encoder", "source")
        remedy = "A run has an adapter and no encoder: name the encoder that it was trained from"
        return Problem(name, "an encoder", "a run of submillion", f"{remedy}{base and f', {base}'}.")
    if (folder / adapter_files.CONFIG).is_file():
        base = _named_in(folder / adapter_files.CONFIG, "base_model_name_or_path")
        remedy = (
            f"Name the adapter's encoder{base and f', {base}'}, or merge the adapter into it once: "
            "PeftModel.from_pretrained(...).merge_and_unload().save_pretrained(FOLDER), and name that folder."
        )
        return Problem(name, "an encoder", f"an adapter of peft ({adapter_files.CONFIG})", remedy)
    return None


def _named_in(file: Path, *keys: str) -> str:
    """Return a string in a JSON file by its keys; empty if there is none, since it only improves a message."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        for key in keys:
            value = value[key]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ""
    return value[:200] if isinstance(value, str) else ""


def encoder_files(folder: Path, name: str, others: Iterable[str] = ()) -> list[str]:
    """Return the names of the files an encoder is loaded from: configuration, tokenizer, weights.

    Args:
        folder: the encoder's.
        name: how the user named it, for messages.
        others: further files that exist at its source but not here.

    Raises:
        BadInput: a file is missing or broken; all such files at once.
    """
    if problem := _not_an_encoder(folder, name):
        raise BadInput(problem)  # alone: that it also lacks a tokenizer would mislead
    problems = []
    try:
        read_config(folder, name)
    except BadInput as error:
        problems += error.problems
    if not any(all((folder / part).is_file() for part in parts) for parts in TOKENIZERS):
        problems.append(
            Problem(
                name,
                f"a tokenizer: {' or '.join(' with '.join(parts) for parts in TOKENIZERS)}",
                "none of them",
                "Save the encoder's own tokenizer beside it: tokenizer.save_pretrained(folder).",
            )
        )
    weights = weight_files(folder)
    missing = [file for file in weights if not (folder / file).is_file()]
    # Another name would be loaded, but not be hashed.
    foreign = [file for file in weights if not any(fnmatchcase(file, pattern) for pattern in WEIGHTS)]
    if not weights:
        problems.append(_no_weights(folder, name, others))
    elif foreign:
        expected = f"weights named {' or '.join(WEIGHTS)} in {INDEX}"
        problems.append(
            Problem(name, expected, foreign[0][:200], "Save the encoder again with save_pretrained.")
        )
    elif missing:
        problems.append(
            Problem(name, f"the weights named in {INDEX}", f"no {', '.join(missing)}", "Copy them again.")
        )
    else:
        problems += filter(None, (_flaw_of_weights(folder / file) for file in weights))
    if problems:
        raise BadInput(problems)
    return sorted({file.name for pattern in ENCODER_PATTERNS for file in folder.glob(pattern)})


def weight_files(folder: Path) -> list[str]:
    """Return the names of the weight files in an encoder's folder, whether or not they exist; none without weights."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted(set(map(str, index["weight_map"].values())))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        # No index, or none that names files: either way there are no weights to read.
        return []


def _no_weights(folder: Path, name: str, others: Iterable[str]) -> Problem:
    present = {file.name for pattern in PICKLED_WEIGHTS for file in folder.glob(pattern)}
    pickled = sorted(present | {file for file in others if re.fullmatch(r"pytorch_model.*\.bin", file)})
    if pickled:
        return Problem(
            name,
            "weights in model.safetensors",
            f"{pickled[0]}, a pickle, which can run code that its author chose",
            "If you trust it, convert it once: load it with transformers and save it with "
            "save_pretrained(FOLDER), which writes model.safetensors; then name this folder.",
        )
    return Problem(
        name,
        "weights in model.safetensors",
        "no weights",
        "Name a folder as `save_pretrained` writes it: config.json, tokenizer files, model.safetensors.",
    )


def _flaw_of_weights(file: Path) -> Problem | None:
    """Return the problem with a safetensors file (8 bytes of header length, header, tensors), None if there is none."""
    size = file.stat().st_size
    try:
        with file.open("rb") as handle:
            beginning = handle.read(8)
            if beginning == b"version ":
                return Problem(str(file), "weights", "a git-lfs pointer to them", "Fetch them: git lfs pull.")
            length = int.from_bytes(beginning, "little")
            if length > min(size - 8, MAX_HEADER):
                raise ValueError
            header = json.loads(handle.read(length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        expected = 8 + length + max(ends)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
        return Problem(str(file), "weights in the safetensors format", "something else", "Copy it again.")
    if size != expected:
        return Problem(str(file), f"{expected:,} bytes of weights", f"{size:,} bytes", "Copy it again.")
    return None

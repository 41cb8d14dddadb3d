"""Estimates the memory and the disk space of a training, and refuses one that clearly exceeds this machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submillion import limits, native, notices
from submillion.budget.count import Count
from submillion.cache import cache_root
from submillion.data.corpus import Corpus
from submillion.data.tokens import Tokens
from submillion.errors import BadInput, Problem
from submillion.families.families import family_of
from submillion.files.atomic import nearest_folder
from submillion.model.execution.pass_sizes import PASS_TOKENS, step_tokens
from submillion.model.precision import Precision
from submillion.recipe import Recipe
from submillion.sources.fetch import download_bytes, encoder_config
from submillion.wording import byte_count, listed

FLOAT = 4
"""Bytes of a float32."""
BYTES_PER_TOKEN = 4
"""Bytes of utf-8 per token: 4 letters of English, and 3 or 4 bytes of a character of an unspaced script."""
STATE_VALUES = 4
"""Numbers in a checkpoint per trained parameter: value, two moments, best value."""
STATES = 3
"""Checkpoints on the disk while one is written: two generations and the new file."""
REPORT_BYTES = 30 * 10**6
"""Tokenizer, figures, page and analysis of a run."""
PREDICTION_BYTES = 120
"""Of a row without its probabilities: id, hash of the text, label."""
PREDICTION_FILES = 5
"""The run's predictions, and those of the simpler models and of the analysis."""
TRAINED_VALUES = 6
"""Numbers in memory per trained parameter: value, gradient, two moments, best value, a copy while they are saved."""
# Values per token and channel, and the memory of libraries and allocators, are fitted to measured peaks; see
# tests/estimate/test_resources.py for the measurements.
SAVED_BY_LAYER, SAVED_BY_INPUT = 9.2, 2.1
"""Values that torch saves for the backward pass of a layer, and of each adapter by the width of its input."""
DROPPED_BY_INPUT, DROPPED_BY_LAYER, DROPPED_BY_SCORE = 2, 3, 3
"""Further values where there is dropout: of an adapter's input, of hidden states, and of attention probabilities, which
are not saved at all without it."""
HEADS = 12
AUTOCAST = 0.6
"""Share of their bytes under autocast, where some of them are bfloat16."""
ATTENDED = ("query", "key", "value")
"""Targets whose input the kernels recompute."""
PASSED_REFERENCE, PASSED_KERNELS = 14, 8
"""Values in the buffers of the layer that is being computed."""
LIBRARIES_BYTES = 180 * 10**6
REFUSED_BEYOND = 0.6
"""A training is refused if this share of its estimate exceeds what is available: the estimate may be that wrong."""


@dataclass(frozen=True)
class Estimate:
    """Bytes by part."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        shown = [f"{name} {byte_count(size)}" for name, size in self.parts.items() if size >= 10**6]
        return f"{byte_count(self.total)} ({listed(shown)})"


def check_disk(recipe: Recipe, counted: Count, corpus: Corpus, place: Path) -> None:
    """Refuse a training whose download or run directory clearly exceeds the free disk space; say if it is tight.

    Args:
        recipe: names the encoder.
        counted: its parameters.
        corpus: its rows and classes.
        place: the run directory, which may not exist.

    Raises:
        BadInput: the disk has less than REFUSED_BEYOND of the estimate.
    """
    classes = len(corpus.label_names)
    scored = sum(len(split) for split in corpus.splits if split.name != "train")
    run = {
        "checkpoints": STATES * STATE_VALUES * FLOAT * counted.trainable,
        "adapters": 3 * FLOAT * counted.trainable,
        "predictions": PREDICTION_FILES * scored * (FLOAT * classes + PREDICTION_BYTES),
        "report": REPORT_BYTES,
    }
    # Two folders on one disk share its space.
    needs = [(nearest_folder(place), Estimate(run), "@{out}")]
    if download := download_bytes(recipe.encoder.source, FLOAT * counted.total):
        needs.append((nearest_folder(cache_root()), Estimate({"download": download}), "SUBMILLION_CACHE"))
    disks: dict[int, list[tuple[Path, Estimate, str]]] = {}
    for need in needs:
        disks.setdefault(need[0].stat().st_dev, []).append(need)
    for shared in disks.values():
        parts = {name: size for _, estimate, _ in shared for name, size in estimate.parts.items()}
        folder, names = shared[0][0], listed([name for _, _, name in shared], "or")
        _judge(
            "disk_space",
            f"the disk of {folder}",
            Estimate(parts),
            shutil.disk_usage(folder).free,
            f"Free some space (`submillion cache prune`), or choose another place with {names}.",
        )


def check_memory(
    recipe: Recipe,
    counted: Count,
    tokens: Mapping[str, Tokens],
    precision: Precision,
    device: str,
) -> None:
    """Refuse a training that clearly exceeds the available memory; say if it is tight. Not for accelerators.

    Args:
        recipe: batches, adapters and execution.
        counted: its parameters.
        tokens: the texts by split.
        precision: the number format.
        device: `cpu`, `cuda` or `mps`; the memory of an accelerator is not estimated.

    Raises:
        BadInput: less than REFUSED_BEYOND of the estimate is available.
    """
    if device != "cpu":
        return
    lengths = {name: np.asarray(texts.lengths) for name, texts in tokens.items()}
    config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
    _judge(
        "memory",
        "memory",
        memory_of(recipe, config, counted, lengths, precision),
        limits.memory().available,
        "Lower @{train.batch_size} or @{data.max_length}, adapt fewer layers with @{lora.layers} (top-N), choose a "
        "smaller encoder, or make memory free.",
    )


def memory_of(
    recipe: Recipe,
    config: Mapping[str, Any],
    counted: Count,
    lengths: Mapping[str, np.ndarray],
    precision: Precision,
) -> Estimate:
    """Return the memory that a training on the processor takes beyond what this process already has.

    Args:
        recipe: batches, adapters and execution.
        config: the encoder's config.json.
        counted: its parameters.
        lengths: tokens per text by split.
        precision: the number format.
    """
    family = family_of(config)
    inventory = family.inventory(config, 2)  # of the head, only the output layer depends on the classes
    train, hidden = recipe.train, inventory.hidden
    first = min(recipe.lora.layer_indices(len(inventory.layers)))
    trained = sum(layer.total for layer in inventory.layers[first:])
    depth = len(inventory.layers) - first
    longest = np.sort(lengths["train"])[::-1]
    batch = int(longest[: train.batch_size].max(initial=1)) * min(train.batch_size, len(longest))
    if train.batch_tokens is not None:
        batch = min(batch, max(train.batch_tokens, int(longest.max(initial=1))))
    scored = max((int(values.max(initial=1)) for values in lengths.values()), default=1)
    build = _kernels(recipe, config, precision)
    if build is None:
        weights = FLOAT * counted.total
        values = _saved_values(recipe, config, min(int(longest.max(initial=1)), recipe.data.max_length))
        saved = int(batch * depth * hidden * FLOAT * values * (AUTOCAST if precision.autocast else 1))
        passes = train.eval_batch_size * scored
        if recipe.data.windows == "all":  # of which no more are run at a time
            passes = min(passes, PASS_TOKENS)
        passed = passes * hidden * FLOAT * PASSED_REFERENCE
    else:
        size = 2 if build == "bfloat16" else FLOAT
        layers = sum(layer.total for layer in inventory.layers)
        # Beside the weights that evaluate: in int8, those of both passes of a step; in bfloat16, those of the
        # backward pass, which in float32 reads the same ones.
        of_step = 2 if train.frozen_precision == "int8" or build == "bfloat16" else 0
        weights = size * layers + of_step * trained + FLOAT * inventory.outside.total
        step = step_tokens(depth, hidden, size)
        values = _values_of_kernels(recipe, config, depth)
        saved = int(min(batch, max(step, scored)) * hidden * size * values)
        passed = max(PASS_TOKENS, scored) * hidden * FLOAT * PASSED_KERNELS
    return Estimate(
        {
            "weights": weights,
            "optimizer": TRAINED_VALUES * FLOAT * counted.trainable,
            "saved activations": saved,
            "buffers of a pass": passed,
            "libraries": LIBRARIES_BYTES,
        }
    )


def _saved_values(recipe: Recipe, config: Mapping[str, Any], length: int) -> float:
    """Return the values that torch saves in one layer for the backward pass, per token and channel.

    Args:
        recipe: targets and dropout.
        config: the encoder's config.json.
        length: tokens of the longest text.
    """
    family = family_of(config)
    inventory = family.inventory(config, 2)
    targets = [] if recipe.lora.variant == "bitfit" else family.expand(recipe.lora.targets)
    inputs = sum(inventory.matrices[name].inputs for name in targets) / inventory.hidden

    def dropout(chosen: float | None, keys: tuple[str, ...]) -> bool:
        return bool(chosen if chosen is not None else config.get(keys[0] if keys else "", 0.1))

    values = SAVED_BY_LAYER + SAVED_BY_INPUT * inputs
    if recipe.lora.dropout:
        values += DROPPED_BY_INPUT * inputs
    if dropout(recipe.encoder.dropout, family.hidden_dropouts):
        values += DROPPED_BY_LAYER
    if dropout(recipe.encoder.attention_dropout, family.attention_dropouts):
        key = family.keys.get("num_attention_heads", "num_attention_heads")
        heads = int(config.get(key) or family.defaults.get(key) or HEADS)
        values += DROPPED_BY_SCORE * heads * length / inventory.hidden
    return values


def _values_of_kernels(recipe: Recipe, config: Mapping[str, Any], depth: int) -> float:
    """Return the values that the kernels save in the trained layers, per token and channel.

    A layer saves query, key, value, two normalised states and the slope of GELU, and the inputs of the adapters after
    attention, and with DoRA the products of the adapted matrices; the last layer only query, key and value, and the
    products of key and value, unless it runs for all tokens. A pre-norm layer also saves GELU itself, and its last
    layer one normalised state, but no input that a norm gives again.

    Args:
        recipe: targets and pooling.
        config: the encoder's config.json.
        depth: layers from the lowest adapted one to the last.
    """
    family = family_of(config)
    inventory = family.inventory(config, 2)
    targets = family.expand(recipe.lora.targets)
    pre_norm = family.kernels.pre_norm
    recomputed = ("qkv", "ffn_up") if pre_norm else ATTENDED
    inputs = [inventory.matrices[name].inputs for name in targets if name not in recomputed]
    ffn = inventory.matrices["ffn_down"].inputs * (2 if pre_norm else 1)  # GELU and its slope, or its slope
    outputs = {name: inventory.matrices[name].outputs for name in targets if recipe.lora.variant == "dora"}
    layer = 5 + (ffn + sum(inputs) + sum(outputs.values())) / inventory.hidden
    attended = sum(outputs.get(name, 0) for name in ("qkv", "key", "value"))
    averages = family.pooling_key is not None and config.get(family.pooling_key) == "mean"
    all_tokens = averages or recipe.head.pooling == "mean"
    last = layer if all_tokens else (4 if pre_norm else 3) + attended / inventory.hidden
    return (depth - 1) * layer + last


def _kernels(recipe: Recipe, config: Mapping[str, Any], precision: Precision) -> str | None:
    """Return the number format of the kernels that will probably run this training; None for torch."""
    kernels = family_of(config).kernels
    known = config.get(kernels.activation, "gelu") == "gelu"
    if kernels.relative_positions:
        known = known and bool(config.get("share_att_key")) and not config.get("conv_kernel_size")
    if not known or recipe.train.execution == "reference" or recipe.train.compile:
        return None
    library, _ = native.load_best_build(precision.dtype_name)
    return None if library is None else library.build.dtype_name


def _judge(code: str, where: str, estimate: Estimate, available: int, remedy: str) -> None:
    """Refuse what clearly exceeds the available bytes; say what may exceed them."""
    if REFUSED_BEYOND * estimate.total > available:
        least = byte_count(REFUSED_BEYOND * estimate.total)
        expected = f"{least} or more available, for an estimated need of {estimate}"
        raise BadInput(Problem(where, expected, byte_count(available), remedy))
    if estimate.total > available:
        notices.emit(
            code,
            f"{where} may not suffice: this training takes an estimated {estimate}, and {byte_count(available)} are "
            "available.",
            estimate=estimate.parts,
            available=available,
        )

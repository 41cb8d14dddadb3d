"""The bounds of the sizes in an encoder's config.json, and the relations between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from submillion.errors import Problem

BOUNDS: dict[str, tuple[int, int]] = {
    "vocab_size": (1, 10_000_000),
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (1, 1_000),
    "num_attention_heads": (1, 4_096),
    "intermediate_size": (1, 1_048_576),
    "hidden_dim": (1, 1_048_576),
    "max_position_embeddings": (1, 10_000_000),
    "type_vocab_size": (0, 1_000),
    "embedding_size": (1, 65_536),
    "pooler_hidden_size": (1, 65_536),
    "relative_attention_num_buckets": (1, 65_536),
    "max_relative_positions": (-1, 10_000_000),
    "position_buckets": (-1, 65_536),
    "conv_kernel_size": (0, 1_000),
    "conv_groups": (1, 65_536),
}
"""The sizes that a config may hold, each with its smallest and largest valid value.

The largest ones are far above those of any encoder. They keep a file with absurd numbers from exhausting the memory of
a program that only counts.
"""

FLAGS = (
    "position_biased_input",
    "relative_attention",
    "share_att_key",
    "norm_bias",
    "attention_bias",
    "mlp_bias",
    "classifier_bias",
)
"""The switches that a config may hold."""

WORDS = ("norm_rel_ebd", "pos_att_type")
"""The entries that hold words: one, several with `|` between them, or a list."""


def size_problems(
    values: Mapping[str, Any], optional: Collection[str], smallest: Mapping[str, int]
) -> list[Problem]:
    """Return the values that are not of their type or out of bounds.

    Args:
        values: sizes and switches by their common keys.
        optional: keys whose value may be None.
        smallest: smallest valid values where they differ from those of BOUNDS.
    """
    problems = []
    for key, value in values.items():
        if value is None and key in optional:
            continue
        expected = None
        if key in BOUNDS:
            low, high = smallest.get(key, BOUNDS[key][0]), BOUNDS[key][1]
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or value < low:
                expected = f"a whole number from {low}"
            elif value > high:
                expected = f"at most {high:,}"
        elif key in FLAGS and not isinstance(value, bool):
            expected = "true or false"
        elif key in WORDS and not _is_words(value):
            expected = "a word or a list of words"
        if expected:
            problems.append(_problem(key, expected, _short(value)))
    return problems


def relation_problems(config: Mapping[str, Any], values: Mapping[str, Any]) -> list[Problem]:
    """Return the valid sizes that contradict each other.

    Args:
        config: the encoder's config.json.
        values: its sizes by their common keys, each within its bounds.
    """
    problems = []
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    if hidden % heads:
        problems.append(_problem("num_attention_heads", f"a divisor of the hidden size {hidden}", str(heads)))
    if "pad_token_id" in config:
        padding, last = config["pad_token_id"], values["vocab_size"] - 1
        if not isinstance(padding, int) or isinstance(padding, bool) or not 0 <= padding <= last:
            problems.append(_problem("pad_token_id", f"a token id from 0 to {last}", _short(padding)))
    return problems


def _is_words(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(word, str) for word in value)
    )


def _problem(key: str, expected: str, found: str) -> Problem:
    return Problem(f"the encoder's config.json, {key}", expected, found)


def _short(value: Any) -> str:
    """Return a value as Python writes it, cut: a config may hold a megabyte in the place of a number."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

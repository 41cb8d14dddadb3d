"""How many parameters the parts of an encoder have, from the sizes in its config.json.

Formulas follow the classes in transformers' modeling_<family>.py (5.23). D hidden size, F intermediate size,
E width of the embeddings, V vocabulary, L longest input. A linear layer D x F has D F weights and F biases;
a norm has D and D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]

# Sizes that a config may hold, each with the smallest value that makes sense.
SMALLEST = {
    "vocab_size": 1,
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "hidden_dim": 1,
    "max_position_embeddings": 1,
    "type_vocab_size": 0,
    "embedding_size": 1,
    "pooler_hidden_size": 1,
    "relative_attention_num_buckets": 1,
    "max_relative_positions": -1,
    "position_buckets": -1,
    "conv_kernel_size": 0,
    "conv_groups": 1,
}


@dataclass(frozen=True)
class Tensors:
    """The number of parameters of some modules, their biases apart."""

    weights: int = 0
    biases: int = 0

    def __add__(self, other: Tensors) -> Tensors:
        return Tensors(self.weights + other.weights, self.biases + other.biases)

    @property
    def total(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


@dataclass(frozen=True)
class Matrix:
    """A linear layer: weight [outputs, inputs] and perhaps a bias [outputs]."""

    inputs: int
    outputs: int
    bias: bool = True

    @property
    def tensors(self) -> Tensors:
        """Its parameters."""
        return Tensors(self.inputs * self.outputs, self.outputs if self.bias else 0)

    @property
    def per_rank(self) -> int:
        """What one unit of rank costs: a row of A [r, inputs] and a column of B [outputs, r]."""
        return self.inputs + self.outputs


def is_size(key: str, value: Any) -> bool:
    """Whether `value` can be the size called `key`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= SMALLEST[key]


def norm(size: int, bias: bool = True) -> Tensors:
    """Return a norm over `size` channels: scales, and shifts where it has them."""
    return Tensors(size, size if bias else 0)


def projection(values: Values) -> Matrix:
    """Return the head's projection: D x D, or as wide as DeBERTa's pooler; ModernBERT's may lack the bias."""
    width = values.get("pooler_hidden_size") or values["hidden_size"]
    return Matrix(width, width, bias=values.get("classifier_bias", True))


def separate(values: Values) -> dict[str, Matrix]:
    """Query, key, value and output D x D, then up D x F and down F x D, all with bias."""
    hidden, inner = values["hidden_size"], values.get("hidden_dim") or values["intermediate_size"]
    attention = dict.fromkeys(("query", "key", "value", "attention_output"), Matrix(hidden, hidden))
    return attention | {"ffn_up": Matrix(hidden, inner), "ffn_down": Matrix(inner, hidden)}


def fused(values: Values) -> dict[str, Matrix]:
    """ModernBERT: one matrix D x 3 D for query, key and value; up D x 2 F, as half of it gates the other."""
    hidden, inner = values["hidden_size"], values["intermediate_size"]
    attention, mlp = values["attention_bias"], values["mlp_bias"]
    return {
        "qkv": Matrix(hidden, 3 * hidden, attention),
        "attention_output": Matrix(hidden, hidden, attention),
        "ffn_up": Matrix(hidden, 2 * inner, mlp),
        "ffn_down": Matrix(inner, hidden, mlp),
    }


def two_norms(values: Values, _: int) -> Tensors:
    """Beside its matrices a layer has a norm after attention and one after the feed-forward part."""
    return norm(values["hidden_size"]) + norm(values["hidden_size"])


def bert_outside(values: Values) -> Tensors:
    """(V + L + types) x E and a norm; ELECTRA steps from E to D where they differ."""
    hidden = values["hidden_size"]
    width = values.get("embedding_size") or hidden
    rows = values["vocab_size"] + values["max_position_embeddings"] + values.get("type_vocab_size", 0)
    step = Matrix(width, hidden).tensors if width != hidden else Tensors()
    return Tensors(rows * width) + norm(width) + step


def mpnet_outside(values: Values) -> Tensors:
    """BERT's without token types, and a relative position bias per bucket and head, shared by all layers."""
    buckets = values["relative_attention_num_buckets"] * values["num_attention_heads"]
    return bert_outside(values) + Tensors(buckets)


def deberta_outside(values: Values) -> Tensors:
    """Embeddings, perhaps without positions and types; relative positions, their norm; the convolution."""
    hidden = values["hidden_size"]
    width = values["embedding_size"] or hidden
    positions = values["max_position_embeddings"] if values["position_biased_input"] else 0
    sizes = Tensors((values["vocab_size"] + positions + values["type_vocab_size"]) * width) + norm(hidden)
    if width != hidden:
        sizes += Matrix(width, hidden, bias=False).tensors
    if values["relative_attention"]:
        # Buckets go before the reach, and the reach before the longest input, where they are set.
        reach = values["max_relative_positions"]
        reach = reach if reach >= 1 else values["max_position_embeddings"]
        reach = values["position_buckets"] if values["position_buckets"] > 0 else reach
        sizes += Tensors(2 * reach * hidden)
    if "layer_norm" in _words(values["norm_rel_ebd"]):
        sizes += norm(hidden)
    if values["conv_kernel_size"] > 0:
        taps = hidden // values["conv_groups"] * values["conv_kernel_size"]
        sizes += Tensors(hidden * taps, hidden) + norm(hidden)
    return sizes


def deberta_beside(values: Values, layer: int) -> Tensors:
    """Two norms, and D x D for positions seen by key and query, unless they share the content's matrices."""
    sizes = two_norms(values, layer)
    if values["relative_attention"] and not values["share_att_key"]:
        own = {"c2p", "p2c"}.intersection(_words(values["pos_att_type"]))
        for _ in own:
            sizes += Matrix(values["hidden_size"], values["hidden_size"]).tensors
    return sizes


def modernbert_outside(values: Values) -> Tensors:
    """V x D and a norm, and the norm after the last layer; positions are rotations without parameters."""
    closing = norm(values["hidden_size"], values["norm_bias"])
    return Tensors(values["vocab_size"] * values["hidden_size"]) + closing + closing


def modernbert_beside(values: Values, layer: int) -> Tensors:
    """A norm before attention, which the first layer lacks (its input comes from one), one before the MLP."""
    one = norm(values["hidden_size"], values["norm_bias"])
    return one if layer == 0 else one + one


def _words(value: str | list[str] | None) -> list[str]:
    """Read a list that a config may hold as `a|b` or leave out."""
    return [word.strip() for word in value.lower().split("|")] if isinstance(value, str) else value or []

"""Numbers of parameters of the parts of an encoder, from the sizes in its config.json.

Formulas follow the classes in transformers' modeling_<family>.py (5.23). D hidden size, F intermediate size,
E width of the embeddings, V vocabulary, L longest input. A linear layer D x F has D F weights and F biases;
a norm has D and D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Tensors:
    """The number of parameters of some modules, with biases counted separately."""

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
    """A linear layer: weight [outputs, inputs] and an optional bias [outputs]."""

    inputs: int
    outputs: int
    bias: bool = True

    @property
    def tensors(self) -> Tensors:
        """Its parameters."""
        return Tensors(self.inputs * self.outputs, self.outputs if self.bias else 0)

    @property
    def per_rank(self) -> int:
        """Parameters per unit of rank: a row of A [r, inputs] and a column of B [outputs, r]."""
        return self.inputs + self.outputs


def norm(size: int, bias: bool = True) -> Tensors:
    """Return the parameters of a norm over `size` channels: scales, and shifts if it has a bias."""
    return Tensors(size, size if bias else 0)


def projection(values: Values) -> Matrix:
    """Return the head's projection: D x D, or DeBERTa's pooler size; ModernBERT's may have no bias."""
    width = values.get("pooler_hidden_size") or values["hidden_size"]
    return Matrix(width, width, bias=values.get("classifier_bias", True))


def separate(values: Values) -> dict[str, Matrix]:
    """Return query, key, value and output D x D, then up D x F and down F x D, all with bias."""
    hidden, inner = values["hidden_size"], values.get("hidden_dim") or values["intermediate_size"]
    attention = dict.fromkeys(("query", "key", "value", "attention_output"), Matrix(hidden, hidden))
    return attention | {"ffn_up": Matrix(hidden, inner), "ffn_down": Matrix(inner, hidden)}


def fused(values: Values) -> dict[str, Matrix]:
    """Return ModernBERT's matrices: D x 3 D for query, key and value; up D x 2 F, of which one half gates the other."""
    hidden, inner = values["hidden_size"], values["intermediate_size"]
    attention, mlp = values["attention_bias"], values["mlp_bias"]
    return {
        "qkv": Matrix(hidden, 3 * hidden, attention),
        "attention_output": Matrix(hidden, hidden, attention),
        "ffn_up": Matrix(hidden, 2 * inner, mlp),
        "ffn_down": Matrix(inner, hidden, mlp),
    }


def two_norms(values: Values, _: int) -> Tensors:
    """Return a layer without its matrices: a norm after attention and one after the feed-forward part."""
    return norm(values["hidden_size"]) + norm(values["hidden_size"])


def bert_outside(values: Values) -> Tensors:
    """Return (V + L + types) x E and a norm, and ELECTRA's projection from E to D if they differ."""
    hidden = values["hidden_size"]
    width = values.get("embedding_size") or hidden
    rows = values["vocab_size"] + values["max_position_embeddings"] + values.get("type_vocab_size", 0)
    projected = Matrix(width, hidden).tensors if width != hidden else Tensors()
    return Tensors(rows * width) + norm(width) + projected


def mpnet_outside(values: Values) -> Tensors:
    """Return BERT's without token types, plus a relative position bias per bucket and head, shared by all layers."""
    buckets = values["relative_attention_num_buckets"] * values["num_attention_heads"]
    return bert_outside(values) + Tensors(buckets)


def deberta_outside(values: Values) -> Tensors:
    """Return embeddings (positions and types are optional), relative positions, their norm, and the convolution."""
    hidden = values["hidden_size"]
    width = values["embedding_size"] or hidden
    positions = values["max_position_embeddings"] if values["position_biased_input"] else 0
    sizes = Tensors((values["vocab_size"] + positions + values["type_vocab_size"]) * width) + norm(hidden)
    if width != hidden:
        sizes += Matrix(width, hidden, bias=False).tensors
    if values["relative_attention"]:
        # position_buckets takes precedence over max_relative_positions, and that over max_position_embeddings.
        reach = values["max_relative_positions"]
        reach = reach if reach >= 1 else values["max_position_embeddings"]
        reach = values["position_buckets"] if values["position_buckets"] > 0 else reach
        sizes += Tensors(2 * reach * hidden)
    if "layer_norm" in _items(values["norm_rel_ebd"]):
        sizes += norm(hidden)
    if values["conv_kernel_size"] > 0:
        taps = hidden // values["conv_groups"] * values["conv_kernel_size"]
        sizes += Tensors(hidden * taps, hidden) + norm(hidden)
    return sizes


def deberta_layer_rest(values: Values, layer: int) -> Tensors:
    """Return two norms, and D x D for position keys and queries unless they share the matrices of the content."""
    sizes = two_norms(values, layer)
    if values["relative_attention"] and not values["share_att_key"]:
        for _ in {"c2p", "p2c"}.intersection(_items(values["pos_att_type"])):
            sizes += Matrix(values["hidden_size"], values["hidden_size"]).tensors
    return sizes


def modernbert_outside(values: Values) -> Tensors:
    """Return V x D, a norm, and the norm after the last layer; rotary positions have no parameters."""
    one = norm(values["hidden_size"], values["norm_bias"])
    return Tensors(values["vocab_size"] * values["hidden_size"]) + one + one


def modernbert_layer_rest(values: Values, layer: int) -> Tensors:
    """Return a norm before attention (not in the first layer, which follows the embedding norm) and before the MLP."""
    one = norm(values["hidden_size"], values["norm_bias"])
    return one if layer == 0 else one + one


def _items(value: str | list[str] | None) -> list[str]:
    """Return the items of a list that a config spells as `a|b`, as a list, or omits."""
    return [word.strip() for word in value.lower().split("|")] if isinstance(value, str) else value or []

"""The supported encoder families: where transformers keeps their modules, and their sizes by config.json.

This is the only file that knows module names; the counter and the model use it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.families import sizes
from submillion.families.sizes import Matrix, Tensors, Values
from submillion.recipe import ALL_LINEAR

SEPARATE = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
"""Targets of a family that has a matrix for each of query, key and value, in the order of the computation."""


def _named(*modules: str) -> dict[str, str]:
    """Return the modules below a layer by target, given in the order of SEPARATE."""
    return dict(zip(SEPARATE, modules, strict=True))


@dataclass(frozen=True)
class Inventory:
    """All parameters of an encoder with its classification head, each counted once."""

    hidden: int
    """D, the width of the hidden states."""
    outside: Tensors
    """The encoder without its layers: embeddings, relative positions, closing norm."""
    layers: tuple[Tensors, ...]
    """Each layer, lowest first, its target matrices included."""
    matrices: Mapping[str, Matrix]
    """The target matrices of a layer, in the order of the computation; the same in every layer."""
    projection: Matrix
    norm: Tensors
    output: Matrix

    @cached_property
    def all(self) -> Tensors:
        """Everything together."""
        head = (self.projection.tensors, self.norm, self.output.tensors)
        return sum((*self.layers, *head), self.outside)


@dataclass(frozen=True)
class KernelModules:
    """The modules that the packed kernels read from a layer, beside its target matrices; names are below the layer."""

    norms: tuple[str, str]
    """The norm after attention and the norm after the feed-forward part."""
    hidden_dropout: str
    """The dropout of the layer's two outputs."""
    attention_dropout: str
    """The dropout of the attention probabilities."""
    position_bias: bool = False
    """Whether all layers add one bias by relative position to their attention scores (arXiv:2004.09297, 2.3)."""


def _from_zero(config: Mapping[str, Any]) -> int | None:
    """Positions count from 0, padding tokens included."""
    return None


def _from_pad_token(config: Mapping[str, Any]) -> int | None:
    """Positions count from the padding token's id + 1 and skip padding tokens."""
    padding = config.get("pad_token_id")
    return 1 if padding is None else int(padding)


def _from_one(config: Mapping[str, Any]) -> int | None:
    """As `_from_pad_token`, but with 1 whatever the padding token's id is."""
    return 1


@dataclass(frozen=True)
class Family:
    """One family: module names inside its AutoModelForSequenceClassification, and sizes from a config.

    Where nothing else is said, the encoder is laid out as BERT's is.
    """

    name: str
    """`model_type` in config.json."""
    base: str
    """The encoder without its head, e.g. `roberta`."""
    projection: str
    """The head's linear layer between the pooled last hidden state and the output layer."""
    output: str
    """The head's last linear layer; it gives the logits."""
    defaults: Mapping[str, Any]
    """What a config.json may leave out, as transformers fills it in; no other keys are read."""
    norm: str | None = None
    """The norm between projection and output, where the family has one with parameters."""
    layer_list: str = "encoder.layer"
    """The list of layers, below `base`."""
    suffixes: Mapping[str, str] = field(
        default_factory=lambda: _named(
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )
    )
    """The module of each target, below a layer."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The family's own words in config.json for common ones, e.g. `dim` for `hidden_size`."""
    outside: Callable[[Values], Tensors] = sizes.bert_outside
    """Sizes of the encoder without its layers."""
    beside: Callable[[Values, int], Tensors] = sizes.two_norms
    """Sizes of one layer without its target matrices."""
    matrices: Callable[[Values], dict[str, Matrix]] = sizes.separate
    """Sizes of the target matrices; the same in every layer."""
    hidden_dropouts: tuple[str, ...] = ("hidden_dropout_prob",)
    """The keys of config.json that hold the dropout of hidden states."""
    attention_dropouts: tuple[str, ...] = ("attention_probs_dropout_prob",)
    """The keys of config.json that hold the dropout of attention probabilities."""
    head_dropout: str = "dropout"
    """The name of the dropout before the output layer, in the module that holds the output layer."""
    position_padding: Callable[[Mapping[str, Any]], int | None] = _from_zero
    """Gives the padding id that positions are counted from (the first is id + 1), or None if they start at 0."""
    attention_interface: bool = False
    """Whether its transformers code calls attention through AttentionInterface, forwards extra keyword arguments to
    it, and takes ready masks [B, 1, S, S]."""
    kernels: KernelModules | None = None
    """What the packed kernels need to know; None if they do not run this family."""

    @property
    def layers(self) -> str:
        """The list of layers, e.g. `roberta.encoder.layer`."""
        return f"{self.base}.{self.layer_list}"

    @property
    def targets(self) -> tuple[str, ...]:
        """The matrices that may carry an adapter, in the order of the computation."""
        return tuple(self.suffixes)

    def expand(self, targets: Iterable[str]) -> list[str]:
        """Return the targets in the family's order, each once; `all-linear` stands for all of them.

        Raises:
            BadInput: a target is not a matrix of this family.
        """
        wanted = set(targets)
        unknown = sorted(wanted - {*self.targets, ALL_LINEAR})
        if unknown or not wanted:
            expected = f"{ALL_LINEAR}, or some of {', '.join(self.targets)} (a {self.name} encoder)"
            remedy = did_you_mean(unknown[0], self.targets) if unknown else ""
            if "qkv" in self.targets and wanted & {"query", "key", "value"}:
                remedy = f"{self.name} computes query, key and value with one matrix: qkv."
            elif "qkv" in wanted:
                remedy = f"{self.name} has a matrix for each: query, key, value."
            raise BadInput(Problem("lora.targets", expected, ", ".join(unknown) or "none", remedy))
        return [target for target in self.targets if ALL_LINEAR in wanted or target in wanted]

    def target_module(self, config: Mapping[str, Any], target: str, layer: int) -> str:
        """Return the dotted name of one matrix, e.g. `roberta.encoder.layer.3.attention.self.query`.

        Raises:
            BadInput: the encoder has no such target or layer.
        """
        (name,) = self.expand([target])
        last = self.n_layers(config) - 1
        if not 0 <= layer <= last:
            raise BadInput(Problem("lora.layers", f"layers from 0 to {last}", str(layer)))
        return f"{self.layers}.{layer}.{self.suffixes[name]}"

    def embedding_modules(self, config: Mapping[str, Any]) -> list[str]:
        """Return the modules whose output enters the first layer; the last of them hands it over."""
        values = self.values(config)
        embeddings = [f"{self.base}.embeddings"]
        # DeBERTa steps from embedding to hidden size inside its embeddings, ELECTRA after them.
        if self.name == "electra" and values["embedding_size"] != values["hidden_size"]:
            return [*embeddings, f"{self.base}.embeddings_project"]
        return embeddings

    def longest_input(self, config: Mapping[str, Any]) -> int:
        """Return the number of tokens, special ones included, that the encoder has positions for.

        roberta-base has 514 position vectors; those of ids up to its padding id 1 are no positions: 512.
        """
        positions = int(config.get("max_position_embeddings", 512))
        padding = self.position_padding(config)
        return positions if padding is None else positions - padding - 1

    def n_layers(self, config: Mapping[str, Any]) -> int:
        """Return the number of layers."""
        return int(self.values(config)["num_hidden_layers"])

    def inventory(self, config: Mapping[str, Any], num_labels: int) -> Inventory:
        """Return the parameters of the encoder and its head for `num_labels` classes."""
        values = self.values(config)
        hidden, matrices = values["hidden_size"], self.matrices(values)
        adaptable = sum((matrix.tensors for matrix in matrices.values()), Tensors())
        return Inventory(
            hidden=hidden,
            outside=self.outside(values),
            layers=tuple(adaptable + self.beside(values, i) for i in range(values["num_hidden_layers"])),
            matrices=matrices,
            projection=sizes.projection(values),
            norm=sizes.norm(hidden, values["norm_bias"]) if self.norm else Tensors(),
            output=Matrix(hidden, num_labels),
        )

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sizes and switches of a config under their common names, missing ones filled in.

        Raises:
            BadInput: a size is not a number that a size can be; all such sizes are told.
        """
        renamed = {common: config[own] for common, own in self.keys.items() if own in config}
        values = {key: config.get(key, renamed.get(key, usual)) for key, usual in self.defaults.items()}
        problems = [
            Problem(
                f"the encoder's config.json, {key}", f"a whole number from {sizes.SMALLEST[key]}", repr(value)
            )
            for key, value in values.items()
            # Where transformers' own value is None, None says: as wide as the hidden states.
            if key in sizes.SMALLEST
            and not (value is self.defaults[key] is None or sizes.is_size(key, value))
        ]
        if problems:
            raise BadInput(problems)
        return values


_BERT_SIZES = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
_DENSE, _OUT = "classifier.dense", "classifier.out_proj"
_BERT_KERNELS = KernelModules(
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    hidden_dropout="attention.output.dropout",
    attention_dropout="attention.self.dropout",
)

_BERT = Family(
    "bert",
    "bert",
    "bert.pooler.dense",
    "classifier",
    _BERT_SIZES,
    attention_interface=True,
    kernels=_BERT_KERNELS,
)
_ROBERTA = Family(
    "roberta",
    "roberta",
    _DENSE,
    _OUT,
    _BERT_SIZES | {"vocab_size": 50265},
    position_padding=_from_pad_token,
    attention_interface=True,
    kernels=_BERT_KERNELS,
)
_XLM_ROBERTA = replace(_ROBERTA, name="xlm-roberta", defaults=_BERT_SIZES)
_ELECTRA = Family(
    "electra",
    "electra",
    _DENSE,
    _OUT,
    _BERT_SIZES
    | {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    attention_interface=True,
)
_MPNET = Family(
    "mpnet",
    "mpnet",
    _DENSE,
    _OUT,
    {
        "vocab_size": 30527,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "relative_attention_num_buckets": 32,
    },
    suffixes=_named(*(f"attention.attn.{name}" for name in "qkvo"), "intermediate.dense", "output.dense"),
    outside=sizes.mpnet_outside,
    position_padding=_from_one,
    kernels=KernelModules(
        norms=("attention.LayerNorm", "output.LayerNorm"),
        hidden_dropout="attention.dropout",
        attention_dropout="attention.attn.dropout",
        position_bias=True,
    ),
)
_DISTILBERT = Family(
    "distilbert",
    "distilbert",
    "pre_classifier",
    "classifier",
    {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "hidden_dim": 3072,
        "max_position_embeddings": 512,
    },
    layer_list="transformer.layer",
    suffixes=_named(*(f"attention.{name}_lin" for name in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2"),
    keys={"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    hidden_dropouts=("dropout",),
    attention_dropouts=("attention_dropout",),
    attention_interface=True,
)
_DEBERTA = Family(
    "deberta-v2",
    "deberta",
    "pooler.dense",
    "classifier",
    {
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "embedding_size": None,
        "pooler_hidden_size": None,
        "position_biased_input": True,
        "relative_attention": False,
        "max_relative_positions": -1,
        "position_buckets": -1,
        "pos_att_type": None,
        "share_att_key": False,
        "norm_rel_ebd": "none",
        "conv_kernel_size": 0,
        "conv_groups": 1,
    },
    suffixes=_named(
        *(f"attention.self.{name}_proj" for name in ("query", "key", "value")),
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    outside=sizes.deberta_outside,
    beside=sizes.deberta_beside,
)
_MODERNBERT = Family(
    "modernbert",
    "model",
    "head.dense",
    "classifier",
    {
        "vocab_size": 50368,
        "hidden_size": 768,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
    },
    norm="head.norm",
    layer_list="layers",
    suffixes={
        "qkv": "attn.Wqkv",
        "attention_output": "attn.Wo",
        "ffn_up": "mlp.Wi",
        "ffn_down": "mlp.Wo",
    },
    outside=sizes.modernbert_outside,
    beside=sizes.modernbert_beside,
    matrices=sizes.fused,
    hidden_dropouts=("embedding_dropout", "mlp_dropout"),
    attention_dropouts=("attention_dropout",),
    head_dropout="drop",
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (_ROBERTA, _XLM_ROBERTA, _BERT, _DISTILBERT, _MPNET, _ELECTRA, _DEBERTA, _MODERNBERT)
}


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the family that a config.json belongs to.

    Raises:
        BadInput: it names no model_type, or one that is not supported.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        found = "no model_type" if kind is None else repr(kind)
        remedy = did_you_mean(str(kind), FAMILIES)
        raise BadInput(
            Problem("the encoder's config.json, model_type", f"one of {', '.join(FAMILIES)}", found, remedy)
        )
    return FAMILIES[kind]

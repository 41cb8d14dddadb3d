"""A family of encoders: where transformers keeps its modules, and its sizes by config.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.families import limits, sizes
from submillion.families.sizes import Matrix, Tensors, Values
from submillion.recipe import ALL_LINEAR

SEPARATE = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
"""Targets of a family with separate matrices for query, key and value, in the order of computation."""


def separate_modules(*modules: str) -> dict[str, str]:
    """Return the modules of a layer by target; `modules` are names below the layer, in the order of SEPARATE."""
    return dict(zip(SEPARATE, modules, strict=True))


@dataclass(frozen=True)
class Inventory:
    """The parameters of an encoder with its classification head, each counted once."""

    hidden: int
    """D, the width of the hidden states."""
    outside: Tensors
    """The encoder without its layers: embeddings, relative positions, final norm."""
    layers: tuple[Tensors, ...]
    """Each layer including its target matrices, lowest first."""
    matrices: Mapping[str, Matrix]
    """The target matrices of a layer, in the order of computation; the same in every layer."""
    projection: Matrix
    norm: Tensors
    output: Matrix

    def without_projection(self) -> Inventory:
        """Return a copy whose head is the output layer alone, as after pooling by the mean."""
        return replace(self, projection=Matrix(0, 0, bias=False), norm=Tensors())

    @cached_property
    def all(self) -> Tensors:
        """All parameters."""
        head = (self.projection.tensors, self.norm, self.output.tensors)
        return sum((*self.layers, *head), self.outside)


@dataclass(frozen=True)
class EmbeddingModules:
    """The modules below an encoder's embeddings."""

    words: str = "word_embeddings"
    positions: str | None = "position_embeddings"
    """None if positions are no part of the embeddings."""
    norm: str = "LayerNorm"
    dropout: str = "dropout"


@dataclass(frozen=True)
class KernelModules:
    """The modules that the packed kernels read from a layer, beside its target matrices; names are below the layer."""

    norms: tuple[str, str]
    """The norms after attention and after the feed-forward part, or, if `pre_norm` is set, before them."""
    output_dropouts: tuple[str | None, str]
    """The dropout of the attention part's output, if the family has one, and of the feed-forward part's."""
    attention_dropout: str
    """The dropout of the attention probabilities."""
    activation: str = "hidden_act"
    """The key of config.json that holds the name of the feed-forward part's activation."""
    position_bias: bool = False
    """Whether all layers add one bias by relative position to their attention scores (arXiv:2004.09297, 2.3)."""
    embeddings: EmbeddingModules = EmbeddingModules()
    """The parts of the embeddings."""
    relative_positions: bool = False
    """Whether attention is disentangled: scores have terms of content and relative position (arXiv:2006.03654)."""
    pre_norm: bool = False
    """Whether layers are built as ModernBERT's: norms before attention and before a gated feed-forward part, rotary
    positions, one matrix for query, key and value, and one for the two halves of the feed-forward part."""


def from_zero(_: Mapping[str, Any]) -> int | None:
    """Return None: positions count from 0, including padding tokens."""
    return None


def from_pad_token(config: Mapping[str, Any]) -> int | None:
    """Return the padding token's id: positions count from this id + 1 and skip padding tokens."""
    padding = config.get("pad_token_id")
    return 1 if padding is None else int(padding)


def from_one(_: Mapping[str, Any]) -> int | None:
    """Return 1: as `from_pad_token`, but whatever the padding token's id is."""
    return 1


@dataclass(frozen=True)
class Family:
    """One family: module names in its AutoModelForSequenceClassification, and sizes from a config.

    Defaults describe the layout of BERT.
    """

    name: str
    """`model_type` in config.json."""
    base: str
    """The encoder without its head, e.g. `roberta`."""
    projection: str
    """The head's linear layer between the pooled last hidden state and the output layer."""
    output: str
    """The head's last linear layer, which returns the logits."""
    defaults: Mapping[str, Any]
    """The keys of config.json that are read, with the defaults of transformers for missing ones."""
    smallest: Mapping[str, int] = field(default_factory=dict)
    """The smallest valid sizes, where they differ from those of `limits.BOUNDS`."""
    norm: str | None = None
    """The norm between projection and output, if the family has one with parameters."""
    final_norm: str | None = None
    """The norm after the last layer, below `base`, if the family has one."""
    pooling_key: str | None = None
    """The key of config.json that is `mean` if the head averages the last states, where the family has the choice."""
    layer_list: str = "encoder.layer"
    """The list of layers, below `base`."""
    suffixes: Mapping[str, str] = field(
        default_factory=lambda: separate_modules(
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
    """The family's own keys of config.json by common key, e.g. `dim` for `hidden_size`."""
    outside: Callable[[Values], Tensors] = sizes.bert_outside
    """Sizes of the encoder without its layers."""
    layer_rest: Callable[[Values, int], Tensors] = sizes.two_norms
    """Sizes of one layer without its target matrices."""
    matrices: Callable[[Values], dict[str, Matrix]] = sizes.separate
    """Sizes of the target matrices; the same in every layer."""
    hidden_dropouts: tuple[str, ...] = ("hidden_dropout_prob",)
    """The keys of config.json that hold the dropout of hidden states."""
    attention_dropouts: tuple[str, ...] = ("attention_probs_dropout_prob",)
    """The keys of config.json that hold the dropout of attention probabilities."""
    head_dropout: str = "dropout"
    """The name of the dropout before the output layer, in the module that contains the output layer."""
    position_padding: Callable[[Mapping[str, Any]], int | None] = from_zero
    """Returns the padding id that positions are counted from (the first is id + 1), or None if they start at 0."""
    attention_interface: bool = False
    """Whether its transformers code calls attention through AttentionInterface, forwards extra keyword arguments to
    it, and accepts prepared masks [B, 1, S, S]."""
    embedding_projection: str | None = None
    """The projection from embedding to hidden size after the embeddings, below `base`; used if the two differ."""
    needs_layers: bool = False
    """Whether its transformers code fails if the encoder has no layers, as where the head alone runs."""
    kernels: KernelModules = field(kw_only=True)
    """The modules that the packed kernels read."""

    headless: bool = False
    """Whether the names are those of the encoder alone, transformers' AutoModel, which has no head."""

    def alone(self) -> Family:
        """Return the family with the names of its AutoModel."""
        return replace(self, headless=True)

    @property
    def layers(self) -> str:
        """The list of layers, e.g. `roberta.encoder.layer`."""
        return self.below(self.layer_list)

    def below(self, module: str) -> str:
        """Return the name of a module of the encoder in the model, e.g. `roberta.embeddings`."""
        return module if self.headless else f"{self.base}.{module}"

    @property
    def targets(self) -> tuple[str, ...]:
        """The matrices that may carry an adapter, in the order of computation."""
        return tuple(self.suffixes)

    def expand(self, targets: Iterable[str]) -> list[str]:
        """Return the targets in the family's order, each once; `all-linear` expands to all of them.

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
                remedy = f"{self.name} has separate matrices: query, key, value."
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
        """Return the modules before the first layer; the output of the last one enters it."""
        values = self.values(config)
        embeddings = [self.below("embeddings")]
        if self.embedding_projection and values["embedding_size"] != values["hidden_size"]:
            return [*embeddings, self.below(self.embedding_projection)]
        return embeddings

    def longest_input(self, config: Mapping[str, Any]) -> int:
        """Return the maximum number of tokens, special tokens included, that the encoder has positions for.

        roberta-base has 514 position vectors; those up to its padding id 1 are not used, which leaves 512.
        """
        positions = int(self.values(config)["max_position_embeddings"])
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
            layers=tuple(adaptable + self.layer_rest(values, i) for i in range(values["num_hidden_layers"])),
            matrices=matrices,
            projection=sizes.projection(values),
            norm=sizes.norm(hidden, values["norm_bias"]) if self.norm else Tensors(),
            output=Matrix(hidden, num_labels),
        )

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sizes and switches of a config under their common keys, with defaults for missing ones.

        Raises:
            BadInput: a size is not a valid number, is beyond any encoder's, or contradicts another one; the error lists
                all of them.
        """
        renamed = {common: config[own] for common, own in self.keys.items() if own in config}
        values = {key: config.get(key, renamed.get(key, default)) for key, default in self.defaults.items()}
        optional = [key for key, default in self.defaults.items() if default is None]
        problems = limits.size_problems(values, optional, self.smallest) or limits.relation_problems(
            config, values
        )
        if problems:
            raise BadInput(problems)
        return values

"""All facts that differ by encoder family, in one table; budget, loading and executions read them from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from submillion.errors import BadInput, Problem, did_you_mean
from submillion.families import sizes
from submillion.families.family import (
    EmbeddingModules,
    Family,
    KernelModules,
    from_one,
    from_pad_token,
    separate_modules,
)

_BERT_SIZES = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
# Token types are optional in DeBERTa alone: the others add the embedding of type 0 to every token.
_TYPED = {"type_vocab_size": 1}
_DENSE, _OUT = "classifier.dense", "classifier.out_proj"
_BERT_KERNELS = KernelModules(
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    output_dropouts=("attention.output.dropout", "output.dropout"),
    attention_dropout="attention.self.dropout",
)

_BERT = Family(
    "bert",
    "bert",
    "bert.pooler.dense",
    "classifier",
    _BERT_SIZES,
    smallest=_TYPED,
    attention_interface=True,
    kernels=_BERT_KERNELS,
)
_ROBERTA = Family(
    "roberta",
    "roberta",
    _DENSE,
    _OUT,
    _BERT_SIZES | {"vocab_size": 50265},
    smallest=_TYPED,
    position_padding=from_pad_token,
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
    smallest=_TYPED,
    attention_interface=True,
    embedding_projection="embeddings_project",  # DeBERTa has one inside its embeddings
    kernels=_BERT_KERNELS,
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
    suffixes=separate_modules(
        *(f"attention.attn.{name}" for name in "qkvo"), "intermediate.dense", "output.dense"
    ),
    outside=sizes.mpnet_outside,
    position_padding=from_one,
    kernels=KernelModules(
        norms=("attention.LayerNorm", "output.LayerNorm"),
        output_dropouts=("attention.dropout", "output.dropout"),
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
    suffixes=separate_modules(
        *(f"attention.{name}_lin" for name in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2"
    ),
    keys={"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    hidden_dropouts=("dropout",),
    attention_dropouts=("attention_dropout",),
    attention_interface=True,
    kernels=KernelModules(
        norms=("sa_layer_norm", "output_layer_norm"),
        output_dropouts=(None, "ffn.dropout"),
        attention_dropout="attention.dropout",
        activation="activation",
    ),
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
    suffixes=separate_modules(
        *(f"attention.self.{name}_proj" for name in ("query", "key", "value")),
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    outside=sizes.deberta_outside,
    layer_rest=sizes.deberta_layer_rest,
    needs_layers=True,
    kernels=replace(_BERT_KERNELS, relative_positions=True),
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
        "max_position_embeddings": 8192,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
    },
    norm="head.norm",
    final_norm="final_norm",
    pooling_key="classifier_pooling",
    layer_list="layers",
    suffixes={
        "qkv": "attn.Wqkv",
        "attention_output": "attn.Wo",
        "ffn_up": "mlp.Wi",
        "ffn_down": "mlp.Wo",
    },
    outside=sizes.modernbert_outside,
    layer_rest=sizes.modernbert_layer_rest,
    matrices=sizes.fused,
    hidden_dropouts=("embedding_dropout", "mlp_dropout"),
    attention_dropouts=("attention_dropout",),
    head_dropout="drop",
    kernels=KernelModules(
        norms=("attn_norm", "mlp_norm"),
        output_dropouts=("attn.out_drop", "mlp.drop"),
        attention_dropout="attn.out_drop",  # of the same share; that of the probabilities is no module
        activation="hidden_activation",
        embeddings=EmbeddingModules("tok_embeddings", None, "norm", "drop"),
        pre_norm=True,
    ),
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

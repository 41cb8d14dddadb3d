"""Models for counting: transformers and peft on the meta device, random small configs, and real configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from submillion.recipe import HeadRecipe, LoraRecipe


@dataclass(frozen=True)
class Layout:
    """Module names of one family, repeated here independently of the project's table."""

    layers: str
    targets: dict[str, str]
    projection: str
    output: str
    norm: str | None = None


def _targets(*modules: str) -> dict[str, str]:
    names = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
    return dict(zip(names, modules, strict=True))


_SELF = [f"attention.self.{name}" for name in ("query", "key", "value")]
_REST = ["attention.output.dense", "intermediate.dense", "output.dense"]
_HEAD = ("classifier.dense", "classifier.out_proj")
LAYOUTS = {
    "roberta": Layout("roberta.encoder.layer", _targets(*_SELF, *_REST), *_HEAD),
    "xlm-roberta": Layout("roberta.encoder.layer", _targets(*_SELF, *_REST), *_HEAD),
    "bert": Layout("bert.encoder.layer", _targets(*_SELF, *_REST), "bert.pooler.dense", "classifier"),
    "distilbert": Layout(
        "distilbert.transformer.layer",
        _targets(*(f"attention.{name}_lin" for name in ("q", "k", "v", "out")), "ffn.lin1", "ffn.lin2"),
        "pre_classifier",
        "classifier",
    ),
    "mpnet": Layout(
        "mpnet.encoder.layer",
        _targets(*(f"attention.attn.{name}" for name in "qkvo"), *_REST[1:]),
        *_HEAD,
    ),
    "electra": Layout("electra.encoder.layer", _targets(*_SELF, *_REST), *_HEAD),
    "deberta-v2": Layout(
        "deberta.encoder.layer",
        _targets(*(f"{name}_proj" for name in _SELF), *_REST),
        "pooler.dense",
        "classifier",
    ),
    "modernbert": Layout(
        "model.layers",
        {"qkv": "attn.Wqkv", "attention_output": "attn.Wo", "ffn_up": "mlp.Wi", "ffn_down": "mlp.Wo"},
        "head.dense",
        "classifier",
        "head.norm",
    ),
}

_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
REAL = {
    "roberta-base": _BASE
    | {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    "xlm-roberta-base": _BASE
    | {
        "model_type": "xlm-roberta",
        "vocab_size": 250002,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    "bert-base-uncased": _BASE
    | {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2},
    "all-MiniLM-L6-v2": {
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    "distilbert-base-uncased": {
        "model_type": "distilbert",
        "dim": 768,
        "hidden_dim": 3072,
        "n_layers": 6,
        "n_heads": 12,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    "mpnet-base": _BASE
    | {
        "model_type": "mpnet",
        "vocab_size": 30527,
        "max_position_embeddings": 514,
        "relative_attention_num_buckets": 32,
    },
    "electra-small-discriminator": {
        "model_type": "electra",
        "embedding_size": 128,
        "hidden_size": 256,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    "electra-base-discriminator": _BASE
    | {
        "model_type": "electra",
        "embedding_size": 768,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    "deberta-v3-base": _BASE
    | {
        "model_type": "deberta-v2",
        "vocab_size": 128100,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "relative_attention": True,
        "max_relative_positions": -1,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "pooler_hidden_size": 768,
    },
    "ModernBERT-base": {
        "model_type": "modernbert",
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "vocab_size": 50368,
        "max_position_embeddings": 8192,
        "attention_bias": False,
        "classifier_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
    },
}


def meta_model(config: dict[str, Any], num_labels: int) -> Any:
    """Return the classifier that transformers builds from a config, with parameters on the meta device."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with torch.device("meta"):
        settings = AutoConfig.for_model(**config, num_labels=num_labels)
        return AutoModelForSequenceClassification.from_config(settings)


def with_peft(model: Any, model_type: str, lora: LoraRecipe, head: HeadRecipe, layers: list[int]) -> Any:
    """Wrap a model as a user of plain peft does, without the project's table of names."""
    from peft import AdaLoraConfig, LoraConfig, VeraConfig, get_peft_model

    layout = LAYOUTS[model_type]
    targets = list(layout.targets) if lora.targets == ["all-linear"] else lora.targets
    modules = [f"{layout.layers}.{layer}.{layout.targets[name]}" for layer in layers for name in targets]
    trained = [layout.output]
    if head.kind == "stock":
        trained += [name for name in (layout.projection, layout.norm) if name]
    in_head = [layout.projection] if head.kind == "lora" else []
    if (
        lora.variant == "bitfit"
    ):  # peft has no BitFit: use LoRA with biases on no module, or on the head's only
        modules = []
    common: dict[str, Any] = {
        "target_modules": modules + in_head or "dummy-target-modules",
        "modules_to_save": trained,
        "bias": lora.bias,
    }
    if model_type == "distilbert" and head.kind != "stock":
        # peft matches name suffixes, and `pre_classifier` ends in `classifier`: unfreeze the latter by hand.
        del common["modules_to_save"]
    config: Any
    if lora.variant == "vera":
        bias = "vera_only" if lora.bias == "lora_only" else lora.bias
        config = VeraConfig(**common | {"bias": bias}, r=lora.r)
    elif lora.variant == "adalora":
        config = AdaLoraConfig(**common, init_r=lora.r, total_step=9)
    else:
        use_dora, pattern = lora.variant == "dora", dict.fromkeys(in_head, head.r)
        config = LoraConfig(**common, r=lora.r, rank_pattern=pattern, use_dora=use_dora)
    wrapped = get_peft_model(model, config)
    if "modules_to_save" not in common:
        wrapped.base_model.model.classifier.requires_grad_(True)
    return wrapped


def trainable_and_total(model: Any) -> tuple[int, int]:
    """Return the trainable and the total parameters of a peft model.

    Excludes peft's unused copy of the original trained modules, which peft counts and with `bias="all"` even marks as
    trainable. AdaLoRA's `ranknum`, the rank that an adapter divides by, is not trainable: peft's layer freezes it and
    its files omit it, though peft marks it as trainable later.
    """
    used = {name: value for name, value in model.named_parameters() if ".original_module." not in name}
    trained = [value for name, value in used.items() if value.requires_grad and ".ranknum." not in name]
    return sum(value.numel() for value in trained), sum(value.numel() for value in used.values())


@st.composite
def small_configs(draw: st.DrawFn, model_type: str) -> dict[str, Any]:
    """Draw the config of a small encoder, with every option that changes its size."""
    heads = draw(st.integers(1, 4))
    hidden = 2 * heads * draw(st.integers(1, 8))
    layers, inner = draw(st.integers(1, 4)), draw(st.integers(3, 40))
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": draw(st.integers(5, 90)),
        "max_position_embeddings": draw(st.integers(8, 40)),
        "pad_token_id": 0,
    }
    if model_type == "distilbert":
        return config | {"dim": hidden, "hidden_dim": inner, "n_layers": layers, "n_heads": heads}
    config |= {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }
    if model_type == "modernbert":
        special = dict.fromkeys(("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 1)
        options = ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias")
        return config | special | {name: draw(st.booleans()) for name in options}
    if model_type == "mpnet":
        return config | {"relative_attention_num_buckets": draw(st.integers(4, 40)), "pad_token_id": 1}
    config["type_vocab_size"] = draw(st.integers(0 if model_type == "deberta-v2" else 1, 3))
    if model_type == "electra":
        config["embedding_size"] = draw(st.sampled_from([hidden, hidden + 3]))
    if model_type == "deberta-v2":
        config |= draw(_deberta_options(hidden))
    return config


@st.composite
def _deberta_options(draw: st.DrawFn, hidden: int) -> dict[str, Any]:
    """Draw some of DeBERTa's options; missing ones are absent, as in older configs of the hub."""
    options = {
        "relative_attention": st.booleans(),
        "position_biased_input": st.booleans(),
        "share_att_key": st.booleans(),
        "pos_att_type": st.sampled_from([None, [], ["c2p"], ["p2c", "c2p"], "p2c|c2p", " C2P | none"]),
        "position_buckets": st.sampled_from([-1, 0, 6]),
        "max_relative_positions": st.sampled_from([-1, 0, 9]),
        "norm_rel_ebd": st.sampled_from(["none", "layer_norm", "none|Layer_Norm"]),
        "conv_kernel_size": st.sampled_from([0, 3]),
        "conv_groups": st.sampled_from([1, 2]),
        "embedding_size": st.sampled_from([hidden, hidden + 5]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(options))))
    return {name: draw(options[name]) for name in sorted(chosen)}


@st.composite
def lora_sections(
    draw: st.DrawFn, model_type: str, n_layers: int, hidden: int, variant: str = "lora"
) -> LoraRecipe:
    """Draw rank, targets, layers and biases for an encoder."""
    indices = st.lists(st.integers(0, n_layers - 1), min_size=1, max_size=n_layers, unique=True)
    top = st.integers(1, n_layers).map(lambda count: f"top-{count}")
    names = st.lists(st.sampled_from(sorted(LAYOUTS[model_type].targets)), min_size=1, unique=True)
    return LoraRecipe(
        variant=variant,
        r=draw(st.integers(1, hidden)),
        targets=draw(st.one_of(st.just(["all-linear"]), names)),
        layers=draw(st.one_of(st.just("all"), top, indices)),
        bias="all" if variant == "bitfit" else draw(st.sampled_from(["none", "all", "lora_only"])),
    )


def head_sections(hidden: int) -> st.SearchStrategy[HeadRecipe]:
    """Draw one of the three heads."""
    kinds = st.sampled_from(["stock", "linear", "lora"])
    return st.builds(HeadRecipe, kind=kinds, r=st.integers(1, hidden))

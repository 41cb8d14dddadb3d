"""Checks whether the packed kernels can run a classifier, and gives the reason if they cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from submillion.model.execution.kernel_weights import ffn_size
from submillion.model.stack import has_trainable_parameters

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier

BLOCK = 32  # channels of a block, the smallest unit of the kernels


def unsupported(classifier: Classifier, layers: int | None = None) -> str | None:
    """Return why the kernels cannot run this classifier, or None if they can.

    Args:
        classifier: any.
        layers: how many layers are to run, from the lowest; None runs all.
    """
    family, config = classifier.family, classifier.module.get_base_model().config
    if classifier.device.type != "cpu":
        return f"the kernels run on CPUs, the model is on {classifier.device.type}"
    activation = getattr(config, family.kernels.activation)
    if activation != "gelu":
        return f"the kernels compute gelu, the encoder {activation}"
    embedding_size = classifier.module.get_base_model().get_input_embeddings().embedding_dim
    heads = config.num_attention_heads
    sizes = (
        embedding_size,
        config.hidden_size,
        ffn_size(family, classifier.config),
        config.hidden_size // heads,
    )
    if any(size % BLOCK for size in sizes) or config.hidden_size % heads:
        return f"embedding, hidden, intermediate and head size {sizes} are not all multiples of {BLOCK}"
    position_kind = getattr(config, "position_embedding_type", "absolute")
    if getattr(config, "is_decoder", False) or position_kind not in ("absolute", None):
        return "the encoder's attention is of an unsupported kind"
    if family.kernels.pre_norm:
        kinds = {rotation["rope_type"] for rotation in config.rope_parameters.values()}
        if kinds != {"default"}:
            return (
                f"the kernels rotate positions by default angles, the encoder by {', '.join(sorted(kinds))}"
            )
    if family.kernels.relative_positions and (reason := _unsupported_positions(classifier)):
        return reason
    if any(map(has_trainable_parameters, classifier.stack.embedding_modules)):
        return "the embeddings have trained parameters"
    norm = classifier.stack.final_norm
    if layers is None and norm is not None and has_trainable_parameters(norm):
        return "the norm after the last layer has trained parameters"
    reasons = (
        _unsupported_layer(index, layer, classifier.family.suffixes.values())
        for index, layer in enumerate(list(classifier.stack.layers)[:layers])
    )
    return next(filter(None, reasons), None)


def _unsupported_positions(classifier: Classifier) -> str | None:
    """Return why the kernels cannot compute the encoder's disentangled attention, or None if they can."""
    owner: Any = classifier.stack.owner
    attention: Any = classifier.stack.layers[0].get_submodule("attention.self")
    if owner.conv is not None:
        return "the kernels have no convolution, the encoder has one after its first layer"
    if not attention.relative_attention:
        return "the kernels compute attention with relative positions, the encoder has none"
    if not attention.share_att_key:
        return "the kernels project positions with the matrices of keys and queries, the encoder with others"
    if attention.all_head_size != classifier.hidden_size:
        return f"the heads have {attention.all_head_size} channels, the layers {classifier.hidden_size}"
    if classifier.stack.embedding_modules[0].embed_proj is not None:
        return "embedding and hidden size differ"
    outside = (child for name, child in owner.named_children() if name != classifier.stack.name)
    return (
        "the relative positions have trained parameters"
        if any(map(has_trainable_parameters, outside))
        else None
    )


def _unsupported_layer(index: int, layer: nn.Module, target_modules: Iterable[str]) -> str | None:
    """Return why the kernels cannot run one layer, or None if they can."""
    lora_weights: set[int] = set()
    for name in target_modules:
        module: Any = layer.get_submodule(name)
        if hasattr(module, "lora_E") or hasattr(module, "vera_lambda_b"):
            return "an adapter is not LoRA"
        if not hasattr(module, "lora_A"):
            continue
        if list(module.lora_A) != ["default"] or module.merged:
            return "an adapter is not a single unmerged LoRA"
        a, b = module.lora_A["default"], module.lora_B["default"]
        if b.bias is not None:
            return "an adapter has a bias"
        lora_weights |= {id(a.weight), id(b.weight)}
        if module.use_dora.get("default"):
            lora_weights.add(id(module.lora_magnitude_vector["default"].weight))
    for name, value in layer.named_parameters():
        if value.requires_grad and id(value) not in lora_weights:
            return f"{name} of layer {index} is trained, the kernels train only LoRA matrices"
    return None

"""What the kernels of a classifier need beside its layers: embeddings, positions and the last norm."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import torch

from submillion import native
from submillion.model.execution.kernel_weights import (
    embedding_tables,
    embeddings_structure,
    final_norm,
    position_bias,
    relative_positions,
    rotations,
)
from submillion.native import interface

if TYPE_CHECKING:
    from torch import Tensor

    from submillion.model.classifier import Classifier


def set_embeddings_and_positions(
    library: native.Library, handle: ctypes.c_void_p, classifier: Classifier
) -> list[Tensor]:
    """Give an encoder of the kernels everything but its layers.

    Args:
        library: the kernels, in float or int8.
        handle: an encoder that they have made.
        classifier: one that they can run.

    Returns:
        Tensors that the kernels hold pointers to; they must outlive the encoder.
    """
    modules: Any = classifier.stack.embedding_modules
    family, owner = classifier.family, classifier.stack.owner
    tables = embedding_tables(modules, family)
    pointers = embeddings_structure(tables, modules, family)
    library.call("sm_set_embeddings", handle, ctypes.byref(pointers), torch.get_num_threads())
    held = list(tables.values())
    if family.kernels.position_bias:
        config: Any = classifier.module.get_base_model().config
        reach = config.max_position_embeddings
        table = position_bias(owner, reach)
        library.call("sm_set_position_bias", handle, ctypes.c_void_p(table.data_ptr()), reach)
    if family.kernels.relative_positions:
        held += _set_relative_positions(library, handle, classifier)
    if family.kernels.pre_norm:
        held += _set_rotations(library, handle, classifier)
        norm = final_norm(classifier.stack.final_norm)
        library.call("sm_set_final_norm", handle, *(ctypes.c_void_p(value.data_ptr()) for value in norm))
    return held


def _set_relative_positions(
    library: native.Library, handle: ctypes.c_void_p, classifier: Classifier
) -> list[Tensor]:
    table, rows = relative_positions(classifier.stack.owner, classifier.longest)
    attention: Any = next(iter(classifier.stack.layers)).get_submodule("attention.self")
    positions = interface.RelativePositions(
        embeddings=table.data_ptr(),
        row_of_distance=rows.data_ptr(),
        reach=classifier.longest,
        content_to_position="c2p" in attention.pos_att_type,
        position_to_content="p2c" in attention.pos_att_type,
        dropout=attention.pos_dropout.p,
    )
    library.set_relative_positions(handle, positions)
    return [table, rows]


def _set_rotations(library: native.Library, handle: ctypes.c_void_p, classifier: Classifier) -> list[Tensor]:
    config: Any = classifier.module.get_base_model().config
    tables = rotations(classifier.stack.owner, classifier.longest)
    for index, kind in enumerate(config.layer_types):
        cos, sin = tables[kind]
        window = config.sliding_window if kind == "sliding_attention" else -1
        attention = interface.RotaryAttention(cos.data_ptr(), sin.data_ptr(), len(cos), window)
        library.set_attention(handle, index, attention)
    return [tensor for pair in tables.values() for tensor in pair]

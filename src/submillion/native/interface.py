"""The C interface of the kernels of the packed execution: its constants, structures and functions."""

from __future__ import annotations

import ctypes

TARGETS = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
"""The adapted matrices, in the order of the kernels."""
POOLINGS = ("first", "mean")
"""What becomes a text's features, the last states of its first token or their mean over all tokens; in the order of the
kernels."""
LORA_SITE = 4
"""Dropout site of the first target's adapter. Sites 0 to 3: embeddings, attention, attention output, FFN output."""
POSITION_SITE = LORA_SITE + len(TARGETS)
"""Dropout site of relative embeddings."""
POSITION_ROW = 1 << 63
"""The row id of relative embedding i is POSITION_ROW + i."""


FORWARD, BACKWARD, INT8 = 1, 2, 4
"""SmLayout: which operands of the weights of a layer are packed; values to add up. INT8: those of a training step."""


class EncoderConfig(ctypes.Structure):
    """SmEncoderConfig: sizes in channels."""

    _fields_ = [(name, ctypes.c_int64) for name in ("layers", "hidden", "ffn", "heads")] + [
        (name, ctypes.c_double)
        for name in ("epsilon", "attention_dropout", "attention_output_dropout", "ffn_output_dropout")
    ]
    _fields_ += [("pre_norm", ctypes.c_int64)]


class LayerWeights(ctypes.Structure):
    """SmLayerWeights: pointers to row-major float32 matrices [outputs, inputs], and to vectors."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in (
            *("q", "q_bias", "k", "k_bias", "v", "v_bias", "out", "out_bias", "norm1_gamma", "norm1_beta"),
            *("up", "up_bias", "gate", "gate_bias", "down", "down_bias", "norm2_gamma", "norm2_beta"),
        )
    ]


class Embeddings(ctypes.Structure):
    """SmEmbeddings: pointers to tables that must outlive the encoder, their sizes, and an optional projection."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("words", "positions", "norm_gamma", "norm_beta")),
        *((name, ctypes.c_void_p) for name in ("projection", "projection_bias")),
        ("dropout", ctypes.c_double),
        *((name, ctypes.c_int64) for name in ("word_rows", "position_rows", "channels")),
    ]


class Adapter(ctypes.Structure):
    """SmAdapter: pointers to a [r, inputs], b [outputs, r], DoRA's vectors [outputs], and gradients.

    r = 0 means no adapter, no magnitude plain LoRA.
    """

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("a", "b", "magnitude", "weight_squares")),
        *((name, ctypes.c_void_p) for name in ("da", "db", "dmagnitude")),
        ("r", ctypes.c_int64),
        ("scale", ctypes.c_double),
        ("dropout", ctypes.c_double),
    ]


class Batch(ctypes.Structure):
    """SmBatch: texts laid end to end, the layers to run, and where to write the results."""

    _fields_ = [
        ("texts", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("offsets", "token_ids", "position_ids", "input_states")),
        *((name, ctypes.c_int64) for name in ("first_layer", "end_layer", "training", "save_activations")),
        *((name, ctypes.c_int64) for name in ("threads", "group_rows")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("adapters", "features", "output_states")),
        ("pooling", ctypes.c_int64),
    ]


class Dropout(ctypes.Structure):
    """SmDropout: one application of dropout, at a site of a layer."""

    _fields_ = [
        ("p", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        ("layer", ctypes.c_int64),
        ("site", ctypes.c_int64),
    ]


class RotaryAttention(ctypes.Structure):
    """SmRotaryAttention: pointers to tables that must outlive the encoder, their rows, and the window or -1."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("cos", "sin")),
        *((name, ctypes.c_int64) for name in ("positions", "window")),
    ]


class RelativePositions(ctypes.Structure):
    """SmRelativePositions: pointers to tables that must outlive the encoder, and the terms of a score."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("embeddings", "row_of_distance")),
        *((name, ctypes.c_int64) for name in ("reach", "content_to_position", "position_to_content")),
        ("dropout", ctypes.c_double),
    ]


STRUCTURES: tuple[type[ctypes.Structure], ...] = (
    EncoderConfig,
    LayerWeights,
    Embeddings,
    Adapter,
    Batch,
    Dropout,
    RotaryAttention,
    RelativePositions,
)
"""All structures of the interface, in the order of `sm_struct_size`."""

POINTER, INT = ctypes.c_void_p, ctypes.c_int64
FUNCTIONS: dict[str, tuple[list[type], type | None]] = {
    "sm_init": ([], ctypes.c_char_p),
    "sm_create": ([POINTER, POINTER], ctypes.c_char_p),
    "sm_has_int8": ([], INT),
    "sm_destroy": ([POINTER], None),
    "sm_load_layer": ([POINTER, INT, POINTER, INT, INT], ctypes.c_char_p),
    "sm_set_embeddings": ([POINTER, POINTER, INT], ctypes.c_char_p),
    "sm_set_position_bias": ([POINTER, POINTER, INT], ctypes.c_char_p),
    "sm_set_relative_positions": ([POINTER, POINTER], None),
    "sm_set_attention": ([POINTER, INT, POINTER], None),
    "sm_set_final_norm": ([POINTER, POINTER, POINTER], ctypes.c_char_p),
    "sm_forward": ([POINTER, POINTER], ctypes.c_char_p),
    "sm_backward": ([POINTER, POINTER], ctypes.c_char_p),
    "sm_dropout_mask": ([POINTER, POINTER, INT, INT, POINTER], ctypes.c_float),
    "sm_group_texts": ([POINTER, INT, INT, INT, POINTER], None),
    "sm_struct_size": ([INT], INT),
}
"""Argument types and result type of each function."""

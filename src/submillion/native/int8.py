"""Loads the C++ kernels for predicting in int8, and declares their C interface."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from functools import cache

from submillion import native
from submillion.environment import cpu_features
from submillion.errors import SubmillionError
from submillion.native import interface

_VNNI = native.BUILDS["avx512"].needs | {"avx512_vnni"}

# Best first.
BUILDS = {
    build.name: build
    for build in (
        native.Build("int8_amx", "bfloat16", native.BUILDS["amx"].needs | _VNNI | {"amx_int8"}),
        native.Build("int8_avx512_vnni", "float32", _VNNI),
        native.Build("int8_avx_vnni", "float32", native.BUILDS["avx2"].needs | {"avx_vnni"}),
        native.Build("int8_avx2", "float32", native.BUILDS["avx2"].needs),
    )
}
"""The builds; `dtype_name` is the format of the matrices that stay in float."""


class Config(ctypes.Structure):
    """SmInt8Config: sizes in channels."""

    _fields_ = [(name, ctypes.c_int64) for name in ("layers", "hidden", "ffn", "heads", "pre_norm")] + [
        ("epsilon", ctypes.c_double)
    ]


class Matrix(ctypes.Structure):
    """SmInt8Matrix: pointers to int8 [outputs, inputs] and scales, or to float32 [outputs, inputs]; and the bias."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("values", "scales", "floats", "bias")]


class Layer(ctypes.Structure):
    """SmInt8Layer: the matrices of a layer, and pointers to its norms."""

    _fields_ = [
        *((name, Matrix) for name in ("q", "k", "v", "out", "up", "gate", "down")),
        *((name, ctypes.c_void_p) for name in ("norm1_gamma", "norm1_beta", "norm2_gamma", "norm2_beta")),
    ]


class Batch(ctypes.Structure):
    """SmInt8Batch: texts laid end to end, the layers to run, and where to write the results."""

    _fields_ = [
        ("texts", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("offsets", "token_ids", "position_ids", "input_states")),
        *(
            (name, ctypes.c_int64)
            for name in ("first_layer", "end_layer", "threads", "group_rows", "pooling")
        ),
        *((name, ctypes.c_void_p) for name in ("features", "output_states")),
    ]


STRUCTURES = (Config, Matrix, Layer, Batch, interface.Embeddings, interface.RotaryAttention)
"""All structures of the interface, in the order of `sm_struct_size`."""

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS: dict[str, tuple[list[type], type | None]] = {
    "sm_init": ([], ctypes.c_char_p),
    "sm_create": ([_POINTER, _POINTER], ctypes.c_char_p),
    "sm_destroy": ([_POINTER], None),
    "sm_load_layer": ([_POINTER, _INT, _POINTER, _INT], ctypes.c_char_p),
    "sm_set_embeddings": ([_POINTER, _POINTER, _INT], ctypes.c_char_p),
    "sm_set_position_bias": ([_POINTER, _POINTER, _INT], ctypes.c_char_p),
    "sm_set_attention": ([_POINTER, _INT, _POINTER], None),
    "sm_set_final_norm": ([_POINTER, _POINTER, _POINTER], ctypes.c_char_p),
    "sm_forward": ([_POINTER, _POINTER], ctypes.c_char_p),
    "sm_multiply": ([_POINTER, _INT, _INT, _POINTER, _INT, _POINTER], ctypes.c_char_p),
    "sm_struct_size": ([_INT], _INT),
}


class Library(native.Library):
    """A loaded build of the int8 kernels."""

    FUNCTIONS = _FUNCTIONS
    STRUCTURES = STRUCTURES

    @property
    def activation_bytes(self) -> int:
        """Bytes of a quantized activation."""
        return 2 if self.build.name == "int8_avx2" else 1


@cache
def load(name: str) -> Library:
    """Return a build by its name; it is loaded once per process.

    Raises:
        OSError: its file does not exist or cannot be loaded.
        SubmillionError: the operating system does not let this process run the kernels.
    """
    return Library(BUILDS[name])


def load_best(features: Iterable[str] | None = None, forced: str | None = None) -> tuple[Library | None, str]:
    """Return the best build that this processor can run, or None, and the reason.

    Args:
        features: processor features; None reads them from the machine.
        forced: the value of SUBMILLION_NATIVE; None takes that of the environment. `off` leaves no build, `avx2` its
            own, `avx512` and `avx512_bf16` the one without tiles.
    """
    forced = forced or os.environ.get(native.VARIABLE) or None
    if forced == "off":
        return None, f"{native.VARIABLE} is off"
    allowed = set(cpu_features() if features is None else features)
    if forced == "avx2":
        allowed &= native.BUILDS["avx2"].needs
    elif forced not in (None, "amx"):
        allowed &= _VNNI
    builds = [build for build in BUILDS.values() if build.needs <= allowed]
    if "avx512f" in allowed and "avx512_vnni" not in allowed:
        # Vectors of 512 bits multiply as many floats as the integer instructions of AVX2 multiply integers.
        return (
            None,
            "no int8 kernels for this processor (with avx512f, only avx512_vnni makes them faster than float)",
        )
    if not builds:
        return None, "no int8 kernels for this processor (they need avx2, fma and bmi2)"
    skipped: list[str] = []
    for build in builds:
        if build.file.is_file():
            try:
                return load(build.name), "; ".join(
                    [f"the processor has {build.name.removeprefix('int8_')}", *skipped]
                )
            except OSError as error:
                skipped.append(f"{build.file.name} could not be loaded ({error})")
            except SubmillionError as error:
                skipped.append(str(error))
    return None, "; ".join(skipped) or native.NOT_BUILT

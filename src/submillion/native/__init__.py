"""The C++ kernels of the packed execution: which of their builds this processor runs, and their C interface."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from submillion.environment import cpu_features
from submillion.errors import BadInput, Problem, SubmillionError, did_you_mean

FOLDERS = tuple(map(Path, __path__))  # two in an editable install: sources and what was built lie apart
VARIABLE = "SUBMILLION_NATIVE"
TARGETS = ("query", "key", "value", "attention_output", "ffn_up", "ffn_down")
"""The adapted matrices in the kernels' order."""
LORA_PLACE = 4
"""`place` of the dropout before target 0's A; the embeddings, attention, its output and the FFN's come before."""

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma", "f16c", "bmi2"})


@dataclass(frozen=True)
class Build:
    """One build of the kernels."""

    name: str
    dtype_name: str
    """What its products read: `bfloat16` or `float32`; sums are float32 in all."""
    needs: frozenset[str]
    """Processor features in /proc/cpuinfo's words."""

    @property
    def file(self) -> Path:
        """Where the build lies, if it was built."""
        names = [folder / f"libsubmillion_{self.name}.so" for folder in FOLDERS]
        return next((name for name in names if name.is_file()), names[0])


# Best first.
PATHS = {
    path.name: path
    for path in (
        Build("amx", "bfloat16", _AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"}),
        Build("avx512_bf16", "bfloat16", _AVX512 | {"avx512_bf16"}),
        Build("avx512", "float32", _AVX512),
        Build("avx2", "float32", frozenset({"avx2", "fma", "bmi2"})),
    )
}


class Shape(ctypes.Structure):
    """SmShape: sizes in channels."""

    _fields_ = [(name, ctypes.c_int64) for name in ("layers", "hidden", "inner", "heads")] + [
        (name, ctypes.c_double) for name in ("epsilon", "hidden_dropout", "attention_dropout")
    ]


LAYER_FIELDS = (
    *("q", "q_bias", "k", "k_bias", "v", "v_bias", "out", "out_bias", "norm1_g", "norm1_b"),
    *("up", "up_bias", "down", "down_bias", "norm2_g", "norm2_b"),
)


class Layer(ctypes.Structure):
    """SmLayer: pointers to row-major float32 [outputs, inputs] and vectors."""

    _fields_ = [(name, ctypes.c_void_p) for name in LAYER_FIELDS]


class Embeddings(ctypes.Structure):
    """SmEmbeddings: tables that must outlive the encoder."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("words", "positions", "norm_g", "norm_b")] + [
        ("dropout", ctypes.c_double)
    ]


class Adapter(ctypes.Structure):
    """SmAdapter: a [r, inputs] and b [outputs, r] with their gradients; r = 0 for none."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("a", "b", "da", "db")),
        ("r", ctypes.c_int64),
        ("scale", ctypes.c_double),
        ("dropout", ctypes.c_double),
    ]


class Batch(ctypes.Structure):
    """SmBatch: texts laid end to end, and what to do with them."""

    _fields_ = [
        ("texts", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("offsets", "ids", "positions", "states")),
        *((name, ctypes.c_int64) for name in ("first", "last", "training", "save", "threads", "group_rows")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("adapters", "features", "states_out")),
    ]


class Library:
    """One loaded build; its functions raise what the kernels report."""

    def __init__(self, path: Build) -> None:
        """Load it.

        Raises:
            OSError: the file cannot be loaded.
            SubmillionError: the system does not let this process run it.
        """
        self.path = path
        self._lib = ctypes.CDLL(str(path.file))
        pointer, whole = ctypes.c_void_p, ctypes.c_int64
        for name, arguments, result in (
            ("sm_ready", [], ctypes.c_char_p),
            ("sm_create", [pointer, pointer], ctypes.c_char_p),
            ("sm_destroy", [pointer], None),
            ("sm_load", [pointer, whole, pointer, whole, whole], ctypes.c_char_p),
            ("sm_embeddings", [pointer, pointer], None),
            ("sm_position_bias", [pointer, pointer, whole], ctypes.c_char_p),
            ("sm_forward", [pointer, pointer], ctypes.c_char_p),
            ("sm_backward", [pointer, pointer], ctypes.c_char_p),
            (
                "sm_mask",
                [ctypes.c_double, ctypes.c_uint64, whole, whole, pointer, whole, whole, pointer],
                ctypes.c_float,
            ),
            ("sm_group", [pointer, whole, whole, whole, pointer], None),
            ("sm_size_of", [whole], whole),
        ):
            function = getattr(self._lib, name)
            function.argtypes, function.restype = arguments, result
        self.call("sm_ready")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns null or a message.

        Raises:
            SubmillionError: with the message.
        """
        message = getattr(self._lib, name)(*arguments)
        if message:
            raise SubmillionError(f"the {self.path.name} kernels: {message.decode()}")

    def create(self, shape: Shape) -> ctypes.c_void_p:
        """Return a new encoder's handle."""
        handle = ctypes.c_void_p()
        self.call("sm_create", ctypes.byref(shape), ctypes.byref(handle))
        return handle

    def destroy(self, handle: ctypes.c_void_p) -> None:
        """Free an encoder."""
        self._lib.sm_destroy(handle)

    def embeddings(self, handle: ctypes.c_void_p, tables: Embeddings) -> None:
        """Set the embeddings."""
        self._lib.sm_embeddings(handle, ctypes.byref(tables))

    def size_of(self, structure: type[ctypes.Structure]) -> int:
        """Return how long the kernels take a structure of this interface to be, in bytes."""
        return int(self._lib.sm_size_of((Shape, Layer, Embeddings, Adapter, Batch).index(structure)))

    def mask(
        self, share: float, seed: int, layer: int, place: int, rows: int, count: int, chunks: int, to: int
    ) -> float:
        """Write what dropout keeps at one place, uint8 [count, 32 chunks], to address `to`; return its scale.

        Args:
            rows: address of the rows' ids, uint64 [count]: text << 16 | position, or for attention
                text << 24 | head << 16 | position.
        """
        return float(self._lib.sm_mask(share, seed, layer, place, rows, count, chunks, to))

    def group(self, lengths: int, texts: int, count: int, side: int, to: int) -> None:
        """Write each text's group to address `to`, int64 [texts].

        Args:
            lengths: address of the texts' rows, int64 [texts].
            texts: how many there are, `count` at least.
            count: of groups; each gets a text.
            side: the groups' rows are padded to multiples of it.
        """
        self._lib.sm_group(lengths, texts, count, side, to)


@cache
def load(name: str) -> Library:
    """Load a build by its name, once.

    Raises:
        OSError: it is not there, or cannot be loaded.
        SubmillionError: the system does not let this process run it.
    """
    return Library(PATHS[name])


def choose(
    dtype_name: str, features: Iterable[str] | None = None, forced: str | None = None
) -> tuple[Library | None, str]:
    """Return the best build for products in a format on this processor, and why; None where there is none.

    Args:
        dtype_name: `bfloat16` or `float32`.
        features: the processor's; None asks the machine.
        forced: a build's name, or `off`; None takes the environment variable SUBMILLION_NATIVE, if it is set.

    Raises:
        BadInput: the build that is forced does not exist, was not built, is for another format, or this
            processor cannot run it.
    """
    forced = forced or os.environ.get(VARIABLE) or None
    has = set(cpu_features() if features is None else features)
    if forced == "off":
        return None, f"{VARIABLE} is off"
    if forced is not None:
        if forced not in PATHS:
            names = (*PATHS, "off")
            raise BadInput(
                Problem(VARIABLE, f"one of {', '.join(names)}", forced, did_you_mean(forced, names))
            )
        path = PATHS[forced]
        missing = sorted(path.needs - has)
        if missing:
            raise BadInput(
                Problem(VARIABLE, f"a processor with {', '.join(missing)}", "one without", "Choose another.")
            )
        if path.dtype_name != dtype_name:
            found = f"{forced}, which are {path.dtype_name}"
            remedy = f"Choose others, or --set train.precision={path.dtype_name}."
            raise BadInput(Problem(VARIABLE, f"kernels in {dtype_name}", found, remedy))
        if not path.file.is_file():
            raise BadInput(Problem(VARIABLE, f"{path.file.name}, built", "no such file", NOT_BUILT))
        return load(forced), f"{VARIABLE} asks for it"
    fitting = [path for path in PATHS.values() if path.dtype_name == dtype_name]
    able = [path for path in fitting if path.needs <= has]
    if not able:
        return None, f"no {dtype_name} kernels for this processor"
    passed_over: list[str] = []
    for path in able:
        if path.file.is_file():
            try:
                return load(path.name), "; ".join([f"the processor has {path.name}", *passed_over])
            except OSError as error:
                passed_over.append(f"{path.file.name} could not be loaded ({error})")
            except SubmillionError as error:
                passed_over.append(str(error))
    return None, "; ".join(passed_over) or NOT_BUILT


NOT_BUILT = (
    "the kernels were not built when submillion was installed; install it again where a C++ compiler "
    "(g++ or clang) is found"
)

"""Loads the C++ kernels of the packed execution, in the best build that the processor can run."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from submillion.environment import cpu_features
from submillion.errors import BadInput, Problem, SubmillionError, did_you_mean
from submillion.native.interface import FUNCTIONS, STRUCTURES, Dropout, RelativePositions, RotaryAttention

FOLDERS = tuple(
    map(Path, __path__)
)  # two in an editable install: one has the sources, one the built libraries
VARIABLE = "SUBMILLION_NATIVE"
NOT_BUILT = (
    "the kernels were not built when submillion was installed; install it again where a C++ compiler "
    "(g++ or clang) is available"
)

RUNS_HERE = sys.platform == "linux"
"""Whether the operating system is one that the kernels are built for."""

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma", "f16c", "bmi2"})
_AVX512_BF16 = _AVX512 | {"avx512_bf16", "avx512_vnni"}


@dataclass(frozen=True)
class Build:
    """A build of the kernels for one instruction set."""

    name: str
    dtype_name: str
    """Format of the matrix operands: `bfloat16` or `float32`. All builds accumulate in float32."""
    needs: frozenset[str]
    """Processor features, as /proc/cpuinfo names them."""

    @property
    def file(self) -> Path:
        """Path of the library; it may not exist."""
        candidates = [folder / f"libsubmillion_{self.name}.so" for folder in FOLDERS]
        return next((path for path in candidates if path.is_file()), candidates[0])


# Best first.
BUILDS = {
    build.name: build
    for build in (
        Build("amx", "bfloat16", _AVX512_BF16 | {"amx_tile", "amx_bf16", "amx_int8"}),
        Build("avx512_bf16", "bfloat16", _AVX512_BF16),
        Build("avx512", "float32", _AVX512),
        Build("avx2", "float32", frozenset({"avx2", "fma", "bmi2"})),
        Build("neon_bf16", "bfloat16", frozenset({"asimd", "bf16"})),
        Build("neon", "float32", frozenset({"asimd"})),
    )
}


class Library:
    """A loaded build; turns the error messages of the kernels into exceptions."""

    FUNCTIONS = FUNCTIONS
    STRUCTURES = STRUCTURES

    def __init__(self, build: Build) -> None:
        """Load the build.

        Args:
            build: one whose file exists.

        Raises:
            OSError: the file cannot be loaded.
            SubmillionError: the operating system does not let this process run the kernels.
        """
        self.build = build
        self._lib = ctypes.CDLL(str(build.file))
        for name, (argument_types, result_type) in self.FUNCTIONS.items():
            function = getattr(self._lib, name)
            function.argtypes, function.restype = argument_types, result_type
        self.call("sm_init")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns None or an error message.

        Raises:
            SubmillionError: the function returned an error message.
        """
        message = getattr(self._lib, name)(*arguments)
        if message:
            raise SubmillionError(f"the {self.build.name} kernels: {message.decode()}")

    def create(self, config: ctypes.Structure) -> ctypes.c_void_p:
        """Return the handle of a new encoder."""
        handle = ctypes.c_void_p()
        self.call("sm_create", ctypes.byref(config), ctypes.byref(handle))
        return handle

    def destroy(self, handle: ctypes.c_void_p) -> None:
        """Free an encoder."""
        self._lib.sm_destroy(handle)

    def set_relative_positions(self, handle: ctypes.c_void_p, positions: RelativePositions) -> None:
        """Set the relative positions of disentangled attention."""
        self._lib.sm_set_relative_positions(handle, ctypes.byref(positions))

    def set_attention(self, handle: ctypes.c_void_p, layer: int, attention: RotaryAttention) -> None:
        """Set the rotary positions and the window of a pre-norm layer."""
        self._lib.sm_set_attention(handle, layer, ctypes.byref(attention))

    @property
    def has_int8(self) -> bool:
        """Whether training steps can multiply frozen matrices in int8."""
        return bool(self._lib.sm_has_int8())

    def struct_size(self, structure: type[ctypes.Structure]) -> int:
        """Return the size in bytes that the kernels expect of one of `STRUCTURES`."""
        return int(self._lib.sm_struct_size(self.STRUCTURES.index(structure)))

    def dropout_mask(self, dropout: Dropout, row_ids: int, rows: int, col_blocks: int, mask: int) -> float:
        """Write the mask of one application of dropout, and return the scale of the kept elements.

        Args:
            dropout: probability, seed, layer and site.
            row_ids: address of uint64 [rows]: text << 16 | position, or for attention
                text << 24 | head << 16 | query.
            rows: number of rows.
            col_blocks: blocks of 32 columns.
            mask: address of uint8 [rows, 32 * col_blocks], set to 1 where an element is kept.
        """
        return float(self._lib.sm_dropout_mask(ctypes.byref(dropout), row_ids, rows, col_blocks, mask))

    def group_texts(self, lengths: int, texts: int, count: int, multiple: int, groups: int) -> None:
        """Write the index of each text's group.

        Args:
            lengths: address of the texts' token counts, int64 [texts].
            texts: number of texts, at least `count`.
            count: number of groups; each gets at least one text.
            multiple: the rows of a group are padded to a multiple of it.
            groups: address of the result, int64 [texts].
        """
        self._lib.sm_group_texts(lengths, texts, count, multiple, groups)


@cache
def load(name: str) -> Library:
    """Return a build by its name; it is loaded once per process.

    Raises:
        OSError: its file does not exist or cannot be loaded.
        SubmillionError: the operating system does not let this process run the kernels.
    """
    return Library(BUILDS[name])


def load_best_build(
    dtype_name: str, features: Iterable[str] | None = None, forced: str | None = None
) -> tuple[Library | None, str]:
    """Return the best build that this processor can run, or None, and the reason.

    Args:
        dtype_name: format of the matrix operands, `bfloat16` or `float32`.
        features: processor features; None reads them from the machine.
        forced: name of a build, or `off`; None takes the environment variable SUBMILLION_NATIVE, if set.

    Raises:
        BadInput: the forced build does not exist, was not built, has another format, or needs features that this
            processor lacks; or the system is not Linux.
    """
    forced = forced or os.environ.get(VARIABLE) or None
    available = set(cpu_features() if features is None else features)
    if forced == "off":
        return None, f"{VARIABLE} is off"
    if not RUNS_HERE:
        if forced is not None:
            raise BadInput(Problem(VARIABLE, "Linux", _system(), f"Unset {VARIABLE}."))
        return None, f"the kernels run on Linux alone, and this is {_system()}"
    if forced is not None:
        return _load_forced(forced, dtype_name, available), f"{VARIABLE} selects it"
    builds = [
        build for build in BUILDS.values() if build.dtype_name == dtype_name and build.needs <= available
    ]
    if not builds:
        return None, f"no {dtype_name} kernels for this processor"
    skipped: list[str] = []
    for build in builds:
        if build.file.is_file():
            try:
                return load(build.name), "; ".join([f"the processor has {build.name}", *skipped])
            except OSError as error:
                skipped.append(f"{build.file.name} could not be loaded ({error})")
            except SubmillionError as error:
                skipped.append(str(error))
    return None, "; ".join(skipped) or NOT_BUILT


def _system() -> str:
    """Return the operating system's name."""
    return {"Darwin": "macOS"}.get(platform.system(), platform.system())


def _load_forced(name: str, dtype_name: str, features: set[str]) -> Library:
    if name not in BUILDS:
        names = (*BUILDS, "off")
        raise BadInput(Problem(VARIABLE, f"one of {', '.join(names)}", name, did_you_mean(name, names)))
    build = BUILDS[name]
    missing = sorted(build.needs - features)
    if missing:
        expected = f"a processor with {', '.join(missing)}"
        raise BadInput(Problem(VARIABLE, expected, "one without", "Choose another build."))
    if build.dtype_name != dtype_name:
        remedy = f"Choose another build, or use @{{train.precision={build.dtype_name}}}."
        raise BadInput(
            Problem(VARIABLE, f"kernels in {dtype_name}", f"{name}, in {build.dtype_name}", remedy)
        )
    if not build.file.is_file():
        raise BadInput(Problem(VARIABLE, f"the library {build.file.name}", "no such file", NOT_BUILT))
    return load(name)

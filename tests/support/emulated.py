"""The arm64 kernels under qemu: cross-compiled, and run by a process that mirrors this one's memory."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from submillion import native
from submillion.native import interface
from support import ROOT, TESTS

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
PROCESSORS = {"neon": "cortex-a72", "neon_bf16": "max"}
"""The emulated processor of each build; the first one has neither bfloat16 nor anything else beyond Armv8.0."""


def missing_tools() -> str | None:
    """Return why the kernels cannot be emulated here, or None if they can."""
    missing = [tool for tool in (COMPILER, EMULATOR, "cmake") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else None


def cross_compile(folder: Path) -> None:
    """Build the arm64 kernels, as the wheel for that processor has them, and the server that runs them."""
    options = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": COMPILER,
        # The compiler takes far less time than with -O1 and a copy of each inlined function wherever it is called, and
        # the tests compute little.
        "CMAKE_BUILD_TYPE": "MinSizeRel",
        "CMAKE_CXX_FLAGS_MINSIZEREL": "-O0",
        "CMAKE_CXX_FLAGS": "-Dalways_inline=unused",
    }
    values = [f"-D{name}={value}" for name, value in options.items()]
    _run("cmake", "-S", str(ROOT), "-B", str(folder), *values)
    _run("cmake", "--build", str(folder), "--parallel", "2")
    source = TESTS / "native" / "kernel_server.cpp"
    _run(
        COMPILER,
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        str(source),
        "-o",
        str(folder / "kernel_server"),
        "-ldl",
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


_address_of = ctypes.addressof
_data_ptr = torch.Tensor.data_ptr


class EmulatedLibrary(native.Library):
    """A build of the arm64 kernels, run under qemu."""

    def __init__(self, folder: Path, name: str) -> None:
        """Load it; `folder` is that of `cross_compile`."""
        self.server = Server(folder, name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ctypes, "CDLL", lambda _: self.server)
            super().__init__(native.BUILDS[name])

    def dropout_mask(
        self, dropout: interface.Dropout, row_ids: int, rows: int, col_blocks: int, mask: int
    ) -> float:
        """Add the sizes of the two arrays, which the server must know."""
        self.server.sizes |= {row_ids: 8 * rows, mask: 32 * rows * col_blocks}
        return super().dropout_mask(dropout, row_ids, rows, col_blocks, mask)

    @contextmanager
    def following_addresses(self) -> Iterator[None]:
        """Note the size of every tensor and every array of structures whose address this process takes."""

        def data_ptr(tensor: torch.Tensor) -> int:
            address = _data_ptr(tensor)
            self.server.sizes[address] = tensor.numel() * tensor.element_size()
            return address

        def address_of(value: Any) -> int:
            address = _address_of(value)
            self.server.sizes[address], self.server.arrays[address] = ctypes.sizeof(value), value
            return address

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "data_ptr", data_ptr)
            patch.setattr(ctypes, "addressof", address_of)
            yield


class Server:
    """Stands for the loaded library: each function of the interface is an attribute, run under qemu."""

    def __init__(self, folder: Path, name: str) -> None:
        """Start the process; `folder` is that of `cross_compile`, `name` a build."""
        sysroot = Path("/usr/aarch64-linux-gnu")
        command = [EMULATOR, "-L", str(sysroot), "-cpu", PROCESSORS[name], str(folder / "kernel_server")]
        library = str(folder / f"libsubmillion_{name}.so")
        self._process = subprocess.Popen([*command, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.sizes: dict[int, int] = {}
        """Bytes of the arrays whose addresses this process has taken, by address."""
        self.arrays: dict[int, ctypes.Array[Any]] = {}
        """Arrays of structures, by address."""

    def __getattr__(self, name: str) -> Any:
        if name not in interface.FUNCTIONS:
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            return self._call(name, arguments, interface.FUNCTIONS[name][1])

        return function

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _call(self, name: str, arguments: tuple[Any, ...], result_type: Any) -> Any:
        regions: dict[int, tuple[bytes, list[int]]] = {}
        values = [self._argument(argument, regions) for argument in arguments]
        message = [_number(len(regions))]
        for address, (content, pointers) in regions.items():
            message += [_number(address), _number(len(content)), content]
            message += [_number(len(pointers)), *map(_number, pointers)]
        message += [_number(len(name)), name.encode(), _number(len(values)), *map(_number, values)]
        message += [_number(result_type is ctypes.c_char_p)]
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(message))
        self._process.stdin.flush()
        result = self._read_number()
        length = self._read_number()
        text = self._read(length - 1) if length else None
        for _ in range(self._read_number()):
            address = self._read_number()
            changed = self._read(self._read_number())
            ctypes.memmove(address, changed, len(changed))
        if result_type is ctypes.c_float:
            return struct.unpack("f", struct.pack("I", result))[0]
        return text if result_type is ctypes.c_char_p else result

    def _argument(self, argument: Any, regions: dict[int, tuple[bytes, list[int]]]) -> int:
        """Return an argument as an integer, and add the memory that it leads to to `regions`."""
        if hasattr(argument, "_obj"):  # of ctypes.byref
            return self._add_object(argument._obj, regions)
        value = int((argument.value if isinstance(argument, ctypes.c_void_p) else argument) or 0)
        if value in self.sizes:
            self._add(value, regions)
        return value

    def _add(self, address: int, regions: dict[int, tuple[bytes, list[int]]]) -> None:
        if address in self.arrays:
            self._add_object(self.arrays[address], regions)
        else:
            regions[address] = ctypes.string_at(address, self.sizes[address]), []

    def _add_object(self, value: Any, regions: dict[int, tuple[bytes, list[int]]]) -> int:
        """Add a structure, or an array of them, and the memory that its pointers lead to."""
        if isinstance(value, interface.Batch):
            offsets = (ctypes.c_int64 * (value.texts + 1)).from_address(value.offsets)
            self.sizes[value.offsets] = ctypes.sizeof(offsets)
            self.sizes[value.token_ids] = self.sizes[value.position_ids] = 4 * offsets[value.texts]
        start, pointers = _address_of(value), []
        for item in value if isinstance(value, ctypes.Array) else [value]:
            if not isinstance(item, ctypes.Structure):
                continue
            for field, kind in item._fields_:
                address = getattr(item, field)
                if kind is ctypes.c_void_p and address:
                    pointers.append(_address_of(item) - start + getattr(type(item), field).offset)
                    self._add(address, regions)
        regions[start] = bytes(value), pointers
        return start

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(size)
        assert len(content) == size, f"the emulated kernels have ended with {self._process.wait()}"
        return content

    def _read_number(self) -> int:
        return int.from_bytes(self._read(8), "little")


def _number(value: int) -> bytes:
    return (value & (1 << 64) - 1).to_bytes(8, "little")

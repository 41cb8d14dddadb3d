"""An execution in int8 that needs no kernels, and the kernels for AVX-VNNI on processors without it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from submillion import native
from submillion.data.tokens import Tokens
from submillion.environment import cpu_features
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_calibration import MatrixName, matrices
from submillion.model.execution.int8_reference import Int8Matrix
from submillion.model.execution.int8_rule import RULE
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from submillion.model.protocol import PrefixForward
from submillion.native import int8
from submillion.rundir import RunDir
from support import ROOT, TESTS

NAME = "simulated-int8"
PLACES = (
    "assess.int8_proof",
    "model.execution.int8_prefix",
    "model.inference",
    "verification.run.int8",
)
"""The modules that import `unsupported_int8` and `open_int8` by name."""
AVX_VNNI = "int8_avx_vnni"


class SimulatedInt8(Reference):
    """Runs the matrices of all layers in int8, adapters merged, but those that stay in float."""

    name = NAME
    pass_tokens = None

    def __init__(
        self,
        classifier: Classifier,
        float_matrices: frozenset[MatrixName] = frozenset(),
        layers: int | None = None,
    ) -> None:
        super().__init__(classifier, Precision("float32", False, "int8 products"))
        self.float_matrices, self._number = float_matrices, layers

    def _run(self, forward: Callable[..., Tensor], tokens: Tokens, rows: np.ndarray, prefix: Any) -> Tensor:
        with self._in_int8():
            return super()._run(forward, tokens, rows, prefix)

    def prefix_forward(self, tokens: Tokens) -> PrefixForward:
        exact = super().prefix_forward(tokens)

        def forward(rows: np.ndarray) -> Tensor:
            with self._in_int8():
                return exact(rows)

        return forward

    @contextmanager
    def _in_int8(self) -> Iterator[None]:
        handles = [
            module.register_forward_hook(_replaced(Int8Matrix(weight), bias))
            for name, module, weight, bias in matrices(self.classifier, self._number)
            if name not in self.float_matrices
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _replaced(matrix: Int8Matrix, bias: Tensor) -> Callable[..., Tensor]:
    def hook(_module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        flat = matrix.product(arguments[0].reshape(-1, arguments[0].shape[-1]))
        return (flat + bias).reshape(output.shape)

    return hook


def simulate(monkeypatch: pytest.MonkeyPatch, unsupported: str | None = None) -> None:
    """Let the product use the simulation in place of the kernels, or refuse int8 for a reason."""
    for place in PLACES:
        monkeypatch.setattr(f"submillion.{place}.open_int8", SimulatedInt8)
        monkeypatch.setattr(f"submillion.{place}.unsupported_int8", lambda *_: unsupported)


def proof(run: RunDir, **changed: Any) -> None:
    """Write a proof of int8 into a run, without its figures."""
    figures = {"rows": 2000, "argmax_agreement": 1.0, "max_probability_difference": 0.0}
    of_labels = {"accuracy": 1.0, "accuracy_difference": 0.0, "interval": None}
    calibration = {"rows": 1, "tokens": 1, "sha256": "", "errors": {}, "largest_error": 0.1}
    values = {
        "rule": RULE,
        "execution": "packed-int8-avx512_vnni",
        "adapter": run.hashes(run.adapter),
        "calibration": calibration,
        "float_matrices": [{"layer": 1, "matrix": "ffn_down"}],
        "split": "validation",
        "agreement": figures | of_labels,
        "least_equal": 0.998,
        "largest_difference": 0.001,
        "least_rows": 1958,
        "proven": True,
        "reason": "100.00% of 2,000 validation rows have the same class",
    }
    run.write_analysis("int8", values | changed)


def amplified(classifier: Classifier, factor: float, layer: int = 0) -> None:
    """Make one channel of a layer's attention context larger by a factor, and change no product.

    The channel of the values is multiplied, and what reads it divided.

    Args:
        classifier: a BERT or RoBERTa encoder.
        factor: at least 1.
        layer: from 0.
    """
    of_layer: Any = classifier.stack.layers[layer]
    value, out = (
        getattr(of_layer.get_submodule(classifier.family.suffixes[name]), "base_layer", None)
        or of_layer.get_submodule(classifier.family.suffixes[name])
        for name in ("value", "attention_output")
    )
    with torch.no_grad():
        value.weight[0] *= factor
        value.bias[0] *= factor
        out.weight[:, 0] /= factor


def no_avx_vnni() -> str | None:
    """Return why the kernels for AVX-VNNI can neither run nor be emulated here, or None if they can."""
    if not native.BUILDS["avx2"].needs <= cpu_features():
        return "the processor has no avx2"
    if _has_avx_vnni() or shutil.which("g++"):
        return None
    return "needs g++, to emulate the kernels"


def _has_avx_vnni() -> bool:
    build = int8.BUILDS[AVX_VNNI]
    return build.needs <= cpu_features() and build.file.is_file()


@contextmanager
def emulated_avx_vnni(folder: Path) -> Iterator[None]:
    """Let `int8.load` return the build for AVX-VNNI, compiled without its instruction if the processor lacks it.

    Args:
        folder: an empty folder for that build.
    """
    if no_avx_vnni() is not None or _has_avx_vnni():
        yield
        return
    sources = [
        "-include",
        str(TESTS / "native" / "avx_vnni.hpp"),
        str(ROOT / "src/submillion/native/int8_api.cpp"),
    ]
    flags = [
        "-std=c++17",
        "-O0",
        "-Dalways_inline=unused",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-pthread",
    ]
    of_build = ["-mavx2", "-mfma", "-mbmi2", "-DSM_FMA", "-DSM_INT8", "-D__AVXVNNI__"]
    file = folder / int8.BUILDS[AVX_VNNI].file.name
    done = subprocess.run(
        ["g++", *flags, *of_build, *sources, "-o", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "FOLDERS", (folder, *native.FOLDERS))
        int8.load(AVX_VNNI)  # which keeps it
    yield

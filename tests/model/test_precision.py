"""Tests of model/precision.py: the format chosen on each kind of hardware, and its notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from submillion import environment, notices
from submillion.errors import BadInput
from submillion.model import precision

AMX = {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}
PLAIN = {"sse2", "avx2", "fma"}


@pytest.mark.parametrize(
    ("requested", "features", "dtype", "reason"),
    [
        ("auto", AMX, "bfloat16", "cpu computes it in hardware (amx_bf16)"),
        ("auto", {"avx512_bf16"}, "bfloat16", "cpu computes it in hardware (avx512_bf16)"),
        ("auto", {"asimd", "bf16"}, "bfloat16", "cpu computes it in hardware (bf16)"),
        ("auto", PLAIN, "float32", "cpu has no bfloat16 arithmetic in hardware"),
        ("auto", {"amx_tile", "amx_int8"}, "float32", "cpu has no bfloat16 arithmetic in hardware"),
        ("float32", AMX, "float32", "requested"),
        (
            "bfloat16",
            PLAIN,
            "bfloat16",
            "requested; cpu has no bfloat16 arithmetic, so this is slower than float32",
        ),
    ],
)
def test_bfloat16_only_if_the_hardware_has_it(
    requested: str, features: set[str], dtype: str, reason: str
) -> None:
    chosen = precision.choose_precision(requested, features=features, device_type="cpu")
    assert (chosen.dtype_name, chosen.autocast, chosen.reason) == (dtype, dtype == "bfloat16", reason)


@pytest.mark.parametrize(("kernels", "dtype"), [("avx2", "float32"), ("avx512_bf16", "bfloat16")])
def test_auto_follows_the_forced_kernels(monkeypatch: pytest.MonkeyPatch, kernels: str, dtype: str) -> None:
    monkeypatch.setenv("SUBMILLION_NATIVE", kernels)
    chosen = precision.choose_precision("auto", features=AMX, device_type="cpu")
    assert (chosen.dtype_name, chosen.autocast) == (dtype, dtype == "bfloat16")
    assert chosen.reason == f"SUBMILLION_NATIVE selects the {kernels} kernels"
    assert precision.choose_precision("float32", features=AMX, device_type="cpu").dtype_name == "float32"
    monkeypatch.setenv("SUBMILLION_NATIVE", "off")
    assert precision.choose_precision("auto", features=AMX, device_type="cpu").dtype_name == "bfloat16"


def test_a_notice_names_the_choice_and_its_reason() -> None:
    precision.choose_precision("auto", features=PLAIN, device_type="cpu")
    (notice,) = notices.collected()
    assert notice["code"] == "precision"
    assert notice["text"] == "precision: float32 (cpu has no bfloat16 arithmetic in hardware)"
    assert (notice["dtype"], notice["device"]) == ("float32", "cpu")


def test_a_misspelt_precision_is_rejected_with_the_nearest() -> None:
    with pytest.raises(BadInput) as caught:
        precision.choose_precision("bfloat", features=PLAIN, device_type="cpu")
    assert str(caught.value) == (
        "train.precision: expected one of auto, float32, bfloat16, found 'bfloat'. Did you mean 'bfloat16'?"
    )


def test_features_are_read_from_proc_cpuinfo() -> None:
    x86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 amx_bf16\nbugs\t\t: none\n"
    arm = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"
    assert environment.features_in(x86 + "\n" + x86.replace("amx_bf16", "")) == {"fpu", "avx2", "amx_bf16"}
    assert environment.features_in(arm) == {"fp", "asimd", "bf16", "i8mm"}
    assert environment.features_in("processor : 0\n") == set()


def test_features_come_from_torch_if_proc_cpuinfo_lists_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(environment.platform, "system", lambda: "Windows")
    capabilities = {"amx_bf16": True, "avx512_bf16": False, "num_sockets": 1, "cpu_name": "Some CPU"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert environment.cpu_features(tmp_path / "absent") == {"amx_bf16"}


@pytest.mark.parametrize(("answer", "features"), [("1\n", {"bf16"}), ("0\n", set()), ("", set())])
def test_on_macos_features_come_from_sysctl(
    answer: str, features: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked:
        stdout = answer

    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: Asked())
    assert environment.cpu_features(tmp_path / "absent") == features


@pytest.mark.parametrize(("supported", "features"), [(True, {"bf16"}), (False, set())])
def test_cuda_must_support_bfloat16_without_emulation(
    supported: bool, features: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    calls = []

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        calls.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert precision.bf16_features("cuda") == features
    assert calls == [False]
    assert precision.bf16_features("mps") == set()


def test_autocast_changes_products_and_not_weights() -> None:
    import torch

    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with precision.choose_precision("bfloat16", features=PLAIN, device_type="cpu").context("cpu"):
        assert layer(x).dtype == torch.bfloat16
    with precision.choose_precision("float32", device_type="cpu").context("cpu"):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


# In forked processes, each of which makes its first call; this one has called no vector function.
FIRST_CALLS = """
import os
import torch
from submillion.model.precision import choose_precision
numbers = torch.linspace(-3, 3, 32 * 768).view(32, 768)
def first_call():
    torch.set_num_threads(2)
    choose_precision("float32", device_type="cpu")
    return 0 if torch.equal(numbers.tanh(), numbers.tanh()) else 3
for _ in range(8):
    process = os.fork()
    if process == 0:
        os._exit(first_call())
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_first_call_of_a_vector_function_gives_the_same_values_as_the_second() -> None:
    # Without the warm-up, one process in five prints 3 on two threads.
    done = subprocess.run([sys.executable, "-c", FIRST_CALLS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"] * 8

"""The number format of the matrix products on this machine, and the reason for it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from submillion import native, notices
from submillion.environment import cpu_features
from submillion.errors import BadInput, Problem, did_you_mean

CHOICES = ("auto", "float32", "bfloat16")
# CPU features that multiply bfloat16 in hardware: x86 tiles, x86 vectors, Arm (Armv8.6 BFDOT and BFMMLA).
BF16_FEATURES = ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True)
class Precision:
    """The number format of one run."""

    dtype_name: str
    """`float32` or `bfloat16`."""
    autocast: bool
    """Whether matrix products run under torch.autocast; weights and sums are float32 either way."""
    reason: str
    """The reason, for the notice and the manifest."""

    def context(self, device_type: str = "cpu") -> AbstractContextManager[Any]:
        """Return the context in which to run the model: autocast, or no change."""
        if not self.autocast:
            return nullcontext()
        return torch.autocast(device_type, dtype=getattr(torch, self.dtype_name))


def choose_precision(
    requested: str, features: set[str] | None = None, device_type: str | None = None, why_not: str = ""
) -> Precision:
    """Choose the precision; a notice names it and the reason.

    Args:
        requested: `auto`, `float32` or `bfloat16`. `auto` takes bfloat16 only if the hardware computes it. If
            SUBMILLION_NATIVE names a build of the kernels, `auto` takes the format of that build.
        features: CPU features as /proc/cpuinfo spells them, or `bf16` for an accelerator; None detects them.
        device_type: `cpu`, `cuda` or `mps`; None takes the device that training will use.
        why_not: why it is not another format that could have been expected, for the notice.

    Raises:
        BadInput: `requested` is none of the three.
    """
    if requested not in CHOICES:
        expected = f"one of {', '.join(CHOICES)}"
        remedy = did_you_mean(requested, CHOICES)
        raise BadInput(Problem("train.precision", expected, f"'{requested}'", remedy))
    device_type = device_type or training_device()
    features = bf16_features(device_type) if features is None else features
    hardware = next((feature for feature in BF16_FEATURES if feature in features), None)
    # The kernels run on CPUs, so the variable has no effect on an accelerator.
    forced = native.BUILDS.get(os.environ.get(native.VARIABLE, "")) if device_type == "cpu" else None
    if requested == "float32":
        chosen = Precision("float32", False, "requested")
    elif requested == "auto" and forced is not None:
        reason = f"{native.VARIABLE} selects the {forced.name} kernels"
        chosen = Precision(forced.dtype_name, forced.dtype_name == "bfloat16", reason)
    elif hardware:
        chosen = Precision("bfloat16", True, f"{device_type} computes it in hardware ({hardware})")
    elif requested == "bfloat16":
        reason = f"requested; {device_type} has no bfloat16 arithmetic, so this is slower than float32"
        chosen = Precision("bfloat16", True, reason)
    else:
        chosen = Precision("float32", False, f"{device_type} has no bfloat16 arithmetic in hardware")
    warm_up_mkl_dispatch()  # here, because every command that computes chooses its precision first
    notices.emit(
        "precision",
        f"precision: {chosen.dtype_name} ({chosen.reason})" + (why_not and f"; {why_not}"),
        dtype=chosen.dtype_name,
        reason=chosen.reason,
        device=device_type,
    )
    return chosen


def training_device() -> str:
    """Return the type of device that training will use: `cuda`, `mps` or `cpu`."""
    if cpu_requested():
        return "cpu"
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator.type if accelerator is not None else "cpu"


def cpu_requested() -> bool:
    """Return whether `accelerate launch --cpu` asked for the CPU."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"


def bf16_features(device_type: str) -> set[str]:
    """Return those of BF16_FEATURES that the device has; none if its features are not known."""
    if device_type == "cuda":
        return {"bf16"} if torch.cuda.is_bf16_supported(including_emulation=False) else set()
    if device_type != "cpu":
        return set()
    return cpu_features() & set(BF16_FEATURES)


def warm_up_mkl_dispatch() -> None:
    """Run MKL's one-time CPU dispatch on a single thread.

    MKL selects the code of its vector functions (tanh, exp, ...) at the first call. If two threads make the first
    call together, one can take another code path and differ in the last bits (seen in 5 of 25 processes, tanh of
    32 x 768 numbers; in none after this call). Without it, two trainings could differ in the last bits.
    """
    torch.zeros(16).tanh()  # too few numbers for a second thread

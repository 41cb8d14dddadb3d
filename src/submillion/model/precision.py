"""Which number format the heavy arithmetic runs in on this machine, and why."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from submillion import native, notices
from submillion.environment import cpu_features
from submillion.errors import BadInput, Problem, did_you_mean

CHOICES = ("auto", "float32", "bfloat16")
# Features that multiply bfloat16 in hardware: x86 tiles, x86 vectors, Arm (Armv8.6 BFDOT and BFMMLA).
BF16_FEATURES = ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True)
class Precision:
    """The format chosen for one run."""

    dtype_name: str
    """`float32` or `bfloat16`."""
    autocast: bool
    """Whether matrix products run under torch.autocast; weights and sums stay float32 either way."""
    reason: str
    """Why, in words for the user and the manifest."""

    def context(self, device_type: str = "cpu") -> AbstractContextManager[Any]:
        """Return the context in which to run the model: autocast, or nothing."""
        import torch

        if not self.autocast:
            return nullcontext()
        return torch.autocast(device_type, dtype=getattr(torch, self.dtype_name))


def choose(wanted: str, features: set[str] | None = None, device_type: str | None = None) -> Precision:
    """Choose the precision and say it in a notice.

    Args:
        wanted: `auto`, `float32` or `bfloat16`; auto takes bfloat16 only where the hardware computes it, and
            the format of the kernels that SUBMILLION_NATIVE asks for, where it names some.
        features: what the hardware can do, in /proc/cpuinfo's words; None asks the machine.
        device_type: `cpu`, `cuda` or `mps`; None takes the one that training will use.

    Raises:
        BadInput: `wanted` is none of the three.
    """
    if wanted not in CHOICES:
        expected = f"one of {', '.join(CHOICES)}"
        raise BadInput(Problem("train.precision", expected, f"'{wanted}'", did_you_mean(wanted, CHOICES)))
    device_type = device_type or training_device()
    features = bf16_features(device_type) if features is None else features
    hardware = next((feature for feature in BF16_FEATURES if feature in features), None)
    # The kernels run on processors, so that what they are asked for decides nothing on an accelerator.
    forced = native.PATHS.get(os.environ.get(native.VARIABLE, "")) if device_type == "cpu" else None
    if wanted == "float32":
        chosen = Precision("float32", False, "asked for")
    elif wanted == "auto" and forced is not None:
        reason = f"{native.VARIABLE} asks for the {forced.name} kernels"
        chosen = Precision(forced.dtype_name, forced.dtype_name == "bfloat16", reason)
    elif hardware:
        chosen = Precision("bfloat16", True, f"{device_type} computes it in hardware ({hardware})")
    elif wanted == "bfloat16":
        why = f"asked for; {device_type} has no bfloat16 arithmetic, this is slower than float32"
        chosen = Precision("bfloat16", True, why)
    else:
        chosen = Precision("float32", False, f"{device_type} has no bfloat16 arithmetic in hardware")
    settle_vector_math()  # here, as whatever computes chooses its precision first
    notices.emit(
        "precision",
        f"precision {chosen.dtype_name}: {chosen.reason}",
        dtype=chosen.dtype_name,
        reason=chosen.reason,
        device=device_type,
    )
    return chosen


def training_device() -> str:
    """Return the type of device that training will use: `cuda`, `mps` or `cpu`."""
    import torch

    if cpu_wanted():
        return "cpu"
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator.type if accelerator is not None else "cpu"


def cpu_wanted() -> bool:
    """Whether accelerate was told to leave accelerators alone (`accelerate launch --cpu`)."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"


def bf16_features(device_type: str) -> set[str]:
    """Return those of BF16_FEATURES that the device has; empty where nothing is known about it."""
    if device_type == "cuda":
        import torch

        return {"bf16"} if torch.cuda.is_bf16_supported(including_emulation=False) else set()
    if device_type != "cpu":
        return set()
    return cpu_features() & set(BF16_FEATURES)


def settle_vector_math() -> None:
    """Let torch's vector functions (tanh, exp, ...) choose their code for this processor, on one thread.

    MKL chooses at the first call. Where two threads make it at the same moment, one of them may compute it by other
    code, with other last bits: of 25 processes in which tanh of 32 x 768 numbers came first, 5 had other values than
    at the second call, and none after this. So without it a training is not the same to the last bit every time.
    """
    import torch

    torch.zeros(16).tanh()  # too few numbers for a second thread


def flush_denormals() -> bool:
    """Treat numbers below 2^-126 as zero on this thread and those it starts; False where that cannot be.

    A LoRA's second matrix starts at zero, so its products and Adam's moments pass through that range, where
    processors are many times slower. Call it before the first parallel operation: threads already running
    keep their own setting.
    """
    import torch

    return torch.set_flush_denormal(True)

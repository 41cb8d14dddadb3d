"""The environment of a run, as the manifest records it: versions, machine, git state and peak memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "submillion",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "numpy",
    "pyarrow",
)
ARITHMETIC = frozenset(
    {
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512_bf16",
        "avx512_vnni",
    }
    | {"amx_tile", "amx_bf16", "neon", "asimd", "sve", "bf16", "svebf16"}
)
"""Processor features that choose which instructions compute sums and products, and so the last bits of a result."""
DECIDING = {
    "machine": ("processor", "features", "threads", "accelerator"),
    "versions": (
        "python",
        "submillion",
        "torch",
        "transformers",
        "peft",
        "tokenizers",
        "safetensors",
        "numpy",
    ),
}
"""Facts on which the last bits of a training may depend, by their entry of the manifest."""
GIT_TIMEOUT_S = 10.0


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed as a package"
    return versions


def machine() -> dict[str, Any]:
    """Return platform, processor, its ARITHMETIC features, usable cores, memory in GB and accelerator (or None)."""
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "features": sorted(cpu_features() & ARITHMETIC),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def differing_facts(
    recorded: Mapping[str, Any],
    here: Mapping[str, Any],
    facts: Mapping[str, Sequence[str]],
    now: str = "here",
) -> list[str]:
    """Return those facts of two manifests that differ, each with both values.

    Args:
        recorded: the manifest of a run.
        here: the manifest, or some entries of it, on this machine.
        facts: names of facts by entry of the manifest.
        now: the word before the values of `here`.
    """
    return [
        f"{entry}.{name} {recorded.get(entry, {}).get(name)}, {now} {here.get(entry, {}).get(name)}"
        for entry, names in facts.items()
        for name in names
        if recorded.get(entry, {}).get(name) != here.get(entry, {}).get(name)
    ]


def processor() -> str:
    """Return the processor's name; `platform.processor` is empty on most Linux systems."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the processor's features: from the kernel on Linux, from sysctl on macOS, else from torch."""
    if cpuinfo.is_file():
        return features_in(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    if platform.system() == "Darwin":
        query = ["/usr/sbin/sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
        return {"bf16"} if answer.stdout.strip() == "1" else set()
    import torch

    # The oldest supported torch has no such function, and no other public one that names bfloat16.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return {name for name, has in capabilities().items() if has is True} if capabilities else set()


def features_in(cpuinfo: str) -> set[str]:
    """Return the first processor's features in /proc/cpuinfo's text (`flags` on x86, `Features` on Arm)."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def git_state(folder: Path | None = None) -> dict[str, Any] | None:
    """Return commit and dirty flag of the git checkout that contains `folder`; None outside one or without git.

    Runs no program that the checkout names: its configuration may be a stranger's. Submodules are not examined.
    `dirty` is None if git does not answer within GIT_TIMEOUT_S.
    """
    try:
        where = folder or Path.cwd()
        commit = _git(where, "rev-parse", "--verify", "HEAD").strip()
        config = _git(where, "config", "--list", "--name-only", "-z").split("\0")
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        # `status` compares the content of files, through the filter programs that .gitattributes and the configuration
        # name. An empty command is no filter.
        filters = [name for name in config if name.startswith("filter.")]
        already = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        switched_off = {"GIT_CONFIG_COUNT": str(already + len(filters))}
        for number, name in enumerate(filters, start=already):
            off = "false" if name.endswith(".required") else ""
            switched_off |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": off}
        status = _git(
            where, "status", "--porcelain", "--ignore-submodules=all", "--no-renames", **switched_off
        )
    except (OSError, subprocess.SubprocessError):
        return {"commit": commit, "dirty": None}
    return {"commit": commit, "dirty": bool(status.strip())}


def _git(folder: Path, *arguments: str, **variables: str) -> str:
    """Return what a git command prints; neither hooks nor a file system monitor nor a remote is used."""
    # The configuration of a checkout can name a program for each of these.
    options = ["-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "--no-pager"]
    safe = {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_TERMINAL_PROMPT": "0",
    }
    command = ["git", "-C", str(folder), *options, *arguments]
    # A file, because reading a pipe would also wait for the processes that a killed git has started.
    with tempfile.TemporaryFile() as output:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=GIT_TIMEOUT_S,
            env=os.environ | safe | variables,
        )
        output.seek(0)
        return os.fsdecode(output.read())


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB (10^6 bytes)."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes (getrusage(2)).
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def peak_accelerator_mb(device: Any) -> float | None:
    """Return the peak memory of tensors on an accelerator so far, in MB (10^6 bytes).

    Args:
        device: a torch.device. For the CPU, and for devices whose memory torch does not count (mps), returns None.
    """
    import torch

    if device.type == "cpu":
        return None
    count = getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return None if count is None else float(count(device)) / 1e6

"""The memory and the processor time that this process may use: the machine's, the container's and the user's limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 2**60
"""Linux writes the absence of a limit as `max`, or as a number near 2^63."""


@dataclass(frozen=True)
class Memory:
    """Memory in bytes."""

    total: int
    """Of the machine."""
    available: int
    """What this process can still allocate without swapping: of the machine, and within the limit."""
    limit: int | None
    """The least limit of the control groups (container, service, batch job) around this process; None if none."""


@dataclass(frozen=True)
class Processors:
    """Processor cores."""

    total: int
    """Logical cores of the machine."""
    usable: int
    """Cores that the affinity mask allows."""
    quota: float | None
    """Cores' worth of time that the control groups allow; None if none limits it."""

    @property
    def allowed(self) -> int:
        """Threads that can compute at a time."""
        return max(1, int(self.usable if self.quota is None else min(self.usable, self.quota)))


def memory(root: Path = Path("/")) -> Memory:
    """Return the memory of the machine and the limit of the control groups.

    psutil alone reads the machine's memory, of which a container may be allowed a fraction.

    Args:
        root: of the file system that holds proc and sys.
    """
    import psutil

    machine = psutil.virtual_memory()
    available, limit = machine.available, None
    for file in _limit_files(root, "memory", "memory.max", "memory.limit_in_bytes"):
        allowed = _number(file)
        if allowed is None or allowed >= UNLIMITED:
            continue
        folder = file.parent
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        # The kernel drops cached file pages before it refuses memory.
        used -= _statistic(folder / "memory.stat", ("inactive_file", "total_inactive_file"))
        limit = allowed if limit is None else min(limit, allowed)
        available = min(available, max(0, allowed - max(used, 0)))
    return Memory(machine.total, available, limit)


def processors(root: Path = Path("/")) -> Processors:
    """Return the cores of the machine and what limits their use; `root` as in `memory`."""
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    quotas = []
    for file in _limit_files(root, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        quota, _, period = (_text(file) or "").partition(" ")
        period = period or _text(file.with_name("cpu.cfs_period_us")) or ""
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return Processors(total, usable, min(quotas, default=None))


def _limit_files(root: Path, controller: str, unified: str, separate: str) -> Iterator[Path]:
    """Yield the files with the limits of the control groups around this process, innermost first.

    Args:
        root: of the file system.
        controller: `memory` or `cpu`.
        unified: the file's name in version 2 of control groups.
        separate: its name in version 1, where each controller has a tree of its own.
    """
    mount = root / "sys/fs/cgroup"
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            base, name = mount, unified
        elif controller in names.split(","):
            base, name = mount / controller, separate
        else:
            continue
        # In a container, the path may be that of the host, of which only the outermost group is visible.
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(base):
                break
            if (folder / name).is_file():
                yield folder / name


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text is not None and text.isdigit() else None


def _statistic(file: Path, names: tuple[str, ...]) -> int:
    """Return the value of the last of the names that a memory.stat has; 0 if it has none."""
    values = dict(line.split(maxsplit=1) for line in (_text(file) or "").splitlines() if " " in line)
    return next((int(values[name]) for name in reversed(names) if values.get(name, "").isdigit()), 0)

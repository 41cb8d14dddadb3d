"""Tests of limits.py: the limits of control groups of both versions count, wherever they are set."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from submillion import limits

MB = 10**6


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    memory, processors = limits.memory(tmp_path), limits.processors(tmp_path)
    assert memory.limit is None
    assert memory.total == psutil.virtual_memory().total
    assert 0 < memory.available <= memory.total
    assert processors.quota is None
    assert 1 <= processors.usable <= processors.total


def test_the_least_limit_of_nested_groups_counts_without_the_file_cache(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step",
            "sys/fs/cgroup/job/step/memory.max": "max",
            "sys/fs/cgroup/job/memory.max": f"{60 * MB}",
            "sys/fs/cgroup/job/memory.current": f"{50 * MB}",
            "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {30 * MB}",
            "sys/fs/cgroup/job/step/cpu.max": "150000 100000",
            "sys/fs/cgroup/job/cpu.max": "max 100000",
        },
    )
    memory = limits.memory(tmp_path)
    assert (memory.limit, memory.available) == (60 * MB, 40 * MB)
    assert limits.processors(tmp_path).quota == 1.5
    assert limits.Processors(8, 8, 0.5).allowed == 1
    assert limits.Processors(8, 8, 2.9).allowed == 2
    assert limits.Processors(8, 4, None).allowed == 4


def test_groups_of_version_1_in_a_container_that_shows_only_its_own(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/host/path\n3:cpu,cpuacct:/host/path\n0::/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{80 * MB}",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{90 * MB}",
            "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {20 * MB}",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    memory = limits.memory(tmp_path)
    assert (memory.limit, memory.available) == (80 * MB, 10 * MB)
    assert limits.processors(tmp_path).quota == 2


@pytest.mark.parametrize("text", ["9223372036854771712", "-1", "no number", ""])
def test_no_limit_and_unreadable_files(tmp_path: Path, text: str) -> None:
    _write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n1:cpu:/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": text,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": text,
        },
    )
    assert limits.memory(tmp_path).limit is None
    assert limits.processors(tmp_path).quota is None

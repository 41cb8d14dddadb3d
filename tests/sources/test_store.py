"""Cached folders: filled once, complete or absent, hashed again after a change, shared between processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from submillion.errors import BadInput, SubmillionError
from submillion.sources import store
from support import SRC

SHA_ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"  # of b"one"


def filler(calls: list[str], content: bytes = b"one") -> Callable[[Path], dict[str, str]]:
    def fill(folder: Path) -> dict[str, str]:
        calls.append("called")
        (folder / "a.txt").write_bytes(content)
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_bytes(b"two")
        return {"from": "a test"}

    return fill


def test_a_folder_is_filled_once_and_has_a_receipt(tmp_path: Path) -> None:
    calls: list[str] = []
    for _ in range(2):
        receipt = store.cached_folder(tmp_path / "x", filler(calls))
        assert receipt["files"]["a.txt"]["sha256"] == SHA_ONE
        assert set(receipt["files"]) == {"a.txt", "sub/b.txt"}
        assert receipt["facts"] == {"from": "a test"}
    assert calls == ["called"]
    assert {entry.name for entry in tmp_path.iterdir() if entry.is_dir()} == {"x"}


@pytest.mark.parametrize("harm", ["shorter", "changed", "missing", "receipt"])
def test_a_broken_folder_is_filled_again(tmp_path: Path, harm: str) -> None:
    calls: list[str] = []
    store.cached_folder(tmp_path / "x", filler(calls))
    file = tmp_path / "x" / "a.txt"
    if harm == "shorter":
        file.write_bytes(b"o")
    elif harm == "changed":
        file.write_bytes(b"eno")
        os.utime(file, ns=(0, 0))
    elif harm == "missing":
        file.unlink()
    else:
        (tmp_path / "x" / store.RECEIPT).write_text('{"files": {"a.txt": 3}}')
    store.cached_folder(tmp_path / "x", filler(calls))
    assert len(calls) == 2
    assert file.read_bytes() == b"one"


def test_a_copy_from_another_machine_is_hashed_not_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    store.cached_folder(tmp_path / "x", filler(calls))
    shutil.copytree(tmp_path / "x", tmp_path / "y", copy_function=shutil.copyfile)
    for name in ("a.txt", "sub/b.txt"):
        os.utime(tmp_path / "y" / name, ns=(1, 1))
    store.cached_folder(tmp_path / "y", filler(calls))
    assert calls == ["called"]
    # The new times are remembered, so the next call reads no file.
    monkeypatch.setattr(store, "sha256_of", lambda file: pytest.fail(f"{file} was read"))
    assert store.intact(tmp_path / "y") is not None


def test_a_folder_of_another_catalog_is_out_of_date(tmp_path: Path) -> None:
    calls: list[str] = []
    first = store.cached_folder(tmp_path / "x", filler(calls))
    hashes = {name: entry["sha256"] for name, entry in first["files"].items()}
    store.cached_folder(tmp_path / "x", filler(calls), hashes)
    assert len(calls) == 1
    store.cached_folder(tmp_path / "x", filler(calls, b"new"), hashes | {"a.txt": "0" * 64})
    assert len(calls) == 2


def test_a_failure_leaves_no_folder_and_keeps_the_old_one(tmp_path: Path) -> None:
    def refused(folder: Path) -> dict[str, str]:
        (folder / "half").write_bytes(b"half")
        raise BadInput("no")

    with pytest.raises(BadInput):
        store.cached_folder(tmp_path / "x", refused)
    assert [entry for entry in tmp_path.iterdir() if entry.is_dir()] == []
    store.cached_folder(tmp_path / "x", filler([]))
    with pytest.raises(BadInput):
        store.cached_folder(tmp_path / "x", refused, {"other": "0" * 64})
    assert (tmp_path / "x" / "a.txt").read_bytes() == b"one"


def test_a_full_disk_is_one_error_with_a_remedy(tmp_path: Path) -> None:
    def full(folder: Path) -> dict[str, str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SubmillionError, match=r"could not be written \(No space left.*SUBMILLION_CACHE"):
        store.cached_folder(tmp_path / "x", full)


def test_two_processes_fill_once(tmp_path: Path) -> None:
    script = f"""
import sys, time; sys.path.insert(0, {str(SRC)!r})
from pathlib import Path
from submillion.sources import store
def fill(folder):
    with open({str(tmp_path / "calls")!r}, "a") as calls: calls.write("x")
    time.sleep(1.5)
    (folder / "a.txt").write_text("one")
    return {{}}
store.cached_folder(Path({str(tmp_path / "x")!r}), fill)
"""
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    output = "".join(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], output
    assert (tmp_path / "calls").read_text() == "x"
    assert "another process is fetching x; waiting for it." in output


def test_hashes_of_unchanged_files_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"one")
    receipt = tmp_path / "receipts" / "r.json"
    assert store.hashes(tmp_path, ["a"], receipt) == {"a": SHA_ONE}
    monkeypatch.setattr(store, "sha256_of", lambda file: pytest.fail(f"{file} was read"))
    assert store.hashes(tmp_path, ["a"], receipt) == {"a": SHA_ONE}
    monkeypatch.undo()
    (tmp_path / "a").write_bytes(b"other")
    assert store.hashes(tmp_path, ["a"], receipt) != {"a": SHA_ONE}


def change_in_secret(file: Path, content: bytes) -> None:
    """Replace the bytes of a file as broken hardware would: size, times and inode stay; the receipt is made to fit."""
    file.write_bytes(content)
    stat = file.stat()
    receipt = file.parent / store.RECEIPT
    values = json.loads(receipt.read_text())
    facts = {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }
    values["files"][file.name] |= facts
    receipt.write_text(json.dumps(values))


def test_a_change_that_no_fact_shows_is_found_when_hashed_in_full(tmp_path: Path) -> None:
    store.cached_folder(tmp_path / "x", filler([]))
    assert store.intact(tmp_path / "x")
    change_in_secret(tmp_path / "x" / "a.txt", b"eno")
    assert store.intact(tmp_path / "x"), "the weakness that SECURITY.md names"
    with store.hashed_in_full():
        assert store.intact(tmp_path / "x") is None
    assert store.intact(tmp_path / "x")


@pytest.mark.parametrize("how", ["its time of modification put back", "replaced by another file"])
def test_a_changed_file_of_equal_size_and_time_is_found(how: str, tmp_path: Path) -> None:
    store.cached_folder(tmp_path / "x", filler([]))
    file = tmp_path / "x" / "a.txt"
    before = file.stat().st_mtime_ns
    if how == "replaced by another file":
        (tmp_path / "other").write_bytes(b"eno")
        (tmp_path / "other").replace(file)
    else:
        file.write_bytes(b"eno")
    os.utime(file, ns=(before, before))
    assert store.intact(tmp_path / "x") is None


def test_a_file_is_hashed_once_in_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.cached_folder(tmp_path / "x", filler([]))
    calls: list[Path] = []
    real = store.sha256_of
    monkeypatch.setattr(store, "sha256_of", lambda file: calls.append(file) or real(file))
    store.intact(tmp_path / "x")
    assert calls == []
    with store.hashed_in_full():
        for _ in range(2):
            store.intact(tmp_path / "x")
    assert len(calls) == 2

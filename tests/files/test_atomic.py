"""Files and folders are replaced whole, or stay what they were."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from submillion.errors import SubmillionError
from submillion.files.atomic import ABANDONED_S, atomic_dir, atomic_file, forget_abandoned


def test_a_directory_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    atomic_dir(target, lambda folder: (folder / "a").write_text("old"))

    def broken(folder: Path) -> None:
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SubmillionError, match="No space left"):
        atomic_dir(target, broken)
    assert (target / "a").read_text() == "old"
    atomic_dir(target, lambda folder: (folder / "b").write_text("new"))
    assert [file.name for file in target.iterdir()] == ["b"]
    assert [file.name for file in tmp_path.iterdir()] == ["adapter"]


def test_an_error_inside_the_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "old"


def test_what_killed_processes_left_goes_after_a_day(tmp_path: Path) -> None:
    day = time.time() - ABANDONED_S
    made = {".a.x1": day - 60, ".b.x2": day + 3600, ".c.lock": day - 60, "d": day - 60, ".mine.x4": day - 60}
    for name, written in made.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").touch()
        os.utime(folder, (written, written))
    file = tmp_path / ".e.x3"
    file.touch()
    os.utime(file, (day - 60, day - 60))
    forget_abandoned(tmp_path, "[a-e]")
    assert {path.name for path in tmp_path.iterdir()} == {".b.x2", ".c.lock", "d", ".mine.x4"}
    forget_abandoned(tmp_path / "absent", "*")

"""The cache folder, the lock between processes and threads, and pruning."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from submillion import cache, notices
from submillion.cache import lock_of, locked, prune
from submillion.errors import BadInput


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "given/submillion"),
        ("linux", None, "home/.cache/submillion"),
        ("darwin", None, "home/Library/Caches/submillion"),
        ("win32", "LOCALAPPDATA", "given/submillion"),
    ],
)
def test_the_cache_folder_is_in_the_place_for_caches_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str | None, expected: str
) -> None:
    monkeypatch.delenv("SUBMILLION_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "given"))
    assert cache.cache_root() == tmp_path / expected


def test_without_a_home_folder_a_message_says_how_to_name_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("given").absolute()))
    monkeypatch.setenv("SUBMILLION_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(BadInput, match="found '~nobody-of-this-name/x', of an unknown user"):
        cache.cache_root()
    monkeypatch.delenv("SUBMILLION_CACHE")
    assert cache.cache_root() == Path("given").absolute() / "submillion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(
        BadInput, match="a user without a home folder. Set the environment variable SUBMILLION_CACHE"
    ):
        cache.cache_root()


def test_a_second_process_waits_for_the_lock_with_a_notice(tmp_path: Path) -> None:
    order: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with locked(lock_of(tmp_path / "x")):
            held.set()
            threading.Event().wait(1.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with (
        pytest.raises(BlockingIOError, match="x.lock is held by another process"),
        locked(lock_of(tmp_path / "x"), wait=False),
    ):
        order.append("never")
    with locked(lock_of(tmp_path / "x"), "waiting for x."):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert [notice["text"] for notice in notices.collected()] == ["waiting for x."]


def test_pruning_deletes_the_least_recently_used_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ids").write_bytes(b"x" * 60)
    for name in ("a", "b", "c", ".a.lock", ".left.over"):
        (tmp_path / name).write_bytes(b"x" * 60)
    for age, name in enumerate((".left.over", ".a.lock", "folder", "a", "b", "c")):
        os.utime(tmp_path / name, (age, age))
    prune(tmp_path, 120)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "b", "c"]
    prune(tmp_path / "absent", 0)

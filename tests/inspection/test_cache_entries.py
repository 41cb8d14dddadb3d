"""Tests of the list of cache entries and of pruning: what is in use, not ours, or behind a link stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from submillion.errors import BadInput
from submillion.inspection.cache_entries import listing
from submillion.inspection.cache_pruning import age_seconds, byte_size, prune

TOKENS, STATES = f"{'a' * 32}.safetensors", f"{'b' * 32}.safetensors"
DAY = 86400.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a cache folder with one entry of most kinds; the number in a name is its age in days."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SUBMILLION_CACHE", str(folder))
    for name, size, days in (
        (f"tokens/{TOKENS}", 100, 1),
        (f"prefix/{STATES}", 1000, 3),
        ("encoders/small/model.safetensors", 500, 0),
        ("encoders/small/submillion.json", 10, 10),
        ("data/org--set/0123-plain/submillion.json", 20, 5),
        ("data/org--set/revisions.json", 5, 5),
        (f"hub/org--model/{'c' * 40}.json", 30, 6),
        (f"estimators/{'d' * 32}/manifest.json", 40, 100),
        ("wheels/package-1-py3-none-any.whl", 50, 2),
        (f"prefix/.{STATES}.0123abcd", 7, 2),
        (f"tokens/.{TOKENS}.lock", 0, 2),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
        for path in (file, file.parent):
            os.utime(path, (time.time() - days * DAY, time.time() - days * DAY))
    return folder


def names() -> set[str]:
    return {f"{entry.kind}/{entry.name}" for entry in listing().entries}


def test_every_entry_is_listed_with_its_size_and_last_use(root: Path) -> None:
    found = {f"{entry.kind}/{entry.name}": entry for entry in listing().entries}
    assert {name: entry.size for name, entry in found.items()} == {
        f"tokens/{TOKENS}": 100,
        f"prefix/{STATES}": 1000,
        "encoders/small": 510,
        "data/org--set/0123-plain": 20,
        f"hub/org--model/{'c' * 40}.json": 30,
        f"estimators/{'d' * 32}": 40,
        "wheels/package-1-py3-none-any.whl": 50,
        f"prefix/.{STATES}.0123abcd": 7,
    }
    assert found["encoders/small"].age_s == pytest.approx(10 * DAY, abs=60)
    assert [name for name, entry in found.items() if entry.unfinished] == [f"prefix/.{STATES}.0123abcd"]
    assert listing().render().endswith(f"{root}: 1.8 kB in 8 entries")


def test_without_a_cache_folder_nothing_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMILLION_CACHE", str(tmp_path / "none"))
    assert listing().render() == f"{tmp_path / 'none'}: 0 bytes in 0 entries"
    assert prune(everything=True).freed == 0


def test_the_least_recently_used_go_until_the_rest_fits(root: Path) -> None:
    pruned = prune(max_size="1.3kB")
    assert [entry.name for entry in pruned.deleted] == ["small"]
    assert (pruned.freed, pruned.rest) == (510, 1247)
    assert "encoders/small" not in names()
    assert (root / "encoders").is_dir()


def test_entries_older_than_an_age_go_but_no_trained_classifier(root: Path) -> None:
    pruned = prune(older_than="4d")
    assert {entry.kind for entry in pruned.deleted} == {"encoders", "data", "hub"}
    assert (root / "data" / "org--set" / "revisions.json").is_file()
    assert prune(older_than="4d", kinds=["estimators"]).freed == 40


def test_a_dry_run_deletes_nothing(root: Path) -> None:
    before = names()
    pruned = prune(everything=True, dry_run=True)
    assert pruned.freed == 1717
    assert "would be freed" in pruned.render()
    assert names() == before


def test_locked_and_fresh_entries_stay(root: Path) -> None:
    fresh = root / "tokens" / f".{TOKENS}.89abcdef"
    fresh.write_bytes(b"x")
    with FileLock(root / "encoders" / ".small.lock"), FileLock(root / "prefix" / f".{STATES}.lock"):
        pruned = prune(everything=True)
    # The wheel belongs to whatever is being fetched, and the temporary file to the states that are being written.
    assert pruned.retained == {
        "encoders/small": "a running process uses it",
        "wheels/package-1-py3-none-any.whl": "a running process uses it",
        f"prefix/{STATES}": "a running process uses it",
        f"prefix/.{STATES}.0123abcd": "a running process uses it",
        f"tokens/.{TOKENS}.89abcdef": "a process may be writing it",
    }
    assert {entry.kind for entry in pruned.deleted} == {"tokens", "data", "hub"}
    run = root / "estimators" / ("d" * 32)
    with FileLock(run / ".lock"):
        assert list(prune(everything=True, kinds=["estimators"]).retained) == [f"estimators/{run.name}"]
    assert run.is_dir()


def test_links_and_foreign_files_are_neither_followed_nor_deleted(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / TOKENS).write_bytes(b"mine")
    (outside / "submillion.json").write_bytes(b"mine")
    (root / "sheets").symlink_to(outside)
    (root / "encoders" / "linked").symlink_to(outside)
    (root / "encoders" / "small" / "linked").symlink_to(outside)
    for foreign in ("data/photos/holiday.jpg", "tokens/readme.txt", "else/a.txt"):
        (root / foreign).parent.mkdir(parents=True, exist_ok=True)
        (root / foreign).write_bytes(b"mine")
    prune(everything=True)
    assert sorted(path.name for path in outside.iterdir()) == [TOKENS, "submillion.json"]
    assert not (root / "encoders" / "small").exists()
    assert (root / "encoders" / "linked").is_symlink()
    for foreign in ("data/photos/holiday.jpg", "tokens/readme.txt", "else/a.txt"):
        assert (root / foreign).is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "found none"),
        ({"max_size": "1GB", "everything": True}, "found several"),
        ({"max_size": "big"}, "a size such as 20GB or 500MB, found 'big'"),
        ({"max_size": "-1"}, "found '-1'"),
        ({"older_than": "3y"}, "a time such as 12h, 30d or 4w, found '3y'"),
        ({"everything": True, "kinds": ["token"]}, "Did you mean 'tokens'"),
    ],
)
def test_options_that_say_nothing_or_too_much_are_refused(
    root: Path, options: dict[str, str], message: str
) -> None:
    before = names()
    with pytest.raises(BadInput, match=message):
        prune(**options)
    assert names() == before


def test_sizes_and_ages() -> None:
    assert byte_size("20GB") == 20 * 10**9
    assert byte_size(" 1.5 mib ") == 3 * 2**19
    assert byte_size("0") == 0
    assert age_seconds("12h") == 43_200
    assert age_seconds("2w") == 14 * DAY

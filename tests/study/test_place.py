"""Tests of the directory that a study may take: no file of the user's is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion.errors import BadInput
from submillion.study.place import LOCK, check_place


def test_a_new_or_empty_folder_is_taken_and_not_made(tmp_path: Path) -> None:
    assert check_place(tmp_path) == tmp_path
    assert check_place(tmp_path / "of" / "mine") == tmp_path / "of" / "mine"
    assert not (tmp_path / "of").exists()


def test_a_folder_with_files_of_other_names_and_that_of_a_study_are_taken(tmp_path: Path) -> None:
    for name in ("mine.yaml", "train.csv", "runs"):
        (tmp_path / name).touch()
    check_place(tmp_path)
    (tmp_path / "study.yaml").touch()
    (tmp_path / LOCK).touch()
    check_place(tmp_path)


def test_the_directory_of_a_copied_study_is_taken_without_its_lock(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").touch()
    for name in ("recipes", "logs", "runs"):
        (tmp_path / name).mkdir()
    check_place(tmp_path)


@pytest.mark.parametrize("name", ["study.yaml", "report.html", "figures", "manifest.json"])
def test_a_folder_whose_files_a_study_would_replace_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / name).touch()
    with pytest.raises(BadInput, match=r"`out`: expected a new folder, or that of a study") as refused:
        check_place(tmp_path)
    assert name in str(refused.value) or "a run" in str(refused.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["runs", name])


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(BadInput, match="`out`"):
            check_place(place)

"""Folders of data: the split of each file."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.sources.data_folder import data_files, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("test_public", "test"),
        ("agnews-dev", "validation"),
        ("valid", "validation"),
        ("validation_matched", "validation"),
        ("TRAIN-00000-of-00002", "train"),
        ("trainset", "train"),
        ("value", None),
        ("latest", None),
        ("constrained", None),
    ],
)
def test_splits_are_recognised_by_whole_words(name: str, split: str | None) -> None:
    assert split_of(name) == split


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_by_split(folder: Path) -> dict[str, list[str]]:
    found = data_files(folder)
    return {split: [file.relative_to(folder).as_posix() for file in files] for split, files in found.items()}


def test_the_published_ag_news_folder(tmp_path: Path) -> None:
    folder = made(tmp_path, "train.csv", "test.csv", "classes.txt", "readme.txt")
    assert names_by_split(folder) == {"train": ["train.csv"], "test": ["test.csv"]}


def test_files_of_one_split_are_used_together_in_order(tmp_path: Path) -> None:
    shards = [f"data/train-0000{number}-of-00002.parquet" for number in range(2)]
    folder = made(tmp_path, *reversed(shards), "data/validation-00000.parquet", "data/.hidden.parquet")
    assert names_by_split(folder) == {"train": shards, "validation": ["data/validation-00000.parquet"]}


def test_the_name_of_the_folder_gives_the_split_if_that_of_the_file_does_not(tmp_path: Path) -> None:
    saved = ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"]
    names = [f"{split}/{name}" for split in ("train", "test") for name in saved]
    folder = made(tmp_path, *names, "dataset_dict.json")
    assert names_by_split(folder) == {"test": [f"test/{saved[0]}"], "train": [f"train/{saved[0]}"]}


def test_without_split_names_all_files_are_train(tmp_path: Path) -> None:
    assert names_by_split(made(tmp_path, "b.csv", "a.csv", "notes.txt")) == {"train": ["a.csv", "b.csv"]}


def test_plain_text_files_are_data_only_if_there_are_no_others(tmp_path: Path) -> None:
    assert names_by_split(made(tmp_path, "lines.txt")) == {"train": ["lines.txt"]}


def test_a_file_without_a_split_in_its_name_is_ignored_with_a_notice(tmp_path: Path) -> None:
    assert names_by_split(made(tmp_path, "train.csv", "extra.csv")) == {"train": ["train.csv"]}
    assert [notice["files"] for notice in notices.collected()] == [1]
    assert "extra.csv" in notices.collected()[0]["text"]


def test_a_split_in_several_folders_is_used_together_with_a_notice(tmp_path: Path) -> None:
    folder = made(tmp_path, "en/train.csv", "de/train.csv", "en/test.csv")
    assert names_by_split(folder) == {"train": ["de/train.csv", "en/train.csv"], "test": ["en/test.csv"]}
    (notice,) = notices.collected()
    assert (notice["code"], notice["folders"]) == ("several_folders", 2)
    assert "the files of split train are in 2 folders and are used together: de, en." in notice["text"]


@pytest.mark.parametrize(
    ("names", "deep"),
    [
        (["train.csv", "data/en/train.csv", "data/en/other/dev.csv"], ["data/en/train.csv", "dev.csv"]),
        (["a.csv", "data/en/b.csv"], ["data/en/b.csv"]),
        (["train.csv", "runs/one/metrics.json", ".cache/one/train.csv", "docs/one/train.txt"], []),
    ],
)
def test_data_files_that_lie_deeper_are_named(tmp_path: Path, names: list[str], deep: list[str]) -> None:
    assert names_by_split(made(tmp_path, *names)) == {"train": names[:1]}
    found = [notice for notice in notices.collected() if notice["code"] == "files_too_deep"]
    assert [notice["files"] for notice in found] == ([len(deep)] if deep else [])
    assert all(name in found[0]["text"] for name in deep)


def test_the_same_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"split train: expected files of one format, found train.csv, train.jsonl"
    ):
        data_files(made(tmp_path, "train.csv", "train.jsonl"))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected data files \(.csv, .tsv"):
        data_files(made(tmp_path, "picture.png"))


def test_folders_of_other_files_are_told_what_a_text_ends_in(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"none, but 2 \.md and 1 \.eml in its folders\. .* class, save each text as a"
    ):
        data_files(made(tmp_path, "pos/1.md", "pos/2.md", "neg/1.eml"))


def test_locks_of_spreadsheet_programs_are_no_data(tmp_path: Path) -> None:
    made(tmp_path, "train.xlsx", "~$train.xlsx", ".~lock.train.xlsx#")
    (tmp_path / ".#train.xlsx").symlink_to("user@host.1")  # of Emacs
    assert names_by_split(tmp_path) == {"train": ["train.xlsx"]}


def test_a_link_to_data_that_do_not_exist_is_refused(tmp_path: Path) -> None:
    (made(tmp_path, "train.csv") / "test.csv").symlink_to("gone.csv")
    with pytest.raises(
        BadInput, match=r"test\.csv: expected a file, found a link to gone\.csv, which does not"
    ):
        data_files(tmp_path)

"""Folders of texts named after their classes are read as splits, texts and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.corpus import load_corpus
from submillion.errors import BadInput
from submillion.recipe import DataRecipe
from submillion.sources.class_folders import ClassFolders
from submillion.sources.fetch import fetch_data


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def reviews(folder: Path, below: str = "", suffix: str = ".txt", count: int = 6) -> Path:
    texts = {
        f"{below}{label}/{number}{suffix}": f'{label} "review",\nof {count} {number}\n'
        for label in ("pos", "neg")
        for number in range(count)
    }
    return write(folder, dict(texts))


def texts_of_notices() -> str:
    return "\n".join(notice["text"] for notice in notices.collected())


@pytest.mark.parametrize("suffix", [".txt", "", ".2"])
def test_folders_are_classes(tmp_path: Path, suffix: str) -> None:
    corpus = load_corpus(DataRecipe(train=str(reviews(tmp_path, suffix=suffix))), 42, progress=False)
    assert corpus.label_names == ["neg", "pos"]
    texts = [*corpus.train.texts, *corpus.validation.texts]
    assert sorted(texts) == sorted(
        f'{label} "review",\nof 6 {number}' for label in ("pos", "neg") for number in range(6)
    )
    assert f"neg/3{suffix}" in [*corpus.train.ids, *corpus.validation.ids]
    assert corpus.test is None
    assert f"{tmp_path}: 12 texts in 2 folders, which are the classes: neg, pos." in texts_of_notices()


def test_splits_are_folders_above_the_classes(tmp_path: Path) -> None:
    reviews(reviews(tmp_path, "train/"), "test/", count=2)
    write(tmp_path, {"README": "x", "train/urls.txt": "x", "train/unsup/1.txt": "x", ".hidden/a/1.txt": "x"})
    data = fetch_data(str(tmp_path))
    assert sorted(data.files) == sorted(data.sha256) == ["test", "train"]
    corpus = load_corpus(DataRecipe(train=str(tmp_path)), 42, progress=False)
    assert corpus.label_names == ["neg", "pos"]
    assert corpus.test is not None and sorted(corpus.test.ids)[0] == "test/neg/0.txt"
    assert "folders of texts without a class are not used: train/unsup." in texts_of_notices()


def test_the_hash_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    first = fetch_data(str(reviews(tmp_path / "a"))).sha256
    assert fetch_data(str(reviews(tmp_path / "b"))).sha256 == first
    write(tmp_path / "b", {"pos/0.txt": "other"})
    changed = fetch_data(str(tmp_path / "b"))
    assert changed.sha256 != first
    assert "other" in changed.files["train"][0].read_text(encoding="utf-8")
    (tmp_path / "a" / "pos" / "0.txt").rename(tmp_path / "a" / "pos" / "6.txt")
    assert fetch_data(str(tmp_path / "a")).sha256 != first


def test_texts_in_another_encoding_are_read_and_counted(tmp_path: Path) -> None:
    reviews(tmp_path)
    write(tmp_path, {f"pos/{number}.txt": f"schöne Grüße {number}\n".encode("cp1252") for number in (1, 2)})
    for _ in range(2):  # the second time from the cache
        with notices.collecting(quiet=True):
            (file,) = fetch_data(str(tmp_path)).files["train"]
            assert "train: not utf-8; read 2 files as cp1252." in texts_of_notices()
    assert "schöne Grüße 2" in file.read_text(encoding="utf-8")
    (named,) = fetch_data(str(tmp_path), encoding="cp850").files["train"]
    assert "sch÷ne" in named.read_text(encoding="utf-8")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(reviews(tmp_path), {"pos/image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0"})
    with pytest.raises(BadInput, match=r"pos/image, line 3: expected text, found a byte of value zero"):
        fetch_data(str(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        {"train.csv": "x", "pos/1.txt": "x", "neg/1.txt": "x"},
        {"data/train.csv": "x", "pos/1.txt": "x", "neg/1.txt": "x"},
        {"train/1.txt": "x", "test/1.txt": "x"},
        {"en/train.txt": "x", "de/train.txt": "x", "de/test.txt": "x"},
        {"pos/1.txt": "x"},
        {"1.txt": "x", "2.txt": "x"},
        {"pos/1.html": "x", "neg/1.html": "x"},
    ],
)
def test_other_folders_are_not_read_as_classes(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert ClassFolders.found(write(tmp_path, files)) is None


def test_files_of_other_types_are_counted(tmp_path: Path) -> None:
    write(
        reviews(tmp_path),
        {"pos/1.pdf": "x", "neg/2.pdf": "x", "neg/a.md": "x", "neg/~$a.docx": "x", "x/1.pdf": "x"},
    )
    fetch_data(str(tmp_path))
    assert "files of other types than .txt are not read: 3 .pdf and 1 .md." in texts_of_notices()


def test_a_link_to_a_text_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (reviews(tmp_path) / "pos" / "7.txt").symlink_to("gone.txt")
    with pytest.raises(
        BadInput, match=r"7\.txt: expected a file, found a link to gone\.txt, which does not exist"
    ):
        fetch_data(str(tmp_path))

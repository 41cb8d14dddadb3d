"""Archives of one data file are read, others refused; nothing is unpacked beyond its bounds."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from submillion.data.readers import read_rows
from submillion.errors import BadInput
from submillion.sources import archive
from submillion.sources.fetch import fetch_data

ROWS = b"text,label\none,a\ntwo,b\n"


def write_zip(path: Path, **files: bytes) -> Path:
    """Write a zip archive; `__` in a keyword stands for a dot in the name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "."), content)
    return path


def test_gzip_and_zip_archives_are_read(tmp_path: Path, own_cache: Path) -> None:
    packed = tmp_path / "train.csv.gz"
    packed.write_bytes(gzip.compress(ROWS))
    zipped = write_zip(tmp_path / "any.zip", train__csv=ROWS, README__md=b"about the data")
    for path in (packed, zipped):
        rows = read_rows([path])
        assert rows.labels == ["a", "b"] and rows.where(1) == "train.csv, line 3"
    assert [file.name for file in fetch_data(str(packed)).files["train"]] == ["train.csv"]
    assert own_cache in fetch_data(str(packed)).files["train"][0].parents
    lines = tmp_path / "rows.jsonl.gz"
    lines.write_bytes(gzip.compress(b'{"text": "one", "label": "a"}\n'))
    assert read_rows([lines]).labels == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.csv.gz", gzip.compress(ROWS, mtime=0)[:-6], "expected a readable archive, found a damaged one"),
        (
            "odd.csv.gz",
            gzip.compress(gzip.compress(ROWS, mtime=0), mtime=0),
            "found an archive inside an archive",
        ),
        ("cut.zip", b"PK\x03\x04rest", "expected a readable archive, found a damaged one"),
    ],
    ids=["cut gz", "gz in gz", "cut zip"],
)
def test_damaged_archives_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_rows([tmp_path / name])


def test_archives_of_several_or_no_data_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"an archive of one data file, found train\.csv, test\.csv\. Unpack"):
        read_rows([write_zip(tmp_path / "two.zip", train__csv=ROWS, test__csv=ROWS)])
    with pytest.raises(BadInput, match=r"an archive of one data file, found README\.md\. Unpack"):
        read_rows([write_zip(tmp_path / "none.zip", README__md=b"x")])
    with pytest.raises(BadInput, match="a pickle, and reading one runs code|an archive of one data file"):
        read_rows([write_zip(tmp_path / "pickle.zip", data__csv=b"\x80\x04K\x01.")])


def test_a_path_in_an_archive_does_not_lead_out_of_the_cache(tmp_path: Path, own_cache: Path) -> None:
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as packed:
        packed.writestr("../../../train.csv", ROWS)
    with pytest.raises(BadInput, match="an archive of one data file"):
        read_rows([tmp_path / "slip.zip"])
    with zipfile.ZipFile(tmp_path / "root.zip", "w") as packed:
        packed.writestr("/etc/train.csv", ROWS)
    assert read_rows([tmp_path / "root.zip"]).labels == ["a", "b"]
    (file,) = {*own_cache.rglob("train.csv"), *tmp_path.rglob("train.csv")}
    assert own_cache in file.parents


def test_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LEAST", 1 << 20)
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"text,label\n" + b"x,a\n" * 500_000))
    with pytest.raises(BadInput, match="content of at most 50 times the size of the archive"):
        read_rows([bomb])
    assert list((own_cache / "unpacked").rglob("*.csv")) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train.tar.gz", r"found an archive of tar\. Unpack it"),
        ("train.tgz", r"found an archive of tar\. Unpack it"),
        (
            "train.gz",
            r"found 'train\.gz'\. Rename it after its format: train\.csv\.gz, \.jsonl\.gz or \.txt\.gz",
        ),
    ],
)
def test_a_compressed_file_without_a_known_suffix_is_refused_by_its_own_name(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).write_bytes(gzip.compress(ROWS))
    for read in (lambda path: read_rows([path]), lambda path: fetch_data(str(path))):
        with pytest.raises(BadInput, match=message) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)

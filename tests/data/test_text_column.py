"""A column of texts behaves like a list, in memory and in a file, from several threads too."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submillion.data import text_column
from submillion.data.text_column import TextColumn
from submillion.errors import SubmillionError

TEXTS = ["", "goal", "naïve 😀", "x" * 5000, "\n\0 ", "goal"]
encodable = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(params=[16 << 20, 100], ids=["memory", "file"])
def column(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextColumn]:
    monkeypatch.setattr(text_column, "IN_MEMORY", request.param)
    yield TextColumn(TEXTS)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_behaves_like_a_list(column: TextColumn) -> None:
    assert len(column) == len(TEXTS) and list(column) == TEXTS == column and column == TextColumn(TEXTS)
    assert (
        column[1] == "goal"
        and column[-1] == "goal"
        and column[1:4] == TEXTS[1:4]
        and column[::-1] == TEXTS[::-1]
    )
    assert "naïve 😀" in column and column.index("x" * 5000) == 3 and column.count("goal") == 2
    for outside in (len(TEXTS), -len(TEXTS) - 1):
        with pytest.raises(IndexError):
            column[outside]


def test_other_texts_are_not_equal(column: TextColumn) -> None:
    assert column != TEXTS[:-1] and column != [*TEXTS[:-1], "own goal"]
    assert TextColumn(["a", "b"]) != "ab" and column != 3


def test_taken_texts_are_a_column_of_their_own(column: TextColumn) -> None:
    some = column.take([5, 2, 2])
    assert some == ["goal", "naïve 😀", "naïve 😀"]
    some.append("more")
    column.append("another")
    assert some == ["goal", "naïve 😀", "naïve 😀", "more"] and column == [*TEXTS, "another"]
    assert some.take([3, 0]) == ["more", "goal"] and column.take([]) == []


@given(st.lists(encodable), st.data())
def test_texts_are_read_as_they_were_added(texts: list[str], data: st.DataObject) -> None:
    column = TextColumn(texts)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_column, "READ_TOGETHER", 2)
        assert column == texts and column.take(rows) == [texts[row] for row in rows]


def test_half_a_surrogate_pair_is_rejected_and_adds_nothing() -> None:
    column = TextColumn(["a"])
    with pytest.raises(UnicodeEncodeError):
        column.append("\ud83d")
    assert column == ["a"]


def test_threads_read_their_own_texts(column: TextColumn) -> None:
    def read(start: int) -> bool:
        return all(column[(start + step) % 6] == TEXTS[(start + step) % 6] for step in range(300))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(64)))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_the_file_is_deleted_with_the_last_column(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(text_column, "IN_MEMORY", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_files()
    column = TextColumn(TEXTS)
    some = column.take([1])
    del column
    assert some[0] == "goal" and open_files() == before + 1
    del some
    assert open_files() == before and not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error_with_a_remedy(column: TextColumn, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def seek(self, place: int) -> None: ...

    monkeypatch.setattr(column._index.file, "_file", Full())
    with pytest.raises(SubmillionError, match="No space left on device.*TMPDIR"):
        column.append("more")
    assert len(column) == len(TEXTS)

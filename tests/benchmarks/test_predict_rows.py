"""Tests of the benchmark of very many rows: it finds a row that is missing, out of order or labelled otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import predict_rows
from benchmarks.predict_rows import measure, rows_in_parts

ROWS = 5_000
Edit = Callable[[list[str]], list[str]]


def stand_in(edit: Edit) -> Callable[..., dict[str, Any]]:
    """Return a `predict` that labels a text with its first word; `edit` changes the lines of the large output."""

    def predict(
        _run: Path, file: Path, out: Path, *options: str, until_rows: int | None = None
    ) -> dict[str, Any]:
        if until_rows is None:
            texts = file.read_text(encoding="utf-8").splitlines()[1:]
            lines = [f"{number},{text.split()[0]}" for number, text in enumerate(texts)]
            lines = edit(lines) if len(lines) == ROWS else lines
            out.write_text("\n".join(["ID,Label", *lines]) + "\n", encoding="utf-8")
            assert options == (("--resume",) if len(texts) == ROWS else ())
        return {"seconds": 1.0, "peak_rss_mb": 1.0, "killed": until_rows is not None}

    return predict


def write_numbered(_run: Path, rows: int, file: Path) -> None:
    file.write_text(
        "\n".join(["text", *(f"word{row} and more" for row in range(rows))]) + "\n", encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: lines, None),
        (lambda lines: lines[:-1], "the output has 4,999 of 5,000 rows"),
        (lambda lines: [*lines[:7], *lines[8:]], "row 7 of the output has the number 8"),
        (lambda lines: [*lines[:7], lines[6], *lines[7:]], "row 7 of the output has the number 6"),
        (lambda lines: [*lines[:10], "10,other", *lines[11:]], "1 of 1000 labels differ"),
    ],
)
def test_every_row_must_be_there_once_and_have_the_label_that_it_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, message: str | None
) -> None:
    monkeypatch.setattr(predict_rows, "predict", stand_in(edit))
    monkeypatch.setattr(predict_rows, "write_texts", write_numbered)
    if message is None:
        assert measure(tmp_path, ROWS, 0.3)["compared"] == 1_000
        return
    with pytest.raises(SystemExit, match=message):
        measure(tmp_path, ROWS, 0.3)


def test_the_rows_of_complete_parts_are_counted(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    assert rows_in_parts(out) == 0
    (tmp_path / "labels.csv.parts").mkdir()
    parts = [{"counts": {"rows": 65_536}}, {"counts": {"rows": 100}}]
    (tmp_path / "labels.csv.parts" / "_cursor.json").write_text(json.dumps({"parts": parts}))
    assert rows_in_parts(out) == 65_636

"""Rows that a column marks as rejected are counted in a notice, unless the column means something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.readers import read_rows


def marked(folder: Path, column: str, values: list[Any]) -> list[str]:
    file = folder / "rows.jsonl"
    rows = [
        {"text": f"text {row}", "label": "ab"[row % 2], column: value} for row, value in enumerate(values)
    ]
    # A tool may write the column only where it has a value.
    lines = [{name: value for name, value in row.items() if value is not None} for row in rows]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert len(read_rows([file])) == len(values)
    return [notice["text"] for notice in notices.collected() if notice["code"] == "rows_marked"]


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    [
        ("status", ["done", "rejected", "Rejected"], "2 rows with 'rejected' in column 'status'"),
        (
            "Review Status",
            ["ok", "discarded", "skip"],
            "2 rows with 'discarded', 'skip' in column 'Review Status'",
        ),
        ("is_deleted", [0, 1, 0], "1 row with '1' in column 'is_deleted'"),
        ("is_valid", [True, False, False], "2 rows with 'false' in column 'is_valid'"),
        ("rejected", [False, None, True], "1 row with 'true' in column 'rejected'"),
    ],
)
def test_marked_rows_are_counted(tmp_path: Path, column: str, values: list[Any], shown: str) -> None:
    (text,) = marked(tmp_path, column, values)
    assert text.startswith(f"rows.jsonl: {shown}")


@pytest.mark.parametrize(
    ("column", "values"),
    [("status", ["single", "married"]), ("is_valid", [False, False]), ("note", ["rejected", "ok"])],
)
def test_other_columns_and_files_of_one_kind_give_no_notice(
    tmp_path: Path, column: str, values: list[Any]
) -> None:
    assert not marked(tmp_path, column, values)

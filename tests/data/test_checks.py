"""Empty texts, duplicates, overlaps and class counts are reported in findings and notices."""

from __future__ import annotations

from array import array
from pathlib import Path

from submillion import notices
from submillion.data import checks
from submillion.data.rows import LabelledRows
from submillion.data.text_column import TextColumn


def rows(*pairs: tuple[str, int]) -> LabelledRows:
    return LabelledRows(
        ids=TextColumn(str(row) for row in range(len(pairs))),
        texts=TextColumn(text for text, _ in pairs),
        labels=[str(label) for _, label in pairs],
        classes=[label for _, label in pairs],
        file_of=array("i", [0] * len(pairs)),
        places=array("q", range(2, len(pairs) + 2)),
        files=[(Path("some.csv"), "line")],
    )


def notice_texts() -> list[str]:
    return [notice["text"] for notice in notices.collected()]


def test_empty_texts_are_dropped_from_training_rows_only() -> None:
    data = rows(("x", 0), (" \n", 1), ("", 1))
    kept, found = checks.empty_texts("train", data, drop=True)
    assert kept.tolist() == [0]
    assert found == {"rows": 2, "examples": ["some.csv, line 3", "some.csv, line 4"], "dropped": 2}
    assert checks.empty_texts("test", data, drop=False)[0].tolist() == [0, 1, 2]
    assert notice_texts() == [
        "train: 2 rows without text, dropped (some.csv, line 3; some.csv, line 4).",
        "test: 2 rows without text, kept (some.csv, line 3; some.csv, line 4).",
    ]


def test_duplicates_are_counted_and_contradictions_named() -> None:
    data = rows(("a b", 0), ("c", 1), (" a  b ", 1), ("a b", 0), ("c", 1), ("", 0), ("", 1))
    assert checks.duplicates("train", data, ["no", "yes"]) == {
        "rows": 3,
        "conflicting_texts": 1,
        "conflicts": [
            {
                "rows": ["some.csv, line 2", "some.csv, line 4", "some.csv, line 5"],
                "labels": ["no", "yes", "no"],
            }
        ],
    }
    assert notice_texts()[0].startswith(
        "train: texts that appear with different labels: 1, for example 'no' (some.csv, line 2) and 'yes'"
    )
    assert notice_texts()[1] == "train: 3 rows with the text of an earlier one."


def test_first_copies_keep_a_text_once_for_each_label() -> None:
    assert checks.first_copies(rows(("a b", 0), ("a  b", 0), ("a b", 1), ("c", 0))).tolist() == [0, 2, 3]


def test_overlap_ignores_white_space() -> None:
    train, test = rows(("a b", 0), ("c", 1), ("A b", 0)), rows(("a\tb ", 1), ("d", 0))
    kept, found = checks.overlap(train, "train", test, "test", drop=True)
    assert kept.tolist() == [1, 2]
    assert found == {"rows": 1, "examples": ["some.csv, line 2"], "dropped": 1}
    assert notice_texts() == ["train: 1 row with the text of a test row, dropped."]
    assert checks.overlap(train, "train", test, "test", drop=False)[0].tolist() == [0, 1, 2]


def test_balance_counts_every_class() -> None:
    assert checks.balance("test", rows(("x", 1), ("y", 1), ("z", 0)), ["no", "yes", "maybe"]) == {
        "rows": 3,
        "label_counts": {"no": 1, "yes": 2, "maybe": 0},
        "largest_share": 0.6667,
        "smallest_share": 0.0,
    }
    assert notice_texts() == ["test: no row of 'maybe'."]

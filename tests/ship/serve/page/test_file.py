"""Tests of the page's part for files: a csv of 10,000 rows, one that is dropped, cancelled ones, and bad ones."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = 10_000


def test_a_dropped_csv_is_opened_and_one_that_misses_the_zone_changes_nothing(opened: Any, url: str) -> None:
    drop = """([zone, name]) => {
      const data = new DataTransfer();
      data.items.add(new File(["text\\na\\nb\\n"], name));
      const happens = (kind) => new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
      return ["dragover", "drop"].map((kind) => document.querySelector(zone).dispatchEvent(happens(kind)));
    }"""
    # False: the page has taken the event, so the browser does not open the file in its place.
    assert opened.evaluate(drop, ["h1", "missed.csv"]) == [False, False]
    assert opened.evaluate(drop, ["#drop", "dropped.csv"]) == [False, False]
    opened.wait_for_selector("#table:not([hidden])")
    assert opened.inner_text("#facts") == "dropped.csv: 2 rows, 1 column."
    assert opened.url == url


def test_a_csv_of_ten_thousand_rows_is_classified_and_downloaded(
    opened: Any, texts: list[str], csv_file: Callable[..., Path]
) -> None:
    opened.set_input_files("#file", csv_file("reviews.csv", ROWS))
    opened.wait_for_selector("#table:not([hidden])")
    assert opened.inner_text("#facts") == "reviews.csv: 10,000 rows, 3 columns."
    assert opened.locator("#column option:checked").inner_text() == "text"
    assert opened.locator("#separator option:checked").inner_text() == "semicolon"
    opened.click("#start")
    opened.wait_for_selector("#outcome:not([hidden])")
    assert opened.inner_text("#file-status") == "Done: 10,000 rows classified."
    with opened.expect_download() as download:
        opened.click("#download")
    assert download.value.suggested_filename == "reviews-classified.csv"
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=";")
    assert header == ["id", "text", "note", "predicted_label", "confidence", "abstained"]
    assert [row[0] for row in rows] == [str(number) for number in range(ROWS)]
    assert {row[2] for row in rows} == {"'=1+1"}
    assert {row[3] for row in rows} == {"0", "1"}
    assert all(0.5 <= float(row[4]) <= 1 and row[5] == "false" for row in rows)
    assert rows[7][1] == f'{texts[7]} "7";\nend'


def test_a_cancelled_file_keeps_what_is_done_and_continues(
    opened: Any, csv_file: Callable[..., Path]
) -> None:
    held: list[Any] = []

    def first_alone(route: Any) -> None:
        if len(held) < 2:
            route.continue_()
        held.append(route)

    opened.set_input_files("#file", csv_file("rows.csv", 640, ","))
    opened.route("**/classify", first_alone)
    opened.click("#start")
    opened.locator("#rate", has_text="of 640 rows").wait_for()
    opened.locator("#rate", has_text=re.compile("^(64|128) of")).wait_for()
    opened.click("#cancel")
    opened.locator("#file-status", has_text="Stopped: ").wait_for()
    opened.unroute("**/classify")
    done = int(opened.inner_text("#outcome-caption").split()[0])
    assert done in (64, 128)
    assert opened.inner_text("#download") == f"Download the {done} rows as csv"
    assert opened.inner_text("#start") == f"Continue with {640 - done} rows"
    opened.click("#start")
    opened.locator("#file-status", has_text="Done: 640 rows classified.").wait_for()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"text\n", "Expected at least one row"),
        (b'text,label\n"never closed,1\n', "Record 2: a quote is never closed"),
        (b'text,label\n"a"b,1\n', "Record 2: text after a closing quote"),
        (b"text,label\na,1\nb\n", "Record 3 has 1 field, the first record has 2"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_with_its_record(
    opened: Any, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    opened.set_input_files("#file", tmp_path / "bad.csv")
    opened.locator("#file-status", has_text=message).wait_for()
    assert opened.is_hidden("#table")

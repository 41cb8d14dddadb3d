"""The parts of the documentation that benchmarks write: between their comments, from a saved report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import exports, serving
from benchmarks.accuracy import table
from benchmarks.pages import insert
from submillion.wording import points, points_range
from support import ROOT

REPORT: dict[str, Any] = {
    "run": "reviews",
    "encoder": "minilm",
    "tokens_per_text": 41.6,
    "clients": 64,
    "texts_per_request": 1,
    "workers": 1,
    "seconds": 300.2,
    "requests": 12345,
    "errors": 0,
    "errors_by_reason": {},
    "texts_per_s": 41.12,
    "offline_texts_per_s": [48.0, 52.0],
    "share_of_offline": 0.822,
    "p50_ms": 1500.0,
    "p99_ms": 3000.0,
    "p99_over_p50": 2.0,
    "memory_mb": [600.0, 640.0, 630.0],
    "memory_growth": -0.001,
    "memory_mb_by_second": [600.0, 640.0, 630.0],
    "cores": 2,
    "processor": "a processor",
    "commit": "0123456789abcdef",
}


def page(file: Path, part: str) -> Path:
    file.write_text(f"before\n<!-- {part}: begin -->\nold\n<!-- {part}: end -->\nafter\n", encoding="utf-8")
    return file


def test_a_part_is_replaced_between_its_comments(tmp_path: Path) -> None:
    file = page(tmp_path / "page.md", "speed")
    for text in ("new", "newer"):
        insert(text, file, "speed")
    expected = "before\n<!-- speed: begin -->\n\nnewer\n\n<!-- speed: end -->\nafter\n"
    assert file.read_text(encoding="utf-8") == expected
    with pytest.raises(SystemExit, match="expected the comments"):
        insert("new", file, "accuracy")


@pytest.mark.parametrize(
    ("name", "part"),
    [("docs/accuracy.md", table.PART), ("docs/serving.md", serving.PART), ("README.md", exports.PART)],
)
def test_pages_have_the_comments(name: str, part: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count(f"<!-- {part}: begin -->") == text.count(f"<!-- {part}: end -->") == 1


def test_a_saved_load_report_is_written_into_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, saved = page(tmp_path / "page.md", serving.PART), tmp_path / "load.json"
    saved.write_text(json.dumps(REPORT), encoding="utf-8")
    assert serving.main(["--report", str(saved), "--into", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert (
        "64 clients for 300 seconds, 1 process; a processor, 2 cores (shared with the clients), commit 0123456"
        in text
    )
    assert "| share of offline | 82% | at least 80% |" in text
    assert "| p99 / p50 | 2.00 | at most 4 |" in text
    assert "| growth of memory | -0.1% | at most 2% |" in text
    assert "every goal is met" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"errors": 1}, "errors"),
        ({"share_of_offline": 0.79}, "share_of_offline"),
        ({"p99_over_p50": 4.1}, "p99_over_p50"),
        ({"memory_growth": 0.03}, "memory_growth"),
    ],
)
def test_a_missed_goal_is_named(changes: dict[str, Any], name: str) -> None:
    assert serving.missed(REPORT) == []
    assert serving.missed(REPORT | changes) == [name]


def record(**files: Any) -> dict[str, Any]:
    entry = {
        "form": "onnx",
        "runtime": "onnxruntime",
        "size_bytes": 23_000_000,
        "texts_per_second": 412.4,
        "argmax_agreement": 0.9985,
        "accuracy_difference": -0.0012,
        "interval": {"value": -0.0012, "low": -0.0031, "high": 0.0007, "confidence_level": 0.95},
        "processor": "a processor",
        "rows": 2568,
    }
    return {
        "run": {"name": "quickstart"},
        "compared": {"test": {"rows": 2568, "source": "saved predictions"}},
        "max_loss": 0.2,
        "files": {"onnx/model.onnx": entry},
        "removed": {"onnx/bad.onnx": entry | {"accuracy_difference": None, "interval": None}},
    }


def test_the_table_of_forms_has_a_row_a_file() -> None:
    rows = exports.markdown(record()).splitlines()
    difference = f"{points(-0.0012)} ({points_range(-0.0031, 0.0007)})"
    assert f"| `onnx/model.onnx` | 23.0 MB | 99.85% | {difference} |" in rows
    assert "| onnx/bad.onnx (removed) | 23.0 MB | 99.85% | no labels |" in rows

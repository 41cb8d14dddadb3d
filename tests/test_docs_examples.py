"""The Python examples of README.md and docs/python.md run, on a tiny encoder in place of the downloaded one."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from support import ROOT
from support.tiny import LABELS, tiny_encoder, tiny_texts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory of the examples: reviews.csv, test.csv and a small encoder."""
    tiny_encoder(tmp_path / "encoder", "bert", layers=3, hidden=64, longest=256)
    for name, rows in (("reviews.csv", 60), ("test.csv", 20)):
        texts, labels = tiny_texts(rows, seed=rows)
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(zip(texts, (LABELS[label] for label in labels), strict=True))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples(page: str) -> list[str]:
    """Return a page's Python blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_all(page: str, folder: Path) -> dict[str, Any]:
    """Run a page's examples in one namespace, with the tiny encoder and its texts, and return the namespace."""
    names: dict[str, Any] = {}
    encoder = str(folder / "encoder")
    fields = {"train.steps": 2, "data.folds": 2}
    overrides = [f"encoder.source={encoder}", *(f"{name}={value}" for name, value in fields.items())]
    settings = f"encoder={encoder!r}, fields={fields!r}"
    local = {
        "encoder.source=minilm": f"encoder.source={encoder}",
        'encoder="minilm"': f"encoder={encoder!r}",
        'sm.train("reviews.csv")': f"sm.train('reviews.csv', overrides={overrides!r})",
        "SubmillionClassifier(random_state": f"SubmillionClassifier({settings}, random_state",
    }
    for code in examples(page):
        for published, with_tiny_encoder in local.items():
            code = code.replace(published, with_tiny_encoder)
        exec(compile(code, page, "exec"), names)
    return names


def test_readme(folder: Path) -> None:
    names = run_all("README.md", folder)
    assert (folder / "runs" / "reviews" / "report.html").is_file()
    assert set(names["frame"].columns) == {"text", "label", "confidence"}
    assert names["frame"]["confidence"].between(0.25, 1).all()


def test_python_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_all("docs/python.md", folder)
    printed = capsys.readouterr().out
    assert "998,404 trainable" in printed
    assert names["probabilities"].shape == (3, 4)
    assert names["verdict"].holds is True
    assert {check.holds for check in names["verdict"].checks if check.name == "data"} == {True}
    assert "lora.rank" in printed
    assert (folder / "runs" / "best" / "manifest.json").is_file()

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
    """Return the working directory of the examples: reviews.csv, and the recipe quickstart with a small encoder."""
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
    data = [f"data.train={folder / 'reviews.csv'}", f"data.test={folder / 'test.csv'}"]
    overrides = [f"encoder.source={folder / 'encoder'}", "train.epochs=1", *data]
    for code in examples(page):
        local = code.replace("encoder.source=minilm", f"encoder.source={folder / 'encoder'}")
        local = local.replace('encoder="minilm"', f"encoder={str(folder / 'encoder')!r}")
        local = local.replace(
            'sm.train("quickstart", ', f'sm.train("quickstart", overrides={overrides!r}, out='
        )
        exec(compile(local, page, "exec"), names)
    return names


def test_readme(folder: Path) -> None:
    names = run_all("README.md", folder)
    assert (folder / "runs" / "first" / "report.html").is_file()
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

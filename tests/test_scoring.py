"""Scoring a trained classifier: its lower layers read every text once, whoever asks for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import submillion
from submillion.model import prefix
from submillion.rundir import RunDir
from support.tiny import tiny_encoder
from support.trained import recipe_in, two_classes


@pytest.fixture()
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of each pass through the lower layers."""
    passes: list[int] = []
    run = prefix._Forward.run

    def counted(self: prefix._Forward, put: prefix.Put) -> None:
        passes.append(len(self.tokens))
        run(self, put)

    monkeypatch.setattr(prefix._Forward, "run", counted)
    monkeypatch.setattr(prefix, "MIN_FILE_BYTES", 0)
    return passes


def trained(home: Path, execution: str) -> submillion.Run:
    texts, labels = two_classes(60)
    lines = [f'"{text}",{label}' for text, label in zip(texts, labels, strict=True)]
    files = {"train": lines[:40], "test": lines[40:]}
    for name, rows in files.items():
        (home / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    if execution == "packed":
        tiny_encoder(home / "encoder", hidden=64)
    fields = {f"data.{name}": str(home / f"{name}.csv") for name in files}
    fields |= {"lora.layers": "top-1", "train.execution": execution, "train.precision": "float32"}
    return submillion.train(recipe_in(home, **fields), home / "run", quiet=True)


@pytest.mark.parametrize("execution", ["reference", "packed"])
def test_the_classifier_and_the_linear_probe_share_one_pass_over_every_split(
    tmp_path: Path, read: list[int], execution: str
) -> None:
    run = trained(tmp_path, execution)
    splits = RunDir(run.path).read_manifest()["data"]["splits"]
    assert sorted(read) == sorted(splits[name]["rows"] for name in ("train", "validation", "test"))
    assert "probe" in RunDir(run.path).read_analysis("baseline")["baselines"]


def test_test_rows_are_answered_as_without_a_cache(tmp_path: Path) -> None:
    run = trained(tmp_path, "reference")
    saved = RunDir(run.path).load_predictions("test")
    texts, _ = two_classes(60)
    again = np.asarray(run.predict_proba(texts[40:]))
    np.testing.assert_allclose(saved.probabilities, again, atol=1e-6)

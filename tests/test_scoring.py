"""Scoring a trained classifier: what the encoder has computed of a text is not computed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import submillion
from submillion import reporting
from submillion.assess.baselines.frozen_encoder import FrozenEncoder
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


def trained(home: Path, execution: str, **fields: object) -> submillion.Run:
    texts, labels = two_classes(60)
    lines = [f'"{text}",{label}' for text, label in zip(texts, labels, strict=True)]
    files = {"train": lines[:40], "test": lines[40:]}
    for name, rows in files.items():
        (home / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    if execution == "packed":
        tiny_encoder(home / "encoder", hidden=64)
    fields |= {f"data.{name}": str(home / f"{name}.csv") for name in files}
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


@pytest.fixture()
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of each pass through the frozen encoder that the linear probe asks for."""
    passes: list[int] = []
    features = FrozenEncoder.features

    def counted(self: FrozenEncoder, texts: list[str], rows: np.ndarray, **options: bool) -> np.ndarray:
        passes.append(len(rows))
        return features(self, texts, rows, **options)

    monkeypatch.setattr(FrozenEncoder, "features", counted)
    return passes


PROBE = {"head.kind": "linear", "head.pooling": "mean", "head.start": "probe"}


@pytest.mark.parametrize("execution", ["reference", "packed"])
@pytest.mark.parametrize("fields", [{}, {"lora.variant": "eva"}])
def test_the_linear_probe_takes_the_features_that_the_training_began_with(
    tmp_path: Path, frozen: list[int], execution: str, fields: dict[str, object]
) -> None:
    run = RunDir(trained(tmp_path, execution, **PROBE, **fields).path)
    train, validation, test = (
        run.read_manifest()["data"]["splits"][name]["rows"] for name in ("train", "validation", "test")
    )
    assert frozen == [validation, test]
    first = run.load_predictions("test", baseline="probe").probabilities
    frozen.clear()
    reporting.remake(run.path, ["baseline"])
    assert frozen == [train, validation, test]
    assert np.array_equal(run.load_predictions("test", baseline="probe").probabilities, first)


@pytest.mark.parametrize(
    "fields",
    [
        {"head.start": "random"},
        {"head.normalize": True},
        {"lora.variant": "pissa"},
        {"contrastive.steps": 1},
    ],
)
def test_features_that_are_not_those_of_the_encoder_alone_are_read_again(
    tmp_path: Path, frozen: list[int], fields: dict[str, object]
) -> None:
    run = RunDir(trained(tmp_path, "reference", **(PROBE | fields)).path)
    assert frozen[0] == run.read_manifest()["data"]["splits"]["train"]["rows"]


def test_test_rows_are_answered_as_without_a_cache(tmp_path: Path) -> None:
    run = trained(tmp_path, "reference")
    saved = RunDir(run.path).load_predictions("test")
    texts, _ = two_classes(60)
    again = np.asarray(run.predict_proba(texts[40:]))
    np.testing.assert_allclose(saved.probabilities, again, atol=1e-6)

"""A finished run is scored on a further file, and its adapter used without submillion, as in the card."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from submillion import notices
from submillion.assess.evaluate import _label_column, evaluate
from submillion.data.formats import open_table
from submillion.errors import BadInput
from submillion.rundir import RunDir
from submillion.sources.text_files import content_sha256
from submillion.verification.run.case import Case, Options
from support.tiny import LABELS, tiny_encoder, tiny_recipe, tiny_texts


def write_csv(file: Path, rows: int, seed: int, header: tuple[str, str] = ("text", "label")) -> Path:
    texts, labels = tiny_texts(rows, seed)
    with file.open("w", encoding="utf-8", newline="") as handle:
        names = [LABELS[label] for label in labels]
        csv.writer(handle).writerows([header, *zip(texts, names, strict=True)])
    return file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDir]:
    """A tiny run, trained once: validation and test predictions, metrics and adapter."""
    from submillion import pipeline

    home = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBMILLION_CACHE", str(home / "cache"))
        tiny_encoder(home / "encoder")
        data = {
            "train": str(write_csv(home / "train.csv", 60, 0)),
            "test": str(write_csv(home / "test.csv", 30, 1)),
        }
        pipeline.train(tiny_recipe(home / "encoder", data=data), home / "run", quiet=True)
        yield RunDir.open(home / "run")


def test_the_test_file_scores_as_the_test_split_did(run: RunDir) -> None:
    before = run.read_json(run.metrics)
    again = evaluate(run.path, run.path.parent / "test.csv", name="again", thresholds=[0.5])
    after = run.read_json(run.metrics)
    assert after == before | {"again": again}
    assert (again["split"], again["confidence"]["split"]) == ("again", "again")
    assert again["confusion"] == before["test"]["confusion"]
    assert again["loss"] == pytest.approx(before["test"]["loss"], abs=1e-5)
    assert list(again["confidence"]["above"]) == ["0.5", "0.9"]
    old, new = run.load_predictions("test"), run.load_predictions("again")
    assert new.text_sha256 == old.text_sha256
    assert np.abs(new.probabilities - old.probabilities).max() < 1e-5


def test_a_file_called_test_does_not_replace_the_test_split(run: RunDir) -> None:
    kept = run.prediction_file("test").read_bytes()
    assert evaluate(run.path, run.path.parent / "test.csv")["split"] == "test-new"
    assert run.prediction_file("test").read_bytes() == kept


def test_a_folder_of_texts_scores_as_the_file_did(run: RunDir) -> None:
    folder = run.path.parent / "texts"
    with (run.path.parent / "test.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if "/" not in row["label"]]  # Sci/Tech names no folder
    for number, row in enumerate(rows):
        file = folder / row["label"] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], encoding="utf-8")
    scores = evaluate(run.path, folder, name="texts")
    expected = run.read_json(run.metrics)["test"]["confusion"]
    expected[run.read_manifest()["labels"].index("Sci/Tech")] = [0] * len(LABELS)
    assert scores["confusion"] == expected
    entry = run.read_manifest()["evaluations"]["texts"]
    assert (entry["file"], entry["sha256"]) == ("../texts", content_sha256(folder))
    assert len(Case(run, run.path, Options()).evaluated["texts"]) == len(rows) < 30
    file.write_text("another text", encoding="utf-8")
    assert "texts" not in Case(run, run.path, Options()).evaluated


def test_a_file_of_one_class_is_scored_and_its_origin_recorded(run: RunDir) -> None:
    file = run.path.parent / "one.csv"
    texts, _ = tiny_texts(4, 3)
    with file.open("w", encoding="utf-8", newline="") as handle:
        rows = [(text, LABELS[1].upper()) for text in texts]
        csv.writer(handle).writerows([("body", "label"), *rows, ("unlabelled", "")])
    scores = evaluate(run.path, file, text="body")
    assert (scores["rows"], scores["confusion"][0]) == (4, [0] * len(LABELS))
    codes = {notice["code"] for notice in notices.collected()}
    assert {"absent_classes", "label_forms", "rows_left_out"} <= codes
    assert run.read_manifest()["evaluations"]["one"] == {
        "file": "../one.csv",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "text": "body",
        "label": None,
        "rows": 4,
    }


def test_labels_are_read_from_the_column_of_the_training(run: RunDir, tmp_path: Path) -> None:
    both, other = tmp_path / "both.csv", tmp_path / "other.csv"
    both.write_text(f"text,label,queue\nsome words,other,{LABELS[0]}\n", encoding="utf-8")
    other.write_text(f"text,label\nsome words,{LABELS[0]}\n", encoding="utf-8")
    data = run.read_recipe().with_data(label="queue").data
    assert _label_column(open_table(both), data) == "queue"
    assert _label_column(open_table(other), data) is None
    assert _label_column(open_table(both), run.read_recipe().data) is None


def test_numbers_are_no_positions_of_classes_that_have_no_numbers(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("text,label\nsome words,0\nmore words,1\n", encoding="utf-8")
    with pytest.raises(
        BadInput, match="found '0' in 1 of 2 rows.* Write the class names in place of numbers"
    ):
        evaluate(run.path, tmp_path / "numbers.csv")


def test_scoring_under_the_same_name_again_gives_a_notice(run: RunDir) -> None:
    file = write_csv(run.path.parent / "spring.csv", 12, 5)
    evaluate(run.path, file)
    assert not [notice for notice in notices.collected() if notice["code"] == "evaluation_replaced"]
    evaluate(run.path, file)
    assert [notice for notice in notices.collected() if notice["code"] == "evaluation_replaced"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test", "one of the run's own splits.*For example test-new"),
        ("../up", "a valid file name"),
        ("", "''"),
        ("two\nlines", "without control characters"),
        ("\x1b[31mred", "without control characters"),
        ("n" * 201, "at most 200 bytes.*found 201 bytes"),
        ("é" * 130, "at most 200 bytes.*found 260 bytes"),
    ],
)
def test_reserved_and_unsafe_names_are_refused(run: RunDir, name: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        evaluate(run.path, run.path.parent / "test.csv", name=name)


def test_bad_data_is_refused_before_the_model_is_loaded(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(run: RunDir) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr("submillion.model.trained.open_run_classifier", too_early)
    with pytest.raises(BadInput, match="Did you mean 'text'"):
        evaluate(run.path, write_csv(tmp_path / "new.csv", 5, 2), text=["txet"])
    (tmp_path / "odd.csv").write_text("text,label\nsome words,Weather\n", encoding="utf-8")
    with pytest.raises(BadInput, match="Weather"):
        evaluate(run.path, tmp_path / "odd.csv")
    assert not run.prediction_file("odd").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a run directory"):
        evaluate(tmp_path, tmp_path / "new.csv")


def test_the_cards_example_runs_without_submillion_and_answers_as_the_run_did(run: RunDir) -> None:
    code = re.findall(r"```python\n(.*?)```", run.card.read_text(encoding="utf-8"), flags=re.S)[0]
    saved = run.load_predictions("test")
    text = tiny_texts(30, 1)[0][7]
    code = code.replace("PATH_TO_ENCODER", str(run.path.parent / "encoder")).replace("a text to label", text)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=run.path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == saved.label_names[saved.predicted[7]]

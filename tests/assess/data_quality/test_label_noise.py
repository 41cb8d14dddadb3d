"""The part "noise": planted wrong labels are found at about the planted rate, and recomputed from files."""

from __future__ import annotations

import importlib.util
import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from submillion.assess.data_quality import confident_learning, label_noise
from submillion.assess.data_quality.label_noise import cross_validated
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Split
from submillion.errors import BadInput
from submillion.run_format.interval import interval
from submillion.rundir import RunDir
from support.corpus import Labelled, context_of
from support.intervals import limits

NAMES = ["a", "b", "c"]


def texts_of(labels: list[int], seed: int = 0, own: int = 6) -> list[str]:
    """Return a text per label: words of its class among words of none."""
    draw = random.Random(seed)
    texts = []
    for row, label in enumerate(labels):
        words = [f"class{label}word{draw.randrange(own)}" for _ in range(5)]
        words += [f"word{draw.randrange(40)}" for _ in range(6)] + [f"row{row}"]
        texts.append(" ".join(draw.sample(words, len(words))))
    return texts


def planted(
    rows: int, share: float, classes: int = 3, seed: int = 0
) -> tuple[list[str], list[int], set[int]]:
    """Return texts, their labels, and the rows whose label was changed."""
    draw = random.Random(seed)
    true = [row % classes for row in range(rows)]
    texts = texts_of(true, seed)
    wrong = set(draw.sample(range(rows), round(share * rows)))
    labels = [
        (label + 1 + draw.randrange(classes - 1)) % classes if row in wrong else label
        for row, label in enumerate(true)
    ]
    return texts, labels, wrong


def a_context(home: Path, train: Labelled, answers: list[int] | None = None) -> RunContext:
    labels = [row % len(NAMES) for row in range(12)]
    rows: dict[str, Labelled] = {
        "train": train,
        "validation": ([], []),
        "test": (texts_of(labels, 9), labels),
    }
    return context_of(home, NAMES, rows, labels if answers is None else answers)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer where intervals are not looked at."""
    monkeypatch.setattr(confident_learning, "RESAMPLES", 10)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunContext, dict[str, Any], set[int]]:
    """Return a run with 8 % wrong labels among 450 training rows, and what is found in it."""
    texts, labels, wrong = planted(450, 0.08)
    context = a_context(tmp_path_factory.mktemp("noise"), (texts, labels))
    return context, label_noise.analyse(context), wrong


def test_planted_wrong_labels_are_found(examined: tuple[RunContext, dict[str, Any], set[int]]) -> None:
    context, found, wrong = examined
    train = found["train"]
    assert (train["rows"], train["folds"], train["left_out"]) == (450, 5, [])
    suspected = {row["row"] for row in train["suspects"]}
    assert train["candidates"] == len(suspected) == sum(pair["rows"] for pair in train["pairs"])
    assert len(suspected & wrong) >= 0.85 * len(wrong)
    assert len(suspected & wrong) >= 0.9 * len(suspected)
    low, high = limits(train["noise_rate"])
    assert low < 0.08 < high and low < train["noise_rate"]["value"] < high
    assert high - low < 0.08
    qualities = [row["quality"] for row in train["suspects"]]
    assert qualities == sorted(qualities)
    for row in train["suspects"]:
        assert row["id"] == f"train-{row['row']}"
        assert row["given"] == NAMES[context.train.labels[row["row"]]] != row["suggested"]
        if row["row"] in wrong:
            assert f"class{NAMES.index(row['suggested'])}word" in row["text"]


def test_rates_by_class(examined: tuple[RunContext, dict[str, Any], set[int]]) -> None:
    context, found, wrong = examined
    for part in found["train"]["classes"]:
        number = NAMES.index(part["class"])
        own = [row for row, label in enumerate(context.train.labels) if label == number]
        assert part["rows"] == len(own)
        assert part["noise_rate"]["value"] == pytest.approx(len(wrong & set(own)) / len(own), abs=0.03)
    assert sum(part["candidates"] for part in found["train"]["classes"]) == found["train"]["candidates"]


def test_recheck_from_files_gives_the_same(
    examined: tuple[RunContext, dict[str, Any], set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, found, _ = examined
    monkeypatch.setattr(label_noise, "cross_validated", None)
    monkeypatch.setattr(confident_learning, "RESAMPLES", found["resamples"])
    again = RunContext(RunDir.open(context.run.path), corpus=context.corpus)
    assert label_noise.recheck(again, {}) == found
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    saved = context.run.load_predictions("train", baseline="noise")
    right = (saved.labels == saved.predicted).mean()
    assert found["train"]["model_accuracy"]["value"] == right
    assert context.run.prediction_splits() == ["test"]  # the baseline's are no predictions of the run


def test_saved_rows_of_other_data_are_refused(tmp_path: Path) -> None:
    texts, labels, _ = planted(60, 0.0)
    context = a_context(tmp_path, (texts, labels))
    label_noise.analyse(context)
    texts[3] = "another text"
    context.corpus.train.texts[3] = "another text"
    with pytest.raises(BadInput, match="other rows or labels"):
        label_noise.recheck(context, {})


def test_rows_are_answered_out_of_fold() -> None:
    """One row has a word of its own beside a rare one: seen, its label would follow; unseen, it cannot."""
    texts, labels, _ = planted(90, 0.0)
    unique = cross_validated(["only once here", "once only there", *texts], [2, 0, *labels], 5, 42)
    assert unique.shape == (92, 3)
    assert unique.sum(axis=1) == pytest.approx(1)
    # Each of the two is answered from the other, if at all: no row has the class it was given.
    assert unique[0, 2] < 0.5 and unique[1, 0] < 0.5
    assert (unique[2:].argmax(axis=1) == labels).mean() > 0.95


def test_clean_labels_have_no_noise(tmp_path: Path) -> None:
    texts, labels, _ = planted(90, 0.0)
    train = label_noise.analyse(a_context(tmp_path, (texts, labels)))["train"]
    assert train["noise_rate"] == interval(0.0)
    assert (train["candidates"], train["pairs"], train["suspects"]) == (0, [], [])


def test_small_classes_are_left_out_and_listed(tmp_path: Path) -> None:
    labels = [0] * 30 + [1] * 30 + [2] * 3
    found = label_noise.analyse(a_context(tmp_path, (texts_of(labels), labels)))["train"]
    assert found["left_out"] == [{"class": "c", "rows": 3}]
    assert (found["rows"], found["folds"]) == (60, 5)
    assert [part["class"] for part in found["classes"]] == ["a", "b"]


def test_small_data_has_fewer_folds_or_none(tmp_path: Path) -> None:
    for labels, folds in (([0] * 8 + [1] * 3, 3), ([0, 0, 1, 1], 2), ([0, 0, 0, 1], None)):
        home = tmp_path / str(len(labels) + (folds or 0))
        home.mkdir()
        context = a_context(home, (["shared words here", *["shared words"] * (len(labels) - 1)], labels))
        if folds is None:
            with pytest.raises(BadInput, match="at least two classes with two training rows"):
                label_noise.analyse(context)
        else:
            assert label_noise.analyse(context)["train"]["folds"] == folds


def test_texts_without_a_common_word_are_refused(tmp_path: Path) -> None:
    texts = [f"word{row}" for row in range(20)]
    with pytest.raises(BadInput, match="training texts that share words"):
        label_noise.analyse(a_context(tmp_path, (texts, [row % 2 for row in range(20)])))


def test_confident_mistakes_of_the_run_are_candidates_on_its_split(tmp_path: Path) -> None:
    texts, labels, _ = planted(60, 0.0)
    answers = [row % 3 for row in range(12)]
    answers[4] = 2  # labelled b
    split = label_noise.analyse(a_context(tmp_path, (texts, labels), answers))["split"]
    assert (split["split"], split["rows"], split["mistakes"], split["candidates"]) == ("test", 12, 1, 1)
    (row,) = split["suspects"]
    assert (row["row"], row["id"], row["given"], row["suggested"]) == (4, "test-4", "b", "c")
    assert row["quality"] == pytest.approx(0.05) and row["suggested_probability"] == pytest.approx(0.9)


@pytest.mark.parametrize("classes", [2, 60])
def test_any_number_of_classes_some_of_them_absent_from_the_split(tmp_path: Path, classes: int) -> None:
    labels = [row % classes for row in range(6 * classes)]
    names = [f"class {number}" for number in range(classes)]
    rows: dict[str, Labelled] = {
        "train": (texts_of(labels), labels),
        "validation": ([*texts_of([1], 3), "", "x"], [1, 0, 1]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = label_noise.analyse(context_of(tmp_path, names, rows, [1, 0, 0]))
    assert found["split"]["split"] == "validation"
    assert [part["class"] for part in found["split"]["classes"]] == names[:2]
    json.dumps(found, allow_nan=False)


def test_a_split_of_one_class_is_not_judged(tmp_path: Path) -> None:
    texts, labels, _ = planted(60, 0.0)
    rows: dict[str, Labelled] = {"train": (texts, labels), "validation": (["x", "y"], [1, 1])}
    assert label_noise.analyse(context_of(tmp_path, NAMES, rows, [1, 0]))["split"] is None


def test_equal_rows_are_ranked_by_position() -> None:
    """Ten equal rows and room for fewer candidates: the earlier ones are taken, whatever the machine's sort."""
    probabilities = np.array([[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 30 + [[0.25, 0.75]] * 10)
    labels = np.array([0] * 30 + [1] * 30 + [0] * 10)
    split = Split("train", [str(row) for row in range(70)], ["text"] * 70, labels.tolist())
    found = confident_learning.label_issues(labels, probabilities, ["a", "b"], split, list(range(70)), 1, 50)
    rows = [row["row"] for row in found["suspects"]]
    assert rows == list(range(60, 60 + len(rows)))
    assert (
        confident_learning.label_issues(labels, probabilities, ["a", "b"], split, list(range(70)), 1, 50)
        == found
    )


def test_the_rates_are_those_of_the_joint_distribution() -> None:
    """Thresholds 0.7 and 0.8; one of four rows given a is confidently b, none of four given b is a."""
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]] + [[0.2, 0.8]] * 4)
    labels = np.array([0] * 4 + [1] * 4)
    assert confident_learning.noise_rates(labels, probabilities) == pytest.approx([1 / 8, 1 / 4, 0])
    absent = confident_learning.noise_rates(labels, np.hstack([probabilities, np.zeros((8, 1))]))
    assert absent[:3] == pytest.approx([1 / 8, 1 / 4, 0]) and np.isnan(absent[3])


def test_without_cleanlab_the_error_has_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(label_noise, "find_spec", lambda name: None if name == "cleanlab" else known(name))
    texts, labels, _ = planted(60, 0.0)
    with pytest.raises(BadInput, match=r'pip install "submillion\[noise\]"'):
        label_noise.analyse(a_context(tmp_path, (texts, labels)))

"""The part "baseline": the verdict by hand, runs without test rows, and the changes that recheck and refit detect."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from submillion.assess import registry
from submillion.assess.baselines import analysis, comparison
from submillion.assess.metrics import metrics_of
from submillion.assess.run_context import RunContext
from submillion.assess.statistics import intervals, paired_tests
from submillion.errors import BadInput, Problem
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from support.baselines import made_baseline
from support.tiny import tiny_texts
from support.tiny_run import NAMES

Made = Callable[..., RunContext]
CHEAP = ("majority", "words", "characters")


@pytest.fixture
def without_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the encoder alone: the probe has tests of its own."""
    monkeypatch.setattr(analysis, "BASELINES", {name: analysis.BASELINES[name] for name in CHEAP})


def test_every_baseline_is_fitted_and_fitted_again_alike(a_context: Made, run: RunDir) -> None:
    context = a_context()
    registry.compute_parts(context, ["baseline"])
    saved = run.read_analysis("baseline")
    assert saved is not None and list(saved["baselines"]) == [*CHEAP, "probe"] and saved["absent"] == {}
    assert json.loads(json.dumps(registry.recompute_part(context, "baseline"))) == {
        key: value for key, value in saved.items() if key != "cost"
    }
    files = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    again = analysis.refit(context)
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == files
    for name, fitted in again.items():
        assert not isinstance(fitted, str)
        before = comparison.load_predictions(context, name)
        assert np.array_equal(fitted.predictions.probabilities, before.probabilities)
        assert fitted.facts["strength"] == saved["baselines"][name]["strength"]


@pytest.mark.usefixtures("without_probe")
def test_scores_and_tests_are_those_of_the_saved_predictions(a_context: Made, run: RunDir) -> None:
    context = a_context()
    found = analysis.analyse(context)
    truth, own = context.predictions("test").labels, context.predictions("test").predicted
    for name, entry in found["baselines"].items():
        saved = run.load_predictions("test", baseline=name)
        scored = metrics_of(truth, saved.probabilities, NAMES)
        assert entry["accuracy"] == scored["accuracy_interval"]
        assert entry["macro_f1"]["value"] == pytest.approx(scored["macro_f1"])
        against = entry["against_run"]
        assert against["only_a"] == int(((own == truth) & (saved.predicted != truth)).sum())
        assert against["accuracy"]["p"] == paired_tests.mcnemar(against["only_a"], against["only_b"])
        assert entry["outcome"] == comparison.outcome(against)
    of_part = intervals.analyse(context)["splits"]["test"]
    assert found["run"] == {key: of_part[key] for key in ("accuracy", "macro_f1")}


@pytest.mark.usefixtures("without_probe")
def test_the_majority_class_is_that_of_the_training_rows(a_context: Made, run: RunDir) -> None:
    texts, _ = tiny_texts(40, seed=0)
    found = analysis.analyse(a_context(train=(texts, [2] * 22 + [0] * 18)))
    saved = run.load_predictions("test", baseline="majority")
    assert set(saved.predicted.tolist()) == {2}
    assert saved.probabilities[0].tolist() == pytest.approx([18 / 40, 0, 22 / 40, 0])
    assert found["baselines"]["majority"]["accuracy"]["value"] == np.mean(saved.labels == 2)


def made(**differences: tuple[float, float]) -> dict[str, Any]:
    """Return entries by name from (difference, half the width of its interval)."""
    return {name: made_baseline(name, *of) for name, of in differences.items()}


@pytest.mark.parametrize(
    ("entries", "name", "kind", "sentence"),
    [
        (
            made(majority=(0.5, 0.005), words=(0.0143, 0.005)),
            "words",
            "leads",
            "The run leads the best baseline, the words: +1.43 points of accuracy, 95% interval +0.93 to +1.93.",
        ),
        (
            made(words=(0.003, 0.005), probe=(0.004, 0.005)),
            "words",
            "no clear lead",
            "The run has no clear lead over the words: +0.30 points of accuracy, 95% interval "
            "\N{MINUS SIGN}0.20 to +0.80.",
        ),
        (
            made(majority=(-0.002, 0.005), words=(0.003, 0.005)),
            "majority",
            "no clear lead",
            "The run has no clear lead: always answering “ham” is at least as good (94.50% against 94.30%). "
            "Difference: \N{MINUS SIGN}0.20 points of accuracy, 95% interval \N{MINUS SIGN}0.70 to +0.30.",
        ),
        (
            made(words=(0.02, 0.005), probe=(-0.02, 0.005)),
            "probe",
            "trails",
            "The run trails: the probe is better (96.30% against 94.30%). Difference: \N{MINUS SIGN}2.00 points of "
            "accuracy, 95% interval \N{MINUS SIGN}2.50 to \N{MINUS SIGN}1.50.",
        ),
        # It leads the best baseline, but not the one whose answers differ from its own in more rows.
        (made(words=(0.01, 0.005), majority=(0.011, 0.02)), "majority", "no clear lead", None),
    ],
)
def test_verdicts_by_hand(entries: dict[str, Any], name: str, kind: str, sentence: str | None) -> None:
    found = comparison.verdict(entries, "ham", optimistic=False)
    assert (found["baseline"], found["kind"]) == (name, kind)
    assert sentence is None or found["sentence"] == sentence
    assert comparison.verdict(entries, "ham", optimistic=True)["sentence"] == (
        found["sentence"] + " The validation rows also chose the run's epoch, which favours the run."
    )


def test_a_class_name_in_the_verdict_is_short_and_printable() -> None:
    name = "\x1b[2J" + "x" * 300 + "\n"
    sentence = comparison.verdict(made(majority=(0.003, 0.005)), name, optimistic=False)["sentence"]
    assert sentence.isprintable() and len(sentence) < 200


@pytest.mark.usefixtures("without_probe")
def test_without_test_rows_nothing_is_chosen_by_the_rows_that_are_scored(
    a_context: Made, run: RunDir
) -> None:
    context = a_context()
    validation = context.corpus.validation
    run.prediction_file("test").unlink()
    hashes = [validation.text_sha256(row) for row in range(len(validation))]
    probabilities = np.eye(4)[validation.labels]
    run.save_predictions(
        "validation", Predictions.of(validation.ids, hashes, validation.labels, probabilities, NAMES)
    )
    try:
        found = analysis.analyse(context)
        assert (found["split"], found["optimistic"]) == ("validation", True)
        assert found["baselines"]["words"]["strength"]["chosen_on"] == "train"
        assert "The validation rows also chose the run's epoch" in found["verdict"]["sentence"]
        assert analysis.recheck(context, found) == found
    finally:
        run.prediction_file("validation").unlink()


@pytest.mark.usefixtures("without_probe")
def test_a_baseline_that_cannot_be_fitted_is_left_out_with_its_reason(a_context: Made, run: RunDir) -> None:
    analysis.analyse(a_context())  # leaves predictions that must not be reported below
    context = a_context(train=(["goal", "coach"], [1, 1]))
    found = analysis.analyse(context)
    assert list(found["baselines"]) == ["majority"]
    assert set(found["absent"]) == {"words", "characters"}
    assert found["verdict"]["baseline"] == "majority"
    assert not run.prediction_file("test", baseline="words").exists()
    assert analysis.recheck(context, found) == found


@pytest.mark.usefixtures("without_probe")
def test_recheck_detects_changed_predictions(a_context: Made, run: RunDir) -> None:
    context = a_context()
    found = analysis.analyse(context)
    own = context.predictions("test")

    def save(**changes: Any) -> None:
        kept = run.load_predictions("test", baseline="majority")
        values = {
            "ids": own.ids,
            "text_sha256": own.text_sha256,
            "labels": own.labels,
            "probabilities": kept.probabilities,
        } | changes
        run.save_predictions("test", Predictions.of(**values, label_names=NAMES), baseline="words")

    save(ids=[*own.ids[1:], own.ids[0]])
    with pytest.raises(BadInput, match="predictions of the run's rows"):
        analysis.recheck(context, found)
    # Of the run's rows, but not the answers of this baseline: the figures differ, and so does a refit.
    save()
    again = analysis.recheck(context, found)
    assert again["baselines"]["words"]["accuracy"] != found["baselines"]["words"]["accuracy"]
    assert again["baselines"]["majority"]["accuracy"] == found["baselines"]["majority"]["accuracy"]


@pytest.mark.usefixtures("without_probe")
def test_recheck_detects_changed_figures_and_missing_baselines(a_context: Made, run: RunDir) -> None:
    context = a_context()
    found = json.loads(json.dumps(analysis.analyse(context)))
    changed = json.loads(json.dumps(found))
    changed["baselines"]["words"]["accuracy"]["value"] -= 0.1
    changed["verdict"]["sentence"] = "The run leads."
    assert json.loads(json.dumps(analysis.recheck(context, changed))) == found
    del changed["baselines"]["words"]
    with pytest.raises(BadInput, match="or why one of them is missing"):
        analysis.recheck(context, changed)
    run.prediction_file("test", baseline="words").unlink()
    with pytest.raises(BadInput, match="no such file"):
        analysis.recheck(context, found)


def test_a_baseline_that_fails_leaves_the_earlier_part_whole(
    a_context: Made, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "BASELINES", {name: analysis.BASELINES[name] for name in CHEAP})
    context = a_context()
    analysis.analyse(context)
    before = {file: file.read_bytes() for file in run.analysis.rglob("*.parquet")}

    def fail(_: RunContext) -> str:
        raise BadInput(Problem("encoder", "an encoder", "no such folder"))

    broken = dataclasses.replace(analysis.BASELINES["characters"], fit=fail)
    monkeypatch.setitem(analysis.BASELINES, "characters", broken)
    with pytest.raises(BadInput, match="no such folder"):
        analysis.analyse(context)
    assert {file: file.read_bytes() for file in run.analysis.rglob("*.parquet")} == before


def test_unlabelled_rows_are_refused(a_context: Made, run: RunDir) -> None:
    context = a_context()
    saved = context.predictions("test")
    run.save_predictions(
        "test", Predictions.of(saved.ids, saved.text_sha256, None, saved.probabilities, NAMES)
    )
    with pytest.raises(BadInput, match="labelled rows"):
        analysis.analyse(RunContext(run, corpus=context.corpus))

"""Tests of trainings whose lower layers are cached in int8: the part "prefix_int8", and what stays in float."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import submillion
from submillion import native
from submillion.assess import prefix_int8, registry
from submillion.assess.baselines.frozen_encoder import FrozenEncoder
from submillion.assess.prefix_int8 import FOLDER, PART, is_due
from submillion.assess.run_context import RunContext
from submillion.errors import BadInput
from submillion.model import prefix
from submillion.report.card import render_card
from submillion.report.page import render_page
from submillion.run_format import typed
from submillion.run_format.analysis_int8 import PrefixInt8
from submillion.run_format.predictions import Predictions
from submillion.rundir import RunDir
from submillion.verification.run import checks, int8, retrained, scores, training
from submillion.verification.run.checks import verify
from support.int8 import NAME, simulate
from support.tampering import change_json
from support.trained import recipe_in, two_classes

SPLIT = "validation"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("prefix")
    fields = {"lora.layers": "top-1", "train.prefix_precision": "int8"}
    texts, labels = two_classes()
    with pytest.MonkeyPatch.context() as patched:
        simulate(patched)
        recipe = recipe_in(folder, **fields)
        submillion.train(recipe, folder / "run", texts=texts, labels=labels, quiet=True)
        yield folder


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    simulate(monkeypatch)
    shutil.copytree(home, tmp_path / "home")
    return RunDir.open(tmp_path / "home" / "run")


@pytest.fixture
def verified(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Return a run to be verified by the checks that read it alone."""
    needed = (int8.prefix, scores.analysis, scores.best_accuracy, training.history)
    monkeypatch.setattr(checks, "CHECKS", [entry for entry in checks.CHECKS if entry[2] in needed])
    return run


def failing(run: RunDir) -> set[str]:
    return {check.name for check in verify(run.path).failing}


def test_the_run_says_that_its_lower_layers_were_cached_in_int8(run: RunDir) -> None:
    facts = run.read_manifest()["training"]
    assert facts["prefix_cached"] and facts["prefix_precision"] == "int8"
    saved = json.loads(json.dumps(run.read_analysis(PART), allow_nan=False))
    saved.pop(registry.COST)
    typed.check(saved, PrefixInt8, PART)
    assert (saved["layers"], saved["execution"]) == (1, NAME)
    assert {len(errors) for errors in saved["calibration"]["errors"].values()} == {1}
    assert not saved["proven"] and "labelled rows" in saved["reason"]
    assert json.loads(json.dumps(registry.recompute_part(RunContext(run), PART))) == saved


def test_saved_predictions_are_those_of_float_and_the_best_score_is_that_of_int8(run: RunDir) -> None:
    own, rounded = run.load_predictions(SPLIT), run.load_predictions(SPLIT, baseline=FOLDER)
    context = RunContext(run)
    exact = context.probabilities(context.texts(SPLIT))
    assert np.abs(own.probabilities - exact).max() < 1e-6
    assert 1e-6 < np.abs(rounded.probabilities - exact).max() < 0.1
    score = float((rounded.predicted == rounded.labels).mean())
    assert run.read_manifest()["training"]["best_accuracy"] == pytest.approx(score)


def test_rows_that_are_scored_are_never_read_in_int8(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    build = prefix.PrefixCache.build.__func__  # type: ignore[attr-defined]

    def seen(cls: type, *given: object, **named: object) -> object:
        built.append(named["lower"])
        return build(cls, *given, **named)

    monkeypatch.setattr(prefix.PrefixCache, "build", classmethod(seen))
    context = RunContext(run)
    encoder, texts, rows = FrozenEncoder(context), context.train.texts, np.arange(4)
    exact = encoder.features(texts, rows)
    assert built == []
    rounded = encoder.features(texts, rows, scored=False)
    assert len(built) == 1 and built[0] is not None
    assert 1e-6 < np.abs(rounded - exact).max() < 0.5


def test_card_and_page_say_it_in_the_line_of_the_precision(run: RunDir) -> None:
    words = (
        "lower layers cached in int8, which is not proven to change no answers (100.00% of 6 validation rows"
    )
    change_json(
        run.analysis_file(PART),
        lambda part: part.update(reason="100.00% of 6 validation rows have the same class", proven=False),
    )
    assert words in render_card(run) and words in render_page(run)
    run.analysis_file(PART).unlink()
    assert "reference; lower layers cached in int8 |" in render_card(run)


def test_an_honest_run_holds(verified: RunDir) -> None:
    verdict = verify(verified.path)
    assert verdict.holds, verdict.render()
    assert [check.holds for check in verdict.checks if check.name == "int8"] == [True, True]


def test_other_answers_and_another_precision_are_detected(verified: RunDir) -> None:
    saved = verified.load_predictions(SPLIT, baseline=FOLDER)
    values = saved.probabilities[:, ::-1].copy()
    fields = (saved.ids, saved.text_sha256, saved.labels, values, saved.label_names)
    verified.save_predictions(SPLIT, Predictions.of(*fields), baseline=FOLDER)
    cost = verified.read_json(verified.analysis_file(PART))[registry.COST]
    part = registry.recompute_part(RunContext(verified), PART)
    verified.write_analysis(PART, part | {registry.COST: cost})
    change_json(verified.manifest, lambda facts: facts["training"].update(prefix_precision="float"))
    assert failing(verified) == {"int8", "history"}


def test_without_the_part_the_best_score_is_not_checked(verified: RunDir) -> None:
    verified.analysis_file(PART).unlink()
    verdict = verify(verified.path)
    (check,) = (check for check in verdict.checks if "best_accuracy" in check.where)
    assert check.holds is None and "rests on lower layers in int8" in check.found


def test_without_kernels_the_answers_are_not_checked(
    verified: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, "no int8 kernels for this processor")
    verdict = verify(verified.path)
    assert verdict.holds
    assert {check.holds for check in verdict.checks if check.name == "int8"} == {None}
    with pytest.raises(BadInput, match="no int8 kernels for this processor"):
        prefix_int8.analyse(RunContext(verified))


def test_without_kernels_the_training_is_not_repeated(
    verified: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CHECKS", [("retraining", "the training", retrained.retraining)])
    monkeypatch.setenv(native.VARIABLE, "off")
    (check,) = verify(verified.path, retrain=True).checks
    assert check.holds is None and "int8, which cannot run here: SUBMILLION_NATIVE is off" in check.found


def test_other_runs_have_no_such_part(run: RunDir) -> None:
    assert is_due(RunContext(run))
    change_json(run.manifest, lambda facts: facts["training"].update(prefix_cached=False))
    assert not is_due(RunContext(run))
    with pytest.raises(BadInput, match="found another one"):
        prefix_int8.analyse(RunContext(run))

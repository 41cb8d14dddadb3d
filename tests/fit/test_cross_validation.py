"""Tests of a cross-validated training: its folds, their resumption, and what a run records of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import submillion
from submillion import notices
from submillion.data.folds import Folds
from submillion.errors import BadInput
from submillion.fit import cross_validation
from submillion.fit.cross_validation import CrossValidation, trained_values
from submillion.fit.fit import check_processes, fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.loop import TrainingLoop
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.rundir import RunDir
from submillion.verification.run.case import Case, Options
from submillion.verification.run.predictions import predictions
from support.fit_stub import (
    FLOAT32,
    Disturbed,
    StubClassifier,
    made_set,
    same_tensors,
    train_recipe,
)
from support.int8 import simulate
from support.trained import recipe_in, two_classes

PLAN = TrainingPlan(train_recipe(epochs=2), seed=7)
TRAIN = made_set(30, seed=1)
FOLDS = Folds(TRAIN.labels.tolist(), [str(row) for row in range(30)], 3, 2, seed=7)
QUIET = FitOptions(progress=False)


def crossed(folder: Path, classifier: Any = None) -> tuple[StubClassifier, FitResult]:
    """Train a stub on all texts and cross-validate the training; in a folder with saved folds, continue."""
    classifier = classifier or StubClassifier()
    folder.mkdir(parents=True, exist_ok=True)
    execution, run, workers = Reference(classifier, FLOAT32), RunDir(folder), Workers.start()
    first = {name: value.clone() for name, value in trained_values(execution).items()}

    def restart(_: LabelledTokens) -> None:
        for name, value in trained_values(execution).items():
            value.copy_(first[name])

    validated = CrossValidation(execution, TRAIN, FOLDS, PLAN, run, workers, restart)
    options = FitOptions(resume=True, progress=False)
    result = fit(execution, TRAIN, None, plan=PLAN, run=run, workers=workers, options=options)
    return classifier, result if result.interrupted else validated.add_to(result, QUIET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[StubClassifier, FitResult]:
    """An undisturbed cross-validation."""
    return crossed(tmp_path_factory.mktemp("whole"))


def same(result: FitResult, other: FitResult) -> bool:
    """Return whether all folds of two cross-validations predict the same, bit for bit."""
    assert result.fold_logits is not None
    assert other.fold_logits is not None
    pairs = zip(result.fold_logits, other.fold_logits, strict=True)
    return all(np.array_equal(one, two) for one, two in pairs)


def test_a_fold_is_predicted_by_a_training_on_the_others(
    whole: tuple[StubClassifier, FitResult], tmp_path: Path
) -> None:
    held_out = FOLDS.numbers(2)
    execution = Reference(StubClassifier(), FLOAT32)
    others, own = (TRAIN.take(np.flatnonzero(mask)) for mask in (held_out != 1, held_out == 1))
    fit(execution, others, None, plan=PLAN, run=RunDir(tmp_path), workers=Workers.start(), options=QUIET)
    logits = whole[1].fold_logits
    assert logits is not None
    expected = predict_logits(execution, own.tokens, PLAN.train.eval_batch_size)
    assert np.array_equal(logits[1][held_out == 1], expected)


def test_the_adapter_is_that_of_the_training_on_all_texts(
    whole: tuple[StubClassifier, FitResult], tmp_path: Path
) -> None:
    alone = StubClassifier()
    execution = Reference(alone, FLOAT32)
    fit(execution, TRAIN, None, plan=PLAN, run=RunDir(tmp_path), workers=Workers.start(), options=QUIET)
    assert same_tensors(whole[0], alone)


def test_a_run_killed_in_its_fourth_fold_continues_with_it(
    whole: tuple[StubClassifier, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def killed(*arguments: Any) -> np.ndarray:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return predict_logits(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "predict_logits", killed)
        with pytest.raises(KeyboardInterrupt):
            crossed(tmp_path)
    counted: list[int] = []

    def counting(*arguments: Any) -> np.ndarray:
        counted.append(1)
        return predict_logits(*arguments)

    monkeypatch.setattr(cross_validation, "predict_logits", counting)
    _, result = crossed(tmp_path)
    assert len(counted) == 3
    assert same(result, whole[1])


def test_a_fold_stopped_by_the_user_is_continued(
    whole: tuple[StubClassifier, FitResult], tmp_path: Path
) -> None:
    # 8 steps of the training on all texts, 6 of each fold and 1 pass of its predictions.
    disturbed = Disturbed(8 + 7 + 3, lambda: signal.raise_signal(signal.SIGINT))
    classifier, stopped = crossed(tmp_path, disturbed)
    assert stopped.interrupted
    assert stopped.fold_logits is None
    assert same_tensors(classifier, whole[0])
    assert same(crossed(tmp_path)[1], whole[1])


@pytest.mark.parametrize("trainings", [1, 3, 7])
def test_ctrl_c_after_the_last_step_of_a_training_stops_the_cross_validation(
    whole: tuple[StubClassifier, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: int
) -> None:
    ended: list[int] = []
    save = TrainingLoop.save

    def saved(self: TrainingLoop) -> None:
        save(self)
        if self.state.step == self.total:
            ended.append(1)
            if len(ended) == trainings:
                signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "save", saved)
        _, stopped = crossed(tmp_path)
    assert stopped.interrupted
    assert len(ended) == trainings
    assert same(crossed(tmp_path)[1], whole[1])


def test_a_damaged_fold_is_trained_again(whole: tuple[StubClassifier, FitResult], tmp_path: Path) -> None:
    crossed(tmp_path)
    file = tmp_path / "checkpoint" / "folds" / "1-2.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with notices.collecting(quiet=True):
        _, result = crossed(tmp_path)
        codes = [notice["code"] for notice in notices.collected()]
    assert codes.count("fold_repeated") == 1
    assert same(result, whole[1])


def test_a_run_trains_on_all_rows_and_predicts_each_in_every_repeat(tmp_path: Path) -> None:
    texts, labels = two_classes(16)
    fields = {"head.kind": "linear", "head.start": "probe", "train.steps": 0, "train.patience": 0}
    recipe = recipe_in(tmp_path, **fields, **{"data.validation": "cross-validation", "data.repeats": 2})
    made = submillion.train(recipe, tmp_path / "run", texts=texts, labels=labels, quiet=True, report=False)
    run = RunDir(made.path)
    manifest = run.read_manifest()
    rows = {name: entry["rows"] for name, entry in manifest["data"]["splits"].items()}
    assert rows == {"train": 16, "validation": 16}
    assert manifest["training"]["best_step"] is None
    one, two = (run.load_predictions("validation", name) for name in (None, "cross-validation-2"))
    assert one.text_sha256 == two.text_sha256
    assert not np.array_equal(one.probabilities, two.probabilities)
    (check,) = predictions(Case(run, tmp_path, Options()))
    assert (check.holds, check.means) == (None, "only stated")


def test_patience_and_several_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="train.patience: expected 0 with data.validation=cross-validation, found 2"
    ):
        recipe_in(tmp_path, **{"data.validation": "cross-validation"})
    recipe = recipe_in(tmp_path, **{"data.validation": "cross-validation", "train.patience": 0})
    with pytest.raises(BadInput, match="expected a single process, found 2 processes"):
        check_processes(recipe, 2)


def test_folds_are_predicted_without_states_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    prefixes: list[object] = []

    def predicted(_execution: object, _tokens: object, _size: int, prefix: object) -> np.ndarray:
        prefixes.append(prefix)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_validation, "predict_logits", predicted)
    fields = {"lora.layers": "top-1", "data.validation": "cross-validation", "train.patience": 0}
    texts, labels = two_classes()
    for precision in ("float", "int8"):
        recipe = recipe_in(tmp_path, **fields, **{"train.epochs": 1, "train.prefix_precision": precision})
        with pytest.raises(KeyboardInterrupt):
            submillion.train(recipe, tmp_path / precision, texts=texts, labels=labels, quiet=True)
    assert [prefix is None for prefix in prefixes] == [False, True]

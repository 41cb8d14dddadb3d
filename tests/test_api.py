"""Tests of api.py: train, load and verify from Python, and what `Run` returns."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import signal
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import submillion as sm
from submillion import notices
from submillion.errors import BadInput
from submillion.fit.step import Stepper
from submillion.model.process_state import denormals_are_flushed
from support.analysis import thresholds_of
from support.tiny import shared_encoder
from support.trained import recipe_in, trained_in, two_classes

TEXTS, LABELS = two_classes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def run(home: Path) -> sm.Run:
    return trained_in(home)


def test_the_package_has_fifteen_public_names_and_each_is_there() -> None:
    assert len(sm.__all__) == 15
    assert all(getattr(sm, name) is not None for name in sm.__all__)
    assert set(sm.__all__) <= set(dir(sm))
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        _ = sm.classify


def test_plan_lists_configurations_within_the_budget() -> None:
    plans = sm.plan("roberta-base", n_classes=4, budget=1_000_000)
    assert plans
    assert all(plan.trainable <= 1_000_000 for plan in plans)


def test_a_run_trained_from_memory_is_scored_reported_and_verified(run: sm.Run) -> None:
    assert run.status == "complete"
    assert run.metrics["validation"]["accuracy_interval"]["confidence_level"] == 0.95
    assert (run.path / "report.html").is_file()
    verdict = sm.verify(run, full=True)
    assert verdict.holds, verdict.render()


def test_texts_from_memory_replace_the_training_rows_alone(tmp_path: Path) -> None:
    texts, labels = two_classes(60)
    for name, rows in (("test", slice(40, 60)), ("validation", slice(30, 40))):
        lines = [f'"{text}",{label}' for text, label in zip(texts[rows], labels[rows], strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    files = [f"data.{name}={tmp_path / name}.csv" for name in ("test", "validation")]
    run = trained_in(tmp_path, texts=texts[:30], labels=labels[:30], overrides=files)
    assert {name: split["rows"] for name, split in run.metrics.items()} == {"validation": 10, "test": 20}
    named = recipe_in(tmp_path).with_overrides(files)
    assert (
        sm.train(named, tmp_path / "named", texts=texts[:30], labels=labels[:30], quiet=True).metrics
        == run.metrics
    )
    with pytest.raises(BadInput, match="not both, found reviews.csv, and texts from memory"):
        trained_in(tmp_path, overrides=["data.train=reviews.csv"], overwrite=True)


def test_probabilities_are_float32_rows_that_sum_to_1(run: sm.Run) -> None:
    probabilities = run.predict_proba(TEXTS)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (60, 2))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert run.predict(TEXTS) == run.classes_[probabilities.argmax(axis=1)].tolist()
    assert run.predict_proba([]).shape == (0, 2)
    assert run.predict([]) == []


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(lambda values: np.array(values), id="numpy"),
        pytest.param(lambda values: np.array(values, dtype=object), id="numpy-objects"),
        pytest.param(lambda values: pd.Series(values, index=range(100, 100 + len(values))), id="pandas"),
        pytest.param(lambda values: import_module("polars").Series(values), id="polars"),
        pytest.param(lambda values: pa.chunked_array([values[:7], values[7:]]), id="pyarrow"),
        pytest.param(lambda values: iter(values), id="iterator"),
    ],
)
def test_texts_may_come_in_any_column(run: sm.Run, column: Any) -> None:
    assert np.array_equal(run.predict_proba(column(TEXTS)), run.predict_proba(TEXTS))


def test_the_same_rows_from_lists_and_from_a_file_train_the_same_adapter(home: Path, run: sm.Run) -> None:
    file = home / "rows.parquet"
    pd.DataFrame({"text": TEXTS, "label": LABELS}).to_parquet(file)
    recipe = recipe_in(home, **{"data.train": str(file)})
    other = sm.train(recipe, home / "from-file", quiet=True)
    adapters = [(one.path / "adapter" / "adapter_model.safetensors").read_bytes() for one in (run, other)]
    assert adapters[0] == adapters[1]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        pytest.param([3, -1], [-1, 3], id="integers"),
        pytest.param([True, False], [False, True], id="booleans"),
        pytest.param(["spam", "ham"], ["ham", "spam"], id="strings"),
    ],
)
def test_labels_come_back_as_they_were_passed(tmp_path: Path, values: list[Any], classes: list[Any]) -> None:
    run = trained_in(tmp_path, labels=[values[label] for label in LABELS], report=False)
    assert run.classes_.tolist() == classes
    assert type(run.predict(TEXTS[:1])[0]) is type(values[0])
    # The position of a label in a run's classes follows from the run alone.
    assert sm.load(run.path).classes_.tolist() == classes


def test_a_run_without_report_gets_one_later(tmp_path: Path) -> None:
    run = trained_in(tmp_path, report=False)
    assert not (run.path / "report.html").exists()
    assert run.report(quiet=True) == run.path / "report.html"
    assert sm.verify(run).holds


def test_predicting_repeats_no_notice_of_the_training(
    home: Path, run: sm.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, home / "noted")
    sm.load(home / "noted").predict(TEXTS[:2])
    assert not capsys.readouterr().err
    manifest = json.loads((home / "noted" / "manifest.json").read_text())
    (home / "noted" / "manifest.json").write_text(json.dumps(manifest | {"notices": []}))
    sm.load(home / "noted").predict(TEXTS[:2])
    assert "note: execution:" in capsys.readouterr().err, "elsewhere, another execution is news"


def test_thresholds_of_classes_apply_on_request(home: Path, run: sm.Run) -> None:
    shutil.copytree(run.path, home / "thresholds")
    own = sm.load(home / "thresholds")
    with pytest.raises(BadInput, match="`submillion report .*thresholds --class-thresholds macro_f1`"):
        own.predict(TEXTS, class_thresholds=True)
    names = own.classes_.tolist()
    (own.path / "analysis" / "thresholds.json").write_text(
        json.dumps(thresholds_of("precision", [str(name) for name in names], [None, 0.0]))
    )
    best = own.predict(TEXTS)
    assert set(best) == set(names)
    answers = own.predict(TEXTS, class_thresholds=True)
    assert answers == [answer if answer == names[1] else None for answer in best]


def test_a_copied_run_predicts_and_verifies_without_the_original(home: Path, run: sm.Run) -> None:
    original = home / "original"
    shutil.copytree(run.path, original)
    shutil.move(original, home / "copy")
    copy = sm.load(home / "copy")
    assert np.array_equal(copy.predict_proba(TEXTS), run.predict_proba(TEXTS))
    verdict = sm.verify(copy)
    assert verdict.holds, verdict.render()


def test_a_run_from_memory_is_resumed_from_its_own_rows(tmp_path: Path) -> None:
    run = trained_in(tmp_path, report=False)
    before = run.predict_proba(TEXTS)
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    resumed = sm.resume(run.path, report=False, quiet=True)
    assert resumed.status == "complete"
    assert "test" not in resumed.metrics
    assert np.array_equal(sm.load(run.path).predict_proba(TEXTS), before)
    assert sm.verify(run).holds
    with pytest.raises(BadInput, match="expected an interrupted run, found a complete one"):
        sm.resume(run)


def test_a_run_that_another_has_replaced_does_not_answer(tmp_path: Path) -> None:
    opened = trained_in(tmp_path, report=False)
    texts, labels = two_classes()
    again = trained_in(
        tmp_path, texts=texts, labels=["ab"[label] for label in labels], overwrite=True, report=False
    )
    with pytest.raises(sm.BadInput, match="the run that was opened, found another one"):
        opened.predict(texts)
    assert set(again.predict(texts)) <= {"a", "b"}


def test_evaluate_takes_texts_in_memory_and_files(home: Path, run: sm.Run) -> None:
    texts, labels = two_classes(40, seed=9)
    in_memory = run.evaluate(texts, labels, name="fresh", quiet=True)
    assert in_memory["rows"] == 40
    assert in_memory["accuracy"] == np.mean(np.array(run.predict(texts)) == labels)
    file = home / "fresh-file.csv"
    pd.DataFrame({"text": texts, "label": labels}).to_csv(file, index=False)
    from_file = run.evaluate(file, quiet=True)
    assert from_file["confusion"] == in_memory["confusion"]
    assert {"fresh", "fresh-file"} <= set(run.metrics)
    with pytest.raises(
        sm.BadInput, match="one label per text, found none. Pass texts and their labels, or a"
    ):
        run.evaluate(texts)
    # Not `train.parquet`, which holds the rows of the training.
    with pytest.raises(sm.BadInput, match="found 'x' in 1 of 2 rows: memory, row 2"):
        run.evaluate(texts[:2], [str(labels[0]), "x"], quiet=True)
    with pytest.raises(BadInput, match="`text`: expected a file, which has columns.*Omit `text` and `label`"):
        run.evaluate(texts, labels, text="nonsense", label="nothing")


def test_runs_are_compared_on_the_same_rows(home: Path, run: sm.Run) -> None:
    other = sm.train(
        recipe_in(home, seed=42, **{"lora.r": 1}), home / "other", texts=TEXTS, labels=LABELS, quiet=True
    )
    comparison = run.compare(other).to_json()
    accuracies = [entry["accuracy"]["value"] for entry in comparison["runs"]]
    assert accuracies == [one.metrics["validation"]["accuracy"] for one in (run, other)]
    assert comparison["rows"] == run.metrics["validation"]["rows"]


def test_a_run_shows_its_score_its_budget_and_its_place(run: sm.Run) -> None:
    accuracy = f"{run.metrics['validation']['accuracy']:.2%}".removesuffix("%")
    assert accuracy in repr(run)
    assert str(run.path) in repr(run)
    html = run._repr_html_()
    assert accuracy in html
    assert "1,000,000" in html
    assert "<script" not in html


def test_a_pickled_run_is_opened_again(run: sm.Run) -> None:
    again = pickle.loads(pickle.dumps(sm.Run(run.path, precision="float32")))
    assert (again.path, again.predict(["a text"])) == (run.path, run.predict(["a text"]))
    assert len(pickle.dumps(run)) < 1_000


def test_a_run_that_is_gone_says_so(run: sm.Run, tmp_path: Path) -> None:
    gone = sm.load(shutil.copytree(run.path, tmp_path / "gone"))
    shutil.rmtree(gone.path)
    with pytest.raises(sm.BadInput, match="expected a run directory, found no such directory"):
        gone.metrics  # noqa: B018
    assert "no such directory" in repr(gone)
    assert gone._repr_html_() is None


def test_two_threads_get_the_answers_of_one(run: sm.Run) -> None:
    parts = [TEXTS[:40], TEXTS[20:]]
    expected = [run.predict_proba(part) for part in parts]
    fresh = sm.load(run.path)  # both threads find it closed
    answers: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def predict(number: int) -> None:
        for _ in range(5):
            answers[number].append(fresh.predict_proba(parts[number]))

    threads = [threading.Thread(target=predict, args=(number,)) for number in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, results in answers.items():
        assert len(results) == 5
        assert all(np.array_equal(result, expected[number]) for result in results)


def test_a_run_that_is_loaded_in_another_thread_does_not_change_a_training(
    tmp_path: Path, run: sm.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading seeds the generator of the process; a training that went on meanwhile would not be repeatable."""
    answers: list[np.ndarray] = []
    other = threading.Thread(target=lambda: answers.append(sm.load(run.path).predict_proba(TEXTS)))
    seed_dropout = Stepper.seed_dropout

    def beside_a_loading(self: Stepper, value: int) -> None:
        seed_dropout(self, value)
        if not other.ident:
            other.start()
            other.join(2)  # longer than loading takes
            assert not answers, "loaded during the training"

    monkeypatch.setattr(Stepper, "seed_dropout", beside_a_loading)
    beside = trained_in(tmp_path, report=False)
    other.join()
    assert np.array_equal(beside.predict_proba(TEXTS), run.predict_proba(TEXTS))
    assert np.array_equal(answers[0], run.predict_proba(TEXTS))


def state_of_the_process() -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    return {
        "torch generator": torch.get_rng_state().tolist(),
        "numpy generator": np.random.get_state()[1].tolist(),
        "threads": torch.get_num_threads(),
        "denormals": denormals_are_flushed(),
        "gradients": torch.is_grad_enabled(),
        "umask": umask,
        "directory": Path.cwd(),
        "environment": dict(os.environ),
        "handlers": {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)},
        "warnings": list(warnings.filters),
        "logging": logging.getLogger().level,
        "notices": notices.collected(),
    }


def test_training_and_predicting_leave_the_process_as_it_was(tmp_path: Path) -> None:
    recipe_in(tmp_path)
    torch.manual_seed(7)
    np.random.seed(7)
    trained_in(tmp_path / "first", report=False)  # what is only loaded once is loaded now
    before = state_of_the_process()
    run = trained_in(tmp_path, report=False)
    assert state_of_the_process() == before
    run.predict_proba(TEXTS)
    assert state_of_the_process() == before
    # What a call is passed decides, not what the caller did before.
    torch.manual_seed(8)
    again = trained_in(tmp_path / "again", report=False)
    assert np.array_equal(again.predict_proba(TEXTS), run.predict_proba(TEXTS))


def test_bad_input_names_arguments_as_python_does(home: Path, run: sm.Run) -> None:
    with pytest.raises(sm.BadInput, match="replace this run with `overwrite`"):
        sm.train(recipe_in(home), run.path, texts=TEXTS, labels=LABELS)
    with pytest.raises(sm.BadInput, match=r"found one that holds data/train\.parquet, which the new one"):
        sm.train(run.path / "recipe.yaml", run.path, overwrite=True)
    with pytest.raises(sm.BadInput, match="both `texts` and `labels`"):
        sm.train(recipe_in(home), home / "none", texts=TEXTS)
    with pytest.raises(sm.BadInput, match=r"`texts`, position 1: .* found a missing value"):
        run.predict(["a", None])
    assert not (home / "none").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sm.train("r8", texts=TEXTS, labels=LABELS, overrides="lora.r=4"),
            "`overrides`: expected a list of texts, section.key=value, found one str: 'lora.r=4'. For example",
        ),
        (lambda: sm.train("r8", overrides=[("lora.r", 4)]), "section.key=value, found ('lora.r', 4). For"),
        (lambda: sm.decide("a.csv", overrides={"lora.r": 4}), "found one dict: {'lora.r': 4}. For"),
        (
            lambda: sm.decide("a.csv", minutes="5"),
            "`minutes`: expected a positive number of minutes, found '5'.",
        ),
        (
            lambda: sm.adopt("adapter", "out", encod="minilm", budget="5"),
            "adopt: expected options among text, label, max_length, budget, revision, found 'encod'. "
            "Did you mean 'encoder'?\n`budget`: expected a whole number from 1 on, found '5'.",
        ),
        (
            lambda: sm.adopt("adapter", "out", max_length=12.0),
            "`max_length`: expected a whole number from 1 on, found 12.0.",
        ),
    ],
)
def test_an_argument_of_another_type_is_one_problem(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert message in str(error.value)


def test_over_budget_is_refused_before_anything_is_written(home: Path) -> None:
    with pytest.raises(sm.OverBudget, match="Nearest that fit"):
        sm.train(recipe_in(home, budget=500), home / "over", texts=TEXTS, labels=LABELS, quiet=True)
    assert not (home / "over").exists()


def test_a_run_of_another_format_is_refused_in_one_sentence(tmp_path: Path, run: sm.Run) -> None:
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["format"]
    manifest["submillion"] = "0.1.0"
    (old / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        sm.BadInput, match=r"format 2, found format 1, written by submillion 0\.1\.0\. Train it again"
    ):
        sm.load(old)


def test_a_typo_in_a_runs_recipe_is_named_with_the_nearest_field(tmp_path: Path, run: sm.Run) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run.path, broken)
    recipe = (broken / "recipe.yaml").read_text()
    (broken / "recipe.yaml").write_text(recipe.replace("learning_rate:", "learning_rat:"))
    with pytest.raises(sm.BadInput, match="Did you mean 'learning_rate'"):
        _ = sm.load(broken).recipe


def test_results_show_as_their_text(run: sm.Run) -> None:
    verdict = sm.verify(run)
    assert repr(verdict) == verdict.render()
    decision = sm.decide(
        texts=TEXTS, labels=LABELS, overrides=[f"encoder.source={shared_encoder()}"], quiet=True
    )
    assert repr(decision) == decision.render()

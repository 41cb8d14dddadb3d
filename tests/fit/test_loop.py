"""Tests of a whole training: what it learns and writes, and that the same seed gives the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from submillion.errors import BadInput
from submillion.fit import checkpoint
from submillion.fit.evaluation import validation_scores
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.rundir import RunDir
from support.fit_stub import (
    FLOAT32,
    NanAtStep,
    StubClassifier,
    fit_stub,
    made_texts,
    same_tensors,
    train_recipe,
    without_timings,
)


def test_training_learns_and_reports_its_outcome(tmp_path: Path) -> None:
    _, result, run = fit_stub(tmp_path)
    assert result.best_accuracy is not None and result.best_accuracy > 0.85
    assert (result.steps, result.planned_steps, result.epochs_run) == (52, 52, 4)
    tokens, _ = made_texts(100, seed=1)
    assert (result.texts_seen, result.tokens_seen) == (400, 4 * len(tokens.ids))
    assert not result.stopped_early and not result.interrupted
    assert result.peak_memory_mb > 10
    expected = {
        "best_step",
        "best_epoch",
        "epochs_run",
        "tokens_seen",
        "wall_seconds",
        "precision",
        "execution",
    }
    assert expected <= result.to_json().keys()
    assert (checkpoint.best(run) / "adapter_model.safetensors").is_file()


def test_history_has_one_line_per_log_interval_and_evaluation(tmp_path: Path) -> None:
    _, result, run = fit_stub(tmp_path, recipe=train_recipe(epochs=2, log_every=10))
    records = run.read_history()
    assert [(record["kind"], record["step"]) for record in records] == [
        ("train", 10),
        ("eval", 13),
        ("train", 20),
        ("train", 26),
        ("eval", 26),
    ]
    assert records[0].keys() == {
        *("kind", "step", "epoch", "loss", "learning_rate", "grad_norm", "samples_per_s", "tokens_per_s")
    }
    assert records[1].keys() == {
        *("kind", "step", "epoch", "loss", "accuracy", "macro_f1", "best", "seconds")
    }
    assert [record["epoch"] for record in records if record["kind"] == "eval"] == [1, 2]
    best = [record for record in records if record.get("best")][-1]
    assert (best["step"], best["accuracy"]) == (result.best_step, result.best_accuracy)


def test_logged_loss_is_the_mean_since_the_last_line(tmp_path: Path) -> None:
    recipe = train_recipe(epochs=1, batch_size=30, gradient_accumulation_steps=2)
    _, _, run = fit_stub(tmp_path / "a", recipe=recipe.model_copy(update={"log_every": 1}))
    _, _, other = fit_stub(tmp_path / "b", recipe=recipe.model_copy(update={"log_every": 2}))
    first, second = [record["loss"] for record in run.read_history() if record["kind"] == "train"]
    (both,) = [record["loss"] for record in other.read_history() if record["kind"] == "train"]
    assert both == pytest.approx((60 * first + 40 * second) / 100)
    assert first != pytest.approx(second)


def test_same_seed_gives_the_same_bits_whatever_was_drawn_before(tmp_path: Path) -> None:
    one, _, run = fit_stub(tmp_path / "one")
    classifier = StubClassifier()
    torch.rand(17)
    other, _, other_run = fit_stub(tmp_path / "other", classifier)
    assert same_tensors(one, other)
    assert without_timings(run.read_history()) == without_timings(other_run.read_history())


def test_another_seed_draws_other_dropout_in_the_same_batches(tmp_path: Path) -> None:
    whole = train_recipe(batch_size=100, epochs=2)
    one, _, _ = fit_stub(tmp_path / "one", recipe=whole, seed=1)
    other, _, _ = fit_stub(tmp_path / "other", recipe=whole, seed=2)
    assert not same_tensors(one, other)
    undropped = [
        fit_stub(tmp_path / f"undropped{seed}", StubClassifier(dropout=0), recipe=whole, seed=seed)[0]
        for seed in (1, 2)
    ]
    for name, value in undropped[0].tensors().items():
        torch.testing.assert_close(value, undropped[1].tensors()[name], rtol=1e-4, atol=1e-5)


def test_each_step_draws_other_dropout(tmp_path: Path) -> None:
    masks = []

    class Recording(StubClassifier):
        def __call__(self, batch: dict, states: object = None) -> torch.Tensor:
            if self.training:
                masks.append(self.module.dropout(torch.ones(64)).tolist())
            return super().__call__(batch)

    fit_stub(tmp_path, Recording(), recipe=train_recipe(epochs=1))
    assert len({tuple(mask) for mask in masks}) == len(masks) == 13


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_micro_batches_of_unequal_size_weight_every_text_equally(tmp_path: Path, smoothing: float) -> None:
    # 8 texts: one batch of 8, or batches of 5 and 3 accumulated; the step must be the same.
    options = {"epochs": 3, "group_by_length": False, "label_smoothing": smoothing}
    whole = train_recipe(batch_size=8, **options)
    parts = train_recipe(batch_size=5, gradient_accumulation_steps=2, **options)
    one, result, _ = fit_stub(tmp_path / "one", StubClassifier(dropout=0), train_rows=8, recipe=whole)
    other, same, _ = fit_stub(tmp_path / "other", StubClassifier(dropout=0), train_rows=8, recipe=parts)
    assert result.steps == same.steps == 3
    for name, value in one.tensors().items():
        torch.testing.assert_close(value, other.tensors()[name], rtol=1e-4, atol=1e-5)


def test_best_adapter_is_left_in_the_classifier_not_the_last(tmp_path: Path) -> None:
    recipe = train_recipe(learning_rate=0.5, epochs=6)  # far too high, so that accuracy drops again
    classifier, result, run = fit_stub(tmp_path, recipe=recipe)
    assert result.best_step is not None and result.best_step < result.steps
    tokens, labels = made_texts(40, seed=2)
    logits = predict_logits(Reference(classifier, FLOAT32), tokens, 64)
    assert result.best_logits is not None and np.array_equal(result.best_logits, logits)
    scores = validation_scores(logits, np.array(labels))
    assert scores["accuracy"] == result.best_accuracy
    assert scores["loss"] == pytest.approx(result.best_loss)
    saved = load_file(checkpoint.best(run) / "adapter_model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in classifier.tensors().items())
    last = checkpoint.load(run, {})
    assert last is not None
    assert not torch.equal(last[0]["values"], last[0]["best_values"])


def test_only_trainable_parameters_change(tmp_path: Path) -> None:
    classifier = StubClassifier()
    before = classifier.module.embedding.weight.clone()
    fit_stub(tmp_path, classifier)
    assert torch.equal(classifier.module.embedding.weight, before)
    assert classifier.module.output.weight.grad is None


def test_patience_ends_the_training(tmp_path: Path) -> None:
    _, result, run = fit_stub(tmp_path, recipe=train_recipe(learning_rate=0.5, epochs=20, patience=2))
    assert result.stopped_early
    assert (result.best_step, result.epochs_run) == (13, 3)
    first, *others = [record for record in run.read_history() if record["kind"] == "eval"]
    assert len(others) == 2
    assert all(one["accuracy"] < first["accuracy"] and one["loss"] > first["loss"] for one in others)
    assert result.steps == 39 < result.planned_steps


def test_evaluates_every_n_steps_and_after_the_last_step(tmp_path: Path) -> None:
    _, _, run = fit_stub(tmp_path, recipe=train_recipe(epochs=1, eval_every=5))
    assert [record["step"] for record in run.read_history() if record["kind"] == "eval"] == [5, 10, 13]


@pytest.mark.parametrize("step", [1, 17, 18, 26])
def test_nan_loss_ends_the_training_with_the_step_named_and_the_best_adapter_saved(
    tmp_path: Path, step: int
) -> None:
    classifier = NanAtStep(step)
    initial = classifier.tensors()
    text = (
        rf"training, step {step}: expected a finite loss, found nan\. Lower `train\.learning_rate` \(its peak"
    )
    with pytest.raises(BadInput, match=text) as caught:
        fit_stub(tmp_path, classifier)
    run = RunDir(tmp_path)
    if step == 1:
        assert "best adapter" not in str(caught.value)
        assert not checkpoint.latest(run).exists()
        return
    assert f"The best adapter, of step 13, is in {checkpoint.best(run)}" in str(caught.value)
    best = load_file(checkpoint.best(run) / "adapter_model.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in classifier.tensors().items())
    assert not all(torch.equal(value, initial[name]) for name, value in classifier.tensors().items())
    saved = checkpoint.load(run, {})
    assert saved is not None
    assert all(tensor.isfinite().all() for tensor in saved[0].values())


def test_progress_is_printed_as_lines_without_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_stub(tmp_path / "shown", recipe=train_recipe(epochs=2), progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 13/26: epoch 1: validation accuracy ")
    assert "best so far" in lines[0] and "samples/s" in lines[0] and "left" in lines[0]
    fit_stub(tmp_path / "quiet", recipe=train_recipe(epochs=2), progress=False)
    assert capsys.readouterr().err == ""

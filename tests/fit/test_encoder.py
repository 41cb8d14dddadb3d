"""Tests of training a real, tiny encoder: cached prefix, adapter read from disk, identical bits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from submillion import notices
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.fit import checkpoint
from submillion.fit.fit import fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.workers import Workers
from submillion.model import eva
from submillion.model.build import build, open_adapter
from submillion.model.classifier import Classifier
from submillion.model.execution.int8_prefix import lower_layers
from submillion.model.execution.reference import Reference
from submillion.model.infer import predict_logits
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from support.fit_stub import FLOAT32, train_recipe, without_timings
from support.int8 import simulate
from support.tiny import LABELS, tiny_encoder, tiny_texts

TRAIN = train_recipe(epochs=2, batch_size=16, log_every=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"), layers=3)


def train(
    encoder: Path,
    folder: Path,
    layers: Any = "top-1",
    stop_at: int = 0,
    dropout: float = 0.1,
    lora: dict[str, Any] | None = None,
    train_fields: dict[str, Any] | None = None,
    resume: bool = False,
) -> tuple[Classifier, FitResult, RunDir]:
    """Train adapters on the tiny encoder; `stop_at` is a training step in which Ctrl-C arrives."""
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "encoder": {"source": str(encoder), "dropout": dropout, "attention_dropout": dropout}
            | {"classifier_dropout": dropout},
            "data": {"train": "none", "max_length": 32},
            "lora": {"r": 2, "layers": layers, "dropout": dropout} | (lora or {}),
        }
    )
    classifier = build(encoder, LABELS, recipe)
    tokenizer = load_tokenizer(encoder)
    sets: list[LabelledTokens] = []
    for seed, size in ((1, 64), (2, 32)):
        texts, labels = tiny_texts(size, seed)
        sets.append(LabelledTokens.of(encode(tokenizer, texts, Truncation(32)), labels))
    if recipe.lora.variant == "eva":
        eva.start(classifier, sets[0].tokens, recipe.seed)
    if stop_at:
        stop_in(classifier, stop_at)
    folder.mkdir(exist_ok=True)
    run = RunDir(folder)
    execution, of_training = Reference(classifier, FLOAT32), TRAIN.model_copy(update=train_fields or {})
    result = fit(
        execution,
        *sets,
        plan=TrainingPlan(of_training, seed=3),
        run=run,
        workers=Workers.start(),
        options=FitOptions(resume, progress=False),
        lower=lower_layers(of_training, execution, sets[0].tokens),
    )
    return classifier, result, run


def stop_in(classifier: Classifier, step: int) -> None:
    def hook(module: Classifier, *_: Any) -> None:
        nonlocal step
        step -= module.training
        if step == 0 and module.training:
            signal.raise_signal(signal.SIGINT)

    classifier.register_forward_pre_hook(hook)


def trained(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in classifier.named_parameters() if value.requires_grad}


def same(one: Classifier, other: Classifier) -> bool:
    return all(torch.equal(value, trained(other)[name]) for name, value in trained(one).items())


def test_prefix_is_cached_and_changes_nothing_without_dropout(encoder: Path, tmp_path: Path) -> None:
    cached, result, run = train(encoder, tmp_path / "cached", dropout=0.0)
    assert result.prefix_cached
    assert "prefix_cache" in [notice["code"] for notice in notices.collected()]
    fields = {"prefix_cache": False}
    plain, other, plain_run = train(encoder, tmp_path / "plain", dropout=0.0, train_fields=fields)
    assert not other.prefix_cached
    for name, value in trained(cached).items():
        torch.testing.assert_close(value, trained(plain)[name], rtol=1e-3, atol=1e-5)
    ours, theirs = ([r["loss"] for r in h.read_history()] for h in (run, plain_run))
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_nothing_is_cached_if_every_layer_is_adapted(encoder: Path, tmp_path: Path) -> None:
    assert not train(encoder, tmp_path, layers="all")[1].prefix_cached


@pytest.mark.parametrize(("layers", "prefix"), [("all", "float"), ("top-1", "float"), ("top-1", "int8")])
def test_interrupted_and_resumed_training_has_the_same_bits(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str, prefix: str
) -> None:
    simulate(monkeypatch)
    fields = {"prefix_precision": prefix}
    whole, _, run = train(encoder, tmp_path / "whole", layers, train_fields=fields)
    _, result, _ = train(encoder, tmp_path / "parts", layers, stop_at=6, train_fields=fields)
    assert (result.interrupted, result.steps) == (True, 6)
    resumed, again, parts = train(encoder, tmp_path / "parts", layers, resume=True, train_fields=fields)
    assert again.prefix_precision == (prefix if layers != "all" else None)
    assert same(whole, resumed)
    assert without_timings(parts.read_history()) == without_timings(run.read_history())


# Of 8 steps, AdaLoRA decides after the fourth which ranks are left: one run is stopped before, the other after.
@pytest.mark.parametrize("stop_at", [3, 6])
@pytest.mark.parametrize("variant", ["dora", "pissa", "eva", "adalora", "vera", "bitfit"])
def test_every_variant_learns_and_resumes_to_the_same_bits(
    encoder: Path, tmp_path: Path, variant: str, stop_at: int
) -> None:
    lora = {"variant": variant, "r": 6}
    plus = 1.0 if variant in ("vera", "bitfit") else 4.0
    fields = {"lora_plus_ratio": plus}
    whole, result, run = train(encoder, tmp_path / "whole", "all", lora=lora, train_fields=fields)
    _, stopped, _ = train(encoder, tmp_path / "parts", "all", stop_at, lora=lora, train_fields=fields)
    assert (result.steps, stopped.interrupted, stopped.steps) == (8, True, stop_at)
    resumed, _, parts = train(encoder, tmp_path / "parts", "all", lora=lora, train_fields=fields, resume=True)
    assert same(whole, resumed)
    assert without_timings(parts.read_history()) == without_timings(run.read_history())
    losses = [record["loss"] for record in run.read_history() if record["kind"] == "train"]
    assert min(losses[4:]) < losses[0]
    opened = open_adapter(encoder, checkpoint.best(run), LABELS)
    tokens = encode(load_tokenizer(encoder), tiny_texts(32, 2)[0], Truncation(32))
    left, loaded = (predict_logits(Reference(model, FLOAT32), tokens, 32) for model in (whole, opened))
    torch.testing.assert_close(torch.from_numpy(left), torch.from_numpy(loaded), atol=5e-6, rtol=0)


def test_adalora_leaves_two_thirds_of_its_ranks(encoder: Path, tmp_path: Path) -> None:
    lora, fields = {"variant": "adalora", "r": 6}, {"epochs": 4, "patience": 0}
    classifier, _, run = train(encoder, tmp_path, "all", lora=lora, train_fields=fields)
    saved = checkpoint.load(run, {})
    assert saved is not None
    masks = {name: mask for name, mask in saved[0].items() if name.startswith("kept.")}
    assert sum(int(mask.sum()) for mask in masks.values()) == 4 * len(masks) == 4 * 3 * 2
    values = {name: value for name, value in classifier.module.named_parameters() if ".lora_E." in name}
    assert len(values) == len(masks)
    for name, value in values.items():  # the best evaluation was after the decision
        mask = masks[f"kept.{name.removeprefix('base_model.model.')}"]
        assert torch.equal(value.flatten() != 0, mask)


def test_best_adapter_on_disk_is_the_one_in_the_classifier(encoder: Path, tmp_path: Path) -> None:
    classifier, result, run = train(encoder, tmp_path, "all", train_fields={"epochs": 6})
    assert result.best_accuracy is not None and result.best_accuracy > 0.4  # of 4 classes
    opened = open_adapter(encoder, checkpoint.best(run), LABELS)
    tokens = encode(load_tokenizer(encoder), tiny_texts(32, 2)[0], Truncation(32))
    left, loaded = (predict_logits(Reference(model, FLOAT32), tokens, 32) for model in (classifier, opened))
    assert (left == loaded).all()
    assert not classifier.training

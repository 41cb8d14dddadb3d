"""A stub classifier of a few hundred parameters for the training loop, and texts that it can learn."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from submillion.data.tokens import Tokens, from_rows
from submillion.fit.fit import fit
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.workers import Workers
from submillion.model.execution.reference import Reference
from submillion.model.precision import Precision
from submillion.recipe import TrainRecipe
from submillion.rundir import RunDir

CLASSES = 3
VOCABULARY = 40
FLOAT32 = Precision("float32", False, "asked for")
# History fields that depend on the clock.
TIMINGS = ("samples_per_s", "tokens_per_s", "seconds")


class Net(nn.Module):
    """Mean of frozen embeddings, one trained layer, norm, dropout, output."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16).requires_grad_(False)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(16, CLASSES)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits [B, C]."""
        mask = attention_mask[..., None].float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return self.output(self.dropout(torch.tanh(self.norm(self.hidden(mean)))))


class StubClassifier:
    """The attributes and methods of model.classifier.Classifier that the loop uses."""

    pad_id = 0
    prefix_depth = 0
    label_names = tuple(f"class{i}" for i in range(CLASSES))

    def __init__(self, dropout: float = 0.2, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.module = Net(dropout)

    def __call__(self, batch: dict[str, torch.Tensor], states: torch.Tensor | None = None) -> torch.Tensor:
        assert states is None
        return self.module(**batch)

    @property
    def device(self) -> torch.device:
        return self.module.output.weight.device

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.module.named_parameters()

    @property
    def training(self) -> bool:
        return self.module.training

    def check_tokens(self, tokens: Tokens) -> None:
        """Accept the tokens; they are made here."""

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def eval(self) -> None:
        self.module.eval()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Turn dropout off inside the block."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)

    def save_adapter(self, folder: Path) -> None:
        """Write the trained tensors."""
        from safetensors.torch import save

        trained = {name: value.detach() for name, value in self.tensors().items()}
        (folder / "adapter_model.safetensors").write_bytes(save(trained))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained tensors."""
        named = self.module.named_parameters()
        return {name: value.detach().clone() for name, value in named if value.requires_grad}


def made_texts(n: int, seed: int = 0) -> tuple[Tokens, list[int]]:
    """Return n texts of 2 to 9 tokens and their labels; a third of a text's tokens determines its label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    rows = []
    for label in labels:
        row = rng.integers(10, VOCABULARY, rng.integers(2, 10))
        row[: max(1, len(row) // 3)] = 1 + label
        rows.append(row)
    return from_rows(rows), labels.tolist()


def train_recipe(**fields: Any) -> TrainRecipe:
    """Return a small training: at most 4 epochs of 13 batches, unless `fields` say otherwise."""
    defaults = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01, "log_every": 3, "patience": 0}
    return TrainRecipe(**defaults | {"precision": "float32"} | fields)


def fit_stub(
    folder: Path, classifier: Any = None, train_rows: int = 100, **options: Any
) -> tuple[StubClassifier, FitResult, RunDir]:
    """Train a stub on made texts in the run directory `folder`.

    Args:
        folder: the run directory, made if it does not exist.
        classifier: a stub; None makes one.
        train_rows: number of training texts.
        options: `recipe`, `seed`, `workers`, and the fields of FitOptions.
    """
    classifier = classifier or StubClassifier()
    run = RunDir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe, seed = options.pop("recipe", train_recipe()), options.pop("seed", 7)
    workers = options.pop("workers", None) or Workers.start()
    classifier.module.to(workers.device)
    execution = Reference(classifier, FLOAT32)
    train, validation = made_set(train_rows, seed=1), made_set(40, seed=2)
    behaviour = FitOptions(**{"progress": False} | options)
    plan = TrainingPlan(recipe, seed)
    result = fit(execution, train, validation, plan=plan, run=run, workers=workers, options=behaviour)
    return classifier, result, run


def made_set(n: int, seed: int) -> LabelledTokens:
    """Return the texts and labels of `made_texts` as a training or validation set."""
    return LabelledTokens.of(*made_texts(n, seed))


def same_tensors(one: StubClassifier, other: StubClassifier) -> bool:
    """Return whether the trained tensors of two classifiers are bit for bit equal."""
    theirs = other.tensors()
    return all(torch.equal(value, theirs[name]) for name, value in one.tensors().items())


def without_timings(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return history records without the fields that depend on the clock."""
    return [{key: value for key, value in record.items() if key not in TIMINGS} for record in records]


class Disturbed(StubClassifier):
    """Calls `event` at the n-th forward pass; training and evaluation passes are counted together from 1."""

    def __init__(self, passes: int, event: Any) -> None:
        super().__init__()
        self.left, self.event = passes, event

    def __call__(self, batch: dict, states: object = None) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            self.event()
        return super().__call__(batch)


class NanAtStep(StubClassifier):
    """Returns NaN logits in one training step, counted from 1."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def __call__(self, batch: dict, states: object = None) -> torch.Tensor:
        self.left -= self.training
        return super().__call__(batch) * (float("nan") if self.left == 0 and self.training else 1.0)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)

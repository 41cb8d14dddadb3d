"""Cross-validation of a training: each fold's texts are predicted by a model trained on the other folds."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from submillion import notices
from submillion.data.folds import NEVER, Folds
from submillion.files.atomic import atomic_file
from submillion.fit.fit import fit
from submillion.fit.identity import training_identity
from submillion.fit.interrupt import Interrupt
from submillion.fit.labelled_tokens import LabelledTokens
from submillion.fit.options import FitOptions
from submillion.fit.plan import TrainingPlan
from submillion.fit.result import FitResult
from submillion.fit.workers import Workers
from submillion.model.infer import predict_logits
from submillion.model.prefix import PrefixCache
from submillion.model.protocol import Execution, LowerLayers
from submillion.rundir import RunDir
from submillion.terminal.progress import progress_bar


@dataclass(frozen=True)
class CrossValidation:
    """A training that is repeated on folds; the classifier has its first values when this is made."""

    execution: Execution
    train: LabelledTokens
    """All training texts."""
    folds: Folds
    plan: TrainingPlan
    run: RunDir
    """The folds are saved below its `checkpoint`."""
    workers: Workers
    restart: Callable[[LabelledTokens], None]
    """Gives the classifier its first values for a training on some of the texts."""
    lower: LowerLayers | None = None
    """What fills the prefix cache in place of `execution`; a fold's texts are then predicted without the cache."""

    def add_to(self, result: FitResult, options: FitOptions) -> FitResult:
        """Train and predict every fold that is not saved yet; the classifier has its present values again afterwards.

        Folds are trained as the whole is, without validation texts. The states below the adapters are those that the
        whole training cached. Each fold is saved when it is predicted, so a run that is stopped continues with the
        next one; a fold that is stopped within its training continues there.

        Args:
            result: of the training on all texts.
            options: of that training; trackers see no folds.

        Returns:
            The result with the logits of every repeat; or interrupted, if the user asked for a stop.
        """
        values = {name: value.clone() for name, value in self._trained().items()}
        if self.plan.train.prefix_cache:
            size = self.plan.train.eval_batch_size
            with notices.suppressed():  # the training on all texts gave them
                prefix = PrefixCache.build(
                    self.execution, self.train.tokens, size, progress=options.progress, lower=self.lower
                )
            whole = replace(self.train, prefix=prefix)
        else:
            whole = self.train
        repeats, seconds = [], 0.0
        try:
            total = self.folds.repeats * self.folds.count
            shown = progress_bar(options.progress, total, "cross-validation", unit="folds")
            with shown as advance, Interrupt() as interrupt:
                for repeat in range(1, self.folds.repeats + 1):
                    held_out = self.folds.numbers(repeat)
                    logits = np.zeros((len(held_out), len(self.execution.classifier.label_names)), np.float32)
                    for fold in range(self.folds.count):
                        stopped = interrupt.stop_requested
                        done = None if stopped else self._fold(whole, repeat, fold, held_out)
                        if done is None:
                            return replace(result, interrupted=True)
                        logits[held_out == fold] = done[0]
                        seconds += done[1]
                        advance(1)
                    repeats.append(logits[held_out != NEVER])
                if interrupt.stop_requested:  # in the last fold; what follows may be long
                    return replace(result, interrupted=True)
        finally:
            with torch.no_grad():
                for name, value in self._trained().items():
                    value.copy_(values[name])
            self.execution.classifier.eval()
        return replace(result, fold_logits=repeats, cross_validation_seconds=round(seconds, 1))

    def _fold(
        self, whole: LabelledTokens, repeat: int, fold: int, held_out: np.ndarray
    ) -> tuple[np.ndarray, float] | None:
        """Return the logits of a fold's texts, float32 [rows, C], and its seconds; None if it was stopped."""
        trained_on = whole.take(np.flatnonzero(held_out != fold))
        predicted = whole.take(np.flatnonzero(held_out == fold))
        file = self.run.checkpoint / "folds" / f"{repeat}-{fold + 1}.safetensors"
        identity = self._identity(trained_on, predicted)
        saved = _read(file, identity)
        if saved is not None:
            return saved
        started_at = time.perf_counter()
        place = file.with_suffix("")
        place.mkdir(parents=True, exist_ok=True)
        with notices.suppressed():
            self.restart(trained_on)
            result = fit(
                self.execution,
                trained_on,
                None,
                plan=self.plan,
                run=RunDir(place),
                workers=self.workers,
                options=FitOptions(resume=True, progress=False),
                lower=self.lower,
            )
        if result.interrupted:
            return None
        size = self.plan.train.eval_batch_size
        exact = predicted.prefix if self.lower is None else None
        logits = predict_logits(self.execution, predicted.tokens, size, exact)
        seconds = time.perf_counter() - started_at
        with atomic_file(file) as temporary:
            facts = {"identity": identity, "seconds": f"{seconds:.3f}"}
            temporary.write_bytes(save({"logits": logits}, {"fold": json.dumps(facts)}))
        shutil.rmtree(place)
        return logits, seconds

    def _identity(self, trained_on: LabelledTokens, predicted: LabelledTokens) -> str:
        """Return a hash of everything that a fold's logits follow from, except the encoder."""
        layout = [(name, list(value.shape)) for name, value in self._trained().items()]
        facts = training_identity((trained_on, predicted), layout, self.plan, self.workers.world)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _trained(self) -> dict[str, torch.Tensor]:
        return trained_values(self.execution)


def trained_values(execution: Execution) -> dict[str, torch.Tensor]:
    """Return the trained tensors of a classifier by name: the live ones, not copies."""
    named = execution.classifier.named_parameters()
    return {name: value.detach() for name, value in named if value.requires_grad}


def _read(file: Path, identity: str) -> tuple[np.ndarray, float] | None:
    """Return the logits and seconds of a saved fold; None if it is not saved, damaged, or of another training."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            facts = json.loads(opened.metadata()["fold"])
            if facts["identity"] == identity:
                return opened.get_tensor("logits"), float(facts["seconds"])
            reason = "is of another training"
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        reason = f"is damaged ({' '.join(str(error).split())[:100]})"
    notices.emit("fold_repeated", f"{file} {reason}; the fold is trained again.")
    return None

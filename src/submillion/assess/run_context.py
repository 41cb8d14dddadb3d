"""The run that is analysed: its files, texts and classifier, each loaded on first use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from submillion import notices
from submillion.data.corpus import Corpus, Split, load_corpus, read_labelled
from submillion.data.labels import Classes
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.run_format.manifest import Manifest
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import SCORED_SPLITS, split_title
from submillion.rundir import RunDir
from submillion.sources.text_files import content_sha256

if TYPE_CHECKING:
    from submillion.model.class_thresholds import ThresholdRequest
    from submillion.model.trained import OpenedRun


class RunContext:
    """The input of every part of the analysis. Texts are checked against the hashes in the predictions."""

    def __init__(
        self,
        run: RunDir,
        corpus: Corpus | None = None,
        opened: OpenedRun | None = None,
        progress: bool = False,
        answer_at: float | None = None,
        class_thresholds: ThresholdRequest | None = None,
        frozen_features: np.ndarray | None = None,
    ) -> None:
        """Prepare the analysis of a run; whatever is not passed is loaded on first use.

        Args:
            run: a run with saved predictions.
            corpus: the run's data, if the caller has just trained on it.
            opened: the run's classifier, if the caller has it.
            progress: show bars on standard error.
            answer_at: target accuracy of the abstention policy; None keeps the run's own.
            class_thresholds: purpose of the thresholds per class; None keeps the run's own.
            frozen_features: what `FrozenEncoder` gives the training texts, float32 [N, D], if the training has read
                them.
        """
        self.run = run
        self.progress = progress
        self.answer_at = answer_at
        self.class_thresholds = class_thresholds
        self.frozen_features = frozen_features
        self._corpus, self._opened = corpus, opened
        self._predictions: dict[str, Predictions] = {}
        self._texts: dict[str, Sequence[str]] = {}

    @classmethod
    def open(cls, path: str | Path, progress: bool = False, answer_at: float | None = None) -> RunContext:
        """Open a run directory; raises BadInput if `path` is none."""
        return cls(RunDir.open(path), progress=progress, answer_at=answer_at)

    @cached_property
    def manifest(self) -> Manifest:
        """The run's manifest."""
        return self.run.read_manifest()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run was trained with."""
        return self.run.read_recipe()

    @property
    def labels(self) -> list[str]:
        """Class names by index."""
        return [str(name) for name in self.manifest["labels"]]

    @property
    def seed(self) -> int:
        """The run's seed, from which every part draws, so that the same run gives the same analysis; 0 if adopted."""
        return 0 if self.adopted else int(self.manifest["seed"])

    @property
    def adopted(self) -> bool:
        """Whether another program trained the run, so that its training rows are unknown."""
        return "adopted" in self.manifest

    @property
    def split(self) -> str:
        """The split that the report is about: test, or validation if there are no test predictions."""
        return "test" if "test" in self.run.prediction_splits() else "validation"

    def predictions(self, split: str) -> Predictions:
        """Return the saved predictions of one split."""
        if split not in self._predictions:
            self._predictions[split] = self.run.load_predictions(split)
        return self._predictions[split]

    def labelled_predictions(self) -> tuple[Predictions, np.ndarray]:
        """Return the predictions and labels (int [N], N at least 1) of the split that the report is about.

        Raises:
            BadInput: the rows have no labels, or there are none.
        """
        saved = self.predictions(self.split)
        if saved.labels is None or not len(saved):
            where = str(self.run.prediction_file(self.split))
            raise BadInput(Problem(where, "labelled rows", "unlabelled rows" if len(saved) else "no rows"))
        return saved, saved.labels

    def labelled_splits(self) -> dict[str, Predictions]:
        """Return the saved predictions of those of the run's own splits that have rows and labels.

        Files scored later are left out: the analysis must not change because another file was scored.
        """
        present = self.run.prediction_splits()
        saved = {split: self.predictions(split) for split in SCORED_SPLITS if split in present}
        return {name: split for name, split in saved.items() if split.labels is not None and split.ids}

    @cached_property
    def corpus(self) -> Corpus:
        """The run's data, read again from the recipe's sources.

        Raises:
            BadInput: it is missing, or differs from what the run was trained on.
        """
        if self._corpus is not None:
            return self._corpus
        if self.adopted:
            expected, found = "a run whose training rows are known", "an adopted one"
            raise BadInput(Problem(str(self.run.path), expected, found))
        corpus = reread_corpus(self.recipe, self.progress)
        recorded = {name: split["fingerprint"] for name, split in self.manifest["data"]["splits"].items()}
        present = {split.name: split.fingerprint for split in corpus.splits}
        if changed := [name for name in recorded if recorded[name] != present.get(name)]:
            raise BadInput(
                Problem(
                    f"{self.recipe.data.train}: {' and '.join(changed)} rows",
                    "the rows that the run was trained and scored on",
                    "other rows",
                    "Restore the original files.",
                )
            )
        return corpus

    @property
    def cross_validated(self) -> bool:
        """Whether the validation rows are training rows, predicted by the models of folds."""
        return split_title("validation", self.manifest.get("data", {})) == CROSS_VALIDATION

    @property
    def train(self) -> Split:
        """The training rows."""
        return self.corpus.train

    def texts(self, split: str) -> Sequence[str]:
        """Return the texts of a split in the order of its predictions.

        Raises:
            BadInput: the split is not one of the run's own, or a text is not the one that was predicted.
        """
        if split not in self._texts:
            splits = {part.name: part for part in self._splits}
            if split not in splits:
                raise BadInput(
                    Problem(
                        f"texts of '{split}'",
                        f"one of the run's own splits: {', '.join(splits)}",
                        "a split whose texts are not in the run's data",
                    )
                )
            texts, hashes = splits[split].texts, self.predictions(split).text_sha256
            if [hashlib.sha256(text.encode()).hexdigest() for text in texts] != hashes:
                raise BadInput(
                    Problem(
                        str(self.run.prediction_file(split)),
                        f"predictions of the {split} rows that the recipe names",
                        "hashes of other texts",
                        "Restore the original data or predictions.",
                    )
                )
            self._texts[split] = texts
        return self._texts[split]

    @property
    def scored_split(self) -> Split:
        """The rows of `split`.

        Raises:
            BadInput: they are missing or have changed.
        """
        return next(part for part in self._splits if part.name == self.split)

    @cached_property
    def _splits(self) -> Sequence[Split]:
        """The run's own splits; of an adopted run, the rows that it was evaluated on."""
        if not self.adopted:
            return self.corpus.splits
        entry = self.manifest.get("evaluations", {}).get("test")
        if entry is None or entry["file"] is None:
            return []
        file = Path(self.run.located(entry["file"]))
        if content_sha256(file) != entry["sha256"]:
            found = "other content" if file.exists() else "no such file"
            raise BadInput(
                Problem(str(file), "the rows that the run was evaluated on", found, "Restore the original.")
            )
        with notices.suppressed():  # they were given when the run was evaluated
            classes = Classes.of_run(self.manifest)
            return [read_labelled(file, classes, "test", entry["text"], entry["label"])]

    @cached_property
    def opened(self) -> OpenedRun:
        """The run's classifier, ready to predict."""
        # Most parts need no classifier, and none should wait for torch because of this one.
        from submillion.model.trained import open_run_classifier  # noqa: PLC0415

        return self._opened or open_run_classifier(self.run)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the classifier's class probabilities of new texts, float32 [N, C], as `predict` would."""
        return self.opened.probabilities(texts, self.recipe.train.eval_batch_size, self.progress)


def reread_corpus(recipe: Recipe, progress: bool = False) -> Corpus:
    """Read the data of a run's recipe again; the caller checks that it is still the same.

    Raises:
        BadInput: it cannot be read any more.
    """
    with notices.suppressed():  # the notices about the data were given when the run was trained
        return load_corpus(recipe.data, recipe.seed, progress=progress)

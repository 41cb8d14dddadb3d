"""A run under examination: its files, its texts and its classifier, each fetched when it is first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

if TYPE_CHECKING:
    import numpy as np

    from submillion.data.corpus import Corpus, Split
    from submillion.model.trained import OpenedRun
    from submillion.recipe import Recipe


class RunContext:
    """What the parts of an analysis read. Texts are proven by the hashes that the predictions carry."""

    def __init__(
        self,
        run: RunDir,
        corpus: Corpus | None = None,
        opened: OpenedRun | None = None,
        progress: bool = False,
        answer_at: float | None = None,
    ) -> None:
        """Take what is at hand already; the rest is fetched when it is asked for.

        Args:
            corpus: the run's data, where the caller has just trained on it.
            opened: the run's classifier, likewise.
            progress: show bars on standard error.
            answer_at: the accuracy that answers shall have, for the abstain policy; None keeps the run's own.
        """
        self.run = run
        self.progress = progress
        self.answer_at = answer_at
        self._given = corpus, opened
        self._predictions: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, Sequence[str]] = {}

    @classmethod
    def open(cls, path: str | Path, progress: bool = False, answer_at: float | None = None) -> RunContext:
        """Open a run directory; raises BadInput when `path` is not one."""
        return cls(RunDir.open(path), progress=progress, answer_at=answer_at)

    @cached_property
    def manifest(self) -> dict[str, Any]:
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
        """The run's seed, from which every part draws: the same run gives the same analysis."""
        return int(self.manifest["seed"])

    @property
    def split(self) -> str:
        """The split that a report is about: test, or validation where there are no test predictions."""
        return "test" if "test" in self.run.prediction_splits() else "validation"

    def predictions(self, split: str) -> dict[str, Any]:
        """Return the saved predictions of one split, as `RunDir.load_predictions` gives them."""
        if split not in self._predictions:
            self._predictions[split] = self.run.load_predictions(split)
        return self._predictions[split]

    @cached_property
    def corpus(self) -> Corpus:
        """The run's data, read again as the recipe says.

        Raises:
            BadInput: it is gone, or is not what the run was trained on.
        """
        if self._given[0] is not None:
            return self._given[0]
        corpus = read_again(self.recipe, self.progress)
        recorded = {name: split["fingerprint"] for name, split in self.manifest["data"]["splits"].items()}
        found = {split.name: split.fingerprint for split in corpus.splits}
        if changed := [name for name in recorded if recorded[name] != found.get(name)]:
            raise BadInput(
                Problem(
                    f"{self.recipe.data.train}: {' and '.join(changed)} rows",
                    "the rows that the run was trained and scored on",
                    "others",
                    "Restore the files as they were.",
                )
            )
        return corpus

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
            found = {part.name: part for part in self.corpus.splits}
            if split not in found:
                raise BadInput(
                    Problem(
                        f"texts of '{split}'",
                        f"one of the run's own splits: {', '.join(found)}",
                        "a split whose texts the run does not know",
                    )
                )
            texts, hashes = found[split].texts, self.predictions(split).text_sha256
            if [hashlib.sha256(text.encode()).hexdigest() for text in texts] != hashes:
                raise BadInput(
                    Problem(
                        str(self.run.prediction_file(split)),
                        f"predictions of the {split} rows that the recipe names",
                        "hashes of other texts",
                        "Restore the data or the predictions as they were.",
                    )
                )
            self._texts[split] = texts
        return self._texts[split]

    @cached_property
    def opened(self) -> OpenedRun:
        """The run's classifier, ready to predict."""
        from submillion.model.trained import open_run_classifier

        return self._given[1] or open_run_classifier(self.run)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the classifier's class probabilities for new texts, float32 [N, C], as predict would."""
        return self.opened.probabilities(texts, self.recipe.train.eval_batch_size, self.progress)


def read_again(recipe: Recipe, progress: bool = False) -> Corpus:
    """Read the data of a recipe that a run was trained with; whether it is what it was is for the caller.

    Raises:
        BadInput: it cannot be read any more.
    """
    from submillion.data.corpus import load_corpus

    with notices.suppressed():  # what the data has to say was said when the run was trained
        return load_corpus(recipe.data, recipe.seed, progress=progress)

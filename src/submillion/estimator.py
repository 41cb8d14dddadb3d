"""`SubmillionClassifier`: the classifier as a scikit-learn estimator."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from submillion import notices
from submillion.api import train
from submillion.arguments import check_flags, check_path
from submillion.auto.subject import AUTO
from submillion.cache import cache_root
from submillion.data.in_memory import labelled_rows, text_values, values_of_column
from submillion.data.labels import Classes
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.estimator_fields import (
    SEPARATOR,
    merged,
    overrides_of,
    parameter_names,
    values_of,
    without_own_data,
)
from submillion.files.atomic import atomic_dir
from submillion.recipe import Recipe
from submillion.run import Run
from submillion.rundir import RunDir


class SubmillionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A text classifier under a budget of trainable parameters, with scikit-learn's interface.

    The recipe fields of every section are parameters, except `data.train`: `set_params(lora__r=8, train__epochs=3)`,
    also in a grid of GridSearchCV.

    Args:
        encoder: catalog name, hub id or folder of the pretrained encoder; None: the recipe's.
        budget: maximum number of trainable parameters; None: the recipe's, a million for auto.
        recipe: auto chooses whatever no other argument sets from the texts, at every fit; or a `Recipe`, the name of a
            shipped one, or a YAML file. The recipe's training, validation and test rows and corrections are not used.
        fields: recipe fields by dotted name, such as `{"lora.r": 8}`; with recipe auto, a field set to auto is chosen.
        random_state: seed of the validation split, the initial adapters, the text order and dropout, instead of the
            recipe's: an int, a numpy RandomState, or None for another seed at every fit.
        out: run directory to create, replaced at every fit; None creates one in the cache, which is deleted with
            `run_` unless you have pickled the estimator; `save` makes a copy.
        quiet: no notices or progress on standard error.

    Attributes:
        classes_: the C classes, sorted as by `numpy.unique`, in the type of the labels passed to `fit`.
        run_: the `Run` of the last fit.

    Example:
        >>> clf = SubmillionClassifier(random_state=0).fit(texts, labels)  # doctest: +SKIP
        >>> clf.predict_proba(["arrived broken"]).shape  # doctest: +SKIP
        (1, 2)
    """

    _deletion: weakref.finalize[..., Any] | None
    """Deletes the run directory with `run_`, if `fit` chose it; copies of the estimator share both."""

    def __init__(
        self,
        *,
        encoder: str | Path | None = None,
        budget: int | None = None,
        recipe: Recipe | str | Path = AUTO,
        fields: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        out: str | Path | None = None,
        quiet: bool = True,
    ) -> None:
        self.encoder = encoder
        self.budget = budget
        self.recipe = recipe
        self.fields = fields
        self.random_state = random_state
        self.out = out
        self.quiet = quiet

    def fit(self, X: Iterable[str], y: Iterable[Any]) -> Self:
        """Train on N texts and their labels.

        Args:
            X: N texts: a list, a numpy array, a pandas or polars Series or a pyarrow column.
            y: N strings, integers, booleans or whole floats.

        Raises:
            OverBudget: the recipe trains more parameters than the budget allows.
            BadInput: texts, labels or a recipe field cannot be used, or an argument contradicts its recipe field.
            KeyboardInterrupt: the training was stopped by Ctrl-C or SIGTERM.
        """
        check_flags(quiet=self.quiet)
        if self.out is not None:
            check_path(self.out, "out")
        texts, labels = text_values(X), values_of_column(y, "labels")
        _check_targets(labelled_rows(texts, labels).class_values, labels)
        overrides = self._overrides()
        out = cache_root() / "estimators" / uuid.uuid4().hex if self.out is None else Path(self.out)
        overwrite = self.out is not None
        # The report takes longer than a small training; `save` makes it, and so does `run_.report()`.
        run = train(
            self.recipe,
            out,
            texts=texts,
            labels=labels,
            overrides=overrides,
            overwrite=overwrite,
            report=False,
            quiet=self.quiet,
        )
        if run.status == "interrupted":
            # A classifier that is not trained to the end is no fitted one; a search over parameters would go on.
            if self.out is None:
                shutil.rmtree(out, ignore_errors=True)
            raise KeyboardInterrupt
        deletion = weakref.finalize(run, _delete, out, os.getpid()) if self.out is None else None
        self._use(run, deletion)
        return self

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """Return class probabilities, float32 [N, C], columns in the order of `classes_`."""
        probabilities: np.ndarray = self._probabilities(X)[:, self._order]
        return probabilities

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """Return the most probable class of each text, [N], in the type of the labels passed to `fit`."""
        answers = self._probabilities(X).argmax(axis=1)
        classes: np.ndarray = self.run_.classes_[answers]
        return classes

    def score(
        self, X: Iterable[str], y: Iterable[Any], sample_weight: Iterable[float] | None = None
    ) -> float:
        """Return the accuracy on N texts and their labels.

        Labels are read as in `evaluate`: `1.0`, `"1"` and `True` are class 1. An unknown label counts as a wrong
        answer, as in scikit-learn: a cross-validation fold may lack a class.

        Args:
            X: N texts.
            y: N labels.
            sample_weight: N weights; None: all equal.

        Raises:
            BadInput: texts, labels or weights cannot be used, or differ in number.
        """
        check_is_fitted(self)
        check_flags(quiet=self.quiet)
        rows = labelled_rows(X, y)
        weights = None if sample_weight is None else _checked_weights(sample_weight, len(rows.texts))
        classes = Classes.of_run(RunDir(self.run_.path).read_manifest())
        with notices.collecting(self.quiet or None):
            index = classes.of("score", rows.labels)
        probabilities = self._probabilities(list(rows.texts))
        truth = np.array([index.get(label, -1) for label in rows.labels])
        return float(np.average(probabilities.argmax(axis=1) == truth, weights=weights))

    def save(self, path: str | Path) -> Path:
        """Copy the run and its report to a new directory for `load`, `submillion.load` and the command line.

        Raises:
            BadInput: the directory exists.
        """
        check_is_fitted(self)
        check_path(path, "path")
        target = Path(path)
        if target.exists():
            raise BadInput(
                Problem(str(target), "a new directory", "an existing one", "Choose another @{path}.")
            )
        # Loads matplotlib.
        from submillion.report.write import write_report  # noqa: PLC0415

        self.run_.report(quiet=self.quiet)
        source = RunDir(self.run_.path)
        atomic_dir(target, lambda folder: write_report(source.copy_to(folder).path))
        return target

    @classmethod
    def load(cls, path: str | Path) -> SubmillionClassifier:
        """Return a fitted classifier from a run directory made by `save`, `submillion.train` or the command line.

        The recipe of an adopted run is unknown: fitting again takes the one that auto chooses.

        Raises:
            BadInput: there is no run, or it has another format.
        """
        run = Run(path)
        if RunDir(run.path).is_adopted:
            classifier = cls()
        else:
            classifier = cls(recipe=run.path / "recipe.yaml", random_state=run.recipe.seed)
        classifier._use(run, None)
        return classifier

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; if `deep`, also the recipe fields of every section, such as `lora__r`."""
        params: dict[str, Any] = super().get_params(deep=False)
        if deep:
            given = {} if self.encoder is None else {"encoder.source": self.encoder}
            given |= self.fields if isinstance(self.fields, Mapping) else {}  # `fit` refuses another type
            recipe = self._own_recipe()
            if recipe is not None:
                given = values_of(recipe) | without_own_data(given, recipe)
            params |= {parameter: given.get(name, AUTO) for name, parameter in parameter_names().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters and recipe fields, such as `set_params(budget=500_000, lora__r=8)`.

        Raises:
            ValueError: unknown parameter; the message has the nearest name.
        """
        nested = {name: value for name, value in params.items() if SEPARATOR in name}
        super().set_params(**{name: value for name, value in params.items() if name not in nested})
        if nested:
            valid = self.get_params()
            if unknown := [name for name in nested if name not in valid]:
                hint = did_you_mean(unknown[0], valid)
                raise ValueError(f"Invalid parameter {unknown[0]!r} for {type(self).__name__}. {hint}")
            changed = {name.replace(SEPARATOR, "."): value for name, value in nested.items()}
            self.fields = dict(self._checked_fields()) | changed
        return self

    def __sklearn_tags__(self) -> Any:
        """Declare texts as input: one dimension, strings."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a classifier that shares the run, which nobody changes."""
        shared = ("run_", "_deletion")
        copied = type(self).__new__(type(self))
        for name, value in vars(self).items():
            copied.__dict__[name] = value if name in shared else copy.deepcopy(value, memo)
        return copied

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(vars(self))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return parameters, run directory and hash; the weights stay in the run.

        Raises:
            BadInput: the run is gone, or another has replaced it, such as that of a later fit with the same `out`.
        """
        state = {
            name: value for name, value in vars(self).items() if name not in ("run_", "_deletion", "_sha256")
        }
        if hasattr(self, "run_"):
            if _hash_of(self.run_) != self._sha256:
                expected, found = "the run of this classifier", "another run or none"
                raise BadInput(Problem(str(self.run_.path), expected, found, "Fit again."))
            if self._deletion is not None:
                self._deletion.detach()
            state["_run"] = (str(self.run_.path.resolve()), self._sha256)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the run again.

        Raises:
            BadInput: the run is gone, or is not the one that was pickled.
        """
        state = dict(state)
        place = state.pop("_run", None)
        self.__dict__.update(state)
        if place is not None:
            path, expected = place
            self._use(Run(path), None)
            if self._sha256 != expected:
                raise BadInput(Problem(path, "the run that was pickled", "another run", "Fit again."))

    def _own_recipe(self) -> Recipe | None:
        """Return the recipe before any field is changed; None if `auto` decides it."""
        if isinstance(self.recipe, Recipe):
            return self.recipe
        check_path(self.recipe, "recipe", "a path or a name, or a Recipe")
        return None if self.recipe == AUTO else Recipe.load(self.recipe)

    def _overrides(self) -> list[str]:
        """Return the recipe fields that the arguments set."""
        fields, recipe = self._checked_fields(), self._own_recipe()
        if recipe is None:
            fields = {name: value for name, value in fields.items() if not _is_auto(value)}
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        elif seed == 0 and "seed" in fields:  # the default, which a field may replace
            seed = None
        given = {"encoder.source": self.encoder, "budget": self.budget, "seed": seed}
        return overrides_of(without_own_data(merged(fields, given), recipe))

    def _checked_fields(self) -> Mapping[str, Any]:
        """Return the argument `fields`; raises BadInput if it is no mapping."""
        fields = {} if self.fields is None else self.fields
        if not isinstance(fields, Mapping):
            expected = 'recipe fields by name, such as {"lora.r": 8}'
            raise BadInput(Problem("@{fields}", expected, f"one {type(fields).__name__}"))
        return fields

    def _use(self, run: Run, deletion: weakref.finalize[..., Any] | None) -> None:
        self.run_ = run
        self._sha256, self._deletion = _hash_of(run), deletion
        # A run sorts "2" before "10", scikit-learn after it, and its scorers count on that.
        self.classes_, self._order = np.unique(run.classes_, return_index=True)

    def _probabilities(self, X: Iterable[str]) -> np.ndarray:
        """Return class probabilities, float32 [N, C], columns in the order of the run's classes."""
        check_is_fitted(self)
        check_flags(quiet=self.quiet)
        with notices.collecting(self.quiet or None):
            return self.run_.predict_proba(X)


def _check_targets(class_values: Mapping[str, Any], labels: Sequence[Any]) -> None:
    """Refuse the target of a regression as scikit-learn does; labels of other types than floats are classes."""
    if any(isinstance(value, float) for value in class_values.values()):
        check_classification_targets(np.asarray(labels))


def _checked_weights(sample_weight: Iterable[float], rows: int) -> np.ndarray:
    """Return N weights as an array; raises BadInput if they are not N numbers of which one is above 0."""
    listed = values_of_column(sample_weight, "sample_weight")
    wrong = [value for value in listed if not isinstance(value, Real) or not 0 <= float(value) < np.inf]
    if len(listed) != rows or wrong or not any(listed):
        found = (
            f"{len(listed):,} values" if len(listed) != rows else repr(wrong[0]) if wrong else "zeros alone"
        )
        expected = f"{rows:,} numbers of at least 0, not all of them 0"
        raise BadInput(Problem("@{sample_weight}", expected, found))
    return np.array(listed, dtype=float)


def _delete(place: Path, owner: int) -> None:
    """Delete a run in the process that made it; a forked child has a copy of the estimator, but not of the run."""
    if os.getpid() == owner:
        shutil.rmtree(place, ignore_errors=True)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _hash_of(run: Run) -> str:
    """Return a sha256 over the files that decide the run's predictions."""
    files = run.file_hashes()
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()

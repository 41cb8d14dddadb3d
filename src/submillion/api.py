"""The Python API: train, load and verify runs, and `Run`, a trained classifier with its results."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.recipe import Recipe
from submillion.run_format.metrics import Metrics, SplitMetrics
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from submillion.assess.compare.comparison import Comparison
    from submillion.auto.decision import Decision
    from submillion.data.rows import LabelledRows
    from submillion.model.trained import OpenedRun
    from submillion.verification.verdict import Verdict

# Torch, scikit-learn and matplotlib are imported inside the functions that need them: `load` and the scores of a
# run need none of them.


def train(
    recipe: Recipe | Decision | str | Path,
    out: str | Path | None = None,
    *,
    texts: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    report: bool = True,
    quiet: bool = False,
) -> Run:
    """Train a classifier and return its run.

    Args:
        recipe: labelled texts (a file, folder or data set of the catalog), for which the recipe is decided and its
            table printed; `auto` to do the same for `texts` and `labels`; a decision of `decide`; or a `Recipe`, the
            name of a shipped one, or a YAML file.
        out: the run directory to make; None takes `runs/NAME`, by the name of the data or the recipe.
        texts: N training texts, in place of `recipe.data.train`; a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats, in any of these forms.
        overrides: recipe fields to change, such as `["lora.r=8"]`.
        overwrite: replace an existing run.
        report: score the test rows and make the report; False leaves both to `Run.report`.
        quiet: neither notices nor progress on standard error.

    Returns:
        The complete run, or an interrupted one after Ctrl-C.

    Raises:
        OverBudget: the recipe trains more parameters than its budget; nothing is loaded or written.
        BadInput: the recipe, the data, the encoder or the directory cannot be used as requested.

    Example:
        >>> run = sm.train("auto", "runs/reviews", texts=texts, labels=labels)  # doctest: +SKIP
        >>> run.predict(["arrived broken"])  # doctest: +SKIP
        ['complaint']
    """
    from submillion.training import train as train_named

    outcome = train_named(
        recipe,
        out,
        _training_rows(texts, labels),
        overrides=overrides,
        overwrite=overwrite,
        report=report,
        quiet=quiet,
    )
    return Run(outcome.run.path)


def decide(
    data: str | Path | None = None,
    *,
    texts: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    quiet: bool = False,
) -> Decision:
    """Decide the recipe of labelled texts without training it; `train` takes the result in place of a recipe.

    The recipe is complete, and equal for equal texts on machines of one class, unless `minutes` is given.

    Args:
        data: file, folder or data set of the catalog; None takes `texts` and `labels`.
        texts: N training texts: a list, array, Series or pyarrow column.
        labels: N strings, integers, booleans or whole floats.
        overrides: recipe fields that are not decided, such as `["encoder.source=mpnet-base", "data.test=test.csv"]`.
        minutes: the run is to end within this time, report included; the speed of this machine is measured for that.
        quiet: neither notices nor progress on standard error.

    Returns:
        The decision: its `recipe`, its `choices` with their reasons, and `render()`, the table.

    Raises:
        OverBudget: the overrides train more parameters than the budget allows.
        BadInput: the texts, the encoder or a field cannot be used.

    Example:
        >>> decision = sm.decide("reviews.csv", minutes=10)  # doctest: +SKIP
        >>> run = sm.train(decision)  # doctest: +SKIP
    """
    from submillion.auto.decide import decide as decide_from

    with notices.collecting(quiet or None):
        rows = _training_rows(texts, labels)
        return decide_from(data, overrides=overrides, minutes=minutes, rows=rows, progress=not quiet)


def _training_rows(texts: Iterable[str] | None, labels: Iterable[Any] | None) -> LabelledRows | None:
    """Return rows from memory; None if the recipe names the data."""
    from submillion.data.in_memory import labelled_rows

    if texts is None and labels is None:
        return None
    if texts is None or labels is None:
        absent = "texts" if texts is None else "labels"
        raise BadInput(Problem("train", "both @{texts} and @{labels}, or neither", f"no {absent}"))
    return labelled_rows(texts, labels)


def load(path: str | Path) -> Run:
    """Open a run directory. The classifier itself is loaded with the first prediction.

    Raises:
        BadInput: there is no run, or it was written in another format.

    Example:
        >>> run = sm.load("runs/reviews")  # doctest: +SKIP
        >>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
        0.9421
    """
    return Run(path)


def verify(
    run: Run | str | Path,
    *,
    rows: int | None = None,
    full: bool = False,
    seed: int | None = None,
    retrain: bool = False,
    quiet: bool = True,
) -> Verdict:
    """Check what a run reports against its predictions, data and adapter; nothing in the run is changed.

    Args:
        run: a run whose training has ended, or its directory.
        rows: rows of each split to predict again; 0 predicts none. None predicts all rows if that takes a minute or
            less on this machine, else 200 of each split.
        full: predict every row again.
        seed: seed of the choice of these rows; None draws one that nobody could know beforehand.
        retrain: train the recipe again, in a temporary directory, and compare everything that it makes.
        quiet: neither notices nor progress on standard error.

    Returns:
        The checks, each with its `strength`; `holds` is True if none of them fails, and `strengths` counts them.

    Raises:
        BadInput: no run, or one that is still being trained.

    Example:
        >>> sm.verify("runs/reviews").holds  # doctest: +SKIP
        True
    """
    from submillion.verification.run.checks import verify as verify_run

    path = run.path if isinstance(run, Run) else run
    with notices.collecting(quiet or None):
        return verify_run(path, rows, full, seed, retrain, progress=not quiet)


class Run:
    """A trained classifier and its results, backed by a run directory.

    Predictions may be made from several threads at once; they give the same answers as one thread.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a run directory.

        Raises:
            BadInput: there is no run, or it was written in another format.
        """
        self._dir = RunDir.open(path)
        self._manifest = self._dir.read_manifest()
        self._opened: OpenedRun | None = None
        self._opening = threading.Lock()

    @property
    def path(self) -> Path:
        """The run directory."""
        return self._dir.path

    @property
    def status(self) -> str:
        """`complete`, `interrupted` or `running`."""
        return self._dir.read_manifest()["status"]

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was trained with."""
        return self._dir.read_recipe()

    @property
    def metrics(self) -> Metrics:
        """The scores of every split, as in metrics.json; empty before the run is scored."""
        return self._dir.read_metrics()

    @property
    def classes_(self) -> np.ndarray:
        """The C classes, in the order of the columns of `predict_proba`, in the type that was passed to `train`."""
        return np.array(self._manifest.get("label_values") or self._manifest["labels"])

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        """Return class probabilities, float32 [N, C], rows in the order of the texts.

        Args:
            texts: N texts: a list, a numpy array, a pandas or polars Series or a pyarrow column.

        Raises:
            BadInput: a text is missing or is no string, the run is unfinished, or its encoder has changed.
        """
        from submillion.data.in_memory import text_values

        column = text_values(texts)
        opened = self._open()
        if not column:
            return np.zeros((0, len(self._manifest["labels"])), np.float32)
        return opened.probabilities(column, self.recipe.train.eval_batch_size)

    def predict(self, texts: Iterable[str]) -> list[Any]:
        """Return the most probable class of each text, in the type of `classes_`; arguments as in `predict_proba`."""
        classes: list[Any] = self.classes_[self.predict_proba(texts).argmax(axis=1)].tolist()
        return classes

    def evaluate(
        self,
        data: str | Path | Iterable[str],
        labels: Iterable[Any] | None = None,
        *,
        name: str | None = None,
        text: str | Sequence[str] | None = None,
        label: str | None = None,
        thresholds: Sequence[float] = (),
        quiet: bool = False,
    ) -> SplitMetrics:
        """Score the run on labelled texts; predictions and metrics are saved in the run under a name of their own.

        Args:
            data: a file with labelled texts, or N texts in memory.
            labels: N labels, if the texts are in memory.
            name: name of the split; None takes the file's name, or `evaluation` for texts in memory.
            text: text column of the file, or several; None takes those of the training.
            label: label column of the file; None takes that of the training if the file has it, else finds it.
            thresholds: confidence thresholds to report beside 0.9.
            quiet: neither notices nor progress on standard error.

        Raises:
            BadInput: the data cannot be read, has labels that the run does not know, or the name is reserved.
        """
        from submillion import reporting
        from submillion.data.in_memory import labelled_rows

        if labels is not None:
            source: str | Path | LabelledRows = labelled_rows(data, labels)  # type: ignore[arg-type]  # a path is refused
        elif isinstance(data, str | Path):
            source = data
        else:
            raise BadInput(Problem("@{labels}", "one label per text", "none"))
        with notices.collecting(quiet or None):
            return reporting.evaluate(
                self.path,
                source,
                name=name,
                text=text,
                label=label,
                thresholds=thresholds,
                progress=not quiet,
            )

    def suggest(
        self,
        data: str | Path,
        out: str | Path,
        *,
        rows: int = 100,
        text: str | Sequence[str] | None = None,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> int:
        """Write the texts of a file whose labels would teach this run most, with an empty column for the label.

        They are uncertain and differ from each other (arXiv:1901.05954); texts of the run's own data are left out.

        Args:
            data: file of unlabelled texts.
            out: csv file to write.
            rows: number of texts to choose.
            text: text column of the file, or several; None takes those of the training.
            overwrite: replace an existing file.
            quiet: neither notices nor progress on standard error.

        Returns:
            Number of texts written.

        Raises:
            BadInput: the file cannot be read or has no new text, or the run's own data has gone.
        """
        from submillion.ship.suggest import suggest_file

        with notices.collecting(quiet or None):
            return suggest_file(self.path, data, out, rows, text, progress=not quiet, overwrite=overwrite)

    def report(
        self,
        parts: Sequence[str] = (),
        *,
        answer_at: float | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Path:
        """Write page, model card and figures, and return the page's path.

        Args:
            parts: parts of the analysis to compute first, such as `noise` or `attribution`; `all` for every one.
            answer_at: target accuracy of the answered texts; sets the threshold for abstaining.
            out: with the part `noise`: csv file to write, with the training rows whose labels look wrong; the recipe
                field `data.corrections` reads it once a person has filled in `corrected_label`.
            overwrite: replace an existing file `out`.
            quiet: neither notices nor progress on standard error.

        Raises:
            BadInput: an unknown part, or data or encoder that have changed since the training.
        """
        from submillion import scoring

        with notices.collecting(quiet or None):
            return scoring.report(self.path, parts, answer_at, quiet, out, overwrite)

    def compare(self, *others: Run | str | Path, split: str | None = None) -> Comparison:
        """Compare this run with others on the same rows: paired tests with Holm's correction, and intervals.

        Args:
            others: one or more runs, or their directories.
            split: the split to compare on; None takes test if all runs have it, else validation.

        Raises:
            BadInput: the runs were not scored on the same rows.
        """
        from submillion import reporting

        paths = [self.path, *(other.path if isinstance(other, Run) else Path(other) for other in others)]
        return reporting.compare(paths, split=split)

    def file_hashes(self) -> dict[str, str]:
        """Return the sha256 of the files that decide the predictions: recipe, adapter and tokenizer."""
        return self._dir.hashes(self._dir.recipe, self._dir.adapter, self._dir.tokenizer)

    def __repr__(self) -> str:
        from submillion.report.run_summary import summary_text

        return f"{summary_text(self._dir)}\n  {self.path}"

    def _repr_html_(self) -> str:
        from submillion.report.run_summary import summary_html

        return summary_html(self._dir)

    def _open(self) -> OpenedRun:
        """Return the classifier, loaded once."""
        from submillion.model.trained import open_run_classifier

        with self._opening:
            if self._opened is None:
                with notices.collecting():
                    self._opened = open_run_classifier(self._dir)
            return self._opened

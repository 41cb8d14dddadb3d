"""`Run`: a trained classifier with its results, for Python."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from submillion import arguments, notices
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.model.precisions import check_precision
from submillion.recipe import Recipe
from submillion.run_format.metrics import Metrics, SplitMetrics
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from submillion.assess.compare.comparison import Comparison
    from submillion.data.rows import LabelledRows
    from submillion.exporting.export import Exported
    from submillion.model.trained import OpenedRun
    from submillion.publication.push import Pushed

IDENTITY = ("created", "labels", "label_values")
"""Entries of the manifest that stay what they are, as long as no other run takes the directory."""

# Torch, scikit-learn and matplotlib are imported inside the methods that need them: the scores of a run need none.


class Run:
    """A trained classifier and its results, backed by a run directory.

    Several threads may predict at once; they give the same answers as one thread. The first prediction waits for a
    training in another thread, because loading draws from the same generator. A pickle, and so what another process
    gets, holds the path and no weights.
    """

    def __init__(self, path: str | Path, *, precision: str = "auto") -> None:
        """Open a run directory.

        Args:
            path: run directory.
            precision: number format for predictions: `auto`, `float32`, `bfloat16` or `int8`. `auto`: int8 if the run
                has proven it and the processor has the kernels, else as in training.

        Raises:
            BadInput: there is no run, it has another format, or the precision is unknown.
        """
        arguments.check_path(path, "path")
        arguments.check_text(precision, "precision", optional=False)
        check_precision(precision)
        self._precision = precision
        # Absolute, so that the run is the same one after the process has changed its directory.
        self._dir = RunDir(RunDir.open(path).path.absolute())
        self._manifest = self._dir.read_manifest()
        self._opened: OpenedRun | None = None
        self._opening = threading.Lock()

    @property
    def path(self) -> Path:
        """The run directory, as an absolute path."""
        return self._dir.path

    @property
    def status(self) -> str:
        """`complete`, `interrupted` or `running`."""
        return self._dir.read_manifest()["status"]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run.

        Raises:
            BadInput: it is unknown, because the run was adopted.
        """
        if self._dir.is_adopted:
            raise BadInput(
                Problem(str(self.path), "a run with a recipe", "an adopted one, whose training is unknown")
            )
        return self._dir.read_recipe()

    @property
    def metrics(self) -> Metrics:
        """The scores of every split, as in metrics.json; empty until the run is scored.

        Raises:
            BadInput: the run is gone.
        """
        return self._dir.read_metrics()

    @property
    def classes_(self) -> np.ndarray:
        """The C classes, in the column order of `predict_proba` and the type of the training labels."""
        return np.array(self._manifest.get("label_values") or self._manifest["labels"])

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        """Return class probabilities, float32 [N, C], in the order of the texts.

        Args:
            texts: N texts: a list, a numpy array, a pandas or polars Series or a pyarrow column.

        Raises:
            BadInput: a text is missing or not a string, the run is unfinished, or its encoder has changed.
        """
        from submillion.data.in_memory import text_values

        column = text_values(texts)
        opened = self._open()
        if not column:
            return np.zeros((0, len(self._manifest["labels"])), np.float32)
        return opened.probabilities(column, self._dir.read_recipe().train.eval_batch_size)

    def predict(self, texts: Iterable[str], *, class_thresholds: bool = False) -> list[Any]:
        """Return the class of each text, in the type of `classes_`.

        Args:
            texts: as in `predict_proba`.
            class_thresholds: apply the thresholds chosen by `report`; a text that reaches none gets None.

        Raises:
            BadInput: as in `predict_proba`, or no thresholds are chosen.
        """
        from submillion.model.class_thresholds import class_thresholds as chosen

        arguments.check_flags(class_thresholds=class_thresholds)
        thresholds = chosen(self._dir) if class_thresholds else None
        probabilities = self.predict_proba(texts)
        answers = probabilities.argmax(axis=1) if thresholds is None else thresholds.answers(probabilities)
        classes: list[Any] = self.classes_.tolist()
        return [classes[answer] if answer >= 0 else None for answer in answers]

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
        """Score the run on labelled texts, and save predictions and metrics in the run under the split's name.

        Args:
            data: a file of labelled texts, or N texts in memory.
            labels: N labels, if the texts are in memory.
            name: name of the split; None: the file's name, or `evaluation` for texts in memory.
            text: text column of the file, or several; None: as in training.
            label: label column of the file; None: as in training if the file has it, else detected.
            thresholds: confidence thresholds to report besides 0.9.
            quiet: no notices or progress on standard error.

        Raises:
            BadInput: the data cannot be read or has labels unknown to the run, or the name is reserved.
        """
        from submillion import reporting
        from submillion.data.corpus_sources import MEMORY
        from submillion.data.in_memory import labelled_rows

        arguments.check_flags(quiet=quiet)
        if labels is not None:
            named = {"@{text}": text, "@{label}": label}
            if columns := [argument for argument, column in named.items() if column is not None]:
                remedy = f"Omit {' and '.join(columns)}."
                raise BadInput(Problem(columns[0], "a file, which has columns", "texts in memory", remedy))
            source: str | Path | LabelledRows = labelled_rows(data, labels, MEMORY)  # type: ignore[arg-type]  # a path is refused
        elif isinstance(data, str | Path):
            source = data
        else:
            remedy = "Pass texts and their labels, or a file."
            raise BadInput(Problem("@{labels}", "one label per text", "none", remedy))
        arguments.check_text(name, "name")
        arguments.check_columns(text, "text")
        arguments.check_text(label, "label")
        with notices.collecting(quiet or None), arguments.columns_by_argument():
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
        """Write the texts of a file whose labels would teach this run most, with an empty label column.

        They are uncertain and differ from each other (arXiv:1901.05954); texts of the run's own data are excluded.

        Args:
            data: file of unlabelled texts.
            out: csv file to write.
            rows: number of texts to choose.
            text: text column of the file, or several; None: as in training.
            overwrite: replace an existing file.
            quiet: no notices or progress on standard error.

        Returns:
            Number of texts written.

        Raises:
            BadInput: the file cannot be read or has no new text, or the run's own data is gone.
        """
        from submillion.ship.suggest import suggest_file

        arguments.check_flags(overwrite=overwrite, quiet=quiet)
        arguments.check_path(data, "data")
        arguments.check_path(out, "out")
        arguments.check_columns(text, "text")
        with notices.collecting(quiet or None), arguments.columns_by_argument():
            return suggest_file(self.path, data, out, rows, text, progress=not quiet, overwrite=overwrite)

    def report(
        self,
        parts: Sequence[str] = (),
        *,
        answer_at: float | None = None,
        class_thresholds: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Path:
        """Write page, model card and figures, and return the page's path.

        Args:
            parts: parts of the analysis to compute first, such as `noise` or `attribution`; `all`: every part but
                `thresholds`, `int8` and `prefix_int8`, which you may add.
            answer_at: target accuracy of the answered texts; sets the threshold for abstaining.
            class_thresholds: choose a threshold per class on the validation rows: `macro_f1`, or `precision=0.95`, the
                target precision of every answered class. `predict` applies them on request.
            out: with the part `noise`: csv file of training rows whose labels look wrong; the recipe field
                `data.corrections` reads it once a person has filled in `corrected_label`.
            overwrite: replace an existing `out`.
            quiet: no notices or progress on standard error.

        Raises:
            BadInput: a part is unknown, or data or encoder have changed since training.
        """
        from submillion import scoring

        arguments.check_flags(overwrite=overwrite, quiet=quiet)
        arguments.check_names(parts, "parts")
        arguments.check_text(class_thresholds, "class_thresholds")
        if out is not None:
            arguments.check_path(out, "out")
        with notices.collecting(quiet or None):
            return scoring.report(self.path, parts, answer_at, quiet, out, overwrite, class_thresholds)

    def compare(self, *others: Run | str | Path, split: str | None = None) -> Comparison:
        """Compare this run with others on the same rows: paired tests with Holm's correction, and intervals.

        Args:
            others: one or more runs, or their directories.
            split: split to compare on; None: test if all runs have it, else validation.

        Raises:
            BadInput: the runs were not scored on the same rows.
        """
        from submillion import reporting

        for other in others:
            if not isinstance(other, Run):
                arguments.check_path(other, "others")
        arguments.check_text(split, "split")
        paths = [self.path, *(other.path if isinstance(other, Run) else Path(other) for other in others)]
        return reporting.compare(paths, split=split)

    def export(
        self,
        to: str | Sequence[str],
        out: str | Path,
        *,
        max_loss: float = 0.2,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Exported:
        """Convert the run for other programs, and check each file against the run's predictions.

        Args:
            to: one or more of `merged`, `onnx`, `onnx-int8`, `openvino`, `openvino-int8` and `web`, or `all` (without
                `web`).
            out: output folder.
            max_loss: largest loss of accuracy in points; a file that loses more is removed.
            overwrite: replace an existing export.
            quiet: no notices or progress on standard error.

        Returns:
            The export; its `removed` names the files that lost more.

        Raises:
            BadInput: a form is unknown, a package is missing, the output exists, or data or encoder have changed.
            SubmillionError: a converter failed, or the output cannot be written.
        """
        from submillion.exporting.export import export

        arguments.check_flags(overwrite=overwrite, quiet=quiet)
        with notices.collecting(quiet or None):
            return export(self.path, to, out, max_loss, overwrite, progress=not quiet)

    def push(
        self,
        repository: str,
        *,
        encoder: str | None = None,
        exports: str | Path | None = None,
        eval_results: str | None = None,
        private: bool = False,
        revision: str | None = None,
        dry_run: bool = False,
        quiet: bool = False,
    ) -> Pushed:
        """Send adapter, tokenizer, card and figures to a repository of the Hugging Face hub, in one commit.

        `PeftModel.from_pretrained(encoder, repository)` then gives the run's logits. Texts and predictions are not
        sent.

        Args:
            repository: `name/repository`; created if missing.
            encoder: hub id of the encoder, for a run whose encoder was a folder.
            exports: folder made by `export` from this run, to send too.
            eval_results: task of the data set's benchmark; writes the test accuracy for it to `.eval_results`.
            private: make a new repository private.
            revision: branch to commit to; None is the main branch.
            dry_run: send nothing; the result has the files with sizes, and the card.
            quiet: no notices or progress on standard error.

        Raises:
            BadInput: the run is unfinished or was changed, others could not load its encoder, or the hub refuses.
        """
        from submillion.publication.options import PushOptions
        from submillion.publication.push import push

        arguments.check_flags(private=private, dry_run=dry_run, quiet=quiet)
        options = PushOptions(encoder, exports, eval_results, private, revision, dry_run)
        with notices.collecting(quiet or None):
            return push(self.path, repository, options, progress=not quiet)

    def file_hashes(self) -> dict[str, str]:
        """Return the sha256 of the files that determine predictions: recipe, adapter and tokenizer."""
        return self._dir.hashes(self._dir.recipe, self._dir.adapter, self._dir.tokenizer)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Run, precision=self._precision), (str(self.path),)

    def __repr__(self) -> str:
        from submillion.report.run_summary import summary_text

        try:
            return f"{summary_text(self._dir)}\n  {self.path}"
        except SubmillionError as error:  # a debugger or a log that shows the object must not fail
            return f"a run that cannot be read\n  {error}"

    def _repr_html_(self) -> str | None:
        from submillion.report.run_summary import summary_html

        try:
            return summary_html(self._dir)
        except SubmillionError:
            return None  # a notebook then shows the text

    def _open(self) -> OpenedRun:
        """Return the classifier, loaded once."""
        from submillion.model.inference import open_for_answers

        with self._opening:
            if self._opened is None:
                self._check_not_replaced()
                with notices.collecting():
                    # What the training has noted already is news on another machine only.
                    notices.restore(cast("list[dict[str, Any]]", self._manifest.get("notices", [])))
                    self._opened = open_for_answers(self._dir, self._precision)
            return self._opened

    def _check_not_replaced(self) -> None:
        """Refuse to load a classifier whose classes may be others than those that this object has read."""
        now = self._dir.read_manifest()
        if any(now.get(name) != self._manifest.get(name) for name in IDENTITY):
            expected, found = "the run that was opened", "another one, which has replaced it"
            raise BadInput(Problem(str(self.path), expected, found, "Open it again with `submillion.load`."))

"""From a run's saved predictions to its report: analysis, figures, card and page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from submillion import notices
from submillion.arguments import check_share
from submillion.assess import registry
from submillion.assess.compare.compare_runs import compare_runs
from submillion.assess.compare.comparison import Comparison
from submillion.assess.confidence_summary import check_thresholds
from submillion.assess.data_quality.suspects_file import write_suspects
from submillion.assess.evaluate import evaluate as evaluate_split
from submillion.assess.evaluate import score_saved
from submillion.assess.run_context import RunContext
from submillion.data.rows import LabelledRows
from submillion.errors import SubmillionError
from submillion.files.output_file import OutputFile
from submillion.model.class_thresholds import PART as THRESHOLDS
from submillion.model.class_thresholds import ThresholdRequest
from submillion.report.comparison_figure import SUFFIXES, draw, figure_file
from submillion.report.drawn_names import notice_numbered
from submillion.report.write import write_report
from submillion.run_format.metrics import SplitMetrics
from submillion.rundir import RunDir
from submillion.terminal.progress import named_work
from submillion.wording import plural

EVERY = "all"


def after_training(context: RunContext, further: Sequence[str] = ()) -> None:
    """Compute the quick parts of a trained run's analysis, seal its files, and write figures, card and page.

    A part that fails is named in a notice, and the report calls it not measured; the training stays valid.

    Args:
        context: the run.
        further: parts to compute beside the quick ones.
    """
    for name in (*registry.quick_parts(context.cross_validated, context.adopted), *further):
        try:
            registry.compute_parts(context, [name])
        except SubmillionError as error:
            notices.emit("not_analysed", f"part '{name}' of the analysis failed: {error}", part=name)
    notice_numbered(context.labels)
    context.run.update_manifest(notices=notices.collected())
    context.run.seal()
    _draw(context.run, context.progress)


def remake(
    path: str | Path,
    names: Sequence[str] = (),
    answer_at: float | None = None,
    progress: bool = False,
    suspects: OutputFile | None = None,
    class_thresholds: str | None = None,
) -> Path:
    """Compute parts of a run's analysis, then write figures, card and page again.

    Args:
        path: a run directory.
        names: parts to compute; `all` adds every one that does not need to be named; without names the existing ones
            are only drawn.
        answer_at: target accuracy of the answered texts; computes the part `confidence`.
        progress: show bars on standard error.
        suspects: a csv to write, with the training rows whose labels look wrong; needs the part `noise`.
        class_thresholds: `macro_f1` or `precision=0.95`; computes the part `thresholds`.

    Returns:
        The page.

    Raises:
        BadInput: no run, an unknown part, a target that is no share, or data or encoder that have changed since the
            training.
    """
    registry.check_names([name for name in names if name != EVERY])
    if answer_at is not None:  # written as it is, a wrong one would make the part `confidence` unreadable
        check_share(answer_at, "answer_at")
        answer_at = float(answer_at)  # JSON has no numbers of numpy
    run = RunDir(path)
    request = None if class_thresholds is None else ThresholdRequest.of(class_thresholds)
    with run.locked():
        run.check_trained()
        context = RunContext(run, progress=progress, answer_at=answer_at, class_thresholds=request)
        possible = registry.possible_parts(context.cross_validated, context.adopted) if EVERY in names else []
        # First the parts that are named: one that this run cannot have is refused before others take their time.
        wanted = list(dict.fromkeys([*(name for name in names if name != EVERY), *possible]))
        if answer_at is not None and "confidence" not in wanted:
            wanted.insert(0, "confidence")
        if request is not None and THRESHOLDS not in wanted:
            wanted.insert(0, THRESHOLDS)
        run.begin("report")
        try:
            registry.compute_parts(context, wanted)
            if suspects is not None:
                count = write_suspects(context, suspects)
                notices.emit(
                    "suspects", f"{plural(count, 'training row')} to check -> {suspects.path}", rows=count
                )
        finally:  # also after a part that failed: those before it are sealed and drawn
            if wanted:
                run.seal(run.analysis)
            _draw(run, progress)
            run.end()
    return run.report


def evaluate(
    path: str | Path,
    data: str | Path | LabelledRows,
    *,
    name: str | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    thresholds: Iterable[float] = (),
    progress: bool = False,
) -> SplitMetrics:
    """Score a run on further labelled texts, and bring its report up to date.

    Arguments, result and errors are those of `assess.evaluate.evaluate`.
    """
    run = RunDir(path)
    with run.locked():
        run.check_trained()
        metrics = evaluate_split(path, data, name, text, label, thresholds, progress)
        run.seal(run.predictions)
        _draw(run, progress)
        run.end()
    return metrics


def _draw(run: RunDir, progress: bool) -> None:
    """Write figures, card and page, named on standard error if that takes long."""
    with named_work(progress, "drawing figures and page"):
        write_report(run.path)


def complete(run: RunDir) -> None:
    """Complete what a killed `evaluate` or `report` began: score, seal and draw the results that it saved.

    Args:
        run: a run whose manifest says what is unfinished; the caller holds its lock.
    """
    task = run.read_manifest().get("unfinished") or {}
    if (split := task.get("split")) in run.prediction_splits():
        score_saved(run, split, check_thresholds(task.get("thresholds", ())))
    run.seal(run.predictions if split else run.analysis)
    write_report(run.path)
    run.end()


def compare(
    paths: Sequence[Path], split: str | None = None, out: Path | None = None, overwrite: bool = False
) -> Comparison:
    """Compare runs on the same rows, and draw the comparison if `out` names a figure.

    Raises:
        BadInput: the runs were not scored on the same rows, or a figure exists and `overwrite` is off.
    """
    files = (
        {}
        if out is None
        else {suffix: OutputFile.at(figure_file(out, suffix), overwrite=overwrite) for suffix in SUFFIXES}
    )
    comparison = compare_runs(paths, split)
    if files:
        with tempfile.TemporaryDirectory() as folder:
            for drawn in draw(comparison.to_json(), Path(folder) / "comparison"):
                with files[drawn.suffix].open(binary=True) as stream:
                    stream.write(drawn.read_bytes())
    return comparison

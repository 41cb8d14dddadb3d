"""From a run's saved predictions to its report: the parts of the analysis, figures, card and page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion import notices, report
from submillion.assess import registry
from submillion.assess.run_context import RunContext
from submillion.errors import SubmillionError
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from submillion.assess.compare.comparison import Comparison

EVERY = "all"


def after_training(context: RunContext) -> None:
    """Make the quick parts of a trained run's analysis, seal its files, write its figures, card and page.

    A part that cannot be made is told in a notice, and the report calls it not measured: the training stands.
    """
    for name in registry.quick_parts():
        try:
            registry.analyse(context, [name])
        except SubmillionError as error:
            notices.emit("not_analysed", f"the analysis has no part '{name}': {error}", part=name)
    context.run.update_manifest(notices=notices.collected())
    context.run.seal()
    report.write(context.run.path)


def remake(
    path: str | Path,
    names: Sequence[str] = (),
    answer_at: float | None = None,
    progress: bool = False,
) -> Path:
    """Make parts of a run's analysis, then draw its figures and write its card and page anew.

    Args:
        path: a run directory.
        names: parts to make (`all` is every one); none of them draws and writes from what is there.
        answer_at: the accuracy that the abstain policy is to reach; makes the part `confidence`.

    Returns:
        The page.

    Raises:
        BadInput: no run, an unknown part, or data or encoder that are not the run's any more.
    """
    context = RunContext.open(path, progress=progress, answer_at=answer_at)
    wanted = list(registry.PARTS) if EVERY in names else list(dict.fromkeys(names))
    if answer_at is not None and "confidence" not in wanted:
        wanted.insert(0, "confidence")
    registry.analyse(context, wanted)
    if wanted:
        context.run.seal(context.run.analysis)
    report.write(context.run.path)
    return context.run.report


def evaluate(path: str | Path, data: str | Path, **options: Any) -> dict[str, Any]:
    """Score a run on a further labelled file, as `assess.evaluate` does, and bring its report up to date."""
    from submillion.assess.evaluate import evaluate as evaluate_file

    metrics = evaluate_file(path, data, **options)
    run = RunDir.open(path)
    run.seal(run.predictions)
    report.write(run.path)
    return metrics


def compare(paths: Sequence[Path], split: str | None = None, out: Path | None = None) -> Comparison:
    """Compare runs on the same rows, as `assess.compare` does, and draw what was found where `out` names a place."""
    from submillion.assess.compare.compare_runs import compare as compare_runs
    from submillion.report.comparison import draw

    compared = compare_runs(paths, split)
    if out is not None:
        draw(compared.to_json(), out)
    return compared

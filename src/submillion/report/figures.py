"""The figures of a run, as svg and png, drawn from the run directory and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.atomic import atomic_dir
from submillion.report import audit, classes, curves, mistakes, reliability
from submillion.report.theme import house_style, save
from submillion.rundir import RunDir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure: its file name without ending, its heading (what and of which rows), and how to draw it."""

    name: str
    heading: str
    draw: Callable[[str], Figure]
    split: str | None = None

    @property
    def title(self) -> str:
        """The heading in one line, for those who hear the figure and do not see it."""
        return self.heading.replace("\n", ", ")


def drawings(run: RunDir) -> list[Drawing]:
    """Return the figures that the run has facts for: no curves without history, no scores without labels."""
    found: list[Drawing] = []
    history = run.read_history()
    logged = [record for record in history if record["kind"] == "train"]
    evaluated = [record for record in history if record["kind"] == "eval"]
    if logged or evaluated:
        title = "Training and evaluation loss"
        found.append(Drawing("loss", title, lambda title: curves.loss(logged, evaluated, title)))
    if evaluated:
        best = run.read_manifest().get("training", {}).get("best_step")
        title = "Validation accuracy at each evaluation"
        found.append(Drawing("accuracy", title, lambda title: curves.accuracy(evaluated, best, title)))
    for split in run.prediction_splits():
        found += [replace(drawing, split=split) for drawing in _of_split(split, run.load_predictions(split))]
    return found + _of_analysis(run)


def draw_all(run: RunDir) -> list[Path]:
    """Draw every figure of the run into its `figures` folder, in place of those that were there.

    Returns:
        The files written, svg then png of each figure: `loss`, `accuracy`, and per split
        `confusion_<split>_counts`, `_by_row`, `_by_column`, `classes_<split>` and `confidence_<split>`;
        of the analysis `reliability_<split>`, `risk_coverage_<split>`,
        `confused_pairs`, `slices`, `deletion`, `swaps` and `mentions`, as far as it was made.
    """
    planned = drawings(run)
    written: list[Path] = []

    def fill(folder: Path) -> None:
        with house_style():
            for drawing in planned:
                written.extend(save(drawing.draw(drawing.heading), folder, drawing.name, drawing.title))

    atomic_dir(run.figures, fill)
    return [run.figures / file.name for file in written]


def _of_split(split: str, saved: dict[str, Any]) -> list[Drawing]:
    labels, predicted, names = saved["labels"], saved["predicted"], saved["label_names"]
    top = saved["probabilities"].max(axis=1)
    if not len(top):
        return []
    rows = f"{split}, {len(top):,} rows"
    if labels is None:
        title = f"Confidence\n{rows}, unlabelled"
        return [Drawing(f"confidence_{split}", title, lambda title: curves.confidence(top, None, title))]
    counts = classes.confusion_counts(labels, predicted, len(names))
    return [
        Drawing(
            f"confusion_{split}_counts",
            f"Confusion in rows\n{rows}",
            lambda title: classes.confusion(counts, names, "count", title),
        ),
        Drawing(
            f"confusion_{split}_by_row",
            f"Confusion in % of each true class\n{rows}; the diagonal is recall",
            lambda title: classes.confusion(counts, names, "row", title),
        ),
        Drawing(
            f"confusion_{split}_by_column",
            f"Confusion in % of each predicted class\n{rows}; the diagonal is precision",
            lambda title: classes.confusion(counts, names, "column", title),
        ),
        Drawing(
            f"classes_{split}",
            f"Precision, recall and F1 by class\n{rows}",
            lambda title: classes.bars(counts, names, title),
        ),
        Drawing(
            f"confidence_{split}",
            f"Confidence of right and wrong answers\n{rows}",
            lambda title: curves.confidence(top, labels == predicted, title),
        ),
    ]


def _of_analysis(run: RunDir) -> list[Drawing]:
    """Return the figures of those parts of the analysis that the run has and that found anything."""
    drawn = _of_confidence(run.read_analysis("confidence"))
    errors, attribution = run.read_analysis("errors"), run.read_analysis("attribution")
    if errors and errors["pairs"]:
        rows = f"{errors['split']}, {errors['mistakes']:,} mistakes in {errors['rows']:,} rows"
        pairs, in_all = errors["pairs"], errors["pairs_in_all"]
        drawn.append(
            Drawing(
                "confused_pairs",
                f"Confused pairs\n{rows}",
                lambda title: mistakes.confused_pairs(pairs, title, in_all=in_all),
                errors["split"],
            )
        )
    slices = [
        part | {"group": kind["title"]}
        for kind in (errors or {"slices": {}})["slices"].values()
        for part in kind["slices"]
    ]
    if errors and slices:
        overall = errors["accuracy"]
        drawn.append(
            Drawing(
                "slices",
                f"Accuracy by kind of text\n{errors['split']}, {errors['rows']:,} rows; 95 % intervals",
                lambda title: mistakes.accuracy_by_slice(slices, overall, title),
                errors["split"],
            )
        )
    curve = attribution["faithfulness"]["curve"] if attribution else []
    if attribution and curve:
        drawn.append(
            Drawing(
                "deletion",
                f"What deleting words does to the answer\n{attribution['split']}, {len(attribution['texts'])} texts",
                lambda title: mistakes.deletion(curve, title),
                attribution["split"],
            )
        )
    return drawn + _of_audit(run.read_analysis("audit"))


def _of_audit(found: dict[str, Any] | None) -> list[Drawing]:
    """Return the figures of the audit: of exchanges that were judged, and of rows that mention listed words."""
    drawn: list[Drawing] = []
    exchanges = [axis for axis in (found or {"swaps": []})["swaps"] if not axis["too_small"]]
    if found and exchanges:
        heading = f"Answers that change when a listed word is exchanged\n{found['split']}"
        drawn.append(Drawing("swaps", heading, lambda title: audit.swaps(exchanges, title), found["split"]))
    slices = [
        part | {"group": kind["title"]}
        for kind in (found or {"mentions": []})["mentions"]
        for part in kind["slices"]
    ]
    if found and slices:
        overall = found["accuracy"]
        drawn.append(
            Drawing(
                "mentions",
                f"Accuracy by the listed words that a text mentions\n{found['split']}, {found['rows']:,} rows",
                lambda title: mistakes.accuracy_by_slice(slices, overall, title),
                found["split"],
            )
        )
    return drawn


def _of_confidence(found: dict[str, Any] | None) -> list[Drawing]:
    return [
        drawing for split in (found or {"splits": {}})["splits"] for drawing in _of_rated(found or {}, split)
    ]


def _of_rated(found: dict[str, Any], split: str) -> list[Drawing]:
    rows = f"{split}, {found['splits'][split]['rows']:,} rows"
    return [
        Drawing(
            f"reliability_{split}",
            f"Accuracy at each confidence\n{rows}",
            lambda title: reliability.reliability(found, split, title),
            split,
        ),
        Drawing(
            f"risk_coverage_{split}",
            f"Wrong answers against answers given\n{rows}",
            lambda title: reliability.risk_coverage(found, split, title),
            split,
        ),
    ]

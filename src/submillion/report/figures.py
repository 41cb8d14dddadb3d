"""The figures of a run: the list of all figures, and their svg and png files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from submillion.files.atomic import atomic_dir
from submillion.report import (
    audit_figures,
    class_figures,
    confidence_figures,
    error_figures,
    training_figures,
)
from submillion.report.drawn_names import drawn
from submillion.report.theme import house_style, save
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import split_title
from submillion.rundir import RunDir
from submillion.wording import printable

Titled = Callable[[str], str]
"""Returns the name of a split in sentences."""


@dataclass(frozen=True)
class Drawing:
    """One figure."""

    name: str
    """File name without suffix."""
    heading: str
    """What the figure shows, and of which rows; may have two lines."""
    draw: Callable[[str], Figure]
    """Draws the figure with a heading."""
    split: str | None = None

    @property
    def title(self) -> str:
        """The heading in one line, as the text alternative."""
        return self.heading.replace("\n", ", ")


def drawings(run: RunDir) -> list[Drawing]:
    """Return the figures that the run has data for: no curves without history, no scores without labels."""
    drawings: list[Drawing] = []
    history = run.read_history()
    logged = [record for record in history if record["kind"] == "train"]
    evaluated = [record for record in history if record["kind"] == "eval"]
    if logged or evaluated:
        drawings.append(
            Drawing(
                "loss",
                "Training and validation loss",
                lambda title: training_figures.loss_curves(logged, evaluated, title),
            )
        )
    if evaluated:
        best = run.read_manifest().get("training", {}).get("best_step")
        drawings.append(
            Drawing(
                "accuracy",
                "Validation accuracy at each evaluation",
                lambda title: training_figures.accuracy_curve(evaluated, best, title),
            )
        )
    manifest = run.read_manifest()

    def titled(split: str) -> str:  # no SVG can hold a control character
        return printable(split_title(split, manifest.get("data", {})))

    for split in run.prediction_splits():
        of_split = _split_drawings(split, titled(split), run.load_predictions(split))
        drawings += [replace(drawing, split=split) for drawing in of_split]
    return [
        *drawings,
        *_confidence_drawings(run.read_analysis("confidence"), titled),
        *_error_drawings(run.read_analysis("errors"), manifest.get("labels", []), titled),
        *_attribution_drawings(run.read_analysis("attribution"), titled),
        *_audit_drawings(run.read_analysis("audit"), titled),
    ]


def draw_all(run: RunDir) -> list[Path]:
    """Draw every figure of the run into its `figures` folder, in place of earlier ones.

    Returns:
        The files, svg then png of each figure: `loss`, `accuracy`; per split `confusion_<split>_counts`, `_by_row`,
        `_by_column`, `classes_<split>` and `confidence_<split>`; of the analysis, as far as it exists,
        `reliability_<split>`, `risk_coverage_<split>`, `confused_pairs`, `slices`, `deletion`, `swaps` and `mentions`.
    """
    planned = drawings(run)
    written: list[Path] = []

    def fill(folder: Path) -> None:
        with house_style():
            for drawing in planned:
                written.extend(save(drawing.draw(drawing.heading), folder, drawing.name, drawing.title))

    atomic_dir(run.figures, fill)
    return [run.figures / file.name for file in written]


def _split_drawings(split: str, title: str, predictions: Predictions) -> list[Drawing]:
    labels, predicted, names = predictions.labels, predictions.predicted, predictions.label_names
    top = predictions.probabilities.max(axis=1)
    if not len(top):
        return []
    rows = f"{title}, {len(top):,} rows"
    if labels is None:
        return [
            Drawing(
                f"confidence_{split}",
                f"Confidence\n{rows}, unlabelled",
                lambda title: confidence_figures.confidence_histogram(top, None, title),
            )
        ]
    counts = class_figures.confusion_counts(labels, predicted, len(names))
    merged, shown, which = class_figures.most_confused(counts, drawn(names))
    lowest, of_lowest = class_figures.lowest_f1(counts, names)
    which, of_lowest = (f"\n{line}" if line else "" for line in (which, of_lowest))
    return [
        Drawing(
            f"confusion_{split}_counts",
            f"Confusion matrix in rows\n{rows}{which}",
            lambda title: class_figures.confusion_matrix(merged, shown, "count", title),
        ),
        Drawing(
            f"confusion_{split}_by_row",
            f"Confusion matrix in % of each true class\n{rows}; the diagonal is recall{which}",
            lambda title: class_figures.confusion_matrix(merged, shown, "row", title),
        ),
        Drawing(
            f"confusion_{split}_by_column",
            f"Confusion matrix in % of each predicted class\n{rows}; the diagonal is precision{which}",
            lambda title: class_figures.confusion_matrix(merged, shown, "column", title),
        ),
        Drawing(
            f"classes_{split}",
            f"Precision, recall and F1 by class\n{rows}{of_lowest}",
            lambda title: class_figures.per_class_scores(counts, names, title, lowest),
        ),
        Drawing(
            f"confidence_{split}",
            f"Confidence of correct and wrong predictions\n{rows}",
            lambda title: confidence_figures.confidence_histogram(top, labels == predicted, title),
        ),
    ]


def _confidence_drawings(confidence: Mapping[str, Any] | None, titled: Titled) -> Iterable[Drawing]:
    if confidence is None:
        return
    for split, scores in confidence["splits"].items():
        rows = f"{titled(split)}, {scores['rows']:,} rows"
        yield Drawing(
            f"reliability_{split}",
            f"Reliability diagram\n{rows}",
            partial(confidence_figures.reliability_diagram, confidence, split),
            split,
        )
        yield Drawing(
            f"risk_coverage_{split}",
            f"Risk-coverage curve\n{rows}",
            partial(confidence_figures.risk_coverage_curve, confidence, split),
            split,
        )


def _error_drawings(
    errors: Mapping[str, Any] | None, labels: Sequence[object], titled: Titled
) -> Iterable[Drawing]:
    if errors is None:
        return
    split = errors["split"]
    if errors["pairs"]:
        names = [str(label) for label in labels]
        shown = dict(zip(names, drawn(names), strict=True))
        pairs = [
            pair | {key: shown.get(pair[key], pair[key]) for key in ("true", "predicted")}
            for pair in errors["pairs"]
        ]
        yield Drawing(
            "confused_pairs",
            f"Confused pairs of classes\n{titled(split)}, {errors['mistakes']:,} of {errors['rows']:,} rows "
            "misclassified",
            lambda title: error_figures.confused_pairs(pairs, title, total=errors["pairs_in_all"]),
            split,
        )
    if slices := _slices(errors["slices"].values()):
        yield Drawing(
            "slices",
            f"Accuracy by slice\n{titled(split)}, {errors['rows']:,} rows; 95% intervals",
            lambda title: error_figures.accuracy_by_slice(slices, errors["accuracy"], title),
            split,
        )


def _attribution_drawings(attribution: Mapping[str, Any] | None, titled: Titled) -> Iterable[Drawing]:
    if attribution is None or not (curve := attribution["faithfulness"]["curve"]):
        return
    split = attribution["split"]
    yield Drawing(
        "deletion",
        f"Effect of deleting words on the prediction\n{titled(split)}, {len(attribution['texts'])} texts",
        lambda title: error_figures.deletion_curve(curve, title),
        split,
    )


def _audit_drawings(audit: Mapping[str, Any] | None, titled: Titled) -> Iterable[Drawing]:
    if audit is None:
        return
    split = audit["split"]
    if swaps := [axis for axis in audit["swaps"] if not axis["too_small"]]:
        yield Drawing(
            "swaps",
            f"Predictions that change when a listed word is replaced\n{titled(split)}",
            lambda title: audit_figures.replacement_rates(swaps, title),
            split,
        )
    if slices := _slices(audit["mentions"]):
        yield Drawing(
            "mentions",
            f"Accuracy by listed words in the text\n{titled(split)}, {audit['rows']:,} rows",
            lambda title: error_figures.accuracy_by_slice(slices, audit["accuracy"], title),
            split,
        )


def _slices(kinds: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slices of all kinds, each with the title of its kind as `group`."""
    return [part | {"group": kind["title"]} for kind in kinds for part in kind["slices"]]

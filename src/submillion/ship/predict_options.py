"""What a prediction writes and how it answers: the options, and the thresholds and temperature that a run provides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from submillion import notices
from submillion.arguments import check_count
from submillion.errors import BadInput, Problem
from submillion.model.class_thresholds import NONE, class_thresholds
from submillion.model.precisions import check_precision
from submillion.rundir import RunDir
from submillion.ship.policy import abstain_threshold, fitted_temperature

CHUNK_ROWS = 8192  # rows classified together: enough to batch texts of similar length, and to meet equal ones

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class PredictOptions:
    """Columns of the output, how rows are answered, and where the work is done."""

    with_confidence: bool = False
    """Add `Confidence`, the probability of the label, and `p_<class>` for every class."""
    abstain: bool = False
    """Leave the label empty if its probability is below the threshold of the run's abstain policy; `Confidence` and
    `p_<class>` are written all the same."""
    class_thresholds: bool = False
    """Answer with the thresholds per class that the run's analysis has chosen. `Confidence` is the probability of the
    answer, or the largest one where a text has none."""
    batch_size: int = 64
    """Texts per forward pass."""
    chunk_rows: int = CHUNK_ROWS
    """Rows that are classified together."""
    calibrated: bool = False
    """With `with_confidence`: write the probabilities at the temperature that the run's analysis has fitted on the
    validation rows (Guo et al. 2017, arXiv:1706.04599, section 4.2). Classes, `abstain` and `class_thresholds` are
    unchanged by it."""
    id: str | None = None
    """Input column whose values are the column `ID`; None takes `id` if the file has it, else counts from 0."""
    keep: tuple[str, ...] = ()
    """Input columns that are copied, as text, to the end of each line."""
    with_text: bool = False
    """Add the text that was classified, as the column `Text`."""
    spreadsheet: bool = False
    """Write for Excel: values that it would take for a formula get an apostrophe in front, and the file begins with a
    byte order mark, without which Excel does not read utf-8."""
    abstain_below: float | None = None
    """Leave the label empty if its probability, as `with_confidence` writes it, is below this; in place of
    `abstain`."""
    resume: bool = False
    """Continue an output that was interrupted, after its last complete part."""
    precision: str = "auto"
    """Number format of the answers; see `model.inference.open_for_answers`."""
    engine: str = "local"
    """`local`: this process. `ray`: the cluster of RAY_ADDRESS, or one on this machine."""


@dataclass(frozen=True)
class Answering:
    """How the rows of one prediction are answered."""

    classes: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """From the run's own and the written probabilities of N rows, both [N, C], to their classes, int [N]; -1 for a row
    without an answer."""
    temperature: float
    """Of the written probabilities."""
    settings: dict[str, Any]
    """The thresholds, as JSON: an output is only continued with equal ones."""


def answering(run: RunDir, options: PredictOptions) -> Answering:
    """Return how the options ask for rows to be answered.

    Raises:
        BadInput: an unknown engine or precision, no rows per pass or chunk, two ways to leave a text unanswered, a
            threshold that is no probability, or the run lacks the thresholds or the temperature.
    """
    if options.engine not in ENGINES:
        raise BadInput(Problem("@{engine}", f"one of {', '.join(ENGINES)}", f"'{options.engine}'"))
    check_precision(options.precision)
    check_count(options.batch_size, "batch_size")
    check_count(options.chunk_rows, "chunk_rows")
    asked = [
        name
        for name in ("class_thresholds", "abstain", "abstain_below")
        if getattr(options, name) not in (False, None)
    ]
    if len(asked) > 1:
        remedy = f"Omit @{{{asked[1]}}}."
        raise BadInput(Problem(f"@{{{asked[0]}}}", "one kind of threshold", "two", remedy))
    temperature = _temperature(run, options)
    settings: dict[str, Any] = {"temperature": temperature}
    if options.calibrated and (options.class_thresholds or options.abstain):
        notices.emit(
            "uncalibrated_thresholds",
            "the run's thresholds were chosen for probabilities without temperature, and are compared with these, not "
            "with the calibrated ones that are written.",
        )
    if options.class_thresholds:
        chosen = class_thresholds(run)
        settings["class_thresholds"] = [chosen.objective, *map(str, chosen.values)]
        return Answering(lambda own, _: chosen.answers(own), temperature, settings)
    threshold = options.abstain_below or 0.0
    if not 0.0 <= threshold <= 1.0:
        raise BadInput(Problem("@{abstain_below}", "a probability from 0 to 1", str(threshold)))
    settings["abstain_below"] = threshold
    if options.abstain:
        settings["abstain_below"] = policy = policy_threshold(run)
        return Answering(lambda own, _: answers(own, policy), temperature, settings)
    return Answering(lambda own, written: answers(own, threshold, written), temperature, settings)


def policy_threshold(run: RunDir) -> float:
    """Return the confidence below which the run's abstain policy gives no label.

    Raises:
        BadInput: the run has no policy, or no threshold reaches the requested accuracy.
    """
    threshold = abstain_threshold(run)
    if threshold is None:
        where = str(run.analysis_file("confidence"))
        policy = (run.read_analysis("confidence") or {}).get("policy")
        reachable = (
            f"no threshold that reaches an accuracy of {policy['target_accuracy']:.2%}" if policy else "none"
        )
        command = f"submillion report {run.path} --answer-at ACCURACY"
        remedy = f"Choose an accuracy that it can reach: `{command}`."
        raise BadInput(Problem(where, "an abstain policy", reachable, remedy))
    return threshold


def _temperature(run: RunDir, options: PredictOptions) -> float:
    """Return the temperature of the written probabilities: 1, or the fitted one.

    Raises:
        BadInput: none is fitted, or no probability is written.
    """
    if not options.calibrated:
        return 1.0
    if not options.with_confidence:
        remedy = "Add @{with_confidence}, or omit @{calibrated}."
        raise BadInput(Problem("@{calibrated}", "probabilities in the output", "labels only", remedy))
    temperature = fitted_temperature(run)
    if temperature is None:
        where = str(run.analysis_file("confidence"))
        fitted = (run.read_analysis("confidence") or {}).get("temperature") or {}
        found = "one at the bound of its range, which calibrates nothing" if fitted.get("value") else "none"
        raise BadInput(
            Problem(where, "a temperature fitted on validation rows", found, "Omit @{calibrated}.")
        )
    return temperature


def answers(
    probabilities: np.ndarray, threshold: float = 0.0, written: np.ndarray | None = None
) -> np.ndarray:
    """Return the most probable class of each row, int [N]; of equally probable classes the first.

    Args:
        probabilities: float32 [N, C].
        threshold: a row whose highest probability is below it has -1.
        written: float32 [N, C], those that are compared with the threshold; None takes `probabilities`.
    """
    compared = probabilities if written is None else written
    # As float64: a threshold between two neighbouring float32 would be rounded to one of them.
    answered = compared.max(axis=1).astype("float64") >= threshold
    classes: np.ndarray = np.where(answered, probabilities.argmax(axis=1), NONE)
    return classes


def header(labels: Sequence[str], options: PredictOptions) -> list[str]:
    """Return the names of the output's columns.

    Raises:
        BadInput: a copied column has the name of another one.
    """
    names = ["ID", "Label"]
    if options.with_confidence:
        names += ["Confidence", *(f"p_{label}" for label in labels)]
    if options.with_text:
        names.append("Text")
    for name in options.keep:
        if name in names:
            remedy = "Rename it in the file, or omit it."
            raise BadInput(
                Problem("@{keep}", "names that differ from the other columns", f"'{name}'", remedy)
            )
        names.append(name)
    return names

"""The rows that a baseline is fitted on, and those that choose its strength; never a row that it is scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from submillion import notices
from submillion.assess.run_context import RunContext
from submillion.wording import plural

HELD_OUT = 0.2
"""Share of the training rows that choose the strength if the validation rows must not."""


@dataclass(frozen=True)
class Choice:
    """The rows that choose a baseline's strength."""

    fit: np.ndarray
    """Places of the training rows that the candidates are fitted on, int [N], ascending."""
    held_out: np.ndarray | None
    """Places of the training rows that choose, int [M]; None if the validation rows choose, or none can."""
    chosen_on: str | None
    """`validation`, `train` (its held-out rows), or None if too few rows are left to choose by."""


def choice(context: RunContext, labels: np.ndarray, most: int | None = None) -> Choice:
    """Return the rows that choose a strength: the validation rows unless the run is scored on them or has none of its
    own, as with a cross-validation.

    Otherwise a fifth of the training rows chooses, drawn with the run's seed; a class keeps at least one row to fit.

    Args:
        context: the run.
        labels: class indices of the training rows that the baseline is fitted on, int [N].
        most: maximum number of rows that the candidates are fitted on; None takes all.
    """
    validation, order = context.corpus.validation, spread(labels, context.seed)
    classes = len(set(labels.tolist()))
    size = 0
    chosen_on: str | None = validation.name
    if context.split == validation.name or not len(validation) or context.cross_validated:
        size = max(min(int(HELD_OUT * len(labels)), len(labels) - classes), 0)
        chosen_on = "train" if size else None
    fit = order[: len(labels) - size]
    if most is not None:
        fit = fit[: max(most, classes)]
    held_out = np.sort(order[len(labels) - size :]) if size else None
    return Choice(np.sort(fit), held_out, chosen_on)


def spread(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the places of rows in a random order in which every class has one row before any has a second one.

    Args:
        labels: class index of every row, int [N].
        seed: the run's seed.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    is_first = np.zeros(len(order), dtype=bool)
    is_first[np.unique(labels[order], return_index=True)[1]] = True
    return np.concatenate([order[is_first], order[~is_first]])


def bounded(context: RunContext, most: int, title: str) -> np.ndarray:
    """Return the training rows that a baseline is fitted on: all, or after a notice a random sample of `most` rows.

    Args:
        context: the run.
        most: maximum number of rows.
        title: of the baseline, for the notice.

    Returns:
        int [N], ascending.
    """
    labels = np.asarray(context.train.labels)
    most = max(most, len(set(labels.tolist())))
    if len(labels) <= most:
        return np.arange(len(labels))
    notices.emit(
        "baseline_rows",
        f"the baseline '{title}' is fitted on a random sample of {most:,} of the "
        f"{plural(len(labels), 'training row')}; all would take too long.",
        baseline=title,
        rows=most,
        of=len(labels),
    )
    return np.sort(spread(labels, context.seed)[:most])

"""Choice of a linear model's regularisation strength C on held-out rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning


def select_C(
    make: Callable[[float], Any],
    train: tuple[Any, Sequence[int]],
    held_out: tuple[Any, Sequence[int]] | None,
    candidates: Sequence[float],
    fixed: float,
    processes: int = 1,
) -> tuple[Any, dict[str, Any]]:
    """Fit one model for each candidate C and return the one that is best on held-out rows.

    Args:
        make: returns scikit-learn's unfitted model for a strength C.
        train: features and labels to fit on.
        held_out: features and labels to choose by; None fits `fixed` alone.
        candidates: values of C.
        fixed: C without held-out rows.
        processes: number of processes; -1 takes one per core.

    Returns:
        The model, and `strength`: {`C`, `chosen_on` (`validation`, or None if fixed), `ladder`: [{`C`, `accuracy` (on
        the held-out rows, else None), `converged`}]}. Of equally good ones the smallest C is taken.
    """
    strengths = sorted(candidates if held_out else [fixed])
    # Processes, not threads, which would share the generator that a fit draws from. The largest C takes longest, so it
    # starts first.
    models = Parallel(n_jobs=processes)(
        delayed(_fitted)(make(strength), *train) for strength in reversed(strengths)
    )
    tried = []
    for strength, model in zip(strengths, reversed(models), strict=True):
        accuracy = float(model.score(*held_out)) if held_out else None
        converged = bool(np.max(model.n_iter_) < model.max_iter)
        tried.append((model, {"C": strength, "accuracy": accuracy, "converged": converged}))
    best = max(tried, key=lambda pair: pair[1]["accuracy"] or 0.0)
    return best[0], {
        "C": best[1]["C"],
        "chosen_on": "validation" if held_out else None,
        "ladder": [step for _, step in tried],
    }


def _fitted(model: Any, features: Any, labels: Sequence[int]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported as `converged`
        return model.fit(features, labels)

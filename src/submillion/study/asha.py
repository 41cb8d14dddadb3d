"""Asynchronous successive halving (ASHA): decides which trials of a search continue after an evaluation."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

REDUCTION_FACTOR = 3  # eta


class AshaPruner(optuna.pruners.BasePruner):
    """At evaluations 1, 3, 9, ... a trial continues if it is in the best third of those that have reached it.

    Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020 (arXiv:1810.05934), algorithm 2. Of
    fewer than three trials, the best one continues. Unlike optuna's SuccessiveHalvingPruner it stores no state besides
    the reported values, so a killed search makes the same decisions when it is resumed.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is to be stopped at its last evaluation."""
        evaluation = trial.last_step
        if evaluation is None or not _is_rung(evaluation):
            return False
        value = trial.intermediate_values[evaluation]
        earlier = [
            other.intermediate_values[evaluation]
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and evaluation in other.intermediate_values
        ]
        places = max(1, (len(earlier) + 1) // REDUCTION_FACTOR)
        return sum(other > value for other in earlier) >= places


def _is_rung(evaluation: int) -> bool:
    while evaluation % REDUCTION_FACTOR == 0:
        evaluation //= REDUCTION_FACTOR
    return evaluation == 1

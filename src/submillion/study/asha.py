"""Asynchronous successive halving: which trials of a search may go on past an evaluation."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial

REDUCTION = 3  # eta


class Asha(optuna.pruners.BasePruner):
    """At the 1st, 3rd, 9th ... evaluation a trial goes on where it is in the best third of those that came so far.

    Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020 (arXiv:1810.05934), algorithm 2. Of
    fewer than three, the best one goes on. As optuna's own SuccessiveHalvingPruner, but for what that keeps beside
    the evaluations: killed between its note and its answer it would answer otherwise when it is asked again.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is to be ended at its last evaluation."""
        evaluation = trial.last_step
        if evaluation is None or not _is_rung(evaluation):
            return False
        value = trial.intermediate_values[evaluation]
        reached = [
            other.intermediate_values[evaluation]
            for other in study.get_trials(deepcopy=False)
            if other.number < trial.number and evaluation in other.intermediate_values
        ]
        places = max(1, (len(reached) + 1) // REDUCTION)
        return sum(other > value for other in reached) >= places


def _is_rung(evaluation: int) -> bool:
    while evaluation % REDUCTION == 0:
        evaluation //= REDUCTION
    return evaluation == 1

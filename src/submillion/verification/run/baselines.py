"""Check of a run's baselines: they are fitted again, and their answers compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from submillion import environment
from submillion.assess.baselines import comparison
from submillion.assess.baselines.analysis import BASELINES, refit
from submillion.assess.baselines.baseline import Fitted
from submillion.run_format.predictions import Predictions
from submillion.verification.run.case import Case
from submillion.verification.run.retraining import continued_elsewhere, no_int8
from submillion.verification.verdict import RETRAINED, Check, by, compared, stated
from submillion.wording import percent

PART = "baseline"
OF_THE_ENCODER = ("probe",)
"""Baselines that run the encoder over all training texts, which takes minutes."""
QUICK_CHARACTERS = {"majority": 10**9, "words": 2 * 10**7, "characters": 5 * 10**6}
"""Characters of training texts up to which a baseline is fitted again unasked, which takes half a minute at most."""
VERSIONS = ("python", "scikit-learn", "numpy")
OTHER_SHARE = 0.01
"""Share of rows that may have another class where versions or processor differ."""


def baselines(case: Case) -> list[Check]:
    """Fit the run's baselines again from its data, and compare their answers and the strengths that were chosen.

    Without a repeated training, those that would take long are reported as not checked. Detects: weaker baselines,
    whose predictions were changed or made with other settings, and baselines that the run claims could not be fitted.
    Cannot detect: the seconds that they took.
    """
    where = f"analysis/{PART}.json"
    saved = case.run.read_analysis(PART)
    if saved is None:
        return [Check("baselines", None, where, found="there is none")]
    size = sum(map(len, case.context.train.texts))
    checks = []
    for name in BASELINES:
        quick = size <= QUICK_CHARACTERS.get(name, 0)
        if name in OF_THE_ENCODER and (reason := no_int8(case.recipe)):
            checks.append(
                Check("baselines", None, f"analysis/baselines/{name}", found=f"not fitted again: {reason}")
            )
        elif case.options.retrain or quick:
            fitted = refit(case.context, [name])[name]
            checks += by(RETRAINED, _compared(case, name, fitted, saved))
        else:
            text = "fitting it takes long; done when the training is repeated"
            checks.append(Check("baselines", None, f"analysis/baselines/{name}", found=text))
    return [*checks, stated("baselines", where, "the seconds of each baseline")]


def _compared(case: Case, name: str, fitted: Fitted | str, saved: Mapping[str, Any]) -> list[Check]:
    """Compare one baseline with the run's.

    Args:
        case: the run.
        name: of the baseline.
        fitted: the baseline, fitted again; a str is the reason why there is none.
        saved: the part of the analysis.
    """
    where = f"analysis/{PART}.json: {'absent' if isinstance(fitted, str) else 'baselines'}.{name}"
    absent = saved["absent"].get(name)
    if isinstance(fitted, str) or absent is not None:
        here = fitted if isinstance(fitted, str) else "it can be fitted"
        return compared(
            "baselines", where, absent or "it was fitted", here, summary="there is none, as recorded"
        )
    claimed = comparison.load_predictions(case.context, name)
    checks = _same_answers(case, name, claimed, fitted.predictions)
    entry = saved["baselines"][name]
    facts = {key: value for key, value in fitted.facts.items() if not key.endswith("_seconds")}
    if not _differing(case, name):
        before = {key: entry.get(key) for key in facts}
        checks += compared("baselines", where, before, facts, 1e-9, "{leaves} facts")
    return checks


def _same_answers(case: Case, name: str, claimed: Predictions, actual: Predictions) -> list[Check]:
    where = f"analysis/baselines/{name}/{case.context.split}.parquet"
    rows = len(actual)
    differing = int((claimed.probabilities != actual.probabilities).any(axis=1).sum())
    if not differing:
        return [Check("baselines", True, where, found=f"{rows:,} rows, equal bit for bit")]
    other = int((claimed.predicted != actual.predicted).sum())
    largest = float(np.abs(claimed.probabilities - actual.probabilities).max())
    text = f"{differing:,} of {rows:,} rows differ, by at most {largest:.1e}; {other:,} have another class"
    elsewhere = _differing(case, name)
    if not elsewhere:
        return [Check("baselines", False, where, "the answers of this baseline", text)]
    bound = f"{text}, allowed {percent(OTHER_SHARE, 0)} ({'; '.join(elsewhere)})"
    return [Check("baselines", other <= OTHER_SHARE * rows, where, found=bound)]


def _differing(case: Case, name: str) -> list[str]:
    """Return the facts on which a baseline's last bits depend and that differ here."""
    if name in OF_THE_ENCODER:
        return case.other_arithmetic
    here = {"versions": environment.versions(), "machine": environment.machine()}
    facts = {"versions": VERSIONS, "machine": ("features",)}
    return environment.differing_facts(case.manifest, here, facts) + continued_elsewhere(case.manifest)

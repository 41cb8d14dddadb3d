"""Other classifiers beside a run: how their predictions are kept, scored and compared with the run's, row by row."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion.assess.statistics import paired_tests
from submillion.assess.statistics.bootstrap import RESAMPLES, tabulate
from submillion.errors import BadInput, Problem
from submillion.run_format.interval import ALPHA
from submillion.run_format.predictions import Predictions
from submillion.wording import p_equals, points, points_range

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

MEASURES = ("accuracy", "macro_f1")
# What making a baseline told; it cannot be computed again from its predictions.
MEASURED = ("learnt_from", "learnt_rows", "parameters", "strength", "fit_seconds", "predict_seconds")
BEATS, NO_DIFFERENCE, WORSE = "beats", "no difference shown", "worse"


@dataclass(frozen=True)
class Baseline:
    """Another classifier of the same texts: the folder of its predictions, and what a reader must know of it."""

    name: str
    title: str
    method: str


def report(
    context: RunContext,
    baselines: Sequence[Baseline],
    measured: Mapping[str, Mapping[str, Any]],
    absent: str | None,
    judged: str,
) -> dict[str, Any]:
    """Score the saved predictions of baselines and compare the run with each of them.

    Args:
        baselines: all that the part knows; those without saved predictions are left out.
        measured: what making each told, by name, under the keys of `MEASURED`.
        absent: why those that are left out are absent.
        judged: name of the baseline that the verdict is about.

    Returns:
        `split`, `rows`, `resamples`;
        `optimistic`: True where the split is validation, on which the run's adapter was chosen, and no baseline;
        `run`: {`accuracy`, `macro_f1`}, intervals, the same as in the part "intervals";
        `baselines`: {name: {`title`, `method` (a sentence), `learnt_from` (names of splits), `learnt_rows`,
        `parameters` (learnt numbers), `strength` (see `chosen`), `fit_seconds` (from texts to the fitted model,
        the choice of its strength included), `predict_seconds` (for the rows of the split), `accuracy`,
        `macro_f1`, `against_run`}}; the last is what `significance.paired` gives for run (a) less baseline (b),
        with `p_holm` beside each p, corrected for the baselines of this part, and `shown` (True where the exact
        McNemar test, corrected, is below 0.05);
        `absent`: why a baseline is missing, None where none is;
        `verdict`: see `verdict`; None where its baseline is missing.

    Raises:
        BadInput: predictions that are unlabelled, or not of the run's rows.
    """
    import numpy as np

    own = context.predictions(context.split)
    if own.labels is None or not own.ids:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labelled rows, to score baselines on", "none"))
    found: dict[str, dict[str, Any]] = {}
    for baseline in present(context, baselines):
        saved = load(context, baseline.name)
        found[baseline.name] = {"title": baseline.title, "method": baseline.method}
        found[baseline.name] |= {key: measured[baseline.name][key] for key in MEASURED}
        found[baseline.name] |= _scores(context, saved.predicted)
        found[baseline.name]["against_run"] = paired_tests.paired(
            own.labels,
            own.predicted,
            saved.predicted,
            len(context.labels),
            np.random.default_rng(context.seed),
        )
    _correct([entry["against_run"] for entry in found.values()])
    own_scores = paired_tests.analyse(context)["splits"][context.split]
    return {
        "split": context.split,
        "rows": len(own.ids),
        "resamples": RESAMPLES,
        "optimistic": context.split == "validation",
        "run": {measure: own_scores[measure] for measure in MEASURES},
        "baselines": found,
        "absent": absent,
        "verdict": verdict(judged, found[judged], found[judged]["title"]) if judged in found else None,
    }


def again(
    context: RunContext, found: Mapping[str, Any], baselines: Sequence[Baseline], judged: str
) -> dict[str, Any]:
    """Return what `report` gave, computed anew from the saved predictions; only what `MEASURED` names is copied.

    And `absent`, where a baseline is missing: only making it anew could tell why.

    Raises:
        BadInput: saved predictions that are not of the run's rows, or a `found` that does not name their baselines.
    """
    there = [baseline.name for baseline in present(context, baselines)]
    try:
        measured = {name: {key: found["baselines"][name][key] for key in MEASURED} for name in there}
        absent = found["absent"] if len(there) < len(baselines) else None
    except (KeyError, TypeError) as error:
        where = str(context.run.analysis / "baselines")
        expected = "saved predictions of the baselines that the analysis names"
        raise BadInput(Problem(where, expected, f"{type(error).__name__}: {error}")) from error
    return report(context, baselines, measured, absent, judged)


def told(
    learnt_from: Sequence[str],
    learnt_rows: int,
    parameters: int,
    strength: Mapping[str, Any] | None,
    fit_seconds: float,
    predict_seconds: float,
) -> dict[str, Any]:
    """Return what making a baseline told, under the keys of `MEASURED`."""
    values = (list(learnt_from), learnt_rows, parameters, strength, fit_seconds, predict_seconds)
    return dict(zip(MEASURED, values, strict=True))


def keep(context: RunContext, name: str, probabilities: np.ndarray, classes: Sequence[int]) -> None:
    """Save a baseline's predictions for the rows of `context.split`.

    Args:
        probabilities: float [N, K], each row adds up to 1.
        classes: the class index of each column, [K]; classes that the baseline never saw get probability 0.
    """
    import numpy as np

    own = context.predictions(context.split)
    whole = np.zeros((len(own.ids), len(context.labels)))
    whole[:, list(classes)] = probabilities
    context.run.save_predictions(
        context.split,
        Predictions.of(own.ids, own.text_sha256, own.labels, whole, context.labels),
        baseline=name,
    )


def load(context: RunContext, name: str) -> dict[str, Any]:
    """Return a baseline's saved predictions.

    Raises:
        BadInput: they are not of the run's rows and classes, or contradict themselves.
    """
    import numpy as np

    own = context.predictions(context.split)
    saved = context.run.load_predictions(context.split, baseline=name)
    differing = [key for key in ("ids", "text_sha256", "label_names") if saved[key] != own[key]]
    if saved.labels is None or not np.array_equal(saved.labels, own.labels):
        differing.append("labels")
    elif not np.array_equal(saved.predicted, saved.probabilities.argmax(axis=1)):
        differing.append("predicted classes, which are not the most probable ones")
    if differing:
        where = str(context.run.prediction_file(context.split, baseline=name))
        expected = "predictions of the run's rows and classes, in their order"
        raise BadInput(Problem(where, expected, f"other {', '.join(differing)}"))
    return saved


def present(context: RunContext, baselines: Sequence[Baseline]) -> list[Baseline]:
    """Return the baselines that have saved predictions of `context.split`."""
    return [
        baseline
        for baseline in baselines
        if context.run.prediction_file(context.split, baseline=baseline.name).is_file()
    ]


def forget(context: RunContext, baselines: Sequence[Baseline]) -> None:
    """Remove what an earlier analysis kept, so that no baseline is told of that could not be made this time."""
    for baseline in present(context, baselines):
        context.run.prediction_file(context.split, baseline=baseline.name).unlink()


def verdict(name: str, entry: Mapping[str, Any], called: str) -> dict[str, Any]:
    """Say what the paired test and its interval allow to say about the run and one baseline, and no more.

    Args:
        name: of the baseline.
        entry: what `report` found about it.
        called: what the sentence calls it.

    Returns:
        `baseline`; `kind`: `beats` or `worse` where the exact McNemar test, corrected, is below 0.05 and the
        interval of the difference on one side of 0, else `no difference shown`; `difference`, `difference_interval`
        (run less baseline, as shares), `p_holm`; `sentence`.
    """
    against = entry["against_run"]
    of = against["accuracy"]
    low, high = of["difference_interval"]["low"], of["difference_interval"]["high"]
    kind = NO_DIFFERENCE
    if against["shown"] and (low > 0 or high < 0):
        kind = BEATS if low > 0 else WORSE
    said = {BEATS: "beats", NO_DIFFERENCE: "does not beat", WORSE: "is worse than"}[kind]
    # Where the interval alone says it, the p need not be said.
    tested = "" if low <= 0 <= high else f" (exact McNemar test, corrected: {p_equals(of['p_holm'])})"
    limits = f"95% interval {points_range(low, high)}"
    return {
        "baseline": name,
        "kind": kind,
        "difference": of["difference"],
        "difference_interval": of["difference_interval"],
        "p_holm": of["p_holm"],
        "sentence": f"The run {said} the {called}: {points(of['difference'])} points of accuracy, {limits}{tested}.",
    }


def chosen(
    make: Callable[[float], Any],
    learnt: tuple[Any, Sequence[int]],
    held_out: tuple[Any, Sequence[int]] | None,
    ladder: Sequence[float],
    fixed: float,
    processes: int = 1,
) -> tuple[Any, dict[str, Any]]:
    """Fit one model for each strength of the ladder and return the one that is best on held-out rows.

    Args:
        make: returns scikit-learn's model of a strength C.
        learnt: features and labels to fit on.
        held_out: those to choose by; None fits `fixed` alone.
        processes: in how many to fit; -1 takes as many as the machine runs at a time.

    Returns:
        The model, and `strength`: {`C`, `chosen_on` (`validation`, or None for the fixed one), `ladder`:
        [{`C`, `accuracy` (on the held-out rows, None without), `converged`}]}. Of equals the smallest C is taken.
    """
    import numpy as np
    from joblib import Parallel, delayed

    strengths = sorted(ladder if held_out else [fixed])
    # Processes, not threads, which would share the generator that a fit draws from. The largest takes longest, so it
    # begins first.
    fitted = Parallel(n_jobs=processes)(
        delayed(_fitted)(make(strength), *learnt) for strength in reversed(strengths)
    )
    tried = []
    for strength, model in zip(strengths, reversed(fitted), strict=True):
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
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told as `converged`
        return model.fit(features, labels)


def _scores(context: RunContext, predicted: np.ndarray) -> dict[str, Any]:
    """Return accuracy and macro F1 of predictions for the rows of `context.split`."""
    import numpy as np

    cells, counts = tabulate(context.predictions(context.split).labels, predicted)
    found = paired_tests.scores(cells, counts, context.labels, np.random.default_rng(context.seed))
    return {measure: found[measure] for measure in MEASURES}


def _correct(found: Sequence[dict[str, Any]]) -> None:
    """Put the corrected p beside every p, each measure by itself, and whether a difference is shown."""
    for measure in MEASURES:
        corrected = paired_tests.holm([entry[measure]["p"] for entry in found])
        for entry, p in zip(found, corrected, strict=True):
            entry[measure]["p_holm"] = p
    for entry in found:
        entry["shown"] = entry["accuracy"]["p_holm"] < ALPHA

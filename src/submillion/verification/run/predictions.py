"""Check that the adapter makes the run's predictions: rows are predicted again on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from submillion.data.batches import sequential
from submillion.data.tokens import Tokens
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.model.infer import predict_probabilities
from submillion.model.process_state import thread_count
from submillion.model.trained import OpenedRun
from submillion.run_format.predictions import Predictions
from submillion.verification.run.case import Case
from submillion.verification.run.retraining import recorded_threads
from submillion.verification.run.sampling import power
from submillion.verification.run.scores import probability_tolerance
from submillion.verification.verdict import PREDICTED, Check, at_most, by, failed, stated

MAX_ROWS = 5  # differing rows of a split that are listed one by one
SAMPLE = 200  # rows of a split, where all of them would take too long
QUICK_S = 60.0  # all rows are predicted again if that takes at most this long
TIMED_ROWS = 32  # predicted to estimate that
MANY = 20  # rows from which the share of equal ones says something
IN_FAVOUR_P = 0.01  # below it, rows with another class favour the run by more than chance
SHIFT_SHARE = 0.1  # of the tolerance: the largest mean shift towards the true class that rounding may cause
ERRORS = 5.0  # standard errors by which a mean shift must exceed 0


@dataclass(frozen=True)
class Again:
    """Rows of one split, predicted again."""

    split: str
    saved: Predictions
    rows: np.ndarray
    """Rows of the split, ascending, int [M]."""
    actual: np.ndarray
    """Their probabilities on this machine, float32 [M, C]."""

    @property
    def claimed(self) -> np.ndarray:
        """The saved probabilities of these rows, float32 [M, C]."""
        claimed: np.ndarray = self.saved.probabilities[self.rows]
        return claimed

    @property
    def differing(self) -> np.ndarray:
        """Positions in `rows` whose probabilities are not equal bit for bit."""
        return np.flatnonzero(~(self.claimed == self.actual).all(axis=1))


def predictions(case: Case) -> list[Check]:
    """Predict a random sample of each split again, or all rows where that is quick, with the saved adapter.

    On the machine of the training, every probability must be equal bit for bit; elsewhere within the rounding of the
    number format, without a shift towards the true classes. Detects: predictions, adapter or tokenizer that do not
    belong together, even if every other file was made consistent with them. Cannot detect: changed rows outside a
    sample (the check states its power), changes within the rounding on another machine, and rows whose texts are
    gone, which are only stated; and predictions of a cross-validation, whose models are gone (`retraining` can).
    """
    checks: list[Check] = []
    splits = [name for name in case.run.prediction_splits() if name in case.tokens_of_predictions]
    if case.context.cross_validated:
        splits.remove("validation")
        text = "each row's model is that of a fold, which is not saved; predicted again when the training is repeated"
        checks.append(stated("predictions", "predictions/validation.parquet", text))
    if splits and (case.options.rows is None or case.options.rows or case.options.full):
        try:
            count = _rows_of_a_split(case, splits)
        except SubmillionError as error:
            return failed("predictions", "predictions/", error)
        for split in splits:
            try:
                checks += by(PREDICTED, _judged(case, _again(case, split, count)))
            except SubmillionError as error:
                checks += failed("predictions", f"predictions/{split}.parquet", error)
        return checks
    where = "predictions/{}.parquet"
    return checks + [
        Check("predictions", None, where.format(split), found="no rows were requested") for split in splits
    ]


def _rows_of_a_split(case: Case, splits: list[str]) -> int | None:
    """Return how many rows of each split to predict again; None for all of them."""
    if case.options.full:
        return None
    if case.options.rows is not None:
        return case.options.rows
    tokens = case.tokens_of_predictions
    first = tokens[splits[0]]
    some = np.random.default_rng(case.options.seed).permutation(len(first))[:TIMED_ROWS]
    opened, size = case.as_trained, case.recipe.train.eval_batch_size
    predict_probabilities(opened.execution, first.take(some[:1]), size)  # packs the weights
    timed = first.take(some)
    started_at = time.perf_counter()
    predict_probabilities(opened.execution, timed, size)
    seconds_a_token = (time.perf_counter() - started_at) / max(1, int(timed.lengths.sum()))
    all_tokens = sum(int(tokens[split].lengths.sum()) for split in splits)
    return None if all_tokens * seconds_a_token <= QUICK_S else SAMPLE


def _again(case: Case, split: str, count: int | None) -> Again:
    """Predict rows of a split again: as the training did, or as `evaluate` does if that gives the saved bits.

    Args:
        case: the run.
        split: its name.
        count: rows to draw; None takes all.
    """
    saved, tokens = case.context.predictions(split), case.tokens_of_predictions[split]
    texts = case.known_splits[split]
    if saved.text_sha256 != [texts.text_sha256(row) for row in range(len(texts))]:
        where = str(case.run.prediction_file(split))
        raise BadInput(Problem(where, "predictions of the rows of the data", "hashes of other texts"))
    rows = np.arange(len(tokens))
    if count is not None and count < len(rows):
        rows = np.sort(np.random.default_rng(case.options.seed).choice(rows, count, replace=False))
    with thread_count(recorded_threads(case.manifest)):
        again = Again(split, saved, rows, _predicted(case, case.as_trained, tokens, rows, saved))
        if len(again.differing):
            merged = Again(split, saved, rows, _predicted(case, case.context.opened, tokens, rows, saved))
            again = again if len(merged.differing) else merged
    return again


def _predicted(
    case: Case, opened: OpenedRun, tokens: Tokens, rows: np.ndarray, saved: Predictions
) -> np.ndarray:
    """Return probabilities of rows; the last bits of a row may depend on the other rows of its batch.

    So if rows of a sample differ from the saved ones, the first such batches of the whole split are run as well.
    """
    size = case.recipe.train.eval_batch_size
    everything = len(rows) == len(tokens)
    chosen = tokens if everything else tokens.take(rows)
    actual = predict_probabilities(opened.execution, chosen, size, case.options.progress)
    differing = set(rows[~(saved.probabilities[rows] == actual).all(axis=1)].tolist())
    if everything or not differing:
        return actual
    batches = sequential(tokens.lengths, size, opened.execution.pass_tokens)
    for batch in [batch for batch in batches if differing & set(batch.tolist())][:MAX_ROWS]:
        inside = np.flatnonzero(np.isin(rows, batch))
        order = {row: place for place, row in enumerate(batch.tolist())}
        of_batch = predict_probabilities(opened.execution, tokens.take(batch), size)
        actual[inside] = of_batch[[order[row] for row in rows[inside].tolist()]]
    return actual


def _judged(case: Case, again: Again) -> list[Check]:
    """Return the checks of one split."""
    where = f"predictions/{again.split}.parquet"
    checked = f"predicted again: {power(len(again.saved), len(again.rows))}"
    if not len(again.differing):
        return [Check("predictions", True, where, found=f"{checked}; equal bit for bit")]
    formats = [case.how["precision"], case.as_trained.execution.precision.dtype_name]
    allowed, why = _allowed(case, again, max(probability_tolerance(name) for name in formats))
    claimed, actual = again.claimed.astype(np.float64), again.actual.astype(np.float64)
    largest = np.abs(actual - claimed).max(axis=1)
    # Written with `~`, so that NaN differs.
    beyond = np.flatnonzero(~((largest <= allowed) & _same_class(claimed, actual, allowed)))
    if len(beyond):
        return _listed(again, beyond, where, f"allowed difference {allowed:g}: {why}")
    text = f"{checked}; largest difference of a probability {largest.max():.1e}, allowed {allowed:g} ({why})"
    flips, shift = _flips(again), _shift(again, allowed)
    holds = not (flips[1] or shift[1])
    return [Check("predictions", holds, where, found="; ".join(filter(None, (text, flips[0], shift[0]))))]


def _allowed(case: Case, again: Again, tolerance: float) -> tuple[float, str]:
    """Return the largest difference of a probability that rounding explains, and why."""
    packed = (
        case.as_trained.execution.name.startswith("packed-")
        and case.as_trained.classifier.device.type == "cpu"
    )
    everything = len(again.rows) == len(again.saved)
    elsewhere = case.other_arithmetic
    if case.recipe.lora.variant == "pissa" and not elsewhere:
        return tolerance, "a PiSSA adapter is saved for the unchanged encoder, whose sums round differently"
    if not elsewhere and (packed or everything):
        return 0.0, "machine, versions and execution are those of the training"
    # In the kernels, a row does not depend on the others, so rounding changes nearly all rows or none.
    equal = len(again.rows) - len(again.differing)
    if packed and len(again.rows) >= MANY and equal >= len(again.rows) / 2:
        return 0.0, f"{equal:,} of the {len(again.rows):,} rows are equal bit for bit, so all should be"
    return tolerance, elsewhere[0] if elsewhere else "rounding depends on the other texts of a batch"


def _same_class(claimed: np.ndarray, actual: np.ndarray, allowed: float) -> np.ndarray:
    """Return per row whether both predict the same class, or classes equally probable within the tolerance."""
    gap: np.ndarray = claimed.max(axis=1) - claimed[np.arange(len(claimed)), actual.argmax(axis=1)]
    return gap <= allowed


def _flips(again: Again) -> tuple[str, bool]:
    """Return a sentence on rows whose class differs within the tolerance, and whether they favour the run too often."""
    claimed, actual = again.claimed.argmax(axis=1), again.actual.argmax(axis=1)
    other = int((claimed != actual).sum())
    if not other or again.saved.labels is None:
        return (f"{other} rows have another class here" if other else ""), False
    labels = again.saved.labels[again.rows]
    for_run, against = (
        int(((claimed == labels) & (actual != labels)).sum()),
        int(((claimed != labels) & (actual == labels)).sum()),
    )
    chance = float(binom.sf(for_run - 1, for_run + against, 0.5)) if for_run else 1.0
    text = f"{other} rows have another class here, {for_run} to the run's advantage and {against} to its disadvantage"
    return f"{text} (probability of at least as many by chance {chance:.2g})", chance < IN_FAVOUR_P


def _shift(again: Again, allowed: float) -> tuple[str, bool]:
    """Return a sentence on the mean shift of the true class's probability, and whether it exceeds rounding."""
    if again.saved.labels is None or len(again.rows) < MANY:
        return "", False
    places, labels = np.arange(len(again.rows)), again.saved.labels[again.rows]
    shifts = again.claimed[places, labels].astype(np.float64) - again.actual[places, labels]
    mean, error = float(shifts.mean()), float(shifts.std(ddof=1) / np.sqrt(len(shifts)))
    text = f"mean shift towards the true class {mean:+.1e}"
    return text, mean > max(SHIFT_SHARE * allowed, ERRORS * error)


def _listed(again: Again, places: np.ndarray, where: str, allowed: str) -> list[Check]:
    """Return the first rows that differ too much, one check each."""
    names, checks = again.saved.label_names, []
    for place in places.tolist():
        claimed, actual = again.claimed[place], again.actual[place]
        column = int(np.abs(actual.astype(np.float64) - claimed).argmax())
        checks.append(
            Check(
                "predictions",
                False,
                f"{where}: id {again.saved.ids[again.rows[place]]}, p_{names[column]}",
                f"{claimed[column]:.9g}",
                f"{actual[column]:.9g} on this machine ({allowed})",
            )
        )
    return at_most(checks, MAX_ROWS, "predictions", where)

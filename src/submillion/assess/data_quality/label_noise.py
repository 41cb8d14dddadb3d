"""Labels that look wrong: confident learning on answers of a model that was never trained on the row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from submillion.assess.data_quality.confident_learning import RESAMPLES, issues
from submillion.assess.metrics import wilson_interval
from submillion.errors import BadInput, Problem
from submillion.run_format.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext
    from submillion.data.corpus import Split

SAVED_AS = "noise"
FOLDS = 5
STEADINESS = 10.0  # C of the logistic regression
STEPS = 500  # of its optimizer, at most
SUSPECTS = 50
SPLIT_SUSPECTS = 20

MODEL = (
    "TF-IDF of words (scikit-learn, sublinear, words of at least 2 texts), then logistic regression "
    f"(C = {STEADINESS:g}). It has nothing in common with the run's classifier."
)
MEANING = (
    "Each training row is answered by a model that was trained without it. The noise rate is the share of rows whose "
    "true class is estimated to be another than the given one: rows for which the model is surer of another class "
    "than it is of that class's own rows on average (confident learning, Northcutt, Jiang and Chuang 2021). For "
    "every pair of classes as many rows as estimated are candidates, those where the other class is ahead most."
)
LIMITATIONS = (
    "Whether a candidate's label is wrong: that takes a reader. Hard but rightly labelled rows are among the "
    "candidates, so with a weak model the noise rate is too high; errors that follow a rule, which the model learns "
    "with the rest, and wrong labels shared by near twins are not found. The interval is that of drawing rows alone."
)


def analyse(context: RunContext) -> dict[str, Any]:
    """Look for wrong labels in the training rows, and among the run's mistakes on `context.split`.

    The method is confident learning (C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating
    uncertainty in dataset labels", JAIR 70 (2021) 1373-1411, arXiv:1911.00068), by cleanlab: thresholds are the
    mean probability of each class on its own rows (equation 2), counts of given and suggested classes follow
    from them (equation 1) and are scaled to the rows of each class (equation 3); candidates are pruned by noise rate
    (section 3.2). The probabilities are saved as those of the baseline `noise`.

    Returns:
        `meaning`, `model` and `limitations` (sentences), `resamples`;

        `train`: {`rows`, `folds`, `left_out` ({`class`, `rows`} of classes with fewer rows than folds, which are
        not judged), `model_accuracy` (an interval, of the model on these rows by their given labels)}
        and what follows for the split as well:
        `noise_rate`: an interval by the bootstrap of rows, thresholds computed anew; its limits are None
        where no resample differs from another;
        `candidates`, `share`;
        `classes`: {`class`, `rows`, `candidates`, `noise_rate` (likewise)} of each given class with rows;
        `pairs_in_all`, `pairs`: at most 30, most frequent first, of {`given`, `suggested`, `rows`};
        `suspects`: lowest quality first, at most 50 (20 of the split), of {`row` (in the split, from 0), `id`,
        `given`, `suggested`, `quality` (probability of the given class), `suggested_probability`, `text`,
        `cut`};

        `split`: {`split`, `rows`, `mistakes` (of the run), ...}, from the run's own probabilities, in which all
        candidates are mistakes of the run; None where the split has not two classes.

    Raises:
        BadInput: cleanlab is not installed, too few rows, or texts that are not the run's.
    """
    check_cleanlab()
    train, names = context.train, context.labels
    folds, kept = _judged(train, len(names))
    rows = _rows_of(train, kept)
    labels = [kept.index(train.labels[row]) for row in rows]
    probabilities = cross_validated([train.texts[row] for row in rows], labels, folds, context.seed)
    context.run.save_predictions(
        "train",
        Predictions.of(
            [train.ids[row] for row in rows],
            [train.text_sha256(row) for row in rows],
            labels,
            probabilities,
            [names[index] for index in kept],
        ),
        baseline=SAVED_AS,
    )
    return recheck(context, {})


def recheck(context: RunContext, found: dict[str, Any]) -> dict[str, Any]:
    """Return what `analyse` does, from the probabilities that it saved; no model is trained.

    Raises:
        BadInput: the saved rows are not the training rows, or cleanlab is not installed.
    """
    check_cleanlab()
    train, names = context.train, context.labels
    folds, kept = _judged(train, len(names))
    rows = _rows_of(train, kept)
    saved = context.run.load_predictions("train", baseline=SAVED_AS)
    hashes = [hashlib.sha256(train.texts[row].encode()).hexdigest() for row in rows]
    labels = [kept.index(train.labels[row]) for row in rows]
    if (saved.text_sha256, saved.labels.tolist()) != (hashes, labels):
        raise BadInput(
            Problem(
                str(context.run.prediction_file("train", SAVED_AS)),
                "the training rows of the run",
                "other rows or labels",
                "Make it again: submillion report RUN --with noise",
            )
        )
    right = int((saved.labels == saved.predicted).sum())
    return {
        "meaning": MEANING,
        "model": MODEL,
        "limitations": LIMITATIONS,
        "resamples": RESAMPLES,
        "train": {
            "rows": len(rows),
            "folds": folds,
            "left_out": [
                {"class": name, "rows": train.labels.count(index)}
                for index, name in enumerate(names)
                if index not in kept
            ],
            "model_accuracy": wilson_interval(right, len(rows)),
            **issues(saved, [names[index] for index in kept], train, rows, context.seed, SUSPECTS),
        },
        "split": _of_split(context),
    }


def cross_validated(texts: Sequence[str], labels: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """Return the class probabilities of each text by a model trained on the other folds, float64 [N, C].

    The weights of the words (idf) are those of all texts; they know of no labels. One thread: others would wait
    for each other, at ten times the processor's time.

    Args:
        labels: class per text, each of 0 to C - 1 at least `folds` times.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    words = TfidfVectorizer(min_df=2, sublinear_tf=True)
    try:
        features = words.fit_transform(texts)
    except ValueError as error:  # no word is in two texts
        raise BadInput(
            Problem("--with noise", "training texts that share words", str(error), "Leave it out.")
        ) from error
    targets = np.asarray(labels)
    found = np.zeros((len(targets), int(targets.max()) + 1))
    halves = StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, targets)
    with threadpool_limits(1):
        for known, unknown in halves:
            model = LogisticRegression(C=STEADINESS, solver="lbfgs", max_iter=STEPS)
            model.fit(features[known], targets[known])
            found[unknown] = model.predict_proba(features[unknown])
    return found


def check_cleanlab() -> None:
    """Refuse to go on without cleanlab; raises BadInput with the command that installs it."""
    if find_spec("cleanlab") is None:
        raise BadInput(
            Problem(
                "--with noise",
                "cleanlab, the library that computes it",
                "no package 'cleanlab'",
                'Install it with: pip install "submillion[noise]"',
            )
        )


def _judged(train: Split, classes: int) -> tuple[int, list[int]]:
    """Return the folds, at most five, and the classes with enough rows for each of them.

    Raises:
        BadInput: there are no two classes of two rows or more.
    """
    counts = [train.labels.count(index) for index in range(classes)]
    folds = min(FOLDS, sorted(counts)[-2])
    if folds < 2:
        raise BadInput(
            Problem(
                "--with noise",
                "at least two classes with two training rows or more",
                f"{sum(count >= 2 for count in counts)}",
                "Leave it out, or train on more rows.",
            )
        )
    return folds, [index for index, count in enumerate(counts) if count >= folds]


def _rows_of(train: Split, kept: Sequence[int]) -> list[int]:
    classes = set(kept)
    return [row for row, label in enumerate(train.labels) if label in classes]


def _of_split(context: RunContext) -> dict[str, Any] | None:
    saved = context.predictions(context.split)
    if saved.labels is None or len(set(saved.labels.tolist())) < 2:
        return None
    split = next(part for part in context.corpus.splits if part.name == context.split)
    context.texts(context.split)  # refuses texts that are not those that were predicted
    rows = list(range(len(split)))
    return {
        "split": context.split,
        "rows": len(rows),
        "mistakes": int((saved.labels != saved.predicted).sum()),
        **issues(saved, context.labels, split, rows, context.seed, SPLIT_SUSPECTS),
    }

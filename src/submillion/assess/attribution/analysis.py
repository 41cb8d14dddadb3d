"""The words that drive a run's answers, for its surest mistakes, its least sure right answers and its surest ones.

What is written is what the page shows: each explained text comes as its words with their weights, to be coloured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.assess.attribution.token_words import Pieces, pieces_of
from submillion.errors import BadInput, Problem
from submillion.progress import progress_bar
from submillion.run_format.interval import CONFIDENCE, Interval, interval

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

    from submillion.assess.attribution.integrated_gradients import Explainer
    from submillion.assess.run_context import RunContext

EACH = 8  # texts of a kind
MOST_TOKENS = 256  # longer texts are passed over: time grows faster than length
DELETED = (1, 2, 4, 8, 16)
DRAWS = 5
MISTAKE, UNSURE, SURE = "confident_mistake", "least_sure_right", "sure_right"
MEASURED = ("reference_probability", "score", "baseline_score", "steps", "deletions")
METHOD = (
    "Integrated gradients of the log-odds of the answer, along the straight line in the embeddings' output from "
    "the text with every token masked to the text itself; a word weighs what its tokens do together. Weights "
    "above 0 speak for the answer, weights below 0 against it, and together they are the difference of the "
    "log-odds, but for the completeness error."
)
LIMITATIONS = (
    "A weight tells how this classifier used a word in this text. It does not say that the word is a good reason, "
    "nor what another word in its place would have done; words that work only together share their weight. A "
    "handful of texts chosen for being extreme is no sample of all."
)


def analyse(context: RunContext) -> dict[str, Any]:
    """Explain at most 24 answers on `context.split` by the words that drove them, and test the explanation.

    The classifier runs in float32 on the modules of transformers, whatever the run was executed with.

    Returns:
        `split`, `rows`, `method`, `limitations`, `baseline_token` (e.g. `[MASK]`), `most_tokens`, and
        `skipped` (rows of more tokens as read, or of fewer than two words: never chosen).

        `texts`, each {
        `row` (from 0), `id`, `kind` (`confident_mistake`, `least_sure_right`: 8 each, or `sure_right`: one of
        each of the 8 most frequent classes), `true`, `predicted`,
        `probability` (of the predicted class, as saved), `reference_probability` (of the same class, as it was
        explained; the two differ by rounding),
        `tokens` (as read, special ones included), `cut` (whether the text goes on after the words),
        `words`: [[word, weight], ...] in the order of the text; joined without anything between, the words are
        exactly what was read, spaces included,
        `score` and `baseline_score` (log-odds of the predicted class, natural logarithm, for the text and for the
        text of masks), `completeness_error` (sum of the weights less the difference of the two),
        `completeness_share` (its size in shares of the sum of all weights, signs left out), `steps` (points on
        the path),
        `deletions`: [{`words` (how many were deleted), `top` and `random` (fall of the probability of the
        predicted class when the words that weigh most for it, or as many at random, are deleted; the second
        is the mean of 5 draws)}, ...]}.

        `completeness`: {`texts`, `mean_share`, `largest_share`}, None without texts.

        `faithfulness`: {`draws`, `curve`: by number of deleted words {`words`, `texts` (those of at
        least twice as many words), and for each of `top`, `random` and `difference` (top less random, text by
        text) the interval of the mean}}, Student's t over the texts; its limits are None for one text. This is comprehensiveness at several lengths (DeYoung et al., "ERASER", arXiv:1911.03429, 4.2).

    Raises:
        BadInput: captum is not installed, predictions without labels, or data or encoder are not the run's.
    """
    from submillion.assess.attribution.integrated_gradients import Explainer, check_captum

    check_captum()  # before anything is waited for
    chosen, facts = choose(context)
    explainer = Explainer(context)
    measured: dict[int, dict[str, Any]] = {}
    with progress_bar(context.progress, len(chosen), "explaining answers") as advance:
        for row in chosen:
            measured[row] = _measure(context, explainer, row)
            advance(1)
    return _report(context, chosen, facts, measured, explainer.baseline_token)


def recheck(context: RunContext, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same object again, as far as that goes without running the classifier.

    Computed again: which texts are chosen, from the saved predictions and the run's tokenizer; their ids, classes,
    saved probabilities, tokens and words, from predictions and proven texts; the completeness errors, from weights
    and scores; everything in `completeness` and `faithfulness`, from the numbers of the texts. Copied from `found`:
    the weights of the words, `reference_probability`, the two scores, `steps`, each text's `deletions`, and
    `baseline_token`; only explaining anew could tell whether they are right.

    Raises:
        BadInput: predictions without labels, texts that are not those that were predicted, or a `found` that
            lacks what is copied.
    """
    chosen, facts = choose(context)
    try:
        measured = {text["row"]: _known(text) for text in found["texts"]}
        return _report(context, chosen, facts, measured, found["baseline_token"])
    except (KeyError, TypeError, ValueError) as error:
        where = str(context.run.analysis_file("attribution"))
        problem = Problem(
            where, "texts with words, weights and deletions", f"{type(error).__name__}: {error}"
        )
        raise BadInput(problem) from error


def choose(context: RunContext) -> tuple[dict[int, str], dict[str, Any]]:
    """Return which rows are explained and as what ({row: kind}), and `skipped`."""
    import numpy as np

    from submillion.data.tokens import encode, load_tokenizer

    saved = context.predictions(context.split)
    if saved.labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labels, to tell mistakes by", "unlabelled rows"))
    texts = context.texts(context.split)
    limit = context.recipe.data.max_length
    lengths = encode(load_tokenizer(context.run.tokenizer), texts, limit).lengths
    usable = (lengths <= MOST_TOKENS) & np.array([len(text.split(None, 2)) > 1 for text in texts], dtype=bool)
    labels, top = saved.labels, saved.probabilities.max(axis=1)
    right = labels == saved.predicted
    surest = np.argsort(-top, kind="stable")
    chosen = dict.fromkeys(surest[(usable & ~right)[surest]][:EACH].tolist(), MISTAKE)
    least_sure = np.argsort(top, kind="stable")
    chosen |= dict.fromkeys(least_sure[(usable & right)[least_sure]][:EACH].tolist(), UNSURE)
    counts = np.bincount(labels, minlength=len(context.labels))
    for index in sorted(range(len(counts)), key=lambda index: (-counts[index], index))[:EACH]:
        of_class = surest[(usable & right & (labels == index))[surest]].tolist()
        chosen |= dict.fromkeys([row for row in of_class if row not in chosen][:1], SURE)
    return chosen, {"skipped": int((~usable).sum())}


def _measure(context: RunContext, explainer: Explainer, row: int) -> dict[str, Any]:
    """Return what only the classifier can tell of one row: MEASURED, and the weight of each word."""
    import numpy as np

    pieces = _pieces(context, explainer.tokenizer, row)
    target = int(context.predictions(context.split).predicted[row])
    weights = explainer.weights(pieces.ids, pieces.special, target)
    word_of = np.array(pieces.word_of)
    by_word = np.zeros(len(pieces.words))
    np.add.at(by_word, word_of[word_of >= 0], weights.tokens[word_of >= 0])
    rng = np.random.default_rng([context.seed, row])
    heaviest = np.argsort(-by_word, kind="stable")
    lengths = [count for count in DELETED if 2 * count <= len(by_word)]
    gone = [heaviest[:0]]
    for count in lengths:
        gone += [heaviest[:count], *(rng.permutation(len(by_word))[:count] for _ in range(DRAWS))]
    probabilities = explainer.probabilities([_without(pieces, words) for words in gone], target)
    falls = (probabilities[0] - probabilities[1:]).reshape(len(lengths), 1 + DRAWS).tolist()
    return {
        "reference_probability": float(probabilities[0]),
        "score": weights.score,
        "baseline_score": weights.baseline_score,
        "steps": weights.steps,
        "deletions": [
            {"words": count, "top": top, "random": math.fsum(random) / DRAWS}
            for count, (top, *random) in zip(lengths, falls, strict=True)
        ],
        "weights": by_word.tolist(),
    }


def _known(text: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured of a text out of what was written of it."""
    return {key: text[key] for key in MEASURED} | {"weights": [float(weight) for _, weight in text["words"]]}


def _without(pieces: Pieces, words: np.ndarray) -> list[int]:
    gone = set(words.tolist())
    return [token for token, word in zip(pieces.ids, pieces.word_of, strict=True) if word not in gone]


def _pieces(context: RunContext, tokenizer: PreTrainedTokenizerFast, row: int) -> Pieces:
    return pieces_of(tokenizer, context.texts(context.split)[row], context.recipe.data.max_length)


def _report(
    context: RunContext,
    chosen: Mapping[int, str],
    facts: dict[str, Any],
    measured: Mapping[int, dict[str, Any]],
    baseline_token: str | None,
) -> dict[str, Any]:
    """Put together what is written; a row that was not measured gets None for what is not known of it."""
    from submillion.data.tokens import load_tokenizer

    saved, names = context.predictions(context.split), context.labels
    tokenizer = load_tokenizer(context.run.tokenizer)
    texts = []
    for row, kind in chosen.items():
        known = measured.get(row, dict.fromkeys(MEASURED) | {"weights": []})
        pieces = _pieces(context, tokenizer, row)
        predicted = int(saved.predicted[row])
        weights = (
            known["weights"] if len(known["weights"]) == len(pieces.words) else [None] * len(pieces.words)
        )
        texts.append(
            {
                "row": row,
                "id": saved.ids[row],
                "kind": kind,
                "true": names[int(saved.labels[row])],
                "predicted": names[predicted],
                "probability": float(saved.probabilities[row, predicted]),
                "reference_probability": known["reference_probability"],
                "tokens": len(pieces.ids),
                "cut": pieces.cut,
                "words": [list(pair) for pair in zip(pieces.words, weights, strict=True)],
                "score": known["score"],
                "baseline_score": known["baseline_score"],
                **_completeness(weights, known["score"], known["baseline_score"]),
                "steps": known["steps"],
                "deletions": known["deletions"],
            }
        )
    shares = [text["completeness_share"] for text in texts if text["completeness_share"] is not None]
    return {
        "split": context.split,
        "rows": len(saved.ids),
        "method": METHOD,
        "limitations": LIMITATIONS,
        "baseline_token": baseline_token,
        "most_tokens": MOST_TOKENS,
        **facts,
        "texts": texts,
        "completeness": {
            "texts": len(shares),
            "mean_share": math.fsum(shares) / len(shares),
            "largest_share": max(shares),
        }
        if shares
        else None,
        "faithfulness": faithfulness([text["deletions"] or [] for text in texts]),
    }


def _completeness(
    weights: Sequence[float | None], score: float | None, baseline_score: float | None
) -> dict[str, float | None]:
    known = [weight for weight in weights if weight is not None]
    if score is None or baseline_score is None or len(known) < len(weights):
        return {"completeness_error": None, "completeness_share": None}
    error = math.fsum(known) - (score - baseline_score)
    size = math.fsum(map(abs, known))
    return {"completeness_error": error, "completeness_share": abs(error) / size if size else 0.0}


def faithfulness(deletions: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the mean fall of the probability by number of deleted words, with intervals over the texts.

    Args:
        deletions: for each text {`words`, `top`, `random`} by number of deleted words.
    """
    curve = []
    for count in DELETED:
        steps = [step for text in deletions for step in text if step["words"] == count]
        if steps:
            top, random = [step["top"] for step in steps], [step["random"] for step in steps]
            curve.append(
                {
                    "words": count,
                    "texts": len(steps),
                    "top": mean_interval(top),
                    "random": mean_interval(random),
                    "difference": mean_interval([one - two for one, two in zip(top, random, strict=True)]),
                }
            )
    return {"draws": DRAWS, "curve": curve}


def mean_interval(values: Sequence[float], confidence_level: float = CONFIDENCE) -> Interval:
    """Return the mean with Student's t interval; the limits are None for one value."""
    from scipy.stats import t

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return interval(mean, confidence_level=confidence_level)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    reach = float(t.ppf(0.5 + confidence_level / 2, len(values) - 1)) * math.sqrt(variance / len(values))
    return interval(mean, mean - reach, mean + reach, confidence_level)

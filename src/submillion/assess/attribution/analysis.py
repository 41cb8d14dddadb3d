"""The part "attribution": the words that drive selected answers of a run, and a test of whether they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from submillion.assess.attribution.text_selection import MAX_TOKENS, select_texts
from submillion.assess.attribution.token_words import TokenWords, split_words
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.seeds import mean_interval
from submillion.data.tokenizer import load_tokenizer
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis_attribution import (
    Attribution,
    Deletion,
    DeletionCurve,
    ExplainedText,
    Faithfulness,
)
from submillion.terminal.progress import progress_bar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.assess.attribution.integrated_gradients import Explainer

DELETED = (1, 2, 4, 8, 16)
DRAWS = 5
MEASURED = ("reference_probability", "score", "baseline_score", "steps", "deletions")
METHOD = (
    "Integrated gradients of the log-odds of the answer with respect to the embeddings' output, along the straight "
    "line from the text with every token masked to the text itself; the weight of a word is the sum over its tokens. "
    "Positive weights support the answer, negative ones oppose it; up to the completeness error, they sum to the "
    "difference of the log-odds."
)
LIMITATIONS = (
    "A weight describes how this classifier used a word in this text. It does not imply that the word is a good "
    "reason, nor what another word in its place would have done; words that only work together share their weight. A "
    "few texts selected for being extreme are not a representative sample."
)


def analyse(context: RunContext) -> Attribution:
    """Explain at most 24 answers on `context.split` by the words that drive them, and test the explanation.

    The classifier runs in float32 on the modules of transformers, regardless of the run's execution. The test is
    comprehensiveness at several lengths (DeYoung et al., "ERASER", arXiv:1911.03429, 4.2): the fall of the answer's
    probability when the words with the highest weights are deleted, against random words.

    Raises:
        BadInput: captum is not installed, predictions have no labels, or data or encoder are not the run's.
    """
    # Rechecking the part needs no classifier, and should not wait for torch.
    from submillion.assess.attribution.integrated_gradients import (  # noqa: PLC0415
        Explainer,
        check_captum,
    )

    check_captum()  # before anything slow
    chosen, skipped = select_texts(context)
    explainer = Explainer(context)
    measured: dict[int, dict[str, Any]] = {}
    with progress_bar(context.progress, len(chosen), "explaining answers") as advance:
        for row in chosen:
            measured[row] = _measure(context, explainer, row)
            advance(1)
    return _report(context, chosen, skipped, measured, explainer.baseline_token)


def recheck(context: RunContext, saved: Mapping[str, Any]) -> Attribution:
    """Recompute the part as far as possible without running the classifier.

    Recomputed: the selection of texts, from the saved predictions and the run's tokenizer; ids, classes, saved
    probabilities, tokens and words, from predictions and verified texts; the completeness errors, from weights and
    scores; everything in `completeness` and `faithfulness`. Copied from `saved`: the weights of the words,
    `reference_probability`, the two scores, `steps`, each text's `deletions`, and `baseline_token`; verifying these
    takes a new explanation.

    Raises:
        BadInput: predictions without labels, texts that are not those that were predicted, or a `saved` that
            lacks what is copied.
    """
    chosen, skipped = select_texts(context)
    try:
        measured = {text["row"]: _recorded(text) for text in saved["texts"]}
        return _report(context, chosen, skipped, measured, saved["baseline_token"])
    except (KeyError, TypeError, ValueError) as error:
        where = str(context.run.analysis_file("attribution"))
        problem = Problem(
            where, "texts with words, weights and deletions", f"{type(error).__name__}: {error}"
        )
        raise BadInput(problem) from error


def faithfulness(deletions: Sequence[Sequence[Mapping[str, Any]]]) -> Faithfulness:
    """Return the mean fall of the probability by number of deleted words, with Student's interval over the texts.

    Args:
        deletions: for each text the `Deletion`s by number of deleted words.

    Returns:
        `draws`, and `curve`: by number of deleted `words`, the number of `texts`, and the intervals of `top`, `random`
        and `difference` (top minus random, text by text).
    """
    curve: list[DeletionCurve] = []
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


def _measure(context: RunContext, explainer: Explainer, row: int) -> dict[str, Any]:
    """Return what only the classifier can compute for one row: MEASURED, and the weight of each word."""
    tokens = _token_words(context, explainer.tokenizer, row)
    target = int(context.predictions(context.split).predicted[row])
    weights = explainer.weights(tokens.ids, tokens.special, target)
    word_of = np.array(tokens.word_of)
    by_word = np.zeros(len(tokens.words))
    np.add.at(by_word, word_of[word_of >= 0], weights.tokens[word_of >= 0])
    probability, deletions = _delete_words(explainer, tokens, by_word, target, (context.seed, row))
    return {
        "reference_probability": probability,
        "score": weights.score,
        "baseline_score": weights.baseline_score,
        "steps": weights.steps,
        "deletions": deletions,
        "weights": by_word.tolist(),
    }


def _delete_words(
    explainer: Explainer, tokens: TokenWords, by_word: np.ndarray, target: int, seed: tuple[int, int]
) -> tuple[float, list[Deletion]]:
    """Return the probability of the answer, and its fall when words are deleted.

    Args:
        explainer: the classifier.
        tokens: of the text.
        by_word: weight of each word, float64 [W].
        target: index of the answer.
        seed: of the random deletions.
    """
    rng = np.random.default_rng(list(seed))
    heaviest = np.argsort(-by_word, kind="stable")
    lengths = [count for count in DELETED if 2 * count <= len(by_word)]
    deleted = [heaviest[:0]]
    for count in lengths:
        deleted += [heaviest[:count], *(rng.permutation(len(by_word))[:count] for _ in range(DRAWS))]
    probabilities = explainer.probabilities([_without(tokens, words) for words in deleted], target)
    falls = (probabilities[0] - probabilities[1:]).reshape(len(lengths), 1 + DRAWS).tolist()
    deletions: list[Deletion] = [
        {"words": count, "top": top, "random": math.fsum(random) / DRAWS}
        for count, (top, *random) in zip(lengths, falls, strict=True)
    ]
    return float(probabilities[0]), deletions


def _recorded(text: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measurements of a text from its entry in the saved analysis."""
    return {key: text[key] for key in MEASURED} | {"weights": [float(weight) for _, weight in text["words"]]}


def _without(tokens: TokenWords, words: np.ndarray) -> list[int]:
    deleted = set(words.tolist())
    return [token for token, word in zip(tokens.ids, tokens.word_of, strict=True) if word not in deleted]


def _token_words(context: RunContext, tokenizer: PreTrainedTokenizerFast, row: int) -> TokenWords:
    return split_words(tokenizer, context.texts(context.split)[row], Truncation.of(context.recipe.data))


def _report(
    context: RunContext,
    chosen: Mapping[int, str],
    skipped: int,
    measured: Mapping[int, dict[str, Any]],
    baseline_token: str | None,
) -> Attribution:
    """Return the part; a row without measurements gets None for what only the classifier can compute."""
    tokenizer = load_tokenizer(context.run.tokenizer)
    missing = dict.fromkeys(MEASURED) | {"weights": []}
    texts = [
        _explained(context, row, kind, _token_words(context, tokenizer, row), measured.get(row, missing))
        for row, kind in chosen.items()
    ]
    shares = [text["completeness_share"] for text in texts if text["completeness_share"] is not None]
    return {
        "split": context.split,
        "rows": len(context.predictions(context.split)),
        "method": METHOD,
        "limitations": LIMITATIONS,
        "baseline_token": baseline_token,
        "most_tokens": MAX_TOKENS,
        "skipped": skipped,
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


def _explained(
    context: RunContext, row: int, kind: str, tokens: TokenWords, measured: Mapping[str, Any]
) -> ExplainedText:
    saved, names = context.predictions(context.split), context.labels
    predicted = int(saved.predicted[row])
    matching = len(measured["weights"]) == len(tokens.words)
    weights = measured["weights"] if matching else [None] * len(tokens.words)
    error, share = _completeness(weights, measured["score"], measured["baseline_score"])
    return {
        "row": row,
        "id": saved.ids[row],
        "kind": kind,
        "true": names[int(saved.known_labels()[row])],
        "predicted": names[predicted],
        "probability": float(saved.probabilities[row, predicted]),
        "reference_probability": measured["reference_probability"],
        "tokens": len(tokens.ids),
        "cut": tokens.cut,
        "gap": tokens.gap,
        "words": [list(pair) for pair in zip(tokens.words, weights, strict=True)],
        "score": measured["score"],
        "baseline_score": measured["baseline_score"],
        "completeness_error": error,
        "completeness_share": share,
        "steps": measured["steps"],
        "deletions": measured["deletions"],
    }


def _completeness(
    weights: Sequence[float | None], score: float | None, baseline_score: float | None
) -> tuple[float | None, float | None]:
    """Return the completeness error and its share of the sum of absolute weights; None if not measured."""
    known = [weight for weight in weights if weight is not None]
    if score is None or baseline_score is None or len(known) < len(weights):
        return None, None
    error = math.fsum(known) - (score - baseline_score)
    size = math.fsum(map(abs, known))
    return error, abs(error) / size if size else 0.0

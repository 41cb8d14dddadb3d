"""Where a run fails: confused pairs, its surest mistakes, and accuracy by length, cut, source and new words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion.assess.errors.news_credits import LEAST_TEXTS, Credits
from submillion.assess.metrics import wilson_interval
from submillion.assess.statistics.slices import BINS, SMALLEST, Answers, compare, quantile_groups
from submillion.errors import BadInput, Problem
from submillion.run_format.interval import ALPHA

if TYPE_CHECKING:
    import numpy as np

    from submillion.assess.run_context import RunContext

PAIRS = 50
MISTAKES = 20
SHOWN = 600  # characters of a text
MOST_SOURCES = 12
_WORD = re.compile(r"\w+")

TITLES = {
    "length": "Length of the text",
    "cut": "Part of the text that was not read",
    "source": "Source that the text credits",
    "novelty": "Words never seen in training",
}
MEANING = {
    "length": f"Rows in {BINS} groups of about equal size by their length in tokens, special tokens and what "
    "was cut off included.",
    "cut": "Rows whose text was read to its end, and rows of which up to half, or more, was cut off.",
    "source": "Rows by the wire or publisher named in brackets before a dash, at the end, or before a dash "
    f"where the text or a sentence opens. A name counts that at least {LEAST_TEXTS} training texts (1 in 2,000 "
    f"where that is more) carry so. Sources of fewer than {SMALLEST} rows are taken together.",
    "novelty": f"Rows in {BINS} groups of about equal size by the share of their words (letters and digits, "
    "case apart) that occur nowhere in the training texts.",
}
LIMITATIONS = {
    "length": "Long and short texts differ in more than length: in source, style and class. That classes differ "
    "is accounted for in the comparison within classes; the rest is not.",
    "cut": "Whether what was cut off would have changed the answer. Long texts are also those that are cut, so "
    "this cannot be told from length.",
    "source": "Texts whose source is not written in them, is written otherwise, or is rare. Who wrote a text is "
    "no cause: sources differ in subject and style.",
    "novelty": "Known words used in a new sense, new combinations, and which parts of words the encoder knew "
    "before. Misspellings and numbers count as new words.",
}


def analyse(context: RunContext) -> dict[str, Any]:
    """Look for what the mistakes on `context.split` have in common; no model is run.

    Returns:
        `split`, `rows`, `mistakes`, `accuracy`, `accuracy_interval` (Wilson).

        `second_choice`: {`rows`, `share`, `share_interval`} mistakes whose true class was the second most
        probable, as a share of the mistakes; None without mistakes.

        `pairs_in_all`, and `pairs`: at most 50, most frequent first, of {`true`, `predicted`, `rows`,
        `class_rows` (of the true class), `share` (of these), `share_interval`, `share_of_mistakes`,
        `mean_confidence`}.

        `confident_mistakes`: at most 20, surest first, of {`row` (from 0, as in the predictions), `id`, `true`,
        `predicted`, `probability`, `true_probability`, `text` (at most about 600 characters), `characters` (of
        the whole text), `cut` (whether `text` is shorter)}.

        `smallest_rows` (slices of fewer rows are not tested), `alpha` (significance level of the tests), and `slices`: for each of
        `length`, `cut`, `source`, `novelty` an object {`title`, `meaning`, `limitations`, `tests` (p-values
        corrected together), `facts` (numbers of this kind alone), `slices` (as `slices.compare` returns them;
        empty where the rows are all alike)}.

    Raises:
        BadInput: the predictions have no labels, or the texts are not those that were predicted.
    """
    saved = context.predictions(context.split)
    if saved.labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labels, to tell mistakes by", "unlabelled rows"))
    answers = Answers.of(saved)
    rows, correct = len(answers.right), int(answers.right.sum())
    pairs = confused_pairs(saved, context.labels)
    makers: dict[str, Callable[[RunContext], tuple[dict[str, np.ndarray], dict[str, Any]]]] = {
        "source": _by_source,
        "novelty": _by_novelty,
    }
    by_length, by_cut = _by_length_and_cut(context)
    grouped = {"length": by_length, "cut": by_cut} | {name: make(context) for name, make in makers.items()}
    return {
        "split": context.split,
        "rows": rows,
        "mistakes": rows - correct,
        "accuracy": correct / rows if rows else None,
        "accuracy_interval": wilson_interval(correct, rows),
        "second_choice": second_choice(saved),
        "pairs_in_all": len(pairs),
        "pairs": pairs[:PAIRS],
        "confident_mistakes": confident_mistakes(saved, context.texts(context.split), context.labels),
        "smallest_rows": SMALLEST,
        "alpha": ALPHA,
        "slices": {kind: _kind(kind, *made, answers) for kind, made in grouped.items()},
    }


def confused_pairs(saved: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Return every pair of a true class and another that was answered, most frequent first.

    Args:
        saved: labelled predictions, as `RunDir.load_predictions` gives them.
        names: class names by index.
    """
    import numpy as np

    labels, predicted = saved.labels, saved.predicted
    top = saved.probabilities.max(axis=1).astype(np.float64)
    wrong = np.flatnonzero(labels != predicted)
    class_rows = np.bincount(labels, minlength=len(names))
    keys, inverse, counts = np.unique(
        labels[wrong].astype(np.int64) * len(names) + predicted[wrong],
        return_inverse=True,
        return_counts=True,
    )
    pairs = []
    for index in sorted(range(len(keys)), key=lambda index: (-counts[index], keys[index])):
        true, answered = divmod(int(keys[index]), len(names))
        count, of_class = int(counts[index]), int(class_rows[true])
        pairs.append(
            {
                "true": names[true],
                "predicted": names[answered],
                "rows": count,
                "class_rows": of_class,
                "share": count / of_class,
                "share_interval": wilson_interval(count, of_class),
                "share_of_mistakes": count / len(wrong),
                "mean_confidence": math.fsum(top[wrong[inverse == index]].tolist()) / count,
            }
        )
    return pairs


def second_choice(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how often the true class of a wrongly answered row was its second most probable one."""
    import numpy as np

    wrong = saved.labels != saved.predicted
    if not wrong.any():
        return None
    probabilities = saved.probabilities[wrong].copy()
    places = np.arange(len(probabilities))
    probabilities[places, saved.predicted[wrong]] = -1
    second = int((probabilities.argmax(axis=1) == saved.labels[wrong]).sum())
    interval = wilson_interval(second, len(places))
    return {"rows": second, "share": second / len(places), "share_interval": interval}


def confident_mistakes(
    saved: Mapping[str, Any], texts: Sequence[str], names: list[str], most: int = MISTAKES
) -> list[dict[str, Any]]:
    """Return the wrong answers that were given with the highest probability, with their texts."""
    import numpy as np

    labels, predicted, probabilities = saved.labels, saved.predicted, saved.probabilities
    wrong = np.flatnonzero(labels != predicted)
    top = probabilities[wrong, predicted[wrong]]
    found = []
    for row in wrong[np.argsort(-top, kind="stable")][:most].tolist():
        text = shortened(texts[row])
        found.append(
            {
                "row": row,
                "id": saved.ids[row],
                "true": names[labels[row]],
                "predicted": names[predicted[row]],
                "probability": float(probabilities[row, predicted[row]]),
                "true_probability": float(probabilities[row, labels[row]]),
                "text": text,
                "characters": len(texts[row]),
                "cut": text != texts[row],
            }
        )
    return found


def shortened(text: str, longest: int = SHOWN) -> str:
    """Return the beginning of a text, at most `longest` characters, cut between words where there are any."""
    if len(text) <= longest:
        return text
    head = text[: longest - 1]
    if not text[longest - 1].isspace():
        before, _, rest = head.rpartition(" ")
        head = before if before and len(rest) <= longest // 10 else head
    return head.rstrip() + "…"


def new_word_share(texts: Sequence[str], known: set[str]) -> np.ndarray:
    """Return the share of each text's words that are not known, float64 [N]; 0 for a text without words."""
    import numpy as np

    shares = np.zeros(len(texts))
    for row, text in enumerate(texts):
        words = words_of(text)
        shares[row] = sum(word not in known for word in words) / max(len(words), 1)
    return shares


def words_of(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, case apart."""
    return _WORD.findall(text.casefold())


def _kind(
    kind: str, groups: Mapping[str, np.ndarray], facts: dict[str, Any], answers: Answers
) -> dict[str, Any]:
    slices = compare(groups, answers) if len(groups) > 1 else []
    tested = sum(part["p"] is not None for part in slices)
    return {
        "title": TITLES[kind],
        "meaning": MEANING[kind],
        "limitations": LIMITATIONS[kind],
        "tests": min(tested, 1) if len(slices) == 2 else tested,  # two groups tell one difference
        "facts": facts,
        "slices": slices,
    }


def _by_length_and_cut(context: RunContext) -> tuple[tuple[dict[str, np.ndarray], dict[str, Any]], ...]:
    from submillion.data.tokens import encode, load_tokenizer

    limit = context.recipe.data.max_length
    tokens = encode(load_tokenizer(context.run.tokenizer), context.texts(context.split), limit)
    full, kept = tokens.full_lengths, tokens.lengths
    lost = (full - kept) / full.clip(min=1)
    cut = {
        "read to the end": lost == 0,
        "up to half cut off": (lost > 0) & (lost <= 0.5),
        "more than half cut off": lost > 0.5,
    }
    length_facts = {
        "longest": int(full.max(initial=0)),
        "mean": float(full.mean()) if len(full) else None,
    }
    cut_facts = {"max_length": limit, "rows_cut": tokens.truncated, "tokens_cut": int((full - kept).sum())}
    return (
        (quantile_groups(full, "tokens"), length_facts),
        ({name: mask for name, mask in cut.items() if mask.any()}, cut_facts),
    )


def _by_source(context: RunContext) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import numpy as np

    texts = context.texts(context.split)
    credits = Credits(context.train.texts)
    found = np.array([credits.of(text) or "" for text in texts], dtype=object)
    names, counts = np.unique(found[found != ""].astype(str), return_counts=True)
    ranked = sorted(zip(counts.tolist(), names.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    own = [name for count, name in ranked if count >= SMALLEST][:MOST_SOURCES]
    others = [name for _, name in ranked if name not in own]
    facts = {
        "credited": sum(counts.tolist()),
        "sources": len(ranked),
        "taken_together": others,
        "known_from_training": len(credits.names),
    }
    if not ranked:
        return {}, facts
    groups = {name: found == name for name in own}
    if others:
        groups["rarer sources"] = np.isin(found, others)
    groups["no source seen"] = found == ""
    return {name: mask for name, mask in groups.items() if mask.any()}, facts


def _by_novelty(context: RunContext) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    known: set[str] = set()
    for text in context.train.texts:
        known.update(words_of(text))
    shares = new_word_share(context.texts(context.split), known)
    facts = {
        "words_in_training": len(known),
        "mean_share_new": float(shares.mean()) if len(shares) else None,
        "rows_with_new_words": int((shares > 0).sum()),
    }
    return quantile_groups(shares, "new words", share=True), facts

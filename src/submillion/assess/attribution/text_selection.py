"""Selection of the texts to explain: confident mistakes, least confident right answers, most confident ones."""

from __future__ import annotations

import numpy as np

from submillion.assess.run_context import RunContext
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem

EACH = 8
"""Texts of a kind."""
MAX_TOKENS = 256
"""Longer texts are skipped: time grows faster than length. So are texts that are read in several windows."""
MISTAKE, UNSURE, SURE = "confident_mistake", "least_sure_right", "sure_right"


def select_texts(context: RunContext) -> tuple[dict[int, str], int]:
    """Select the rows of `context.split` to explain.

    Returns:
        {row: kind}: at most 8 confident mistakes, the 8 least confident right answers, and the most confident right
        answer of each of the 8 most frequent classes; and the number of skipped rows (more than MAX_TOKENS tokens,
        several windows, or fewer than two words).

    Raises:
        BadInput: predictions without labels, or texts that are not those that were predicted.
    """
    saved = context.predictions(context.split)
    labels = saved.labels
    if labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labelled rows", "unlabelled rows"))
    texts = context.texts(context.split)
    truncation = Truncation.of(context.recipe.data)
    tokens = encode(load_tokenizer(context.run.tokenizer), texts, truncation)
    usable = (tokens.lengths <= MAX_TOKENS) & np.array(
        [len(text.split(None, 2)) > 1 for text in texts], dtype=bool
    )
    if tokens.windows is not None:
        usable &= tokens.windows.counts == 1
    top, right = saved.probabilities.max(axis=1), labels == saved.predicted
    descending, ascending = np.argsort(-top, kind="stable"), np.argsort(top, kind="stable")
    chosen = dict.fromkeys(descending[(usable & ~right)[descending]][:EACH].tolist(), MISTAKE)
    chosen |= dict.fromkeys(ascending[(usable & right)[ascending]][:EACH].tolist(), UNSURE)
    counts = np.bincount(labels, minlength=len(context.labels))
    for index in sorted(range(len(counts)), key=lambda index: (-counts[index], index))[:EACH]:
        of_class = descending[(usable & right & (labels == index))[descending]].tolist()
        chosen |= dict.fromkeys([row for row in of_class if row not in chosen][:1], SURE)
    return chosen, int((~usable).sum())

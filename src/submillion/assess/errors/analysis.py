"""The part "errors": confused classes, the most confident mistakes, and accuracy by groups of rows."""

from __future__ import annotations

from submillion.assess.errors.mistakes import confident_mistakes, confused_pairs, second_choice
from submillion.assess.errors.row_groups import RowGroups, groups_of
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.proportions import wilson_interval
from submillion.assess.statistics.slices import SMALLEST, Answers, compare_slices
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis import Errors, SliceKind
from submillion.run_format.interval import ALPHA

MAX_PAIRS = 50


def analyse(context: RunContext) -> Errors:
    """Describe the mistakes on `context.split` and what they have in common; no model is run.

    Raises:
        BadInput: the predictions have no labels, or the texts are not those that were predicted.
    """
    saved = context.predictions(context.split)
    labels = saved.labels
    if labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labelled rows", "unlabelled rows"))
    answers = Answers.of(saved)
    rows, correct = len(answers.right), int(answers.right.sum())
    pairs = confused_pairs(saved, labels, context.labels)
    texts = context.texts(context.split)
    return {
        "split": context.split,
        "rows": rows,
        "mistakes": rows - correct,
        "accuracy": correct / rows if rows else None,
        "accuracy_interval": wilson_interval(correct, rows),
        "second_choice": second_choice(saved, labels),
        "pairs_in_all": len(pairs),
        "pairs": pairs[:MAX_PAIRS],
        "confident_mistakes": confident_mistakes(saved, labels, texts, context.labels),
        "smallest_rows": SMALLEST,
        "alpha": ALPHA,
        "slices": {kind: _slices(groups, answers) for kind, groups in groups_of(context).items()},
    }


def _slices(groups: RowGroups, answers: Answers) -> SliceKind:
    slices = compare_slices(groups.groups, answers) if len(groups.groups) > 1 else []
    tested = sum(part["p"] is not None for part in slices)
    return {
        "title": groups.title,
        "meaning": groups.meaning,
        "limitations": groups.limitations,
        "tests": min(tested, 1) if len(slices) == 2 else tested,  # two groups have one difference
        "facts": groups.facts,
        "slices": slices,
    }

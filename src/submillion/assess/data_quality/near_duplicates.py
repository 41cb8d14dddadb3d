"""The part "duplicates": near-duplicates within and across the splits, and their effect on the accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion.assess.data_quality.duplicate_pairs import (
    DuplicateIndex,
    contradictions,
    least_similar,
    pair_with_texts,
)
from submillion.assess.data_quality.minhash import (
    BAND,
    BANDS,
    SHINGLE,
    THRESHOLD,
    detection_probability,
    find_near_duplicates,
)
from submillion.assess.run_context import RunContext
from submillion.assess.statistics.proportions import wilson_interval
from submillion.assess.statistics.slices import Answers, compare_slices
from submillion.data.corpus import Split
from submillion.errors import BadInput, Problem
from submillion.run_format.analysis import Slice
from submillion.run_format.analysis_data import (
    DuplicateConflicts,
    DuplicateGroups,
    Duplicates,
    DuplicatesEffect,
    SplitDuplicates,
)
from submillion.run_format.interval import Interval, interval, limits_of
from submillion.wording import percent, points, points_range

MAX_CONFLICTS = 20
MAX_EXAMPLES = 5
WITH, WITHOUT = "with a near-duplicate in train", "without"

MEANING = (
    f"Two texts are near-duplicates if they share at least {percent(THRESHOLD, 0)} of their pairs of consecutive "
    "words, ignoring case and punctuation (the Jaccard index of the two sets). Of 40 words up to three may differ, of "
    "ten the first or the last one. Figures count as words."
)
LIMITATIONS = (
    "Paraphrases, translations, and a short text contained in a long one are not found. Rows with a near-duplicate may "
    "be easier or harder for another reason: their classes or sources may differ from the rest."
)


def analyse(context: RunContext) -> Duplicates:
    """Find near-duplicates among all rows of the run, and compare the accuracy with and without them.

    Raises:
        BadInput: the predictions have no labels, or the texts are not those that were predicted.
    """
    splits = context.corpus.splits
    # The validation rows of a cross-validated run are those of the training, each predicted without itself.
    if context.cross_validated:
        splits = [split for split in splits if split.name != "validation"]
    texts = [text for split in splits for text in split.texts]
    index = DuplicateIndex(splits, find_near_duplicates(texts), len(context.labels))
    shown = "train" if _is_of_folds(context) else context.split
    examples = least_similar(index, _number(splits, shown), MAX_EXAMPLES)
    return {
        "meaning": MEANING,
        "limitations": LIMITATIONS,
        "method": {
            "threshold": THRESHOLD,
            "shingle_words": SHINGLE,
            "hash_values": BANDS * BAND,
            "bands": BANDS,
            "found_at_threshold": detection_probability(THRESHOLD),
        },
        "complete": index.duplicates.complete,
        "splits": {
            split.name: {
                "rows": len(split),
                "empty": int((index.duplicates.distinct[index.split == number] < 0).sum()),
            }
            for number, split in enumerate(splits)
        },
        "between_splits": _between(index),
        "groups": _groups(index),
        "conflicts": _conflicts(index, context.labels),
        "examples": [pair_with_texts(index, pair, context.labels) for pair in examples],
        "effect": _effect(context, index),
    }


def _between(index: DuplicateIndex) -> list[SplitDuplicates]:
    entries: list[SplitDuplicates] = []
    for number, split in enumerate(index.splits):
        own = index.split == number
        for other in range(number + 1):
            halves = 2 if other == number else 1  # within a split, each pair is counted from both sides
            duplicates = index.count_in(other)[own]
            identical = index.count_in(other, same_words=True)[own]
            agreeing = index.count_in(other, same_label=True)[own]
            rows = int((duplicates > 0).sum())
            entries.append(
                {
                    "rows_of": split.name,
                    "duplicates_in": index.splits[other].name,
                    "rows": rows,
                    "of_rows": len(split),
                    "share": rows / len(split) if len(split) else None,
                    "pairs": int(duplicates.sum()) // halves,
                    "identical": int(identical.sum()) // halves,
                    "different_labels": int((duplicates - agreeing).sum()) // halves,
                }
            )
    return entries


def _groups(index: DuplicateIndex) -> DuplicateGroups:
    sizes = index.group_sizes()
    return {"groups": len(sizes), "rows": int(sizes.sum()), "largest": int(sizes.max(initial=0))}


def _conflicts(index: DuplicateIndex, names: Sequence[str]) -> DuplicateConflicts:
    differing = np.zeros(len(index.split), dtype=np.int64)
    for number in range(len(index.splits)):
        differing += index.count_in(number) - index.count_in(number, same_label=True)
    shown = [pair for pair, _ in zip(contradictions(index), range(MAX_CONFLICTS), strict=False)]
    return {
        "pairs": int(differing.sum()) // 2,
        "rows": int((differing > 0).sum()),
        "examples": [pair_with_texts(index, pair, names) for pair in shown],
    }


def _effect(context: RunContext, index: DuplicateIndex) -> DuplicatesEffect | None:
    """Compare the accuracy with and without the rows that have a near-duplicate in train.

    None without rows, and for the predictions of a cross-validation, whose rows are all in train.
    """
    saved = context.predictions(context.split)
    if saved.labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labelled rows", "unlabelled rows"))
    context.texts(context.split)  # refuses texts that are not those that were predicted
    answers = Answers.of(saved)
    if not len(answers.right) or _is_of_folds(context):
        return None
    own = index.split == _number(index.splits, context.split)
    mask = index.count_in(0)[own] > 0
    contradicted = mask & (index.count_in(0, same_label=True)[own] == 0)
    with_duplicate, without = compare_slices({WITH: mask, WITHOUT: ~mask}, answers)
    total, correct = len(mask), int(answers.right.sum())
    effect: DuplicatesEffect = {
        "split": context.split,
        "rows": total,
        "correct": correct,
        "accuracy": correct / total,
        "accuracy_interval": wilson_interval(correct, total),
        "with_duplicate": with_duplicate,
        "without_duplicate": without,
        "difference": _difference(with_duplicate, total),
        "contradicted": {
            "rows": int(contradicted.sum()),
            "correct": int(answers.right[contradicted].sum()),
        },
        "sentence": "",
    }
    return {**effect, "sentence": _sentence(effect)}


def _difference(with_duplicate: Slice, total: int) -> Interval | None:
    """Return the accuracy of all rows minus that of the rows without near-duplicates.

    With share s of rows with a near-duplicate it is s (a_with - a_without), so its interval is that of the difference
    of two independent proportions (`unpaired_interval`) times s, where the number of such rows is fixed. A bootstrap
    interval would be too narrow: if few rows have a near-duplicate and all are answered right, it has no spread.
    """
    if with_duplicate["difference"] is None:
        return None
    share, difference = with_duplicate["rows"] / total, with_duplicate["difference_interval"]
    low, high = limits_of(difference)
    return interval(share * with_duplicate["difference"], share * low, share * high)


def _sentence(effect: DuplicatesEffect) -> str:
    split, count = effect["split"], effect["with_duplicate"]["rows"]
    if not count:
        return f"No {split} row has a near-duplicate in train."
    difference, without = effect["difference"], effect["without_duplicate"]["accuracy"]
    if difference is None or without is None:
        return f"Every {split} row has a near-duplicate in train, so there are no others to compare with."
    low, high = limits_of(difference)
    change = f"{points(difference['value'] or 0.0)} points ({points_range(low, high)})"
    rows = f"the {count:,} {split} rows that have" if count > 1 else f"the one {split} row that has"
    accuracy = (
        f"Without {rows} a near-duplicate in train, the accuracy is {percent(without, 2)} instead of "
        f"{percent(effect['accuracy'], 2)}"
    )
    if low > 0 or high < 0:
        return f"{accuracy}: such rows {'raise' if low > 0 else 'lower'} it by {change}."
    return f"{accuracy}. No effect is shown: the difference is {change}."


def _is_of_folds(context: RunContext) -> bool:
    """Return whether the report is about the predictions of a cross-validation."""
    return context.cross_validated and context.split == "validation"


def _number(splits: Sequence[Split], name: str) -> int:
    return [split.name for split in splits].index(name)

"""Near twins inside and across the splits, those with different labels, and what they do to the accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from submillion.assess.data_quality.duplicate_pairs import Rows, closest_calls, contradictions, told
from submillion.assess.data_quality.minhash import BAND, BANDS, SHINGLE, THRESHOLD, chance_found, find_twins
from submillion.assess.metrics import wilson_interval
from submillion.assess.statistics.slices import Answers, compare
from submillion.errors import BadInput, Problem
from submillion.run_format.interval import Interval, interval
from submillion.wording import percent, points, points_range

if TYPE_CHECKING:
    from submillion.assess.run_context import RunContext
    from submillion.data.corpus import Split

CONFLICTS = 20
EXAMPLES = 5
WITH, WITHOUT = "with a near twin in train", "without"

MEANING = (
    f"Two texts are near twins when they share at least {THRESHOLD:.0%} of their pairs of neighbouring words, "
    "case and punctuation apart (the Jaccard index of the two sets). Of 40 words up to three may differ, of ten "
    "a first or last one. Figures count as words."
)
LIMITATIONS = (
    "Twins that say the same in other words, translations, and a short text inside a long one. Rows with a "
    "twin may be easier or harder for another reason: they hold other classes or sources than the rest."
)


def analyse(context: RunContext) -> dict[str, Any]:
    """Find near twins among all rows of the run, and compare the accuracy with and without them.

    Returns:
        `meaning` and `limitations` (sentences); `method`: {`threshold`, `shingle_words`, `hash_values`, `bands`,
        `found_at_threshold` (probability that a pair just as similar is found)}; `complete` (False where there
        were too many candidates to compare them all, so that counts may be too low).

        `splits`: {split: {`rows`, `empty` (rows without text, compared with none)}}.

        `twins`: of every two splits, and of each with itself, {`of`, `in`, `rows` (of `of` with a twin in
        `in`), `of_rows`, `share`, `pairs`, `wholly_alike` (pairs of similarity 1), `other_label` (pairs whose
        labels differ)}.

        `groups`: {`groups`, `rows`, `largest`}, rows that are held together by twins.

        `conflicts`: {`pairs`, `rows`} with different labels, and at most 20 `examples`, most similar first;
        `examples`: at most 5 pairs that are only just twins. A pair is {`similarity`, `one`, `other`}, each
        {`split`, `row`, `id`, `label`, `text`, `cut`}.

        `effect`, on `context.split`: {`split`, `rows`, `correct`, `accuracy`, `accuracy_interval`, `with_twin`,
        `without_twin` (see `slices.compare`), `difference` (an interval: the accuracy on all rows
        less that without the rows with a twin; None where there are no others), `contradicted` ({`rows`, `correct`}: rows with twins
        in train, all of another label), `sentence`}; None without rows.

    Raises:
        BadInput: the predictions have no labels, or the texts are not those that were predicted.
    """
    splits = context.corpus.splits
    rows = Rows(splits, find_twins([text for split in splits for text in split.texts]), len(context.labels))
    return {
        "meaning": MEANING,
        "limitations": LIMITATIONS,
        "method": {
            "threshold": THRESHOLD,
            "shingle_words": SHINGLE,
            "hash_values": BANDS * BAND,
            "bands": BANDS,
            "found_at_threshold": chance_found(THRESHOLD),
        },
        "complete": rows.twins.complete,
        "splits": {
            split.name: {
                "rows": len(split),
                "empty": int((rows.twins.distinct[rows.split == number] < 0).sum()),
            }
            for number, split in enumerate(splits)
        },
        "between_splits": _between(rows),
        "groups": _groups(rows),
        "conflicts": _conflicts(rows, context.labels),
        "examples": [
            told(rows, pair, context.labels)
            for pair in closest_calls(rows, _number(splits, context.split), EXAMPLES)
        ],
        "effect": _effect(context, rows),
    }


def _between(rows: Rows) -> list[dict[str, Any]]:
    found = []
    for number, split in enumerate(rows.splits):
        own = rows.split == number
        for other in range(number + 1):
            halves = 2 if other == number else 1  # within a split each pair is met from both sides
            twins = rows.twins_in(other)[own]
            alike = rows.twins_in(other, same_words=True)[own]
            agreeing = rows.twins_in(other, same_label=True)[own]
            with_twin = int((twins > 0).sum())
            found.append(
                {
                    "of": split.name,
                    "in": rows.splits[other].name,
                    "rows": with_twin,
                    "of_rows": len(split),
                    "share": with_twin / len(split) if len(split) else None,
                    "pairs": int(twins.sum()) // halves,
                    "identical": int(alike.sum()) // halves,
                    "different_labels": int((twins - agreeing).sum()) // halves,
                }
            )
    return found


def _groups(rows: Rows) -> dict[str, int]:
    sizes = rows.groups()
    return {"groups": len(sizes), "rows": int(sizes.sum()), "largest": int(sizes.max(initial=0))}


def _conflicts(rows: Rows, names: list[str]) -> dict[str, Any]:
    import numpy as np

    differing = np.zeros(len(rows.split), dtype=np.int64)
    for number in range(len(rows.splits)):
        differing += rows.twins_in(number) - rows.twins_in(number, same_label=True)
    shown = [pair for pair, _ in zip(contradictions(rows), range(CONFLICTS), strict=False)]
    return {
        "pairs": int(differing.sum()) // 2,
        "rows": int((differing > 0).sum()),
        "examples": [told(rows, pair, names) for pair in shown],
    }


def _effect(context: RunContext, rows: Rows) -> dict[str, Any] | None:
    saved = context.predictions(context.split)
    if saved.labels is None:
        where = str(context.run.prediction_file(context.split))
        raise BadInput(Problem(where, "labels, to tell mistakes by", "unlabelled rows"))
    context.texts(context.split)  # refuses texts that are not those that were predicted
    answers = Answers.of(saved)
    if not len(answers.right):
        return None
    own = rows.split == _number(rows.splits, context.split)
    twins = rows.twins_in(0)[own]
    mask = twins > 0
    refuted = mask & (rows.twins_in(0, same_label=True)[own] == 0)
    with_twin, without = compare({WITH: mask, WITHOUT: ~mask}, answers)
    total, correct = len(mask), int(answers.right.sum())
    found = {
        "split": context.split,
        "rows": total,
        "correct": correct,
        "accuracy": correct / total,
        "accuracy_interval": wilson_interval(correct, total),
        "with_duplicate": with_twin,
        "without_duplicate": without,
        "difference": _difference(with_twin, total),
        "contradicted": {"rows": int(refuted.sum()), "correct": int(answers.right[refuted].sum())},
    }
    return found | {"sentence": _sentence(found)}


def _difference(with_twin: dict[str, Any], total: int) -> Interval | None:
    """Return the accuracy of all rows less that of the rows without twins, with its 95 % interval.

    With share s of rows with a twin it is s (a_with - a_without), so its interval is that of the difference of
    two independent shares (`slices.unpaired_interval`) times s, the number of such rows taken as given. A
    bootstrap would be sure of too much: where few rows have a twin and all are answered right, it knows no
    spread.
    """
    if with_twin["difference"] is None:
        return None
    share = with_twin["rows"] / total
    found = with_twin["difference_interval"]
    return interval(*(share * found[key] for key in ("value", "low", "high")))


def _sentence(effect: dict[str, Any]) -> str:
    split, count = effect["split"], effect["with_duplicate"]["rows"]
    if not count:
        return f"No {split} row has a near twin in train."
    if effect["difference"] is None:
        return f"Every {split} row has a near twin in train: there are no others to compare with."
    low, high = effect["difference"]["low"], effect["difference"]["high"]
    change = f"{points(effect['difference']['value'])} points ({points_range(low, high)})"
    whom = f"the {count:,} {split} rows that have" if count > 1 else f"the one {split} row that has"
    said = (
        f"Without {whom} a near twin in train, the accuracy is {percent(effect['without_twin']['accuracy'], 2)} "
        f"instead of {percent(effect['accuracy'], 2)}"
    )
    if low > 0 or high < 0:
        return f"{said}: such rows {'raise' if low > 0 else 'lower'} it, by {change}."
    return f"{said}. No effect is shown: the difference is {change}, and chance alone may make it."


def _number(splits: list[Split], name: str) -> int:
    return [split.name for split in splits].index(name)

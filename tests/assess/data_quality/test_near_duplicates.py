"""Near-duplicates: planted ones are found; similarity, counts and effects equal those of a direct computation."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submillion.assess.data_quality import near_duplicates
from submillion.assess.data_quality.minhash import (
    detection_probability,
    find_near_duplicates,
    normalised_words,
    shingles_of,
)
from submillion.assess.data_quality.near_duplicates import THRESHOLD
from submillion.assess.statistics.proportions import unpaired_interval, wilson
from submillion.errors import BadInput
from support.corpus import Labelled, context_of
from support.intervals import limits

NAMES = ["a", "b", "c"]


@cache
def plain_shingles(text: str) -> frozenset[str]:
    words = "".join(mark if mark.isalnum() else " " for mark in text.lower()).split()
    return frozenset({f"{a} {b}" for a, b in itertools.pairwise(words)} or words)


def jaccard(one: str, other: str) -> float:
    """Return the similarity of two texts by sets of strings alone; an empty text is like no other."""
    sets = plain_shingles(one), plain_shingles(other)
    both = len(sets[0] & sets[1])
    return both / (len(sets[0]) + len(sets[1]) - both) if both else 0.0


def found_pairs(texts: list[str]) -> dict[tuple[int, int], float]:
    """Return every pair of rows that `find_near_duplicates` returns, with its similarity."""
    duplicates = find_near_duplicates(texts)
    near = {
        tuple(pair): value
        for pair, value in zip(duplicates.pairs.tolist(), duplicates.similarity, strict=True)
    }
    distinct = duplicates.distinct.tolist()
    found = {}
    for one, other in itertools.combinations(range(len(texts)), 2):
        pair = tuple(sorted((distinct[one], distinct[other])))
        if -1 not in pair and (pair[0] == pair[1] or pair in near):
            found[one, other] = 1.0 if pair[0] == pair[1] else float(near[pair])
    return found


def varied(seed: int, texts: int, words: int = 30) -> list[str]:
    """Return texts of which every third is another one with up to four words replaced."""
    rng = np.random.default_rng(seed)
    made: list[list[str]] = []
    for row in range(texts):
        text = [f"w{word}" for word in rng.integers(4_000, size=words)]
        if row % 3 == 2:
            text = list(made[int(rng.integers(row))])
            for place in rng.integers(words, size=int(rng.integers(5))):
                text[place] = f"x{rng.integers(1_000)}"
        made.append(text)
    return [" ".join(text) for text in made]


def test_normalised_words_have_neither_case_nor_punctuation() -> None:
    assert normalised_words("The U.S.-based firm's 3.5 %!") == [
        "the",
        "u",
        "s",
        "based",
        "firm",
        "s",
        "3",
        "5",
    ]
    assert normalised_words("\uff26\uff35\uff2c\uff2c \ufb01ne Cafe\u0301") == ["full", "fine", "café"]
    assert normalised_words("日本語 and ไทย") == [*"日本語", "and", *"ไทย"]
    assert normalised_words("?! :-)") == ["?!:-)"]
    assert normalised_words(" \n") == normalised_words("") == []


def test_the_shingles_of_short_texts() -> None:
    assert shingles_of("one two three") == {("one", "two"), ("two", "three")}
    assert shingles_of("Yes!") == {("yes",)}
    assert shingles_of("") == set()


def test_a_hand_worked_similarity() -> None:
    """Ten words, the last one replaced: 8 of 10 pairs of words are shared; in the middle only 7 of 11."""
    text = "one two three four five six seven eight nine ten"
    last, middle = text.replace("ten", "last"), text.replace("five", "middle")
    assert found_pairs([text, last]) == {(0, 1): 0.8}
    assert found_pairs([text, middle]) == {}
    assert found_pairs([text, text.upper().replace(" ", ", ")]) == {(0, 1): 1.0}


@pytest.mark.parametrize("seed", [0, 1])
def test_near_duplicates_are_those_of_a_comparison_of_every_two_texts(seed: int) -> None:
    texts = varied(seed, 180)
    expected = {
        (one, other): value
        for one, other in itertools.combinations(range(len(texts)), 2)
        if (value := jaccard(texts[one], texts[other])) >= THRESHOLD
    }
    assert len(expected) > 25
    assert found_pairs(texts) == expected


@given(st.lists(st.text(alphabet="ab .!", max_size=12), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_similarity_is_that_of_the_sets(texts: list[str]) -> None:
    texts = [text for text in texts if not text.strip() or any(mark.isalnum() for mark in text)]
    for (one, other), value in found_pairs(texts).items():
        assert value == jaccard(texts[one], texts[other]) >= THRESHOLD


def test_empty_texts_have_no_duplicates_but_one_word_texts_do() -> None:
    assert found_pairs(["", " ", "yes", "Yes!", "no", "...", "..."]) == {(2, 3): 1.0, (5, 6): 1.0}
    assert len(find_near_duplicates([])) == 0
    assert find_near_duplicates(["", ""]).distinct.tolist() == [-1, -1]


def test_the_order_of_the_texts_does_not_matter() -> None:
    texts = varied(3, 120)
    back = {(119 - other, 119 - one): value for (one, other), value in found_pairs(texts[::-1]).items()}
    assert back == found_pairs(texts)


def test_too_many_candidates_are_compared_in_part_and_reported() -> None:
    texts = [f"dear customer your order number {row} has left our warehouse today" for row in range(200)]
    every, some = find_near_duplicates(texts, 0.5), find_near_duplicates(texts, 0.5, max_candidates=2_000)
    assert every.complete and not some.complete
    assert 0.99 < len(every.pairs) / (200 * 199 / 2) <= 1  # two thirds alike: each is found with 0.9991
    assert 0 < len(some.pairs) < len(every.pairs)
    assert len(np.unique(some.pairs)) == 200  # yet each was compared with some


def test_detection_probability_by_hand() -> None:
    assert detection_probability(1.0) == 1.0 and detection_probability(0.0) == 0.0
    assert detection_probability(0.7) == pytest.approx(1 - (1 - 0.2401) ** 32)
    assert detection_probability(THRESHOLD) > 0.999


def counted(rows: dict[str, Labelled]) -> list[dict[str, Any]]:
    """Count the near-duplicates of every two splits by looping over pairs of rows."""
    found = []
    for number, (of, (texts, labels)) in enumerate(rows.items()):
        for within, (others, other_labels) in list(rows.items())[: number + 1]:
            pairs = [
                (one, other, jaccard(texts[one], others[other]))
                for one in range(len(texts))
                for other in range(len(others))
                if not (of == within and one == other)
            ]
            near = [(one, other, value) for one, other, value in pairs if value >= THRESHOLD]
            halves = 2 if of == within else 1
            found.append(
                {
                    "rows_of": of,
                    "duplicates_in": within,
                    "rows": len({one for one, _, _ in near}),
                    "of_rows": len(texts),
                    "share": len({one for one, _, _ in near}) / len(texts) if texts else None,
                    "pairs": len(near) // halves,
                    "identical": sum(value == 1 for _, _, value in near) // halves,
                    "different_labels": sum(labels[a] != other_labels[b] for a, b, _ in near) // halves,
                }
            )
    return found


def test_counts_by_split_are_those_of_a_loop_over_rows(tmp_path: Path) -> None:
    texts = [*varied(5, 150), "", "yes", "Yes", "no"]
    rng = np.random.default_rng(6)
    order = rng.permutation([*range(len(texts)), *range(20)]).tolist()  # some rows twice, labels at random
    labels = rng.integers(3, size=len(order)).tolist()
    parts = {"train": order[:100], "validation": order[100:120], "test": order[120:]}
    rows: dict[str, Labelled] = {}
    begin = 0
    for name, part in parts.items():
        rows[name] = [texts[row] for row in part], labels[begin : begin + len(part)]
        begin += len(part)
    context = context_of(tmp_path, NAMES, rows, rows["test"][1])
    found = near_duplicates.analyse(context)
    assert found["between_splits"] == counted(rows)
    assert sum(part["pairs"] for part in found["between_splits"]) > 40
    assert found["conflicts"]["pairs"] == sum(part["different_labels"] for part in found["between_splits"])
    assert sum(part["empty"] for part in found["splits"].values()) == sum(
        text == "" for part in rows.values() for text in part[0]
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert near_duplicates.analyse(context) == found


BASE = "the quick brown fox jumps over the lazy dog near a quiet river bank today {} said"


def leaking(home: Path, right_with: int, right_without: int, each: int = 40) -> dict[str, Any]:
    """Analyse a run with `each` test rows with a near-duplicate in train and as many without, so many of them right."""
    texts = [" ".join(f"{word}{row}" for word in BASE.split()) for row in range(3 * each)]
    copies = [text + " extra" for text in texts[:each]]
    labels = [row % 3 for row in range(each)]
    answers = [(label + (row >= right_with)) % 3 for row, label in enumerate(labels)]
    answers += [(label + (row >= right_without)) % 3 for row, label in enumerate(labels)]
    rows: dict[str, Labelled] = {
        "train": (texts[: 2 * each], labels * 2),
        "validation": ([], []),
        "test": (copies + texts[2 * each :], labels * 2),
    }
    return near_duplicates.analyse(context_of(home, NAMES, rows, answers))


def test_the_effect_is_the_accuracy_with_and_without_near_duplicates(tmp_path: Path) -> None:
    effect = leaking(tmp_path, 40, 20)["effect"]
    assert (effect["rows"], effect["correct"], effect["accuracy"]) == (80, 60, 0.75)
    assert limits(effect["accuracy_interval"]) == wilson(60, 80)
    assert (effect["with_duplicate"]["rows"], effect["with_duplicate"]["accuracy"]) == (40, 1.0)
    assert limits(effect["without_duplicate"]["accuracy_interval"]) == wilson(20, 40)
    assert effect["difference"]["value"] == pytest.approx(0.75 - 0.5)
    ends = limits(unpaired_interval(40, 40, 20, 40))
    assert limits(effect["difference"]) == pytest.approx([end / 2 for end in ends])
    assert effect["sentence"] == (
        "Without the 40 test rows that have a near-duplicate in train, the accuracy is 50.00% instead of 75.00%: "
        f"such rows raise it by +25.00 points (+{50 * ends[0]:.2f} to +{50 * ends[1]:.2f})."
    )


def test_the_sentence_follows_from_the_interval(tmp_path: Path) -> None:
    for right, words in ((20, "such rows lower it by \N{MINUS SIGN}"), (39, "No effect is shown")):
        home = tmp_path / str(right)
        home.mkdir()
        assert words in leaking(home, right, 40)["effect"]["sentence"]


def test_without_near_duplicates_or_without_others_there_is_no_difference(tmp_path: Path) -> None:
    for kind, test, words in (
        ("none", ["four five six"], "No test row has a near-duplicate in train."),
        ("all", ["one two three"], "Every test row has a near-duplicate in train"),
    ):
        (tmp_path / kind).mkdir()
        rows: dict[str, Labelled] = {
            "train": (["One, two, three!"], [0]),
            "validation": ([], []),
            "test": (test, [1]),
        }
        effect = near_duplicates.analyse(context_of(tmp_path / kind, NAMES, rows, [1]))["effect"]
        assert effect["difference"] is None
        assert words in effect["sentence"]
        assert effect["contradicted"] == {"rows": int(kind == "all"), "correct": int(kind == "all")}


def test_conflicting_labels_are_shown_with_ids_most_similar_first(tmp_path: Path) -> None:
    text = "one two three four five six seven eight nine ten"
    rows: dict[str, Labelled] = {
        "train": ([text, text, "something else altogether", text.upper()], [0, 1, 2, 0]),
        "validation": (["w " * 500], [0]),
        "test": ([text + " eleven", "nothing like it"], [2, 1]),
    }
    found = near_duplicates.analyse(context_of(tmp_path, NAMES, rows, [0, 1]))
    conflicts = found["conflicts"]
    assert (conflicts["pairs"], conflicts["rows"]) == (5, 4)
    shown = [
        (pair["similarity"], *[(pair[side]["id"], pair[side]["label"]) for side in ("one", "other")])
        for pair in conflicts["examples"]
    ]
    assert shown == [
        (1.0, ("train-0", "a"), ("train-1", "b")),
        (0.9, ("train-0", "a"), ("test-0", "c")),
        (0.9, ("train-1", "b"), ("test-0", "c")),
    ]
    assert found["groups"] == {"groups": 1, "rows": 4, "largest": 4}
    assert [pair["similarity"] for pair in found["examples"]] == [0.9]
    assert found["effect"]["contradicted"] == {"rows": 1, "correct": 0}


def test_without_test_split_the_report_is_about_validation(tmp_path: Path) -> None:
    rows: dict[str, Labelled] = {"train": (["a b c", "d e f"], [0, 1]), "validation": (["a b c", ""], [0, 1])}
    found = near_duplicates.analyse(context_of(tmp_path, NAMES, rows, [0, 0]))
    assert found["effect"]["split"] == "validation"
    assert found["effect"]["with_duplicate"]["rows"] == 1
    assert found["splits"]["validation"] == {"rows": 2, "empty": 1}


def test_texts_that_were_not_predicted_are_refused(tmp_path: Path) -> None:
    rows: dict[str, Labelled] = {"train": (["a"], [0]), "validation": (["b"], [1])}
    context = context_of(tmp_path, NAMES, rows, [0])
    context.corpus.validation.texts[0] = "another"
    with pytest.raises(BadInput, match="hashes of other texts"):
        near_duplicates.analyse(context)

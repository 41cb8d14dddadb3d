"""Counterfactual texts: which words are swapped, which texts are selected, and reproducibility."""

from __future__ import annotations

from collections import Counter

import pytest

from submillion.assess.audit import counterfactuals
from submillion.assess.audit.counterfactuals import (
    MAX_ALTERED,
    MAX_TARGETS,
    Axis,
    altered_texts,
    build_axes,
)
from submillion.assess.audit.word_finder import Finder
from submillion.assess.audit.wordlists import ListedWord, WordList

REGIONS, GENDERS = [f"region {number}" for number in range(5)], ["women", "men"]


def name_list() -> WordList:
    words = [
        ListedWord((region, gender), ((f"N{place}{gender[0]}{index}",),))
        for place, region in enumerate(REGIONS)
        for gender in GENDERS
        for index in range(4)
    ]
    return WordList("names", "names", "made", ("region", "gender"), ("word",), frozenset(), tuple(words))


NAMES = name_list()
OF = {word.name: word.place for word in NAMES.words}


def axes_of(texts: list[str], seed: int = 3, end: int = 10_000) -> list[Axis]:
    matches = [Finder(NAMES).find(text) for text in texts]
    spans = {row: [(0, end)] for row, found in enumerate(matches) if found}
    return build_axes(NAMES, texts, matches, spans, seed)


def test_a_name_in_the_middle_that_is_not_read_is_not_swapped() -> None:
    first, second = NAMES.words[0].name, NAMES.words[-1].name
    text = f"{first} {second} {second} {second} {first}"
    ends = [(0, len(first)), (len(text) - len(first), len(text))]
    matches = [Finder(NAMES).find(text)]
    for spans, swapped in (([(0, len(text))], second), (ends, first)):
        for axis in build_axes(NAMES, [text], matches, {0: spans}, 3):
            assert {case.word for case in axis.cases} == {swapped}


def many(rows: int) -> list[str]:
    return [f"{NAMES.words[row % len(NAMES.words)].name} said word{row}" for row in range(rows)]


def test_control_stays_in_the_group_and_swaps_leave_it_on_one_level_alone() -> None:
    texts = many(200)
    by_region, by_gender = axes_of(texts)
    assert (by_region.name, by_gender.name) == ("names.region", "names.gender")
    for axis in (by_region, by_gender):
        assert axis.cases
        for case in axis.cases:
            before = OF[case.word]
            assert case.group == case.control.group == before[axis.level]
            assert OF[case.control.word] == before and case.control.word != case.word
            assert len({swap.group for swap in case.swaps}) == len(case.swaps)
            for swap in case.swaps:
                after = OF[swap.word]
                assert after[axis.level] == swap.group != case.group
                assert after[1 - axis.level] == before[1 - axis.level]
            for swap in case.altered:
                assert swap.text == texts[case.row].replace(case.word, swap.word)


def test_every_mention_of_the_word_is_swapped_and_no_other_name_is_used() -> None:
    text = "N0w0 met N0w1 and N0w2, said N0w0."
    for _ in range(2):
        (case,) = axes_of([text], seed=_)[1].cases
        assert case.word == "N0w0"
        assert case.control.word == "N0w3"  # the others of the group stand in the text
        assert case.control.text == "N0w3 met N0w1 and N0w2, said N0w3."
        assert case.swaps[0].word in {"N0m0", "N0m1", "N0m2", "N0m3"}


def test_without_a_word_left_for_the_control_there_is_no_case() -> None:
    axis = axes_of(["N0w0 met N0w1, N0w2 and N0w3"])[1]
    assert axis.carrying == {"women": 1, "men": 0}
    assert axis.cases == ()


def test_truncated_words_are_not_swapped() -> None:
    text = "word word N0w0 and N1m0, N1m0"
    assert axes_of([text], end=14)[1].carrying == {"women": 1, "men": 0}
    assert axes_of([text])[1].carrying == {"women": 0, "men": 1}
    assert axes_of([text], end=4)[1].carrying == {"women": 0, "men": 0}


def test_equal_texts_count_once_and_texts_without_words_not_at_all() -> None:
    axis = axes_of(["N0w0 said", "nobody", "N0w0 said", "N0w0 said"])[1]
    assert [case.row for case in axis.cases] == [0]


def test_the_number_of_alterations_is_limited_and_every_group_gets_its_share() -> None:
    for axis in axes_of(many(1_000)):
        altered = sum(len(case.altered) for case in axis.cases)
        each = 1 + min(MAX_TARGETS, len(axis.words.groups(axis.level)) - 1)
        assert altered == MAX_ALTERED // each * each
        moved = Counter(swap.group for case in axis.cases for swap in case.swaps)
        assert max(moved.values()) - min(moved.values()) <= 1
        from_each = Counter(case.group for case in axis.cases)
        assert max(from_each.values()) - min(from_each.values()) <= 1


def test_rare_groups_are_taken_first() -> None:
    texts = [f"N0m0 said word{row}" for row in range(300)] + [f"N0w0 said word{row}" for row in range(20)]
    axis = axes_of(texts)[1]
    assert axis.carrying == {"women": 20, "men": 300}
    assert sum(case.group == "women" for case in axis.cases) == 20


def test_the_same_seed_gives_the_same_texts_and_another_one_others() -> None:
    texts = many(300)
    ids = [f"row-{row}" for row in range(300)]
    one, again, other = (list(altered_texts(axes_of(texts, seed), ids)) for seed in (3, 3, 4))
    assert one == again != other
    assert len({known for known, _ in one}) == len(one)


def test_another_list_does_not_change_the_texts_of_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = counterfactuals.generator(7, "a").integers(1_000_000)
    assert (
        drawn
        == counterfactuals.generator(7, "a").integers(1_000_000)
        != counterfactuals.generator(7, "b").integers(1_000_000)
    )

"""Finding and replacing listed words: whole words, longest first, in their form and case."""

from __future__ import annotations

import pytest

from submillion.assess.audit.word_finder import Finder, replace_matches
from submillion.assess.audit.wordlists import ListedWord, WordList

US = ListedWord(("west",), (("America", "the U.S.", "US", "United States"), ("American",)))
CHINA = ListedWord(("east",), (("China",), ("Chinese",)))
PAPUA = ListedWord(("east",), (("Papua New Guinea", "Papua"), ("Papuan",)))
LIST = WordList(
    "lands", "lands", "made", ("side",), ("land", "people"), frozenset({"US"}), (US, CHINA, PAPUA)
)


def spans(text: str) -> list[str]:
    return [text[match.start : match.end] for match in Finder(LIST).find(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("China and Chinatown, Chinese.", ["China", "Chinese"]),
        ("The U.S. and the U.S.", ["The U.S.", "the U.S."]),
        ("US-Chinese talks, US's", ["US", "Chinese", "US"]),
        ("Papua New Guinea; Papua", ["Papua New Guinea", "Papua"]),
        ("CHINA BUYS", ["CHINA"]),
        ("china Buys", []),  # a text with capitals writes its names with them
        ("china told us so", ["china"]),  # us is a pronoun here
        ("", []),
    ],
)
def test_whole_words_as_they_are_written(text: str, found: list[str]) -> None:
    assert spans(text) == found


def test_all_forms_are_swapped_in_the_case_they_had() -> None:
    for text, other in (
        ("China's Chinese firms in China", "America's American firms in America"),
        ("CHINA AND THE CHINESE", "AMERICA AND THE AMERICAN"),
        ("china and the chinese", "america and the american"),
    ):
        assert replace_matches(text, Finder(LIST).find(text), US) == other


def test_only_the_passed_matches_are_replaced() -> None:
    text = "China met America"
    matches = [match for match in Finder(LIST).find(text) if match.word == CHINA]
    assert replace_matches(text, matches, PAPUA) == "Papua New Guinea met America"


def test_a_list_without_words_finds_none() -> None:
    assert Finder(WordList("x", "x", "x", ("a",), ("word",), frozenset(), ())).find("any US text") == []

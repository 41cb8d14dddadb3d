"""Finds listed words in texts, and replaces them in the same form and case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from submillion.assess.audit.wordlists import ListedWord, WordList

AS_LISTED, UPPER, LOWER = "as listed", "upper", "lower"


@dataclass(frozen=True)
class Match:
    """One listed word in a text."""

    word: ListedWord
    form: int
    """Index of the word's form."""
    case: str
    """As listed, upper case, or lower case."""
    start: int
    end: int


class Finder:
    """Finds the words of one list, as whole words.

    They are found as listed and in upper case; in a text without capital letters also in lower case, except those
    that mean something else then (`capital_only`).
    """

    def __init__(self, words: WordList) -> None:
        self._cased: dict[str, tuple[ListedWord, int, str]] = {}
        self._lower: dict[str, tuple[ListedWord, int, str]] = {}
        for word in words.words:
            for form, spellings in enumerate(word.forms):
                for spelling in spellings:
                    for written in (spelling, spelling[0].upper() + spelling[1:]):  # "The U.S." begins a text
                        self._cased[written] = word, form, AS_LISTED
                    self._cased.setdefault(spelling.upper(), (word, form, UPPER))
                    if spelling not in words.capital_only:
                        self._lower.setdefault(spelling.lower(), (word, form, LOWER))
        self._patterns = _pattern(self._cased), _pattern(self._lower)

    def find(self, text: str) -> list[Match]:
        """Return the listed words of a text in their order; of overlapping ones the longest."""
        small = text == text.lower()
        known = self._lower if small else self._cased
        return [
            Match(*known[match.group()], match.start(), match.end())
            for match in self._patterns[small].finditer(text)
        ]


def replace_matches(text: str, matches: Sequence[Match], word: ListedWord) -> str:
    """Return the text with every match replaced by another word, in the same form and case."""
    pieces, reached = [], 0
    for match in matches:
        pieces += [text[reached : match.start], in_case(word.forms[match.form][0], match.case)]
        reached = match.end
    return "".join([*pieces, text[reached:]])


def in_case(spelling: str, case: str) -> str:
    """Return a spelling in one of the three cases."""
    return {AS_LISTED: spelling, UPPER: spelling.upper(), LOWER: spelling.lower()}[case]


def _pattern(known: dict[str, tuple[ListedWord, int, str]]) -> re.Pattern[str]:
    longest_first = sorted(known, key=lambda spelling: (-len(spelling), spelling))
    # A list may have no word to find in lower case; (?!) matches nothing.
    choices = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)")

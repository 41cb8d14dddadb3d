"""Listed words in texts: where they stand, in which case, and the text with another word in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from submillion.assess.audit.wordlists import Entry, WordList

AS_LISTED, UPPER, LOWER = "as listed", "upper", "lower"


@dataclass(frozen=True)
class Match:
    """One listed word in a text."""

    entry: Entry
    form: int
    """Which of the entry's forms."""
    case: str
    """As listed, all in capitals, or all in small letters."""
    start: int
    end: int


class Finder:
    """Finds the words of one list, as whole words.

    They are found as the list writes them and all in capitals; in a text without any capital letter also in
    small letters, except those that mean something else then.
    """

    def __init__(self, words: WordList) -> None:
        self._cased: dict[str, tuple[Entry, int, str]] = {}
        self._lower: dict[str, tuple[Entry, int, str]] = {}
        for entry in words.entries:
            for form, spellings in enumerate(entry.forms):
                for spelling in spellings:
                    for written in (spelling, spelling[0].upper() + spelling[1:]):  # "The U.S." begins a text
                        self._cased[written] = entry, form, AS_LISTED
                    self._cased.setdefault(spelling.upper(), (entry, form, UPPER))
                    if spelling not in words.capital_only:
                        self._lower.setdefault(spelling.lower(), (entry, form, LOWER))
        self._patterns = _pattern(self._cased), _pattern(self._lower)

    def find(self, text: str) -> list[Match]:
        """Return the listed words of a text in its order; of overlapping ones the longest."""
        small = text == text.lower()
        known = self._lower if small else self._cased
        return [
            Match(*known[match.group()], match.start(), match.end())
            for match in self._patterns[small].finditer(text)
        ]


def exchanged(text: str, matches: Sequence[Match], entry: Entry) -> str:
    """Return the text with another entry in the place of every match, form by form, in the case it had."""
    pieces, reached = [], 0
    for match in matches:
        pieces += [text[reached : match.start], in_case(entry.forms[match.form][0], match.case)]
        reached = match.end
    return "".join([*pieces, text[reached:]])


def in_case(spelling: str, case: str) -> str:
    """Return a spelling in one of the three cases."""
    return {AS_LISTED: spelling, UPPER: spelling.upper(), LOWER: spelling.lower()}[case]


def _pattern(known: dict[str, tuple[Entry, int, str]]) -> re.Pattern[str]:
    longest_first = sorted(known, key=lambda spelling: (-len(spelling), spelling))
    # A list may have no word at all to be found in small letters; (?!) matches nothing.
    choices = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)")

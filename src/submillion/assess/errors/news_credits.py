"""Which wire or publisher a news text credits: found by how credits are written, not by a list of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

LEAST_TEXTS = 5  # a name in the place of a credit is one when so many texts have it there
LEAST_SHARE = 1 / 2000  # or this share of them, where that is more

_DASH = "(?:--?|[\\u2013\\u2014])"  # hyphens, en dash, em dash
# `(Reuters) Reuters - `, `LONDON (Reuters) - `, `(CNN) -- `: a dash after the brackets, or after the name again.
_BEFORE_DASH = re.compile(
    rf"\(\s*(?P<name>[^()\n:;]{{2,40}}?)\s*\)\s*(?:(?P=name)\s*)?{_DASH}\s", re.IGNORECASE
)
_AT_END = re.compile(r"\(\s*(?P<name>[^()\n:;]{2,40}?)\s*\)\W*\Z")
# `AP - `, `washingtonpost.com - ` at the beginning of the text, of a line or of a sentence.
_NAME_WORD = r"\w(?:[\w.&/'\u2019-]*\w)?"
_OPENING = re.compile(
    rf"(?:\A|[\n.!?\"'\u201d\u2019)\]]\s*)(?P<name>{_NAME_WORD}(?: {_NAME_WORD}){{0,3}})\s+{_DASH}\s"
)
_ANYWHERE = re.compile(r"\(\s*(?P<name>[^()\n:;]{2,40}?)\s*\)")
_DOMAIN = re.compile(r"[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|info|news|tv|edu|gov|[a-z]{2})", re.IGNORECASE)


class Credits:
    """The sources that the texts of a collection credit."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Learn the sources from texts, usually those trained on.

        A name is a source when at least 5 of the texts (1 in 2,000, where that is more) have it in brackets
        before a dash or at their end, or when it is a site's address that opens so many.
        """
        least = max(LEAST_TEXTS, LEAST_SHARE * len(texts))
        spelled: Counter[str] = Counter()
        for text in texts:
            spelled.update(set(_candidates(text)))
        counts: Counter[str] = Counter()
        for name, count in spelled.items():
            counts[name.casefold()] += count
        self.names: dict[str, str] = {}
        """Each source as it is spelled most often, by its name in small letters."""
        for name, _ in sorted(spelled.items(), key=lambda item: (-item[1], item[0])):
            if counts[name.casefold()] >= least:
                self.names.setdefault(name.casefold(), name)

    def of(self, text: str) -> str | None:
        """Return the source that a text credits first, None where it credits none of the known ones.

        A known source is also one where a text or a sentence opens with its name and a dash, and in brackets
        anywhere else.
        """
        for pattern in (_BEFORE_DASH, _AT_END, _OPENING, _ANYWHERE):
            for match in pattern.finditer(text):
                name = self.names.get(_clean(match["name"]).casefold())
                if name is not None:
                    return name
        return None


def _candidates(text: str) -> Iterator[str]:
    for pattern in (_BEFORE_DASH, _AT_END):
        for match in pattern.finditer(text):
            name = _clean(match["name"])
            if name[:1].isalpha():
                yield name
    for match in _OPENING.finditer(text):
        if _DOMAIN.fullmatch(match["name"]):
            yield match["name"]


def _clean(name: str) -> str:
    return " ".join(name.split())

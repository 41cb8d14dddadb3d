"""Names as the figures can draw them: short, printable, and numbered where the font lacks a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from submillion import notices
from submillion.wording import plural, printable, shorten

FONT = "DejaVu Sans"  # shipped with matplotlib, so that figures have the same bytes on every machine
LONGEST = 28
RIGHT_TO_LEFT = ("R", "AL", "AN")  # matplotlib draws such letters, but in the wrong order and not joined


def drawn(names: Sequence[str], noun: str = "class", longest: int = LONGEST) -> list[str]:
    """Return names as figures draw them; distinct names stay distinct.

    A name that the font of the figures cannot draw becomes its place, such as `class 3`: boxes in place of its
    characters would look like those of every other name. The result is the same for names that are drawn already.

    Args:
        names: in the order that numbers them, from 1.
        noun: what they are names of.
        longest: characters of a name; a longer one is cut in the middle.
    """
    texts = [printable(name) for name in names]
    return shorten(
        [text if _has_glyphs(text) else f"{noun} {place}" for place, text in enumerate(texts, 1)], longest
    )


def numbered(names: Sequence[str], noun: str = "class") -> list[tuple[str, str]]:
    """Return the names that `drawn` numbers, each after its number, such as (`class 3`, name)."""
    pairs = [(f"{noun} {place}", printable(name)) for place, name in enumerate(names, 1)]
    return [(number, name) for number, name in pairs if not _has_glyphs(name)]


def notice_numbered(labels: Sequence[str]) -> None:
    """Emit a notice if figures show numbers in place of class names."""
    if key := numbered(labels):
        examples = ", ".join(f"{number} is {printable(name, LONGEST)}" for number, name in key[:3])
        notices.emit(
            "numbered_classes",
            f"the font of the figures cannot draw {plural(len(key), 'class name')}; figures show numbers instead "
            f"({examples}{', ...' if len(key) > 3 else ''}), which the page explains.",
            classes=len(key),
        )


def _has_glyphs(text: str) -> bool:
    """Return whether the font can draw every character of a text, from left to right."""
    return bool(text.strip()) and all(
        ord(character) in _glyphs() and unicodedata.bidirectional(character) not in RIGHT_TO_LEFT
        for character in text
    )


@cache
def _glyphs() -> frozenset[int]:
    """Return the code points that both weights of the font have."""
    files = [
        findfont(FontProperties(family=[FONT], weight=weight), fallback_to_default=False)
        for weight in ("normal", "bold")
    ]
    regular, bold = (get_font(file).get_charmap().keys() for file in files)
    return frozenset(regular) & frozenset(bold)

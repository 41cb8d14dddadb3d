"""Short texts made of the names of the labels, from which a classifier can learn what a class is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

FRAMES = ("{}", "This text is about {}.", "A message about {}.")
"""Sentences that a name is put into. Several are less sensitive to the wording than one."""
_NOT_WORD = re.compile(r"[\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]{2}")


def label_texts(names: Sequence[str]) -> list[str]:
    """Return one text per sentence and label, sentence by sentence; none if a name has no word.

    Args:
        names: the C labels, in the order of their classes.

    Example:
        >>> label_texts(["comp.graphics", "ForSale"])[:2]
        ['comp graphics', 'For Sale']
        >>> label_texts(["1", "2"])
        []
    """
    if not all(_WORD.search(name) for name in names):
        return []
    words = [_NOT_WORD.sub(" ", _CAMEL.sub(" ", name)).strip() for name in names]
    return [frame.format(name) for frame in FRAMES for name in words]

"""The base class of the recipe's sections, and the types of values that they share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
MAX_COUNT = 10**9
"""Upper limit of steps, texts and passes: larger numbers are typing errors, and no counter overflows below it."""


def printable(text: str) -> str:
    """Return a name or path of a file; refuses line breaks and other control characters, which no such name has."""
    if _CONTROL.search(text):
        raise ValueError(f"text without control characters|{text.encode('unicode_escape').decode('ascii')}")
    return text


def _directory_name(name: str) -> str:
    """Return a name; refuses one that cannot name a directory on every system."""
    if not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise ValueError(f"letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`|{name}")
    return name


def _path_length(source: str) -> str:
    """Return a source; refuses what is longer than a path can be."""
    if len(source.encode("utf-8")) > 4000 or any(
        len(part.encode("utf-8")) > 255 for part in source.split("/")
    ):
        raise ValueError(f"a path of at most 4,000 bytes, each name in it of at most 255|{source}")
    return source


def _percent(share: str) -> str:
    """Return a whole percentage; refuses other text."""
    if not re.fullmatch("([1-9][0-9]?|100)%", share):
        raise ValueError("1% to 100%")
    return share


Name = Annotated[str, Field(max_length=100), AfterValidator(_directory_name)]
"""The name of a recipe or study, which also names its directory."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Percent = Annotated[str, AfterValidator(_percent)]
Source = Annotated[str, Field(min_length=1), AfterValidator(printable), AfterValidator(_path_length)]
"""A catalog name, hub id, file or folder."""


class Section(BaseModel):
    """Base class of the recipe's sections: frozen, without unknown keys; the docstring of a field is its help."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

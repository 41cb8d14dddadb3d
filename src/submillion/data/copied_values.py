"""The values that a prediction copies from its input, ids and further columns, as text from which nothing is lost."""

from __future__ import annotations

import json
from typing import Any

from submillion.data.label_values import LARGEST_WHOLE


def copied_text(value: Any) -> str:
    """Return a value as text: strings unchanged, numbers, truth values, lists and objects as JSON writes them.

    A missing value is an empty string. Bytes are hexadecimal digits.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool | int | float | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return _plain(value)


def id_text(value: Any) -> str:
    """Return an id as text: as `copied_text`, but a whole float is an integer.

    A column of integers becomes one of floats in many programs if an id is missing.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        return str(int(value))
    return copied_text(value)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

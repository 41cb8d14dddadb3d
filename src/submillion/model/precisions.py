"""The number formats in which a run can answer new texts, as users name them; loads nothing heavy."""

from __future__ import annotations

from submillion.errors import BadInput, Problem, did_you_mean

AUTO, INT8 = "auto", "int8"
CHOICES = (AUTO, "float32", "bfloat16", INT8)


def check_precision(precision: str) -> None:
    """Refuse a word that is no choice.

    Raises:
        BadInput: it is none of CHOICES.
    """
    if precision not in CHOICES:
        expected = f"one of {', '.join(CHOICES)}"
        remedy = did_you_mean(precision, CHOICES)
        raise BadInput(Problem("@{precision}", expected, f"'{precision}'", remedy))

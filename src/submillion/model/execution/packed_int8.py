"""The packed execution in int8: not built yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from submillion.errors import BadInput, Problem

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier


def unsupported_int8(classifier: Classifier) -> str | None:  # noqa: ARG001
    """Return why int8 kernels cannot run this classifier here, or None if they can."""
    return "there are no int8 kernels"


def open_int8(classifier: Classifier, float_matrices: frozenset[tuple[int, str]] = frozenset()) -> Any:  # noqa: ARG001
    """Refuse."""
    raise BadInput(Problem("int8", "int8 kernels", "none"))

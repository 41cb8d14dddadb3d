"""Chooses the execution of a classifier: packed kernels, packed tokens on a GPU, compiled layers or the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.families.families import FAMILIES
from submillion.model.execution import jagged
from submillion.model.execution.compiled import Compiled
from submillion.model.execution.packed import try_packed
from submillion.model.execution.reference import Reference

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier
    from submillion.model.precision import Precision
    from submillion.model.protocol import Execution


def choose_execution(
    classifier: Classifier,
    precision: Precision,
    requested: str = "auto",
    compiled: bool = False,
    merged: bool = False,
) -> Execution:
    """Return the execution of a classifier; a notice names it and the reason.

    Args:
        classifier: on its target device.
        precision: the number format of the matrix products.
        requested: `auto`, `packed` or `reference`. `auto` takes the packed kernels if they can run the classifier.
            `packed` is the kernels on a CPU, and packed tokens through transformers on a CUDA device, where `auto`
            takes the reference execution.
        compiled: compile the layers of the reference execution with torch.compile; `auto` then means `reference`.
        merged: nothing will be trained, so the kernels may merge the adapters into the frozen weights.

    Raises:
        BadInput: `packed` is requested and cannot run here, or torch cannot compile here.
    """
    if compiled:
        if requested == "packed":
            expected = "false with train.execution=packed, which has nothing to compile"
            raise BadInput(Problem("train.compile", expected, "true"))
        return Compiled(Reference(classifier, precision, compiled=True))
    if requested == "packed" and classifier.device.type == "cuda":
        return _packed_sdpa(classifier, precision)
    return try_packed(classifier, precision, requested, merged) or Reference(classifier, precision)


def _packed_sdpa(classifier: Classifier, precision: Precision) -> Execution:
    reason = jagged.unsupported(classifier)
    if reason is not None:
        able = ", ".join(name for name, family in FAMILIES.items() if family.attention_interface)
        expected = f"an encoder that runs on packed tokens ({able})"
        raise BadInput(Problem("train.execution", expected, reason, "Leave @{train.execution} at auto."))
    execution = jagged.PackedSdpa(classifier, precision)
    notices.emit(
        "execution",
        f"execution: {execution.name} (requested); tokens end to end, attention within each text",
        execution=execution.name,
        reason="requested",
    )
    return execution

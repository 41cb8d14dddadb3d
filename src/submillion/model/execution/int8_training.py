"""Training steps whose products with frozen matrices are in int8."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from submillion.errors import BadInput, Problem
from submillion.model.execution.int8_prefix import INT8
from submillion.model.execution.kernel_support import unsupported
from submillion.model.execution.packed import Packed
from submillion.model.execution.windowed import unwindowed

if TYPE_CHECKING:
    from submillion import native
    from submillion.model.protocol import Execution
    from submillion.recipe_training import TrainRecipe


def set_step_precision(train: TrainRecipe, execution: Execution) -> None:
    """Let an execution's training steps multiply frozen matrices in int8, if the recipe asks for it.

    Forward and backward pass then round both operands of these products (`native/frozen.hpp`). Adapters, head, and
    every pass without gradients, and so every evaluation and prediction, stay in the execution's number format.

    Args:
        train: the recipe's section.
        execution: that of the training.

    Raises:
        BadInput: the recipe asks for int8, which cannot run here.
    """
    if train.frozen_precision != INT8:
        return
    packed = unwindowed(execution)
    reason = unsupported_steps(packed)
    if reason is not None:
        where = "train.frozen_precision"
        expected = "float, or int8 with an encoder, an adapter and a processor that the int8 kernels support"
        raise BadInput(Problem(where, expected, f"int8, but {reason}", f"Leave @{{{where}}} at float."))
    cast(Packed, packed).steps_in_int8 = True


def unsupported_steps(execution: Execution) -> str | None:
    """Return why an execution cannot take training steps in int8, or None if it can."""
    if not isinstance(execution, Packed):
        return unsupported(execution.classifier) or f"the execution is {execution.name}"
    if execution.has_dora:
        return "DoRA needs the frozen matrices in float"
    return unsupported_kernels(execution.library)


def unsupported_kernels(library: native.Library) -> str | None:
    """Return why the steps cannot be in int8 on a build of the kernels, or None if they can."""
    return None if library.has_int8 else f"the {library.build.name} kernels do not have it"

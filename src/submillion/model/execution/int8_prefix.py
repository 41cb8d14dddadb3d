"""The pass of the frozen lower layers in int8, whose states the prefix cache holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from submillion.errors import BadInput, Problem
from submillion.model.execution.int8_calibration import MatrixName, outliers, product_errors
from submillion.model.execution.int8_rule import RULE
from submillion.model.execution.packed_int8 import open_int8, unsupported_int8
from submillion.model.execution.windowed import Windowed
from submillion.model.process_state import thread_count

if TYPE_CHECKING:
    from submillion.data.tokens import Tokens
    from submillion.model.protocol import Execution
    from submillion.recipe_training import TrainRecipe
    from submillion.terminal.progress import ProgressOption

INT8 = "int8"
"""The value of `train.prefix_precision` and `train.frozen_precision`."""
ROWS = 32
"""Training texts that measure the matrices, on one thread: an outlier shows in the tokens of any text."""


@dataclass(frozen=True)
class Int8Prefix:
    """Runs the layers below the lowest adapter in int8; see `LowerLayers`."""

    execution: Execution
    errors: dict[MatrixName, float]
    """The relative error of the products of each matrix of these layers."""

    @property
    def float_matrices(self) -> frozenset[MatrixName]:
        """The matrices that stay in float."""
        return outliers(self.errors)

    @property
    def identity(self) -> list[Any]:
        """See `LowerLayers.identity`."""
        return [INT8, RULE, sorted(self.float_matrices)]


def lower_layers(
    train: TrainRecipe, execution: Execution, tokens: Tokens, progress: ProgressOption = False
) -> Int8Prefix | None:
    """Return what runs the frozen lower layers in place of the execution, if the recipe asks for it.

    Args:
        train: the recipe's section.
        execution: that of the training.
        tokens: the training texts.
        progress: show a bar on standard error.

    Raises:
        BadInput: the recipe asks for int8, which cannot run here, or there is no frozen lower layer.
    """
    if train.prefix_precision != INT8:
        return None
    return open_int8_prefix(execution, tokens.take(calibration_rows(len(tokens))), progress)


def calibration_rows(count: int) -> np.ndarray:
    """Return the training texts that measure the matrices, int64 [at most ROWS], evenly spaced.

    They do not depend on the seed, so that trainings with several seeds share one cache.

    Args:
        count: number of training texts.
    """
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(np.int64))


def open_int8_prefix(execution: Execution, tokens: Tokens, progress: ProgressOption = False) -> Int8Prefix:
    """Measure the matrices below the lowest adapter on some texts, and open these layers in int8.

    Args:
        execution: that of the training.
        tokens: of the texts that `calibration_rows` names.
        progress: show a bar on standard error.

    Raises:
        BadInput: int8 cannot run here, or there is no frozen lower layer.
    """
    classifier, where = execution.classifier, "@{train.prefix_precision}"
    if not classifier.prefix_depth:
        expected = "float where the lowest layer is trained, because no lower layer can be cached"
        remedy = f"Leave {where} at float, or adapt upper layers alone with @{{lora.layers}}."
        raise BadInput(Problem(where, expected, INT8, remedy))
    if (reason := unsupported_int8(classifier, classifier.prefix_depth)) is not None:
        expected = "float, or int8 with an encoder and a processor that the int8 kernels support"
        raise BadInput(Problem(where, expected, f"int8, but {reason}", f"Leave {where} at float."))
    with thread_count(1):  # the errors, and so the states, are then the same with any number of threads
        errors = product_errors(classifier, tokens.as_windows(), progress, classifier.prefix_depth)
    opened: Execution = open_int8(classifier, outliers(errors), classifier.prefix_depth)
    return Int8Prefix(Windowed(opened) if isinstance(execution, Windowed) else opened, errors)

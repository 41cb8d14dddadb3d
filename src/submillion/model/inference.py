"""Opens a run to answer new texts: in int8 where the run has proven it, or where it is asked for, else in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.int8_rule import RULE
from submillion.model.execution.packed_int8 import open_int8, unsupported_int8
from submillion.model.precision import choose_precision
from submillion.model.precisions import AUTO, INT8, check_precision
from submillion.model.trained import OpenedRun, open_run_classifier
from submillion.run_format.analysis_int8 import Int8

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier
    from submillion.model.protocol import Execution
    from submillion.recipe import Recipe
    from submillion.rundir import RunDir

PART = "int8"
"""The part of the analysis that holds the proof."""


def open_for_answers(run: RunDir, precision: str = AUTO, merged: bool = True) -> OpenedRun:
    """Open a run to answer new texts; a notice names the number format and the reason.

    What evaluates a run or checks it uses `open_run_classifier`, which never is in int8.

    Args:
        run: a finished run.
        precision: `auto`, `float32`, `bfloat16` or `int8`. `auto` takes int8 if the part `int8` of the run's analysis
            has proven it for this adapter and this processor has the kernels, else the format of the recipe. `int8`
            takes it unproven too, after a warning.
        merged: False leaves the adapters beside the frozen weights, so that runs can share them; int8 cannot do that.

    Raises:
        BadInput: an unknown word, `int8` where it cannot run, or the run cannot be opened.
    """
    check_precision(precision)
    proof = _Proof.of(run)

    def execution_of(classifier: Classifier, recipe: Recipe) -> Execution:
        if precision == INT8 or (precision == AUTO and merged and proof.holds):
            unsupported = unsupported_int8(classifier)
            if unsupported is None:
                proof.announce(asked=precision == INT8)
                return open_int8(classifier, proof.float_matrices)
            if precision == INT8:
                expected = "a classifier and a processor for the int8 kernels"
                raise BadInput(Problem("@{precision}", expected, unsupported, "Omit @{precision}."))
            why_not = f"not int8: {unsupported}"
        else:
            expects_int8 = precision == AUTO and merged and unsupported_int8(classifier) is None
            why_not = f"not int8: {proof.reason}" if expects_int8 else ""
        wanted = recipe.train.precision if precision == AUTO else precision
        chosen = choose_precision(wanted, device_type=classifier.device.type, why_not=why_not)
        return choose_execution(classifier, chosen, recipe.train.execution, merged=merged)

    return open_run_classifier(run, merged, execution_of)


@dataclass(frozen=True)
class _Proof:
    """What a run's analysis says about int8."""

    holds: bool
    reason: str
    """Why it holds, or why not."""
    float_matrices: frozenset[tuple[int, str]] = frozenset()

    @classmethod
    def of(cls, run: RunDir) -> _Proof:
        """Read the part `int8` of a run's analysis; a proof of another adapter or other arithmetic is none."""
        saved = cast("Int8 | None", run.read_analysis(PART))
        if saved is None:
            return cls(False, f"no proof of it in this run (`report` with the part {PART} tries)")
        again = f"`report` with the part {PART} tries again"
        if saved["adapter"] != run.hashes(run.adapter):
            return cls(False, f"its proof in this run is that of another adapter ({again})")
        floats = frozenset((entry["layer"], entry["matrix"]) for entry in saved["float_matrices"])
        if saved["rule"] != RULE:
            return cls(
                False, f"its proof in this run is that of another version of the kernels ({again})", floats
            )
        return cls(saved["proven"], saved["reason"], floats)

    def announce(self, asked: bool) -> None:
        """Emit the notice that int8 is used."""
        if self.holds:
            text = f"precision: int8 (proven for this run: {self.reason})"
        else:
            text = f"precision: int8 (requested, but not proven for this run: {self.reason})"
        notices.emit("precision", text, dtype=INT8, reason="requested" if asked else "proven")

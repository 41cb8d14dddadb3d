"""A decision of `auto`: the complete recipe, and the reason of each of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from submillion.data.rows import LabelledRows
from submillion.recipe import Recipe
from submillion.run_format.manifest import ChoiceEntry, DecisionEntry
from submillion.terminal.text_table import align_columns
from submillion.wording import duration

if TYPE_CHECKING:
    from submillion.data.checked_rows import CheckedRows


@dataclass(frozen=True)
class Choice:
    """One setting of a recipe, and why it has its value."""

    field: str
    """Dotted name, such as `lora.r`."""
    value: Any
    reason: str
    """Half a sentence."""

    @property
    def shown(self) -> str:
        """The value as `--set` takes it."""
        if isinstance(self.value, list):
            return ",".join(map(str, self.value))
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True, repr=False)
class Decision:
    """The result of `submillion.decide`: `submillion.train` takes it instead of a recipe."""

    recipe: Recipe
    choices: Sequence[Choice]
    facts: dict[str, Any]
    """The facts behind the choices: texts, tokens, encoder and machine."""
    time: dict[str, Any]
    """Seconds that the run takes about, by part; with `minutes` they rest on a measurement of this machine."""
    rows: LabelledRows | None = None
    """The training rows, if they were passed from memory."""
    checked: CheckedRows | None = field(default=None, repr=False, compare=False)
    """The rows as they were read, for a training that follows at once; None reads them again."""

    def to_json(self) -> DecisionEntry:
        """Return facts, times and choices, as the manifest records them."""
        choices: list[ChoiceEntry] = [
            {"field": choice.field, "value": choice.value, "reason": choice.reason} for choice in self.choices
        ]
        return {"choices": choices, "facts": self.facts, "time": self.time}

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the table (setting, value, reason), and the time that the run takes about."""
        rows = [("setting", "value", "reason")]
        rows += [(choice.field, choice.shown, choice.reason) for choice in self.choices]
        return "\n".join(
            [*align_columns(rows, right=()), f"about {duration(self.time['seconds'])}, report included"]
        )

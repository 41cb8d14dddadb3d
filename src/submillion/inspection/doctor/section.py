"""The form of the doctor's findings: facts by section, and problems with their remedies."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trouble:
    """Something that is slower or less than it could be, or broken."""

    text: str
    remedy: str
    prevents_training: bool = False


@dataclass
class Section:
    """The facts about one part of the machine."""

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    """Name to value, both for people."""
    troubles: list[Trouble] = field(default_factory=list)

    def trouble(self, text: str, remedy: str, prevents_training: bool = False) -> None:
        """Add a problem.

        Args:
            text: one sentence without its final dot.
            remedy: what the user can do, as a sentence.
            prevents_training: no training can run before it is mended.
        """
        self.troubles.append(Trouble(text, remedy, prevents_training))

"""The errors a user can meet: each says where, what was expected, what was found, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave."""

    where: str
    expected: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: expected {self.expected}, found {self.found}."
        return f"{line} {self.remedy}" if self.remedy else line


class SubmillionError(Exception):
    """Base of every error that ends a command with one message and no traceback."""

    exit_code = 1


class BadInput(SubmillionError):
    """Bad input or configuration; carries every problem found, not just the first (exit code 2)."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            self.problems: list[Problem] = []
            text = problems
        else:
            self.problems = [problems] if isinstance(problems, Problem) else list(problems)
            text = "\n".join(str(problem) for problem in self.problems)
        super().__init__(text)


class OverBudget(SubmillionError):
    """The configuration would train more parameters than the budget allows (exit code 3)."""

    exit_code = 3


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest in spelling to `word`, or None when none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" for the nearest choice, or an empty string."""
    choice = nearest(word, choices)
    return f"Did you mean '{choice}'?" if choice else ""

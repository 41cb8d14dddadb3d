"""The errors a user can cause: each names the place, what was expected and found, and a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from submillion.wording import printable

_ARGUMENT = re.compile(r"@\{([\w.]+(?:=[^{}]*)?)\}")
LONGEST_PART = 2000
"""Maximum characters of a message's part, which may quote a file's value of many megabytes."""


def as_in_python(argument: str) -> str:
    """Name an argument of a public function, or a recipe field, alone or with a value, as in Python code."""
    return f"`{argument}`"


@dataclass(frozen=True)
class Problem:
    """One problem in the user's input.

    `where`, `expected` and `remedy` may name an argument as `@{overwrite}` or a recipe field as `@{data.label}`, or a
    field with a value as `@{head.kind=linear}`. Python shows these names; the command line shows its own flags instead.
    """

    where: str
    expected: str
    found: str
    remedy: str = ""

    def render(self, name_of: Callable[[str], str] = as_in_python) -> str:
        """Return the message as one line, safe to print whatever it quotes.

        Args:
            name_of: how the caller names an argument or a recipe field, `head.kind` or `head.kind=linear`.
        """
        where, expected, remedy = (
            # Not `found`, which may quote the user's input.
            _ARGUMENT.sub(lambda match: name_of(match[1]), text)
            for text in (self.where, self.expected, self.remedy)
        )
        where, expected, found, remedy = (
            printable(text, LONGEST_PART) for text in (where, expected, self.found, remedy)
        )
        line = f"{where}: expected {expected}, found {found}."
        return f"{line} {remedy}" if remedy else line

    def __str__(self) -> str:
        return self.render()


class SubmillionError(Exception):
    """Base class of the errors that end a command with a message, without a traceback (exit code 1).

    Control characters in the message, except newlines, are escaped.
    """

    exit_code = 1

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text, keep="\n"))

    def render(self, name_of: Callable[[str], str] = as_in_python) -> str:  # noqa: ARG002  # used by BadInput
        """Return the message; `name_of` as in `Problem.render`."""
        return str(self)


class BadInput(SubmillionError):
    """Bad input or configuration; lists every problem, not just the first (exit code 2).

    Example:
        >>> str(BadInput(Problem("reviews.csv", "a label column", "text, stars", "Name it with @{data.label}.")))
        'reviews.csv: expected a label column, found text, stars. Name it with `data.label`.'
    """

    exit_code = 2

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            self.problems: list[Problem] = []
            text = problems
        else:
            self.problems = [problems] if isinstance(problems, Problem) else list(problems)
            text = "\n".join(str(problem) for problem in self.problems)
        super().__init__(text)

    def render(self, name_of: Callable[[str], str] = as_in_python) -> str:
        """Return one line per problem; `name_of` as in `Problem.render`."""
        return "\n".join(problem.render(name_of) for problem in self.problems) or str(self)


class OverBudget(SubmillionError):
    """The configuration would train more parameters than the budget allows (exit code 3)."""

    exit_code = 3


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest in spelling to `word`, or None if none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" for the nearest choice, or an empty string."""
    choice = nearest(word, choices)
    return f"Did you mean '{choice}'?" if choice else ""

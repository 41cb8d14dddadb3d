"""The choices of a push."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from submillion.errors import BadInput, Problem


@dataclass(frozen=True)
class PushOptions:
    """What a user may say about a push, besides run and repository."""

    encoder: str | None = None
    """Hub id of the encoder; None takes the one that the run was trained on."""
    exports: str | Path | None = None
    """A folder that `export` has made of this run."""
    eval_results: str | None = None
    """The task of the data set's benchmark for which `.eval_results` is written; None writes none."""
    private: bool = False
    """Make a new repository private."""
    revision: str | None = None
    """Branch to commit to; None is the main branch."""
    dry_run: bool = False
    """Send nothing."""

    def check(self) -> None:
        """Refuse what is no name, before anything is read or sent.

        Raises:
            BadInput: a value of another type, or an empty one, which would mean the default.
        """
        names = {
            "encoder": "the id of an encoder on the hub: name/repository",
            "eval_results": "the id of a task",
            "revision": "the name of a branch",
        }
        problems = [
            Problem(f"@{{{name}}}", expected, repr(value))
            for name, expected in names.items()
            if (value := getattr(self, name)) is not None
            and (not isinstance(value, str) or not value.strip())
        ]
        if self.exports is not None and not (isinstance(self.exports, str | Path) and str(self.exports)):
            problems.append(Problem("@{exports}", "a folder made by `export`", repr(self.exports)))
        if problems:
            raise BadInput(problems)

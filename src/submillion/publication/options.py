"""The choices of a push."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

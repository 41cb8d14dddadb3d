"""Results of a verification: single checks, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submillion.errors import BadInput, SubmillionError
from submillion.verification.json_diff import count_leaves, differences, shown

HOLDS, FAILS, OPEN = "holds", "DOES NOT HOLD", "not checked"


@dataclass(frozen=True)
class Check:
    """The result of checking one claim."""

    name: str
    """Name of the check: `layout`, `hashes`, `metrics` ..."""
    holds: bool | None
    """None if the claim could not be checked."""
    where: str
    """The file, and the place in it."""
    claimed: str = ""
    found: str = ""
    """The recomputed value; for a claim that holds, what it was compared with."""

    def render(self) -> str:
        """Return one line."""
        title = {True: HOLDS, False: FAILS, None: OPEN}[self.holds]
        detail = f"claimed {self.claimed}, found {self.found}" if self.claimed else self.found
        return f"{title:<{len(FAILS)}}  {self.name}: {self.where}" + (f": {detail}" if detail else "")


@dataclass(frozen=True)
class Verdict:
    """The checks of one run, or of one file of claims."""

    subject: str
    """Path of the run or of the file."""
    checks: list[Check]
    seed: int | None = None
    """Seed of the re-predicted rows; None if no rows were re-predicted."""

    @property
    def holds(self) -> bool:
        """Whether no claim failed; claims that could not be checked do not count."""
        return not self.failing

    @property
    def failing(self) -> list[Check]:
        """The claims that do not hold."""
        return [check for check in self.checks if check.holds is False]

    def to_json(self) -> dict[str, Any]:
        """Return `subject`, `holds`, `seed` and `checks` (name, holds, where, claimed, found)."""
        return {
            "subject": self.subject,
            "holds": self.holds,
            "seed": self.seed,
            "checks": [asdict(check) for check in self.checks],
        }

    def render(self) -> str:
        """Return one line per check, those that do not hold last, and a closing line."""
        order = sorted(self.checks, key=lambda check: (check.holds is False, check.holds is None))
        lines = [check.render() for check in order]
        if self.seed is not None:
            lines.append(f"seed of the re-predicted rows: {self.seed}")
        held = sum(check.holds is True for check in self.checks)
        unjudged = len(self.checks) - held - len(self.failing)
        left = f", {unjudged} not checked" if unjudged else ""
        if self.holds:
            lines.append(f"{self.subject} holds: {held} checks{left}.")
        else:
            lines.append(f"{self.subject} does not hold: {len(self.failing)} claims fail, {held} hold{left}.")
        return "\n".join(lines)


def compared(
    name: str, where: str, claimed: Any, found: Any, relative: float = 0.0, summary: str = ""
) -> list[Check]:
    """Return one failing check per leaf that differs, or a single check that holds.

    Args:
        name: of the checks.
        where: the file, or the file and the place in it.
        claimed: the file's value.
        found: the recomputed value.
        relative: tolerance between numbers, as in `differences`.
        summary: text of the check that holds; `{leaves}` in it becomes the number of leaves.
    """
    differing = [
        Check(
            name,
            False,
            f"{where}: {leaf.path}" if leaf.path else where,
            shown(leaf.claimed),
            shown(leaf.found),
        )
        for leaf in differences(claimed, found, relative)
    ]
    return differing or [Check(name, True, where, found=summary.format(leaves=f"{count_leaves(claimed):,}"))]


def failed(name: str, where: str, error: Exception) -> list[Check]:
    """Return failing checks for an error that was raised during a check."""
    if isinstance(error, BadInput) and error.problems:
        return [
            Check(name, False, problem.where, problem.expected, problem.found) for problem in error.problems
        ]
    if isinstance(error, SubmillionError | OSError):
        return [Check(name, False, where, found=" ".join(str(error).split()))]
    return [Check(name, False, where, "a readable file of a run", f"{type(error).__name__}: {error}")]


def at_most(checks: Sequence[Check], max_checks: int, name: str, where: str) -> list[Check]:
    """Return the first `max_checks` failing checks, and one that counts the others."""
    rest = len(checks) - max_checks
    if rest <= 0:
        return list(checks)
    return [*checks[:max_checks], Check(name, False, where, found=f"{rest:,} more like these")]

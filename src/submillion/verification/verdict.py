"""What a verification found: single checks, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from submillion.errors import BadInput, SubmillionError
from submillion.verification.json_diff import differences, leaves, shown

HOLDS, FAILS, OPEN = "holds", "DOES NOT HOLD", "not checked"


@dataclass(frozen=True)
class Check:
    """One claim that was looked at."""

    name: str
    """What was looked at: `layout`, `hashes`, `metrics` ..."""
    holds: bool | None
    """None: it could not be judged, and nobody claims that it can."""
    where: str
    """The file, and the place in it."""
    claimed: str = ""
    found: str = ""
    """What was found instead; for a claim that holds, what it was compared with."""

    def render(self) -> str:
        """Return one line."""
        title = {True: HOLDS, False: FAILS, None: OPEN}[self.holds]
        told = f"claimed {self.claimed}, found {self.found}" if self.claimed else self.found
        return f"{title:<{len(FAILS)}}  {self.name}: {self.where}" + (f": {told}" if told else "")


@dataclass(frozen=True)
class Verdict:
    """All that was looked at in one run, or in one file of claims."""

    subject: str
    """The run or the file."""
    checks: list[Check]
    seed: int | None = None
    """From which the rows that were predicted again were drawn; None where none were."""

    @property
    def holds(self) -> bool:
        """Whether no claim was found not to hold."""
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
            lines.append(f"rows predicted again were drawn with --seed {self.seed}")
        held = sum(check.holds is True for check in self.checks)
        unjudged = len(self.checks) - held - len(self.failing)
        left = f", {unjudged} not checked" if unjudged else ""
        if self.holds:
            lines.append(f"{self.subject} holds: {held} checks{left}.")
        else:
            lines.append(f"{self.subject} does not hold: {len(self.failing)} claims fail, {held} hold{left}.")
        return "\n".join(lines)


def compared(
    name: str, where: str, claimed: Any, found: Any, relative: float = 0.0, said: str = ""
) -> list[Check]:
    """Return one failing check per leaf that differs, or one that holds.

    Args:
        name: of the checks.
        where: the file, or the file and the place in it.
        claimed: what the file says.
        found: what came out.
        relative: tolerance between numbers, as in `differences`.
        said: what to tell where all is the same; `{leaves}` in it is the number of leaves.
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
    return differing or [Check(name, True, where, found=said.format(leaves=f"{leaves(claimed):,}"))]


def failed(name: str, where: str, error: Exception) -> list[Check]:
    """Return what an error during a check amounts to: what was claimed could not be had."""
    if isinstance(error, BadInput) and error.problems:
        return [
            Check(name, False, problem.where, problem.expected, problem.found) for problem in error.problems
        ]
    if isinstance(error, SubmillionError | OSError):
        return [Check(name, False, where, found=" ".join(str(error).split()))]
    return [Check(name, False, where, "a readable file of a run", f"{type(error).__name__}: {error}")]


def at_most(checks: Sequence[Check], most: int, name: str, where: str) -> Iterable[Check]:
    """Return the first `most` failing checks, and one that counts the others."""
    rest = len(checks) - most
    return (
        [*checks[:most], Check(name, False, where, found=f"{rest:,} more like these")] if rest > 0 else checks
    )

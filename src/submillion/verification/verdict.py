"""Results of a verification: single checks with their strength, and the verdict over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from submillion.errors import BadInput, SubmillionError
from submillion.verification.json_diff import count_leaves, differences, shown
from submillion.wording import printable

Means = Literal["recomputed", "predicted again", "retrained", "only stated"]
"""What a check rests on, strongest last but for `only stated`, which rests on the run's own word."""
RECOMPUTED: Means = "recomputed"
PREDICTED: Means = "predicted again"
RETRAINED: Means = "retrained"
STATED: Means = "only stated"
FAILED, NOT_CHECKED = "failed", "not checked"
STRENGTHS = (RECOMPUTED, PREDICTED, RETRAINED, STATED, NOT_CHECKED, FAILED)
"""Every strength of a check, in the order in which a verdict lists and counts them."""
DOES_NOT_HOLD = "DOES NOT HOLD"


@dataclass(frozen=True)
class Check:
    """The result of checking one claim."""

    name: str
    """Name of the check: `layout`, `hashes`, `metrics` ..."""
    holds: bool | None
    """None if the claim was not checked, or if the run alone states it."""
    where: str
    """The file, and the place in it."""
    claimed: str = ""
    found: str = ""
    """The recomputed value; for a claim that holds, what it was compared with."""
    means: Means = RECOMPUTED
    """What the check rests on."""

    @property
    def strength(self) -> str:
        """One of STRENGTHS."""
        if self.holds is None:
            return STATED if self.means == STATED else NOT_CHECKED
        return self.means if self.holds else FAILED

    def render(self) -> str:
        """Return one line."""
        title = DOES_NOT_HOLD if self.holds is False else self.strength
        detail = f"claimed {self.claimed}, found {self.found}" if self.claimed else self.found
        width = max(map(len, (*STRENGTHS, DOES_NOT_HOLD)))
        return printable(f"{title:<{width}}  {self.name}: {self.where}" + (f": {detail}" if detail else ""))

    def to_json(self) -> dict[str, Any]:
        """Return name, holds, strength, where, claimed and found."""
        return {
            "name": self.name,
            "holds": self.holds,
            "strength": self.strength,
            "where": self.where,
            "claimed": self.claimed,
            "found": self.found,
        }


@dataclass(frozen=True, repr=False)
class Verdict:
    """The checks of one run, or of one file of claims."""

    subject: str
    """Path of the run or of the file."""
    checks: list[Check]
    seed: int | None = None
    """Seed of the re-predicted rows; None if no rows were drawn."""

    @property
    def holds(self) -> bool:
        """Whether no claim failed; claims that are only stated or were not checked do not count."""
        return not self.failing

    @property
    def failing(self) -> list[Check]:
        """The claims that do not hold."""
        return [check for check in self.checks if check.holds is False]

    @property
    def strengths(self) -> dict[str, int]:
        """Number of checks by strength, in the order of STRENGTHS."""
        counted = Counter(check.strength for check in self.checks)
        return {strength: counted[strength] for strength in STRENGTHS}

    def to_json(self) -> dict[str, Any]:
        """Return `subject`, `holds`, `strengths` (number of checks by strength), `seed` and `checks`."""
        return {
            "subject": self.subject,
            "holds": self.holds,
            "strengths": self.strengths,
            "seed": self.seed,
            "checks": [check.to_json() for check in self.checks],
        }

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return one line per check by strength, those that do not hold last, and a line that counts them."""
        order = sorted(self.checks, key=lambda check: STRENGTHS.index(check.strength))
        lines = [check.render() for check in order]
        if self.seed is not None:
            lines.append(f"seed of the re-predicted rows: {self.seed}")
        counts = self.strengths
        failing = counts.pop(FAILED)
        counted = ", ".join(f"{count} {strength}" for strength, count in counts.items())
        if self.holds:
            lines.append(f"{self.subject} holds: {counted}.")
        else:
            fail = "1 claim fails" if failing == 1 else f"{failing} claims fail"
            lines.append(f"{self.subject} does not hold: {fail}; {counted}.")
        return "\n".join(lines)


def stated(name: str, where: str, found: str) -> Check:
    """Return the check of a claim that nothing but the run's own word supports."""
    return Check(name, None, where, found=found, means=STATED)


def by(means: Means, checks: Sequence[Check]) -> list[Check]:
    """Return checks with what they rest on; those that were not judged are unchanged."""
    return [check if check.holds is None else replace(check, means=means) for check in checks]


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

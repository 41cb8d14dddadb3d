"""Check of card, report page and figures: they are written again from the run's files and compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from submillion.report.write import write_report
from submillion.run_layout import RunLayout
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check
from submillion.version import __version__

MAX_LINES = 3  # differing lines of a file that are listed
AROUND = 36  # characters shown on each side of the first difference in a line
TEXT_SUFFIXES = (".md", ".html", ".svg")
FIGURE_SUFFIXES = (".png", ".svg")
IGNORED = ("checkpoint", "trackers", "figures", "report.html", "README.md")
"""Files that a report does not read."""


def pages(case: Case) -> list[Check]:
    """Write card, page and figures again from a copy of the files that they are made of, and compare every byte.

    A run whose report is still to be made (`report=False`, most runs of a study) says so, and claims none.
    Detects: any changed number, word or pixel, missing figures, and figures that do not belong to the run.
    Cannot detect: wrong facts in the files that they are made of; the other checks do, except for facts that were
    measured once (seconds, memory, machine, versions).
    """
    run = case.run
    drawn = _figures(run)
    if case.manifest.get("test_held_back") and not (drawn or run.card.is_file() or run.report.is_file()):
        return [Check("pages", None, "card, page and figures", found="no report was made")]
    copy = case.scratch / "pages" / (run.path.resolve().name or "run")
    shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns(*IGNORED))
    write_report(copy)
    written = {run.card.name, run.report.name} & {file.name for file in copy.iterdir()}
    names = sorted(written) + sorted(drawn | _figures(RunLayout(copy)))
    checks = [check for name in names for check in _compare(run.path / name, copy / name, name)]
    equal = sum(check.holds is True for check in checks)
    differing = [check for check in checks if not check.holds]
    if not differing:
        return [Check("pages", True, "card, page and figures", found=f"{equal} files, equal byte for byte")]
    claimed, here = case.manifest.get("submillion"), __version__
    if claimed != here:
        text = f"{here}; another version may write another page. Write it again with `report`."
        differing.append(Check("pages", None, "manifest.json: submillion", f"{claimed}", text))
    return differing


def _figures(run: RunLayout) -> set[str]:
    """Return the figures of a run by their path in it, not what a desktop keeps beside them."""
    return {
        run.in_run(file)
        for file in run.figures.glob("*")
        if file.suffix in FIGURE_SUFFIXES and not file.name.startswith(".")
    }


def _compare(claimed: Path, written: Path, name: str) -> list[Check]:
    if not claimed.is_file():
        return [Check("pages", False, name, "a file of every report on this run", "no such file")]
    if not written.is_file():
        return [Check("pages", False, name, "a figure of this run", "a figure that its report does not have")]
    before, now = claimed.read_bytes(), written.read_bytes()
    if before == now:
        return [Check("pages", True, name)]
    if claimed.suffix not in TEXT_SUFFIXES:
        return [
            Check(
                "pages", False, name, f"{len(before):,} bytes", f"{len(now):,} other bytes when drawn again"
            )
        ]
    lines = (text.decode(errors="replace").splitlines() for text in (before, now))
    return list(_lines(name, *lines)) or [Check("pages", False, name, "the same line endings", "others")]


def _lines(name: str, before: list[str], now: list[str]) -> Iterator[Check]:
    """Yield the first lines that differ, cut to the surroundings of the first difference."""
    listed = 0
    for number, (one, other) in enumerate(zip_longest(before, now, fillvalue=""), start=1):
        if one != other and listed < MAX_LINES:
            listed += 1
            yield Check("pages", False, f"{name}: line {number}", *_around(one, other))


def _around(one: str, other: str) -> tuple[str, str]:
    same = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    start = max(0, same - AROUND)

    def cut(text: str) -> str:
        piece = text[start : same + AROUND]
        return f"'{'…' if start else ''}{piece}{'…' if same + AROUND < len(text) else ''}'"

    return cut(one), cut(other)

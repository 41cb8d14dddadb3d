"""Whether card, page and figures are those that the run's files give: they are written again and compared."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from submillion import __version__, report
from submillion.verification.run.case import Case
from submillion.verification.verdict import Check

MOST_LINES = 3  # differing lines of one file that are told
AROUND = 36  # characters shown on each side of the first difference in a line
TEXTS = (".md", ".html", ".svg")
UNREAD = ("checkpoint", "trackers", "figures", "report.html", "README.md")  # what no report is written from


def pages(case: Case) -> list[Check]:
    """Write card, page and figures again, from a copy of the files they rest on, and compare them whole.

    Finds: any changed number, word or pixel, and figures that are gone or that no run draws. Cannot find:
    wrong facts in the files they are written from, which are for the other checks; of these, what was
    measured once (seconds, memory, machine, versions) stands as the manifest has it.
    """
    run = case.run
    with tempfile.TemporaryDirectory(prefix="submillion-verify-") as scratch:
        copy = Path(scratch) / (run.path.resolve().name or "run")
        shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns(*UNREAD))
        report.write(copy)
        written = {run.card.name, run.report.name} & {file.name for file in copy.iterdir()}
        names = sorted(written) + sorted(
            {f"figures/{file.name}" for folder in (copy, run.path) for file in folder.glob("figures/*.*")}
        )
        checks = [check for name in names for check in _file(run.path / name, copy / name, name)]
    same = sum(check.holds is True for check in checks)
    differing = [check for check in checks if not check.holds]
    if not differing:
        return [
            Check(
                "pages", True, "card, page and figures", found=f"{same} files, written again, byte for byte"
            )
        ]
    claimed, here = case.manifest.get("submillion"), __version__
    if claimed != here:
        told = f"{here}; another version may write another page: `submillion report RUN` writes it anew"
        differing.append(Check("pages", None, "manifest.json: submillion", f"{claimed}", told))
    return differing


def _file(claimed: Path, found: Path, name: str) -> list[Check]:
    if not claimed.is_file():
        return [Check("pages", False, name, "a file that the run's facts give", "no such file")]
    if not found.is_file():
        return [
            Check("pages", False, name, "a figure of this run", "none of this name is drawn from its facts")
        ]
    before, now = claimed.read_bytes(), found.read_bytes()
    if before == now:
        return [Check("pages", True, name)]
    if claimed.suffix not in TEXTS:
        return [
            Check("pages", False, name, f"{len(before):,} bytes", f"{len(now):,} bytes, others, drawn again")
        ]
    lines = (text.decode(errors="replace").splitlines() for text in (before, now))
    return list(_lines(name, *lines)) or [Check("pages", False, name, "the same line ends", "others")]


def _lines(name: str, before: list[str], now: list[str]) -> Iterator[Check]:
    """Yield the first lines that differ, cut to what lies around the first difference."""
    told = 0
    for number, (one, other) in enumerate(zip_longest(before, now, fillvalue=""), start=1):
        if one != other and told < MOST_LINES:
            told += 1
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

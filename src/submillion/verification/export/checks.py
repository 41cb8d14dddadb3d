"""The checks of an export that need its folder alone: hashes, labels, limits, card and picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

from submillion.cache import sha256_of
from submillion.exporting.export import lost_too_much
from submillion.exporting.folder import REPORT, read_record, recorded_hashes
from submillion.files.desktop import DESKTOP_FILES
from submillion.report.export_card import write_export_report
from submillion.run_format.export import EXPORT, ExportRecord
from submillion.rundir import RunDir
from submillion.sources import store
from submillion.verification.export.answers import check_answers
from submillion.verification.export.facts import check_files, check_page, has_page
from submillion.verification.run.checks import TAMPERING_ERRORS
from submillion.verification.verdict import Check, Verdict, failed, stated
from submillion.version import __version__


def is_export(path: str | Path) -> bool:
    """Return whether a folder is an export."""
    return (Path(path) / EXPORT).is_file()


def verify_export(path: str | Path, against: str | Path | None = None, progress: bool = False) -> Verdict:
    """Check everything that an export claims; nothing in it is changed.

    Args:
        path: the folder of the export.
        against: the run that it was made from. Its rows are classified again by every file, by the runtime that reads
            it. Without it, the figures of agreement and accuracy are only stated.
        progress: show bars on standard error.

    Raises:
        BadInput: export.json cannot be read, or `against` is no run.
    """
    folder = Path(path)
    record = read_record(folder)
    checks: list[Check] = []
    for name, compare in (("hashes", _hashes), ("labels", check_files), ("limit", _limit), ("pages", _pages)):
        try:
            checks += compare(folder, record)
        except TAMPERING_ERRORS as error:
            checks += failed(name, EXPORT, error)
    if against is None:
        names = ", ".join(record["files"]) or "no file"
        checks.append(
            stated("answers", EXPORT, f"agreement with the run of {names}; name the run to check it")
        )
    else:
        run = RunDir.open(against)
        with store.hashed_in_full():
            try:
                checks += check_answers(folder, record, run, progress)
            except TAMPERING_ERRORS as error:
                checks += failed("answers", EXPORT, error)
    checks.append(
        stated(
            "statements", EXPORT, "load times, texts/s, processor, max_loss, and the figures of removed files"
        )
    )
    return Verdict(str(path), checks)


def _hashes(folder: Path, record: ExportRecord) -> list[Check]:
    """Compare the SHA-256 and size of every file, and name files that export.json does not.

    Cannot detect: a file changed together with its hash; its answers, compared with the run, do.
    """
    recorded = recorded_hashes(record)
    checks = []
    for name, entry in record["files"].items():
        size = sum(
            (folder / part).stat().st_size for part in (name, *entry["parts"]) if (folder / part).is_file()
        )
        if size != entry["size_bytes"]:
            checks.append(
                Check("hashes", False, f"{name}: size", f"{entry['size_bytes']:,}", f"{size:,} bytes")
            )
    present = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in DESKTOP_FILES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }
    for name, sha256 in recorded.items():
        if name not in present:
            checks.append(Check("hashes", False, name, "a file of this export", "no such file"))
        elif (found := sha256_of(folder / name)) != sha256:
            checks.append(Check("hashes", False, name, sha256, found))
    checks += [
        Check("hashes", False, name, "no such file", "a file that export.json does not name")
        for name in sorted(present - recorded.keys() - {EXPORT, *REPORT})
    ]
    return checks or [Check("hashes", True, EXPORT, found=f"{len(recorded)} files")]


def _limit(folder: Path, record: ExportRecord) -> list[Check]:
    """Check that the files which lost more than the accepted accuracy are those that were removed."""
    limit = record["max_loss"]
    wrong = [name for name, entry in record["files"].items() if lost_too_much(entry, limit)]
    wrong += [name for name, entry in record["removed"].items() if not lost_too_much(entry, limit)]
    wrong += [name for name in record["removed"] if (folder / name).exists()]
    if wrong:
        found = "another loss, or a file that should be absent"
        return [Check("limit", False, name, f"max_loss {limit:g}", found) for name in dict.fromkeys(wrong)]
    return [Check("limit", True, EXPORT, found=f"no file lost more than {limit:g} points by its own figures")]


def _pages(folder: Path, record: ExportRecord) -> list[Check]:
    """Write card and picture again from export.json, and the page for browsers, and compare every byte."""
    if record["submillion"] != __version__:
        found = f"{__version__}; another version may write another page"
        return [Check("pages", None, f"{EXPORT}: submillion", record["submillion"], found)]
    with tempfile.TemporaryDirectory() as scratch:
        write_export_report(Path(scratch), record)
        differing = [
            name
            for name in REPORT
            if not (folder / name).is_file()
            or (folder / name).read_bytes() != (Path(scratch) / name).read_bytes()
        ]
    checks = [
        Check("pages", False, name, "the same bytes when written again", "others") for name in differing
    ]
    if has_page(record):
        checks += check_page(folder)
    what = "card, picture and page" if has_page(record) else "card and picture"
    return checks or [Check("pages", True, what, found="equal byte for byte")]

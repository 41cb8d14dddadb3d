"""The checks of an export that need its run: every file classifies the run's rows again, by its own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submillion import environment
from submillion.assess.run_context import RunContext
from submillion.exporting.record import hashes_of, proven
from submillion.exporting.rows import calibration_of, counted, rows_of
from submillion.run_format.agreement import SplitAgreement
from submillion.run_format.export import EXPORT, ExportRecord, FileRecord
from submillion.rundir import RunDir
from submillion.ship.export.forms import FILES
from submillion.verification.export.facts import check_facts, check_page
from submillion.verification.verdict import PREDICTED, Check, compared

SAME_MACHINE_PROBABILITY = 1e-3
"""The last bits of a runtime depend on its number of threads."""
ELSEWHERE_PROBABILITY = 0.1
"""Other processors sum in another order; int8 rounds the ranges that result."""
ELSEWHERE_SHARE = 0.005
"""Of the rows: classes that may change with another processor or another version of the runtime."""
AGREEMENT = ("argmax_agreement", "accuracy", "accuracy_difference")
MADE_BY = ("form", "runtime", "batch_size")


def check_answers(folder: Path, record: ExportRecord, run: RunDir, progress: bool) -> list[Check]:
    """Compare an export with the run that it claims to come from.

    Detects: another run, a file whose answers are not those claimed, figures of agreement and accuracy that the file
    does not reach, statements about the run that are not true of it, and calibration on other texts than those of the
    seed.
    Cannot detect: wrong speeds and load times, and figures of files that were removed.
    """
    context = RunContext(run, progress=progress)
    checks = _same_run(context, record)
    if any(check.holds is False for check in checks):
        return checks
    named = {**record["files"], **record["removed"]}
    if record["calibration"] is not None or any(FILES[name][0].calibrated for name in named if name in FILES):
        _, calibration = calibration_of(context)
        checks += compared(
            "calibration",
            f"{EXPORT}: calibration",
            record["calibration"] or {},
            calibration,
            summary="the training texts of the seed",
        )
    rows = rows_of(context)
    checks += check_facts(folder, record, context, rows)
    checks += compared(
        "rows", f"{EXPORT}: compared", record["compared"], counted(rows), summary="the rows of the run"
    )
    for name, entry in record["files"].items():
        if name not in FILES:
            checks.append(Check("answers", False, name, "a form of this version", f"'{entry['form']}'"))
            continue
        form, file = FILES[name]
        if form.name == "web" and check_page(folder):
            found = "not run: its page is not that of this version, and a stranger's code is never run"
            checks.append(Check("answers", None, name, found=found))
            continue
        checks += _same_answers(name, entry, proven(form, file, folder, rows, progress))
    return checks


def _same_run(context: RunContext, record: ExportRecord) -> list[Check]:
    """Compare the hashes of the files that decide the run's predictions, and of the predictions."""
    found = dict(hashes_of(context))
    claimed: dict[str, Any] = {name: dict(record["run"])[name] for name in found}
    return compared("run", f"{EXPORT}: run", claimed, found, summary="{leaves} hashes of the run")


def _same_answers(name: str, claimed: FileRecord, found: FileRecord) -> list[Check]:
    """Compare the figures of a file with those of its answers here."""
    same = (claimed["processor"], claimed["runtime_version"], claimed["answered_by"]) == (
        environment.processor(),
        found["runtime_version"],
        found["answered_by"],
    )
    share = 0.0 if same else ELSEWHERE_SHARE
    reach = SAME_MACHINE_PROBABILITY if same else ELSEWHERE_PROBABILITY
    checks = [
        Check("answers", False, f"{name}: {key}", f"{dict(claimed)[key]}", f"{dict(found)[key]}")
        for key in MADE_BY
        if dict(claimed)[key] != dict(found)[key]
    ]
    pairs: dict[str, tuple[Any, Any]] = {"": (claimed, found)}
    for split in claimed["by_split"].keys() | found["by_split"].keys():
        pairs[f"{split}: "] = (claimed["by_split"].get(split), found["by_split"].get(split))
    if claimed["sample"] is not None or found["sample"] is not None:
        pairs["sample: "] = (claimed["sample"], found["sample"])
    for title, (of_record, of_file) in pairs.items():
        if of_record is None or of_file is None or of_record["rows"] != of_file["rows"]:
            return [Check("answers", False, f"{name}: {title}rows", "the rows of the run", "others")]
        for figure in AGREEMENT:
            one, other = of_record[figure], of_file[figure]
            if (one is None) != (other is None) or (one is not None and abs(one - other) > share + 1e-9):
                checks.append(Check("answers", False, f"{name}: {title}{figure}", f"{one}", f"{other}"))
        limits = [_limits(part) for part in (of_record, of_file)]
        if any(
            (one is None) != (other is None) or (one is not None and abs(one - other) > 2 * share + 1e-9)
            for one, other in zip(*limits, strict=True)
        ):
            where = f"{name}: {title}interval"
            checks.append(Check("answers", False, where, f"{limits[0]}", f"{limits[1]}"))
        one, other = (part["max_probability_difference"] for part in (of_record, of_file))
        if abs(one - other) > reach:
            where = f"{name}: {title}max_probability_difference"
            checks.append(Check("answers", False, where, f"{one:.3g}", f"{other:.3g}"))
    if checks:
        return checks
    where = "this processor and runtime" if same else "another processor or version of the runtime"
    sample = found["sample"]
    also = f", {sample['rows']:,} of them by {found['runtime']} {found['runtime_version']}" if sample else ""
    text = f"{found['rows']:,} rows by {found['answered_by']}{also}, made with {where}"
    return [Check("answers", True, name, found=text, means=PREDICTED)]


def _limits(entry: SplitAgreement) -> list[float | None]:
    """Return both limits of the interval of a difference."""
    interval = entry["interval"]
    return [None, None] if interval is None else [interval["low"], interval["high"]]

"""Exports a run: each file is written, proven against the run's predictions, and removed if it lost too much."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from submillion.assess.run_context import RunContext
from submillion.cache import sha256_of
from submillion.errors import BadInput, Problem
from submillion.exporting.place import check_place
from submillion.exporting.record import begun, proven
from submillion.exporting.rows import Rows, calibration_of, rows_of
from submillion.files.atomic import atomic_dir, write_json
from submillion.report.export_card import write_export_report
from submillion.run_format.export import EXPORT, ExportRecord, FileRecord
from submillion.rundir import RunDir
from submillion.ship.export.forms import Form, chosen_forms
from submillion.ship.export.merged import write_common
from submillion.ship.export.source import ExportSource, open_source
from submillion.terminal.console import say
from submillion.terminal.text_table import align_columns
from submillion.wording import byte_count, duration, percent, points, points_range

MAX_LOSS = 0.2
"""Points of accuracy that a file may lose."""
ROUNDING = 1e-9
"""Points below which a loss is that of the division."""


@dataclass(frozen=True, repr=False)
class Exported:
    """A finished export."""

    path: Path
    record: ExportRecord
    """The contents of export.json."""

    @property
    def removed(self) -> list[str]:
        """The files that lost more accuracy than was accepted, and were removed."""
        return list(self.record["removed"])

    def __repr__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return one line per file: its size and speed, and how far it agrees with the run."""
        rows = [
            [
                name if name in self.record["files"] else f"{name} (removed)",
                byte_count(entry["size_bytes"]),
                duration(entry["load_seconds"]),
                f"{entry['texts_per_second']:,.0f}",
                percent(entry["argmax_agreement"], 2),
                f"{entry['max_probability_difference']:.1e}",
                _difference(entry),
            ]
            for name, entry in (self.record["files"] | self.record["removed"]).items()
        ]
        columns = ["file", "size", "load", "texts/s", "same class", "largest diff.", "accuracy (points)"]
        compared = ", ".join(
            f"{part['rows']:,} {split} rows ({part['source']})"
            for split, part in self.record["compared"].items()
        )
        reference = self.record["reference"]
        lines = [
            *align_columns([columns, *rows]),
            f"Compared with the run on {compared}.",
            f"The run in submillion ({reference['execution']} execution): "
            f"{reference['texts_per_second']:,.0f} texts/s.",
        ]
        for name, entry in (self.record["files"] | self.record["removed"]).items():
            if (sample := entry["sample"]) is not None:
                own = f"{entry['runtime']} {entry['runtime_version']}"
                lines.append(
                    f"{name}: every row is answered by {entry['answered_by']}, and {sample['rows']:,} of them by "
                    f"{own}: same class {percent(sample['argmax_agreement'], 2)}, "
                    f"largest difference {sample['max_probability_difference']:.1e}."
                )
        if self.removed:
            lines.append(
                f"Removed, because they lost more than {self.record['max_loss']:g} points of accuracy: "
                f"{', '.join(self.removed)}."
            )
        return "\n".join(lines)


def export(
    path: str | Path,
    to: str | Sequence[str],
    out: str | Path,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
    progress: bool = False,
) -> Exported:
    """Export a run into one folder, and prove each file by the program that reads it.

    Each file answers every validation and test row whose predictions the run has saved. A cross-validated run's saved
    answers for its training rows are those of other models; they are predicted again by the run's own one.

    Args:
        path: a finished run.
        to: forms, see `ship.export.forms.FORMS`, or `all`.
        out: the folder to make.
        max_loss: accuracy in points that a file may lose over all rows together; one that loses more is removed.
        overwrite: replace an export that is there.
        progress: show bars on standard error.

    Returns:
        The export; it is complete even if files were removed.

    Raises:
        BadInput: an unknown form, a missing package, an output that exists, an unfinished run, or data or encoder that
            have changed.
        SubmillionError: a converter failed, or the disk refused the output.
    """
    if isinstance(max_loss, bool) or not (isinstance(max_loss, Real) and 0 <= max_loss <= 100):
        raise BadInput(Problem("@{max_loss}", "points of accuracy from 0 to 100", str(max_loss)))
    run = RunDir.open(path)
    run.check_trained()
    forms = chosen_forms(to, training_texts=not run.is_adopted)
    target = check_place(out, overwrite, run.path)
    context = RunContext(run, progress=progress)
    rows = rows_of(context)
    with tempfile.TemporaryDirectory(prefix="submillion-export-") as scratch:
        texts, calibration = calibration_of(context) if any(form.calibrated for form in forms) else ([], None)
        source = open_source(run, texts, Path(scratch))
        record = begun(context, source, rows, calibration, float(max_loss))

        def fill(folder: Path) -> None:
            _fill(folder, source, forms, rows, record, progress)
            check_place(target, overwrite, run.path)  # another program may have put something there since

        atomic_dir(target, fill)
    return Exported(target, record)


def _fill(
    folder: Path,
    source: ExportSource,
    forms: Sequence[Form],
    rows: Mapping[str, Rows],
    record: ExportRecord,
    progress: bool,
) -> None:
    """Write every file of an export into an empty folder, and complete its record."""
    write_common(source, folder)
    common = sorted(file.name for file in folder.iterdir())
    for form in forms:
        for file in form.files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if progress:
                say(f"writing {file.path}", err=True)
            file.write(source, target)
            entry = proven(form, file, folder, rows, progress)
            lost = lost_too_much(entry, record["max_loss"])
            record["removed" if lost else "files"][file.path] = entry
            if lost:
                _remove([folder / name for name in (file.path, *entry["parts"])], folder)
    record["common"] = {name: sha256_of(folder / name) for name in common}
    write_json(folder / EXPORT, record)
    write_export_report(folder, record)


def lost_too_much(entry: FileRecord, max_loss: float) -> bool:
    """Return whether a file lost more accuracy than is accepted: over all rows, or certainly in the sample.

    Of 100 rows, one more mistake is a whole point, which proves no loss: a sample counts if its whole interval is
    beyond the limit.

    Args:
        entry: the record of the file.
        max_loss: accepted loss in points.
    """
    sample = entry["sample"]
    interval = None if sample is None else sample["interval"]
    losses = [_lost_points(entry)]
    if interval is not None and interval["high"] is not None:
        losses.append(-100 * interval["high"])
    return max(losses) > max_loss + ROUNDING


def _lost_points(entry: FileRecord) -> float:
    """Return the accuracy that a file lost, in points; without labelled rows, the most that it can have lost."""
    difference = entry["accuracy_difference"]
    return 100 * (1 - entry["argmax_agreement"]) if difference is None else -100 * difference


def _remove(files: Sequence[Path], root: Path) -> None:
    """Remove files, and the folders below `root` that become empty."""
    for file in files:
        file.unlink()
        for folder in file.parents:
            if folder == root or any(folder.iterdir()):
                break
            folder.rmdir()


def _difference(entry: FileRecord) -> str:
    """Return the difference of accuracy with its interval, in points."""
    difference, interval = entry["accuracy_difference"], entry["interval"]
    if difference is None or interval is None or interval["low"] is None or interval["high"] is None:
        return "no labels"
    return f"{points(difference)} ({points_range(interval['low'], interval['high'])})"

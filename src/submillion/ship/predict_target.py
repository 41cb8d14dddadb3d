"""Where a prediction goes: a file, a stream, or a folder of parts; checked before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.files.atomic import why_not_created
from submillion.files.output_file import OutputFile, descriptor_of, followed
from submillion.ship.predict_forms import CsvRows, ParquetRows, form_of
from submillion.ship.predict_options import PredictOptions
from submillion.ship.predict_parts import check_folder
from submillion.ship.predict_rows import STDIN

DEFAULT_OUT = "predictions.csv"


def resolved_out(file: str | Path | None, out: str | Path | None) -> str | Path:
    """Return the output that is meant if none is named: a file for a file, standard output for all else."""
    if out is not None:
        return out
    return STDIN if file is None or str(file) == STDIN else DEFAULT_OUT


@dataclass(frozen=True)
class Output:
    """Where rows go: a file, a stream, or a folder of parts."""

    form: type[CsvRows] | type[ParquetRows]
    overwrite: bool
    file: OutputFile | None
    """None for a folder."""
    folder: Path
    """Of the parts: the output itself, or beside the file until it is complete."""

    @classmethod
    def at(cls, out: str | Path, options: PredictOptions, overwrite: bool, inputs: list[Path]) -> Output:
        """Return the output of a name, checked before any work.

        Raises:
            BadInput: it exists, cannot be written, has an unknown ending, or cannot be continued.
        """
        path = Path(out)
        if str(out) != STDIN and not path.suffix and not _is_stream(path):
            if os.path.isfile(path):  # noqa: PTH113 (no errors)
                raise BadInput(Problem("@{out}", "a new folder", f"'{out}', a file", "Name another one."))
            if options.spreadsheet:
                raise BadInput(Problem("@{spreadsheet}", "an output whose name ends in .csv", f"'{out}'"))
            folder = followed(path, "@{out}")
            if (reason := _why_not_written(folder)) is not None:
                found = f"'{folder}': {reason}"
                raise BadInput(Problem("@{out}", "a place that can be written", found, "Name another one."))
            check_folder(folder, options.resume, overwrite)
            return cls(ParquetRows, overwrite, None, folder)
        parts = path.with_name(f"{path.name}.parts")
        # A kill may have left the complete file and its parts; `resume` then only joins these again.
        file = OutputFile.at(out, overwrite=overwrite or (options.resume and parts.is_dir()), inputs=inputs)
        if not file.whole:
            if options.resume:
                found = f"'{out}', a stream"
                raise BadInput(Problem("@{resume}", "an output that is a file or a folder", found))
            return cls(CsvRows, overwrite, file, parts)
        form = form_of(out, options)
        check_folder(parts, options.resume, overwrite)
        return cls(form, overwrite, file, parts)


def _is_stream(path: Path) -> bool:
    if descriptor_of(path) is not None:
        return True
    return os.path.exists(path) and not path.is_dir() and not path.is_file()  # noqa: PTH110 (no errors)


def _why_not_written(folder: Path) -> str | None:
    """Return why no part can be written into a folder, which may be absent; None if nothing speaks against it."""
    if not os.path.exists(folder):  # noqa: PTH110 (no errors)
        return why_not_created(folder)
    return None if os.access(folder, os.W_OK | os.X_OK) else "it is not writable for this user"

"""The numbered parts of a long prediction and the cursor beside them, by which an interrupted one continues."""

from __future__ import annotations

import glob
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import locked, sha256_of
from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.files.atomic import atomic_file, disk_errors, is_temporary, refused, write_json
from submillion.files.desktop import DESKTOP_FILES
from submillion.ship.predict_forms import Columns, Rows
from submillion.ship.predict_options import PredictOptions
from submillion.ship.predict_rows import Chunk, RowHash
from submillion.wording import plural

PART_ROWS = 1 << 16
PART_SECONDS = 60.0  # of a slow classifier; a kill costs the work of one part
FORMAT = 1
CURSOR = "_cursor.json"  # readers of folders of parquet files ignore names that begin with _
LOCK = ".lock"
RESUME = "Continue with @{resume}, or start again with @{overwrite}."


@dataclass(frozen=True)
class Counts:
    """What the notices at the end of a prediction count."""

    rows: int = 0
    abstained: int = 0
    """Rows without a label."""
    truncated: int = 0
    """Texts longer than the limit."""
    tokens: int = 0
    """Without the special ones."""
    unknown: int = 0
    """Tokens that the tokenizer does not know."""
    texts_with_unknown: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(getattr(self, name) + getattr(other, name) for name in (field.name for field in fields(Counts)))
        )


def check_folder(folder: Path, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Return the cursor of a folder of parts, None if it has none.

    Args:
        folder: of the parts; may be absent.
        resume: what it has may be continued.
        overwrite: what it has may be deleted.

    Raises:
        BadInput: it has other files, or parts that may be neither; or the cursor is damaged.
    """
    entries = folder.iterdir() if folder.is_dir() else ()
    names = {entry.name for entry in entries if not is_temporary(entry.name)} - DESKTOP_FILES
    cursor = folder / CURSOR
    if CURSOR not in names:
        if names - {LOCK}:
            found = f"'{folder}', which has other files"
            raise BadInput(Problem("@{out}", "a new folder, or one of an earlier prediction", found))
        return None
    saved = strict_json.read(cursor, "the cursor of a prediction", RESUME)
    expected = {"format_version", "settings", "complete", "parts"}
    if not isinstance(saved, dict) or saved.keys() != expected or saved["format_version"] != FORMAT:
        raise BadInput(
            Problem(str(cursor), f"the cursor of a prediction, format {FORMAT}", "another", RESUME)
        )
    if saved["parts"] and not resume and not overwrite:
        rows = sum(part["counts"]["rows"] for part in saved["parts"])
        state = "a complete prediction" if saved["complete"] else "an unfinished prediction"
        found = f"{state} of {plural(rows, 'row')} in '{folder}'"
        raise BadInput(Problem("@{out}", "a new output", found, RESUME))
    checked: dict[str, Any] = saved
    return checked


class Parts:
    """The parts of one output. A part appears under its name when it is complete, then the cursor counts it.

    A kill between the two leaves a part that the cursor does not count; it is written again.
    """

    def __init__(self, folder: Path, form: type[Any], names: list[str], options: PredictOptions) -> None:
        """Describe parts; `opened` reads the cursor and begins.

        Args:
            folder: of the parts.
            form: their format.
            names: the columns.
            options: of the prediction.
        """
        self.folder = folder
        self._form, self._names, self._options = form, names, options
        self._settings: dict[str, Any] = {}
        self._done: list[dict[str, Any]] = []
        self.counts = Counts()
        """Of the complete parts."""
        self.is_complete = False
        """Whether the last part is complete."""
        self.hash = RowHash()
        self._writing: tuple[ExitStack, Rows] | None = None
        self._pending = Counts()

    @contextmanager
    def opened(self, settings: dict[str, Any], overwrite: bool) -> Iterator[None]:
        """Hold the folder, continue what it has if the options say so, and drop an unfinished part at the end.

        Args:
            settings: whatever decides the output, as JSON; a prediction is continued with equal ones only.
            overwrite: delete the parts of an earlier prediction that is not continued.

        Raises:
            BadInput: another process writes there, the folder has other files, or what it has cannot be continued.
        """
        self._settings = settings
        check_folder(self.folder, self._options.resume, overwrite)
        with disk_errors(self.folder), ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise refused(self.folder, error) from error
            try:
                stack.enter_context(locked(self.folder / LOCK, wait=False))
            except BlockingIOError as error:
                found = "another process that writes it"
                raise BadInput(Problem(str(self.folder), "an output of this process alone", found)) from error
            for rest in self.folder.parent.glob(f".{glob.escape(self.folder.name)}.*"):
                if is_temporary(rest.name):
                    shutil.rmtree(rest, ignore_errors=True)
            self._begin(overwrite)
            try:
                yield
            finally:
                self._drop_unfinished()
                if not self._done and not self.is_complete:
                    self.delete()

    def _begin(self, overwrite: bool) -> None:
        # Once more: another process may have ended meanwhile.
        saved = check_folder(self.folder, self._options.resume, overwrite)
        if saved is not None and saved["parts"] and self._options.resume:
            self._continue(saved)
        else:
            self._clear()

    def _continue(self, saved: dict[str, Any]) -> None:
        """Take over what the cursor counts, after a check of the settings and of every part."""
        where, before = str(self.folder / CURSOR), saved["settings"]
        names = sorted(before.keys() | self._settings)
        if differing := [name for name in names if before.get(name) != self._settings.get(name)]:
            found = f"others: {', '.join(differing)}"
            raise BadInput(Problem(where, "the run and the options that began this output", found, RESUME))
        for part in saved["parts"]:
            file = self.folder / part["file"]
            if not file.is_file() or sha256_of(file) != part["sha256"]:
                found = "another content" if file.is_file() else "no such file"
                raise BadInput(Problem(str(file), "the part that the cursor counts", found, RESUME))
        self._done, self.is_complete = list(saved["parts"]), bool(saved["complete"])
        self.counts = sum((Counts(**part["counts"]) for part in self._done), Counts())

    def check_input(self) -> None:
        """Refuse an input whose first rows are not those of the complete parts; `hash` has these rows.

        Raises:
            BadInput: they differ.
        """
        if self._done and self.hash.hexdigest() != self._done[-1]["input_sha256"]:
            expected = f"the {self.counts.rows:,} rows at the beginning that '{self.folder}' was made from"
            raise BadInput(Problem("the input", expected, "others", RESUME))

    def write(self, chunk: Chunk, columns: Columns, counts: Counts) -> None:
        """Add rows to the present part, and complete it if it has enough of them."""
        if self._writing is None:
            self._started_at = time.monotonic()
            stack = ExitStack()
            stream = stack.enter_context(stack.enter_context(atomic_file(self._next_file())).open("wb"))
            rows = self._form(stream, self._names, self._options)
            self._writing = stack, rows
        self._writing[1].write(columns)
        self.hash.update(chunk)
        self._pending += counts
        if self._pending.rows >= PART_ROWS or time.monotonic() - self._started_at >= PART_SECONDS:
            self.complete_part()

    def complete_part(self) -> None:
        """Give the present part its name, then count it."""
        if self._writing is None:
            return
        (stack, rows), file = self._writing, self._next_file()
        rows.end()
        self._writing = None
        stack.close()
        part = {"file": file.name, "counts": asdict(self._pending), "sha256": sha256_of(file)}
        self._done.append(part | {"input_sha256": self.hash.hexdigest()})
        self.counts += self._pending
        self._pending = Counts()
        self._save()

    def complete(self) -> None:
        """Complete the last part and the whole."""
        self.complete_part()
        self.is_complete = True
        self._save()

    def files(self) -> list[Path]:
        """Return the complete parts, in order."""
        return [self.folder / part["file"] for part in self._done]

    def delete(self) -> None:
        """Delete the folder. A kill leaves all of it, or a hidden rest that the next prediction deletes."""
        doomed = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}")
        self.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def announce(self) -> None:
        """Say what an interruption leaves."""
        if self._done:
            notices.emit(
                "unfinished_prediction",
                f"{self.counts.rows:,} rows are complete in {self.folder}; the same prediction with `resume` continues "
                "after them.",
                rows=self.counts.rows,
            )

    def _next_file(self) -> Path:
        return self.folder / f"part-{len(self._done):05}{self._form.suffix}"

    def _save(self) -> None:
        write_json(
            self.folder / CURSOR,
            {
                "format_version": FORMAT,
                "settings": self._settings,
                "complete": self.is_complete,
                "parts": self._done,
            },
        )

    def _clear(self) -> None:
        for file in (self.folder / CURSOR, *self.folder.glob("part-*")):
            file.unlink(missing_ok=True)
        self._save()

    def _drop_unfinished(self) -> None:
        if self._writing is None:
            return
        (stack, rows), self._writing = self._writing, None
        # The temporary file of the part is deleted when an error leaves its block.
        with suppress(_Dropped), stack:
            rows.end()
            raise _Dropped


class _Dropped(Exception):
    """Ends the writing of a part that is not complete."""

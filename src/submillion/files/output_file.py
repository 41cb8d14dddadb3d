"""A file that a user names as an output: nothing is replaced unasked; links, pipes and devices stay what they are."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from submillion.errors import BadInput, Problem, SubmillionError
from submillion.files.atomic import atomic_file, why_not_created
from submillion.terminal.console import for_terminal

STDOUT = "-"
_DESCRIPTORS = re.compile(r"/dev/(?:(?P<name>stdout|stderr)|fd/(?P<dev>\d+))|/proc/self/fd/(?P<proc>\d+)")
_NAMES = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True)
class OutputFile:
    """Where to write, checked before any work."""

    path: Path
    """The file itself, links followed."""
    descriptor: int | None = None
    """The open file of this process that is written into, such as 1 for standard output."""
    whole: bool = True
    """Whether the file appears under its name once it is complete; a pipe or a device is written into directly."""

    @classmethod
    def at(
        cls, name: str | Path, *, overwrite: bool = False, inputs: Sequence[Path] = (), where: str = "@{out}"
    ) -> OutputFile:
        """Return the output of a name.

        Args:
            name: path of a file, which may be a link, a pipe or a device; `-` for standard output.
            overwrite: whether a file with contents may be replaced.
            inputs: files that are read to make this output.
            where: the argument that names it, for messages.

        Raises:
            BadInput: a directory, an existing file without `overwrite`, an input, or a place that cannot be written.
        """
        if (number := descriptor_of(name)) is not None:
            return cls(Path(name), number, whole=False)
        path = followed(name, where)
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            _check_folder(path, where)
            return cls(path)
        except OSError as error:
            raise _unwritable(path, error.strerror or str(error), where) from error
        if stat.S_ISDIR(mode):
            remedy = f"For example {path / 'predictions.csv'}."
            raise BadInput(Problem(where, "a file to write", f"'{path}', a directory", remedy))
        if not stat.S_ISREG(mode):
            return cls._special(path, mode, where)
        if any(path.samefile(other) for other in inputs if other.exists()):
            raise BadInput(Problem(where, "another file than the input", f"'{path}'", "Name a new file."))
        if not overwrite:
            remedy = "Name a new file, or replace this one with @{overwrite}."
            raise BadInput(Problem(where, "a file that does not exist yet", f"'{path}'", remedy))
        if not os.access(path, os.W_OK):
            raise _unwritable(path, "it is read-only for this user", where)
        _check_folder(path, where)
        return cls(path)

    @classmethod
    def _special(cls, path: Path, mode: int, where: str) -> OutputFile:
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            kind = "a disk" if stat.S_ISBLK(mode) else "a socket"
            raise BadInput(Problem(where, "a file, a pipe or a device that takes text", f"'{path}', {kind}"))
        if not os.access(path, os.W_OK):
            raise _unwritable(path, "it is read-only for this user", where)
        return cls(path, whole=False)

    @contextmanager
    def open(self, binary: bool = False) -> Iterator[IO[Any]]:
        """Yield a stream in utf-8 without translation of line ends, or one of bytes.

        Raises:
            SubmillionError: the disk or the reader of a pipe refused it; a file that existed is unchanged.
        """
        how: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": ""}
        if self.whole:
            with atomic_file(self.path) as temporary:
                with temporary.open(**how) as stream:
                    yield stream
                if self.path.exists():
                    shutil.copymode(self.path, temporary)
            return
        try:
            if self.descriptor == 1 and not binary:
                stream = _standard_output()
                yield stream
                stream.flush()
                return
            target = self.path if self.descriptor is None else os.dup(self.descriptor)
            with open(target, **how) as stream:  # noqa: PTH123 (may be a descriptor)
                yield stream if binary else for_terminal(stream)
        except BrokenPipeError as error:
            if self.descriptor == 1:
                _discard_standard_output()
            raise SubmillionError(f"{self.path}: the program that read it has ended.") from error
        except OSError as error:
            raise SubmillionError(
                f"{self.path}: could not be written ({error.strerror or error})."
            ) from error


class _Utf8Stream:
    """Writes text into a stream of bytes, whatever the locale's encoding and line ends are."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.encode("utf-8"))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def _standard_output() -> IO[str]:
    """Return standard output as `open` yields a file; a terminal and a notebook have an encoding of their own."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None or sys.stdout.isatty():
        return for_terminal(sys.stdout)
    return cast("IO[str]", _Utf8Stream(buffer))


def descriptor_of(name: str | Path) -> int | None:
    """Return the number of the open file of this process that a name means, None if it means none.

    `/dev/stdout` leads to whatever standard output is, a file too; that one is not replaced but written into.
    """
    if str(name) == STDOUT:
        return 1
    match = _DESCRIPTORS.fullmatch(str(name))
    if match is None or not Path(name).exists():
        return None
    return _NAMES[match["name"]] if match["name"] else int(match["dev"] or match["proc"])


def followed(name: str | Path, where: str) -> Path:
    """Return the path that a chain of links ends at, which need not exist.

    Args:
        name: path of a file or folder.
        where: the argument that names it, for messages.

    Raises:
        BadInput: the links form a circle, no user has this name, or the name has a null character.
    """
    try:
        return Path(name).expanduser().resolve()
    # A circle of links, an unknown user, a null character.
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(Path(name), str(error), where) from error


def _check_folder(path: Path, where: str) -> None:
    """Refuse a new file whose folder cannot be made or written."""
    if (reason := why_not_created(path)) is not None:
        raise _unwritable(path, reason, where)


def _unwritable(path: Path, reason: str, where: str) -> BadInput:
    return BadInput(Problem(where, "a place that can be written", f"'{path}': {reason}", "Name another one."))


def _discard_standard_output() -> None:
    """Send what Python still writes to standard output to nowhere: at exit it would report the closed pipe again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)

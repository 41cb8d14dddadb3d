"""A small shell for the commands of the documentation: pipes, `>`, variables before a command, and own programs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

Program = Callable[[Sequence[str], bytes], bytes]
"""Takes arguments and standard input, returns standard output; an error is an exception."""


@dataclass
class Shell:
    """Runs command lines in a folder."""

    folder: Path
    programs: Mapping[str, Program]
    """By name; no other program runs."""
    variables: dict[str, str] = field(default_factory=dict)
    """Those before the last command."""

    def run(self, line: str) -> bytes:
        """Run a command line and return its standard output, if it goes to no file.

        Raises:
            ValueError: it calls a program that is not among `programs`.
        """
        words = shlex.shlex(line, posix=True, punctuation_chars="|>")
        words.whitespace_split = True
        left, output = list(words), b""
        while left:
            command = list(takewhile(lambda word: word != "|", left))
            left = left[len(command) + 1 :]
            output = self._one(command, output)
        return output

    def _one(self, command: list[str], given: bytes) -> bytes:
        target = None
        if ">" in command:
            place = command.index(">")
            target, command = self.folder / command[place + 1], command[:place]
        assigned = list(takewhile(lambda word: word.partition("=")[0].isupper() and "=" in word, command))
        self.variables = dict(word.split("=", 1) for word in assigned)
        name, *arguments = command[len(assigned) :]
        if name not in self.programs:
            raise ValueError(f"no program {name}")
        output = self.programs[name](arguments, given)
        if target is None:
            return output
        target.write_bytes(output)
        return b""

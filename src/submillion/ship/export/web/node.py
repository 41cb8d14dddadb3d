"""The program node: where it is, and a classifier of a web export that runs in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from submillion.data.tokenizer import load_tokenizer
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.ship.export.web.files import FOLDER, OURS
from submillion.wording import excerpt

SHOWN = 60
"""Characters of a text in a message."""


def node() -> str:
    """Return the path of node.

    Raises:
        BadInput: it is not installed.
    """
    found = shutil.which("node")
    if found is None:
        remedy = "Install Node.js 20 or later."
        raise BadInput(
            Problem("@{to} web", "node, which proves the folder's files", "none on the PATH", remedy)
        )
    return found


class NodeSession:
    """The modules, the WebAssembly and the graph of a web export, in node: the files that a browser runs."""

    def __init__(self, folder: Path) -> None:
        """Open the web folder of the export `folder`.

        Raises:
            SubmillionError: node cannot run the files.
        """
        root = folder / FOLDER
        self._tokenizer = load_tokenizer(root / "model")
        command = [node(), str(OURS / "prove.mjs"), str(root)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return logits; see `Session`.

        Raises:
            SubmillionError: node failed, or the browser's tokenizer reads a text in another way than the run's.
        """
        answer = self._ask(list(texts))
        wanted = self._tokenizer(list(texts), truncation=True)["input_ids"]
        pairs = zip(texts, wanted, answer["ids"], strict=True)
        if different := [text for text, ours, theirs in pairs if ours != theirs]:
            raise SubmillionError(
                f"The tokenizer of the web export reads {len(different)} of {len(texts)} texts in another way than "
                f"that of the run, such as {excerpt(repr(different[0]), SHOWN)}. Export another form: this encoder's "
                "tokenizer cannot run in a browser."
            )
        return np.array(answer["logits"], np.float32)

    def _ask(self, texts: list[str]) -> dict[str, list[list[float]]]:
        stdin, stdout = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        try:
            stdin.write(f"{json.dumps(texts)}\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            _, errors = self._process.communicate()
            # Its message is above the stack, whose last line is node's version.
            cause = re.search(r"^\w*Error\b.*", errors, re.MULTILINE)
            message = cause[0] if cause else (errors.strip().splitlines() or ["no message"])[-1]
            raise SubmillionError(
                f"node could not run the web export: {message}. Node.js 20 or later is needed, and a tokenizer that "
                "can run in a browser; with another tokenizer, export another form."
            )
        found: dict[str, list[list[float]]] = json.loads(line)
        return found

    def __del__(self) -> None:
        if process := getattr(self, "_process", None):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()

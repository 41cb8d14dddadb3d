"""A reader who copies the blocks of the documentation one after the other, on a machine of stand-ins."""

from __future__ import annotations

import argparse
import gzip
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pandas as pd
import pytest
import torch

from submillion.rundir import RunDir
from submillion.ship.serve.app import create_app
from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.run import listening
from support import ROOT
from support.command import submillion
from support.documented import as_published
from support.hub_writes import TOKEN, writable_hub
from support.pages import PYTHON, Block
from support.server import running_in_thread
from support.shell import Shell
from support.tiny import LABELS

SERVED = "127.0.0.1:8000"
CLAIMS_FAIL = 1
"""The exit code of `verify`, whose page has published claims that fail."""
OVER_BUDGET = 3
"""The exit code of a plan that does not fit, which the pages show too."""


class Parsed(Exception):
    """The arguments of a program are right; it would begin its work now."""


class Reader:
    """Somebody who copies the blocks of a page, one after the other, in a folder of stand-ins."""

    def __init__(self, folder: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
        """Prepare; use as a context manager.

        Args:
            folder: the working folder.
            home: the folder that `make_home` has filled.
            patch: of the stand-ins.
        """
        self.folder, self.home, self.patch = folder, home, patch
        ids = torch.tensor([[2, 9, 14, 3]])
        self.names: dict[str, Any] = {"batch": {"input_ids": ids, "attention_mask": torch.ones_like(ids)}}
        """The variables of the page's Python blocks."""
        self.url = ""
        """Of the server that the page has started."""
        self._stack = ExitStack()
        self.shell = Shell(
            folder,
            {
                "submillion": self._submillion,
                "python": self._python,
                "make": self._make,
                "curl": self._curl,
                "zcat": lambda arguments, _: gzip.decompress((folder / arguments[0]).read_bytes()),
                "head": lambda _, given: b"".join(given.splitlines(keepends=True)[:10]),
            },
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def copy(self, block: Block) -> None:
        """Run a block of the page; what fails is an exception."""
        if block.language == PYTHON:
            for place in _written(block.content):
                shutil.rmtree(self.folder / place, ignore_errors=True)
            code = block.content.replace(SERVED, self.url.removeprefix("http://") or SERVED)
            exec(compile("\n" * block.line + code, block.page, "exec"), self.names)
            return
        for line in block.commands:
            output = self.shell.run(line)
            self._check(line, output)
            self._fill_in(line)

    # -- programs -----------------------------------------------------------------------------------------

    def _submillion(self, arguments: Sequence[str], given: bytes) -> bytes:
        command = arguments[0]
        if command == "serve":
            self._start(arguments)
        with ExitStack() as stack:
            stack.enter_context(self._room(arguments))
            if command == "push":
                arguments = [*arguments, "--encoder", stack.enter_context(self._hub(arguments[1]))]
            if command == "plan" or "reference-readme" in arguments:  # no weights are read
                stack.enter_context(as_published())
            ended = submillion(*(self._here(word) for word in arguments), cwd=self.folder, stdin=given)
        if ended.returncode not in (0, self._refusal(arguments)):
            raise AssertionError(f"exit code {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
        return ended.stdout.encode()

    @staticmethod
    def _refusal(arguments: Sequence[str]) -> int:
        """Return the other exit code with which a command does what its page says."""
        if arguments[0] == "plan":
            return OVER_BUDGET
        return CLAIMS_FAIL if "--claims" in arguments else 0

    @contextmanager
    def _hub(self, run: str) -> Iterator[str]:
        """Have an account of a stand-in hub inside the block; give the id of the run's encoder there."""
        encoder = RunDir(self.folder / run).read_manifest()["encoder"]["name"]
        shutil.copytree(self.home / "encoders" / encoder, self.folder / "hub" / "models" / "lab" / "encoder")
        with writable_hub(self.folder / "hub") as hub, pytest.MonkeyPatch.context() as patch:
            for name, value in (
                ("ENDPOINT", hub.url),
                ("HF_HUB_OFFLINE", False),
                ("HF_HUB_DISABLE_XET", True),
            ):
                patch.setattr(huggingface_hub.constants, name, value)
            patch.setenv("HF_TOKEN", TOKEN)
            patch.setenv("NO_PROXY", "127.0.0.1")
            huggingface_hub.close_session()
            yield "lab/encoder"
            huggingface_hub.close_session()

    @contextmanager
    def _room(self, arguments: Sequence[str]) -> Iterator[None]:
        """Remove what is at the place that a command writes to; a finished run comes back if none is trained."""
        given = dict(pairwise(arguments)).get(
            "--out", f"runs/{Path(arguments[1]).stem}" if arguments[0] == "train" else ""
        )
        out, aside = self.folder / given, self.folder / "aside"
        if given not in ("", "-") and out.exists():
            shutil.move(out, aside)
        yield
        if arguments[0] == "train" and aside.exists() and not (out / "report.html").exists():
            shutil.rmtree(out)
            shutil.move(aside, out)
        if aside.exists():
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()

    def _here(self, word: str) -> str:
        """Return a word of a command with the folders of a whole machine replaced by stand-ins."""
        for folder, stand_in in (("/models/", "encoders/"), ("/data/", "data/")):
            word = word.replace(f"={folder}", f"={self.home / stand_in}/")
        return word

    def _start(self, arguments: Sequence[str]) -> None:
        """Answer at a free port in place of the command's own one, in a thread that ends with the page."""

        def in_thread(runs: Sequence[Path], options: ServeOptions, *_: object) -> None:
            app = create_app(open_runs(runs), options)
            self.url = self._stack.enter_context(running_in_thread(app, replace(options, port=0)))

        self.patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # its client would ask nobody
        self.patch.setattr("submillion.ship.serve.run._serve_here", in_thread)
        self.patch.setattr(
            "submillion.ship.serve.run.listening", lambda options: listening(replace(options, port=0))
        )

    def _python(self, arguments: Sequence[str], _: bytes) -> bytes:
        """Let a benchmark read its arguments, and stop it before its work."""
        module = arguments[1] if arguments[0] == "-m" else arguments[0].removesuffix(".py").replace("/", ".")
        words = arguments[2 if arguments[0] == "-m" else 1 :]
        if not module.startswith(("benchmarks.", "tests.fuzz")):
            raise ValueError(f"no module {module}")
        parse = argparse.ArgumentParser.parse_args

        def parse_only(parser: argparse.ArgumentParser, given: Any = None, namespace: Any = None) -> Any:
            parse(parser, given, namespace)
            raise Parsed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module, *words])
            patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
            with pytest.raises(Parsed):
                runpy.run_module(module, run_name="__main__")
        return b""

    def _make(self, arguments: Sequence[str], _: bytes) -> bytes:
        """Let make say what it would do."""
        command = ["make", "--dry-run", "--directory", str(ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def _curl(self, arguments: Sequence[str], _: bytes) -> bytes:
        """Send what curl would; its own process would take as long as the rest of the page."""
        address, flag, body = arguments
        assert flag == "-d" and address.startswith(f"http://{SERVED}") and self.url
        answer = httpx.post(address.replace(f"http://{SERVED}", self.url), content=body, timeout=30)
        answer.raise_for_status()
        return answer.content

    # -- the reader's own work --------------------------------------------------------------------------------

    def _fill_in(self, line: str) -> None:
        """Correct a label in a new file of suspects, as the page asks."""
        if "suspects.csv" not in line or "--corrections" in line:
            return
        file = self.folder / "suspects.csv"
        suspects = pd.read_csv(file, dtype=str, keep_default_na=False)
        if suspects.empty:
            raise AssertionError("no suspects")
        suspects.loc[0, "corrected_label"] = next(name for name in LABELS if name != suspects.loc[0, "label"])
        suspects.to_csv(file, index=False)

    def _check(self, line: str, output: bytes) -> None:
        """Check that a command's output exists, and that one without a file has printed something."""
        words = line.split("#")[0].split()
        for flag in ("--out", ">"):
            if flag in words and words[words.index(flag) + 1] not in ("-",):
                out = self.folder / words[words.index(flag) + 1]
                assert out.exists() or list(out.parent.glob(f"{out.name}.*")), f"{line}: no {out}"


def _written(code: str) -> list[str]:
    """Return the folders that a Python block writes: the blocks of a page are alternatives to its commands."""
    named = re.findall(r"\.(?:train|export)\(.*\"([\w/]+)\"", code)
    return [*named, *(f"runs/{stem}" for stem in re.findall(r"\.train\(\"(\w+)\.csv\"\)", code))]

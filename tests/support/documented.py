"""A reader who copies the commands of the documentation, on a machine with small stand-ins for encoders and files."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pandas as pd
import pytest
import torch
import transformers
import typer
import yaml

import submillion as package
from submillion.assess.data_quality import confident_learning
from submillion.assess.run_context import RunContext
from submillion.budget.plan_result import plan
from submillion.budget.pooling import with_pooling
from submillion.cli import app
from submillion.inspection.doctor.network import examine_network
from submillion.outcome import Outcome
from submillion.preparation import Prepared
from submillion.recipe import Recipe
from submillion.report import figures
from submillion.rundir import RunDir
from submillion.scoring import _after_training as after_training
from submillion.ship.export.forms import chosen_forms
from submillion.ship.serve.app import create_app
from submillion.ship.serve.models import open_runs
from submillion.ship.serve.options import ServeOptions
from submillion.ship.serve.run import listening
from submillion.sources import fetch
from submillion.sources.catalog import DATASETS, ENCODERS
from submillion.sources.folder import POOLING
from submillion.verification.claims.claims_file import PUBLISHED
from support import ROOT
from support.command import submillion
from support.foreign import foreign_adapter
from support.pages import PYTHON, Block
from support.server import running_in_thread
from support.shell import Shell
from support.tiny import LABELS, tiny_encoder, tiny_texts

ENCODER_KINDS = {"minilm": "bert", "mpnet-base": "mpnet", "roberta-base": "roberta"}
SERVED = "http://127.0.0.1:8000"
OVER_BUDGET = 3
"""The exit code of a plan that does not fit, which the pages show too."""
CLAIMS_FAIL = 1
"""The exit code of `verify`, whose page has published claims that fail."""
STEPS = 8
PRIORITIES = ["low", "normal", "urgent"]


LOCATE = fetch._locate
"""That of the package, also while a stand-in is in its place."""


class Parsed(Exception):
    """The arguments of a program are right; it would begin its work now."""


def write_rows(
    file: Path, rows: int, seed: int, columns: Callable[[int, str, str], dict[str, object]]
) -> None:
    """Write a csv with the columns that a function makes of a row's number, text and class name."""
    texts, labels = tiny_texts(rows, seed)
    written = [
        columns(row, text, LABELS[label]) for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(written[0]))
        writer.writeheader()
        writer.writerows(written)


def make_home(home: Path) -> None:
    """Fill a folder with the encoders, files and adapters that the commands name."""
    for name, family in ENCODER_KINDS.items():
        folder = tiny_encoder(home / "encoders" / name, family, layers=6, hidden=64, longest=256)
        if ENCODERS[name].mean:
            (folder / POOLING).parent.mkdir()
            (folder / POOLING).write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    (home / "models").mkdir()
    (home / "models" / "my-bert").symlink_to(home / "encoders" / "minilm")

    def labelled(row: int, text: str, label: str) -> dict[str, object]:
        return {"text": text, "label": label}

    def mislabelled(row: int, text: str, label: str) -> dict[str, object]:
        return {"text": text, "label": LABELS[row // 10 % 4] if row % 10 == 0 else label}

    write_rows(home / "reviews.csv", 60, 3, mislabelled)
    for name in ("train.csv", "my/train.csv", "data/train.csv"):
        write_rows(home / name, 60, len(name), labelled)
    for name in ("labelled.csv", "test_public.csv", "held-out.csv", "my/test.csv"):
        write_rows(home / name, 20, 7 + len(name), labelled)
    write_rows(home / "test.csv", 20, 11, lambda row, text, label: {"text": text, "label": LABELS[row % 3]})
    for name in ("train", "test"):
        write_rows(home / "news" / f"{name}.csv", 60, 30 + len(name), labelled)
    write_rows(
        home / "tickets.csv",
        60,
        1,
        lambda row, text, label: {
            "subject": f"about {label}",
            "body": text,
            "queue": label,
            "text": text,
            "label": PRIORITIES[row % 3],
        },
    )
    for name in ("new.csv", "unlabelled.csv"):
        write_rows(home / name, 30, 4, lambda row, text, label: {"text": text, "label": label})
    texts = tiny_texts(30, 4)[0]
    lines = "".join(json.dumps({"text": text, "customer": row}) + "\n" for row, text in enumerate(texts))
    for name in ("new.jsonl", "unlabelled.jsonl"):
        (home / name).write_text(lines, encoding="utf-8")
    pd.DataFrame({"text": texts}).to_parquet(home / "big.parquet")
    (home / "new.csv.gz").write_bytes(gzip.compress((home / "new.csv").read_bytes()))
    foreign_adapter(home / "my-lora", home / "encoders" / "roberta-base", classes=2)
    foreign_adapter(home / "ADAPTER", home / "encoders" / "roberta-base", classes=3)
    (home / "ENCODER").symlink_to(home / "encoders" / "roberta-base")
    recipe = {"encoder": {"source": "minilm"}, "data": {"train": "train.csv"}}
    (home / "mine.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    shutil.copy(ROOT / "docs" / "studies" / "executions.yaml", home)
    shutil.copy(PUBLISHED / "reference-readme.yaml", home / "my-claims.yaml")
    study = {"base": "mine.yaml", "axes": {"train.learning_rate": [1e-3, 1e-4]}, "seeds": [1]}
    (home / "my-study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")


@contextmanager
def as_published() -> Iterator[None]:
    """Let the names of encoders and data mean those of the catalog inside the block, among stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_locate", LOCATE)
        yield


@contextmanager
def stand_ins(home: Path, trains: bool = True) -> Iterator[pytest.MonkeyPatch]:
    """Let catalog names mean the encoders and data of `home` inside the block, and draw no figure.

    Args:
        home: filled by `make_home`.
        trains: whether a training takes its few steps; else it checks and prepares everything, writes recipe and
            manifest, and trains nothing.
    """

    def locate(source: str, catalog: Any, kind: str) -> Any:
        if kind == "encoder" and source in ENCODER_KINDS:
            return home / "encoders" / source
        if kind == "data" and source in DATASETS:
            return home / "news"
        return LOCATE(source, catalog, kind)

    def opened(original: Callable[..., Any], name: Any, **options: Any) -> Any:
        known = next((entry.name for entry in ENCODERS.values() if name in (entry.name, entry.hub)), None)
        return original(home / "encoders" / known if known in ENCODER_KINDS else name, **options)

    def planned(*arguments: Any, **options: Any) -> Any:
        with as_published():
            return plan(*arguments, **options)

    def reported(context: RunContext) -> None:
        if context.run.path.parent.name == "runs":
            after_training(context)
        else:  # one of the dozen runs that scikit-learn's searches throw away
            context.run.seal()

    def not_trained(run: RunDir, prepared: Prepared, *_: object) -> Outcome:
        return Outcome(run, {}, prepared.inputs.counted.trainable, interrupted=False)

    def shortened(recipe: Recipe) -> Recipe:
        train = recipe.train.model_copy(update={"steps": STEPS, "threads": 1})
        data = recipe.data.model_copy(update={"folds": 2})
        return with_pooling(recipe.model_copy(update={"train": train, "data": data}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_locate", locate)
        patch.setattr("submillion.pipeline.with_pooling", shortened)
        patch.setattr("submillion.scoring._after_training", reported)
        if not trains:
            patch.setattr("submillion.pipeline._train", not_trained)
        patch.setattr(figures, "drawings", lambda run: [])
        patch.setattr(confident_learning, "RESAMPLES", 5)
        # Converters take seconds, and two steps teach nothing that int8 could keep.
        patch.setattr(
            "submillion.exporting.export.chosen_forms",
            lambda to, **known: chosen_forms(to, **known) and chosen_forms("merged"),
        )
        patch.setattr(
            "submillion.inspection.doctor.examination.examine_network", lambda offline: examine_network(True)
        )
        patch.setattr(package, "plan", planned)
        for kind in (transformers.AutoModel, transformers.AutoModelForSequenceClassification):
            patch.setattr(kind, "from_pretrained", partial(opened, kind.from_pretrained))
        patch.setattr(
            "submillion.study.run._run_study", lambda *_: sys.exit(0)
        )  # its cells are read and counted
        yield patch


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
            code = block.content.replace(SERVED, self.url or SERVED)
            exec(compile("\n" * block.line + code, block.page, "exec"), self.names)
            return
        for line in block.commands:
            output = self.shell.run(line)
            self._check(line, output)
            self._fill_in(line)

    # -- programs -----------------------------------------------------------------------------------------

    def _submillion(self, arguments: Sequence[str], given: bytes) -> bytes:
        command = arguments[0]
        if command == "push":  # it needs an account of a hub: it is only parsed
            called: Any = typer.main.get_command(app)
            called.commands[command].make_context(command, list(arguments[1:]))
            return b""
        if command == "serve":
            self._start(arguments)
        with ExitStack() as stack:
            stack.enter_context(self._room(arguments))
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
        assert flag == "-d" and address.startswith(SERVED) and self.url
        answer = httpx.post(address.replace(SERVED, self.url), content=body, timeout=30)
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

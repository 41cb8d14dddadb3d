"""Small stand-ins for the encoders, data and files that the commands of the documentation name."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transformers
import yaml

import submillion as package
from submillion.assess.baselines import linear_probe, term_model
from submillion.assess.data_quality import confident_learning
from submillion.assess.run_context import RunContext
from submillion.budget.plan_result import plan
from submillion.budget.pooling import with_pooling
from submillion.inspection.doctor.network import examine_network
from submillion.outcome import Outcome
from submillion.preparation import Prepared
from submillion.recipe import Recipe
from submillion.report import figures
from submillion.rundir import RunDir
from submillion.scoring import _after_training as after_training
from submillion.ship.export.forms import chosen_forms
from submillion.sources import fetch
from submillion.sources.catalog import DATASETS, ENCODERS
from submillion.sources.folder import POOLING
from submillion.verification.claims.claims_file import PUBLISHED
from support import ROOT
from support.foreign import foreign_adapter
from support.tiny import LABELS, tiny_encoder, tiny_texts

ENCODER_KINDS = {"minilm": "bert", "mpnet-base": "mpnet", "roberta-base": "roberta"}
STEPS = 8
PRIORITIES = ["low", "normal", "urgent"]


LOCATE = fetch.locate
"""That of the package, also while a stand-in is in its place."""


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
        folder = tiny_encoder(home / "encoders" / name, family, layers=4, hidden=64, longest=256)
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
        patch.setattr(fetch, "locate", LOCATE)
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
        patch.setattr(fetch, "locate", locate)
        patch.setattr("submillion.pipeline.with_pooling", shortened)
        patch.setattr("submillion.scoring._after_training", reported)
        if not trains:
            patch.setattr("submillion.pipeline._train", not_trained)
        patch.setattr(figures, "drawings", lambda run: [])
        patch.setattr(confident_learning, "RESAMPLES", 5)
        # A choice between two strengths runs the same code as one between five.
        for model, name in (
            (linear_probe, "STRENGTHS"),
            (linear_probe, "STRENGTHS_OF_LENGTH_1"),
            (term_model, "STRENGTHS"),
        ):
            patch.setattr(model, name, getattr(model, name)[:2])
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

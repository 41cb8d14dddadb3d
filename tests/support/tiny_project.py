"""Files of a tiny project: an encoder, labelled rows, a recipe, and a study of it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import yaml

from support.tiny import tiny_encoder, tiny_texts

RATES = [1e-2, 1e-6]  # nothing is learnt at the second learning rate, so the first one wins


def write_rows(file: Path, rows: int, seed: int) -> None:
    """Write labelled rows as CSV."""
    texts, labels = tiny_texts(rows, seed)
    lines = [f"{text},class {label}" for text, label in zip(texts, labels, strict=True)]
    file.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")


def make_project(home: Path) -> Path:
    """Fill a folder with encoder/, train.csv, test.csv, tiny.yaml (no test rows), and rates.yaml, a study of it."""
    tiny_encoder(home / "encoder")
    write_rows(home / "train.csv", 160, 0)
    write_rows(home / "test.csv", 40, 1)
    recipe = {
        "encoder": {"source": str(home / "encoder")},
        "data": {"train": str(home / "train.csv"), "max_length": 32},
        "lora": {"r": 4, "alpha": 8, "targets": ["all-linear"], "layers": "top-1"},
        "train": {"epochs": 2, "batch_size": 8, "learning_rate": RATES[0], "patience": 0, "log_every": 2},
    }
    # In bfloat16, which some processors choose, runs that should be equal differ in the third digit.
    recipe["train"]["precision"] = "float32"
    (home / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    rates = {"base": "tiny.yaml", "axes": {"train.learning_rate": RATES}, "seeds": [1]}
    (home / "rates.yaml").write_text(yaml.safe_dump(rates), encoding="utf-8")
    return home


@cache
def shared_project() -> Path:
    """Return a project that all tests of this process share; not to be changed."""
    folder = tempfile.mkdtemp(prefix="tiny-project-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_project(Path(folder))

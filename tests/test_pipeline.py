"""Every station on real configurations: the AG News recipes on a roberta-base folder, and out of a hub."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoConfig, AutoModelForMaskedLM

from submillion.recipe import Recipe
from submillion.ship.predict import predict_file
from submillion.ship.predict_options import PredictOptions
from support import SRC, command
from support.hub import standin_hub

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
HEADER = "ID,Label,Confidence," + ",".join(f"p_{name}" for name in LABELS)
SENTENCES = {
    "World": "The minister signed a treaty at the border of the two countries",
    "Sports": "The coach praised his team after the last goal of the season",
    "Business": "Shares rose as the company reported a profit before the merger",
    "Sci/Tech": "The new software found the genome of a bacterium in orbit",
}


def hub_folder(root: Path, files: Path, **sizes: int) -> Path:
    """Lay out roberta-base as a hub holds it: real tokenizer, random weights, no head; `sizes` change its config."""
    folder = root / "models" / "FacebookAI" / "roberta-base"
    shutil.copytree(files, folder)
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(files, **sizes)).save_pretrained(folder)
    return folder


SMALL = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def small_hub(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub whose roberta-base is small."""
    root = tmp_path_factory.mktemp("hub")
    hub_folder(root, shared_data / "roberta-base", **SMALL)
    return root


@pytest.fixture
def encoder_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the hub's library, which is offline in this process."""
    assert constants.HF_HUB_OFFLINE
    home = tmp_path / "hf"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    return home


def ag_news(folder: Path, rows: int) -> Path:
    """Write own-made rows in the official form: no header, class index from 1, title, description."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", rows), ("test", rows // 2)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
            for row in range(count):
                label = row % 4
                writer.writerow([label + 1, f"{split} {row}", SENTENCES[LABELS[label]] + f" {row}."])
    return folder


def header_of(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize(
    ("recipe", "sizes", "trainable"),
    [
        # 3 of its 12 layers x (4 x (768 + 768) + 2 x (768 + 3,072)) x r 6; head 768 x 4 + 4.
        ("agnews", {"num_hidden_layers": 3}, 248_832 + 3_076),
        # 2 layers x (128 + 128) x r 16; head 128 x 128 + 128 + 128 x 4 + 4.
        ("agnews-reference", SMALL, 8_192 + 17_028),
    ],
)
def test_the_agnews_recipes_run_on_a_roberta_folder(
    shared_data: Path, tmp_path: Path, recipe: str, sizes: dict[str, int], trainable: int
) -> None:
    roberta = hub_folder(tmp_path / "hub", shared_data / "roberta-base", **sizes)
    # Short texts and few: a row costs the wide encoder several passes.
    data = ag_news(tmp_path / "data", rows=16)
    sets = [f"encoder.source={roberta}", f"data.train={data}", "train.epochs=1", "data.max_length=12"]
    options = [part for item in sets for part in ("--set", item)]
    done = command.submillion("train", recipe, *options, "--out", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["trainable"] == trainable
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["labels"] == LABELS
    rows = {name: split["rows"] for name, split in manifest["data"]["splits"].items()}
    assert rows == {"train": 12, "validation": 4, "test": 8}
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert f"{trainable:,}" in card
    predict_file(
        tmp_path / "run",
        data / "test.csv",
        tmp_path / "out.csv",
        options=PredictOptions(with_confidence=True),
    )
    assert header_of(tmp_path / "out.csv") == HEADER


def test_the_recipe_runs_out_of_a_hub(
    small_hub: Path, encoder_cache: Path, own_cache: Path, tmp_path: Path
) -> None:
    """Encoder by catalog name, through huggingface_hub, from a stand-in hub; then again with the hub gone.

    The training has a process of its own, since huggingface_hub reads its environment once.
    """
    data = ag_news(tmp_path / "data", rows=24)
    sets = [f"data.train={data}", "train.epochs=1", "data.max_length=16", "lora.layers=top-1"]
    options = [part for item in sets for part in ("--set", item)]
    with standin_hub(small_hub) as url:
        done = subprocess.run(
            [sys.executable, "-c", command.WITHOUT_FIGURES, "train", "agnews", *options, "--out", "run"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(SRC),
                "HF_HOME": str(encoder_cache),
                "HF_ENDPOINT": url,
                "HF_HUB_OFFLINE": "0",
            },
        )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["encoder"]["name"] == "roberta-base"
    predicted = command.submillion(
        "predict", "run", data / "test.csv", "--out", "out.csv", "--with-confidence", cwd=tmp_path
    )
    assert predicted.returncode == 0, predicted.stderr
    assert header_of(tmp_path / "out.csv") == HEADER


@pytest.mark.usefixtures("encoder_cache")
def test_without_a_network_one_message_tells_three_ways_out(tmp_path: Path) -> None:
    done = command.submillion(
        "train", "agnews", "--set", "data.train=fancyzhx/ag_news", "--out", "run", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
    for number in ("1", "2", "3"):
        assert f"{number}. " in done.stderr or f"({number})" in done.stderr, done.stderr


def test_shipped_recipes_fit_the_budget_but_the_one_as_written() -> None:
    from submillion.budget.count import count
    from submillion.recipe import recipe_names
    from submillion.sources.fetch import encoder_config, known_labels

    fits = {}
    for name in recipe_names():
        recipe = Recipe.load(name)
        labels = recipe.data.labels or known_labels(recipe.data.train)
        assert labels, name
        counted = count(
            encoder_config(recipe.encoder.source), len(labels), recipe.lora, recipe.head, recipe.budget
        )
        fits[name] = counted.fits
    assert [name for name, fit in fits.items() if not fit] == ["agnews-as-written"]

"""A run directory as training leaves it, but untrained: tiny encoder, adapters and head moved at random."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from submillion.recipe import Recipe
from submillion.run_format.manifest import FORMAT
from submillion.rundir import RunDir
from support.tiny import LABELS, tiny_encoder

if TYPE_CHECKING:
    from submillion.model.classifier import Classifier

NAMES = [*LABELS[:3], "Sci, Tech"]  # a comma, so that a csv's quoting is seen
MAX_LENGTH = 16


def tiny_run(home: Path, text: str | None = None) -> tuple[RunDir, Classifier]:
    """Return the run `home`/run on the encoder `home`/encoder, and the classifier whose adapter it holds.

    Args:
        home: an existing folder.
        text: the recipe's text column.
    """
    encoder = tiny_encoder(home / "encoder")
    (home / "tiny.yaml").write_text(
        f"encoder: {{source: {encoder}}}\ndata: {{train: none.csv, max_length: {MAX_LENGTH}}}\n"
        "train: {precision: float32}\n",
        encoding="utf-8",
    )
    recipe = Recipe.load(home / "tiny.yaml", [f"data.text={text}"] if text else [])
    return untrained_run(home, encoder, recipe, NAMES, seed=5)


def untrained_run(
    home: Path, encoder: Path, recipe: Recipe, labels: list[str], seed: int, **facts: object
) -> tuple[RunDir, Classifier]:
    """Return the run `home`/run, and its classifier, whose trainable parameters are moved at random.

    Args:
        home: an existing folder.
        encoder: folder of the encoder.
        recipe: of the run.
        labels: class names.
        seed: of the moves.
        facts: further entries of the manifest.
    """
    import torch

    from submillion.data.tokenizer import load_tokenizer
    from submillion.model.build import build
    from submillion.sources.fetch import fetch_encoder

    fetched = fetch_encoder(str(encoder))
    classifier = build(fetched, labels, recipe).eval()
    generator = torch.Generator().manual_seed(seed)
    for value in classifier.parameters():
        if value.requires_grad:
            value.data += 0.2 * torch.randn(value.shape, generator=generator)
    run = RunDir.create(home / "run")
    run.adapter.mkdir()
    classifier.save_adapter(run.adapter)
    load_tokenizer(encoder).save_pretrained(run.tokenizer)
    run.write_text(run.recipe, recipe.to_yaml())
    recorded = encoder_entry(str(encoder), fetched.sha256)
    run.write_json(run.manifest, {"format": FORMAT, "labels": labels, "encoder": recorded, **facts})
    return run, classifier


def encoder_entry(source: str, sha256: dict[str, str]) -> dict[str, object]:
    """Return what a manifest records about an encoder in a folder."""
    named = {"source": source, "name": source, "origin": source, "via": "folder"}
    return {**named, "revision": None, "licence": None, "model_type": "roberta", "sha256": sha256}

"""Every family of encoders and every kind of adapter is exported as a merged checkpoint and as an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submillion.ship.export.forms import FORMS
from submillion.ship.export.merged import write_common
from submillion.ship.export.source import open_source
from support.tiny import FAMILY_NAMES, LABELS, shared_encoder, tiny_recipe, tiny_texts, tiny_tokens
from support.tiny_run import untrained_run

VARIANTS: list[dict[str, Any]] = [
    {"lora": {"variant": variant}} for variant in ("dora", "pissa", "vera", "adalora", "bitfit")
]


def exported(
    home: Path, family: str, form: str, layers: int = 2, **sections: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of an untrained classifier whose parameters are moved, and those of its exported file."""
    encoder = shared_encoder(family, layers)
    if sections.get("lora", {}).get("variant") == "bitfit":
        sections = {"lora": {"variant": "bitfit", "bias": "all"}}
    recipe = tiny_recipe(encoder, **sections)
    run, classifier = untrained_run(home, encoder, recipe, LABELS, seed=3, name="tiny", max_length=32)
    texts = tiny_texts(4)[0]
    tokens = tiny_tokens(encoder, texts)
    with torch.inference_mode():
        rows = [
            classifier(
                {
                    "input_ids": torch.from_numpy(tokens[row].astype(np.int64))[None],
                    "attention_mask": torch.ones(1, len(tokens[row]), dtype=torch.int64),
                }
            )
            for row in range(len(texts))
        ]
    scratch = home / "scratch"
    scratch.mkdir()
    source = open_source(run, texts, scratch)
    write_common(source, home)
    (file,) = FORMS[form].files
    (home / file.path).parent.mkdir(exist_ok=True)
    file.write(source, home / file.path)
    return torch.cat(rows).numpy(), file.opener()(home).logits(texts)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_as_a_merged_checkpoint(family: str, tmp_path: Path) -> None:
    own, of_file = exported(tmp_path, family, "merged")
    assert of_file == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "deberta-v2", "modernbert"])
def test_every_family_as_a_graph(family: str, tmp_path: Path) -> None:
    """RoBERTa is in `test_export`, MPNet below. ModernBERT's second layer attends to a window."""
    pytest.importorskip("onnxruntime")
    own, of_file = exported(tmp_path, family, "onnx", layers=2 if family == "modernbert" else 1)
    assert of_file == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("form", ["merged", "onnx"])
def test_a_head_that_reads_the_mean(form: str, normalize: bool, tmp_path: Path) -> None:
    head = {"pooling": "mean", "kind": "linear", "normalize": normalize}
    own, of_file = exported(tmp_path, "mpnet", form, layers=1, head=head)
    assert of_file == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("sections", VARIANTS, ids=lambda sections: sections["lora"]["variant"])
def test_every_variant_of_adapters_is_merged(sections: dict[str, Any], tmp_path: Path) -> None:
    own, of_file = exported(tmp_path, "roberta", "merged", **sections)
    assert of_file == pytest.approx(own, abs=1e-4)

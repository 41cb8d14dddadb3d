"""A classifier with changed values, and its logits in a process with only transformers and peft."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from submillion.model.build import build
from submillion.model.classifier import Classifier
from support.tiny import LABELS, shared_encoder, tiny_recipe

IDS = torch.tensor([[2, 9, 14, 33, 3], [2, 44, 50, 3, 1], [2, 17, 3, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])


# Runs in its own process, with plain transformers and peft, on a list of (name, encoder, adapter, expected logits).
PLAIN_PEFT = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

ids, mask, cases = json.load(sys.stdin)
ids, mask = torch.tensor(ids), torch.tensor(mask)
differences = {}
for name, encoder, adapter, expected in cases:
    torch.manual_seed(len(differences) + 999)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=4)
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    differences[name] = (logits - torch.tensor(expected)).abs().max().item()
assert "submillion" not in sys.modules
print(json.dumps(differences))
"""


def trained(family: str, **sections: object) -> Classifier:
    """Return a classifier whose trained values all differ from their initial ones, as after training."""
    folder = shared_encoder(family)
    classifier = build(folder, LABELS, tiny_recipe(folder, **sections))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in classifier.parameters():
            if value.requires_grad:
                value += 0.2 * torch.randn(value.shape, generator=generator)
    return classifier.eval()


def logits_of(classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return classifier({"input_ids": IDS, "attention_mask": MASK})


def plain_peft(cases: list[tuple[str, Path, Path, torch.Tensor]]) -> dict[str, float]:
    """Return by case the largest difference from the expected logits in a process without submillion."""
    arguments = [
        (name, str(encoder), str(adapter), logits.tolist()) for name, encoder, adapter, logits in cases
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PLAIN_PEFT],
        input=json.dumps([IDS.tolist(), MASK.tolist(), arguments]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    differences: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return differences

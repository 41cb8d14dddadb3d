"""A classifier with changed values, and its logits in a process with only transformers and peft."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from submillion.model.build import build
from submillion.model.classifier import Classifier
from support.tiny import LABELS, shared_encoder, tiny_recipe

IDS = torch.tensor([[2, 9, 14, 33, 3], [2, 44, 50, 3, 1], [2, 17, 3, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])


# Runs in its own process, with plain transformers and peft. A line is a list of [name, encoder, adapter, expected
# logits, whether the head reads the mean]; the head of the mean is computed as docs/run-directory.md has it, whose own
# lines test_mean_run.py runs.
PLAIN_PEFT = """
import json, sys, torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification

ids, mask = (torch.tensor(values) for values in json.loads(sys.argv[1]))

def logits_of(encoder, adapter):
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=4)
    model = PeftModel.from_pretrained(model, adapter).eval()
    return model(input_ids=ids, attention_mask=mask).logits

def logits_of_mean(encoder, adapter):
    batch = {"input_ids": ids, "attention_mask": mask}
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(encoder), adapter).eval()
    head = load_file(f"{adapter}/head.safetensors")
    states, weights = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
    features = (states * weights).sum(1) / weights.sum(1)
    return features @ head["weight"].T + head["bias"]

for line in sys.stdin:
    differences = {}
    for name, encoder, adapter, expected, mean in json.loads(line):
        torch.manual_seed(len(differences) + 999)
        with torch.no_grad():
            logits = (logits_of_mean if mean else logits_of)(encoder, adapter)
        differences[name] = (logits - torch.tensor(expected)).abs().max().item()
    assert "submillion" not in sys.modules
    print(json.dumps(differences), flush=True)
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


def plain_peft(cases: list[tuple[str, Path, Path, torch.Tensor]], mean: bool = False) -> dict[str, float]:
    """Return by case the largest difference from the expected logits in a process without submillion.

    Args:
        cases: (name, encoder, adapter, expected logits).
        mean: whether the heads read the mean of the states.
    """
    process = _process()
    assert process.stdin is not None and process.stdout is not None
    arguments = [
        (name, str(encoder), str(adapter), logits.tolist(), mean) for name, encoder, adapter, logits in cases
    ]
    process.stdin.write(json.dumps(arguments) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process without submillion has failed: its traceback is in the output of this one"
    differences: dict[str, float] = json.loads(answer)
    return differences


@cache
def _process() -> subprocess.Popen[str]:
    """Return a process without submillion that all tests of this process share: importing peft takes seconds."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PLAIN_PEFT, json.dumps([IDS.tolist(), MASK.tolist()])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    atexit.register(process.kill)
    return process

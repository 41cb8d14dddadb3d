"""Adapters of plain peft on a tiny encoder, with changed values, as another program would save them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification

from submillion.model.loading import quiet_libraries
from support.tiny import LABELS, tiny_texts

SETTINGS: dict[str, Any] = {
    "task_type": "SEQ_CLS",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["query", "value"],
}


def foreign_adapter(folder: Path, encoder: Path, classes: int = len(LABELS), **settings: Any) -> Path:
    """Save an adapter that peft built with `settings` beside SETTINGS; its trained values differ from their start."""
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(1)
        base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=classes)
        model = get_peft_model(base, LoraConfig(**(SETTINGS | settings)))
        for value in model.parameters():
            if value.requires_grad:
                value.data += 0.2 * torch.randn_like(value)
        model.save_pretrained(folder)
    return folder


def plain_logits(folder: Path, encoder: Path, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits of an adapter folder as peft alone opens it."""
    with torch.random.fork_rng(devices=[]), quiet_libraries(), torch.no_grad():
        torch.manual_seed(99)
        base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(LABELS))
        model = PeftModel.from_pretrained(base, str(folder)).eval()
        logits: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits


def labelled_file(file: Path, rows: int = 40) -> Path:
    """Write rows of `tiny_texts` with their class names."""
    texts, labels = tiny_texts(rows, seed=2)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, (LABELS[label] for label in labels), strict=True))
    return file

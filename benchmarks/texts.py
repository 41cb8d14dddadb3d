"""The texts that all variants of a benchmark run, in batches of similar length and in random batches."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.variants import Setting

if TYPE_CHECKING:
    import torch

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
SPREAD = 6
"""Size of the sorted pool relative to the measured texts. One batch of every SPREAD is used, which gives batches
as even as in a real training, spread over all lengths."""
CHUNK = 1024
"""Texts per call of the tokenizer."""


@dataclass(frozen=True)
class Texts:
    """N texts as token ids, special tokens included; batches are lists of row numbers."""

    ids: list[list[int]]
    labels: list[int]
    """Class index per text [N], drawn at random; speed does not depend on it."""
    pad_id: int
    longest: list[int]
    """One batch of the longest texts; all variants warm up with it, as no batch needs more memory."""
    grouped: list[list[int]]
    """The measured texts in batches of similar length."""
    mixed: list[list[int]]
    """The same texts in random batches."""

    @property
    def tokens_per_text(self) -> float:
        """Mean length of the measured texts."""
        rows = [row for batch in self.grouped for row in batch]
        return sum(len(self.ids[row]) for row in rows) / len(rows)

    def padded(self, rows: Sequence[int], width: int | None = None) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` [B, S] and `labels` [B] as inputs of a transformers model.

        Args:
            rows: the texts.
            width: S; None uses the longest text.
        """
        import torch

        size = width or max(len(self.ids[row]) for row in rows)
        ids = torch.full((len(rows), size), self.pad_id)
        mask = torch.zeros(len(rows), size, dtype=torch.int64)
        for index, row in enumerate(rows):
            length = len(self.ids[row])
            ids[index, :length] = torch.tensor(self.ids[row])
            mask[index, :length] = 1
        labels = torch.tensor([self.labels[row] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def read_texts(setting: Setting) -> Texts:
    """Draw texts from the training file of the data folder, the same ones every time, and tokenize them."""
    from transformers import AutoTokenizer

    size, steps = setting.batch_size, setting.steps
    available = _read_csv(setting)
    if len(available) < SPREAD * steps * size:
        raise SystemExit(
            f"{setting.data}: expected at least {SPREAD * steps * size} texts, found {len(available)}"
        )
    generator = random.Random(0)
    sample = generator.sample(available, SPREAD * steps * size)
    tokenizer = AutoTokenizer.from_pretrained(str(setting.encoder), local_files_only=True)
    ids = tokenizer(sample, truncation=True, max_length=setting.max_length)["input_ids"]
    if setting.lengths is not None:
        ids = [_cut(each, generator.randint(*setting.lengths)) for each in ids]
    ids.sort(key=len, reverse=True)
    middle = [step * SPREAD + SPREAD // 2 for step in range(steps)]
    chosen = [row for number in [0, *middle] for row in ids[number * size : (number + 1) * size]]
    batches = [list(range(start, stop)) for start, stop in pairwise(range(0, len(chosen) + 1, size))]
    shuffled = [row for batch in batches[1:] for row in batch]
    generator.shuffle(shuffled)
    return Texts(
        ids=chosen,
        labels=[generator.randrange(len(LABELS)) for _ in chosen],
        pad_id=tokenizer.pad_token_id,
        longest=batches[0],
        grouped=batches[1:],
        mixed=[shuffled[start : start + size] for start in range(0, len(shuffled), size)],
    )


def exact_texts(setting: Setting, length: int, batches: int) -> Texts:
    """Cut the concatenated tokens of the data into `batches` batches of texts with `length` tokens each.

    Special tokens count; the first batch is also the longest one.

    Raises:
        SystemExit: `length` leaves no room beside the special tokens.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(setting.encoder), local_files_only=True)
    room = length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise SystemExit(f"texts of {length} tokens have no room beside the special tokens")
    size = setting.batch_size
    needed = room * batches * size
    flat: list[int] = []
    texts = _read_csv(setting)
    while (
        len(flat) < needed
    ):  # repeats the texts if there are too few; speed does not depend on their content
        for start in range(0, len(texts), CHUNK):
            chunk = tokenizer(texts[start : start + CHUNK], add_special_tokens=False, verbose=False)
            flat += [token for ids in chunk["input_ids"] for token in ids]
            if len(flat) >= needed:
                break
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = [[first, *flat[start : start + room], last] for start in range(0, needed, room)]
    generator = random.Random(0)
    grouped = [list(range(start, start + size)) for start in range(0, len(ids), size)]
    labels = [generator.randrange(len(LABELS)) for _ in ids]
    return Texts(ids, labels, tokenizer.pad_token_id, grouped[0], grouped, grouped)


def _cut(ids: list[int], length: int) -> list[int]:
    """Return a text of at most `length` tokens that still ends with its last token, the separator."""
    return ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]


def _read_csv(setting: Setting) -> list[str]:
    """Return the texts of an AG News csv: class, title, description, or a column `text`."""
    with file_in(setting.data).open(encoding="utf-8", newline="") as lines:
        first, *rest = csv.reader(lines)
    if "text" in first:
        return [row[first.index("text")] for row in rest]
    return [" ".join(row[1:]) for row in [first, *rest]]


def file_in(data: Path) -> Path:
    """Return the training file of a folder, or its first csv."""
    files = sorted(data.glob("*.csv"))
    file = next((file for file in files if file.stem == "train"), files[0] if files else None)
    if file is None:
        raise SystemExit(f"{data}: no csv file")
    return file

"""The texts that all variants of a benchmark run: the same ones, in batches of like length and in random ones."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Setting

if TYPE_CHECKING:
    import torch

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
# Texts are sorted within a pool this many times as large as what is run, and the middle batch of every so many
# is taken: batches as even as in a real training, spread over all lengths.
SPREAD = 6
CHUNK = 1024  # texts per call of the tokenizer


@dataclass(frozen=True)
class Texts:
    """N texts as token ids, special tokens included; batches are lists of row numbers."""

    ids: list[list[int]]
    labels: list[int]
    """Class index per text [N]: drawn at random, speed does not depend on it."""
    pad_id: int
    longest: list[int]
    """The pool's longest texts, one batch: no batch of a training needs more memory, so all warm up with it."""
    grouped: list[list[int]]
    """The texts to measure, in batches of like length."""
    mixed: list[list[int]]
    """The same texts in random batches."""

    @property
    def tokens_per_text(self) -> float:
        """Mean length of the texts to measure."""
        rows = [row for batch in self.grouped for row in batch]
        return sum(len(self.ids[row]) for row in rows) / len(rows)

    def padded(self, rows: Sequence[int], width: int | None = None) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` [B, S] and `labels` [B] as a model of transformers takes them.

        Args:
            rows: the texts.
            width: S; None takes the longest text.
        """
        import torch

        size = width or max(len(self.ids[row]) for row in rows)
        ids = torch.full((len(rows), size), self.pad_id)
        mask = torch.zeros(len(rows), size, dtype=torch.int64)
        for place, row in enumerate(rows):
            length = len(self.ids[row])
            ids[place, :length] = torch.tensor(self.ids[row])
            mask[place, :length] = 1
        labels = torch.tensor([self.labels[row] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def read_texts(setting: Setting) -> Texts:
    """Draw texts from the data folder's training file, always the same ones, and tokenize them."""
    from transformers import AutoTokenizer

    size, steps = setting.batch_size, setting.steps
    found = _read_csv(setting)
    if len(found) < SPREAD * steps * size:
        raise SystemExit(f"{setting.data}: {SPREAD * steps * size} texts are needed, it has {len(found)}")
    draw = random.Random(0)
    drawn = draw.sample(found, SPREAD * steps * size)
    tokenizer = AutoTokenizer.from_pretrained(str(setting.encoder), local_files_only=True)
    ids = tokenizer(drawn, truncation=True, max_length=setting.max_length)["input_ids"]
    ids.sort(key=len, reverse=True)
    middle = [place * SPREAD + SPREAD // 2 for place in range(steps)]
    kept = [row for number in [0, *middle] for row in ids[number * size : (number + 1) * size]]
    batches = [list(range(start, stop)) for start, stop in pairwise(range(0, len(kept) + 1, size))]
    shuffled = [row for batch in batches[1:] for row in batch]
    draw.shuffle(shuffled)
    return Texts(
        ids=kept,
        labels=[draw.randrange(len(LABELS)) for _ in kept],
        pad_id=tokenizer.pad_token_id,
        longest=batches[0],
        grouped=batches[1:],
        mixed=[shuffled[start : start + size] for start in range(0, len(shuffled), size)],
    )


def exact_texts(setting: Setting, length: int, batches: int) -> Texts:
    """Cut the data's tokens, laid end to end, into texts of `length` tokens each, special tokens included.

    There are `batches` batches of them, of which the first also stands for the longest.

    Raises:
        SystemExit: a special token more than `length` leaves no room for any other.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(setting.encoder), local_files_only=True)
    room = length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise SystemExit(f"texts of {length} tokens have no room beside the special ones")
    size = setting.batch_size
    needed = room * batches * size
    flat: list[int] = []
    found = _read_csv(setting)
    while len(flat) < needed:  # few texts are taken again and again: what they say costs nothing
        for start in range(0, len(found), CHUNK):
            chunk = tokenizer(found[start : start + CHUNK], add_special_tokens=False, verbose=False)
            flat += [token for ids in chunk["input_ids"] for token in ids]
            if len(flat) >= needed:
                break
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = [[first, *flat[start : start + room], last] for start in range(0, needed, room)]
    draw = random.Random(0)
    grouped = [list(range(start, start + size)) for start in range(0, len(ids), size)]
    labels = [draw.randrange(len(LABELS)) for _ in ids]
    return Texts(ids, labels, tokenizer.pad_token_id, grouped[0], grouped, grouped)


def _read_csv(setting: Setting) -> list[str]:
    """Return the texts of AG News, in its official form (class, title, description) or with a column `text`."""
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

"""The cells of the accuracy benchmark, their order, and those that are left out with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from benchmarks.accuracy.sets import AGNEWS, ALL, PER_CLASS, SETS, SIZES, seeds_of

ENCODERS = ("minilm", "mpnet-base")
KINDS = ("frozen", "model2vec", "setfit", "peft", "auto")
"""Methods that exist for each encoder; the others need none."""
PLAIN = ("majority", "words", "characters")
METHODS = (*PLAIN, *(f"{kind}-{encoder}" for kind in KINDS for encoder in ENCODERS))
SLOW = ("setfit", "peft")
DETERMINISTIC = ("majority", "words", "characters", "frozen", "model2vec")
"""Kinds whose result on all rows does not depend on a seed."""

LIMIT_MINUTES = 60.0
"""A run that takes longer by the estimate below is left out."""
TRAINED_TOKENS_PER_S = {"minilm": 800, "mpnet-base": 100}
"""Tokens a second, forward and backward through all layers, of transformers in float32 on two cores."""
FORWARD_SHARE = 3
"""How often a forward pass fits into a step of the training."""
TOKENS = {AGNEWS: 53, "r8": 104, "r52": 109, "newsgroups20": 176, "sms": 25}
"""Mean tokens a text, of which at most 256 are read."""
ROWS = {
    AGNEWS: (18_894, 4),
    "r8": (5_485, 8),
    "r52": (6_532, 52),
    "newsgroups20": (11_293, 20),
    "sms": (3_023, 2),
}
"""Training rows and classes."""
R52_ROWS = {"8": 357, "16": 614, "32": 978, "64": 1_412}
"""Training rows of R52 by labels a class, of which many classes have fewer."""
SETFIT_PASSES = 80
"""Passes of a text: 20 positive and 20 negative pairs a text, of two texts each."""
PEFT_EPOCHS = {ALL: 3}
"""Epochs of the plain script by size."""
PEFT_EPOCHS_OF_FEW = 20
"""Epochs of the plain script for the other sizes, as in peft's example of sequence classification."""


@dataclass(frozen=True)
class Cell:
    """One training run of one method."""

    set: str
    size: str
    seed: int
    method: str

    @property
    def name(self) -> str:
        """Such as `agnews/8/0/words`."""
        return f"{self.set}/{self.size}/{self.seed}/{self.method}"


def kind_of(method: str) -> str:
    """Return the method without its encoder."""
    return method.partition("-")[0]


def encoder_of(method: str) -> str | None:
    """Return the catalog name of a method's encoder; None if it needs none."""
    return method.partition("-")[2] or None


def planned(only: list[str] | None = None) -> Iterator[Cell]:
    """Yield the cells in the order of their use: AG News with few labels first, slow rivals last.

    Args:
        only: patterns of names such as `agnews/8/*/words`, of which one must fit; None yields all.
    """
    everything = [
        Cell(name, size, seed, method)
        for name in SETS
        for size in SIZES
        for seed in seeds_of(size)
        for method in METHODS
        if not left_out(name, size, method)
        and (seed == 0 or not (size == ALL and kind_of(method) in DETERMINISTIC))
    ]
    for cell in sorted(everything, key=_stage):
        if only is None or any(fnmatch(cell.name, pattern) for pattern in only):
            yield cell


def _stage(cell: Cell) -> int:
    if kind_of(cell.method) in SLOW:
        return 2
    return 0 if cell.set == AGNEWS and cell.size in PER_CLASS else 1


def left_out(name: str, size: str, method: str) -> str | None:
    """Return the minutes of a run because of which its cells are left out; None if they are computed."""
    if name == "newsgroups20" and size == ALL and method == "auto-mpnet-base":
        return "hours"
    if (minutes := estimated_minutes(name, size, method)) > LIMIT_MINUTES:
        return f"{minutes:,.0f}"
    return None


def estimated_minutes(name: str, size: str, method: str) -> float:
    """Return how long a run of a rival takes on two cores, test rows excluded; 0 for submillion and plain methods."""
    encoder, kind = encoder_of(method), kind_of(method)
    passes = {
        "frozen": 1 / FORWARD_SHARE,
        "setfit": SETFIT_PASSES,
        "peft": PEFT_EPOCHS.get(size, PEFT_EPOCHS_OF_FEW),
    }
    if encoder is None or kind not in passes:
        return 0.0
    tokens = passes[kind] * rows_of(name, size) * TOKENS[name]
    return tokens / TRAINED_TOKENS_PER_S[encoder] / 60


def rows_of(name: str, size: str) -> int:
    """Return the number of training rows."""
    rows, classes = ROWS[name]
    if size == ALL:
        return rows
    if name == "r52" and size in R52_ROWS:
        return R52_ROWS[size]
    return min(rows, int(size) * (classes if size in PER_CLASS else 1))

"""The work that a training may take: all that the evidence asks for, or what a time limit leaves of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from submillion.auto.facts import Facts
from submillion.families.families import family_of

FEW_ROWS = 2_000
"""Below it, all rows are trained on, and the accuracy is estimated by cross-validation."""
LONGEST = 512
"""Longest text in tokens that `auto` trains on."""
LESSER: tuple[Mapping[str, float], ...] = (
    {},
    {"steps": 0.7},
    {"steps": 0.5},
    {"steps": 0.35},
    {"steps": 0.25, "folds": 3},
    {"steps": 0.15, "folds": 3, "max_length": 128},
    {"steps": 0.1, "folds": 2, "max_length": 128, "layers": 2},
    {"steps": 0.05, "folds": 2, "max_length": 64, "layers": 1},
)
"""What a time limit changes of the full effort, ever more."""
MERITS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (0, 3), *((1, number) for number in range(2, len(LESSER))))
"""Large encoder (0) or small one (1), and the number of its lesser effort, in the order in which they are tried."""


@dataclass(frozen=True)
class Effort:
    """How much work the training may take; the first one is the full one, and a time limit takes lesser ones."""

    layers: int
    """Adapted layers, from the top."""
    steps: float = 1.0
    """Share of the steps that the evidence asks for."""
    folds: int = 5
    """Folds of a cross-validation."""
    max_length: int = LONGEST
    reason: str = ""
    """Why the effort is not the full one; empty if it is."""


def full_effort(facts: Facts) -> Effort:
    """Return the effort that takes all the time that the evidence asks for.

    Few rows train the upper layers, 4 of 12 or 3 of 6, on every machine; many rows train all layers if an accelerator
    makes that quick.
    """
    n_layers = family_of(facts.config).n_layers(facts.config)
    every = facts.machine.accelerator and facts.texts.rows >= FEW_ROWS
    return Effort(n_layers if every else upper_layers(n_layers))


def upper_layers(n_layers: int) -> int:
    """Return the number of an encoder's layers that few rows train."""
    return min(n_layers, max(3, n_layers // 3))


def merits(encoders: int) -> list[tuple[int, int]]:
    """Return the encoders and efforts to try, best first: place among 1 or 2 encoders, number of the effort."""
    return list(MERITS) if encoders == 2 else [(0, number) for number in range(len(LESSER))]


def lesser_effort(full: Effort, number: int, reason: str) -> Effort:
    """Return the full effort as one of LESSER changes it.

    Args:
        full: the full effort.
        number: index in LESSER.
        reason: why it is not the full one.
    """
    if not LESSER[number]:
        return full
    changed = {"layers": full.layers, **LESSER[number]}
    return Effort(
        layers=min(full.layers, int(changed["layers"])),
        steps=changed["steps"],
        folds=int(changed.get("folds", full.folds)),
        max_length=int(changed.get("max_length", full.max_length)),
        reason=reason,
    )

"""Counts the arithmetic and memory traffic of a training text, and compares them with this processor's ceilings.

    cmake -S benchmarks/native -B FOLDER && cmake --build FOLDER --target ceilings > ceilings.jsonl
    python -m benchmarks.ceilings --encoder FOLDER [--length 53] [--rank 8] [--targets query,value] [--layers 12]
        [--limits ceilings.jsonl] [--measured SAMPLES_PER_S]

Counts one training text in the packed execution, part by part: the multiplications and additions of the kernels
(without padding to whole blocks), and the bytes that pass the L2 cache: frozen weights once per group of texts and
pass, and saved activations written and read once. With --limits it also shows the texts/s that each of the two allows
(the roofline model).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from submillion.families.families import family_of
from submillion.model.execution.pass_sizes import group_rows
from submillion.native.interface import TARGETS
from submillion.sources.folder import read_config

BFLOAT16, FLOAT32 = 2, 4
"""Bytes per number in matrix products."""


@dataclass(frozen=True)
class Encoder:
    """The sizes of an encoder."""

    hidden: int
    inner: int
    layers: int

    def width(self, target: str) -> tuple[int, int]:
        """Return the inputs and outputs of a matrix."""
        return (
            self.inner if target == "ffn_down" else self.hidden,
            self.inner if target == "ffn_up" else self.hidden,
        )


@dataclass(frozen=True)
class Text:
    """A training text, and the adapters that are trained on it."""

    length: int
    """Tokens."""
    rank: int
    targets: tuple[str, ...]
    adapted: int
    """Number of adapted layers, from the top; the output of the layers below is cached."""


@dataclass(frozen=True)
class Part:
    """The cost of one part of the work per text."""

    name: str
    flops: float = 0.0
    bytes: float = 0.0


def rows_of(encoder: Encoder, text: Text, layer: int) -> int:
    """Return the rows that continue after a layer's attention: in the last layer only the first token."""
    return 1 if layer == encoder.layers - 1 else text.length


def parts(encoder: Encoder, text: Text, size: int) -> list[Part]:
    """Count one text, forward and backward.

    A product of [n, k] with [k, m] takes 2nkm operations. Nothing below the lowest adapted layer is computed, and its
    input needs no gradient; neither do frozen weights.

    Args:
        encoder: the sizes of the encoder.
        text: the text and its adapters.
        size: bytes per number in products and saved activations.
    """
    width, inner, lowest = encoder.hidden, encoder.inner, encoder.layers - text.adapted
    weights = 4 * width**2 + 2 * width * inner
    flops = dict.fromkeys(("products forward", "products backward", "attention", "adapters"), 0.0)
    saved = 0.0
    for layer in range(lowest, encoder.layers):
        rows = rows_of(encoder, text, layer)
        after = 2 * rows * (width**2 + 2 * width * inner)  # the output of attention and the feed-forward part
        before = 2 * width**2 * (rows + 2 * text.length)  # query, key and value
        flops["products forward"] += before + after
        flops["products backward"] += after + (before if layer > lowest else 0)
        # Scores and weighted values; in the backward pass the scores again, the gradient of the probabilities, and the
        # gradients of query, key and value that are needed.
        needed = 3 if layer > lowest else len({"query", "key", "value"} & set(text.targets))
        flops["attention"] += (2 + 2 + needed) * 2 * rows * text.length * width
        for target in text.targets:
            inputs, outputs = encoder.width(target)
            own = text.length if target in ("key", "value") else rows
            # Forward: A x and B u. Backward: the gradients of u, A, B and, except at the lowest layer's input, of x.
            passes = 2 if target in ("query", "key", "value") and layer == lowest else 3
            flops["adapters"] += 2 * own * text.rank * (passes * inputs + 3 * outputs)
        # Query, key, value, two normalized states, the slope of GELU, the input of the lowest layer (the others
        # recompute theirs), and the inputs of adapters.
        numbers = text.length * 2 * width + rows * (width + 2 * width + inner)
        numbers += text.length * width if layer == lowest else 0
        numbers += rows * sum(encoder.width(name)[0] for name in text.targets if name in TARGETS[3:])
        saved += 2 * size * numbers
    passes = 2 * text.adapted
    return [
        *(Part(name, flops=count) for name, count in flops.items()),
        Part("frozen weights", bytes=passes * weights * size * text.length / group_rows(width)),
        Part("saved activations", bytes=saved),
    ]


def render(
    encoder: Encoder, text: Text, size: int, limits: dict[str, float] | None, measured: float | None
) -> str:
    """Return the table for one number format."""
    counted = parts(encoder, text, size)
    flops, moved = sum(part.flops for part in counted), sum(part.bytes for part in counted)
    lines = [
        f"{'bfloat16' if size == BFLOAT16 else 'float32'}, a text of {text.length} tokens, "
        f"{text.adapted} of {encoder.layers} layers",
        *(
            f"  {part.name:20} {part.flops / 1e9:8.3f} GFLOP {part.flops / flops:6.1%}"
            for part in counted
            if part.flops
        ),
        f"  {'total':20} {flops / 1e9:8.3f} GFLOP, {flops / text.length / 1e6:.1f} MFLOP per token",
        *(f"  {part.name:20} {part.bytes / 1e6:8.1f} MB" for part in counted if part.bytes),
        f"  {'total':20} {moved / 1e6:8.1f} MB, {moved / text.length / 1e3:.0f} kB per token",
    ]
    if limits:
        compute, memory = limits["multiply_adds_flops"], limits["read_256mb_bytes_per_s"]
        lines += [
            f"  {limits['kernels']}, {limits['threads']:.0f} threads: {compute / 1e9:.0f} GFLOP/s on registers allow "
            f"{compute / flops:.1f} texts/s,",
            f"  {memory / 1e9:.1f} GB/s from memory allow {memory / moved:.0f} texts/s",
        ]
        if measured:
            lines.append(
                f"  measured {measured:.1f} texts/s: {measured * flops / compute:.0%} of the compute ceiling"
            )
    return "\n".join(lines)


def encoder_of(folder: Path) -> Encoder:
    """Return the sizes of the encoder in a folder."""
    config = read_config(folder, str(folder))
    values = family_of(config).values(config)
    return Encoder(values["hidden_size"], values["intermediate_size"], values["num_hidden_layers"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table per entry of --limits, or one per number format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an encoder")
    parser.add_argument("--length", type=int, default=53, help="tokens per text")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="query,value", help=f"targets among {','.join(TARGETS)}")
    parser.add_argument("--layers", type=int, help="number of adapted layers, from the top; default: all")
    parser.add_argument("--limits", type=Path, help="output of `ceilings` in benchmarks/native")
    parser.add_argument("--measured", type=float, help="measured texts/s, compared with the ceiling")
    options = parser.parse_args(arguments)
    targets = tuple(options.targets.split(","))
    if unknown := [name for name in targets if name not in TARGETS]:
        parser.error(f"--targets: {unknown[0]} is not among {', '.join(TARGETS)}")
    encoder = encoder_of(options.encoder)
    text = Text(options.length, options.rank, targets, options.layers or encoder.layers)
    if not 1 <= text.adapted <= encoder.layers:
        parser.error(f"--layers: expected 1 to {encoder.layers}, found {text.adapted}")
    kinds: list[dict[str, float] | None] = [None, None]
    sizes = [BFLOAT16, FLOAT32]
    if options.limits:
        lines = options.limits.read_text(encoding="utf-8").splitlines()
        kinds = [json.loads(line) for line in lines if line.startswith("{")]
        sizes = [int(kind["bytes"]) for kind in kinds if kind]
    for kind, size in zip(kinds, sizes, strict=True):
        print(render(encoder, text, size, kind, options.measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run by `accelerate launch` in every process: trains the stub, keeps what test_fit_workers.py compares."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from submillion.fit.optimizer import FlatAdamW
from submillion.fit.workers import Workers
from support.fit_stub import StubClassifier, fit_stub, train_recipe


class StopsIn(StubClassifier):
    """Gets Ctrl-C in one process only, in its n-th training step; never where n is 0."""

    def __init__(self, passes: int) -> None:
        super().__init__(dropout=0)
        self.left = passes

    def __call__(self, batch: dict, states: object = None) -> torch.Tensor:
        self.left -= self.training
        if self.left == 0 and self.training:
            signal.raise_signal(signal.SIGINT)
        return super().__call__(batch)


@contextmanager
def kept_gradients() -> Iterator[list[torch.Tensor]]:
    """Keep the gradient that each optimizer step is given: over all processes, not clipped yet."""
    kept, step = list[torch.Tensor](), FlatAdamW.step

    def keeping(optimizer: FlatAdamW, learning_rate: float) -> torch.Tensor:
        kept.append(optimizer.gradients.clone())
        return step(optimizer, learning_rate)

    FlatAdamW.step = keeping  # type: ignore[method-assign]
    try:
        yield kept
    finally:
        FlatAdamW.step = step  # type: ignore[method-assign]


def train(folder: Path, workers: Workers, stop_after: int = 0, resume: bool = False, **fields: Any) -> None:
    """Train into `folder` with fields of the recipe, and write what each process ends with beside the run."""
    last = workers.rank == workers.world - 1
    with kept_gradients() as gradients:
        classifier, result, _ = fit_stub(
            folder / "run",
            StopsIn(stop_after if last else 0),
            train_rows=99,
            recipe=train_recipe(**fields),
            workers=workers,
            resume=resume,
        )
    save_file({"gradients": torch.stack(gradients)}, folder / f"gradients{workers.rank}.safetensors")
    save_file(classifier.tensors(), folder / f"rank{workers.rank}.safetensors")
    (folder / f"rank{workers.rank}.json").write_text(json.dumps(result.to_json()), encoding="utf-8")
    workers.wait()


if __name__ == "__main__":
    joined = Workers.start(threads=1)
    for name, options in json.loads(sys.argv[1]):
        train(Path(name), joined, **options)

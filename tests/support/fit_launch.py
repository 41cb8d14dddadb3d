"""Script that `accelerate launch` runs in every process: trains the stub and saves results for test_workers.py."""

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
    """Receives Ctrl-C in its n-th training step; never if n is 0."""

    def __init__(self, passes: int) -> None:
        super().__init__(dropout=0)
        self.left = passes

    def __call__(self, batch: dict, states: object = None) -> torch.Tensor:
        self.left -= self.training
        if self.left == 0 and self.training:
            signal.raise_signal(signal.SIGINT)
        return super().__call__(batch)


@contextmanager
def recorded_gradients() -> Iterator[list[torch.Tensor]]:
    """Record the gradient of each optimizer step: summed over all processes, not clipped."""
    gradients, step = list[torch.Tensor](), FlatAdamW.step

    def recording_step(optimizer: FlatAdamW, learning_rate: float) -> torch.Tensor:
        gradients.append(optimizer.gradients.clone())
        return step(optimizer, learning_rate)

    FlatAdamW.step = recording_step  # type: ignore[method-assign]
    try:
        yield gradients
    finally:
        FlatAdamW.step = step  # type: ignore[method-assign]


def train(folder: Path, workers: Workers, stop_after: int = 0, resume: bool = False, **fields: Any) -> None:
    """Train into `folder` with fields of the recipe; write each process's results beside the run."""
    last = workers.rank == workers.world - 1
    with recorded_gradients() as gradients:
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
    torch.set_num_threads(1)
    joined = Workers.start()
    for name, options in json.loads(sys.argv[1]):
        train(Path(name), joined, **options)

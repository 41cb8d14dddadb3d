"""submillion's own default, `auto`, through its public Python functions."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.peer import MethodFailed
from benchmarks.accuracy.task import Answer, Task, timed, timed_across_kills
from benchmarks.isolated import ProcessFailed, run_isolated

if TYPE_CHECKING:
    import submillion as sm


def auto(task: Task, encoder: str) -> Answer:
    """Train with `auto` in a process of its own.

    Raises:
        MethodFailed: the training ended with an error.
    """
    try:
        values: dict[str, Any] = run_isolated(_train, task, encoder)
    except ProcessFailed as error:
        raise MethodFailed(str(error)) from error
    return Answer(**values)


def _train(task: Task, encoder: str) -> dict[str, Any]:
    """Train, then predict the test texts, which submillion sees only then; return the values of an Answer."""
    from submillion.rundir import RunDir

    with (
        nullcontext(task.scratch)
        if task.scratch
        else tempfile.TemporaryDirectory(prefix="accuracy-") as folder
    ):
        with timed_across_kills(Path(folder) / "seconds.json") as train:
            run = _trained(task, encoder, Path(folder) / "run")
        with timed() as predict:
            predicted = run.predict(task.test_texts)
        manifest = RunDir.open(run.path).read_manifest()
        recipe = run.recipe
    numbers = {name: number for number, name in enumerate(task.classes)}
    return {
        "predicted": [numbers[name] for name in predicted],
        "train_s": train.wall,
        "predict_s": predict.wall,
        "train_cpu_s": train.cpu,
        "predict_cpu_s": predict.cpu,
        "parameters": manifest["budget"]["trainable"],
        "setting": f"r={recipe.lora.r} layers={recipe.lora.layers} pooling={recipe.head.pooling} "
        f"contrastive={recipe.contrastive.steps} steps={recipe.train.steps or f'{recipe.train.epochs} epochs'} "
        f"lr={recipe.train.learning_rate:g}",
    }


def _trained(task: Task, encoder: str, out: Path) -> sm.Run:
    """Train, or continue what a killed process has begun in `out`."""
    import submillion as sm

    if (out / "manifest.json").is_file():
        begun = sm.load(out)
        return begun if begun.status == "complete" else sm.resume(out, report=False, quiet=True)
    return sm.train(
        "auto",
        out,
        texts=task.texts,
        labels=[task.classes[label] for label in task.labels],
        # Its test rows are not auto's to know, and it should hold none out in their place.
        overrides=[f"encoder.source={encoder}", f"seed={task.seed}", "data.test=none"],
        report=False,
        quiet=True,
    )

"""Trains a run's recipe again in a temporary directory, and says whether both trainings must be equal bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from submillion import environment, native, notices, pipeline
from submillion.model.execution.int8_prefix import INT8
from submillion.model.execution.int8_training import unsupported_kernels
from submillion.model.precision import choose_precision
from submillion.native import int8
from submillion.recipe import Recipe
from submillion.run_inputs import CONTINUED_ELSEWHERE
from submillion.rundir import RunDir

MAX_THREADS = 1024  # a manifest may name any number
TRAINING = ("execution", "precision", "prefix_cached", "processes")


@dataclass(frozen=True)
class Retrained:
    """A run that was trained again."""

    run: RunDir
    differing: list[str]
    """What the manifest records otherwise than it is here: processor, versions, execution ..."""

    @property
    def bit_for_bit(self) -> bool:
        """Whether both trainings do the same arithmetic in the same order, so that they must be equal."""
        return not self.differing

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the new training."""
        return cast(dict[str, Any], self.run.read_manifest())


def not_repeatable(manifest: Mapping[str, Any], recipe: Recipe) -> str | None:
    """Return why training a run again would not repeat it; None if it does."""
    processes = manifest.get("training", {}).get("processes")
    if manifest.get("status") != "complete":
        return "the training was interrupted; finish it with `resume` first"
    if recipe.train.max_seconds is not None:
        return "train.max_seconds ends a training by the clock, so no two trainings are equal"
    if processes != 1:
        return f"it was trained by {processes} processes, and their sums are not those of one process"
    return no_int8(recipe)


def no_int8(recipe: Recipe) -> str | None:
    """Return why what ran in int8 in the training cannot run here; None if it can, or nothing did."""
    if recipe.train.prefix_precision == INT8:
        library, reason = int8.load_best()
        if library is None:
            return f"its lower layers ran in int8, which cannot run here: {reason}"
    if recipe.train.frozen_precision == INT8:
        with notices.suppressed():
            wanted = choose_precision(recipe.train.precision).dtype_name
        kernels, reason = native.load_best_build(wanted)
        why = reason if kernels is None else unsupported_kernels(kernels)
        if why is not None:
            return f"its training steps were in int8, which cannot run here: {why}"
    return None


def train_again(
    run: RunDir, manifest: Mapping[str, Any], recipe: Recipe, scratch: Path, progress: bool
) -> Retrained:
    """Train a run's recipe again, with the run's data, encoder, seed and number of threads.

    Trackers are off. Everything that a training makes is made again: adapter, history, predictions, simpler models,
    analysis and notices.

    Args:
        run: the run; only read.
        manifest: its manifest.
        recipe: its recipe.
        scratch: a temporary directory, in which the new run is made.
        progress: show progress on standard error.

    Raises:
        SubmillionError: the recipe cannot be trained here, for example because its data is gone.
    """
    train = recipe.train.model_copy(update={"threads": recorded_threads(manifest) or recipe.train.threads})
    encoder = recipe.encoder
    if revision := manifest["encoder"].get("revision"):
        encoder = encoder.model_copy(update={"revision": revision})
    repeated = recipe.model_copy(update={"train": train, "encoder": encoder, "track": []})
    place = scratch / "retrained" / (run.path.resolve().name or "run")
    with notices.collecting(quiet=True):
        pipeline.train(
            repeated, place, quiet=not progress, hold_back_test=bool(manifest.get("test_held_back"))
        )
    made = RunDir.open(place)
    return Retrained(made, differing_arithmetic(manifest, cast(dict[str, Any], made.read_manifest())))


def recorded_threads(manifest: Mapping[str, Any]) -> int | None:
    """Return the number of threads of a training; None if the manifest has none that could be used."""
    threads = manifest.get("machine", {}).get("threads")
    return threads if isinstance(threads, int) and 1 <= threads <= MAX_THREADS else None


def differing_arithmetic(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return those facts of two manifests that differ and on which the last bits of a training depend.

    Args:
        recorded: the manifest of the run.
        here: the manifest of the same recipe, trained on this machine.
    """
    facts = {**environment.DECIDING, "training": TRAINING}
    return environment.differing_facts(recorded, here, facts) + continued_elsewhere(recorded)


def continued_elsewhere(recorded: Mapping[str, Any]) -> list[str]:
    """Return what differed between the parts of a training that was resumed with other arithmetic; none if nothing did.

    Args:
        recorded: the manifest of the run.
    """
    return [
        f"when resumed: {notice.get('differing')}"
        for notice in recorded.get("notices", [])
        if notice["code"] == CONTINUED_ELSEWHERE
    ]

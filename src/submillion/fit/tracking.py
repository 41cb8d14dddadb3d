"""Experiment trackers (wandb, tensorboard, mlflow, trackio), reached through accelerate."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

PROJECT = "submillion"


def check(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed, before anything is read or written.

    Raises:
        BadInput: naming the extra that brings each missing one.
    """
    # accelerate itself would leave a missing tracker out in silence.
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise BadInput(
            [
                Problem(
                    f"track {name}",
                    "an installed tracker",
                    f"no package '{name}'",
                    f'Install it with: pip install "submillion[{name}]"',
                )
                for name in missing
            ]
        )


class Tracking:
    """The trackers of one run; only the main process has any."""

    def __init__(self, names: Sequence[str], run: RunDir, config: dict[str, Any], step: int = 0) -> None:
        """Start every tracker in project `submillion` under the run directory's name.

        Args:
            names: any of wandb, tensorboard, mlflow, trackio; none is fine and costs nothing.
            run: what the trackers' own files lie in (wandb and tensorboard).
            config: the recipe, nested as it is; sections become `section.key`.
            step: where a resumed training goes on; trackers get a new run that says so in its name.

        Raises:
            BadInput: a tracker is not installed, or would not start (not logged in, say).
        """
        self._accelerator: Any = None
        if not names:
            return
        check(names)
        from accelerate import Accelerator

        run.trackers.mkdir(parents=True, exist_ok=True)
        name = run.path.resolve().name + (f", from step {step}" if step else "")
        options: dict[str, dict[str, Any]] = {
            "wandb": {"name": name, "dir": str(run.trackers)},
            "mlflow": {"run_name": name},
            "trackio": {"name": name},
        }
        accelerator = Accelerator(log_with=list(names), project_dir=str(run.trackers), mixed_precision="no")
        try:
            accelerator.init_trackers(PROJECT, config=flat(config), init_kwargs=options)
        except Exception as error:  # each tracker has its own kinds; all mean the same here
            problem = Problem(
                f"track {', '.join(names)}",
                "a tracker that starts",
                " ".join(f"{type(error).__name__}: {error}".split()),
                "Log in to it, or take its offline mode (wandb: WANDB_MODE=offline), or leave it out.",
            )
            raise BadInput(problem) from error
        self._accelerator = accelerator

    def log(self, record: dict[str, Any]) -> None:
        """Log one record of the history: its numbers, as `kind/name`, at its step."""
        if self._accelerator is None:
            return
        kind, step = record["kind"], record["step"]
        values = {
            f"{kind}/{key}": float(value)
            for key, value in record.items()
            if key not in ("kind", "step") and isinstance(value, int | float)
        }
        self._accelerator.log(values, step=step)

    def finish(self) -> None:
        """Close the trackers; what they hold back is written now."""
        if self._accelerator is not None:
            self._accelerator.end_training()
            self._accelerator = None


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as one level of `section.key`; what trackers do not take becomes text."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return values

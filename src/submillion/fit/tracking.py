"""Experiment trackers (wandb, tensorboard, mlflow, trackio), reached through accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator

from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir

PROJECT = "submillion"


def check(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed.

    Raises:
        BadInput: names the extra that installs each missing one.
    """
    # accelerate itself would skip a missing tracker silently.
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise BadInput(
            [
                Problem(
                    f"@{{track}}: {name}",
                    "an installed tracker",
                    f"no package '{name}'",
                    f'Install it with: pip install "submillion[{name}]"',
                )
                for name in missing
            ]
        )


class Tracking:
    """The trackers of one run; only the main process starts any."""

    def __init__(self, names: Sequence[str], run: RunDir, config: Mapping[str, Any], step: int = 0) -> None:
        """Start every tracker in project `submillion`, in a run named after the run directory.

        Args:
            names: any of wandb, tensorboard, mlflow, trackio; an empty list costs nothing.
            run: the run directory, which also holds the files of wandb and tensorboard.
            config: the recipe, nested; sections become `section.key`.
            step: step at which a resumed training continues; its trackers get a new run with the step in its name.

        Raises:
            BadInput: a tracker is not installed or did not start (for example, nobody is logged in).
        """
        self._accelerator: Any = None
        if not names:
            return
        check(names)
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
        except Exception as error:  # each tracker raises its own exceptions; all mean that it did not start
            problem = Problem(
                f"@{{track}}: {', '.join(names)}",
                "a tracker that starts",
                " ".join(f"{type(error).__name__}: {error}".split()),
                "Log in to it, use its offline mode (wandb: WANDB_MODE=offline), or remove it from @{track}.",
            )
            raise BadInput(problem) from error
        self._accelerator = accelerator

    def log(self, record: dict[str, Any]) -> None:
        """Log the numbers of one history record at its step, as `kind/name`."""
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
        """Close the trackers, which write what they have buffered."""
        if self._accelerator is not None:
            self._accelerator.end_training()
            self._accelerator = None


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as one level of `section.key`; values that trackers do not accept become text."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return values

"""Chooses an engine by its name."""

from __future__ import annotations

from dataclasses import dataclass

from submillion.study.engines.job import Engine
from submillion.study.engines.local import LocalEngine
from submillion.study.engines.ray import RayEngine

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineOptions:
    """An engine and its resources, as the user requests them."""

    name: str
    """One of ENGINES."""
    workers: int | None = None
    """Jobs at a time; None lets the engine choose."""
    threads: int | None = None
    """Threads of each job; None lets the engine choose."""


def open_engine(options: EngineOptions) -> Engine:
    """Return the requested engine.

    Raises:
        BadInput: ray is not installed, or the cluster does not offer the requested resources.
    """
    engine = RayEngine if options.name == "ray" else LocalEngine
    return engine(options.workers, options.threads)

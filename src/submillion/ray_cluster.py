"""The connection to a Ray cluster: an existing one, or one started on this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from submillion.errors import BadInput, Problem

THREADS = 2
PACKAGES = Path(__file__).parents[1]  # where workers find this package if the driver runs from a source tree


def connected() -> Any:
    """Return the module ray, connected to the cluster of RAY_ADDRESS, to one on this machine, or to a new one there.

    Raises:
        BadInput: ray is not installed, or no cluster answers at RAY_ADDRESS.
    """
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise BadInput(
            Problem("@{engine} ray", "the package ray", "none", "pip install 'submillion[ray]'")
        ) from error
    if not ray.is_initialized():
        connect(ray)
    return ray


def connect(ray: Any) -> None:
    """Connect the module ray to a cluster, or start one without a dashboard.

    Raises:
        BadInput: no cluster answers at RAY_ADDRESS.
    """
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address="auto", **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address:
            reason = " ".join(str(error).split())
            raise BadInput(
                Problem("RAY_ADDRESS", "the address of a cluster", f"'{address}' ({reason})")
            ) from error
        ray.init(include_dashboard=False, **quiet)


def cores_of_largest_node(ray: Any) -> int:
    """Return the most cores that one node of the cluster has, 0 without nodes."""
    return max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)


def python_path() -> str:
    """Return PYTHONPATH for every node: this package, then the entries of this process."""
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(PACKAGES), *map(os.path.abspath, own)])

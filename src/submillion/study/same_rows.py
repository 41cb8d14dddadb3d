"""Says whether the runs of a study were scored on the same rows: an axis such as `data.limit` may change them."""

from __future__ import annotations

from collections.abc import Mapping

from submillion.rundir import RunDir


def fingerprint(run: RunDir, split: str) -> str | None:
    """Return the hash of all texts and labels of a split, in order; None if the run has no such split."""
    entry = (run.read_manifest().get("data") or {}).get("splits", {}).get(split)
    return None if entry is None else str(entry["fingerprint"])


def rows_differ(runs: Mapping[tuple[str, int], RunDir], split: str) -> bool:
    """Return whether two runs of one seed have other rows, texts or labels in a split.

    Args:
        runs: by name of the cell and seed.
        split: its name.
    """
    of_seed: dict[int, set[str | None]] = {}
    for (_, seed), run in runs.items():
        of_seed.setdefault(seed, set()).add(fingerprint(run, split))
    return any(len(found) > 1 for found in of_seed.values())

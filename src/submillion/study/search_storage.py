"""The file that keeps what a search drew, so that it goes on after any kill, and the sampler that draws from it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from submillion.errors import BadInput, Problem
from submillion.pipeline import HELD_BACK
from submillion.rundir import RunDir
from submillion.study.grid import Grid

if TYPE_CHECKING:
    import optuna

STORAGE = "search.db"
DRAWN_BLINDLY = 10  # trials before those that learn from the others, at most a third of all
NEVER_PRUNED = 4  # trials that must be complete before one is compared with their median


def open_storage(grid: Grid, place: Path) -> optuna.Study:
    """Open the storage, or make it.

    Raises:
        BadInput: another search lies there, or trials are to be added to one whose test rows were looked at.
    """
    import optuna

    asked, study_file = grid.study.trials or 0, grid.study
    identity = sha256(json.dumps(_identity(grid)).encode()).hexdigest()
    # sqlite's transactions survive a kill at any point; a journal's half a line would not.
    study = optuna.create_study(
        storage=_url(place / STORAGE),
        study_name=study_file.name,
        direction="maximize",
        pruner=_pruner(study_file.pruner),
        load_if_exists=True,
    )
    kept = study.user_attrs
    remedy = "Name another place with --out."
    if kept.get("identity", identity) != identity:
        raise BadInput(
            Problem(str(place / STORAGE), "this study's base and space", "those of another search", remedy)
        )
    if kept.get("asked", asked) != asked:
        looked_at = [run.parent.name for run in place.glob("runs/*/manifest.json") if _looked_at(run.parent)]
        if looked_at:
            found = f"{kept['asked']} before, and test was looked at since"
            raise BadInput(Problem("trials", "as many as before", found, remedy))
    study.set_user_attr("identity", identity)
    study.set_user_attr("asked", asked)
    return study


def _identity(grid: Grid) -> list[Any]:
    """Return what decides the draws and what becomes of them."""
    study = grid.study
    base = grid.cells[0].recipe.to_yaml()
    asked = [] if study.pruner in (None, "median") else [study.pruner]
    return [base, study.search, study.hold, study.seeds[0], study.objective, *asked]


def _pruner(name: str | None) -> optuna.pruners.BasePruner:
    """Return what ends trials early."""
    import optuna

    if name == "asha":
        from submillion.study.asha import Asha

        return Asha()
    return optuna.pruners.MedianPruner(n_startup_trials=NEVER_PRUNED)


def _url(file: Path) -> str:
    """Return a file's address, whatever characters its path has."""
    from sqlalchemy.engine import URL

    address = URL.create("sqlite", database=f"file:{quote(str(file))}", query={"uri": "true"})
    return address.render_as_string(hide_password=False)


def _looked_at(run: Path) -> bool:
    return RunDir(run).read_manifest().get(HELD_BACK) is False


def sampler(seed: str, trials: int) -> optuna.samplers.BaseSampler:
    """Return a sampler of its own for one question, so that a trial's draws do not hang on who asked before."""
    import optuna

    return optuna.samplers.TPESampler(
        n_startup_trials=min(DRAWN_BLINDLY, max(1, trials // 3)),
        multivariate=False,  # ranges differ from trial to trial
        constant_liar=False,
        seed=int.from_bytes(sha256(seed.encode()).digest()[:4]),
    )

"""The storage of a search: an SQLite file with all trials, so that a killed search continues, and its sampler."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from sqlalchemy.engine import URL

from submillion.errors import BadInput, Problem
from submillion.rundir import RunDir
from submillion.study.asha import AshaPruner
from submillion.study.design import StudyDesign
from submillion.wording import listed

STORAGE = "search.db"
STARTUP_TRIALS = (
    10  # drawn at random before the sampler learns from earlier ones, at most a third of all trials
)
MEDIAN_STARTUP_TRIALS = 4  # complete trials before one is compared with their median


def open_storage(design: StudyDesign, folder: Path) -> optuna.Study:
    """Open the storage of a search, or create it.

    Args:
        design: a study with a space.
        folder: the study's directory.

    Raises:
        BadInput: the storage belongs to another search, or trials are added to one that was scored on test.
    """
    requested, file = design.study.trials or 0, folder / STORAGE
    identity = sha256(json.dumps(_identity(design)).encode()).hexdigest()
    # SQLite's transactions survive a kill at any point; a journal file could end in half a line.
    study = optuna.create_study(
        storage=_url(file),
        study_name=design.study.name,
        direction="maximize",
        pruner=_pruner(design.study.pruner),
        load_if_exists=True,
    )
    stored = study.user_attrs
    remedy = "Choose another directory with @{out}."
    if stored.get("identity", identity) != identity:
        raise BadInput(Problem(str(file), "the trials of this study", "those of another search", remedy))
    if stored.get("requested", requested) != requested:
        tested = sorted(
            run.parent.name for run in folder.glob("runs/*/manifest.json") if _is_tested(run.parent)
        )
        if tested:
            result = f"{requested}, after {listed(tested)} were scored on test"
            raise BadInput(Problem("trials", str(stored["requested"]), result, remedy))
    study.set_user_attr("identity", identity)
    study.set_user_attr("requested", requested)
    return study


def _identity(design: StudyDesign) -> list[Any]:
    """Return everything that decides which recipes are drawn and which trials are pruned."""
    study = design.study
    base = design.cells[0].recipe.to_yaml()
    pruner = [] if study.pruner in (None, "median") else [study.pruner]
    return [base, study.search, study.hold, study.seeds[0], study.objective, *pruner]


def _pruner(name: str | None) -> optuna.pruners.BasePruner:
    if name == "asha":
        return AshaPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP_TRIALS)


def _url(file: Path) -> str:
    """Return the SQLite address of a file, whatever characters its path has."""
    address = URL.create("sqlite", database=f"file:{quote(str(file))}", query={"uri": "true"})
    return address.render_as_string(hide_password=False)


def _is_tested(run: Path) -> bool:
    return RunDir(run).read_manifest().get("test_held_back") is False


def sampler(seed: str, trials: int) -> optuna.samplers.BaseSampler:
    """Return a new TPE sampler for one draw, so that a draw does not depend on which draws this process made before.

    Args:
        seed: identifies the draw.
        trials: of the search.
    """
    return optuna.samplers.TPESampler(
        n_startup_trials=min(STARTUP_TRIALS, max(1, trials // 3)),
        multivariate=False,  # ranges differ from trial to trial
        constant_liar=False,
        seed=int.from_bytes(sha256(seed.encode()).digest()[:4]),
    )

"""Tests of the paths that a run names: relative to it in its files, so that run and data can be moved together."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import run_paths
from submillion.run_paths import located, relative


def test_paths_beside_the_run_are_relative_and_lead_back(tmp_path: Path) -> None:
    run, data = tmp_path / "runs" / "mine", tmp_path / "data"
    run.mkdir(parents=True)
    sources = [str(data), str(data / "rows.csv"), str(run / "data" / "train.parquet")]
    value = {"train": sources[1], "notices": [f"{data}: 3 rows of {sources[1]}.", 7], "labels": [str(data)]}
    assert relative(value, sources, run) == {
        "train": "../../data/rows.csv",
        "notices": ["../../data: 3 rows of ../../data/rows.csv.", 7],
        "labels": [str(data)],
    }
    for source in sources:
        name = relative(source, sources, run)
        assert not Path(name).is_absolute()
        assert located(name, run) == source


def test_another_path_that_begins_alike_is_unchanged(tmp_path: Path) -> None:
    others = [f"{tmp_path}/data2", f"{tmp_path}/data.csv", f"{tmp_path}/data-old", f"x{tmp_path}/data"]
    assert relative(others, [f"{tmp_path}/data"], tmp_path / "run") == others


@pytest.mark.parametrize("name", ["roberta-base", "org/name", "/srv/data.csv", "http://x/y"])
def test_names_and_absolute_paths_stay(tmp_path: Path, name: str) -> None:
    assert located(name, tmp_path) == name


def test_a_path_that_shares_only_the_root_stays_absolute(tmp_path: Path) -> None:
    assert relative("/srv/rows.csv", ["/srv/rows.csv"], tmp_path) == "/srv/rows.csv"


def test_a_copied_value_names_the_same_files(tmp_path: Path) -> None:
    run, copy = tmp_path / "runs" / "a", tmp_path / "b"
    sources = [str(tmp_path / "data" / "train.csv"), str(tmp_path / "data"), str(run / "own.parquet")]
    value = {"text": "read ../../data/train.csv, ../data and ./own.parquet", "labels": ["../../data"]}
    assert run_paths.moved(value, sources, run, copy) == {
        "text": "read ../data/train.csv, ../data and ./own.parquet",
        "labels": ["../../data"],
    }

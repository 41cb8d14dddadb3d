"""Tests of whole studies with a tiny encoder: trained, continued, killed at random points."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import yaml

from submillion.errors import BadInput
from submillion.rundir import RunDir
from submillion.study.run import study
from submillion.verification.run.checks import verify
from support.fork_server import shared_server
from support.kills import KILLED, facts, place_beside
from support.study_driver import findings, with_test
from support.tiny_project import RATES, shared_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")


@pytest.fixture(scope="module")
def project() -> Path:
    """A folder with a tiny encoder, data, and a study of two cells."""
    return shared_project()


@pytest.fixture(scope="module")
def done(project: Path) -> Path:
    """That study, trained without interruption by the fork server, with a test split; not to be changed."""
    ended = shared_server().run(*study_command(project / "done"))
    assert ended.code == 0, ended.output
    return project / "done"


def study_command(place: Path, *sets: str) -> list[object]:
    words = [word for item in (*with_test(), *sets) for word in ("--set", item)]
    return ["study", shared_project() / "rates.yaml", "--out", place, "--quiet", *words]


def run_of(place: Path, cell: str) -> RunDir:
    return RunDir(place / "runs" / f"{cell.replace('=', '-')}-seed1")


def test_a_study_trains_every_cell_with_every_seed(done: Path) -> None:
    found = findings(done)
    assert [cell["seeds"] for cell in found["cells"]] == [[1], [1]]
    assert found["winner"] == "base"
    assert all(cell["accuracy"] for cell in found["cells"])


def test_only_winner_and_base_are_scored_on_test(done: Path, project: Path, tmp_path: Path) -> None:
    outcome = study(project / "rates.yaml", done, overrides=with_test(), quiet=True)
    base, other = (run_of(done, cell["name"]) for cell in outcome.findings["cells"])
    assert outcome.findings["winner"] == "base" and set(outcome.findings["test"]) == {"base-seed1"}
    assert set(base.read_json(base.metrics)) == {"validation", "test"} and base.report.is_file()
    assert set(other.read_json(other.metrics)) == {"validation"} and not other.report.is_file()
    assert not base.read_manifest()["test_held_back"] and other.read_manifest()["test_held_back"]
    assert "Only the base was scored on test" in outcome.render()
    assert verify(base.path, rows=5, seed=0).holds  # a finished trial is a run as any other

    # The same two recipes the other way round: what was trained is taken, and what won is now compared with the base.
    turned = tmp_path / "turned"
    for run, name in ((base, f"train.learning_rate={RATES[0]}"), (other, "base")):
        place = run_of(turned, name).path
        place.mkdir(parents=True)
        copied = run.copy_to(place)
        copied.write_recipe(copied.read_recipe().model_copy(update={"name": copied.path.name}))
        copied.seal(copied.recipe)
    sets = [*with_test(), f"train.learning_rate={RATES[1]}"]
    ended = shared_server().run(*study_command(turned, sets[-1]))
    assert ended.code == 0, ended.output
    outcome = study(project / "rates.yaml", turned, overrides=sets, quiet=True)
    assert not outcome.failed
    winner = outcome.findings["winner"]
    assert winner == f"train.learning_rate={RATES[0]}"
    scores = [
        outcome.findings["test"][run_of(turned, cell).path.name]["accuracy"] for cell in (winner, "base")
    ]
    assert outcome.findings["test_effect"]["difference"] == pytest.approx(scores[0] - scores[1])
    assert "Only the winner and the base were scored on test" in outcome.render()


def test_a_complete_study_trains_nothing(done: Path, project: Path) -> None:
    def times() -> dict[Path, int]:
        files = [file for file in (done / "runs").rglob("*") if file.is_file() and file.suffix != ".lock"]
        return {file: file.stat().st_mtime_ns for file in files}

    before, found = times(), findings(done)
    assert not study(project / "rates.yaml", done, overrides=with_test(), quiet=True).failed
    assert findings(done) == found
    assert times() == before


def test_a_run_of_another_recipe_is_refused(done: Path, project: Path) -> None:
    with pytest.raises(BadInput, match="a run with this study's recipe"):
        study(project / "rates.yaml", done, overrides=[*with_test(), "lora.r=2"], quiet=True)


def test_failed_runs_are_reported_and_the_others_kept(done: Path, project: Path, tmp_path: Path) -> None:
    # A worker that the local engine starts; those of the other tests are forked.
    (tmp_path / "gone.csv").write_text("text,label\n", encoding="utf-8")
    axes = {"data.train": [str(project / "train.csv"), str(tmp_path / "gone.csv")]}
    (tmp_path / "gone.yaml").write_text(
        yaml.safe_dump({"base": str(project / "tiny.yaml"), "axes": axes, "seeds": [1]}), encoding="utf-8"
    )
    place = run_of(tmp_path / "out", "base").path
    place.mkdir(parents=True)
    run_of(done, "base").copy_to(place)
    outcome = study(tmp_path / "gone.yaml", tmp_path / "out", overrides=with_test(), quiet=True)
    (name,) = outcome.failed
    assert "gone.csv" in name and "gone.csv" in outcome.failed[name]
    assert [len(cell["seeds"]) for cell in outcome.findings["cells"]] == [1, 0]
    assert "failed" in outcome.render()


def test_cells_of_which_one_has_no_test_rows_are_not_scored_on_test(project: Path, tmp_path: Path) -> None:
    better = {"data.test": "none", "train.learning_rate": RATES[0]}
    values = {"base": str(project / "tiny.yaml"), "axes": {"data": {"untested": better}}, "seeds": [1]}
    values["set"] = {"train.learning_rate": RATES[1], "data.limit": 40}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    sets = [word for item in with_test() for word in ("--set", item)]
    ended = shared_server().run("study", tmp_path / "some.yaml", "--out", tmp_path / "out", *sets)
    assert ended.code == 0, ended.output
    assert "No run is scored on test: data-untested-seed1 has no test rows" in ended.output
    assert "test" not in findings(tmp_path / "out")


def test_an_unknown_engine_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'local'"):
        study(project / "rates.yaml", tmp_path / "out", engine="locl", quiet=True)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_with_the_same_table(done: Path, seed: int) -> None:
    """Kills the study with its runs, or one of its runs; test_kills.py does the same with single runs."""
    drawn = random.Random(seed)
    with place_beside(done) as place:
        for number in range(6):
            kill = [
                {"at_event": drawn.randint(1, 40)},
                {"worker_at_event": drawn.randint(1, 200)},
                {"after_s": drawn.uniform(0.3, 2.5)},
            ][number % 3]
            ended = shared_server().run(*study_command(place), **kill)
            # A killed run is reported as failed; the next call continues it.
            assert ended.code in (KILLED, 1, 0), ended.output
            assert "Traceback" not in ended.output
        ended = shared_server().run(*study_command(place))
        assert ended.code == 0, ended.output
        assert findings(place) == findings(done)
        for run in (done / "runs").glob("*-seed1"):
            assert facts(RunDir(place / "runs" / run.name)) == facts(RunDir(run))

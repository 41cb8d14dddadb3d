"""Tests of searches with a stand-in for the training: pruning, continuation after a kill, the best trial."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from submillion.errors import BadInput
from submillion.study.run import Outcome, study
from support import TESTS
from support.study_worker import RATES, TRAINING, begun, search_file, searched, stand_in, trained_by

pytest.importorskip("optuna", reason="optuna is not installed")

# What a process with the stand-in does, so that the whole of it can be killed.
DRIVER = """
import sys
from support.study_worker import trained_by
from submillion.study.run import study
with trained_by(sys.argv[1]):
    study(sys.argv[2], sys.argv[3], quiet=True)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return searched(tmp_path_factory.mktemp("done"), tables=True)


def test_the_best_trial_and_the_base_are_trained_with_every_seed(done: Outcome) -> None:
    found, search = done.findings, done.findings["search"]
    assert not done.failed
    assert search["complete"] + search["pruned"] == 8 and search["failed"] == 0
    best = max(
        (trial for trial in search["trials"] if trial["state"] == "complete"), key=lambda one: one["value"]
    )
    assert search["best"] == found["winner"] == best["cell"]
    with_every_seed = {cell["name"] for cell in found["cells"] if cell["seeds"] == [1, 2]}
    assert with_every_seed == {"base", best["cell"]}
    (pair,) = found["pairs"]
    assert {pair["a"], pair["b"]} == with_every_seed and pair["seeds"] == 2
    assert found["effects"] == []
    assert set(found["pareto"]["trainable"]) == {best["cell"]}  # all train as many parameters
    assert best["cell"] in done.render() and "8 of 8 trials with seed 1" in done.render()


def test_all_trials_are_in_the_storage_and_the_table(done: Outcome) -> None:
    import optuna

    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{done.path / 'search.db'}")
    assert summary.n_trials == 8
    for trial in done.findings["search"]["trials"]:
        rate = trial["params"]["train.learning_rate"]
        assert trial["cell"] == f"train.learning_rate={float(f'{rate:.3g}')}"
    shown = (done.path / "table.md").read_text(encoding="utf-8")
    states = {trial["cell"]: trial["state"] for trial in done.findings["search"]["trials"]}
    for name, state in states.items():
        assert (
            f"| {name} | {0 if state == 'pruned' else 2 if name == done.findings['winner'] else 1} |" in shown
        )
        assert (f"| {name} | 0 | pruned |" in shown) == (state == "pruned")


def test_a_trial_below_the_median_is_stopped(done: Outcome) -> None:
    trials = done.findings["search"]["trials"]
    assert all(trial["state"] == "complete" for trial in trials[:4])
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    for trial in trials[4:]:
        before = [one for one in trials[: trial["number"]] if one["state"] == "complete"]
        for at, value in enumerate(trial["evaluations"][:2]):
            others = sorted(one["evaluations"][at] for one in before)
            below = value < (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2
            assert below == (trial["state"] == "pruned" and at == len(trial["evaluations"]) - 1)


def test_the_process_of_a_pruned_trial_is_terminated(done: Outcome, tmp_path: Path) -> None:
    pruned = [trial["cell"] for trial in done.findings["search"]["trials"] if trial["state"] == "pruned"]
    names = [f"{name.replace('=', '-')}-seed1" for name in pruned]
    # Left alone, they would take longer than anybody waits.
    script = TRAINING.replace("SLEEP", f"3600 if run.name in {names} else 0")
    (tmp_path / "training.py").write_text(script, encoding="utf-8")
    with trained_by(tmp_path / "training.py"):
        assert study(search_file(tmp_path), tmp_path / "out", quiet=True).findings == done.findings
    assert set(names) <= set(begun(tmp_path / "out"))
    own = [process.cmdline() for process in psutil.process_iter() if process.ppid() == psutil.Process().pid]
    assert not any(str(tmp_path / "training.py") in command for command in own)


def test_the_same_seed_draws_the_same_recipes(done: Outcome, tmp_path: Path) -> None:
    assert searched(tmp_path).findings == done.findings
    other = searched(tmp_path, "other", seeds=[3, 2], trials=1).findings["search"]["trials"]
    assert other[0]["params"] != done.findings["search"]["trials"][0]["params"]


def test_a_complete_search_trains_nothing(done: Outcome) -> None:
    before = begun(done.path)
    assert searched(done.path.parent).findings == done.findings
    assert begun(done.path) == before and len(before) == len(set(before)) == 8 + 1 + 2


def test_a_search_can_be_extended(done: Outcome, tmp_path: Path) -> None:
    few = searched(tmp_path, trials=4)
    more = searched(tmp_path, trials=6)
    assert more.findings["search"]["trials"][:4] == few.findings["search"]["trials"]
    assert more.findings["search"]["requested"] == 6 and len(more.findings["search"]["trials"]) == 6
    manifest = next((tmp_path / "out" / "runs").glob("base*")) / "manifest.json"
    kept = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(kept | {"test_held_back": False}), encoding="utf-8")
    with pytest.raises(BadInput, match="after .* were scored on test"):
        searched(tmp_path, trials=7)


def test_a_killed_search_continues_and_has_every_trial_once(done: Outcome, tmp_path: Path) -> None:
    script, file, place = stand_in(tmp_path, sleep=0.15), search_file(tmp_path), tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, str(script), str(file), str(place)]
    for runs in (2, 6):
        with (tmp_path / "log").open("ab") as log:
            driver = subprocess.Popen(command, cwd=TESTS, stdout=log, stderr=log)
        while driver.poll() is None and not (
            (place / "runs" / "begun").is_file() and len(set(begun(place))) >= runs
        ):
            time.sleep(0.01)
        workers = psutil.Process(driver.pid).children()
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        for worker in workers:  # the real one dies with its driver
            worker.kill()
    assert searched(tmp_path).findings == done.findings


class Crash(BaseException):
    """Stands in for the end of the process."""


def test_a_crash_after_any_write_to_the_storage_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages import RDBStorage

    values = {"search": RATES | {"lora.r": {"low": 1, "high": 64}}, "trials": 6, "seeds": [1]}
    undisturbed = searched(tmp_path, "undisturbed", **values)
    writes = 0

    def crashing(write: Any) -> Any:
        def done_last(*given: Any, **named: Any) -> Any:
            nonlocal writes
            answer = write(*given, **named)
            writes += 1
            if writes % 7 == 0:
                raise Crash
            return answer

        return done_last

    # Beside these the storage writes the study's own two attributes at each start.
    for name in ("create_new_trial", "set_trial_param", "set_trial_user_attr", "set_trial_intermediate_value",
                 "set_trial_state_values"):  # fmt: skip
        monkeypatch.setattr(RDBStorage, name, crashing(getattr(RDBStorage, name)))
    crashes = 0
    while True:
        try:
            outcome = searched(tmp_path, "crashed", **values)
            break
        except Crash:
            crashes += 1
    assert crashes > 5
    assert outcome.findings == undisturbed.findings


def test_a_diverged_training_is_a_failed_trial(tmp_path: Path) -> None:
    rates = {"train.learning_rate": {"choice": [0.001, 0.06]}}
    outcome = searched(tmp_path, search=rates, trials=6)
    search = outcome.findings["search"]
    assert search["failed"] and search["complete"] and not outcome.failed
    assert {trial["error"] for trial in search["trials"] if trial["state"] == "failed"} == {"diverged"}
    assert search["best"] == "train.learning_rate=0.001" == outcome.findings["winner"]


def test_the_next_call_repeats_a_trial_whose_process_failed(tmp_path: Path) -> None:
    rates = {"train.learning_rate": {"choice": [0.002, 0.03]}}
    broken = searched(tmp_path, search=rates, trials=4)
    assert set(broken.failed.values()) == {"out of memory"}
    assert broken.findings["search"]["best"] is None
    (tmp_path / "out" / "runs" / "mended").touch()
    mended = searched(tmp_path, search=rates, trials=4)
    assert not mended.failed and mended.findings["search"]["complete"] == 4
    assert [trial["params"] for trial in mended.findings["search"]["trials"]] == [
        trial["params"] for trial in broken.findings["search"]["trials"]
    ]


def test_without_a_complete_trial_there_is_no_best(tmp_path: Path) -> None:
    outcome = searched(tmp_path, search={"train.learning_rate": {"low": 0.06, "high": 0.09}}, trials=2)
    assert outcome.failed == {"search": "diverged"}
    assert outcome.findings["search"]["failed"] == 2 and outcome.findings["winner"] is None


def test_the_storage_of_another_search_is_refused(done: Outcome, tmp_path: Path) -> None:
    searched(tmp_path, trials=1)
    with pytest.raises(BadInput, match="those of another search"):
        searched(tmp_path, trials=1, search={"train.learning_rate": {"low": 1e-4, "high": 1e-3}})


def test_any_folder_name_works(tmp_path: Path) -> None:
    assert not searched(tmp_path, "what? 100% #1 ü", trials=1).failed
    assert (tmp_path / "what? 100% #1 ü" / "search.db").is_file()


def test_without_optuna_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"pip install 'submillion\[search\]'"):
        searched(tmp_path)
    assert not (tmp_path / "out" / "runs").exists()

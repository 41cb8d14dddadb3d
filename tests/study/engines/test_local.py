"""Tests of the local engine: parallel jobs, failures, memory, termination."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from submillion.study.engines import local as local_engine
from submillion.study.engines.job import FinishedJob, Job
from submillion.study.engines.local import LocalEngine
from support.study_jobs import jobs


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_engine, "TICK_S", 0.02)


def finished(engine: LocalEngine, waiting: list[Job], seen: list[int]) -> list[FinishedJob]:
    return list(engine.run(waiting, lambda running: seen.append(len(running))))


def test_every_job_ends_with_its_own_code_and_log(tmp_path: Path) -> None:
    scripts = ["print('fine')", "import sys; sys.exit('it broke')", "import os; os.kill(os.getpid(), 9)"]
    ended = finished(LocalEngine(1, 1), jobs(tmp_path, scripts), [])
    assert {end.job.name: end.exit_code for end in ended} == {"job0": 0, "job1": 1, "job2": -9}
    assert "it broke" in (tmp_path / "logs" / "job1.txt").read_text(encoding="utf-8")


def test_a_job_gets_the_requested_threads(tmp_path: Path) -> None:
    finished(LocalEngine(1, 3), jobs(tmp_path, ["import os; print(os.environ['OMP_NUM_THREADS'])"]), [])
    assert (tmp_path / "logs" / "job0.txt").read_text(encoding="utf-8").strip() == "3"


def test_the_first_job_runs_alone_to_measure_its_memory(tmp_path: Path) -> None:
    manifest = json.dumps({"format": 2, "training": {"peak_memory_mb": 1.0}})
    write = (
        f"import time, pathlib; time.sleep(0.3); run = pathlib.Path({str(tmp_path)!r}) / '%s'; run.mkdir(); "
        f"(run / 'manifest.json').write_text({manifest!r})"
    )
    seen: list[int] = []
    finished(LocalEngine(2, 1), jobs(tmp_path, [write % f"run{number}" for number in range(4)]), seen)
    first_two = seen.index(2)
    assert set(seen[:first_two]) == {1}  # alone at first
    assert max(seen) == 2  # then as many as there are workers


def test_a_job_waits_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(2, 1)
    engine._peak = psutil.virtual_memory().total * 2.0
    seen: list[int] = []
    finished(engine, jobs(tmp_path, ["import time; time.sleep(0.2)"] * 3), seen)
    assert max(seen) == 1


def test_running_jobs_end_with_the_engine(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    work = LocalEngine(1, 1).run(jobs(tmp_path, [script, script]), lambda running: None)
    engine = LocalEngine(1, 1)
    gone: list[int] = []

    def stop(running: list[Job]) -> None:
        if file.is_file() and file.read_text():
            gone.append(int(file.read_text()))
            raise KeyboardInterrupt

    work = engine.run(jobs(tmp_path, [script, script]), stop)
    with pytest.raises(KeyboardInterrupt):
        next(work)
    assert not psutil.pid_exists(gone[0])


def test_cores_are_shared_among_workers() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert LocalEngine(workers=cores).threads == 1
    assert LocalEngine(threads=1).workers == cores
    assert LocalEngine(threads=cores).workers == 1
    assert LocalEngine(threads=2 * cores).workers == 1

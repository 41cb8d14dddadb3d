"""Tests of all that runs on a Ray cluster, in one file so that they share it: studies, `BatchPredictor`, `predict`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from submillion import BatchPredictor, notices, pipeline, ray_cluster
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.ship import predict, predict_engines, predict_parts, predict_rows
from submillion.ship.predict import predict_file
from submillion.ship.predict_options import PredictOptions
from submillion.study.engines import ray as ray_engine
from submillion.study.engines.job import FinishedJob, Job
from submillion.study.engines.ray import RayEngine
from submillion.study.run import study
from support import TESTS
from support.study_driver import driver, first_worker, is_gone, workers_of
from support.study_jobs import Script, jobs
from support.tiny import tiny_texts
from support.tiny_project import RATES, shared_project
from support.tiny_run import tiny_run

# Not importorskip: every process of the tests would import it.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

MEMORY = 80 << 20  # bytes; the least that Ray takes for its objects is 75 MB
NODE = {"num_cpus": 1, "object_store_memory": MEMORY}
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
    "worker_niceness": 0,  # else the trainings wait for all else that the machine does
}
# As `submillion.study.worker` does: it ends with the process that started it.
WITH_PARENT = "import ctypes, os, pathlib, signal, time; ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
LONG_AT_FIRST = WITH_PARENT + (
    "begun = pathlib.Path({folder!r}) / '{name}'\n"
    "first = not begun.exists()\n"
    "begun.write_text(str(os.getpid()))\n"
    "{at_first}\n"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and two nodes of one core each."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False, "_system_config": QUICK}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(wait=False, **NODE)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "TICK_S", 0.1)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))  # where workers find `Script`


def finished(waiting: list[Job], workers: int | None = None) -> dict[str, int]:
    ended: list[FinishedJob] = list(RayEngine(workers).run(waiting, lambda running: None))
    assert len(ended) == len(waiting)
    return {end.job.name: end.exit_code for end in ended}


def long_at_first(folder: Path, at_first: str) -> list[Job]:
    script = LONG_AT_FIRST.format(folder=str(folder), name="begun", at_first=at_first)
    return [Script("job", None, folder / "run", folder / "log.txt", script)]


def lose_node(cluster: Any, process: psutil.Process) -> None:
    """Kill all processes of the node on which a process is, and let another node join in its place."""
    above = {parent.pid for parent in process.parents()}
    (node,) = (
        node
        for node in cluster.worker_nodes
        if above & {info.process.pid for info in node.all_processes["raylet"]}
    )
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(wait=False, **NODE)


def test_every_job_ends_with_its_own_code_and_log(cluster: Any, tmp_path: Path) -> None:
    scripts = ["print('fine')", "import sys; sys.exit('it broke')", "import os; os.kill(os.getpid(), 9)"]
    assert finished(jobs(tmp_path, scripts)) == {"job0": 0, "job1": 1, "job2": -9}
    assert "it broke" in (tmp_path / "logs" / "job1.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", [None, 1])
def test_no_more_jobs_at_a_time_than_cores(cluster: Any, tmp_path: Path, workers: int | None) -> None:
    cores, together = workers or 2, tmp_path / "together"
    together.mkdir()
    # Each waits until as many have begun as there are cores, however long their processes take to start.
    script = (
        "import os, pathlib, time; began = time.monotonic(); print(began, flush=True)\n"
        f"together = pathlib.Path({str(together)!r}); (together / str(os.getpid())).touch()\n"
        f"while len(list(together.iterdir())) < {cores}: time.sleep(0.02); assert time.monotonic() < began + 60\n"
        "time.sleep(0.2); print(time.monotonic())"
    )
    assert set(finished(jobs(tmp_path, [script] * 4), workers).values()) == {0}
    events = []
    for log in (tmp_path / "logs").iterdir():
        began, ended = map(float, log.read_text(encoding="utf-8").split())
        events += [(began, 1), (ended, -1)]
    running = [sum(change for _, change in sorted(events)[:at]) for at in range(1, len(events))]
    assert max(running) == cores


def test_workers_find_the_package_and_their_threads(cluster: Any, tmp_path: Path) -> None:
    script = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONPATH'])"
    finished(jobs(tmp_path, [script]))
    threads, path = (tmp_path / "logs" / "job0.txt").read_text(encoding="utf-8").split(maxsplit=1)
    assert threads == "1"
    import submillion

    assert path.strip().split(os.pathsep) == [
        str(Path(submillion.__file__).parents[1]),
        str(TESTS),
    ]


def test_running_jobs_end_with_the_engine(cluster: Any, tmp_path: Path) -> None:
    on_sigterm = "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), os._exit(0)))"
    script = f"import os, signal, time\n{on_sigterm}\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    logs = [tmp_path / "logs" / f"job{number}.txt" for number in range(3)]

    def both() -> list[str]:
        return [log.read_text(encoding="utf-8") for log in logs if log.is_file() and log.stat().st_size]

    def stop(running: list[Job]) -> None:
        if len(both()) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(RayEngine().run(jobs(tmp_path, [script] * 3), stop))
    pids, saved = zip(*(text.split() for text in both()), strict=True)
    assert all(is_gone(int(pid)) for pid in pids)
    assert set(saved) == {"saved"}  # asked to end, not killed
    assert len(both()) == 2  # the third one never began


def test_a_job_is_repeated_if_its_worker_dies(cluster: Any, tmp_path: Path) -> None:
    work = long_at_first(tmp_path, "if first: os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)")
    assert finished(work) == {"job": 0}


def test_more_cores_than_any_node_has_are_refused(cluster: Any) -> None:
    with pytest.raises(BadInput, match="`threads`: expected 1 to 1, the cores of the largest node, found 2"):
        RayEngine(threads=2)


def test_the_job_of_a_lost_node_is_repeated(cluster: Any, tmp_path: Path) -> None:
    work = long_at_first(tmp_path, "if first: time.sleep(600)")
    lost: list[int] = []

    def lose(running: list[Job]) -> None:
        begun = tmp_path / "begun"
        if lost or not (begun.is_file() and begun.read_text()):
            return
        lost.append(int(begun.read_text()))
        lose_node(cluster, psutil.Process(lost[0]))

    (ended,) = RayEngine().run(work, lose)
    assert ended.exit_code == 0
    assert lost and int((tmp_path / "begun").read_text()) != lost[0]
    assert is_gone(lost[0])


def test_a_study_whose_driver_and_node_die_trains_what_an_undisturbed_training_does(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills the driver while a worker starts, and its node once a worker has saved a checkpoint."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    project, place, log = shared_project(), tmp_path / "study", tmp_path / "driver.txt"
    # Many epochs leave time for the loss of the node.
    sets = ["train.threads=1", "train.epochs=8"]
    values = {"base": str(project / "tiny.yaml"), "axes": {"train.learning_rate": RATES[:1]}, "seeds": [1]}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    options = ["--engine", "ray", *(word for item in sets for word in ("--set", item))]
    with driver(tmp_path / "one.yaml", place, options, log) as process:
        worker = first_worker(process, place, log)
        process.kill()
        assert is_gone(worker.pid), "a worker outlived its driver"

    lost = _nodes_lost(cluster, place, monkeypatch)
    outcome = study(tmp_path / "one.yaml", place, engine="ray", overrides=sets, quiet=True)
    assert not outcome.failed
    assert lost and is_gone(lost[0])
    (cell,) = outcome.findings["cells"]
    (run,) = (place / "runs").glob("*-seed1")
    alone = pipeline.train(
        Recipe.load(project / "tiny.yaml", [*sets, "seed=1"]),
        tmp_path / "alone",
        quiet=True,
        hold_back_test=True,
    ).run
    assert cell["accuracy"]["mean"] == alone.read_json(alone.metrics)["validation"]["accuracy"]
    for file in ("adapter/adapter_model.safetensors", "predictions/validation.parquet"):
        assert (run / file).read_bytes() == (alone.path / file).read_bytes()


def _nodes_lost(cluster: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lose the node of the first worker that has evaluated an epoch, and add the worker to the list."""
    lost, run = list[int](), RayEngine.run

    def run_and_lose(engine: RayEngine, waiting: list[Job], tick: Callable[[list[Job]], None]) -> Any:
        def tick_and_lose(running: list[Job]) -> None:
            tick(running)
            evaluated = any('"eval"' in file.read_text() for file in place.glob("runs/*/history.jsonl"))
            if evaluated and not lost and (workers := workers_of(place)):
                lost.append(workers[0].pid)
                lose_node(cluster, workers[0])

        return run(engine, waiting, tick_and_lose)

    monkeypatch.setattr(RayEngine, "run", run_and_lose)
    return lost


# -- predictions -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return tiny_run(tmp_path_factory.mktemp("home"))[0]


def test_ray_data_maps_a_batch_predictor_on_two_nodes_of_which_one_dies(
    cluster: Any, run: RunDir, tmp_path: Path
) -> None:
    import ray.data

    texts = tiny_texts(40, seed=5)[0]
    signs = tmp_path / "signs"
    signs.mkdir()

    def wait_for_loss(batch: dict[str, Any]) -> dict[str, Any]:
        """Keep a node busy until it is lost, so that it has work to lose."""
        (signs / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while not (signs / "lost").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return batch

    data = ray.data.from_items(
        [{"id": row, "text": text} for row, text in enumerate(texts)], override_num_blocks=4
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    predictor = BatchPredictor(run.path, probabilities=True)
    with ThreadPoolExecutor(1) as thread:  # a node is only added from the main thread
        mapped = thread.submit(data.map_batches(wait_for_loss).map_batches(predictor).take_all)
        while not (busy := list(signs.iterdir())):
            assert not mapped.done(), mapped.result()
            time.sleep(0.05)
        lose_node(cluster, psutil.Process(int(busy[0].name)))
        (signs / "lost").touch()
        rows = mapped.result()
    rows.sort(key=lambda row: row["id"])
    here = predictor({"text": np.array(texts)})
    assert [row["text"] for row in rows] == texts
    assert [row["predicted_label"] for row in rows] == list(here["predicted_label"])
    np.testing.assert_allclose([row["confidence"] for row in rows], here["confidence"], atol=1e-6)


def test_a_prediction_on_the_cluster_writes_what_one_of_this_process_writes(
    cluster: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_rows, "READ_ROWS", 10)
    (tmp_path / "in.txt").write_text("\n".join(tiny_texts(45, seed=6)[0]) + "\n", encoding="utf-8")
    said: dict[str, list[dict[str, Any]]] = {}
    for engine in ("local", "ray", "ray again"):  # the processes of the cluster have opened the run by then
        options = PredictOptions(engine=engine.split()[0], chunk_rows=10)
        with notices.collecting(quiet=True):
            assert (
                predict_file(run.path, tmp_path / "in.txt", tmp_path / f"{engine}.csv", options=options) == 45
            )
            said[engine] = sorted(notices.collected(), key=lambda notice: notice["text"])
    assert (tmp_path / "ray.csv").read_text() == (tmp_path / "local.csv").read_text()
    assert "precision" in {notice["code"] for notice in said["local"]}
    assert said["local"] == said["ray"] == said["ray again"]


def test_a_prediction_on_the_cluster_is_continued_after_its_last_part(
    cluster: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PARTS_FROM", 20)
    monkeypatch.setattr(predict_parts, "PART_ROWS", 20)
    monkeypatch.setattr(predict_rows, "READ_ROWS", 10)
    (tmp_path / "in.txt").write_text("\n".join(tiny_texts(45, seed=7)[0]) + "\n", encoding="utf-8")
    out, classified = tmp_path / "out.csv", list[int]()
    scored = predict_engines.RayEngine.scored

    def until(stop: int) -> Callable[..., Iterator[Any]]:
        def counted(engine: predict_engines.RayEngine, chunks: Iterator[Any]) -> Iterator[Any]:
            for one in scored(engine, chunks):
                if len(classified) == stop:
                    raise KeyboardInterrupt
                classified.append(len(one[0][1]))
                yield one

        return counted

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict_engines.RayEngine, "scored", until(3))
        predict_file(run.path, tmp_path / "in.txt", out, options=PredictOptions(engine="ray", chunk_rows=10))
    assert not out.exists()
    classified.clear()
    monkeypatch.setattr(predict_engines.RayEngine, "scored", until(-1))
    resumed = PredictOptions(engine="ray", chunk_rows=10, resume=True)
    assert predict_file(run.path, tmp_path / "in.txt", out, options=resumed) == 45
    assert sum(classified) == 45 - 20, "the complete part is not classified again"
    predict_file(run.path, tmp_path / "in.txt", tmp_path / "local.csv")
    assert out.read_text() == (tmp_path / "local.csv").read_text()


def test_the_chunk_of_a_lost_node_is_classified_by_another(
    cluster: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()

    def wait_for_loss(*arguments: Any) -> Any:
        """Keep a node busy until it is lost, so that it has work to lose."""
        from submillion.ship.predict_engines import _scored

        (signs / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while not (signs / "lost").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return _scored(*arguments)

    monkeypatch.setattr(predict_rows, "READ_ROWS", 10)
    (tmp_path / "in.txt").write_text("\n".join(tiny_texts(45, seed=8)[0]) + "\n", encoding="utf-8")
    predict_file(run.path, tmp_path / "in.txt", tmp_path / "local.csv")
    monkeypatch.setattr(predict_engines, "_scored", wait_for_loss)
    options = PredictOptions(engine="ray", chunk_rows=10)
    with ThreadPoolExecutor(1) as thread:  # a node is only added from the main thread
        ended = thread.submit(
            predict_file, run.path, tmp_path / "in.txt", tmp_path / "ray.csv", options=options
        )
        while not (busy := list(signs.iterdir())):
            assert not ended.done(), ended.result()
            time.sleep(0.05)
        lose_node(cluster, psutil.Process(int(busy[0].name)))
        (signs / "lost").touch()
        assert ended.result() == 45
    assert len(list(signs.iterdir())) > 1
    assert (tmp_path / "ray.csv").read_text() == (tmp_path / "local.csv").read_text()


def test_an_error_of_a_task_is_that_of_the_prediction(cluster: Any, run: RunDir, tmp_path: Path) -> None:
    copy = run.copy_to(tmp_path / "copy")
    shutil.rmtree(copy.tokenizer)
    (tmp_path / "in.txt").write_text("word1\n", encoding="utf-8")
    with pytest.raises(BadInput, match="tokenizer: expected a folder of every finished run"):
        predict_file(copy.path, tmp_path / "in.txt", tmp_path / "o.csv", options=PredictOptions(engine="ray"))
    assert not (tmp_path / "o.csv").exists()


class NoCluster:
    """Stands in for ray where no cluster answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def init(self, **options: Any) -> None:
        self.asked.append(options)
        if "address" in options:
            raise ConnectionError("nobody there")


def test_an_unreachable_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with pytest.raises(BadInput, match=r"RAY_ADDRESS.*'192\.0\.2\.1:6379' \(nobody there\)"):
        ray_cluster.connect(NoCluster())
    monkeypatch.delenv("RAY_ADDRESS")
    alone = NoCluster()
    ray_cluster.connect(alone)
    assert "address" not in alone.asked[-1]


def test_without_ray_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install 'submillion\[ray\]'"):
        RayEngine()

"""The command line as a user meets it: the whole road on a tiny encoder, and every bad input."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from submillion import cli
from submillion.errors import nearest
from support import SRC
from support.tiny import tiny_encoder, tiny_texts


def submillion(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "submillion.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
    )


@dataclass(frozen=True)
class Said:
    """What a command ended with, as `subprocess.run` tells it."""

    returncode: int
    stderr: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in this process, in a folder: for what is refused, which a process each would only slow."""

    def run(*arguments: object, cwd: Path) -> Said:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["submillion", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            assert ended.code is None or isinstance(ended.code, int)
            code = ended.code or 0
        return Said(code, capfd.readouterr().err)

    return run


def write_csv(file: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("text", "label")) -> Path:
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return file


def labelled(n: int, seed: int) -> list[tuple[str, str]]:
    texts, labels = tiny_texts(n, seed)
    return [(text, f"class {label}") for text, label in zip(texts, labels, strict=True)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder, data, a recipe and one finished run."""
    home = tmp_path_factory.mktemp("house")
    tiny_encoder(home / "encoder")
    write_csv(home / "train.csv", labelled(240, 0))
    write_csv(home / "test.csv", labelled(40, 1))
    (home / "tiny.yaml").write_text(
        "encoder: {source: encoder}\ndata: {train: train.csv, test: test.csv, max_length: 32}\n"
        "lora: {r: 4, alpha: 8, targets: [all-linear], layers: top-1}\n"
        "train: {epochs: 40, batch_size: 8, learning_rate: 1e-2, patience: 0, log_every: 2}\n",
        encoding="utf-8",
    )
    done = submillion("train", "tiny.yaml", "--out", "run", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "outcome.json").write_text(done.stdout)
    return home


def test_train_leaves_a_complete_run(house: Path) -> None:
    run = house / "run"
    outcome = json.loads((house / "outcome.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert outcome["metrics"] == metrics
    assert set(metrics) == {"validation", "test"}
    assert metrics["test"]["rows"] == 40
    assert metrics["test"]["accuracy"] > 0.8
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["budget"]["trainable"] == outcome["trainable"]
    assert manifest["data"]["splits"]["test"]["rows"] == 40
    assert len(manifest["encoder"]["sha256"]["model.safetensors"]) == 64
    for name in (
        "recipe.yaml",
        "history.jsonl",
        "README.md",
        "predictions/test.parquet",
        "predictions/validation.parquet",
    ):
        assert (run / name).stat().st_size > 0, name
    for name in (
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "tokenizer/tokenizer.json",
    ):
        assert (run / name).is_file(), name
    assert {file.suffix for file in (run / "figures").iterdir()} == {".svg", ".png"}


def test_predict_writes_rows_in_input_order(house: Path) -> None:
    write_csv(house / "new.csv", labelled(25, 3))
    done = submillion("predict", "run", "new.csv", "--out", "out.csv", cwd=house)
    assert done.returncode == 0, done.stderr
    with (house / "out.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["ID", "Label"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(25)]
    truth = [label for _, label in labelled(25, 3)]
    assert sum(row[1] == label for row, label in zip(rows[1:], truth, strict=True)) >= 18


def test_evaluate_on_the_test_file_repeats_the_test_metrics(house: Path) -> None:
    done = submillion("evaluate", "run", "--data", "test.csv", "--name", "again", "--json", cwd=house)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((house / "run" / "metrics.json").read_text())
    again = json.loads(done.stdout)
    assert again["accuracy"] == metrics["test"]["accuracy"]
    assert again["confusion"] == metrics["test"]["confusion"]


def test_ctrl_c_leaves_a_readable_run_that_resumes_to_the_same_bits(house: Path, tmp_path: Path) -> None:
    """Which also says that the same seed has the same result: the run of the house was trained in one go."""
    command = [sys.executable, "-m", "submillion.cli", "train", "tiny.yaml", "--out", str(tmp_path / "cut")]
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=house, env=environment, stderr=subprocess.PIPE, text=True)
    history = tmp_path / "cut" / "history.jsonl"
    while process.poll() is None and not (history.is_file() and '"eval"' in history.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    manifest = json.loads((tmp_path / "cut" / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert set(json.loads((tmp_path / "cut" / "metrics.json").read_text())) == {"validation"}
    assert (tmp_path / "cut" / "adapter" / "adapter_model.safetensors").is_file()
    assert "not complete" in (tmp_path / "cut" / "README.md").read_text(encoding="utf-8")

    done = submillion("resume", tmp_path / "cut", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in (
        "adapter/adapter_model.safetensors",
        "predictions/validation.parquet",
        "predictions/test.parquet",
    ):
        assert (tmp_path / "cut" / name).read_bytes() == (house / "run" / name).read_bytes(), name
    outcome = json.loads((house / "outcome.json").read_text())
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text()) == outcome["metrics"]


def test_over_budget_is_refused_before_anything_is_written(house: Path) -> None:
    done = submillion("train", "tiny.yaml", "--set", "budget=100", "--out", "never", cwd=house)
    assert done.returncode == 3
    assert "lora.query" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (house / "never").exists()


def test_the_recipe_as_written_is_refused_with_both_sums_and_what_fits() -> None:
    done = submillion("train", "agnews-as-written", "--out", "never")
    assert done.returncode == 3
    for number in ("1,183,492", "294,912", "593,668", "1,000,000"):
        assert number in done.stderr, number
    assert "888,580" in done.stderr


def test_a_complete_run_cannot_be_resumed_nor_overwritten_by_accident(house: Path) -> None:
    for arguments, words in (
        (("resume", "run"), "a complete one"),
        (("train", "tiny.yaml", "--out", "run"), "--overwrite"),
    ):
        done = submillion(*arguments, cwd=house)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "header only": (b"text,label\n", "no rows|empty|rows"),
    "one class": (b"text,label\n" + b"".join(b"word %d,a\n" % i for i in range(20)), "class"),
    "one row": (b"text,label\nonly,a\n", "row"),
    "not utf-8": (b"text,label\ngood,a\nb\xe4d,b\n" * 10, "utf-8|UTF-8"),
    "wrong column": (b"txet,label\n" + b"some words,a\nother words,b\n" * 10, "txet"),
    "pickle": (pickle.dumps([("text", "label")]), "pickle"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_is_one_message_and_exit_2(
    house: Path, tmp_path: Path, kind: str, here: Callable[..., Said]
) -> None:
    content, words = BAD_FILES[kind]
    file = tmp_path / ("data.pkl" if kind == "pickle" else "data.csv")
    file.write_bytes(content)
    done = here("train", "tiny.yaml", "--set", f"data.train={file}", "--out", tmp_path / "run", cwd=house)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert any(word in done.stderr for word in words.split("|")), done.stderr
    assert not (tmp_path / "run").exists()


def test_a_wrong_column_name_suggests_the_nearest(
    house: Path, tmp_path: Path, here: Callable[..., Said]
) -> None:
    done = here("train", "tiny.yaml", "--set", "data.text=txt", "--out", tmp_path / "run", cwd=house)
    assert done.returncode == 2
    assert "Did you mean 'text'" in done.stderr


def test_a_missing_file_names_the_nearest(house: Path, tmp_path: Path, here: Callable[..., Said]) -> None:
    done = here("train", "tiny.yaml", "--set", "data.train=trian.csv", "--out", tmp_path / "run", cwd=house)
    assert done.returncode == 2
    assert "train.csv" in done.stderr


def test_labels_beyond_the_label_set_are_named(
    house: Path, tmp_path: Path, here: Callable[..., Said]
) -> None:
    file = write_csv(tmp_path / "test.csv", [*labelled(10, 5), ("some text", "class 99")])
    done = here("train", "tiny.yaml", "--set", f"data.test={file}", "--out", tmp_path / "run", cwd=house)
    assert done.returncode == 2
    assert "class 99" in done.stderr


def test_an_encoder_without_a_tokenizer_is_refused(
    house: Path, tmp_path: Path, here: Callable[..., Said]
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"):
        (encoder / name).unlink(missing_ok=True)
    done = here(
        "train", "tiny.yaml", "--set", f"encoder.source={encoder}", "--out", tmp_path / "run", cwd=house
    )
    assert done.returncode == 2, done.stderr
    assert "tokenizer" in done.stderr


def test_a_quoted_newline_and_a_megabyte_of_text_are_data_not_errors(house: Path, tmp_path: Path) -> None:
    rows = [*labelled(60, 7), ("two\nlines", "class 0"), ("long " * 200_000, "class 1")]
    file = write_csv(tmp_path / "train.csv", rows)
    done = submillion(
        "train",
        "tiny.yaml",
        "--set",
        f"data.train={file}",
        "--set",
        "train.epochs=1",
        "--out",
        tmp_path / "run",
        cwd=house,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    splits = manifest["data"]["splits"]
    assert splits["train"]["rows"] + splits["validation"]["rows"] == 62


def test_nearest_is_not_fooled_by_case() -> None:
    assert nearest("MiniLM", ["minilm", "mpnet-base"]) == "minilm"

"""Tests of cli.py: the whole workflow on a tiny encoder, as a user runs it, and the message of every bad input."""

from __future__ import annotations

import csv
import errno
import json
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from submillion import cli
from submillion.errors import nearest
from submillion.rundir import RunDir
from support.command import submillion
from support.tiny import tiny_encoder, tiny_texts


def write_csv(file: Path, rows: list[tuple[str, str]], header: tuple[str, str] = ("text", "label")) -> Path:
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return file


def labelled(n: int, seed: int) -> list[tuple[str, str]]:
    texts, labels = tiny_texts(n, seed)
    return [(text, f"class {label}") for text, label in zip(texts, labels, strict=True)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder, data, a recipe and one finished run."""
    home = tmp_path_factory.mktemp("workspace")
    tiny_encoder(home / "encoder")
    write_csv(home / "train.csv", labelled(240, 0))
    write_csv(home / "test.csv", labelled(40, 1))
    (home / "tiny.yaml").write_text(
        "encoder: {source: encoder}\ndata: {train: train.csv, test: test.csv, max_length: 32}\n"
        "lora: {r: 4, alpha: 8, targets: [all-linear], layers: top-1}\n"
        "train: {epochs: 12, batch_size: 8, learning_rate: 1e-2, patience: 0, log_every: 2, threads: 1}\n",
        encoding="utf-8",
    )
    done = submillion("train", "tiny.yaml", "--out", "run", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "outcome.json").write_text(done.stdout)
    return home


def test_train_leaves_a_complete_run(workspace: Path) -> None:
    run = workspace / "run"
    outcome = json.loads((workspace / "outcome.json").read_text())
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


def test_predict_writes_rows_in_input_order(workspace: Path) -> None:
    write_csv(workspace / "new.csv", labelled(25, 3))
    done = submillion("predict", "run", "new.csv", "--out", "out.csv", cwd=workspace)
    assert done.returncode == 0, done.stderr
    with (workspace / "out.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["ID", "Label"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(25)]
    truth = [label for _, label in labelled(25, 3)]
    assert sum(row[1] == label for row, label in zip(rows[1:], truth, strict=True)) >= 18


def test_evaluate_on_the_test_file_repeats_the_test_metrics(workspace: Path) -> None:
    done = submillion("evaluate", "run", "--data", "test.csv", "--name", "again", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((workspace / "run" / "metrics.json").read_text())
    again = json.loads(done.stdout)
    assert again["accuracy"] == metrics["test"]["accuracy"]
    assert again["confusion"] == metrics["test"]["confusion"]


def test_ctrl_c_leaves_a_readable_run_that_resumes_to_the_same_bits(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also shows that a seed decides the result: the run of the workspace was trained without interruption."""
    append, presses = RunDir.append_history, [signal.SIGINT]

    def append_and_press(run: RunDir, record: dict[str, Any]) -> None:
        append(run, record)
        if record["kind"] == "eval" and presses:
            signal.raise_signal(presses.pop())

    monkeypatch.setattr(RunDir, "append_history", append_and_press)
    done = submillion("train", "tiny.yaml", "--out", tmp_path / "cut", cwd=workspace)
    assert not presses
    assert done.returncode == 130, done.stderr
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
        assert (tmp_path / "cut" / name).read_bytes() == (workspace / "run" / name).read_bytes(), name
    outcome = json.loads((workspace / "outcome.json").read_text())
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text()) == outcome["metrics"]


def test_over_budget_is_refused_before_anything_is_written(workspace: Path) -> None:
    done = submillion("train", "tiny.yaml", "--set", "budget=100", "--out", "never", cwd=workspace)
    assert done.returncode == 3
    assert "lora.query" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "never").exists()


def test_the_recipe_as_written_is_refused_with_both_sums_and_what_fits(tmp_path: Path) -> None:
    done = submillion("train", "agnews-as-written", "--out", "never", cwd=tmp_path)
    assert done.returncode == 3
    for number in ("1,183,492", "294,912", "593,668", "1,000,000"):
        assert number in done.stderr, number
    assert "888,580" in done.stderr


def test_a_complete_run_cannot_be_resumed_nor_overwritten_by_accident(workspace: Path) -> None:
    for arguments, words in (
        (("resume", "run"), "a complete one"),
        (("train", "tiny.yaml", "--out", "run"), "--overwrite"),
    ):
        done = submillion(*arguments, cwd=workspace)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ": expected a file of texts, found an empty file."),
    "header only": (b"text,label\n", ": expected rows with a text and a label, found none."),
    "one class": (
        b"text,label\n" + b"".join(b"word %d,a\n" % i for i in range(20)),
        ", column 'label': expected training rows of at least two classes, found 20 rows, all of class 'a'.",
    ),
    "one row": (
        b"text,label\nonly,a\n",
        ", column 'label': expected training rows of at least two classes, found 1 row, all of class 'a'.",
    ),
    "damaged utf-8": (
        b"text,label\n" + "é good,a\n".encode() * 20 + b"b\xe4d,b\n",
        ", line 22: expected text in utf-8, found byte 0xe4 at position 2 of the line, although 98% of the bytes "
        "beyond ASCII are. Correct the damaged lines, or name the encoding of the file with --set data.encoding=VALUE.",
    ),
    "wrong column": (
        b"txet,label\n" + b"some words,a\nother words,b\n" * 10,
        ": expected a text column (text, sentence, content, document, review, comment, message, tweet, question, "
        "body, headline, title, description), found the columns 'txet', 'label'. Name it with --set data.text=txet. "
        "(Is the first line a header?)",
    ),
    "pickle": (
        pickle.dumps([("text", "label")]),
        ": expected a file that contains only data, found a pickle, and reading one runs code that its author chose. "
        "Save the data as csv, jsonl or parquet.",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_is_one_message_and_exit_2(workspace: Path, tmp_path: Path, kind: str) -> None:
    content, message = BAD_FILES[kind]
    file = tmp_path / ("data.pkl" if kind == "pickle" else "data.csv")
    file.write_bytes(content)
    ended = submillion(
        "train", "tiny.yaml", "--set", f"data.train={file}", "--out", tmp_path / "run", cwd=workspace
    )
    messages = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]
    assert (ended.returncode, messages) == (2, [f"submillion: {file}{message}"])
    assert not (tmp_path / "run").exists()


def test_a_wrong_column_name_suggests_the_nearest(workspace: Path, tmp_path: Path) -> None:
    ended = submillion(
        "train", "tiny.yaml", "--set", "data.text=txt", "--out", tmp_path / "run", cwd=workspace
    )
    assert ended.returncode == 2
    assert "Did you mean 'text'?" in ended.stderr


def test_a_missing_file_names_the_nearest(workspace: Path, tmp_path: Path) -> None:
    ended = submillion(
        "train", "tiny.yaml", "--set", "data.train=trian.csv", "--out", tmp_path / "run", cwd=workspace
    )
    assert ended.returncode == 2
    assert "Did you mean 'train.csv'?" in ended.stderr


def test_labels_beyond_the_label_set_are_named(workspace: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "test.csv", [*labelled(10, 5), ("some text", "class 99")])
    ended = submillion(
        "train", "tiny.yaml", "--set", f"data.test={file}", "--out", tmp_path / "run", cwd=workspace
    )
    assert ended.returncode == 2
    assert "found 'class 99'" in ended.stderr


def test_an_encoder_without_a_tokenizer_is_refused(workspace: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"):
        (encoder / name).unlink(missing_ok=True)
    ended = submillion(
        "train", "tiny.yaml", "--set", f"encoder.source={encoder}", "--out", tmp_path / "run", cwd=workspace
    )
    assert ended.returncode == 2, ended.stderr
    assert "expected a tokenizer: tokenizer.json or vocab.txt or vocab.json with merges.txt" in ended.stderr


def test_messages_name_the_flags_of_the_command_that_failed(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "unnamed.csv"
    file.write_text("a,b\nsome words,x\nother words,y\n", encoding="utf-8")
    trained = submillion("train", "tiny.yaml", "--set", f"data.train={file}", cwd=workspace)
    evaluated = submillion("evaluate", "run", "--data", file, cwd=workspace)
    assert (trained.returncode, evaluated.returncode) == (2, 2)
    assert "--set data.text=VALUE" in trained.stderr
    assert "--text-column" in evaluated.stderr
    assert "--set" not in evaluated.stderr
    assert "@{" not in trained.stderr + evaluated.stderr


def test_a_quoted_newline_and_a_megabyte_of_text_are_data_not_errors(workspace: Path, tmp_path: Path) -> None:
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
        cwd=workspace,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    splits = manifest["data"]["splits"]
    assert splits["train"]["rows"] + splits["validation"]["rows"] == 62


def test_flags_of_a_file_are_refused_beside_a_text(workspace: Path) -> None:
    for flag, value in (("--text-column", "a"), ("--stdin-form", "csv")):
        ended = submillion("predict", "run", "--text", "a", flag, value, cwd=workspace)
        message = f"submillion: {flag}: expected a file, or - for standard input, found texts of --text.\n"
        assert (ended.returncode, ended.stderr) == (2, message)


def test_a_text_that_is_not_utf_8_is_named_by_its_flag(workspace: Path) -> None:
    ended = submillion("predict", "run", "--text", "fine", "--text", "caf\udce9", cwd=workspace)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "submillion: --text, position 1: expected text in unicode, found half a surrogate" in ended.stderr


def test_nearest_is_not_fooled_by_case() -> None:
    assert nearest("MiniLM", ["minilm", "mpnet-base"]) == "minilm"


@pytest.mark.parametrize(
    "command", ["verify {0}", "report {0}", "predict {0} x.csv", "compare {0} a", "runs {0}"]
)
def test_a_path_that_no_file_system_takes_is_one_message_and_exit_2(command: str, tmp_path: Path) -> None:
    ended = submillion(*command.format("n" * 300).split(), cwd=tmp_path)
    assert ended.returncode == 2
    assert "expected a path that the file system takes" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_file_that_this_user_may_not_open_is_one_message_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "theirs/model.safetensors")

    monkeypatch.setattr(cli, "app", refused)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "submillion: theirs/model.safetensors: expected a file or folder that this user may open, found Permission "
        "denied. Change its permissions, or those of the folders above it.\n"
    )

"""Arguments of the Python API: one of a wrong type is refused in one message, and a run stays the one it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import submillion as sm
from support.tiny import tiny_texts
from support.tiny_run import tiny_run
from support.trained import trained_in

TEXTS = tiny_texts(4, 1)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sm.Run:
    return trained_in(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("value", [5, None, b"runs/a", ["runs/a"], 1.5, True, "", np.array([1, 2])])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("path", sm.load),
        ("run", sm.verify),
        ("run", sm.BatchPredictor),
        ("adapter", lambda value: sm.adopt(value, "out")),
        ("out", lambda value: sm.adopt("adapter", value)),
    ],
)
def test_what_is_no_path_is_refused(name: str, call: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(sm.BadInput, match=f"`{name}`: expected a path: a string or a Path, found "):
        call(value)


@pytest.mark.parametrize("value", [5, b"runs/a", ["runs/a"], ""])
def test_outputs_and_data_of_training_are_paths(value: Any) -> None:
    with pytest.raises(sm.BadInput, match="`out`: expected a path"):
        sm.train("r8", value)
    with pytest.raises(sm.BadInput, match="`data`: expected a path"):
        sm.decide(value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (pd.DataFrame({"text": TEXTS}), "one DataFrame"),
        (TEXTS[:1], r"\['"),
        (pa.table({"text": TEXTS}), "one Table"),
    ],
)
def test_rows_in_place_of_a_recipe_or_a_file_are_told_their_arguments(data: Any, found: str) -> None:
    with pytest.raises(sm.BadInput, match=rf'`recipe`: expected a path .* found {found}.*"auto", texts='):
        sm.train(data)
    with pytest.raises(sm.BadInput, match=rf"`data`: expected a path.* found {found}.*decide\(texts="):
        sm.decide(data)
    with pytest.raises(sm.BadInput, match=f"`recipe`: expected a path or a name, or a Recipe, found {found}"):
        sm.SubmillionClassifier(recipe=data).fit(TEXTS, [0, 1, 0, 1])


def test_a_run_in_place_of_its_path_is_named_by_its_type(run: sm.Run) -> None:
    with pytest.raises(sm.BadInput, match=r"`path`: expected a path: a string or a Path, found one Run\."):
        sm.load(run)  # type: ignore[arg-type]


def test_a_column_that_is_not_found_is_named_with_the_argument_of_the_call(
    run: sm.Run, tmp_path: Path
) -> None:
    file = tmp_path / "columns.csv"
    file.write_text("review,stars\ngood,1\nbad,0\n", encoding="utf-8")
    with pytest.raises(sm.BadInput, match="Name it with `label=stars`"):
        run.evaluate(file, text="review", quiet=True)


def test_an_empty_recipe_is_no_folder() -> None:
    with pytest.raises(sm.BadInput, match="`recipe`: expected a path"):
        sm.train("")


def test_the_files_of_a_run_are_no_labelled_texts(run: sm.Run) -> None:
    with pytest.raises(sm.BadInput, match="expected a recipe, or labelled texts, found a run of submillion"):
        sm.decide(run.path)


def test_labels_of_an_adapter_are_a_list() -> None:
    with pytest.raises(sm.BadInput, match="`labels`: expected a list of strings, found 'ab'"):
        sm.adopt("adapter", "out", labels="ab")  # its characters would be the names of two classes
    with pytest.raises(sm.BadInput, match="`labels`: expected a list of strings, found {"):
        sm.adopt("adapter", "out", labels={"a", "b"})  # in an order that changes with every process


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"text": 3}, "`text`: expected the name of a column, or a list of names, found 3"),
        ({"label": ["a"]}, r"`label`: expected a string, found \['a'\]"),
        ({"revision": 1}, "`revision`: expected a string, found 1"),
    ],
)
def test_options_of_an_adapter_have_their_types(option: dict[str, Any], message: str) -> None:
    with pytest.raises(sm.BadInput, match=message):
        sm.adopt("adapter", "out", **option)


def test_a_run_is_the_same_one_after_the_process_has_changed_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "home").mkdir()
    tiny_run(tmp_path / "a" / "home")
    monkeypatch.chdir(tmp_path / "a")
    run = sm.load(Path("home") / "run")
    assert run.path == Path.cwd() / "home" / "run"
    monkeypatch.chdir(tmp_path / "b")
    assert len(run.predict(TEXTS)) == len(TEXTS)
    assert os.fspath(run.path).startswith(os.fspath(tmp_path / "a"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 2.5}, "`rows`: expected a whole number from 1 on, found 2.5"),
        ({"rows": "10"}, "`rows`: expected a whole number from 1 on, found '10'"),
        ({"rows": True}, "`rows`: expected a whole number from 1 on, found True"),
        ({"rows": 0}, "`rows`: expected a whole number from 1 on, found 0"),
        ({"text": 5}, "`text`: expected the name of a column, or a list of names, found 5"),
        ({"text": {"text"}}, "`text`: expected the name of a column, or a list of names"),
        ({"text": b"text"}, "`text`: expected the name of a column, or a list of names"),
        ({"text": [""]}, "`text`: expected the name of a column, or a list of names"),
        ({"out": None}, "`out`: expected a path"),
        ({"out": "next.xlsx"}, r"`out`: expected a csv file, whose name ends in \.csv, found 'next\.xlsx'"),
        ({"data": TEXTS}, "`data`: expected a path"),
    ],
)
def test_suggest_refuses_arguments_of_wrong_types(
    run: sm.Run, arguments: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"data": "unlabelled.csv", "out": "out.csv", "quiet": True} | arguments
    with pytest.raises(sm.BadInput, match=message):
        run.suggest(**given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 5}, "`name`: expected a string, found 5"),
        ({"label": ["label"]}, "`label`: expected a string"),
        ({"text": 5}, "`text`: expected the name of a column"),
        ({"thresholds": 0.5}, r"`thresholds`: expected a list of shares, found 0\.5"),
        ({"thresholds": "0.5"}, r"`thresholds`: expected a list of shares, found '0\.5'"),
        ({"thresholds": ["a"]}, "`thresholds`: expected a share from 0 to below 1, found 'a'"),
        ({"thresholds": [None]}, "`thresholds`: expected a share from 0 to below 1, found None"),
    ],
)
def test_evaluate_refuses_arguments_of_wrong_types(
    run: sm.Run, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(sm.BadInput, match=message):
        run.evaluate("labelled.csv", quiet=True, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": "noise"}, "`parts`: expected a list of strings, found 'noise'"),
        ({"parts": 5}, "`parts`: expected a list of strings, found 5"),
        ({"parts": [5]}, "`parts`: expected a list of strings"),
        ({"class_thresholds": True}, "`class_thresholds`: expected a string, found True"),
        ({"out": 5}, "`out`: expected a path"),
        ({"parts": ["noise"], "out": "suspects.jsonl"}, "`out`: expected a csv file"),
        ({"answer_at": 90}, "`answer_at`: expected a number from 0 to 1, found 90"),
        ({"answer_at": "0.9"}, "`answer_at`: expected a number from 0 to 1, found '0.9'"),
        ({"answer_at": True}, "`answer_at`: expected a number from 0 to 1, found True"),
        ({"answer_at": float("nan")}, "`answer_at`: expected a number from 0 to 1, found nan"),
    ],
)
def test_report_refuses_arguments_of_wrong_types_and_leaves_the_run_as_it_is(
    run: sm.Run, arguments: dict[str, Any], message: str
) -> None:
    def files() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in sorted(run.path.rglob("*")) if file.is_file()}

    before = files()
    with pytest.raises(sm.BadInput, match=message):
        run.report(**{"quiet": True} | arguments)
    assert files() == before


def test_a_share_may_be_a_number_of_numpy(run: sm.Run) -> None:
    assert run.report(answer_at=np.float32(0.5), quiet=True).is_file()  # type: ignore[arg-type]


FLAGS: list[tuple[str, Callable[[sm.Run, dict[str, Any]], Any]]] = [
    *((name, lambda _, flag: sm.train("r8", "out", **flag)) for name in ("overwrite", "report", "quiet")),
    ("quiet", lambda _, flag: sm.decide("data.csv", **flag)),
    *((name, lambda _, flag: sm.adopt("adapter", "out", **flag)) for name in ("overwrite", "quiet")),
    *((name, lambda run, flag: sm.verify(run, **flag)) for name in ("full", "retrain", "quiet")),
    ("class_thresholds", lambda run, flag: run.predict(TEXTS, **flag)),
    ("quiet", lambda run, flag: run.evaluate("data.csv", **flag)),
    *((name, lambda run, flag: run.suggest("a.csv", "b.csv", **flag)) for name in ("overwrite", "quiet")),
    *((name, lambda run, flag: run.report(**flag)) for name in ("overwrite", "quiet")),
    *((name, lambda run, flag: run.export("merged", "out", **flag)) for name in ("overwrite", "quiet")),
    *((name, lambda run, flag: run.push("a/b", **flag)) for name in ("private", "dry_run", "quiet")),
    ("probabilities", lambda run, flag: sm.BatchPredictor(run.path, **flag)),
    ("quiet", lambda _, flag: sm.SubmillionClassifier(**flag).fit(TEXTS, [0, 1, 0, 1])),
]


@pytest.mark.parametrize("value", ["no", 0, None])
@pytest.mark.parametrize(("name", "call"), FLAGS)
def test_a_flag_is_true_or_false(
    run: sm.Run, name: str, call: Callable[[sm.Run, dict[str, Any]], Any], value: Any
) -> None:
    with pytest.raises(sm.BadInput, match=f"`{name}`: expected True or False, found {value!r}"):
        call(run, {name: value})


def test_a_flag_may_be_a_truth_value_of_numpy(run: sm.Run) -> None:
    assert len(run.predict(TEXTS, class_thresholds=np.bool_(False))) == len(TEXTS)  # type: ignore[arg-type]


def test_compare_takes_runs_and_paths(run: sm.Run) -> None:
    with pytest.raises(sm.BadInput, match="`others`: expected a path"):
        run.compare([run.path])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 5, ["auto"]])
def test_a_precision_is_a_word(run: sm.Run, value: Any) -> None:
    for call in (sm.load, sm.BatchPredictor):
        with pytest.raises(sm.BadInput, match="`precision`: expected a string, found "):
            call(run.path, precision=value)


@pytest.mark.parametrize("batch", [None, "text", ["text"], pa.table({"text": TEXTS})])
def test_a_batch_is_a_dict_of_columns(run: sm.Run, batch: Any) -> None:
    with pytest.raises(sm.BadInput, match="the batch: expected a dict of arrays by column, found one "):
        sm.BatchPredictor(run.path)(batch)

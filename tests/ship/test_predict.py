"""Labels for new texts: every row, in order, with the model's own answer, in every format and size."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from submillion import notices
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, SubmillionError
from submillion.files.spreadsheet_cells import cell_value, spreadsheet_cell
from submillion.recipe import Recipe
from submillion.run_format.interval import interval
from submillion.rundir import RunDir
from submillion.ship import predict, predict_engines, predict_options, predict_rows
from submillion.ship.predict import predict_file
from submillion.ship.predict_options import PredictOptions
from submillion.ship.predict_rows import chunked
from support.analysis import confidence_of, thresholds_of
from support.tiny import tiny_texts
from support.tiny_run import NAMES, tiny_run

TEXTS = [*tiny_texts(150, seed=3)[0], "", "two\nlines", 'a "quoted", text']


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Any]:
    return tiny_run(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def run(made: tuple[RunDir, Any]) -> RunDir:
    return made[0]


@pytest.fixture(scope="module")
def expected(made: tuple[RunDir, Any]) -> np.ndarray:
    """Probabilities of TEXTS, one text at a time through the classifier that the run was saved from."""
    import torch

    from submillion.data.tokenizer import load_tokenizer

    run, classifier = made
    tokenizer = load_tokenizer(run.tokenizer)
    rows = []
    for text in TEXTS:
        batch = tokenizer(text, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            rows.append(classifier(batch).softmax(-1)[0].numpy())
    return np.array(rows)


def write(file: Path, texts: list[str], column: str = "text", ids: list[str] | None = None) -> Path:
    """Write texts in the form that the file's name says."""
    rows: list[dict[str, Any]] = [{column: text} for text in texts]
    for row, row_id in zip(rows, ids or [], strict=False):
        row["id"] = row_id
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif file.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".txt":
        file.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    else:
        with file.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return file


def read(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_every_row_gets_the_models_answer_in_input_order(
    run: RunDir, expected: np.ndarray, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_rows, "READ_ROWS", 10)
    file = tmp_path / f"new.{form}"
    if form == "tsv":
        lines = [f'"{text.replace(chr(34), 2 * chr(34))}"' for text in TEXTS]
        file.write_text("text\tother\n" + "".join(f"{line}\tx\n" for line in lines), encoding="utf-8")
    else:
        write(file, TEXTS)
    rows = predict_file(
        run.path, file, tmp_path / "out.csv", options=PredictOptions(batch_size=7, chunk_rows=40)
    )
    assert rows == len(TEXTS)
    head, *lines_out = read(tmp_path / "out.csv")
    assert head == ["ID", "Label"]
    assert [line[0] for line in lines_out] == [str(number) for number in range(len(TEXTS))]
    assert [line[1] for line in lines_out] == [NAMES[index] for index in expected.argmax(axis=1)]
    assert len({line[1] for line in lines_out}) > 1, "one label for all would hide a wrong order"


def test_plain_lines_are_texts(run: RunDir, expected: np.ndarray, tmp_path: Path) -> None:
    file = write(tmp_path / "new.txt", TEXTS[:100])
    assert predict_file(run.path, file, tmp_path / "out.csv") == 100
    labels = [line[1] for line in read(tmp_path / "out.csv")[1:]]
    assert labels == [NAMES[index] for index in expected[:100].argmax(axis=1)]


def test_with_confidence_adds_the_labels_probability_and_every_class(
    run: RunDir, expected: np.ndarray, tmp_path: Path
) -> None:
    file = write(tmp_path / "new.jsonl", TEXTS)
    predict_file(run.path, file, tmp_path / "out.csv", options=PredictOptions(with_confidence=True))
    head, *lines = read(tmp_path / "out.csv")
    assert head == ["ID", "Label", "Confidence", *(f"p_{name}" for name in NAMES)]
    written = np.array([line[2:] for line in lines], dtype=np.float32)
    np.testing.assert_allclose(written[:, 1:], expected, atol=2e-6)
    assert (written[:, 0] == written[:, 1:].max(axis=1)).all()


def test_the_files_own_ids_are_kept(run: RunDir, tmp_path: Path) -> None:
    file = write(tmp_path / "new.csv", TEXTS[:3], ids=["b-7", "a-1", "b-7"])
    predict_file(run.path, file, tmp_path / "out.csv")
    assert [line[0] for line in read(tmp_path / "out.csv")[1:]] == ["b-7", "a-1", "b-7"]


def test_an_output_that_is_not_named(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "in.csv", TEXTS)
    monkeypatch.chdir(tmp_path)
    predict_file(run.path, file)
    assert len(read(tmp_path / "predictions.csv")) == 1 + len(TEXTS)


def test_standard_output(run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict_file(run.path, write(tmp_path / "new.csv", TEXTS[:2]), "-") == 2
    out = capsys.readouterr().out.splitlines()
    assert (out[0], len(out)) == ("ID,Label", 3)


def test_truncated_texts_are_counted_in_a_notice(run: RunDir, tmp_path: Path) -> None:
    file = write(tmp_path / "new.csv", ["word1 " * 14, "word1 " * 15, "word2 " * 1000])
    predict_file(run.path, file, tmp_path / "out.csv")
    emitted = [notice for notice in notices.collected() if notice["code"] == "truncated_texts"]
    assert [(notice["truncated"], notice["rows"]) for notice in emitted] == [(2, 3)]
    assert "2 of 3 texts are longer than 16 tokens" in emitted[0]["text"]


def test_the_text_columns_of_the_run_are_the_default(tmp_path: Path) -> None:
    own, _ = tiny_run(tmp_path, text="lead")
    both = tmp_path / "new.csv"
    both.write_text("text,lead\nword1,software orbit genome\n", encoding="utf-8")
    predict_file(own.path, both, tmp_path / "by_default.csv", options=PredictOptions(with_confidence=True))
    predict_file(
        own.path, both, tmp_path / "lead.csv", text="lead", options=PredictOptions(with_confidence=True)
    )
    predict_file(
        own.path, both, tmp_path / "text.csv", text=["text"], options=PredictOptions(with_confidence=True)
    )
    default = (tmp_path / "by_default.csv").read_text()
    assert default == (tmp_path / "lead.csv").read_text()
    assert default != (tmp_path / "text.csv").read_text()
    assert any("lead, as in training" in notice["text"] for notice in notices.collected())


# -- size --------------------------------------------------------------------------------------------------


def test_a_folder_of_texts_is_predicted_whatever_the_columns_of_the_run(tmp_path: Path) -> None:
    own, _ = tiny_run(tmp_path / "run", text="body")
    for name in ("b/2.txt", "a/1.txt"):
        (tmp_path / "new" / name).parent.mkdir(parents=True)
        (tmp_path / "new" / name).write_text("goal match", encoding="utf-8")
    assert predict_file(own.path, tmp_path / "new", tmp_path / "out.csv") == 2
    rows = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert [row.partition(",")[0] for row in rows] == ["ID", "a/1.txt", "b/2.txt"]


def test_plain_lines_are_texts_whatever_the_columns_of_the_run(tmp_path: Path) -> None:
    own, _ = tiny_run(tmp_path, text="body")
    file = write(tmp_path / "new.txt", ["goal", "market"])
    assert predict_file(own.path, file, tmp_path / "out.csv") == 2
    assert not any(notice["code"] == "text_column" for notice in notices.collected())
    with pytest.raises(BadInput, match="expected a text column 'body', found the columns 'text'"):
        predict_file(own.path, file, tmp_path / "no.csv", text="body")


def counted(reads: int, rows: int, characters: int, seen: list[int]) -> Iterator[predict_rows.Chunk]:
    for number in range(reads):
        seen.append(number)
        yield [str(number)] * rows, ["x" * characters] * rows, [[]] * rows


def test_chunks_read_no_further_than_necessary_and_lose_no_row() -> None:
    seen: list[int] = []
    chunks = chunked(counted(10, 4, 1, seen), rows=10)
    ids, texts, _ = next(chunks)
    assert (len(ids), len(texts), seen) == (12, 12, [0, 1, 2])
    assert [len(ids) for ids, *_ in chunks] == [12, 12, 4]
    assert list(chunked(counted(10, 0, 1, []), rows=10)) == []


def test_long_texts_end_a_chunk_by_their_size() -> None:
    sizes = [len(ids) for ids, *_ in chunked(counted(5, 2, 100, []), rows=1000, characters=350)]
    assert sizes == [4, 4, 2]


def test_memory_does_not_grow_with_the_file(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from submillion.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(run.tokenizer)
    opened = SimpleNamespace(
        tokenizer=tokenizer,
        labels=NAMES,
        truncation=Truncation(16),
        classifier=None,
        precision=None,
        execution=None,
    )
    monkeypatch.setattr(predict, "open_for_answers", lambda *_: opened)
    monkeypatch.setattr(
        predict_engines, "predict_logits", lambda _, tokens, *__, **___: np.ones((len(tokens), 4))
    )
    line = "filler " * 100 + "\n"

    def peak_of(rows: int) -> int:
        file = tmp_path / f"{rows}.txt"
        file.write_text(line * rows, encoding="utf-8")
        tracemalloc.start()
        try:
            options = PredictOptions(chunk_rows=256)
            assert predict_file(run.path, file, tmp_path / f"{rows}.csv", options=options) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of(9)  # imports and caches
    growth = peak_of(20_000) - peak_of(5_000)
    assert 15_000 * len(line) > 10e6
    assert growth < 2e6  # how many chunks are under way at once depends on the threads' timing


# -- what can go wrong --------------------------------------------------------------------------------------


def test_an_output_that_exists_is_not_replaced_unasked(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write(tmp_path / "new.csv", TEXTS[:2]), tmp_path / "out.csv"
    out.write_text("from before")
    with monkeypatch.context() as patch:
        patch.setattr(predict, "open_for_answers", lambda *_: pytest.fail("the model was opened"))
        with pytest.raises(BadInput, match=r"expected a file that does not exist yet, found .*`overwrite`"):
            predict_file(run.path, file, out)
    assert out.read_text() == "from before"
    predict_file(run.path, file, out, overwrite=True)
    assert read(out)[0] == ["ID", "Label"]


def test_columns_of_the_file_are_copied_and_one_may_be_the_id(run: RunDir, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("ticket,text,language,stars\nT-1,goal,en,4\nT-2,market,,\n", encoding="utf-8")
    options = PredictOptions(id="ticket", keep=("language", "stars"), with_text=True)
    predict_file(run.path, file, tmp_path / "out.csv", options=options)
    head, *rows = read(tmp_path / "out.csv")
    assert head == ["ID", "Label", "Text", "language", "stars"]
    assert [[row[0], *row[2:]] for row in rows] == [["T-1", "goal", "en", "4"], ["T-2", "market", "", ""]]
    for wrong in (PredictOptions(keep=("sters",)), PredictOptions(id="tiket")):
        with pytest.raises(BadInput, match=r"Did you mean '(stars|ticket)'\?"):
            predict_file(run.path, file, tmp_path / "no.csv", options=wrong)
    with pytest.raises(BadInput, match="names that differ from the other columns, found 'Label'"):
        predict_options.header(NAMES, PredictOptions(keep=("Label",)))


def test_a_lone_carriage_return_ends_no_row(run: RunDir, tmp_path: Path) -> None:
    texts = ["goal 0\rshares 0", "goal 1", "\r"]
    file = write(tmp_path / "new.jsonl", texts, ids=["a\rb", "\r", "c"])
    for spreadsheet in (False, True):
        out = tmp_path / f"out-{spreadsheet}.csv"
        options = PredictOptions(with_text=True, spreadsheet=spreadsheet)
        predict_file(run.path, file, out, options=options)
        rows = [[cell_value(cell) for cell in line] for line in read(out)[1:]]
        assert [[row[0], row[2]] for row in rows] == [["a\rb", texts[0]], ["\r", texts[1]], ["c", texts[2]]]


def test_texts_without_a_file_get_the_answers_that_a_file_of_them_gets(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_file(run.path, write(tmp_path / "new.jsonl", TEXTS[:3]), tmp_path / "out.csv")
    assert predict.predict_texts(run.path, TEXTS[:3]) == 3
    assert capsys.readouterr().out.splitlines() == (tmp_path / "out.csv").read_text().splitlines()
    with pytest.raises(BadInput, match="a file, which has columns"):
        predict.predict_texts(run.path, TEXTS[:1], options=PredictOptions(keep=("language",)))


def test_texts_that_are_none_are_refused_before_anything_is_written(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    for texts, message in (
        (["a", "caf\udce9"], r"`texts`, position 1: expected text in unicode, found half a surrogate pair"),
        (["a", None], "`texts`, position 1: expected a text, found a missing value"),
        ([], "`texts`: expected at least one text, found none"),
        ("word", "expected a one-dimensional column.*, found one str"),
    ):
        with pytest.raises(BadInput, match=message):
            predict.predict_texts(run.path, texts)  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


def test_calibrated_probabilities_are_those_at_the_fitted_temperature(
    expected: np.ndarray, tmp_path: Path
) -> None:
    own, _ = tiny_run(tmp_path)
    file = write(tmp_path / "new.jsonl", TEXTS)
    options = PredictOptions(with_confidence=True, calibrated=True)
    with pytest.raises(BadInput, match="a temperature fitted on validation rows, found none"):
        predict_file(own.path, file, tmp_path / "out.csv", options=options)
    confidence = confidence_of(0.9, None)
    fitted = interval(2.0) | {"rows": 9, "test": None}
    own.write_analysis("confidence", confidence | {"temperature": fitted | {"at_bound": True}})
    with pytest.raises(BadInput, match="one at the bound of its range"):
        predict_file(own.path, file, tmp_path / "out.csv", options=options)
    own.write_analysis("confidence", confidence | {"temperature": fitted | {"at_bound": False}})
    predict_file(own.path, file, tmp_path / "out.csv", options=options)
    _, *rows = read(tmp_path / "out.csv")
    scaled = np.sqrt(expected) / np.sqrt(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.array([row[3:] for row in rows], dtype=float), scaled, atol=1e-5)
    assert [row[1] for row in rows] == [NAMES[index] for index in expected.argmax(axis=1)]
    with pytest.raises(BadInput, match="probabilities in the output, found labels only"):
        predict_file(own.path, file, tmp_path / "no.csv", options=PredictOptions(calibrated=True))


def test_a_threshold_is_compared_with_the_confidence_that_is_written(
    expected: np.ndarray, tmp_path: Path
) -> None:
    own, _ = tiny_run(tmp_path)
    fitted = interval(2.0) | {"rows": 9, "test": None, "at_bound": False}
    sharp = expected.max(axis=1)
    scaled = np.sqrt(expected).max(axis=1) / np.sqrt(expected).sum(axis=1)
    cut = float(np.median(scaled))
    assert ((sharp >= cut) != (scaled >= cut)).any()
    own.write_analysis("confidence", confidence_of(0.9, cut) | {"temperature": fitted})
    file = write(tmp_path / "new.jsonl", TEXTS)
    for threshold, compared in (({"abstain_below": cut}, scaled), ({"abstain": True}, sharp)):
        options = PredictOptions(with_confidence=True, calibrated=True, **threshold)  # type: ignore[arg-type]
        predict_file(own.path, file, tmp_path / "out.csv", options=options, overwrite=True)
        certain = np.abs(compared - cut) > 1e-5
        answered = np.array([row[1] != "" for row in read(tmp_path / "out.csv")[1:]])
        assert (answered == (compared >= cut))[certain].all()
        said = [one for one in notices.collected() if one["code"] == "uncalibrated_thresholds"]
        assert len(said) == ("abstain" in threshold)


def test_an_output_for_spreadsheets_has_no_formulas(tmp_path: Path) -> None:
    own, _ = tiny_run(tmp_path)
    manifest = own.read_manifest()
    file = write(tmp_path / "new.csv", TEXTS[:4], ids=["=cmd|' /C calc'!A0", "@SUM(1)", "plain", "-1"])
    options = PredictOptions(with_confidence=True, spreadsheet=True)
    predict_file(own.path, file, tmp_path / "out.csv", options=options)
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbfID,Label")
    assert [line[0] for line in read(tmp_path / "out.csv")[1:]] == [
        "'=cmd|' /C calc'!A0",
        "'@SUM(1)",
        "plain",
        "'-1",
    ]
    assert manifest["labels"] == NAMES
    for risky in ("=1", "+1", "-1", "@x", "\tx", "\rx", "\nx"):
        assert spreadsheet_cell(risky) == f"'{risky}"
    assert spreadsheet_cell("a=1") == "a=1" and spreadsheet_cell("") == ""


def test_a_bad_row_far_down_keeps_the_old_output_and_leaves_no_partial_file(
    run: RunDir, tmp_path: Path
) -> None:
    file = tmp_path / "new.jsonl"
    row = '{"text": "word1 goal"}\n'
    file.write_text(row * 600 + '{"text": \n' + row * 10, encoding="utf-8")
    out = tmp_path / "out.csv"
    out.write_text("from before")
    with pytest.raises(BadInput, match=r"new\.jsonl"):
        predict_file(run.path, file, out, options=PredictOptions(chunk_rows=100), overwrite=True)
    assert out.read_text() == "from before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new.jsonl", "out.csv"]


def test_a_full_disk_keeps_the_old_output(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.csv"
    out.write_text("from before")
    file = write(tmp_path / "new.csv", TEXTS[:5])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SubmillionError, match="No space left on device"):
        predict_file(run.path, file, out, overwrite=True)
    assert out.read_text() == "from before"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nwe.csv", None, r"nwe\.csv: expected .*no such file.*Did you mean 'new\.csv'"),
        ("new.csv", "", "an empty file"),
        ("new.csv", "text\n", "expected rows with a text, found none"),
        ("new.csv", "txet\nword1\n", "txet"),
        ("new.pkl", "text\n", "pickle"),
    ],
)
def test_a_bad_file_is_refused_before_the_model_is_opened(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, message: str
) -> None:
    monkeypatch.setattr(predict, "open_for_answers", lambda *_: pytest.fail("the model was opened"))
    write(tmp_path / "new.csv", ["word1"])
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=message):
        predict_file(run.path, tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_wrong_column_suggests_the_nearest(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Did you mean 'text'"):
        predict_file(run.path, write(tmp_path / "new.csv", TEXTS[:2]), tmp_path / "out.csv", text="txt")


def test_impossible_outputs_are_refused(run: RunDir, tmp_path: Path) -> None:
    file = write(tmp_path / "new.csv", TEXTS[:2])
    before = file.read_bytes()
    with pytest.raises(BadInput, match="expected another file than the input"):
        predict_file(run.path, file, file)
    assert file.read_bytes() == before
    with pytest.raises(
        BadInput, match="a new folder, or one of an earlier prediction, found .*which has other files"
    ):
        predict_file(run.path, file, tmp_path)


def test_a_directory_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a run directory"):
        predict_file(tmp_path, write(tmp_path / "new.csv", TEXTS[:2]), tmp_path / "out.csv")


# -- abstaining ----------------------------------------------------------------------------------------------


def test_abstaining_leaves_uncertain_rows_without_a_label(
    run: RunDir, expected: np.ndarray, tmp_path: Path
) -> None:
    top = np.sort(expected.max(axis=1))
    threshold = float(top[len(top) // 3 - 1] + top[len(top) // 3]) / 2
    run.write_analysis("confidence", confidence_of(0.9, threshold))
    file = write(tmp_path / "in.jsonl", TEXTS)
    predict_file(run.path, file, tmp_path / "out.csv", options=PredictOptions(abstain=True))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as handle:
        answered = [row["Label"] for row in csv.DictReader(handle)]
    sure = expected.max(axis=1) >= threshold
    assert answered == [
        NAMES[best] if certain else "" for best, certain in zip(expected.argmax(axis=1), sure, strict=True)
    ]
    notice = next(one for one in notices.collected() if one["code"] == "abstained")
    assert (notice["abstained"], notice["rows"]) == (len(TEXTS) // 3, len(TEXTS))


@pytest.mark.parametrize("policy", [None, confidence_of(0.999, None)])
def test_abstaining_without_a_policy_is_refused(tmp_path: Path, policy: dict[str, Any] | None) -> None:
    run = RunDir.create(tmp_path / "run")
    run.write_json(run.manifest, {})
    run.recipe.write_text(Recipe.load("r8").to_yaml(), encoding="utf-8")
    if policy:
        run.write_analysis("confidence", policy)
    with pytest.raises(BadInput, match=r"`submillion report \S+run --answer-at ACCURACY`"):
        predict_file(
            run.path,
            write(tmp_path / "in.csv", TEXTS),
            tmp_path / "out.csv",
            options=PredictOptions(abstain=True),
        )


def test_a_policy_applies_only_on_request(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"confidence": {"policy": {"threshold": 1.1}}}
    monkeypatch.setattr(RunDir, "read_analysis", lambda _, part: parts.get(part))
    file = write(tmp_path / "new.csv", TEXTS[:20])
    predict_file(run.path, file, tmp_path / "out.csv")
    assert all(line[1] for line in read(tmp_path / "out.csv"))
    assert not any(notice["code"] == "abstained" for notice in notices.collected())
    predict_file(
        run.path, file, tmp_path / "none.csv", options=PredictOptions(with_confidence=True, abstain=True)
    )
    for line in read(tmp_path / "none.csv")[1:]:
        assert line[1] == ""
        assert float(line[2]) == max(map(float, line[3:])), "a row without a label has its confidence"


def test_thresholds_of_classes_change_the_answers_and_their_confidence(
    run: RunDir, expected: np.ndarray, tmp_path: Path
) -> None:
    cuts = expected.mean(axis=0)
    run.write_analysis("thresholds", thresholds_of("macro_f1", NAMES, cuts.tolist()))
    file = write(tmp_path / "in.jsonl", TEXTS)
    options = PredictOptions(with_confidence=True, class_thresholds=True)
    predict_file(run.path, file, tmp_path / "out.csv", options=options)
    best = (expected / cuts).argmax(axis=1)
    assert (best != expected.argmax(axis=1)).any()
    for line, answer in zip(read(tmp_path / "out.csv")[1:], best, strict=True):
        assert line[1] == NAMES[answer]
        assert line[2] == line[3 + answer], "the confidence is the answer's probability"
    cut = float(np.median(expected.max(axis=1)))
    run.write_analysis("thresholds", thresholds_of("precision", NAMES, [cut, *[None] * (len(NAMES) - 1)]))
    predict_file(run.path, file, tmp_path / "sure.csv", options=options)
    answers = [line[1] for line in read(tmp_path / "sure.csv")[1:]]
    assert set(answers) == {"", NAMES[0]}
    notice = next(one for one in notices.collected() if one["code"] == "abstained")
    assert notice["abstained"] == answers.count("")


def test_two_kinds_of_thresholds_are_refused(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`class_thresholds`: expected one kind of threshold"):
        predict_file(
            run.path,
            write(tmp_path / "in.csv", TEXTS),
            tmp_path / "out.csv",
            options=PredictOptions(abstain=True, class_thresholds=True),
        )


def test_a_row_at_the_threshold_is_answered_and_its_float32_neighbour_below_is_not() -> None:
    below = np.nextafter(np.float32(0.75), np.float32(0))
    probabilities = np.array([[0.75, 0.25], [below, 0.25]], dtype=np.float32)
    for threshold in (0.75, (float(below) + 0.75) / 2):
        assert predict_options.answers(probabilities, threshold).tolist() == [0, -1]

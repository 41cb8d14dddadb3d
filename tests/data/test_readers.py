"""Labelled rows with their places, streamed texts, and the choice of columns."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_rows, iter_texts, read_rows
from submillion.data.rows import LabelledRows
from submillion.errors import BadInput


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8", newline="")
    return path


def streamed(path: Path, **options: object) -> list[tuple[str, str]]:
    return [pair for ids, texts in iter_texts(path, **options) for pair in zip(ids, texts, strict=True)]  # type: ignore[arg-type]


def pairs(rows: LabelledRows) -> list[tuple[str, str]]:
    return list(zip(rows.texts, rows.labels, strict=True))


def test_rows_know_their_places(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", 'text,label\n"two\nlines",x\nnext,y\n')
    second = write(tmp_path / "b.jsonl", '{"label": "y", "text": "third"}\n')
    rows = read_rows([first, second])
    assert pairs(rows) == [("two\nlines", "x"), ("next", "y"), ("third", "y")]
    assert rows.examples(range(3)) == ["a.csv, line 2", "a.csv, line 4", "b.jsonl, line 1"]
    assert rows.ids == ["0", "1", "2"]
    assert rows.take([2, 0]).examples([0, 1]) == ["b.jsonl, line 1", "a.csv, line 2"]


def test_a_column_may_have_several_roles(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a,b,c\nx,y,z\n")
    rows = read_rows([path], ["b", "a", "b"], "c", ["a", "c"])
    assert list(rows.texts) == ["y x y"] and rows.labels == ["z"] and rows.extra == {"a": ["x"], "c": ["z"]}


@pytest.mark.parametrize(
    ("header", "texts", "label"),
    [
        ("text,label", ["text"], "label"),
        ("Label,Sentence", ["Sentence"], "Label"),
        ("category,Title,Description", ["Title", "Description"], "category"),
        ("title,content,class", ["title", "content"], "class"),
        ("title,text,labels", ["text"], "labels"),
        ("headline,topic,date", ["headline"], "topic"),
        ("Review Text,user_id,Sentiment?", ["Review Text"], "Sentiment?"),
        ("OriginalTweet,airline_sentiment,airline_sentiment_gold", ["OriginalTweet"], "airline_sentiment"),
        ("text_id,Text (en),label,kind_of_label", ["Text (en)"], "label"),
        ("comment_text,toxicity_label", ["comment_text"], "toxicity_label"),
    ],
)
def test_usual_columns_are_found_and_reported(
    tmp_path: Path, header: str, texts: list[str], label: str
) -> None:
    names = header.split(",")
    rows = read_rows(
        [write(tmp_path / "rows.csv", f"{header}\n{','.join('<' + name + '>' for name in names)}\n")]
    )
    assert pairs(rows) == [(" ".join(f"<{name}>" for name in texts), f"<{label}>")]
    assert rows.columns[0].text == texts and rows.columns[0].label == label
    texts_of_notices = " ".join(notice["text"] for notice in notices.collected())
    assert all(f"'{name}'" in texts_of_notices for name in texts)


def test_of_several_columns_whose_names_end_alike_none_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "reviewText,reply_text,label\na,b,c\n")
    with pytest.raises(
        BadInput, match=r"found the columns 'reviewText', 'reply_text', 'label'\. Name it with"
    ):
        read_rows([path])


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("text,emotion", "data.label=emotion"),
        ("id,Text,emotion", "data.label=emotion"),
        ("words,label", "data.text=words"),
        ("text,emotion,date", "data.label"),
        ("text,my emotion", "data.label"),
    ],
)
def test_the_only_column_that_may_be_meant_is_in_the_remedy(tmp_path: Path, header: str, remedy: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_rows([write(tmp_path / "rows.csv", f"{header}\n")])
    assert f" Name it with `{remedy}`. (" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("queue,date,text", "data.label=queue"),
        ("queue,date,date", "data.label"),
        ("queue,land,text", "data.label"),
    ],
)
def test_of_several_columns_the_only_one_with_classes_is_in_the_remedy(
    tmp_path: Path, header: str, remedy: str
) -> None:
    rows = "".join(f"{'ab'[n % 2]},{'xy'[n % 2] if 'land' in header else n},text {n}\n" for n in range(8))
    with pytest.raises(BadInput) as caught:
        read_rows(
            [write(tmp_path / "rows.csv", f"{header}\n{rows}")], text=None if "text" in header else "queue"
        )
    assert f" Name it with `{remedy}`. (" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"), [("wer schrieb es", "data.text"), ("Max", "data.text=bewertung")]
)
def test_of_several_columns_the_only_one_with_several_words_is_in_the_remedy(
    tmp_path: Path, name: str, remedy: str
) -> None:
    rows = "".join(f"{name},kam leider kaputt an {place},{place % 2}\n" for place in range(8))
    with pytest.raises(BadInput) as caught:
        read_rows([write(tmp_path / "rows.csv", f"kunde,bewertung,note\n{rows}")], label="note")
    assert f" Name it with `{remedy}`. (" in str(caught.value)


def test_requested_columns_are_joined_in_that_order(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a,b,text,y\none,two,no,p\n,two,no,q\n")
    assert pairs(read_rows([path], text=["b", "a"], label="y")) == [("two one", "p"), ("two", "q")]
    assert notices.collected() == []


@pytest.mark.parametrize(
    ("text", "label"), [("label", None), (["text", "label"], None), (None, "text"), ("text", "text")]
)
def test_the_label_is_no_part_of_the_text(
    tmp_path: Path, text: str | list[str] | None, label: str | None
) -> None:
    path = write(tmp_path / "rows.csv", "text,label\none,p\ntwo,q\n")
    with pytest.raises(BadInput, match="expected a text without its label, found columns? .* as the label"):
        read_rows([path], text=text, label=label)


def test_unknown_columns_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,category\nx,y\n")
    with pytest.raises(BadInput) as caught:
        read_rows([path], text="txt", label="categorie")
    assert str(caught.value).splitlines() == [
        f"{path}: expected a text column 'txt', found the columns 'text', 'category'. Did you mean 'text'?",
        f"{path}: expected a label column 'categorie', found the columns 'text', 'category'. "
        "Did you mean 'category'?",
    ]
    unusual = write(tmp_path / "unusual.csv", "words,kind\nx,y\n")
    with pytest.raises(
        BadInput, match=r"a text column \(text, .*found the columns 'words', 'kind'\. Name it"
    ):
        read_rows([unusual])
    with pytest.raises(
        BadInput, match=r"a label column \(label, .*found the columns 'words', 'kind'\. Name it"
    ):
        read_rows([unusual], text="words")
    double = write(tmp_path / "double.csv", "text,text,label\nx,y,z\n")
    with pytest.raises(BadInput, match="expected one text column 'text', found 2 of that name"):
        read_rows([double], text="text")
    with pytest.raises(BadInput, match="found 2 of that name"):
        read_rows([double])


def test_labels_of_every_type_become_names(tmp_path: Path) -> None:
    values = ["World", " padded ", 3, 2.0, True]
    lines = "".join(json.dumps({"text": "x", "label": value}) + "\n" for value in values)
    rows = read_rows([write(tmp_path / "rows.jsonl", lines)])
    assert rows.labels == ["World", "padded", "3", "2", "true"]


def test_numbers_with_names_in_the_file_become_names(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = {"text": ["x", "y", "z"], "label": [1, 0, 1]}
    datasets.Dataset.from_dict(data, features=features).to_parquet(tmp_path / "rows.parquet")
    assert read_rows([tmp_path / "rows.parquet"]).labels == ["yes", "no", "yes"]
    hidden = data | {"label": [1, -1, -1]}  # how the hub marks labels that are kept back
    datasets.Dataset.from_dict(hidden, features=features).to_parquet(tmp_path / "hidden.parquet")
    with pytest.raises(
        BadInput, match="rows 2, 3: expected a label among 0 to 1 in column 'label', found -1"
    ):
        read_rows([tmp_path / "hidden.parquet"])


def test_all_problems_with_rows_are_reported_with_their_places(tmp_path: Path) -> None:
    good = '{"text": "x", "label": "a"}\n'
    bad = (
        '{"text": "x"}\n' * 7
        + '{"text": ["x"], "label": "a"}\n{"text": "x", "label": null}\n'
        + '{"text": "\\ud83d", "label": "a"}\n[1]\n'
    )
    path = write(tmp_path / "rows.jsonl", good + bad + good)
    with pytest.raises(BadInput) as caught:
        read_rows([path])
    assert str(caught.value).splitlines() == [
        f"{path}, lines 2, 3, 4, 5, 6 and 3 more: expected a label in column 'label', found nothing. Label these rows, "
        "or leave them out with `data.skip_unlabelled=true`.",
        f"{path}, line 9: expected a text, found ['x'].",
        f"{path}, line 11: expected text in unicode, found half a surrogate pair (\\ud83d).",
        f"{path}, line 12: expected rows like the others, found list instead of an object.",
    ]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,label\n")
    with pytest.raises(BadInput, match="expected rows with a text and a label, found none"):
        read_rows([path])
    with pytest.raises(BadInput, match="expected rows with a text, found none"):
        list(iter_texts(path))
    with pytest.raises(BadInput, match=r"found no rows"):
        read_rows([write(tmp_path / "rows.json", "[]")])


def test_the_stream_keeps_every_row_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text\n" + "".join(f"row {row}\n" for row in range(10)) + "\nlast\n")
    steps = list(iter_texts(path, batch=5))
    assert [len(ids) for ids, _ in steps] == [5, 5, 2]
    assert streamed(path, batch=5) == [
        *((str(row), f"row {row}") for row in range(10)),
        ("10", ""),
        ("11", "last"),
    ]
    assert "rows.csv: 1 of 12 texts are empty." in [notice["text"] for notice in notices.collected()]


@pytest.mark.parametrize("column", ["ID", "id", "Id"])
def test_the_files_own_ids_are_kept(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "rows.csv", f"{column},text,label\nx7,hello,a\n03,there,b\n")
    assert streamed(path) == [("x7", "hello"), ("03", "there")]
    assert read_rows([path]).ids == ["x7", "03"]


def test_of_columns_that_differ_in_case_the_usual_spelling_is_taken_else_the_first(tmp_path: Path) -> None:
    exact = write(tmp_path / "exact.csv", "ID,Text,text,TEXT,Label,label,id\nI,1,2,3,p,q,i\n")
    assert pairs(read_rows([exact])) == [("2", "q")] and read_rows([exact]).ids == ["i"]
    assert streamed(exact) == [("i", "2")]
    first = write(tmp_path / "first.csv", "ID,Id,Title,TITLE,DESCRIPTION,Description,Label\nI,i,1,2,3,4,p\n")
    assert pairs(read_rows([first])) == [("1 3", "p")] and streamed(first) == [("I", "1 3")]


def test_two_columns_of_ids_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "id,id,text,label,key\n1,2,a,b,k\n")
    for read in (read_rows, lambda paths: streamed(paths[0])):
        with pytest.raises(BadInput, match="expected one id column 'id', found 2 of that name"):
            read([path])
    assert [ids for ids, *_ in iter_rows(path, own_id="key")] == [["k"]]


def test_a_missing_id_is_empty_and_no_number_of_a_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def ids_of(values: pa.Array) -> list[str]:
        table = pa.table({"id": values, "text": pa.array(["a"] * len(values))})
        pq.write_table(table, tmp_path / "rows.parquet")
        return [row_id for row_id, _ in streamed(tmp_path / "rows.parquet")]

    assert ids_of(pa.array([1.0, None, float("nan"), 3.0, 0.5])) == ["1", "", "", "3", "0.5"]
    assert ids_of(pa.array([7, None, 2**60])) == ["7", "", str(2**60)]
    assert ids_of(pa.array([b"ab", None])) == ["6162", ""]
    path = write(tmp_path / "rows.jsonl", '{"id": null, "text": "a"}\n{"id": 0, "text": "b"}\n')
    assert streamed(path) == [("", "a"), ("0", "b")]


def test_further_columns_are_copied_unchanged(tmp_path: Path) -> None:
    values = ["a\r\nb  c\n", " \u200b", "e\u0301", "", None, True, 1.0, 7, {"a": ["é", None]}, [1], "007"]
    path = write(
        tmp_path / "rows.jsonl", "".join(json.dumps({"text": "a", "x": value}) + "\n" for value in values)
    )
    copied = [row[0] for _, _, rows in iter_rows(path, extra=["x"]) for row in rows]
    expected = ["", "true", "1.0", "7", '{"a": ["é", null]}', "[1]", "007"]
    assert copied == [*values[:4], *expected]


def test_a_copied_value_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    for value in ("\ud800", ["\ud800"]):
        rows = [{"text": "a", "x": "fine"}, {"text": "b", "x": value}]
        path = write(tmp_path / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for wanted in ({"extra": ["x"]}, {"own_id": "x"}):
            with pytest.raises(BadInput, match=r"line 2: expected text in unicode, found half a surrogate"):
                list(iter_rows(path, **wanted))  # type: ignore[arg-type]


@pytest.mark.parametrize("row_id", ["\ud800", ["\ud800"], {"a": "\ud800"}])
def test_an_id_that_is_no_unicode_is_refused(tmp_path: Path, row_id: object) -> None:
    rows = [{"id": 1, "text": "a", "label": "x"}, {"id": row_id, "text": "b", "label": "y"}]
    path = write(tmp_path / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match="line 2: expected text in unicode, found half a surrogate"):
        read_rows([path])


def test_streams_of_every_format_need_no_labels(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [7, 8], "text": ["a", None]}), tmp_path / "rows.parquet")
    assert streamed(tmp_path / "rows.parquet") == [("7", "a"), ("8", "")]
    assert streamed(write(tmp_path / "rows.txt", "one, two\nthree")) == [("0", "one, two"), ("1", "three")]
    assert streamed(write(tmp_path / "rows.jsonl", '{"text": "a"}\n{"text": 5}\n')) == [
        ("0", "a"),
        ("1", "5"),
    ]
    official = write(tmp_path / "rows.csv", '"3","Title","Rest"\n"1","T","R"\n')
    assert streamed(official, text="text") == [("0", "Title Rest"), ("1", "T R")]


def test_a_malformed_row_ends_the_stream_and_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,date\nfine,1\nbad\n")
    steps = iter_texts(path, batch=1)
    assert next(steps) == (["0"], ["fine"])
    with pytest.raises(BadInput, match=r"rows\.csv, line 3: expected 2 fields, as in the header, found 1"):
        next(steps)
    with pytest.raises(BadInput, match=r"found no such file"):
        iter_texts(tmp_path / "rows.tsv")  # raised immediately, before the first step


@pytest.mark.parametrize("form", ["csv", "jsonl", "txt", "parquet"])
def test_the_streams_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    import pyarrow as pa

    path = tmp_path / f"rows.{form}"
    count = 20_000
    if form == "parquet":
        import pyarrow.parquet as pq

        texts = pa.table({"text": [f"some words {row} " * 10 for row in range(count)]})
        pq.write_table(texts, path, compression="none", use_dictionary=False)  # a single row group
        del texts
    else:
        line = {"csv": '"{}"\n', "jsonl": '{{"text": "{}"}}\n', "txt": "{}\n"}[form].format(
            "some words " * 10
        )
        with path.open("w") as file:
            file.write("text\n" if form == "csv" else "")
            file.writelines(line for _ in range(count))
    next(iter_texts(path))  # what is imported on first use is not the stream's
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = arrow = 0
    for ids, _ in iter_texts(path):
        rows += len(ids)
        arrow = max(arrow, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == count
    assert peak < 1_000_000 and arrow < 2_500_000  # the texts are 2.2 MB, in parquet 3.5 MB


def test_ids_of_labelled_rows_are_written_as_those_of_predicted_ones(tmp_path: Path) -> None:
    lines = [{"id": row_id, "text": "a", "label": "x"} for row_id in (1, 7.0, None, {"a": 1}, "007")]
    file = write(tmp_path / "rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert read_rows([file]).ids == ["1", "7", "", '{"a": 1}', "007"]
    assert [row_id for row_id, _ in streamed(file)] == ["1", "7", "", '{"a": 1}', "007"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text,label", []),
        ("text,Label,other", []),
        ("text,class,other", ["file.csv: labels are read from column 'class'."]),
        (
            "text,topic,sentiment,class",
            [
                "file.csv: labels are read from column 'class'; not used: 'topic' and 'sentiment'. Name another with "
                "data.label."
            ],
        ),
        ("text,target,label", ["file.csv: labels are read from column 'label'; not used: 'target'"]),
    ],
)
def test_a_label_column_that_was_chosen_by_its_name_is_reported(
    tmp_path: Path, header: str, expected: list[str]
) -> None:
    count = header.count(",") + 1
    file = write(tmp_path / "file.csv", f"{header}\n{','.join('abcd'[:count])}\n")
    read_rows([file])
    given = [notice["text"] for notice in notices.collected() if notice["code"] == "label_column"]
    assert len(given) == len(expected)
    assert all(text.startswith(start) for text, start in zip(given, expected, strict=True))


def test_a_label_column_that_is_named_is_not_reported(tmp_path: Path) -> None:
    file = write(tmp_path / "file.csv", "text,topic,class\na,b,c\n")
    assert read_rows([file], label="topic").labels == ["b"]
    assert "label_column" not in {notice["code"] for notice in notices.collected()}

"""JSON of every layout gives the same rows; the exports of annotation tools become flat rows with one class each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput

ROWS = [("one", "a"), ("two", "b"), ("three", "a")]
OBJECTS = [{"text": text, "label": label} for text, label in ROWS]


def write(path: Path, *values: Any, indent: int | None = None) -> Path:
    path.write_text("".join(json.dumps(value, indent=indent) + "\n" for value in values), encoding="utf-8")
    return path


def pairs(path: Path, **options: Any) -> list[tuple[str, str]]:
    rows = read_rows([path], **options)
    return list(zip(rows.texts, rows.labels, strict=True))


def texts_of_notices() -> str:
    return "\n".join(notice["text"] for notice in notices.collected())


LAYOUTS: dict[str, Any] = {
    "list": OBJECTS,
    "wrapped": {"data": OBJECTS},
    "answer of a server": {"status": "ok", "data": {"total": 3, "items": OBJECTS}},
    "table": {"schema": {"fields": [{"name": "text"}]}, "data": OBJECTS},
    "lists of columns": {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]},
    "columns": {
        "text": {str(row): text for row, (text, _) in enumerate(ROWS)},
        "label": {str(row): label for row, (_, label) in enumerate(ROWS)},
    },
    "index": {str(row): value for row, value in enumerate(OBJECTS)},
    "split": {"columns": ["text", "label"], "index": [0, 1, 2], "data": [list(row) for row in ROWS]},
}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_document_of_every_layout_is_read(
    tmp_path: Path, name: str, layout: str, indent: int | None
) -> None:
    assert pairs(write(tmp_path / name, LAYOUTS[layout], indent=indent)) == ROWS


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_lines_of_objects_may_have_lists(tmp_path: Path, name: str) -> None:
    lines = [{"helpful": [0, 3], **value} for value in OBJECTS]
    assert pairs(write(tmp_path / name, *lines)) == ROWS
    assert pairs(write(tmp_path / name, lines[0])) == ROWS[:1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"text": "x"}\n\n{"text": ' + "[" * 100_000,
            "line 3: expected one JSON object per line, found a line with lists",
        ),
        ("[" * 100_000, "found one with lists or objects nested too deeply"),
        (f'{{"text": "x", "label": {"9" * 5000}}}', "integer of thousands of digits"),
        (f'[{{"text": "x", "label": {"9" * 5000}}}]', "integer of thousands of digits"),
        (
            '{\n"text": "x"\n}\n{\n"text": "y"\n}\n',
            r"found one that is not JSON \(Extra data: .*\)\. .*jq -c \. FILE",
        ),
        ('{"a": {"b": {"text": ["x"]}}, "c": 1}', "a text column"),
        ('{"text": ["x", "y"], "label": ["a"]}', r"line 1: expected a text, found \['x', 'y'\]"),
        ("7", "found one int"),
        ('["x", "y"]', "found str as the first entry"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        read_rows([path])


def test_half_a_surrogate_pair_is_refused_wherever_it_occurs(tmp_path: Path) -> None:
    lines = [{"id": "\ud800", "text": "a", "label": "x"}, {"id": "1", "text": "b", "label": "\ud800"}]
    with pytest.raises(BadInput, match=r"lines 1, 2: expected text in unicode, found half a surrogate pair"):
        read_rows([write(tmp_path / "rows.jsonl", *lines)])
    with pytest.raises(BadInput, match=r"line 1: expected text in unicode"):
        list(iter_texts(tmp_path / "rows.jsonl"))


def task(number: int, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"review": f"review {number}"},
        "annotations": list(annotations),
        "predictions": [],
    }


def annotation(*classes: str, **facts: Any) -> dict[str, Any]:
    result = {
        "from_name": "topic",
        "to_name": "review",
        "type": "choices",
        "value": {"choices": list(classes)},
    }
    return {"result": [result], "was_cancelled": False, **facts}


def test_label_studios_tasks_become_rows(tmp_path: Path) -> None:
    tasks = [
        task(1, annotation("food")),
        task(2, annotation("sport"), annotation("sport")),
        task(3),
        task(4, annotation("food", was_cancelled=True)),
        task(5, annotation("food"), annotation("sport")),
        task(6, annotation("food"), annotation("sport", ground_truth=True)),
    ]
    path = write(tmp_path / "export.json", tasks)
    assert pairs(path) == [("review 1", "food"), ("review 2", "sport"), ("review 6", "sport")]
    assert "read as an export of Label Studio, with the columns 'id', 'review', 'topic'" in texts_of_notices()
    assert (
        "3 rows left out: 1 without an annotation, 1 skipped by the annotator and 1 on which the"
        in texts_of_notices()
    )
    assert sum(len(ids) for ids, _ in iter_texts(path)) == 6  # every task can be predicted
    with pytest.raises(
        BadInput, match=r"entry 2: expected one class in column 'topic', found several classes: \['a', 'b'\]"
    ):
        read_rows(
            [write(tmp_path / "several.json", [task(1, annotation("a")), task(2, annotation("a", "b"))])]
        )
    assert pairs(write(tmp_path / "lines.jsonl", task(1, annotation("food")))) == [("review 1", "food")]


@pytest.mark.parametrize(
    "several",
    [
        '{"choices": ["a", "b"]}',
        "['a', 'b']",
        '["a", "b"]',
        "['a' 'b']",
        "{'a': 1, 'b': 1}",
        "('a', 'b')",
        "[['a'], ['b']]",
    ],
)
def test_text_of_several_classes_is_refused_and_never_a_class(tmp_path: Path, several: str) -> None:
    lines = [{"review": "x", "topic": "a"}, {"review": "y", "topic": several}]
    with pytest.raises(
        BadInput, match=r"line 2: expected one class in column 'topic', .* Give each row one class"
    ):
        read_rows([write(tmp_path / "rows.jsonl", *lines)])


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (["a"], "a"),
        ({"choices": ["a"]}, "a"),
        ([{"value": "a", "user_id": "u"}], "a"),
        ({"a": 1.0, "b": 0.0}, "a"),
        ({"a": True, "b": False}, "a"),
        ("['a']", "a"),
        ('{"choices": ["a"]}', "a"),
        ("('a',)", "a"),
        ([7], "7"),
        ("[spam] ham", "[spam] ham"),
        ("[spam]", "[spam]"),
        ("(a)", "(a)"),
        ("{}", None),
        ([], None),
    ],
)
def test_one_class_in_a_container_is_that_class(tmp_path: Path, value: Any, label: str | None) -> None:
    path = write(tmp_path / "rows.jsonl", {"text": "x", "label": "b"}, {"text": "y", "label": value})
    if label is None:
        with pytest.raises(BadInput, match=r"line 2: expected a label in column 'label'"):
            read_rows([path])
        return
    assert pairs(path)[1] == ("y", label)
    assert ("are read from lists" in texts_of_notices() or "is read from lists" in texts_of_notices()) == (
        value != label
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0, 4, "PER"]], "lists inside a list, such as marked spans"),
        ({"a": 0.7, "b": 0.3}, "scores other than 0 and 1"),
        ({"a": 0, "b": 0}, "no class has 1"),
        ({"name": "a"}, "an object"),
    ],
)
def test_other_containers_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(BadInput, match=rf"line 1: expected one class in column 'label', found .*{message}"):
        read_rows([write(tmp_path / "rows.jsonl", {"text": "y", "label": value})])


def test_spacys_categories_are_classes(tmp_path: Path) -> None:
    cats = [{"text": text, "cats": {"a": label == "a", "b": label == "b"}} for text, label in ROWS]
    assert pairs(write(tmp_path / "rows.jsonl", *cats)) == ROWS
    assert (
        pairs(write(tmp_path / "pairs.json", [[row["text"], {"cats": row["cats"]}] for row in cats])) == ROWS
    )


def test_rows_that_annotators_rejected_do_not_train(tmp_path: Path) -> None:
    chosen = [
        {"text": text, "accept": [label], "answer": answer}
        for (text, label), answer in zip(
            [*ROWS, ("four", "b")], ["accept", "reject", "accept", "ignore"], strict=True
        )
    ]
    assert pairs(write(tmp_path / "chosen.jsonl", *chosen)) == [ROWS[0], ROWS[2]]
    assert "chosen.jsonl: 2 rows left out: 2 marked as rejected in column 'answer'." in texts_of_notices()
    binary = [
        {"text": "one", "label": "a", "answer": "accept"},
        {"text": "two", "label": "b", "answer": "reject"},
    ]
    assert pairs(write(tmp_path / "binary.jsonl", *binary)) == [("one", "a")]
    partly = [{**binary[0]}, {"text": "three", "label": "a"}, {**binary[1]}]
    assert pairs(write(tmp_path / "partly.jsonl", *partly)) == [("one", "a"), ("three", "a")]
    csv = tmp_path / "rows.csv"
    csv.write_text("text,label,status\none,a,Validated\ntwo,b,Discarded\n", encoding="utf-8")
    assert pairs(csv) == [("one", "a")]
    answers = tmp_path / "answers.csv"
    answers.write_text("text,label,answer\none,a,accept\ntwo,b,reject\n", encoding="utf-8")
    assert pairs(answers, label="answer") == [("one", "accept"), ("two", "reject")]


def test_argillas_records_become_rows(tmp_path: Path) -> None:
    records = [
        {
            "id": row,
            "fields": {"text": text},
            "responses": {"topic": [{"value": label, "user_id": "u"}]},
            "suggestions": {},
        }
        for row, (text, label) in enumerate(ROWS)
    ]
    assert pairs(write(tmp_path / "records.json", records)) == ROWS
    old = [{"inputs": {"text": text}, "annotation": label, "status": "Validated"} for text, label in ROWS]
    old.append({"inputs": {"text": "open"}, "annotation": None, "status": "Default"})
    old.append({"inputs": {"text": "wrong"}, "annotation": "a", "status": "Discarded"})
    assert pairs(write(tmp_path / "old.jsonl", *old)) == ROWS
    assert "2 rows left out: 1 without an annotation and 1 marked as rejected" in texts_of_notices()


def test_doccanos_lists_of_labels_are_classes(tmp_path: Path) -> None:
    lines = [{"id": row, "text": text, "label": [label]} for row, (text, label) in enumerate(ROWS)]
    assert pairs(write(tmp_path / "doccano.jsonl", *lines)) == ROWS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "x", "label": "y"}\n'),
        ("rows.json", '[{"text": "b", "label": "x", "label": "y"}]'),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match="with 'label' twice in one object"):
        read_rows([file])


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    split = {"columns": ["text", "label", "text"], "index": [0], "data": [["a", "x", "b"]]}
    with pytest.raises(BadInput, match="with 'text' twice in one object"):
        read_rows([write(tmp_path / "split.json", split)])


def test_ids_that_the_first_row_lacks_are_not_overlooked(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "y", "id": 55})
    with pytest.raises(BadInput, match=r"rows\.jsonl, line 1: expected rows like the others, found no 'id'"):
        read_rows([file])


NESTED = [{"item": {"text": text, "length": 3}, "gold": {"label": label}} for text, label in ROWS]


def test_values_of_objects_inside_a_row_are_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *NESTED)
    assert pairs(path) == ROWS
    assert pairs(path, text="item.length", label="gold.label")[0] == ("3", "a")
    assert "texts are read from column 'item.text'" in texts_of_notices()
    assert "labels are read from column 'gold.label'" in texts_of_notices()


def test_one_row_with_a_list_inside_is_a_row(tmp_path: Path) -> None:
    row = {"label": "a", "item": {"text": "one", "tags": [{"name": "x"}]}}
    assert pairs(write(tmp_path / "rows.jsonl", row)) == [("one", "a")]


def test_columns_of_the_row_itself_come_before_those_inside_an_object(tmp_path: Path) -> None:
    rows = [
        {"meta": {"text": "no", "label": "no"}, "item.text": "no", "review_text": text, "label": label}
        for text, label in ROWS
    ]
    path = write(
        tmp_path / "rows.jsonl", *({name: row[name] for name in row if name != "item.text"} for row in rows)
    )
    assert pairs(path) == ROWS
    assert pairs(write(tmp_path / "dotted.jsonl", *rows), text="item.text")[0] == ("no", "a")


def test_a_row_without_the_value_inside_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *NESTED, {"item": {"other": 1}, "gold": {"label": "a"}})
    with pytest.raises(BadInput, match=r"line 4.*no 'item.text'"):
        pairs(path)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_row_that_lacks_the_label_has_none(tmp_path: Path, name: str) -> None:
    values: list[Any] = [{"text": "open"}, *OBJECTS, {"text": "later"}]
    path = write(tmp_path / name, *(values if name == "rows.jsonl" else [values]))
    assert pairs(path, skip_unlabelled=True) == ROWS
    assert f"{name}: 2 rows left out: 2 without a label." in texts_of_notices()
    with pytest.raises(
        BadInput, match=r"1, 5: expected a label in column 'label', found nothing\. Label these"
    ):
        pairs(path)
    gold = [{"item": row["item"]} for row in NESTED[:1]] + NESTED[1:]
    assert pairs(write(tmp_path / "nested.jsonl", *gold), skip_unlabelled=True) == ROWS[1:]
    with pytest.raises(BadInput, match=r"line 2: expected rows like the others, found no 'text'"):
        pairs(write(tmp_path / "no_text.jsonl", OBJECTS[0], {"label": "a"}))


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "data": OBJECTS, "errors": []},
        {"data": OBJECTS, "errors": []},
        {"status": "ok", "data": {"items": OBJECTS, "errors": []}},
    ],
)
def test_an_empty_list_beside_the_rows_does_not_count(tmp_path: Path, document: dict[str, Any]) -> None:
    assert pairs(write(tmp_path / "rows.json", document)) == ROWS
    row = {"text": "one", "label": "a", "spans": [{"start": 1}], "tags": []}
    assert pairs(write(tmp_path / "row.jsonl", row)) == [("one", "a")]


def test_no_header_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"Name it with `data\.text=txet`\.$"):
        pairs(write(tmp_path / "rows.jsonl", *({"txet": text, "label": label} for text, label in ROWS)))

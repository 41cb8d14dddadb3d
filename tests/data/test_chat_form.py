"""Chats become rows: the user's message is the text, the assistant's the label; longer chats are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput

ROWS = [("one", "a"), ("two", "b"), ("three", "a")]


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def pairs(path: Path, **options: Any) -> list[tuple[str, str]]:
    rows = read_rows([path], **options)
    return list(zip(rows.texts, rows.labels, strict=True))


def texts(path: Path) -> list[str]:
    return [text for _, batch in iter_texts(path) for text in batch]


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def openai(text: str, label: str) -> Any:
    return {
        "messages": [message("system", "Classify."), message("user", text), message("assistant", f" {label}")]
    }


def in_parts(text: str, label: str) -> Any:
    part = {"type": "text", "text": text}
    return {
        "messages": [message("developer", "Classify."), message("user", [part]), message("assistant", label)]
    }


def sharegpt(text: str, label: str) -> Any:
    return {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": label}], "id": text}


def prompt(text: str, label: str) -> Any:
    return {"prompt": f"{text}\n", "completion": f" {label}"}


def trl(text: str, label: str) -> Any:
    return {"prompt": [message("user", text)], "completion": [message("assistant", label)]}


FORMS = [openai, in_parts, sharegpt, prompt, trl]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, form: Any) -> None:
    records = [form(*row) for row in ROWS]
    assert pairs(write(tmp_path / "rows.jsonl", *records)) == ROWS
    assert pairs(write(tmp_path / "rows.json", records)) == ROWS
    assert pairs(write(tmp_path / "one.jsonl", records[0])) == ROWS[:1]
    assert texts(tmp_path / "rows.jsonl") == [text for text, _ in ROWS]


def test_a_notice_says_what_is_text_and_label(tmp_path: Path) -> None:
    pairs(write(tmp_path / "rows.jsonl", *(openai(*row) for row in ROWS)))
    assert notices.collected()[0]["text"] == (
        "rows.jsonl: read as chats: the user's message is the text, the assistant's the label, "
        "with the columns 'text', 'label', 'system'."
    )


def test_the_system_prompt_is_a_column_and_ids_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *(openai(*row) for row in ROWS))
    assert pairs(path, text=["system", "text"])[0] == ("Classify. one", "a")
    rows = read_rows([write(tmp_path / "shared.jsonl", *(sharegpt(*row) for row in ROWS))])
    assert rows.ids == ["one", "two", "three"]


def test_a_chat_without_an_answer_is_predicted_and_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", openai("one", "a"), {"messages": [message("user", "two")]})
    assert pairs(path) == [("one", "a")]
    assert "1 without an answer of the assistant" in notices.collected()[-1]["text"]
    assert texts(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        (
            [
                message("user", "x"),
                message("assistant", "a"),
                message("user", "y"),
                message("assistant", "b"),
            ],
            "2 messages of the user and 2 of the assistant",
        ),
        ([message("assistant", "a")], "0 messages of the user and 1 of the assistant"),
        ([message("user", "x"), message("tool", "7"), message("assistant", "a")], "a message of 'tool'"),
        ([message("user", [{"type": "image_url", "image_url": {}}])], "a message that is no text"),
        ([message("user", None), message("assistant", "a")], "a message that is no text"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_other_chats_are_refused_with_their_line(
    tmp_path: Path, messages: Any, found: str, first: bool
) -> None:
    records = [openai("one", "a"), {"messages": messages}]
    path = write(tmp_path / "rows.jsonl", *(reversed(records) if first else records))
    with pytest.raises(BadInput) as error:
        pairs(path)
    assert f"line {1 if first else 2}" in str(error.value) and found in str(error.value)


@pytest.mark.parametrize(
    "record",
    [
        {"text": "one", "label": "a", "messages": []},
        {"text": "one", "label": "a", "messages": ["no", "chat"]},
        {"text": "one", "label": "a", "messages": [{"role": "user"}]},
        {"text": "one", "label": "a", "prompt": "p", "completion": "c"},
    ],
)
def test_rows_of_other_forms_stay_as_they_are(tmp_path: Path, record: Any) -> None:
    assert pairs(write(tmp_path / "rows.jsonl", record, record | {"text": "two"})) == [
        ("one", "a"),
        ("two", "a"),
    ]

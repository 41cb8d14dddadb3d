"""Chats as rows, the form in which chat models are fine-tuned: the user's message is the text, the answer its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from submillion.data.annotation import Export
from submillion.data.table import LABEL, TEXT, Malformed, Unlabelled

MESSAGES = ("messages", "conversations")
"""Keys of a record's list of messages: OpenAI's and TRL's, and ShareGPT's."""
PAIR = ("prompt", "completion")
"""Keys of a record's text and label, or of the messages that end with a question, and those of the answer."""
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
FORM = "chats: the user's message is the text, the assistant's the label"
ONE_QUESTION = "Keep one user's message and its answer a record."


def chat_of(entries: Sequence[Any]) -> Export | None:
    """Return the form of a JSON file of chats, or of prompts and completions; None if it is another.

    Args:
        entries: the first few of the file.
    """
    first = entries[0] if entries else None
    if is_chat(first):
        return Export(FORM, _from_chat, TEXT, LABEL)
    if isinstance(first, dict) and first.keys() >= set(PAIR) and TEXT not in first:
        return Export("prompts and completions", _from_pair, TEXT, LABEL)
    return None


def is_chat(entry: Any) -> bool:
    """Return whether an entry is a record with a list of messages."""
    return bool(_keys(entry))


def _keys(entry: Any) -> Sequence[str]:
    """Return the keys under which a record has its messages; none if it is no chat."""
    if not isinstance(entry, dict):
        return ()
    alone = [(key,) for key in MESSAGES]
    return next((keys for keys in (*alone, PAIR) if all(_are_messages(entry.get(key)) for key in keys)), ())


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_role(message) is not None for message in value)


def _role(message: Any) -> str | None:
    """Return the name that ROLES gives a message's role; the role itself if it has none, None if it is no message."""
    if not isinstance(message, dict) or not ({"content", "value"} & message.keys()):
        return None
    role = message.get("role", message.get("from"))
    return ROLES.get(role, role) if isinstance(role, str) else None


def _from_chat(entry: Any) -> Any:
    keys = _keys(entry)
    if not keys:
        return entry
    others = {name: value for name, value in entry.items() if name not in keys}
    return _row([message for key in keys for message in entry[key]], others)


def _from_pair(entry: Any) -> Any:
    if not isinstance(entry, dict) or not entry.keys() >= set(PAIR):
        return entry
    text, label = (_stripped(entry[name]) for name in PAIR)
    return {TEXT: text, LABEL: label} | {name: entry[name] for name in entry if name not in PAIR}


def _row(messages: Sequence[dict[str, Any]], others: dict[str, Any]) -> dict[str, Any] | Malformed:
    """Return text, label and system prompt of a chat, and the record's other values."""
    by_role: dict[str, list[str]] = {}
    for message in messages:
        content = _content(message.get("content", message.get("value")))
        if content is None:
            return Malformed("a message that is no text")
        by_role.setdefault(str(_role(message)), []).append(content)
    questions, answers = by_role.pop("user", []), by_role.pop("assistant", [])
    system = "\n".join(by_role.pop("system", []))
    if len(questions) != 1 or len(answers) > 1:
        found = f"{len(questions)} messages of the user and {len(answers)} of the assistant"
        return Malformed(found, ONE_QUESTION)
    if by_role:
        return Malformed(f"a message of '{next(iter(by_role))}'", ONE_QUESTION)
    label = answers[0] if answers else Unlabelled("without an answer of the assistant")
    return {TEXT: questions[0], LABEL: label, "system": system} | others


def _content(value: Any) -> str | None:
    """Return the text of a message, which may be in parts; None if one of them is no text."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        value = "\n".join(texts) if len(texts) == len(parts) else None
    return value.strip() if isinstance(value, str) else None


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value

"""Tests of errors.py: messages name arguments as the caller does, and nearest names are suggested."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import submillion
from submillion.errors import BadInput, OverBudget, Problem, SubmillionError, did_you_mean, nearest

PROBLEM = Problem(
    "@{data.label}", "a column, see @{text}", "@{not} an argument", "Name it with @{data.label}."
)


def as_flag(argument: str) -> str:
    return f"--{argument.rpartition('.')[2]}"


def test_a_problem_names_arguments_as_python_does() -> None:
    assert str(PROBLEM) == (
        "`data.label`: expected a column, see `text`, found @{not} an argument. Name it with `data.label`."
    )


def test_a_problem_names_arguments_as_its_reader_does() -> None:
    assert PROBLEM.render(as_flag) == (
        "--label: expected a column, see --text, found @{not} an argument. Name it with --label."
    )


def test_a_field_is_named_with_a_value_to_set() -> None:
    problem = Problem("a.csv", "one head", "two", "Use @{head.kind=linear} or @{train.patience=0}.")
    assert str(problem).endswith("Use `head.kind=linear` or `train.patience=0`.")
    assert problem.render(lambda field: f"--set {field}").endswith(
        "Use --set head.kind=linear or --set train.patience=0."
    )


def found_in(source: str) -> Iterator[str]:
    """Yield what the problems of a module quote as found."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem":
            yield from (ast.unparse(value) for value in node.args[2:3])
            yield from (ast.unparse(word.value) for word in node.keywords if word.arg == "found")
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "found":
            yield ast.unparse(node.value)


def test_what_was_found_quotes_the_user_and_names_no_argument() -> None:
    files = sorted(Path(submillion.__file__).parent.rglob("*.py"))
    quoted = [(file.name, text) for file in files for text in found_in(file.read_text(encoding="utf-8"))]
    assert len(quoted) > 300
    assert [entry for entry in quoted if "@{" in entry[1]] == []


def test_bad_input_has_a_line_per_problem() -> None:
    error = BadInput([PROBLEM, Problem("a.csv", "rows", "none")])
    assert str(error).splitlines() == [str(PROBLEM), "a.csv: expected rows, found none."]
    assert error.render(as_flag).splitlines()[0] == PROBLEM.render(as_flag)
    assert BadInput("one sentence").render(as_flag) == "one sentence"
    assert BadInput("one sentence").problems == []


@pytest.mark.parametrize(("error", "code"), [(SubmillionError, 1), (BadInput, 2), (OverBudget, 3)])
def test_every_error_has_its_exit_code(error: type[SubmillionError], code: int) -> None:
    assert error.exit_code == code
    assert issubclass(error, SubmillionError)


def test_nearest_ignores_case_and_gives_up_on_strangers() -> None:
    assert nearest("MiniLM", ["minilm", "mpnet-base"]) == "minilm"
    assert nearest("zzz", ["minilm", "mpnet-base"]) is None
    assert did_you_mean("lora.rank", ["lora.r", "head.r"]) == "Did you mean 'lora.r'?"
    assert did_you_mean("zzz", ["lora.r"]) == ""


def test_a_message_is_one_printable_line_of_bounded_length_whatever_it_quotes() -> None:
    error = BadInput(Problem("a\x1b[2J.csv", "a class", "\n" * 10_000_000, "Mend\x9b it."))
    shown = error.render()
    assert len(shown) < 2100
    assert shown.isprintable()
    assert shown.startswith(r"a\x1b[2J.csv: expected a class, found \n\n")
    assert shown.endswith(r"Mend\x9b it.")
    assert str(error) == shown


def test_an_error_without_problems_retains_newlines_only() -> None:
    assert str(SubmillionError("one\ntwo \x1b[0m")) == "one\ntwo \\x1b[0m"
    assert str(OverBudget("\x07")) == r"\x07"

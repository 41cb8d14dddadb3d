"""Tests of which arguments a check takes: what it would ignore is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import submillion
from submillion.cli import app
from submillion.errors import BadInput
from support.tiny_run import tiny_run


@pytest.mark.parametrize(
    ("flags", "omitted"),
    [
        (["--rows", "3", "--seed", "4"], "`rows` and `seed`"),
        (["--full", "--retrain"], "`full` and `retrain`"),
        (["--against", "run"], "`against`"),
        (["--seed", "0"], "`seed`"),
    ],
)
def test_claims_take_no_arguments_of_another_check(flags: list[str], omitted: str) -> None:
    done = CliRunner().invoke(app, ["verify", "run", "--claims", "reference-readme", *flags])
    assert isinstance(done.exception, BadInput)
    assert str(done.exception) == (
        "`claims`: expected nothing but a run beside them, found arguments of another check. "
        f"Omit {omitted}, or check the run itself, without `claims`."
    )


@pytest.mark.parametrize(
    ("arguments", "name", "found"),
    [
        ({"rows": -1}, "rows", "-1"),
        ({"seed": -1}, "seed", "-1"),
        ({"rows": 1.5}, "rows", "1.5"),
        ({"rows": True}, "rows", "True"),
    ],
)
def test_a_bad_number_is_refused_and_no_claim_fails(
    tmp_path: Path, arguments: dict[str, Any], name: str, found: str
) -> None:
    run, _ = tiny_run(tmp_path)
    with pytest.raises(BadInput, match=f"^`{name}`: expected a whole number from 0 on, found {found}"):
        submillion.verify(run.path, **arguments)
    if name == "seed":
        done = CliRunner().invoke(app, ["verify", str(run.path), "--rows", "3", "--seed=-1"])
        assert done.exit_code == 2

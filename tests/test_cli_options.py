"""Tests of cli_options.py: a dataclass becomes the arguments and flags of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from submillion.cli_options import takes


@dataclass(frozen=True)
class Greeting:
    name: Annotated[str, typer.Argument(help="Who is greeted.")]
    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1


def test_a_command_takes_its_flags_as_one_dataclass() -> None:
    app, greetings = typer.Typer(), []

    @app.command()
    @takes(Greeting)
    def greet(options: Greeting) -> None:
        """Greet somebody."""
        greetings.append(options)

    assert CliRunner().invoke(app, ["Ada", "--times", "2"]).exit_code == 0
    assert greetings == [Greeting("Ada", 2)]
    assert CliRunner().invoke(app, ["Ada", "--times", "0"]).exit_code == 2
    page = CliRunner().invoke(app, ["--help"]).stdout
    assert "Greet somebody." in page
    assert "How often." in page

"""The commands between a run and other programs' classifiers: `adopt`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from submillion.cli_options import Quiet, takes
from submillion.terminal.console import say

# Heavy libraries are imported inside the commands that use them, so that `--help` starts at once.


@dataclass(frozen=True)
class AdoptFlags:
    """The arguments and flags of `adopt`."""

    adapter: Annotated[str, typer.Argument(help="Folder or hub id of a LoRA classifier in peft's format.")]
    out: Annotated[Path, typer.Option(help="The run directory to make.")]
    encoder: Annotated[
        str | None,
        typer.Option(help="Catalog name, hub id or folder; default: the one that the adapter names."),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            help="Class names in the order of the head's outputs, separated by commas; default: those in the "
            "adapter's files.",
            show_default=False,
        ),
    ] = None
    data: Annotated[
        Path | None, typer.Option(help="File with labelled texts to evaluate it on.", show_default=False)
    ] = None
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None
    label: Annotated[str | None, typer.Option("--label-column", help="Label column.")] = None
    max_length: Annotated[
        int | None,
        typer.Option(
            min=4,
            help="Longest input in tokens; default: the encoder's, at most 512. That of the training is unknown.",
            show_default=False,
        ),
    ] = None
    budget: Annotated[int, typer.Option(min=1, help="Trainable parameters allowed.")] = 1_000_000
    revision: Annotated[
        str | None, typer.Option(help="Revision of the adapter's hub repository.", show_default=False)
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False
    quiet: Quiet = False


@takes(AdoptFlags)
def adopt(flags: AdoptFlags) -> None:
    """Make a run of a LoRA classifier that another program trained; exit code 3 if it is over the budget."""
    from submillion.adoption import Options
    from submillion.adoption import adopt as adopt_adapter
    from submillion.report.run_summary import summary_text

    names = None if flags.labels is None else [name.strip() for name in flags.labels.split(",")]
    options = Options(
        flags.encoder,
        names,
        flags.data,
        flags.text,
        flags.label,
        flags.max_length,
        flags.budget,
        flags.revision,
    )
    run = adopt_adapter(
        flags.adapter, flags.out, options, overwrite=flags.overwrite, progress=not flags.quiet
    )
    say(summary_text(run))
    say(f"report: {run.report}")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (adopt,):
        app.command()(command)

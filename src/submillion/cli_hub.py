"""The commands between a run and the hub or other programs' classifiers: `adopt` and `push`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from submillion.cli_options import Json, Quiet, Run, takes
from submillion.terminal.console import say

# Heavy libraries are imported inside the commands that use them, so that `--help` starts at once.


@dataclass(frozen=True)
class AdoptFlags:
    """The arguments and flags of `adopt`."""

    adapter: Annotated[str, typer.Argument(help="Folder or hub id of a LoRA classifier in PEFT format.")]
    out: Annotated[Path, typer.Option(help="Run directory to create.")]
    encoder: Annotated[
        str | None,
        typer.Option(help="Catalog name, hub id or folder; default: the one the adapter names."),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            help="Class names in the order of the head's outputs, separated by commas; default: from "
            "the adapter's files.",
            show_default=False,
        ),
    ] = None
    data: Annotated[
        Path | None, typer.Option(help="File of labelled texts to evaluate on.", show_default=False)
    ] = None
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None
    label: Annotated[str | None, typer.Option("--label-column", help="Label column.")] = None
    max_length: Annotated[
        int | None,
        typer.Option(
            min=4,
            help="Longest input in tokens; default: the encoder's, at most 512, because the original "
            "value is unknown.",
            show_default=False,
        ),
    ] = None
    budget: Annotated[int, typer.Option(min=1, help="Maximum trainable parameters.")] = 1_000_000
    revision: Annotated[
        str | None, typer.Option(help="Revision of the adapter's hub repository.", show_default=False)
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False
    quiet: Quiet = False


@takes(AdoptFlags)
def adopt(flags: AdoptFlags) -> None:
    """Turn a LoRA classifier from another program into a run; exit code 3 if over budget."""
    from submillion.adoption import adopt as adopt_adapter
    from submillion.adoption_subject import Options
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


@dataclass(frozen=True)
class PushFlags:
    """The arguments and flags of `push`."""

    run: Run
    repository: Annotated[
        str,
        typer.Argument(metavar="REPOSITORY", help="NAME/REPOSITORY on the hub; created if missing."),
    ]
    exports: Annotated[
        Path | None, typer.Option(help="Also send this folder, made by `export`.", show_default=False)
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Hub id of the encoder; default: the one the run was trained on.", show_default=False
        ),
    ] = None
    eval_results: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Also write the test accuracy to .eval_results, for this task of the data set's benchmark.",
            show_default=False,
        ),
    ] = None
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False
    revision: Annotated[
        str | None, typer.Option(help="Branch to commit to; default: the main branch.", show_default=False)
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; print the files with sizes, and the card.")
    ] = False
    as_json: Json = False
    quiet: Quiet = False


@takes(PushFlags)
def push(flags: PushFlags) -> None:
    """Send a run's adapter, tokenizer, card and figures to the Hugging Face hub; no texts or predictions."""
    from submillion.publication.options import PushOptions
    from submillion.publication.push import push as push_run

    options = PushOptions(
        flags.encoder, flags.exports, flags.eval_results, flags.private, flags.revision, flags.dry_run
    )
    pushed = push_run(flags.run, flags.repository, options, progress=not flags.quiet)
    say(json.dumps(pushed.to_json(), indent=2, ensure_ascii=False) if flags.as_json else pushed.render())


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (adopt, push):
        app.command()(command)

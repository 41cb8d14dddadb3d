"""The commands about the machine rather than one run: `doctor`, `cache` and `runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from submillion.cli_options import Json
from submillion.terminal.console import say

# The inspections are imported inside the commands, so that `--help` loads none of them.

cache = typer.Typer(
    help="List or prune the cache folder: encoders, data, token ids and the output of frozen layers.",
    invoke_without_command=True,
)


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of runs, or of folders of runs.")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs below a folder, best first, with score, interval, trainable parameters, date and status."""
    from submillion.inspection.runs import list_runs

    _show(list_runs(folder), as_json)


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Contact neither the hub nor the package registry.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check processor, kernels, memory, disk, caches, network and packages, and suggest remedies.

    You can paste the output into a bug report: it contains no user name, home folder or private host. Exit code 1
    if something prevents training.
    """
    from submillion.inspection.doctor.examination import examine

    examination = examine(offline)
    _show(examination, as_json)
    if not examination.able:
        raise typer.Exit(1)


@cache.callback()
def list_cache(context: typer.Context, as_json: Json = False) -> None:
    """List or prune the cache folder: encoders, data, token ids and the output of frozen layers."""
    if context.invoked_subcommand is None:
        from submillion.inspection.cache_entries import listing

        _show(listing(), as_json)


@cache.command("path")
def cache_path() -> None:
    """Print the path of the cache folder; the environment variable SUBMILLION_CACHE changes it."""
    from submillion.cache import cache_root

    say(cache_root())


@cache.command("prune")
def prune_cache(
    max_size: Annotated[
        str | None,
        typer.Option(
            help="Delete least recently used entries beyond this size, e.g. 20GB.", show_default=False
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(help="Delete entries unused for this long, e.g. 12h, 30d or 4w.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all entries.")] = False,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Only entries of this kind. Repeatable; default: all but estimators, which cannot be "
            "recreated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete entries that no running process has locked; exit code 1 if one could not be deleted."""
    from submillion.inspection.cache_pruning import prune

    pruned = prune(max_size, older_than, everything, kinds or (), dry_run)
    _show(pruned, as_json)
    if pruned.retained:
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(doctor)
    app.command()(runs)
    app.add_typer(cache, name="cache")


def _show(result: Any, as_json: bool) -> None:
    say(json.dumps(result.to_json(), indent=2) if as_json else result.render())

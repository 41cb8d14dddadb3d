"""The arguments and flags that commands share, and those of `plan`."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from submillion import notices
from submillion.errors import BadInput, Problem


def _mute(quiet: bool) -> bool:
    if quiet:
        notices.mute()
    return quiet


def _opened(run: Path) -> Path:
    """Return a path that is a run; another one is refused before the libraries load that predict."""
    # `--help` does not need it.
    from submillion.rundir import RunDir  # noqa: PLC0415

    RunDir.open(run)
    return run


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", callback=_mute, help="Print no notices or progress on standard error."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe field, e.g. lora.r=8. Repeatable."),
]
InterruptedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.", callback=_opened)]


def _overrides(sets: list[str] | None, flags: Iterable[tuple[str, str, Any]]) -> list[str]:
    """Return the recipe fields that a command sets.

    Args:
        sets: those of `--set`.
        flags: the name of each other flag, its field, and its value; None if it is not given.

    Raises:
        BadInput: a flag and `--set` give one field different values.
    """
    given = list(sets or [])
    overrides, problems = [], []
    for flag, field, value in flags:
        if value is None:
            continue
        item = f"{field}={json.dumps(value, ensure_ascii=False)}"  # JSON is YAML, as which values are read
        overrides.append(item)
        others = [
            other
            for other in given
            if other.partition("=")[0] == field and _value_of(other) != _value_of(item)
        ]
        if others:
            expected = f"{field} from {flag} or --set, not both"
            problems.append(Problem(flag, expected, f"{value} and {others[-1]}", "Omit one of them."))
    if problems:
        raise BadInput(problems)
    return [*given, *overrides]


def _value_of(item: str) -> dict[str, Any]:
    """Return the value of a `field=value`, in the sections of its field."""
    # `--help` needs neither.
    from submillion import recipe_file  # noqa: PLC0415
    from submillion.recipe import Recipe  # noqa: PLC0415

    values: dict[str, Any] = {}
    recipe_file.override(Recipe, values, item)
    return values


@dataclass(frozen=True)
class PlanOptions:
    """The arguments and flags of `plan`."""

    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA|RECIPE]",
            help="Count this recipe (name or file), or the one chosen for these labelled texts; "
            "replaces the options.",
        ),
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Catalog name, hub id or folder; default: the recipe's, else roberta-base.",
            show_default=False,
        ),
    ] = None
    labels: Annotated[
        int | None,
        typer.Option(min=2, help="Number of classes; default: the data's, else 4.", show_default=False),
    ] = None
    budget: Annotated[int | None, typer.Option(min=1, help="Maximum trainable parameters.")] = None
    r: Annotated[int | None, typer.Option("--r", help="Count this rank.")] = None
    targets: Annotated[
        str | None, typer.Option(help="Count these targets, e.g. query,value or all-linear.")
    ] = None
    layers: Annotated[str | None, typer.Option(help="Count these layers: all, top-N or 0,1,2.")] = None
    head: Annotated[str | None, typer.Option(help="Count this head: stock, linear or lora.")] = None
    sets: Sets = None
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Also estimate texts/s and hours on this machine (times random weights for a few seconds; "
            "downloads nothing).",
        ),
    ] = False
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --speed: training texts; default: the recipe's data if cached, else 108,000 (AG News).",
        ),
    ] = None
    tokens: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="With --speed: mean tokens per text; default: the recipe's data if cached, else 53 (AG News).",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="With --speed: passes over the texts; default: the recipe's, else 5."),
    ] = None
    as_json: Json = False

    @property
    def overrides(self) -> list[str]:
        """The recipe fields that the flags set; with data or a recipe only."""
        flags = (("--encoder", "encoder.source", self.encoder), ("--budget", "budget", self.budget))
        return _overrides(self.sets, flags)


@dataclass(frozen=True)
class TrainFlags:
    """The arguments and flags of `train`."""

    recipe: Annotated[
        str,
        typer.Argument(
            metavar="DATA|RECIPE",
            help="Labelled texts (csv, tsv, jsonl, json, parquet, arrow, xlsx, ods, a folder, a hub id): "
            "the recipe is chosen from them. Or the name or YAML file of a recipe.",
        ),
    ]
    test: Annotated[
        str | None, typer.Option(help="Labelled test texts, scored once, at the end.", show_default=False)
    ] = None
    more: Annotated[
        str | None,
        typer.Option(
            help="Further labelled training texts: a file or a folder, such as the output of `suggest`.",
            show_default=False,
        ),
    ] = None
    encoder: Annotated[
        str | None, typer.Option(help="Catalog name, hub id or folder.", show_default=False)
    ] = None
    corrections: Annotated[
        str | None,
        typer.Option(
            help="File of corrected labels, from `report --with noise --out FILE`.", show_default=False
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Finish within this many minutes, report included; only with data, not a recipe.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Run directory; default: runs/NAME.", show_default=False)
    ] = None
    sets: Sets = None
    track: Annotated[
        list[str] | None,
        typer.Option(help="Log to wandb, tensorboard, mlflow or trackio. Repeatable."),
    ] = None
    execution: Annotated[
        str | None,
        typer.Option(help="How to run the encoder: auto, reference or packed.", show_default=False),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False
    as_json: Json = False
    quiet: Quiet = False

    @property
    def overrides(self) -> list[str]:
        """The recipe fields that the flags set."""
        flags = (
            ("--more", "data.more", self.more),
            ("--test", "data.test", self.test),
            ("--encoder", "encoder.source", self.encoder),
            ("--corrections", "data.corrections", self.corrections),
            ("--track", "track", self.track or None),
            ("--execution", "train.execution", self.execution),
        )
        return _overrides(self.sets, flags)


def takes(options: type[Any]) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Let a command take its arguments and flags as one dataclass, whose fields are annotated for typer."""

    def decorate(command: Callable[[Any], None]) -> Callable[..., None]:
        def call(**values: Any) -> None:
            command(options(**values))

        hints = typing.get_type_hints(options, include_extras=True)
        parameters = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default, annotation=hints[name]
            )
            for name, parameter in inspect.signature(options).parameters.items()
        ]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = hints
        return call

    return decorate

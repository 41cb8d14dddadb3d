"""The arguments and flags that commands share, and those of `plan`."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from submillion import notices


def _mute(quiet: bool) -> bool:
    if quiet:
        notices.mute()
    return quiet


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", callback=_mute, help="Print neither notices nor progress on standard error."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe field, e.g. lora.r=8. Repeatable."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


@dataclass(frozen=True)
class PlanOptions:
    """The arguments and flags of `plan`."""

    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA|RECIPE]",
            help="Count this recipe (name or file), or the one decided for these labelled texts, instead of the "
            "options.",
        ),
    ] = None
    encoder: Annotated[str, typer.Option(help="Catalog name, hub id or folder.")] = "roberta-base"
    labels: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 4
    budget: Annotated[int | None, typer.Option(min=1, help="Trainable parameters allowed.")] = None
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


@dataclass(frozen=True)
class TrainFlags:
    """The arguments and flags of `train`."""

    recipe: Annotated[
        str,
        typer.Argument(
            metavar="DATA|RECIPE",
            help="Labelled texts (csv, tsv, jsonl, json, parquet, arrow, xlsx, ods, a folder), for which the recipe is "
            "decided; or a recipe: its name, or its YAML file.",
        ),
    ]
    test: Annotated[
        str | None, typer.Option(help="Labelled texts that are scored once, at the end.", show_default=False)
    ] = None
    encoder: Annotated[
        str | None, typer.Option(help="Catalog name, hub id or folder.", show_default=False)
    ] = None
    corrections: Annotated[
        str | None,
        typer.Option(
            help="File of corrected labels, made by `report --with noise --out FILE`.", show_default=False
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            help="End within this time, report included; with data in place of a recipe.", show_default=False
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Run directory; default runs/NAME.", show_default=False)
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
        overrides = list(self.sets or [])
        for field, value in (
            ("data.test", self.test),
            ("encoder.source", self.encoder),
            ("data.corrections", self.corrections),
        ):
            if value is not None:
                overrides.append(f"{field}={json.dumps(value, ensure_ascii=False)}")  # JSON is YAML
        if self.track:
            overrides.append(f"track=[{','.join(self.track)}]")
        if self.execution:
            overrides.append(f"train.execution={self.execution}")
        return overrides


@dataclass(frozen=True)
class PredictFlags:
    """The arguments and flags of `predict`."""

    run: Run
    file: Annotated[
        Path | None,
        typer.Argument(
            help="csv, tsv, jsonl, parquet or plain text lines, unlabelled; - for standard input.",
            show_default=False,
        ),
    ] = None
    direct: Annotated[
        list[str] | None,
        typer.Option("--text", help="A text to label, in place of a file. Repeatable.", show_default=False),
    ] = None
    out: Annotated[
        str | None,
        typer.Option(
            help="File to write: .csv, .jsonl or .parquet; a name without an ending for a folder of parquet files; - "
            "for csv on standard output. Default: submission.csv; standard output for --text and standard input.",
            show_default=False,
        ),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted output after its last complete part."),
    ] = False
    with_confidence: Annotated[
        bool, typer.Option("--with-confidence", help="Add the confidence and every class's probability.")
    ] = False
    abstain: Annotated[
        bool,
        typer.Option(
            "--abstain",
            help="Leave the label empty if the confidence is below the run's threshold; see report --answer-at.",
        ),
    ] = False
    abstain_below: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Leave the label empty if the confidence is below this.",
            show_default=False,
        ),
    ] = None
    class_thresholds: Annotated[
        bool,
        typer.Option(
            "--class-thresholds",
            help="Answer with the run's thresholds per class; see report --class-thresholds.",
        ),
    ] = False
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="With --with-confidence: probabilities at the temperature fitted on the validation rows.",
        ),
    ] = False
    id: Annotated[
        str | None, typer.Option("--id", help="Column for the output's ID.", show_default=False)
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Column of the file to copy to the output. Repeatable.", show_default=False),
    ] = None
    with_text: Annotated[bool, typer.Option("--with-text", help="Add the classified text.")] = False
    spreadsheet: Annotated[
        bool,
        typer.Option(
            "--spreadsheet",
            help="Write for Excel: in utf-8 as it reads it, and no cell is taken for a formula.",
        ),
    ] = False
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None
    stdin_form: Annotated[
        str | None,
        typer.Option(
            help="Format of standard input: csv, tsv, jsonl, json, parquet, arrow or txt; default: jsonl if it begins "
            "with a brace, else csv.",
            show_default=False,
        ),
    ] = None
    engine: Annotated[
        str, typer.Option(help="local, or ray: the cluster of RAY_ADDRESS, or one on this machine.")
    ] = "local"
    quiet: Quiet = False


@dataclass(frozen=True)
class ServeFlags:
    """The arguments and flags of `serve`."""

    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN [RUN ...]", help="Run directories; the first answers requests that name none."
        ),
    ]
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token that requests must have.", show_default=False),
    ] = None
    workers: Annotated[
        int, typer.Option(help="Processes; each loads the runs and has its share of the cores.")
    ] = 1
    max_texts: Annotated[int, typer.Option(help="Texts of one request.")] = 256
    max_characters: Annotated[int, typer.Option(help="Characters of one text.")] = 100_000
    max_body_bytes: Annotated[int, typer.Option(help="Bytes of one request's body.")] = 4 * 2**20
    max_queue: Annotated[
        int, typer.Option(help="Texts that wait in one process; beyond it requests get 429.")
    ] = 4096
    quiet: Quiet = False


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

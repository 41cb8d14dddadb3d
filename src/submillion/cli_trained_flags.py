"""The arguments and flags of the commands that use a trained run, where one has more than a few."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from submillion.cli_options import Json, Quiet, Run

Precision = Annotated[
    str,
    typer.Option(
        help="auto, float32, bfloat16 or int8. auto: int8 if the run has proven it (report --with int8) "
        "and the processor has the kernels, else as in training."
    ),
]


@dataclass(frozen=True)
class PredictFlags:
    """The arguments and flags of `predict`."""

    run: Run
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Unlabelled texts: csv, tsv, jsonl, parquet, plain lines, or a folder of text files; - for standard "
            "input.",
            show_default=False,
        ),
    ] = None
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="Text to label, instead of a file. Repeatable.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        str | None,
        typer.Option(
            help="Output file: .csv, .jsonl or .parquet; no extension: a folder of parquet files; -: "
            "csv on standard output. Default: predictions.csv; standard output for --text and "
            "standard input.",
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
            help="Leave the label empty if the confidence (with --calibrated, the calibrated one) is "
            "below this.",
            show_default=False,
        ),
    ] = None
    class_thresholds: Annotated[
        bool,
        typer.Option(
            "--class-thresholds",
            help="Apply the run's thresholds per class; see report --class-thresholds.",
        ),
    ] = False
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="With --with-confidence: write probabilities at the temperature fitted on the "
            "validation rows. --abstain and --class-thresholds use the unscaled ones, for which "
            "their thresholds were chosen.",
        ),
    ] = False
    id: Annotated[
        str | None, typer.Option("--id", help="Input column for the output ID.", show_default=False)
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Input column to copy to the output. Repeatable.", show_default=False),
    ] = None
    with_text: Annotated[bool, typer.Option("--with-text", help="Add the classified text.")] = False
    spreadsheet: Annotated[
        bool,
        typer.Option(
            "--spreadsheet",
            help="Write for Excel: UTF-8 with a byte order mark, and no cell runs as a formula.",
        ),
    ] = False
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None
    stdin_form: Annotated[
        str | None,
        typer.Option(
            help="Format of standard input: csv, tsv, jsonl, json, parquet, arrow or txt; default: "
            "jsonl if it begins with a brace or bracket, else csv.",
            show_default=False,
        ),
    ] = None
    precision: Precision = "auto"
    engine: Annotated[
        str, typer.Option(help="local, or ray: the cluster at RAY_ADDRESS, or a local one.")
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
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8000
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token that requests must carry.", show_default=False),
    ] = None
    workers: Annotated[
        int, typer.Option(help="Processes; each loads the runs and gets a share of the cores.")
    ] = 1
    max_texts: Annotated[int, typer.Option(help="Maximum texts per request.")] = 256
    max_characters: Annotated[int, typer.Option(help="Maximum characters per text.")] = 100_000
    max_body_bytes: Annotated[int, typer.Option(help="Maximum bytes per request body.")] = 4 * 2**20
    max_queue: Annotated[
        int, typer.Option(help="Maximum texts waiting per process; beyond it, requests get 429.")
    ] = 4096
    precision: Precision = "auto"
    quiet: Quiet = False


@dataclass(frozen=True)
class VerifyFlags:
    """The arguments and flags of `verify`."""

    run: Annotated[
        Path | None, typer.Argument(metavar="RUN|EXPORT", help="Run directory, or the folder of an export.")
    ] = None
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="With an export: the run it was made from. Each file classifies the run's rows again.",
            show_default=False,
        ),
    ] = None
    rows: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rows of each split to predict again; default: all if that takes a minute or less, else 200.",
            show_default=False,
        ),
    ] = None
    full: Annotated[bool, typer.Option("--full", help="Predict every row again.")] = False
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Train the recipe again, in a temporary directory, and compare everything."
        ),
    ] = False
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed for drawing the rows; to repeat an earlier check, pass the seed it printed.",
            show_default=False,
        ),
    ] = None
    claims: Annotated[
        str | None,
        typer.Option(
            help="Check published figures instead (a YAML file, or reference-readme): whether they agree with each "
            "other and, with a run, whether the run confirms them.",
            show_default=False,
        ),
    ] = None
    as_json: Json = False
    quiet: Quiet = False

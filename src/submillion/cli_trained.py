"""The commands that use a trained run, from `evaluate` and `predict` to `export`, `verify` and `serve`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from submillion.cli_options import Json, Quiet, Run, takes
from submillion.cli_trained_flags import PredictFlags, ServeFlags, VerifyFlags
from submillion.errors import BadInput, Problem
from submillion.terminal.console import say

if TYPE_CHECKING:
    from submillion.run_format.metrics import SplitMetrics

# Heavy libraries are imported inside the commands that use them, so that `--help` starts at once.


def evaluate(
    run: Run,
    data: Annotated[Path, typer.Option(help="File of labelled texts.")],
    name: Annotated[
        str | None, typer.Option(help="Name of this split in the run; default: the file's name.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None,
    label: Annotated[str | None, typer.Option("--label-column", help="Label column.")] = None,
    threshold: Annotated[
        list[float] | None, typer.Option(help="Also report the share of confidences above this. Repeatable.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run on a new labelled file; saves predictions and metrics in the run under the split's name."""
    from submillion import reporting

    metrics = reporting.evaluate(
        run, data, name=name, text=text, label=label, thresholds=threshold or (), progress=not quiet
    )
    _print_metrics(metrics, as_json)


@takes(PredictFlags)
def predict(flags: PredictFlags) -> None:
    """Label texts with a trained run: columns ID and Label, rows in input order, as csv, jsonl or parquet."""
    from submillion.ship.predict import predict_file, predict_texts
    from submillion.ship.predict_options import PredictOptions
    from submillion.ship.predict_target import resolved_out

    if (flags.file is None) == (not flags.texts):
        found = "neither" if flags.file is None else "both"
        raise BadInput(Problem("predict", "a file, or texts with --text", found))
    for argument, value in (("text", flags.text), ("stdin_form", flags.stdin_form)):
        if flags.texts and value:
            raise BadInput(Problem(f"@{{{argument}}}", "a file, or - for standard input", "texts of --text"))
    options = PredictOptions(
        flags.with_confidence,
        flags.abstain,
        flags.class_thresholds,
        calibrated=flags.calibrated,
        id=flags.id,
        keep=tuple(flags.keep or ()),
        with_text=flags.with_text,
        spreadsheet=flags.spreadsheet,
        abstain_below=flags.abstain_below,
        resume=flags.resume,
        precision=flags.precision,
        engine=flags.engine,
    )
    how = {"progress": not flags.quiet, "overwrite": flags.overwrite}
    out = resolved_out(flags.file, flags.out)
    if flags.file is None:
        rows = predict_texts(flags.run, flags.texts or [], out, options=options, **how)
    else:
        rows = predict_file(
            flags.run, flags.file, out, flags.text, options=options, stdin_form=flags.stdin_form, **how
        )
    if not flags.quiet and out != "-":
        say(f"{rows:,} rows -> {out}", err=True)


def suggest(
    run: Run,
    file: Annotated[
        Path,
        typer.Argument(
            help="Unlabelled texts: csv, tsv, jsonl, parquet, plain lines, or a folder of text files."
        ),
    ],
    rows: Annotated[int, typer.Option(min=1, help="Number of texts to choose.")] = 100,
    out: Annotated[str, typer.Option(help="CSV file to write; - for standard output.")] = "-",
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Choose the texts whose labels would teach a run most; writes a CSV file with an empty label column."""
    from submillion.ship.suggest import suggest_file

    count = suggest_file(run, file, out, rows, text, progress=not quiet, overwrite=overwrite)
    if not quiet and out != "-":
        say(f"{count:,} rows -> {out}", err=True)
        say(f"fill in the labels, then train again with --more {shlex.quote(out)}", err=True)


def report(
    run: Run,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PART",
            help="Compute this part of the analysis first: confidence, intervals, errors, baseline, "
            "duplicates, thresholds; slower: noise, attribution, audit, int8, prefix_int8; or all (without "
            "thresholds, int8 and prefix_int8). Repeatable.",
        ),
    ] = None,
    answer_at: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Target accuracy of the answered texts; sets the threshold used by `predict --abstain`.",
        ),
    ] = None,
    class_thresholds: Annotated[
        str | None,
        typer.Option(
            metavar="OBJECTIVE",
            help="Choose a threshold per class on the validation rows, used by `predict "
            "--class-thresholds`: macro_f1, or precision=0.95, the target precision of every "
            "answered class.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --with noise: CSV file of training rows whose labels look wrong, for `train "
            "--corrections`.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Rewrite a run's report: page, model card and figures."""
    from submillion import scoring

    say(scoring.report(run, parts or [], answer_at, quiet, out, overwrite, class_thresholds))


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN [...]", help="Runs scored on the same rows.")
    ],
    split: Annotated[
        str | None,
        typer.Option(help="Split to compare on; default: test if all runs have it, else validation."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the comparison as SVG and PNG files with this name.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing figures.")] = False,
    as_json: Json = False,
) -> None:
    """Compare runs on the same rows: exact McNemar test, paired bootstrap, Holm's correction, variation over seeds."""
    from submillion import reporting

    compared = reporting.compare(runs, split=split, out=out, overwrite=overwrite)
    say(json.dumps(compared.to_json(), indent=2) if as_json else compared.render())


def export(
    run: Run,
    to: Annotated[
        list[str],
        typer.Option(
            metavar="FORM",
            help="merged, onnx, onnx-int8, openvino, openvino-int8, web, or all (without web). Repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Output folder.")],
    max_loss: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=100.0,
            help="Largest loss of accuracy in points; a file that loses more is removed.",
        ),
    ] = 0.2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing export.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a run for other programs and check each file against the run's predictions.

    Exit code 1 if a file lost more accuracy than --max-loss and was removed.
    """
    from submillion.exporting.export import export as export_run

    exported = export_run(run, to, out, max_loss, overwrite, progress=not quiet)
    say(json.dumps(exported.record, indent=2, ensure_ascii=False) if as_json else exported.render())
    if exported.removed:
        raise typer.Exit(1)


@takes(VerifyFlags)
def verify(flags: VerifyFlags) -> None:
    """Check what a run reports against its data and adapter, with each check's strength; exit code 1 if one fails."""
    if flags.claims is not None:
        from submillion.verification.claims.consistency import verify_claims
        from submillion.verification.dispatch import check_alone

        check_alone(flags.against, flags.rows, flags.full, flags.seed, flags.retrain)
        verdict = verify_claims(flags.claims, flags.run)
    elif flags.run is not None:
        from submillion.verification.dispatch import verify_path

        verdict = verify_path(
            flags.run,
            flags.against,
            flags.rows,
            flags.full,
            flags.seed,
            flags.retrain,
            progress=not flags.quiet,
        )
    else:
        raise BadInput(Problem("verify", "a run directory, or --claims", "neither"))
    say(json.dumps(verdict.to_json(), indent=2) if flags.as_json else verdict.render())
    if not verdict.holds:
        raise typer.Exit(1)


@takes(ServeFlags)
def serve(flags: ServeFlags) -> None:
    """Serve runs over HTTP: a page, and the protocols of huggingface_hub, text-embeddings-inference and KServe v2."""
    from submillion.ship.serve.options import ServeOptions
    from submillion.ship.serve.run import serve as serve_runs

    options = ServeOptions(
        flags.host,
        flags.port,
        None,
        flags.workers,
        flags.max_texts,
        flags.max_characters,
        flags.max_body_bytes,
        flags.max_queue,
        flags.precision,
    )
    serve_runs(flags.runs, options, flags.token_file)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (evaluate, predict, suggest, report, compare, export, verify, serve):
        app.command()(command)


def _print_metrics(metrics: SplitMetrics, as_json: bool) -> None:
    from submillion.assess.metrics import render

    say(json.dumps(metrics, indent=2) if as_json else render(metrics))

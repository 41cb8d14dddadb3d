"""The command line: each command parses its arguments, calls one function and prints the result."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from submillion import cli_machine, notices
from submillion.cli_options import Json, PlanOptions, PredictFlags, Quiet, Run, Sets, TrainFlags, takes
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.terminal.console import guarded, say
from submillion.version import __version__
from submillion.wording import printable

if TYPE_CHECKING:
    from submillion.outcome import Outcome
    from submillion.run_format.metrics import SplitMetrics

INTERRUPTED = 130
LONGEST_PATH = 200  # characters of a path in a message about its length

# Heavy libraries are imported inside the commands that use them, so that `--help` and `plan` start at once.


app = typer.Typer(
    name="submillion",
    help="The best text classifier that fits in a million trainable parameters, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a claim or check failed, 2 bad input, 3 over budget, 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def _global(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(__version__)
        raise typer.Exit


@app.command()
@takes(PlanOptions)
def plan(options: PlanOptions) -> None:
    """Show what fits into the budget, or count one configuration. Reads no weights; exit code 3 if over budget.

    For labelled texts, prints the recipe that `train` would decide, and counts it.
    """
    from submillion.auto.subject import names_data
    from submillion.budget.plan_result import plan_or_count

    decision = None
    if options.recipe is not None and names_data(options.recipe):
        from submillion.auto.decide import decide

        decision = decide(options.recipe, overrides=options.sets or [])
        if not options.as_json:
            say(decision.render())
    result = plan_or_count(
        recipe=decision.recipe if decision else options.recipe,
        encoder=options.encoder,
        labels=decision.facts["texts"]["classes"] if decision else options.labels,
        budget=options.budget,
        options={name: getattr(options, name) for name in ("r", "targets", "layers", "head")},
        overrides=options.sets or [],
    )
    if options.speed:
        from submillion.estimate.benchmark import with_speed

        result = with_speed(result, rows=options.rows, tokens=options.tokens, epochs=options.epochs)
    elif options.rows or options.tokens or options.epochs:
        raise BadInput(Problem("plan", "--rows, --tokens and --epochs together with --speed", "no --speed"))
    say(json.dumps(result.to_json(), indent=2) if options.as_json else result.render())
    if not result.fits:
        raise typer.Exit(3)


@app.command()
@takes(TrainFlags)
def train(flags: TrainFlags) -> None:
    """Train labelled texts, or a recipe, into a run directory: adapter, predictions, metrics, analysis and report.

    For labelled texts, the recipe is decided and its table printed; --set wins over it. `submillion fields` lists what
    --set can change.
    """
    from submillion.training import train as train_named

    outcome = train_named(
        flags.recipe,
        flags.out,
        overrides=flags.overrides,
        minutes=flags.minutes,
        overwrite=flags.overwrite,
        quiet=flags.quiet,
    )
    _end_of_training(outcome, flags.as_json)


@app.command()
def resume(run: Run, as_json: Json = False, quiet: Quiet = False) -> None:
    """Continue an interrupted training from its last checkpoint."""
    from submillion import pipeline

    _end_of_training(pipeline.resume(run, quiet=quiet), as_json)


@app.command()
def evaluate(
    run: Run,
    data: Annotated[Path, typer.Option(help="File with labelled texts.")],
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
    """Score a run on a new labelled file; predictions and metrics are saved in the run under the split's name."""
    from submillion import reporting

    metrics = reporting.evaluate(
        run, data, name=name, text=text, label=label, thresholds=threshold or (), progress=not quiet
    )
    _print_metrics(metrics, as_json)


@app.command()
@takes(PredictFlags)
def predict(flags: PredictFlags) -> None:
    """Label texts with a trained run: a CSV file with the header ID,Label, rows in input order."""
    from submillion.ship.predict import DEFAULT_OUT, PredictOptions, predict_file, predict_texts

    if (flags.file is None) == (not flags.direct):
        found = "neither" if flags.file is None else "both"
        raise BadInput(Problem("predict", "a file, or texts with --text", found))
    options = PredictOptions(
        flags.with_confidence,
        flags.abstain,
        calibrated=flags.calibrated,
        id=flags.id,
        keep=tuple(flags.keep or ()),
        with_text=flags.with_text,
        spreadsheet=flags.spreadsheet,
    )
    how = {"progress": not flags.quiet, "overwrite": flags.overwrite}
    if flags.file is None:
        out = flags.out or "-"
        rows = predict_texts(flags.run, flags.direct or [], out, options=options, **how)
    else:
        out = flags.out or DEFAULT_OUT
        rows = predict_file(flags.run, flags.file, out, flags.text, options=options, **how)
    if not flags.quiet and out != "-":
        say(f"{rows:,} rows -> {out}", err=True)


@app.command()
def suggest(
    run: Run,
    file: Annotated[Path, typer.Argument(help="csv, tsv, jsonl, parquet or plain text lines, unlabelled.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of texts to choose.")] = 100,
    out: Annotated[str, typer.Option(help="CSV file to write; - for standard output.")] = "-",
    text: Annotated[list[str] | None, typer.Option("--text-column", help="Text column. Repeatable.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Choose the texts whose labels would teach a run most: a CSV file with an empty label column to fill in."""
    from submillion.ship.suggest import suggest_file

    count = suggest_file(run, file, out, rows, text, progress=not quiet, overwrite=overwrite)
    if not quiet and out != "-":
        say(f"{count:,} rows -> {out}", err=True)


@app.command()
def report(
    run: Run,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PART",
            help="Compute this part of the analysis first: confidence, intervals, errors, baseline, "
            "duplicates; slower: noise, attribution, audit; or all. "
            "Repeatable.",
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
    out: Annotated[
        Path | None,
        typer.Option(
            help="With the part noise: CSV file to write, with the training rows whose labels look wrong, for "
            "`train --corrections`.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write the report again from the run directory: page, model card and figures."""
    from submillion import scoring

    say(scoring.report(run, parts or [], answer_at, quiet, out, overwrite))


@app.command()
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
        typer.Option(help="Also draw the comparison as SVG and PNG files of this name.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing figures.")] = False,
    as_json: Json = False,
) -> None:
    """Compare runs on the same rows: exact McNemar test, paired bootstrap, Holm's correction, variation over seeds."""
    from submillion import reporting

    compared = reporting.compare(runs, split=split, out=out, overwrite=overwrite)
    say(json.dumps(compared.to_json(), indent=2) if as_json else compared.render())


@app.command()
def verify(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.")] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rows of each split to predict again; default: all if that takes a minute or less, else 200.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Predict every row again.")] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Train the recipe again, in a temporary directory, and compare everything."
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the re-predicted rows; pass the one an earlier check printed to repeat it.",
            show_default=False,
        ),
    ] = None,
    claims: Annotated[
        str | None,
        typer.Option(
            help="Check published figures instead (a YAML file, or reference-readme): whether they agree with each "
            "other and, with a run, whether the run confirms them.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check what a run reports against its data and adapter, and say how strongly; exit code 1 if a check fails."""
    if claims is not None:
        from submillion.verification.claims.consistency import verify_claims

        verdict = verify_claims(claims, run)
    elif run is not None:
        from submillion.verification.run.checks import verify as verify_run

        verdict = verify_run(run, rows, full, seed, retrain, progress=not quiet)
    else:
        raise BadInput(Problem("verify", "a run directory, or --claims", "neither"))
    say(json.dumps(verdict.to_json(), indent=2) if as_json else verdict.render())
    if not verdict.holds:
        raise typer.Exit(1)


@app.command()
def study(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a shipped study.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the study; default studies/NAME.", show_default=False),
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the trainings: local or ray.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of runs at a time.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads of each run.", show_default=False)
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and compare many variants of one recipe; rerun the same command to continue after an interruption."""
    from submillion.study.run import study as conduct

    outcome = conduct(study, out, engine, workers, threads, sets or (), quiet)
    say(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def fields() -> None:
    """List every field of a recipe with its help; --set changes any of them."""
    from submillion.auto.subject import AUTO
    from submillion.recipe import Recipe, recipe_names
    from submillion.recipe_file import field_help, field_names

    say(f"recipes: {', '.join([AUTO, *recipe_names()])}\n")
    for name in field_names(Recipe):
        say(f"{name}\n    {field_help(Recipe, name)}")


cli_machine.add_to(app)


def _end_of_training(outcome: Outcome, as_json: bool) -> None:
    if outcome.metrics:  # only the first of several processes has them
        say(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _print_metrics(metrics: SplitMetrics, as_json: bool) -> None:
    from submillion.assess.metrics import render

    say(json.dumps(metrics, indent=2) if as_json else render(metrics))


def main() -> None:
    """Run the command line; a user's error is one message and an exit code, never a traceback."""
    try:
        with guarded(), notices.collecting():
            app()
    except SubmillionError as error:
        for line in error.render(_flag_of).splitlines():
            say(f"submillion: {line}" if isinstance(error, BadInput) else line, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        place = printable(str(error.filename), LONGEST_PATH)
        problem = Problem(
            place, "a path that the file system takes", f"one that it refuses ({error.strerror})"
        )
        say(f"submillion: {problem}", err=True)
        sys.exit(BadInput.exit_code)
    except KeyboardInterrupt:
        print("submillion: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _flag_of(argument: str) -> str:
    """Return how the present command takes an argument or a recipe field: `--overwrite`, `--set data.text=VALUE`."""
    command = _command(sys.argv[1:])
    flags = {parameter.name: parameter for parameter in command.params} if command else {}
    name = argument.rpartition(".")[2]
    for candidate in (name, name.removesuffix("s")):
        if candidate in flags:
            parameter = flags[candidate]
            return (
                max(parameter.opts, key=len) if parameter.param_type_name == "option" else candidate.upper()
            )
    return f"--set {argument}=VALUE" if "." in argument and "sets" in flags else argument


def _command(arguments: list[str]) -> Any:
    """Return the command that the arguments call, or None; of a group, the command in it."""
    command: Any = typer.main.get_command(app)
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    return command if command.name != app.info.name else None


if __name__ == "__main__":
    main()

"""The command line: each command parses, calls one function and prints; no logic lives here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from submillion import __version__, notices
from submillion.errors import BadInput, Problem, SubmillionError

INTERRUPTED = 130

app = typer.Typer(
    name="submillion",
    help="The best text classifier that fits in a million trainable parameters, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a claim or check failed, 2 bad input, 3 over budget, 130 interrupted.",
)

Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes and no progress on standard error.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe field, e.g. lora.r=8. Repeatable."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


@app.callback(invoke_without_command=True)
def _global(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def plan(
    recipe: Annotated[
        str | None, typer.Argument(help="Count this recipe (name or file) instead of the options.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="Catalog name, hub id or folder.")] = "roberta-base",
    labels: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 4,
    budget: Annotated[int | None, typer.Option(min=1, help="Trainable parameters allowed.")] = None,
    r: Annotated[int | None, typer.Option("--r", help="Count this rank.")] = None,
    targets: Annotated[
        str | None, typer.Option(help="Count these targets, e.g. query,value or all-linear.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Count these layers: all, top-N or 0,1,2.")] = None,
    head: Annotated[str | None, typer.Option(help="Count this head: stock, linear or lora.")] = None,
    sets: Sets = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Also tell texts/s and hours on this machine, measured for some seconds with random weights; "
            "reads none.",
        ),
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --speed: training texts; the recipe's data where it is here, else AG News' 108,000.",
        ),
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(min=1, help="With --speed: mean tokens per text; likewise, else AG News' 53."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="With --speed: passes over the texts; the recipe's, else 5.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what fits into the budget, or count one configuration. Reads no weights; exit code 3 when over."""
    from submillion.budget.plan_result import answer as answer_of

    answer = answer_of(
        recipe=recipe,
        encoder=encoder,
        labels=labels,
        budget=budget,
        options={"r": r, "targets": targets, "layers": layers, "head": head},
        overrides=sets or [],
    )
    if speed:
        from submillion.estimate.benchmark import with_speed

        answer = with_speed(answer, rows=rows, tokens=tokens, epochs=epochs)
    elif rows or tokens or epochs:
        raise BadInput(Problem("plan", "--rows, --tokens and --epochs together with --speed", "no --speed"))
    if as_json:
        typer.echo(json.dumps(answer.to_json(), indent=2))
    else:
        typer.echo(answer.render())
    if not answer.fits:
        raise typer.Exit(3)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a yaml file.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/NAME where not given.", show_default=False)
    ] = None,
    sets: Sets = None,
    track: Annotated[
        list[str] | None,
        typer.Option(help="Log to wandb, tensorboard, mlflow or trackio. Repeatable."),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option(help="auto, reference or packed: what runs the encoder.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that stands there.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one recipe: data, budget, model, fit, assessment, figures, card, in one run directory.

    `submillion fields` lists what --set can change.
    """
    from submillion import pipeline
    from submillion.recipe import Recipe

    notices.set_quiet(quiet)
    overrides = list(sets or [])
    if track:
        overrides.append(f"track=[{','.join(track)}]")
    if execution:
        overrides.append(f"train.execution={execution}")
    resolved = Recipe.load(recipe, overrides)
    place = out or Path("runs") / resolved.name
    _end_of_training(pipeline.train(resolved, place, overwrite=overwrite, quiet=quiet), as_json)


@app.command()
def resume(run: Run, as_json: Json = False, quiet: Quiet = False) -> None:
    """Continue an interrupted training exactly where its last checkpoint stands."""
    from submillion import pipeline

    notices.set_quiet(quiet)
    _end_of_training(pipeline.resume(run, quiet=quiet), as_json)


@app.command()
def evaluate(
    run: Run,
    data: Annotated[Path, typer.Option(help="File with labelled texts.")],
    name: Annotated[
        str | None, typer.Option(help="Name of this split in the run; the file's name where not given.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="Text column. Repeatable.")] = None,
    label: Annotated[str | None, typer.Option(help="Label column.")] = None,
    threshold: Annotated[
        list[float] | None, typer.Option(help="Also report the share of confidences above this. Repeatable.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run on a new labelled file; predictions and metrics are kept in the run under the split's name."""
    from submillion import reporting

    notices.set_quiet(quiet)
    metrics = reporting.evaluate(
        run, data, name=name, text=text, label=label, thresholds=threshold or (), progress=not quiet
    )
    _print_metrics(metrics, as_json)


@app.command()
def predict(
    run: Run,
    file: Annotated[Path, typer.Argument(help="csv, tsv, jsonl, parquet or plain text lines, unlabelled.")],
    out: Annotated[str, typer.Option(help="csv to write; - is standard output.")] = "submission.csv",
    with_confidence: Annotated[
        bool, typer.Option("--with-confidence", help="Add Confidence and every class's probability.")
    ] = False,
    abstain: Annotated[
        bool,
        typer.Option(
            "--abstain",
            help="No label where the confidence is below the run's threshold; see report --answer-at.",
        ),
    ] = False,
    text: Annotated[list[str] | None, typer.Option(help="Text column. Repeatable.")] = None,
    quiet: Quiet = False,
) -> None:
    """Label texts with a trained run: csv with the header ID,Label, rows in input order."""
    from submillion.ship.predict import predict_file

    notices.set_quiet(quiet)
    rows = predict_file(
        run, file, out, with_confidence=with_confidence, text=text, progress=not quiet, abstain=abstain
    )
    if not quiet and out != "-":
        typer.echo(f"{rows:,} rows -> {out}", err=True)


@app.command()
def report(
    run: Run,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PART",
            help="Make this part of the analysis first: confidence, intervals, errors, baseline, "
            "duplicates; slower: probe, noise, attribution, audit; or all. "
            "Repeatable.",
        ),
    ] = None,
    answer_at: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Accuracy that answers shall have; sets when predict --abstain is silent."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the report: page, model card and figures, from what the run directory holds."""
    from submillion import reporting

    notices.set_quiet(quiet)
    typer.echo(reporting.remake(run, parts or [], answer_at=answer_at, progress=not quiet))


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN [...]", help="Runs scored on the same rows.")
    ],
    split: Annotated[
        str | None, typer.Option(help="Split to compare on; test where all have it, else validation.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also draw it: svg and png with this name.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs on the same rows: exact McNemar, paired bootstrap, Holm's correction, spread over seeds."""
    from submillion import reporting

    compared = reporting.compare(runs, split=split, out=out)
    typer.echo(json.dumps(compared.to_json(), indent=2) if as_json else compared.render())


@app.command()
def verify(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows of each split to predict again.")] = 200,
    full: Annotated[bool, typer.Option("--full", help="Predict every row again.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Draw the rows of an earlier check again.", show_default=False)
    ] = None,
    claims: Annotated[
        str | None,
        typer.Option(
            help="Check somebody's claims instead (a yaml file, or reference-readme): whether they fit together, "
            "and, with a run, whether it bears them out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recompute what a run claims from its predictions, data and adapter; exit code 1 where it does not hold."""
    from submillion import verification

    notices.set_quiet(quiet)
    if claims is not None:
        verdict = verification.verify_claims(claims, run)
    elif run is not None:
        verdict = verification.verify(run, rows=rows, full=full, seed=seed, progress=not quiet)
    else:
        raise BadInput(Problem("verify", "a run directory, or --claims", "neither"))
    typer.echo(json.dumps(verdict.to_json(), indent=2) if as_json else verdict.render())
    if not verdict.holds:
        raise typer.Exit(1)


@app.command()
def study(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a shipped study.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the study; studies/NAME where not given.", show_default=False),
    ] = None,
    engine: Annotated[str, typer.Option(help="Where runs are trained: local or ray.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time.", show_default=False)] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each run.", show_default=False)
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train many variants of one recipe and judge them; killed anywhere, the same command goes on."""
    from submillion.study.run import study as conduct

    notices.set_quiet(quiet)
    outcome = conduct(study, out, engine, workers, threads, sets or (), quiet)
    typer.echo(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def fields() -> None:
    """List every field of a recipe with its help; each can be changed with --set."""
    from submillion.recipe import field_help, field_names, recipe_names

    typer.echo(f"recipes: {', '.join(recipe_names())}\n")
    for name in field_names():
        typer.echo(f"{name}\n    {field_help(name)}")


def _end_of_training(outcome: Any, as_json: bool) -> None:
    if outcome.metrics:  # of several processes the first one has them
        typer.echo(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _print_metrics(metrics: dict[str, Any], as_json: bool) -> None:
    from submillion.assess.metrics import render

    typer.echo(json.dumps(metrics, indent=2) if as_json else render(metrics))


def main() -> None:
    """Run the command line; a user's error is one message and an exit code, never a traceback."""
    try:
        app()
    except SubmillionError as error:
        for line in str(error).splitlines():
            print(f"submillion: {line}" if isinstance(error, BadInput) else line, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("submillion: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

"""The command line: each command parses its arguments, calls one function and prints the result."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from submillion import cli_hub, cli_machine, cli_trained, notices
from submillion.cli_options import InterruptedRun, Json, PlanOptions, Quiet, Sets, TrainFlags, takes
from submillion.errors import BadInput, Problem, SubmillionError
from submillion.lean_imports import lean_imports
from submillion.terminal.console import guarded, say
from submillion.version import __version__
from submillion.wording import printable

if TYPE_CHECKING:
    from submillion.auto.decision import Decision
    from submillion.outcome import Outcome
    from submillion.recipe import Recipe

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

    For labelled texts, prints the recipe that `train` would choose, and counts it.
    """
    from submillion.auto.subject import AUTO, names_data
    from submillion.budget.plan_result import plan_or_count, refuse_options

    counted = {name: getattr(options, name) for name in ("r", "targets", "layers", "head")}
    if not options.speed and (options.rows or options.tokens or options.epochs):
        raise BadInput(Problem("plan", "--speed with --rows, --tokens or --epochs", "no --speed"))
    decision, recipe, labels = None, None, options.labels
    if options.recipe is not None:
        refuse_options(counted)
        if options.recipe == AUTO or names_data(options.recipe):
            decision = _decided(options)
            recipe, labels = decision.recipe, decision.facts["texts"]["classes"]
        else:
            recipe, labels = _loaded(options)
    result = plan_or_count(
        recipe=recipe,
        encoder=None if recipe else options.encoder,
        labels=labels,
        budget=None if recipe else options.budget,
        options=counted,
        overrides=[] if recipe else options.sets or [],
    )
    if options.speed:
        from submillion.estimate.benchmark import with_speed

        result = with_speed(result, rows=options.rows, tokens=options.tokens, epochs=options.epochs)
    say(json.dumps(result.to_json(), indent=2) if options.as_json else result.render())
    if not result.fits:
        raise typer.Exit(3)


def _decided(options: PlanOptions) -> Decision:
    """Choose the recipe of labelled texts, and print it."""
    from submillion.auto.subject import AUTO

    if options.labels is not None:
        raise BadInput(Problem("plan", "the number of classes from the labelled texts", "--labels too"))
    from submillion.auto.decide import decide

    data = None if options.recipe == AUTO else options.recipe
    decision = decide(data, overrides=options.overrides)
    if decision.checked is not None:
        decision.checked.announce()
    if not options.as_json:
        say(decision.render())
    return decision


def _loaded(options: PlanOptions) -> tuple[Recipe, int | None]:
    """Return the named recipe, and the number of its classes; None if its data would have to be downloaded."""
    from submillion import recipe_file
    from submillion.recipe import Recipe
    from submillion.recipe_data import CROSS_VALIDATION, NO_TEST

    recipe = Recipe.load(options.recipe or "", options.overrides)
    data = Path(recipe.with_absolute_paths().data.train)
    if options.labels is not None or not recipe_file.exists(data):
        return recipe, options.labels
    from submillion.study.fill_rank import number_of_classes

    alone = {"test": NO_TEST, "test_size": None, "validation": CROSS_VALIDATION, "corrections": None}
    return recipe, number_of_classes(recipe.with_data(**alone))


@app.command()
@takes(TrainFlags)
def train(flags: TrainFlags) -> None:
    """Train from labelled texts or a recipe into a run directory: adapter, predictions, metrics, analysis and report.

    For labelled texts, chooses a recipe and prints it; --set overrides it. `submillion fields` lists what --set can
    change.
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
def resume(run: InterruptedRun, as_json: Json = False, quiet: Quiet = False) -> None:
    """Continue interrupted training from its last checkpoint."""
    from submillion import pipeline

    _end_of_training(pipeline.resume(run, quiet=quiet), as_json)


cli_trained.add_to(app)


@app.command()
def study(
    study: Annotated[str, typer.Argument(help="Study file, or name of a shipped study.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Study directory; default: studies/NAME.", show_default=False),
    ] = None,
    engine: Annotated[str, typer.Option(help="Where runs are trained: local or ray.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs trained at a time.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads per run.", show_default=False)
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and compare many variants of a recipe; to continue after an interruption, rerun the command."""
    from submillion.study.run import study as conduct

    outcome = conduct(study, out, engine, workers, threads, sets or (), quiet)
    say(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def fields() -> None:
    """List every recipe field with its meaning; --set changes any of them."""
    from submillion.auto.subject import AUTO
    from submillion.recipe import Recipe, recipe_names
    from submillion.recipe_file import field_help, field_names

    say(f"recipes: {', '.join([AUTO, *recipe_names()])}\n")
    for name in field_names(Recipe):
        say(f"{name}\n    {field_help(Recipe, name)}")


cli_hub.add_to(app)
cli_machine.add_to(app)


def _end_of_training(outcome: Outcome, as_json: bool) -> None:
    if outcome.metrics:  # only the first of several processes has them
        say(json.dumps(outcome.to_json(), indent=2) if as_json else outcome.render())
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def main() -> None:
    """Run the command line; a user's error is one message and an exit code, never a traceback."""
    try:
        with guarded(), lean_imports(), notices.collecting():
            app()
    except SubmillionError as error:
        for line in error.render(_flag_of).splitlines():
            say(f"submillion: {line}" if isinstance(error, BadInput) else line, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        place = printable(str(error.filename), LONGEST_PATH)
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            found = f"one that it refuses ({error.strerror})"
            problem = Problem(place, "a path that the file system takes", found)
        elif isinstance(error, PermissionError) and error.filename is not None:
            remedy = "Change its permissions, or those of the folders above it."
            problem = Problem(place, "a file or folder that this user may open", f"{error.strerror}", remedy)
        else:
            raise
        say(f"submillion: {problem}", err=True)
        sys.exit(BadInput.exit_code)
    except KeyboardInterrupt:
        print("submillion: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


OTHER_MEANING = {("plan", "data.labels")}
"""Options that are called like a recipe field and are not it: that of `plan` is the number of classes."""


def _flag_of(argument: str) -> str:
    """Return how the present command takes an argument or a recipe field: `--overwrite`, `--set data.text=VALUE`.

    Args:
        argument: its name, or name and value, such as `head.kind=linear`.
    """
    argument, _, value = argument.partition("=")
    command = _command(sys.argv[1:])
    flags = {parameter.name: parameter for parameter in command.params} if command else {}
    name = argument.rpartition(".")[2]
    for candidate in (name, name.removesuffix("s")):
        if candidate in flags and (command.name, argument) not in OTHER_MEANING:
            parameter = flags[candidate]
            if parameter.param_type_name != "option":
                return candidate.upper()
            return " ".join(filter(None, (max(parameter.opts, key=len), value)))
    assigned = f"{argument}={value or 'VALUE'}"
    if "." in argument and "sets" in flags:
        return f"--set {assigned}"
    return assigned if value else argument


def _command(arguments: list[str]) -> Any:
    """Return the command that the arguments call, or None; of a group, the command in it."""
    command: Any = typer.main.get_command(app)
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    return command if command.name != app.info.name else None


if __name__ == "__main__":
    main()

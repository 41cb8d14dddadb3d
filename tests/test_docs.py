"""The documentation agrees with the code: generated pages, links, paths, commands, code blocks, counts, layers."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

import submillion
from submillion.budget.count import count
from submillion.cli import app
from submillion.recipe import HeadRecipe, LoraRecipe, Recipe, recipe_names
from submillion.recipe_file import field_names
from submillion.run_layout import CONTENTS
from submillion.sources.fetch import encoder_config
from submillion.study.study_file import STUDIES
from submillion.verification.run.checks import CHECKS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEXTS = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted(DOCS.rglob("*.md")),
    ]
}
COMMANDS: Any = typer.main.get_command(app)
ON_EVERY_COMMAND = {"--help", "-h"}
PLACEHOLDERS = ("COMMAND",)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and content of the fenced code blocks."""
    for match in re.finditer(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def shell_lines(text: str) -> list[list[str]]:
    """Return the command lines of the blocks without a language, and of code in sentences and tables, as words."""
    code = [content for language, content in blocks(text) if not language]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    code += re.findall(r"`((?:submillion|make|python) [^`\n]+)`", prose)
    lines = [line for part in code for line in part.replace("\\\n", " ").splitlines()]
    shell = [line for line in lines if re.match(r"[\w./-]+( |=|$)", line)]
    return [words for line in shell if (words := shlex.split(line, comments=True))]


def commands(text: str) -> list[list[str]]:
    """Return the words after `submillion` of every command line, up to a pipe."""
    found = []
    for words in shell_lines(text):
        words = list(itertools.dropwhile(lambda word: re.match(r"\w+=", word), words))
        if "submillion.cli" in words:
            words = words[words.index("submillion.cli") :]
        if words and words[0].rpartition("/")[2] in ("submillion", "submillion.cli"):
            found.append(list(itertools.takewhile(lambda word: word != "|", words[1:])))
    return [words for words in found if words and words[0] not in PLACEHOLDERS and "[OPTIONS]" not in words]


def generator() -> ModuleType:
    """Load docs/generate.py, which is not part of a package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipes.md", "study-fields.md", "command-line.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    page = generator().PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == page, "run: python docs/generate.py"


def test_check_of_generated_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = generator()
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    for name in generate.PAGES:
        (tmp_path / name).write_text("outdated\n", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", TEXTS[name])
    folder = (ROOT / name).parent
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_paths_exist(name: str) -> None:
    named = re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", TEXTS[name])
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_code_blocks_parse(name: str) -> None:
    for language, content in blocks(TEXTS[name]):
        if language == "python":
            ast.parse(content)
        elif language == "yaml":
            assert isinstance(yaml.safe_load(content), dict)
        else:
            assert language in ("", "text", "js", "{toctree}", "{include}", "{literalinclude}", "{eval-rst}")


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_options_exist(name: str) -> None:
    for words in commands(TEXTS[name]):
        command = words[0]
        if command.startswith("--"):
            assert command in ("--version", "--help", "--install-completion"), words
            continue
        assert command in COMMANDS.commands, words
        called = COMMANDS.commands[command]
        for word in words[1:2]:  # `cache prune` is a command in a group
            called = getattr(called, "commands", {}).get(word, called)
        known = {option for item in called.params for option in item.opts} | ON_EVERY_COMMAND
        assert {word for word in words if word.startswith("--")} <= known, words
        changed = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
        assert {item.partition("=")[0] for item in changed} - {"KEY"} <= set(field_names(Recipe)), words


@pytest.mark.parametrize("name", TEXTS)
def test_recipes_and_studies_exist(name: str) -> None:
    studies = {file.stem for file in STUDIES.glob("*.yaml")}
    for command, *words in commands(TEXTS[name]):
        shipped = {"train": set(recipe_names()), "plan": set(recipe_names()), "study": studies}.get(command)
        if shipped and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            assert words[0] in shipped, (command, words)


@pytest.mark.parametrize("name", TEXTS)
def test_make_targets_and_modules_exist(name: str) -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    for words in shell_lines(TEXTS[name]):
        if words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch("[a-z]+", word)} <= targets, words
        for place, word in enumerate(words[:-1]):
            if word == "-m" and words[place + 1].startswith("benchmarks."):
                module = ROOT / words[place + 1].replace(".", "/")
                assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), words


def test_verify_page_lists_every_check() -> None:
    rows = TEXTS["docs/verify.md"].split("| check |")[1].split("\n\n")[0].splitlines()[2:]
    listed = {name.strip() for row in rows for name in row.split("|")[1].split(",")}
    assert listed == {name for name, _, _ in CHECKS}


def test_run_directory_page_lists_all_contents() -> None:
    layout = next(content for _, content in blocks(TEXTS["docs/run-directory.md"]))
    listed = re.findall(r"^  ([\w.]+)/? ", layout, flags=re.MULTILINE)
    assert sorted(listed) == sorted(CONTENTS)


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    table = TEXTS["docs/install.md"].split("| extra |")[1].split("\n\n")[0]
    listed = {
        name for line in table.splitlines()[2:] for name in re.findall(r"`([\w-]+)`", line.split("|")[1])
    }
    assert listed == set(extras)


def test_design_lists_every_package() -> None:
    table = TEXTS["docs/design.md"].split("## Layers")[1].split("## ")[0]
    listed = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1:2][0] if line.startswith("|") else "")
    }
    source = ROOT / "src" / "submillion"
    present = {
        entry.stem
        for entry in source.iterdir()
        if (entry / "__init__.py").exists() or (entry.suffix == ".py" and entry.stem != "__init__")
    }
    assert listed == present


def test_design_names_the_packages_of_assess() -> None:
    sentence = re.search(
        r"`assess` has one package per question: (.*?)\.", TEXTS["docs/design.md"], flags=re.DOTALL
    )
    assert sentence is not None
    packages = {file.parent.name for file in (ROOT / "src/submillion/assess").glob("*/__init__.py")}
    assert set(re.findall(r"`(\w+)`", sentence[1])) == packages


@pytest.mark.parametrize(
    ("lora", "head", "trainable"),
    [
        ({"r": 6, "targets": ["all-linear"]}, {"kind": "linear"}, "998,404"),
        ({"r": 16, "targets": ["query", "value"]}, {}, "1,183,492"),
        ({"r": 8, "targets": ["query", "value"]}, {}, "888,580"),
        ({"r": 16, "targets": ["query"]}, {}, "888,580"),
        ({"r": 16, "targets": ["query", "value"], "layers": "top-8"}, {}, "986,884"),
        ({"r": 16, "targets": ["query", "value"]}, {"kind": "linear"}, "592,900"),
    ],
)
def test_counts_of_the_budget_page(lora: dict[str, Any], head: dict[str, Any], trainable: str) -> None:
    counted = count(encoder_config("roberta-base"), 4, LoraRecipe(**lora), HeadRecipe(**head), 1_000_000)
    assert f"{counted.trainable:,}" == trainable
    assert trainable in TEXTS["docs/budget.md"]


@pytest.mark.parametrize(
    ("kind", "parameters"), [("stock", "593,668"), ("linear", "3,076"), ("lora", "27,652")]
)
def test_heads_of_the_budget_page(kind: Any, parameters: str) -> None:
    lora = LoraRecipe(r=1, targets=["all-linear"])
    counted = count(encoder_config("roberta-base"), 4, lora, HeadRecipe(kind=kind), 1_000_000)
    assert f"{counted.trainable - 165_888:,}" == parameters
    assert f" = {parameters} |" in TEXTS["docs/budget.md"]


def test_citation_has_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], str(citation["version"])) == ("1.2.0", submillion.__version__)


@pytest.mark.parametrize("name", ["bug", "feature", "question"])
def test_issue_forms(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    assert {part["type"] for part in form["body"]} <= {
        "textarea",
        "input",
        "dropdown",
        "checkboxes",
        "markdown",
    }
    assert all(part["attributes"]["label"] for part in form["body"])


def test_pre_commit_runs_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    tools = {hook["entry"].split()[0] for hook in hooks}
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert tools == set(re.findall(r"(?:ruff|mypy|lint-imports|clang-format)\b", lint))

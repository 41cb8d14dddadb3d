"""What is imported when: counting and help stay light; heavy libraries wait inside functions."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import SRC

SOURCE = SRC / "submillion"
HEAVY = {
    "accelerate",
    "datasets",
    "matplotlib",
    "pandas",
    "peft",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
}
LIGHT_FILES = sorted(
    [SOURCE / f"{name}.py" for name in ("__init__", "cli", "errors", "notices", "recipe", "rundir")]
    + [file for room in ("budget", "sources") for file in (SOURCE / room).glob("*.py")]
)


def imported_by(script: str) -> set[str]:
    """Run `script` in a new Python and return the top-level names of the modules it has loaded at its end."""
    report = "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n{script}{report}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def run_command(*arguments: str, exit_code: int = 0) -> str:
    """Return a script that runs the command line in its process and insists on the exit code."""
    return f"""
sys.argv = ["submillion", *{list(arguments)!r}]
from submillion.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
assert (code or 0) == {exit_code}, code
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("import submillion", id="import"),
        pytest.param(run_command("--help"), id="help"),
        pytest.param(run_command("train", "--help"), id="train-help"),
        pytest.param(run_command("plan", "--encoder", "roberta-base", "--labels", "4"), id="plan"),
        pytest.param(
            run_command("plan", "--encoder", "roberta-base", "--labels", "4", "--r", "8", "--json"),
            id="plan-json",
        ),
        pytest.param(run_command("plan", "agnews-as-written", exit_code=3), id="plan-refused"),
        pytest.param(run_command("runs", "."), id="runs"),
        pytest.param(run_command("cache", "path"), id="cache-path"),
    ],
)
def test_light_commands_load_no_heavy_library(script: str) -> None:
    assert imported_by(script) & HEAVY == set()


def test_a_refused_training_loads_no_model_library() -> None:
    loaded = imported_by(run_command("train", "agnews-as-written", exit_code=3))
    assert loaded & {"torch", "transformers", "peft", "sklearn", "matplotlib"} == set()


def test_a_run_that_does_not_exist_is_refused_before_a_model_library_loads() -> None:
    loaded = imported_by(run_command("predict", "no/such/run", "--text", "a", exit_code=2))
    assert loaded & {"torch", "transformers", "peft", "sklearn"} == set()


def test_what_a_training_loads_before_its_first_step_has_no_statistics_and_no_figures() -> None:
    loaded = imported_by("import submillion.pipeline")
    assert "torch" in loaded
    # transformers loads scipy.optimize by itself, in a process that is not of the command line.
    assert loaded & {"sklearn", "pandas", "matplotlib", "datasets"} == set()


def test_the_check_sees_a_heavy_import() -> None:
    assert "scipy" in imported_by("import scipy")


@pytest.mark.parametrize("file", LIGHT_FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_light_files_import_heavy_libraries_only_inside_functions(file: Path) -> None:
    assert heavy_imports(ast.parse(file.read_text(encoding="utf-8"))) == []


def heavy_imports(tree: ast.Module) -> list[str]:
    """Return the heavy libraries that a module imports when it is loaded, type-checking branches left out."""
    found: list[str] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module or "")
        waiting.extend(ast.iter_child_nodes(node))
    return sorted(name for name in found if name.split(".")[0] in HEAVY)


def test_heavy_imports_are_found_in_classes_and_branches_but_not_in_functions() -> None:
    tree = ast.parse(
        "if True:\n    import torch.nn\n"
        "class A:\n    from sklearn import metrics\n"
        "def f():\n    import transformers\n"
        "if TYPE_CHECKING:\n    import datasets\nelse:\n    import peft\n"
    )
    assert heavy_imports(tree) == ["peft", "sklearn", "torch.nn"]

"""Tests of lean_imports.py: what a process of the command line does not load, and that the rest is as always."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.abc import Loader
from pathlib import Path
from types import ModuleType

import pytest

from submillion import lean_imports
from support import ROOT, SRC
from support.tiny_project import shared_project

# One process imports the libraries, which takes seconds.
SCRIPT = """
import sys
from types import ModuleType

import torch
from submillion.lean_imports import lean_imports

with lean_imports():
    import transformers.models.roberta.modeling_roberta
    import peft
assert not any(type(finder).__module__ == "submillion.lean_imports" for finder in sys.meta_path)
spared = {"torch._dynamo.utils", "torch.distributed.tensor._api", "sympy", "scipy.optimize"}
assert not spared & set(sys.modules), spared & set(sys.modules)
scan = transformers.utils.import_utils.create_import_structure_from_path.cache_info()
assert scan.hits > 0.9 * scan.misses > 100, scan  # the models of transformers, scanned once in place of twice

compiler = sys.modules["torch._dynamo"]
assert type(compiler) is not ModuleType
assert not hasattr(compiler, "__no_such_name__") and type(compiler) is not ModuleType

calls = []

@torch._dynamo.allow_in_graph
def marked(x):
    return x + 1

@torch.compiler.disable(reason="test")
def kept_out(x):
    calls.append(torch.compiler.is_compiling())
    return x + 1

assert kept_out(1) == 2 and kept_out.__name__ == "kept_out" and torch._dynamo.graph_break() is None
assert type(compiler) is not ModuleType  # none of this needs the compiler

def both(x):
    return kept_out(marked(x)) * 2

compiled = torch.compile(both, backend="eager")
assert torch.equal(compiled(torch.ones(3)), torch.full((3,), 6.0))
assert calls == [False, False]
assert torch._dynamo is compiler is sys.modules["torch._dynamo"] and type(compiler) is ModuleType
assert compiler.__spec__.loader is compiler.__loader__ and "torch._dynamo.utils" in sys.modules
from torch._dynamo.trace_rules import is_callable_allowed
assert is_callable_allowed(marked) and not is_callable_allowed(both)
assert torch._dynamo._trace_wrapped_higher_order_op.TransformGetItemToIndex is (
    transformers.masking_utils.TransformGetItemToIndex
)
sharding = sys.modules["torch.distributed.tensor"]
assert sharding is torch.distributed.tensor and issubclass(sharding.DTensor, torch.Tensor)
assert type(sharding) is ModuleType and not isinstance(torch.ones(1), torch.distributed.tensor.DTensor)
print("done")
"""
OTHER_MODULE = """
import sys
from types import ModuleType

from submillion.lean_imports import lean_imports

with lean_imports():
    import torch
    from torch._dynamo.utils import counters  # a module of the compiler that needs all of it
    assert type(sys.modules["torch._dynamo"]) is ModuleType and sys.modules["torch._dynamo"].utils.counters is counters
    from scipy.optimize import minimize
    from torch.distributed.tensor import DTensor
print("done")
"""
# A training with adapters of peft, its report without figures, whose drawing loads no torch, and a prediction.
COMMANDS = """
from submillion.cli import main
from submillion.report import figures

figures.drawings = lambda run: []

def run(*arguments):
    sys.argv = ["submillion", *arguments]
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    assert not code, code

recipe, out = sys.argv[1:]
run("train", recipe, "--out", out, "--quiet")
run("predict", out, "--text", "a text", "--quiet")
spared = {"torch._dynamo.utils", "torch.distributed.tensor._api"}
assert "peft" in sys.modules and not spared & set(sys.modules), spared & set(sys.modules)
print("done")
"""


def run(script: str, *arguments: object) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(SRC)!r})\n{script}",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


def test_the_compiler_and_what_distributes_tensors_are_loaded_when_they_are_used() -> None:
    run(SCRIPT)


def test_what_is_asked_for_by_name_is_loaded_at_once() -> None:
    run(OTHER_MODULE)


def test_a_training_and_a_prediction_of_the_command_line_do_without(tmp_path: Path) -> None:
    run(COMMANDS, shared_project() / "tiny.yaml", tmp_path / "run")


class Distributed(Loader):
    """Makes a module that says that torch can distribute tensors."""

    def exec_module(self, module: ModuleType) -> None:
        module.is_torch_distributed_available = lambda: True  # type: ignore[attr-defined]


@pytest.mark.parametrize(("version", "answer"), [(f"{lean_imports.TESTED}7", False), ("99.0.0", True)])
def test_versions_of_transformers_that_were_not_tested_load_what_they_ask_for(
    monkeypatch: pytest.MonkeyPatch, version: str, answer: bool
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    module = ModuleType("transformers.utils.import_utils")
    lean_imports._SwitchingLoader(Distributed()).exec_module(module)
    assert module.is_torch_distributed_available() is answer


def test_the_tested_version_is_that_of_the_constraints() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert any(pin.startswith(f"transformers=={lean_imports.TESTED}") for pin in pins)

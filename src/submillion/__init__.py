"""submillion: the best text classifier that fits in a million trainable parameters, with proof."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from submillion.version import __version__

if TYPE_CHECKING:
    from submillion.api import adopt, decide, load, resume, train, verify
    from submillion.budget.plan_result import plan
    from submillion.errors import BadInput, OverBudget, SubmillionError
    from submillion.estimator import SubmillionClassifier
    from submillion.recipe import Recipe
    from submillion.run import Run
    from submillion.ship.batch_predictor import BatchPredictor

__all__ = [
    "plan",
    "decide",
    "train",
    "resume",
    "load",
    "adopt",
    "verify",
    "Recipe",
    "Run",
    "BatchPredictor",
    "SubmillionClassifier",
    "SubmillionError",
    "BadInput",
    "OverBudget",
    "__version__",
]

_MODULES = {
    "plan": "budget.plan_result",
    "decide": "api",
    "train": "api",
    "resume": "api",
    "load": "api",
    "adopt": "api",
    "verify": "api",
    "Recipe": "recipe",
    "Run": "run",
    "BatchPredictor": "ship.batch_predictor",
    "SubmillionClassifier": "estimator",
    "SubmillionError": "errors",
    "BadInput": "errors",
    "OverBudget": "errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that `import submillion` loads no heavy library."""
    if name not in _MODULES:
        raise AttributeError(f"module 'submillion' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"submillion.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

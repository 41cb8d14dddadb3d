"""Tests that `verify` selects averaged values again, from the history of a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from submillion.verification.run.training import history
from support.fit_stub import fit_stub, train_recipe

RECIPE = train_recipe(epochs=2, average_from=0.5, eval_every=5, learning_rate=0.05, objective="macro_f1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    _, result, run = fit_stub(tmp_path_factory.mktemp("run"), recipe=RECIPE)
    records = run.read_history()
    assert any(record.get("averaged_steps") for record in records)
    return {"status": "complete", "training": result.to_json()}, records


def failed(manifest: dict[str, Any], records: list[dict[str, Any]]) -> list[str]:
    run = SimpleNamespace(read_history=lambda: records, path=Path("run"))
    recipe, context = SimpleNamespace(train=RECIPE), SimpleNamespace(cross_validated=False)
    case: Any = SimpleNamespace(manifest=manifest, run=run, recipe=recipe, context=context)
    return [check.where for check in history(case) if check.holds is False]


def test_an_untouched_history_passes(trained: tuple) -> None:
    assert failed(*trained) == []


def test_other_averages_and_objectives_are_detected(trained: tuple) -> None:
    manifest, records = trained
    averaged = next(place for place, record in enumerate(records) if record.get("averaged_steps"))

    def changed(**fields: Any) -> list[str]:
        return failed(manifest, [*records[:averaged], records[averaged] | fields, *records[averaged + 1 :]])

    better = {"loss": 0.0, "accuracy": 1.0, "macro_f1": 1.0}
    assert any("evaluations" in where for where in changed(other=better))
    assert any("averaged steps" in where for where in changed(averaged_steps=1000))
    training = manifest["training"]
    for name, forged in (("objective", "accuracy"), ("averaged_steps", training["averaged_steps"] + 1)):
        changed_manifest = manifest | {"training": training | {name: forged}}
        assert failed(changed_manifest, records) == [f"manifest.json: training: {name}"]

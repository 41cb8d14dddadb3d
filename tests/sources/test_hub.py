"""The hub, through its own libraries, against a local stand-in; each case in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import SRC
from support.encoder import encoder, safetensors
from support.hub import hub_environment, standin_hub

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
ASK = f"""
import dataclasses, json, sys; sys.path.insert(0, {str(SRC)!r})
from submillion import notices
from submillion.errors import SubmillionError
from submillion.sources import fetch
answers = []
with notices.collecting():
    for function, *arguments in json.loads(sys.argv[1]):
        try:
            answer = getattr(fetch, function)(*arguments)
            answers.append(dataclasses.asdict(answer) if dataclasses.is_dataclass(answer) else answer)
        except SubmillionError as error:
            answers.append(str(error))
    print(json.dumps({{"answers": answers, "notices": notices.collected()}}, default=str))
"""


def ask(url: str | None, home: Path, *calls: list[str]) -> tuple[list[Any], list[str]]:
    """Call functions of `fetch` in one process; return what they return, or their error's text, and the notices."""
    environment = hub_environment(url, home / "hf") | {"SUBMILLION_CACHE": str(home / "cache")}
    command = [sys.executable, "-c", ASK, json.dumps(calls)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout.splitlines()[-1])
    return output["answers"], [notice["code"] for notice in output["notices"]]


def write_dataset(folder: Path, config: str, names: list[str], splits: dict[str, int]) -> dict[str, Any]:
    """Write parquet files of a configuration; return its entries for the card."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, rows in splits.items():
        table = {"text": [f"{config} {split} {row}" for row in range(rows)], "label": [0, 1] * (rows // 2)}
        file = folder / config / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), file)
    classes = {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}
    features = [{"name": "text", "dtype": "string"}, {"name": "label", "dtype": classes}]
    files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
    return {
        "dataset_info": {"config_name": config, "features": features},
        "configs": {"config_name": config, "data_files": files},
    }


def write_card(folder: Path, licence: str, *configs: dict[str, Any]) -> None:
    card = {"license": licence, **{key: [config[key] for config in configs] for key in configs[0]}}
    # JSON is YAML, too.
    (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories: a good encoder, one pickled, one gated; AG News, and a data set with two configurations."""
    root = tmp_path_factory.mktemp("hub")
    models, data = root / "models" / "org", root / "datasets"
    good = encoder(models / "good", model_safetensors=safetensors(100))
    (good / "README.md").write_text("---\nlicense: mit\n---\n")
    (good / "tf_model.h5").write_bytes(b"not wanted")
    (encoder(models / "pickled", model_safetensors=None) / "pytorch_model.bin").touch()
    (encoder(models / "closed") / ".gated").touch()
    agnews = data / "fancyzhx" / "ag_news"
    write_card(agnews, "unknown", write_dataset(agnews, "data", LABELS, {"train": 8, "test": 4}))
    two = data / "org" / "two"
    first = write_dataset(two, "one", ["no", "yes"], {"train": 4, "dev": 2, "extra": 2})
    write_card(two, "cc0-1.0", first, write_dataset(two, "other", ["a", "b"], {"train": 2}))
    return root


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with standin_hub(root) as url:
        yield url


@pytest.fixture(scope="module")
def home(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches that have the good encoder and both data sets."""
    home = tmp_path_factory.mktemp("home")
    calls = (["fetch_encoder", "org/good"], ["fetch_data", "ag_news"], ["fetch_data", "org/two:one"])
    answers, codes = ask(url, home, *calls)
    (home / "answers.json").write_text(json.dumps(answers))
    assert codes == ["splits_left_out"]
    return home


@pytest.fixture(scope="module")
def fetched(home: Path) -> list[Any]:
    """What the hub gave: encoder, AG News, configuration `one` of `org/two`."""
    answers = json.loads((home / "answers.json").read_text())
    assert all(isinstance(answer, dict) for answer in answers), answers
    return answers


def copied(home: Path, place: Path) -> Path:
    shutil.copytree(home, place, symlinks=True)
    return place


def test_an_encoder_comes_with_its_files_hashes_commit_and_licence(fetched: list[Any], root: Path) -> None:
    encoder_facts = fetched[0]
    assert (encoder_facts["origin"], encoder_facts["via"], encoder_facts["licence"]) == (
        "org/good",
        "hub",
        "mit",
    )
    assert set(encoder_facts["sha256"]) == {"config.json", "tokenizer.json", "model.safetensors"}
    path = Path(encoder_facts["path"])
    assert path.name == encoder_facts["revision"]
    assert not (path / "tf_model.h5").exists()
    original = root / "models" / "org" / "good" / "model.safetensors"
    assert (path / "model.safetensors").read_bytes() == original.read_bytes()


def test_data_is_cached_as_a_file_per_split_with_its_labels(fetched: list[Any]) -> None:
    import pyarrow.parquet as pq

    agnews = fetched[1]
    assert (agnews["labels"], agnews["text"], agnews["label"]) == (LABELS, "text", "label")
    assert "research" in agnews["licence"]
    tables = {split: pq.read_table(files[0]) for split, files in agnews["files"].items()}
    assert {split: table.num_rows for split, table in tables.items()} == {"train": 8, "test": 4}
    assert tables["train"]["text"].to_pylist()[0] == "data train 0"
    assert set(agnews["sha256"]) == {"train.parquet", "test.parquet"}


def test_a_configuration_its_class_names_and_splits(fetched: list[Any]) -> None:
    data = fetched[2]
    assert (data["labels"], data["label"], data["licence"]) == (["no", "yes"], "label", "cc0-1.0")
    assert set(data["files"]) == {"train", "validation"}
    assert len(data["revision"]) == 40


def test_each_refusal_of_the_hub_is_one_error(url: str, home: Path) -> None:
    answers, _ = ask(
        url,
        home,
        ["fetch_encoder", "org/nothing"],
        ["fetch_encoder", "FacebookAI/roberta-bse"],
        ["fetch_encoder", "org/closed"],
        ["fetch_encoder", "org/pickled"],
        ["fetch_encoder", "org/good", "v9"],
        ["encoder_config", "org/good", "v9"],
        ["fetch_data", "org/two"],
        ["fetch_data", "org/two:three"],
        ["fetch_data", "org/none"],
    )
    for answer, words in zip(
        answers,
        (
            "found no such folder, and no public repository org/nothing",
            "Did you mean 'FacebookAI/roberta-base'?",
            "the gated repository org/closed. Accept its terms on its page, then log in",
            "pytorch_model.bin, a pickle, which can run code",
            "no revision 'v9' in it",
            "no revision 'v9' in it",
            "available configs: ['one', 'other']. Name one of its configurations: org/two:CONFIGURATION",
            "org/two:three: expected a data set that `datasets` can load, found BuilderConfig 'three' not found",
            "no public repository org/none",
        ),
        strict=True,
    ):
        assert words in answer


def test_offline_the_caches_are_used_without_a_notice(home: Path, fetched: list[Any], tmp_path: Path) -> None:
    other = copied(home, tmp_path / "other")
    shutil.rmtree(other / "hf" / "datasets")
    answers, codes = ask(
        None,
        other,
        ["fetch_encoder", "org/good"],
        ["fetch_data", "ag_news"],
        ["encoder_config", "org/good"],
        ["fetch_encoder", "org/nothing"],
    )
    assert answers[:2] == json.loads(json.dumps(fetched[:2]).replace(str(home), str(other)))
    assert answers[2] == {"model_type": "bert"}
    assert "found HF_HUB_OFFLINE set, and nothing complete in the cache" in answers[3]
    assert codes == []


def test_offline_the_cache_of_datasets_is_used_too(home: Path, fetched: list[Any], tmp_path: Path) -> None:
    other = copied(home, tmp_path / "other")
    shutil.rmtree(other / "cache")
    answers, _ = ask(None, other, ["fetch_data", "ag_news"])
    assert answers[0]["revision"] == fetched[1]["revision"]
    assert set(answers[0]["files"]) == {"train", "test"}


def test_the_cache_is_used_with_a_notice_if_the_hub_does_not_answer(home: Path, fetched: list[Any]) -> None:
    calls = (["fetch_encoder", "org/good"], ["fetch_data", "ag_news"])
    answers, codes = ask("http://127.0.0.1:9", home, *calls)
    assert answers == fetched[:2]
    assert codes == ["hub_unreachable", "hub_unreachable"]


def test_no_hub_and_no_cache_is_one_error_with_three_remedies(tmp_path: Path) -> None:
    calls = (["fetch_encoder", "roberta-base"], ["encoder_config", "org/good"], ["fetch_data", "ag_news"])
    answers, _ = ask("http://127.0.0.1:9", tmp_path, *calls)
    for answer, wanted, setting in zip(
        answers,
        ("the model FacebookAI/roberta-base", "the model org/good", "the dataset fancyzhx/ag_news"),
        ("encoder.source", "encoder.source", "data.train"),
        strict=True,
    ):
        assert f"{wanted} from the hub (tried: http://127.0.0.1:9, then the caches)" in answer
        assert f"(1) name a local folder or file with `{setting}`" in answer
        assert "(2) name a mirror that answers: HF_ENDPOINT=URL" in answer
        assert "(3) on a machine with network run" in answer
        assert len(answer.splitlines()) == 1


def test_damaged_weights_in_the_cache_of_the_hub_are_refused(
    url: str, home: Path, fetched: list[Any], tmp_path: Path
) -> None:
    other = copied(home, tmp_path / "other")
    blob = next(file for file in (other / "hf").rglob("blobs/*") if len(file.name) == 64)
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    answers, _ = ask(url, other, ["fetch_encoder", "org/good"])
    assert f"expected sha256 {blob.name}" in answers[0]
    assert f"Delete {blob}" in answers[0]


def test_a_new_commit_is_used_and_an_old_one_can_be_named(
    root: Path, home: Path, fetched: list[Any], tmp_path: Path
) -> None:
    other, moved = copied(home, tmp_path / "other"), tmp_path / "root"
    shutil.copytree(root, moved)
    write_dataset(moved / "datasets" / "fancyzhx" / "ag_news", "data", LABELS, {"train": 10, "test": 4})
    before = fetched[1]["revision"]
    with standin_hub(moved) as url:
        answers, _ = ask(url, other, ["fetch_data", "ag_news"], ["fetch_data", f"ag_news@{before}"])
    assert answers[0]["revision"] != before == answers[1]["revision"]
    assert answers[0]["sha256"]["test.parquet"] == answers[1]["sha256"]["test.parquet"]
    assert answers[0]["sha256"]["train.parquet"] != answers[1]["sha256"]["train.parquet"]


def test_how_a_sentence_encoder_was_trained_is_read_from_its_repository(tmp_path: Path) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    models = root / "models" / "org"
    encoder(models / "plain")
    for name, mode in (("mean", "mean_tokens"), ("first", "cls_token")):
        folder = encoder(models / name) / "1_Pooling"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}), encoding="utf-8")
    calls = [["trained_with_mean", f"org/{name}"] for name in ("mean", "first", "plain")]
    with standin_hub(root) as url:
        answers, _ = ask(url, home, *calls, ["trained_with_mean", "org/nothing"])
    assert answers[:3] == [True, False, False]
    assert "no public repository org/nothing" in answers[3]
    # Without the hub: its cache knows which files do not exist, and says nothing of a repository that it lacks.
    answers, _ = ask(None, home, *calls, ["trained_with_mean", "org/unknown"])
    assert answers[:3] == [True, False, False]
    assert "neither the hub nor its cache tells how org/unknown was trained" in answers[3]

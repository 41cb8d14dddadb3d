"""A push: the files that are sent, what is refused before anything is sent, and failures of the hub."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

import submillion as sm
from submillion.cli import app
from submillion.errors import BadInput, SubmillionError
from submillion.notices import collected, collecting
from submillion.publication.options import PushOptions
from submillion.publication.push import OF_AN_EMPTY_ONE, push
from submillion.publication.refusals import refusals
from submillion.rundir import RunDir
from support.analysis import thresholds_of
from support.hub_writes import CUT, TOKEN, WritableHub, content_of, files_of, writable_hub
from support.tiny import tiny_texts
from support.trained import trained_in

WHERE = "me/news"
ENCODER = "lab/encoder"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run, its encoder, pictures for its card, and an export."""
    home = tmp_path_factory.mktemp("push")
    run = trained_in(home, report=False)
    figures = run.path / "figures"
    figures.mkdir()
    for name in ("loss.png", "loss.svg", "accuracy.png", "not_a_figure.png"):
        (figures / name).write_bytes(b"a picture")
    run.export("merged", home / "export", quiet=True)
    return home


@pytest.fixture(scope="module")
def run(home: Path) -> sm.Run:
    return sm.load(home / "run")


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    """A stand-in hub with the run's encoder, which this process uses and may write to."""
    shutil.copytree(home / "encoder", tmp_path / "hub" / "models" / ENCODER)
    with writable_hub(tmp_path / "hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


def pushed(run: sm.Run, repository: str = WHERE, **options: Any) -> Any:
    return run.push(repository, **({"encoder": ENCODER, "quiet": True} | options))


def copied(run: sm.Run, tmp_path: Path) -> RunDir:
    """A copy of a run that a test may change."""
    shutil.copytree(run.path, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


def refused(run: sm.Run | Path, message: str, repository: str = WHERE, **options: Any) -> None:
    opened = sm.load(run) if isinstance(run, Path) else run
    with pytest.raises(BadInput, match=message):
        pushed(opened, repository, **options)


def test_the_repository_holds_the_listed_files_and_no_others(run: sm.Run, hub: WritableHub) -> None:
    result = pushed(run)
    sent = files_of(hub, WHERE) - {".gitattributes"}
    assert sent == result.files.keys()
    figures = {"figures/loss.png", "figures/accuracy.png"}
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    assert sent == adapter | figures | {"tokenizer.json", "tokenizer_config.json", "README.md"}
    assert result.url == f"{hub.url}/{WHERE}"
    assert hub.steps.count("commit") == 1


def test_the_adapter_names_the_encoder_on_the_hub(run: sm.Run, hub: WritableHub) -> None:
    pushed(run)
    assert content_of(hub, WHERE, "adapter_config.json")["base_model_name_or_path"] == ENCODER
    card = content_of(hub, WHERE, "README.md")
    assert yaml.safe_load(card.split("---")[1])["base_model"] == ENCODER
    assert f"from_pretrained('{ENCODER}'" in card
    assert f"A LoRA adapter for the encoder {ENCODER} that" in card


def test_links_of_the_card_are_files_of_the_repository(run: sm.Run, hub: WritableHub) -> None:
    pushed(run)
    links = [part.split(")")[0] for part in content_of(hub, WHERE, "README.md").split("](")[1:]]
    assert {"figures/loss.png", "figures/accuracy.png"} <= set(links) <= files_of(hub, WHERE)


def test_neither_texts_nor_places_of_this_machine_are_sent(run: sm.Run, home: Path, hub: WritableHub) -> None:
    pushed(run, exports=home / "export")
    texts = [text for text in tiny_texts(60)[0] if len(text) > 15]
    for name in files_of(hub, WHERE):
        content = (hub.root / "models" / WHERE / name).read_bytes()
        assert str(home).encode() not in content, name
        assert not [text for text in texts if text.encode() in content], name


def test_notices_that_quote_cells_are_not_on_the_card(run: sm.Run, hub: WritableHub, tmp_path: Path) -> None:
    copy = copied(run, tmp_path)
    quoting = {"code": "label_lists", "text": "t.csv: labels are read from lists: [secret cell]."}
    known = {"code": "precision", "text": "precision: float32"}
    copy.update_manifest(notices=[quoting, known])
    card = pushed(sm.load(copy.path), dry_run=True).card
    assert "precision: float32" in card
    assert "secret cell" not in card


def test_an_export_is_sent_below_its_own_folder(run: sm.Run, home: Path, hub: WritableHub) -> None:
    pushed(run, exports=home / "export")
    sent = files_of(hub, WHERE)
    assert {
        "exports/model.safetensors",
        "exports/config.json",
        "exports/export.json",
        "exports/README.md",
    } <= sent
    assert "config.json" not in sent
    assert "The folder `exports` of this repository" in content_of(hub, WHERE, "README.md")


def test_a_second_push_replaces_the_first_and_removes_what_it_lacks(
    run: sm.Run, home: Path, hub: WritableHub
) -> None:
    pushed(run, exports=home / "export")
    (hub.root / "models" / WHERE / "NOTES.md").write_text("mine", encoding="utf-8")
    (hub.root / "models" / WHERE / "added_tokens.json").write_text('{"goal-": 56}', encoding="utf-8")
    again = pushed(run)
    assert {"exports/model.safetensors", "added_tokens.json"} <= set(again.removed)
    left = files_of(hub, WHERE)
    assert not [name for name in left if name.startswith("exports/")]
    assert "NOTES.md" in left


def test_an_unchanged_run_makes_no_commit(run: sm.Run, hub: WritableHub) -> None:
    first = pushed(run)
    assert pushed(run).commit == first.commit
    assert hub.steps.count("commit") == 1


def test_a_dry_run_asks_nobody(run: sm.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    result = pushed(run, dry_run=True)
    assert (result.url, result.commit) == (None, None)
    assert result.files["README.md"] == len(result.card.encode())
    assert "nothing was sent" in result.render()


def test_an_encoder_that_is_a_folder_is_refused(run: sm.Run, hub: WritableHub) -> None:
    refused(run, "found one of the folder 'encoder', which exists on this machine alone", encoder=None)
    assert hub.steps == []


def test_another_encoder_than_the_run_s_is_refused(run: sm.Run, hub: WritableHub) -> None:
    weights = hub.root / "models" / ENCODER / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    refused(run, "expected the weights of the run's encoder")
    assert hub.steps == []
    refused(run, "found no repository lab/absent that the token may read", encoder="lab/absent")
    refused(run, "the id of an encoder on the hub", encoder="./encoder")


def test_a_run_from_the_hub_names_the_commit_of_its_encoder(
    run: sm.Run, hub: WritableHub, tmp_path: Path
) -> None:
    from support.hub import Repo

    copy = copied(run, tmp_path)
    commit = Repo(hub.root / "models" / ENCODER).commit
    on_hub = {"source": ENCODER, "name": ENCODER, "origin": ENCODER, "via": "hub", "revision": commit}
    copy.update_manifest(encoder=copy.read_manifest()["encoder"] | on_hub)
    pushed(sm.load(copy.path), encoder=None)
    config = content_of(hub, WHERE, "adapter_config.json")
    assert (config["base_model_name_or_path"], config["revision"]) == (ENCODER, commit)
    assert f"revision='{commit}'" in content_of(hub, WHERE, "README.md")


def test_private(run: sm.Run, hub: WritableHub) -> None:
    pushed(run, "me/secret", private=True)
    assert (hub.root / "models" / "me" / "secret" / ".private").exists()
    pushed(run, "me/secret", private=True)
    pushed(run)
    before = len(hub.steps)
    refused(run, "found me/news, which is public", private=True)
    assert len(hub.steps) == before


def test_a_repository_of_another_model_is_refused(run: sm.Run, hub: WritableHub) -> None:
    refused(run, "expected a new or empty repository, or one that holds an adapter", ENCODER)
    empty = hub.root / "models" / "me" / "empty"
    empty.mkdir(parents=True)
    for name in OF_AN_EMPTY_ONE:
        (empty / name).write_text("", encoding="utf-8")
    pushed(run, "me/empty")


def test_a_branch_that_does_not_exist(run: sm.Run, hub: WritableHub) -> None:
    refused(run, "a branch of an existing repository", revision="next")
    pushed(run)
    refused(run, "found no branch 'next'", revision="next")
    assert not (hub.root / "models" / "me" / "next").exists()


@pytest.mark.parametrize(
    "name",
    [
        "news",
        "me/news/more",
        "me/../x",
        "/news",
        "me/ne ws",
        "me/a..b",
        "me/a.git",
        f"me/{'a' * 99}",
        None,
        3,
    ],
)
def test_names_that_are_none_of_a_repository(name: Any, run: sm.Run) -> None:
    refused(run, "expected name/repository", name, dry_run=True)


@pytest.mark.parametrize("name", ["encoder", "exports", "eval_results", "revision"])
@pytest.mark.parametrize("value", ["", 3, ["x"], b"x"])
def test_options_that_name_nothing_are_refused(name: str, value: Any, run: sm.Run) -> None:
    refused(run, f"`{name}`: expected .*, found {re.escape(repr(value))}", dry_run=True, **{name: value})


def test_a_changed_adapter_is_refused(run: sm.Run, tmp_path: Path) -> None:
    copy = copied(run, tmp_path)
    file = copy.adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    refused(copy.path, "expected the file that the run was scored with", dry_run=True)


def test_exports_that_are_not_the_run_s(run: sm.Run, home: Path, tmp_path: Path) -> None:
    refused(run, "expected a folder made by `export`", exports=home, dry_run=True)
    changed = tmp_path / "changed"
    shutil.copytree(home / "export", changed)
    (changed / "config.json").write_text("{}", encoding="utf-8")
    refused(run, "config.json: expected the file that export.json records", exports=changed, dry_run=True)
    other = json.loads((changed / "export.json").read_text(encoding="utf-8"))
    other["run"]["files"]["recipe.yaml"] = "0" * 64
    (changed / "export.json").write_text(json.dumps(other), encoding="utf-8")
    refused(run, "expected an export of this run", exports=changed, dry_run=True)


def test_thresholds_that_the_export_lacks_are_named(run: sm.Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    copy = RunDir(run.path).copy_to(tmp_path / "run")
    sm.load(copy.path).export("merged", tmp_path / "out", quiet=True)
    options = PushOptions(ENCODER, tmp_path / "out", dry_run=True)
    with collecting(quiet=True):
        push(copy.path, WHERE, options)
        assert "export_outdated" not in [notice["code"] for notice in collected()]
    copy.write_analysis("thresholds", thresholds_of("precision", ["0", "1"], [0.5, None]))
    with collecting(quiet=True):
        push(copy.path, WHERE, options)
        (text,) = [notice["text"] for notice in collected() if notice["code"] == "export_outdated"]
    assert "table of thresholds per class" in text


def test_a_file_beside_an_export_is_not_sent(run: sm.Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(home / "export", folder)
    (folder / "rows.csv").write_text("text\n", encoding="utf-8")
    assert "exports/rows.csv" not in pushed(run, exports=folder, dry_run=True).files


def test_evaluation_results(run: sm.Run, hub: WritableHub, tmp_path: Path) -> None:
    refused(run, "found data that is not on the hub", eval_results="news", dry_run=True)
    copy = copied(run, tmp_path)
    data = copy.read_manifest()["data"] | {"source": "lab/news", "test": {"from": "source", "source": None}}
    copy.update_manifest(data=data)
    refused(copy.path, "found no score on test rows", eval_results="news", dry_run=True)
    metrics = dict(copy.read_metrics())
    copy.write_json(copy.metrics, metrics | {"test": metrics["validation"]})
    pushed(sm.load(copy.path), eval_results="news")
    (entry,) = yaml.safe_load(content_of(hub, WHERE, ".eval_results/submillion.yaml"))
    assert entry["dataset"] == {"id": "lab/news", "task_id": "news"}
    assert entry["value"] == pytest.approx(100 * metrics["validation"]["accuracy"], abs=1e-4)
    assert pushed(sm.load(copy.path)).removed == [".eval_results/submillion.yaml"]
    copy.update_manifest(data=data | {"limit": 10})
    refused(copy.path, "at most 10 rows of each split", eval_results="news", dry_run=True)


def test_no_token(run: sm.Run, hub: WritableHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    refused(run, "expected a token of the hub, found none. .*hf auth login")
    assert hub.steps == []


def test_a_wrong_token_and_a_name_of_others(
    run: sm.Run, hub: WritableHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(run, "HTTP 403.*Use a token that may write there", "org/news")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused(run, "HTTP 401.*Use a token that may write there")
    assert files_of(hub, ENCODER) and not (hub.root / "models" / "me").exists()


@pytest.mark.parametrize(
    ("step", "failure", "message"),
    [
        ("create", 403, "HTTP 403.*Use a token that may write there"),
        ("create", 409, "HTTP 409"),
        ("create", CUT, "expected an answer of the hub"),
        ("preupload", 404, "HTTP 404"),
        ("batch", 500, "HTTP 500.*Nothing of it was committed"),
        ("upload", CUT, "expected an answer of the hub"),
        ("upload", 403, "HTTP 403"),
        ("validate", 502, "that the hub .* takes the files"),
        ("commit", 409, "HTTP 409.*Somebody else may be changing it"),
        ("commit", 429, "HTTP 429.*Wait"),
        ("commit", 503, "HTTP 503.*Nothing of it was committed"),
        ("commit", CUT, "what has arrived is not sent twice"),
    ],
)
def test_failures_of_the_hub(step: str, failure: int, message: str, run: sm.Run, hub: WritableHub) -> None:
    hub.failures[step] = failure
    with pytest.raises(BadInput, match=message) as error:
        pushed(run)
    assert ("token" in str(error.value)) == (failure in (401, 403))
    if (hub.root / "models" / WHERE).exists():
        assert files_of(hub, WHERE) == {".gitattributes"}
    hub.failures.clear()
    pushed(run)
    assert "adapter_model.safetensors" in files_of(hub, WHERE)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (PermissionError("the storage refuses the token"), BadInput, "Use a token that may write there"),
        (ConnectionError("no route"), BadInput, r"found none \(no route\)"),
        (RuntimeError("Error while uploading 'x'"), BadInput, "found Error while uploading 'x'"),
        (FileNotFoundError(errno.ENOENT, "gone", "README.md"), SubmillionError, "could not be read"),
    ],
)
def test_failures_of_the_storage_for_large_files(
    failure: Exception, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(kind, match=message), refusals(WHERE, None):
        raise failure


def test_offline(run: sm.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    refused(run, "expected access to the hub, found HF_HUB_OFFLINE set")


def test_a_failure_after_the_first_push_leaves_it_as_it_was(
    run: sm.Run, home: Path, hub: WritableHub
) -> None:
    pushed(run)
    before = files_of(hub, WHERE)
    hub.failures["commit"] = 503
    refused(run, "HTTP 503", exports=home / "export")
    assert files_of(hub, WHERE) == before


def test_a_commit_of_somebody_else_in_between(
    run: sm.Run, home: Path, hub: WritableHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(run)
    notes = hub.root / "models" / WHERE / "NOTES.md"
    monkeypatch.setattr("submillion.publication.push.stale", lambda *_: notes.touch() or [])
    refused(run, "HTTP 412.*Somebody else may be changing it", exports=home / "export")
    assert not any(name.startswith("exports/") for name in files_of(hub, WHERE))
    pushed(run, exports=home / "export")


def test_a_new_repository_that_stays_empty_is_named(run: sm.Run, hub: WritableHub) -> None:
    hub.failures["commit"] = 503
    with collecting(quiet=True):
        with pytest.raises(BadInput, match="HTTP 503"):
            push(run.path, WHERE, PushOptions(encoder=ENCODER))
        assert "repository_created" in [notice["code"] for notice in collected()]


def test_on_the_command_line(run: sm.Run, home: Path, hub: WritableHub) -> None:
    asked = ["push", str(run.path), WHERE, "--encoder", ENCODER, "--json", "--quiet"]
    dry = CliRunner().invoke(app, [*asked, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert json.loads(dry.stdout)["card"].startswith("---\n")
    assert hub.steps == []
    done = CliRunner().invoke(app, [*asked, "--exports", str(home / "export")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["url"] == f"{hub.url}/{WHERE}"

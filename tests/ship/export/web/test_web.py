"""Tests of `export --to web`: node and Chromium answer as the run does, and transformers.js reads the int8 graph."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import submillion
from submillion import Run
from submillion.cache import sha256_of
from submillion.data.tokenizer import load_tokenizer
from submillion.errors import BadInput, SubmillionError
from submillion.model.infer import probabilities_of
from submillion.report.export_card import write_export_report
from submillion.ship.export.web.files import FOLDER, GRAPH, SETTINGS, parts
from submillion.ship.export.web.node import NodeSession, node
from support.browser import TIMEOUT, chromium, violations
from support.npm_packages import LOCKED, lend_packages, transformers_js
from support.tiny import tiny_encoder
from support.trained import recipe_in, trained_in, two_classes

pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

PROVEN = 100
SAMPLE = 4
ODD = [
    "",
    " ",
    "ΑΣ in İstanbul, naïve café",
    "e\u0301 soft\u00adhyphen \u200b zero \u0eba \u1b7d \u2e52 \u0378 \U0001fae0",
    "[CLS] [MASK] 你好 ½ ﬁ\tx\r\ny",
    "shares " * 300,
]


def bert_encoder(folder: Path) -> Path:
    """Write a tiny BERT whose tokenizer is of BERT's own kind: lower case, no accents, pieces of words."""
    tiny_encoder(folder, family="bert", layers=1, words=["\u03b1\u03c3", "##s", "cafe"])  # alpha, sigma
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.model = models.WordPiece(tokenizer.get_vocab(), unk_token="[UNK]")
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npm-cache")


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a mean-pooled head on BERT, whose tokenizer lower-cases and removes accents."""
    lend_packages(cache)
    home = tmp_path_factory.mktemp("web")
    bert_encoder(home / "encoder")
    texts, labels = two_classes()
    recipe = recipe_in(home, **{"head.kind": "linear", "head.pooling": "mean"})
    return submillion.train(recipe, home / "run", texts=texts, labels=labels, quiet=True)


@pytest.fixture(scope="module")
def exported(run: Run, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBMILLION_CACHE", str(cache))
        patch.setattr("submillion.exporting.record.SAMPLE_ROWS", SAMPLE)
        exported = run.export(["onnx-int8", "web"], out, max_loss=100)
    assert f"and {SAMPLE} of them by onnxruntime-web" in exported.render()
    return out


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*two_classes(PROVEN - len(ODD), seed=3)[0], *ODD]


@pytest.fixture(scope="module")
def url(exported: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(exported / FOLDER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Any]:
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.set_default_timeout(TIMEOUT)
        opened.asked = []
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(url)
        opened.wait_for_selector("#work:not([hidden])")
        yield opened


def test_the_folder_holds_the_licences_and_only_recorded_files(exported: Path) -> None:
    record = json.loads((exported / "export.json").read_text())["files"][f"{FOLDER}/{GRAPH}"]
    written = {
        file.relative_to(exported).as_posix() for file in (exported / FOLDER).rglob("*") if file.is_file()
    }
    assert written == {f"{FOLDER}/{GRAPH}", *parts()} == {f"{FOLDER}/{GRAPH}", *record["parts"]}
    vendor = exported / FOLDER / "vendor"
    assert "Microsoft Corporation" in (vendor / "onnxruntime.LICENSE.txt").read_text()
    assert "Apache License" in (vendor / "tokenizers.LICENSE.txt").read_text()
    assert record["runtime"] == "onnxruntime-web"
    assert record["rows"] == 6
    assert record["answered_by"].startswith("onnxruntime 1.")
    assert record["sample"]["rows"] == SAMPLE
    assert record["max_probability_difference"] < 0.05
    graph = (exported / FOLDER / GRAPH).read_bytes()
    assert graph == (exported / "onnx" / "model_quantized.onnx").read_bytes()


def test_chromium_reads_the_run_s_token_ids_and_answers_as_node_does(
    page: Any, exported: Path, texts: list[str]
) -> None:
    tokenizer = load_tokenizer(exported / FOLDER / "model")
    ids = page.evaluate("async (texts) => (await import('./page/classifier.js')).encode(texts)", texts)
    assert ids == tokenizer(texts, truncation=True)["input_ids"]
    assert max(map(len, ids)) == tokenizer.model_max_length
    in_browser = page.evaluate(
        "async (texts) => (await import('./page/classifier.js')).logitsOf(texts)", texts
    )
    np.testing.assert_allclose(in_browser, NodeSession(exported).logits(texts), atol=1e-5)


def test_chromium_agrees_with_the_run_on_a_hundred_rows(page: Any, run: Run, texts: list[str]) -> None:
    known = [text for text in texts if text.strip()]
    of_run = run.predict_proba(known)
    in_browser = np.array(
        page.evaluate("async (texts) => (await import('./page/classifier.js')).logitsOf(texts)", known),
        np.float32,
    )
    found = probabilities_of(in_browser)
    assert np.abs(found - of_run).max() < 0.05
    clear = np.abs(of_run[:, 0] - 0.5) > 0.05
    assert clear.sum() > len(known) / 2
    assert (found.argmax(axis=1) == of_run.argmax(axis=1))[clear].all()


def test_the_page_classifies_without_a_request_to_any_other_place(
    page: Any, url: str, texts: list[str]
) -> None:
    before = len(page.asked)
    page.fill("#text", texts[0])
    page.click("#classify")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#answer[aria-busy=false]")
    assert page.locator("#words mark").count() > 0
    assert violations(page) == []
    assert len(page.asked) == before
    assert all(address.startswith((url, f"blob:{url}")) for address in page.asked)


def test_transformers_js_reads_the_int8_graph_as_a_pipeline(exported: Path, texts: list[str]) -> None:
    installed = transformers_js()
    command = ["node", str(LOCKED / "classify.mjs"), str(installed), str(exported)]
    done = subprocess.run(command, input=json.dumps(texts[:8]), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    session = NodeSession(exported)
    for text, answer in zip(texts[:8], json.loads(done.stdout), strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        wanted = probabilities_of(session.logits([text]))[0]
        assert [scores["0"], scores["1"]] == pytest.approx(wanted.tolist(), abs=0.02)


def unigram_encoder(folder: Path, byte_fallback: bool) -> Path:
    """Write a tiny XLM-RoBERTa whose tokenizer is of its own kind: pieces with scores, spaces as marks."""
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789", "\u2581"]
    more = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    tiny_encoder(folder, family="xlm-roberta", layers=1, words=[*letters, *more])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    alone = {"<s>", "<pad>", "</s>", "<unk>", *letters, *more}
    pieces = [(word if word in alone else f"\u2581{word}", -float(index)) for word, index in words]
    tokenizer.model = models.Unigram(pieces, unk_id=3, byte_fallback=byte_fallback)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_a_unigram_tokenizer_gives_the_run_s_ids_or_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, byte_fallback: bool
) -> None:
    lend_packages(cache)
    monkeypatch.setenv("SUBMILLION_CACHE", str(cache))
    unigram_encoder(tmp_path / "encoder", byte_fallback)
    run = trained_in(tmp_path, report=False)
    out = tmp_path / "out"
    if byte_fallback:  # the rows have no character that falls back
        with pytest.raises(SubmillionError, match=r"reads \d+ of \d+ texts in another way .* such as 'ΑΣ in"):
            run.export("web", out, max_loss=100, quiet=True)
        assert not out.exists()
        return
    run.export("web", out, max_loss=100, quiet=True)
    tokenizer = load_tokenizer(out / FOLDER / "model")
    assert tokenizer.tokenize("goal two") == ["\u2581goal", "\u2581", "t", "w", "o"]
    assert NodeSession(out).logits([*two_classes(20, seed=5)[0], *ODD]).shape == (20 + len(ODD), 2)


def test_a_tokenizer_that_the_browser_cannot_load_is_named(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "out")
    file = tmp_path / "out" / FOLDER / "model" / "tokenizer.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"pre_tokenizer": {"type": "UnicodeScripts"}}))
    with pytest.raises(SubmillionError, match="Error: Unknown PreTokenizer type: UnicodeScripts. Node"):
        NodeSession(tmp_path / "out").logits(["a goal"])


def test_an_encoder_that_the_browser_reads_otherwise_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "out")
    file = tmp_path / "out" / FOLDER / "model" / "classifier.json"
    settings = json.loads(file.read_text())
    settings["tokenizer"]["lowercase"] = False
    settings["tokenizer"]["after"] = []
    file.write_text(json.dumps(settings))
    session = NodeSession(tmp_path / "out")
    with pytest.raises(SubmillionError, match="reads 2 of 2 texts in another way"):
        session.logits(["shares rose", "a goal"])


@pytest.mark.parametrize("name", ["index.html", "page/answer.js", "model/classifier.json"])
def test_verify_compares_the_page_with_that_of_this_version_and_its_classes_with_the_record(
    exported: Path, tmp_path: Path, name: str
) -> None:
    assert submillion.verify(exported).holds
    folder = tmp_path / "out"
    shutil.copytree(exported, folder)
    file = folder / FOLDER / name
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        settings = json.loads(text)
        file.write_text(json.dumps(settings | {"labels": settings["labels"][::-1]}))
    else:
        file.write_text(text.replace("confidence", "certainty"), encoding="utf-8")
    _recorded(folder, name)
    failing = {check.name for check in submillion.verify(folder).failing}
    assert failing == {"labels" if file.suffix == ".json" else "pages"}


def test_verify_compares_the_temperature_of_the_page_with_that_of_the_run(
    exported: Path, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(exported, folder)
    file = folder / FOLDER / SETTINGS
    file.write_text(json.dumps(json.loads(file.read_text()) | {"temperature": 0.01}))
    _recorded(folder, SETTINGS)
    failing = [check for check in submillion.verify(folder, against=run).failing if check.name == "facts"]
    assert [check.where for check in failing] == [f"{FOLDER}/{SETTINGS}: temperature"]


@pytest.mark.parametrize("version", [submillion.__version__, "0.0.1"])
@pytest.mark.parametrize("name", ["page/core.js", "vendor/tokenizers.js"])
def test_verify_runs_no_code_of_another_page(
    exported: Path, run: Run, tmp_path: Path, name: str, version: str
) -> None:
    folder, trace = tmp_path / "out", tmp_path / "trace"
    shutil.copytree(exported, folder)
    file = folder / FOLDER / name
    hostile = f'import {{ writeFileSync }} from "node:fs";\nwriteFileSync({json.dumps(str(trace))}, "");\n'
    file.write_text(hostile + file.read_text(encoding="utf-8"), encoding="utf-8")
    record = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(record | {"submillion": version}))
    _recorded(folder, name)
    verdict = submillion.verify(folder, against=run)
    assert not trace.exists()
    assert verdict.holds == (version != submillion.__version__)
    of_page = [
        check for check in verdict.checks if check.name == "answers" and check.where == f"{FOLDER}/{GRAPH}"
    ]
    assert [check.strength for check in of_page] == ["not checked"]


def _recorded(folder: Path, name: str) -> None:
    """Record the hash and size of a changed file of the page, and write the card again."""
    record = json.loads((folder / "export.json").read_text())
    entry = record["files"][f"{FOLDER}/{GRAPH}"]
    entry["parts"][f"{FOLDER}/{name}"] = sha256_of(folder / FOLDER / name)
    entry["size_bytes"] = sum(
        (folder / part).stat().st_size for part in (f"{FOLDER}/{GRAPH}", *entry["parts"])
    )
    (folder / "export.json").write_text(json.dumps(record))
    write_export_report(folder, record)


def test_without_node_the_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match=r"Install Node\.js 20"):
        node()


def test_the_settings_name_what_the_tokenizer_deletes_and_takes_for_letters(exported: Path) -> None:
    tokenizer = load_tokenizer(exported / FOLDER / "model")
    settings = json.loads((exported / FOLDER / SETTINGS).read_text(encoding="utf-8"))["tokenizer"]
    assert (settings["before"], settings["after"]) == ([tokenizer.cls_token_id], [tokenizer.sep_token_id])

    def within(name: str, point: int) -> bool:
        return any(low <= point <= high for low, high in settings[name])

    assert within("dropped", 0xAD)  # soft hyphen
    assert not within("dropped", ord("a"))
    assert within("ordinary", 0x2E52)  # punctuation since Unicode 14
    assert not within("ordinary", ord("!"))
    assert settings["stand_in"] not in tokenizer.get_vocab()

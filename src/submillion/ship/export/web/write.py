"""Writes the static folder: the page, its classifier in WebAssembly, the int8 graph and the tokenizer."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.files.atomic import write_json
from submillion.ship.export.onnx_graph import write_int8
from submillion.ship.export.web.files import (
    GRAPH,
    LICENCES,
    MODULES,
    OURS,
    PAGE,
    RUNTIME,
    SETTINGS,
    TOKENIZERS,
    page_files,
)
from submillion.ship.export.web.node import node
from submillion.ship.export.web.tokenizer_settings import tokenizer_settings
from submillion.sources.npm import fetch_package

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.ship.export.source import ExportSource

FORMAT_VERSION = 1
_POLICY = "script-src 'self'; style-src 'self';"
_OWN_POLICY = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self';"
_FOOTER = "Confidence is a probability of the classifier. The report shows how often it is right."
_OWN_FOOTER = (
    "This page contains ONNX Runtime "
    '(<a href="vendor/onnxruntime.LICENSE.txt">MIT licence</a>, '
    '<a href="vendor/onnxruntime.ThirdPartyNotices.txt">notices</a>) and tokenizers.js '
    '(<a href="vendor/tokenizers.LICENSE.txt">Apache licence</a>).'
)


def write_web(source: ExportSource, file: Path) -> None:
    """Write the folder that `file`, its graph, belongs to.

    Args:
        source: the run.
        file: the int8 graph, `web/model/onnx/model_quantized.onnx` in the export.

    Raises:
        BadInput: node or npm is missing, or npm's registry cannot be reached.
    """
    node()
    packages = [(package, fetch_package(package, "to")) for package in (RUNTIME, TOKENIZERS)]
    root = file.parents[len(Path(GRAPH).parts) - 1]
    vendor = root / "vendor"
    vendor.mkdir()
    for package, folder in packages:
        for name in package.files.values():
            shutil.copyfile(folder / name, vendor / name)
    for name, ours in LICENCES.items():
        (vendor / ours).write_bytes(package_files("onnxruntime").joinpath(name).read_bytes())
    _write_page(root)
    tokenizer_files(source.tokenizer, root / "model")
    write_json(root / SETTINGS, settings(source))
    write_int8(source, file, reduce_range=True)


def _write_page(root: Path) -> None:
    page = root / "page"
    page.mkdir()
    for name in page_files():
        shutil.copyfile(PAGE / name, page / name)
    for name in MODULES:
        shutil.copyfile(OURS / name, page / name)
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for before, after in ((_POLICY, _OWN_POLICY), (_FOOTER, _OWN_FOOTER)):
        if html.count(before) != 1:
            raise ValueError(f"index.html does not contain {before!r} once")
        html = html.replace(before, after)
    (root / "index.html").write_text(html, encoding="utf-8")
    # `type` lets node read the modules; the versions are for whoever checks the folder.
    pinned = {package.name: package.version for package in (RUNTIME, TOKENIZERS)}
    manifest = {"private": True, "type": "module", "dependencies": pinned}
    (root / "package.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def tokenizer_files(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into a folder, and nothing else."""
    saved = [Path(name) for name in tokenizer.save_pretrained(folder)]
    for extra in saved:
        if extra.is_file() and extra.name not in ("tokenizer.json", "tokenizer_config.json"):
            extra.unlink()


def settings(source: ExportSource) -> dict[str, Any]:
    """Return what the modules need beside the tokenizer and the graph."""
    return {
        "format_version": FORMAT_VERSION,
        "name": source.name,
        "labels": source.labels,
        "temperature": source.temperature,
        "tokenizer": tokenizer_settings(source.tokenizer),
    }

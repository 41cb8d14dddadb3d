"""Writes the static folder: the page, its classifier in WebAssembly, the int8 graph and the tokenizer."""

from __future__ import annotations

import shutil
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.files.atomic import write_json
from submillion.ship.export.onnx_graph import write_int8
from submillion.ship.export.web.files import (
    GRAPH,
    LICENCES,
    RUNTIME,
    SETTINGS,
    TOKENIZERS,
)
from submillion.ship.export.web.node import NodeSession, node
from submillion.ship.export.web.page import write_page
from submillion.ship.export.web.tokenizer_settings import tokenizer_settings
from submillion.sources.npm import fetch_package

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.ship.export.source import ExportSource

FORMAT_VERSION = 1
CHARACTERS = (
    "ΑΣ in İstanbul",
    "naïve café",
    "e\u0301 soft\u00adhyphen",
    "zero\u200bwidth",
    "你好 日本語 한국어",
    "русский",
    "العربية",
    "½ ﬁ ① \uff5e",
    "a\tb\r\nc",
    "  two  spaces  ",
    "\u201cit\u2019s\u201d \u2013 10 % …",
    "\U0001f642",
)
"""Texts whose characters the rows of a run may lack: the browser must read them as the run does."""


def write_web(source: ExportSource, file: Path) -> None:
    """Write the folder that `file`, its graph, belongs to.

    Args:
        source: the run.
        file: the int8 graph, `web/model/onnx/model_quantized.onnx` in the export.

    Raises:
        BadInput: node or npm is missing, or npm's registry cannot be reached.
        SubmillionError: the browser cannot run the tokenizer, or reads a text in another way.
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
    write_page(root)
    tokenizer_files(source.tokenizer, root / "model")
    write_json(root / SETTINGS, settings(source))
    write_int8(source, file, reduce_range=True)
    NodeSession(root.parent).logits(CHARACTERS)


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

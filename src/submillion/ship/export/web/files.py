"""The files of a web export: which there are, and the npm packages that some of them come from."""

from __future__ import annotations

from pathlib import Path

from submillion.sources.npm import NpmPackage

FOLDER = "web"
"""The folder inside the export."""
GRAPH = "model/onnx/model_quantized.onnx"
SETTINGS = "model/classifier.json"
OURS = Path(__file__).parent
PAGE = Path(__file__).parents[2] / "serve" / "page"
"""The page of the server, whose modules the folder shares, except for the classifier."""

RUNTIME = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    "MIT",
    {
        "dist/ort.wasm.bundle.min.mjs": "onnxruntime.js",
        "dist/ort-wasm-simd-threaded.wasm": "onnxruntime.wasm",
    },
)
"""onnxruntime for WebAssembly. Its archive has no licence file; the Python package of the same project has it."""
TOKENIZERS = NpmPackage(
    "@huggingface/tokenizers",
    "0.2.0",
    "sha512-LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
    "Apache-2.0",
    {"dist/tokenizers.min.mjs": "tokenizers.js", "LICENSE": "tokenizers.LICENSE.txt"},
)
"""The tokenizers of transformers.js, without its pipelines and without a second copy of onnxruntime."""
VENDOR_SHA256 = {
    "vendor/onnxruntime.js": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "vendor/onnxruntime.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "vendor/tokenizers.js": "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
}
"""SHA-256 of the files of both packages that run."""
LICENCES = {
    "LICENSE": "onnxruntime.LICENSE.txt",
    "ThirdPartyNotices.txt": "onnxruntime.ThirdPartyNotices.txt",
}
"""Our name by that in the Python package onnxruntime."""

MODULES = ("core.js", "worker.js", "classifier.js")
"""The modules that only this folder has."""


def page_files() -> list[str]:
    """Return the names of the files that the folder shares with the server's page, without index.html."""
    return sorted(file.name for file in PAGE.iterdir() if file.name not in ("index.html", *MODULES))


def parts() -> tuple[str, ...]:
    """Return the places of all files but the graph, in the export."""
    vendor = [*RUNTIME.files.values(), *TOKENIZERS.files.values(), *LICENCES.values()]
    names = [
        "index.html",
        "package.json",
        *(f"page/{name}" for name in (*page_files(), *MODULES)),
        *(f"vendor/{name}" for name in vendor),
        SETTINGS,
        "model/tokenizer.json",
        "model/tokenizer_config.json",
    ]
    return tuple(f"{FOLDER}/{name}" for name in names)

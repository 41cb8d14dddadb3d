"""Folders with the files of an encoder: configuration, tokenizer, one small tensor."""

from __future__ import annotations

import json
from pathlib import Path


def safetensors(values: int = 4) -> bytes:
    """Return a valid file with one tensor of float32 zeros."""
    entry = {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * values)


def encoder(folder: Path, **changes: bytes | None) -> Path:
    """Write an encoder's folder; `model_safetensors=b"..."` replaces a file, None omits it."""
    files = {
        "config.json": b'{"model_type": "bert"}',
        "tokenizer.json": b"{}",
        "model.safetensors": safetensors(),
        "notes.txt": b"not ours",
    }
    for name, content in changes.items():
        files[name.replace("__", "-").replace("_json", ".json").replace("_safetensors", ".safetensors")] = (
            content
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder

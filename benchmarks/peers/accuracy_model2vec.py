"""model2vec: a static model distilled from an encoder's folder, and the features of texts under it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from model2vec.distill import distill

from benchmarks.peers.accuracy_exchange import answer, request


def main() -> None:
    """Distill once, then answer with features scaled to length 1 and their seconds."""
    asked = request()
    folder = Path(asked["distilled"])
    if not (folder / "model.safetensors").is_file():
        distill(asked["encoder"]).save_pretrained(str(folder))
    model = StaticModel.from_pretrained(str(folder))
    wall, cpu = time.perf_counter(), time.process_time()
    features = np.asarray(model.encode(asked["texts"], max_length=None), np.float32)
    # A text without a known token has the vector 0.
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    answer(
        {
            "features": [[round(float(value), 6) for value in row] for row in features],
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
        }
    )


if __name__ == "__main__":
    main()

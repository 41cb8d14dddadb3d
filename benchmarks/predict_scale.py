"""Measures predictions of many short texts, file to file: `submillion predict`, the transformers pipeline, exports.

    python -m benchmarks.predict_scale --run RUN [--exports FOLDER] [--rows N] [--rounds N] [--json FILE]

The texts are eight words each, drawn from the run's own vocabulary; the same for all. `submillion_int8` and
`submillion` are our kernels in int8, where the processor has them, and in the number format of the recipe. `pipeline`
is transformers' text-classification on the merged model in float32, batches of 32 in input order; for a head that
reads the mean of the states, which that model class does not have, AutoModel and the head in the same batches. With
`--exports`, a folder that `submillion export RUN --to all` has made, each of its int8 files labels the texts in its own
runtime, in batches of 64. Every variant reads a csv and writes one, in a process of its own that has loaded its model
before the clock starts. The variants take turns, and each has its share of the rows, so that a round takes a similar
time for all.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.isolated import ProcessFailed, run_isolated

if TYPE_CHECKING:
    from submillion.model.trained import OpenedRun

WORDS = 8
OURS = {"submillion_int8": "int8", "submillion": "auto"}
"""The precision of each of our variants; the first that can run is the one that the others are compared with."""
SHARES = {**dict.fromkeys(OURS, 1.0), "pipeline": 0.1}
EXPORTED = (
    "onnx/model_quantized.onnx",
    "onnx/model_qint8_avx512_vnni.onnx",
    "openvino/openvino_model_qint8_quantized.xml",
)
"""The int8 files of an export."""
EXPORT_SHARE = 0.2
EXPORT_BATCH = 64


def write_texts(run: Path, rows: int, file: Path) -> None:
    """Write a csv of texts drawn from the words of a run's tokenizer."""
    from submillion.data.tokenizer import load_tokenizer

    words = sorted(
        word for word in load_tokenizer(run / "tokenizer").get_vocab() if word.isascii() and word.isalpha()
    )
    drawn = random.Random(0)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text"])
        writer.writerows([" ".join(drawn.choices(words, k=WORDS))] for _ in range(rows))


def measure(name: str, run: Path, exports: Path | None, file: Path, rows: int) -> dict[str, float]:
    """Label the first rows of a file in this process; return rows per second, and the peak memory in MB."""
    from submillion import notices
    from submillion.environment import peak_memory_mb

    with tempfile.TemporaryDirectory() as folder, notices.collecting(quiet=True):
        part = Path(folder) / "part.csv"
        part.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[: rows + 1]))
        label = _opened(name, run, exports)
        began, cpu = time.perf_counter(), time.process_time()
        label(part, Path(folder) / "out.csv")
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return {
        "rows_per_s": rows / seconds,
        "rows_per_cpu_s": rows / cpu_seconds,
        "peak_rss_mb": peak_memory_mb(),
    }


def _opened(name: str, run: Path, exports: Path | None) -> Callable[[Path, Path], None]:
    """Return a function from the input file to the output file; its model is loaded and has run once."""
    if name in OURS:
        from submillion.model.inference import open_for_answers
        from submillion.model.trained import open_run_classifier
        from submillion.rundir import RunDir
        from submillion.ship.predict import predict_file

        opened_run = RunDir.open(run)
        is_int8 = OURS[name] == "int8"
        opened = open_for_answers(opened_run, "int8") if is_int8 else open_run_classifier(opened_run)
        opened.probabilities(["warm up"], 64)
        patch("submillion.ship.predict.open_for_answers", lambda *_: opened).start()

        def predict_all(file: Path, out: Path) -> None:
            predict_file(run, file, out)

        return predict_all
    answer = _pipeline(run) if name == "pipeline" else _exported(exports, name)

    def label(file: Path, out: Path) -> None:
        with file.open(encoding="utf-8", newline="") as stream:
            texts = [row["text"] for row in csv.DictReader(stream)]
        with out.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["ID", "Label"])
            writer.writerows(enumerate(answer(texts)))

    answer(["warm up"])
    return label


def _pipeline(run: Path) -> Callable[[Sequence[str]], Sequence[str]]:
    from transformers import pipeline

    from submillion.model.trained import open_run_classifier
    from submillion.rundir import RunDir

    opened = open_run_classifier(RunDir.open(run), merged=False)
    model = opened.classifier.module.merge_and_unload().eval().float()
    if opened.classifier.feature_pooling == "mean":
        return _means(opened, model)
    model.config.id2label = dict(enumerate(opened.labels))
    made: Any = pipeline(
        "text-classification", model=model, tokenizer=opened.tokenizer, batch_size=32, device="cpu"
    )
    length = opened.truncation.max_length
    return lambda texts: [one["label"] for one in made(list(texts), truncation=True, max_length=length)]


def _means(opened: OpenedRun, model: Any) -> Callable[[Sequence[str]], Sequence[str]]:
    import torch

    length, head = opened.truncation.max_length, opened.classifier.head

    def answer(texts: Sequence[str]) -> list[str]:
        best: list[int] = []
        for start in range(0, len(texts), 32):
            batch = opened.tokenizer(
                list(texts[start : start + 32]),
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1)
                best += head((states * mask).sum(1) / mask.sum(1)).argmax(-1).tolist()
        return [opened.labels[index] for index in best]

    return answer


def _exported(exports: Path | None, name: str) -> Callable[[Sequence[str]], Sequence[str]]:
    from submillion.ship.export.sessions import OnnxSession, OpenvinoSession

    if exports is None:
        raise ValueError("no folder of exports")
    names = json.loads((exports / "config.json").read_text(encoding="utf-8"))["id2label"]
    session = OnnxSession(exports, name) if name.endswith(".onnx") else OpenvinoSession(exports, name)

    def answer(texts: Sequence[str]) -> list[str]:
        best: list[int] = []
        for start in range(0, len(texts), EXPORT_BATCH):
            best += session.logits(texts[start : start + EXPORT_BATCH]).argmax(axis=1).tolist()
        return [names[str(index)] for index in best]

    return answer


def compare(run: Path, exports: Path | None, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row per variant: its medians, and `ratio`, that of the first variant to it, round by round."""
    from submillion.native import int8

    ours = [name for name in OURS if name != "submillion_int8" or int8.load_best()[0] is not None]
    names = [*ours, "pipeline", *(name for name in EXPORTED if exports and (exports / name).is_file())]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    errors: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.csv"
        write_texts(run, rows, file)
        for number in range(rounds):
            for name in names:
                share = max(64, int(rows * SHARES.get(name, EXPORT_SHARE)))
                try:
                    results[name].append(run_isolated(measure, name, run, exports, file, min(rows, share)))
                except ProcessFailed as error:
                    errors[name] = str(error)
                    continue
                rate = results[name][-1]["rows_per_s"]
                print(
                    f"round {number + 1} of {rounds}: {name} {rate:,.0f} rows/s", file=sys.stderr, flush=True
                )
    own = results[ours[0]]
    return [
        {"name": name, "error": errors[name]}
        if name in errors
        else {
            "name": name,
            **{key: statistics.median(one[key] for one in results[name]) for key in results[name][0]},
            "ratio": statistics.median(
                mine["rows_per_s"] / other["rows_per_s"]
                for mine, other in zip(own, results[name], strict=True)
            ),
        }
        for name in names
    ]


def main() -> int:
    """Read the command line, compare, print; return exit code 1 if a variant failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--exports", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = compare(arguments.run, arguments.exports, arguments.rows, arguments.rounds)
    for row in rows:
        print(
            f"{row['name']}: {row['error']}"
            if "error" in row
            else f"{row['name']:48} {row['rows_per_s']:9,.0f} rows/s, {row['rows_per_cpu_s']:8,.0f} per CPU second, "
            f"{row['peak_rss_mb']:6,.0f} MB, {row['ratio']:.2f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())

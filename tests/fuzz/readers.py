"""Every reader of files: how it is called, from which inputs the others are made, and how these are changed."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import hostile, mutate, seeds

Read = Callable[[Path], object]
Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Reader:
    """One reader and its inputs."""

    name: str
    about: str
    file: str
    """Name of the file that an input is written to."""
    prepare: Callable[[Path], Read]
    """Takes a folder for files of its own; returns the function that reads an input, in a worker process."""
    seeds: Callable[[], list[bytes]]
    mutate: Mutate


def _either(of_text: Callable[[random.Random, str], str]) -> Mutate:
    """Return a change of values three times out of four, else of bytes."""

    def change(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
        if rng.random() < 0.25:
            return mutate.of_bytes(rng, data, pool)
        text = of_text(rng, data.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogatepass")[: mutate.LARGEST]

    return change


def _in_file_of_run(of_text: Callable[[random.Random, str], str]) -> Mutate:
    """Return a change of the content after the first line, which names a file of a run."""
    change = _either(of_text)

    def of_content(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
        name, newline, content = data.partition(b"\n")
        return name + newline + change(rng, content, pool)

    return of_content


def _json_lines(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    lines[at] = mutate.of_json(rng, lines[at])
    return "\n".join(lines)


def _bytes(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    return mutate.of_bytes(rng, data, pool)


def _tensors(rng: random.Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    return mutate.of_tensors(rng, data) if rng.random() < 0.6 else mutate.of_bytes(rng, data, pool)


# -- data ---------------------------------------------------------------------------------------------------------


def _data(folder: Path) -> Read:
    from submillion.data.labels import class_names
    from submillion.data.readers import iter_texts, read_rows
    from submillion.errors import SubmillionError

    def read(file: Path) -> None:
        with contextlib.suppress(SubmillionError):  # the same file may still be one of texts without labels
            class_names(None, read_rows([file]))
        for _ in iter_texts(file):
            pass

    return read


def _hub_metadata(folder: Path) -> Read:
    read = _data(folder)

    def read_with_metadata(file: Path) -> None:
        table = folder / "data.arrow"
        table.write_bytes(seeds.with_metadata(file.read_bytes()))
        read(table)

    return read_with_metadata


def _values(folder: Path) -> Read:
    import numpy as np

    from submillion.data.in_memory import labelled_rows, text_values
    from submillion.errors import SubmillionError

    def column(rng: random.Random, length: int) -> Any:
        base: list[Any] = [rng.choice(["a", "b", 1, 0, 1.0, True, "1"])] * length
        column = [hostile.value(rng) if rng.random() < rng.choice([0, 0, 0.5]) else item for item in base]
        match rng.randrange(6):
            case 0:
                return tuple(column)
            case 1:
                return (item for item in column)
            case 2:
                return np.array(column, dtype=object)
            case 3:
                return {"a": column}
            case 4:
                return hostile.value(rng)
        return column

    def read(file: Path) -> None:
        rng = random.Random(file.read_bytes())
        length = rng.choice([0, 1, 2, 5])
        for call in (
            lambda: labelled_rows(column(rng, length), column(rng, length)),
            lambda: text_values(column(rng, 3)),
        ):
            with contextlib.suppress(SubmillionError):
                call()

    return read


# -- recipes, studies, claims -------------------------------------------------------------------------------------


def _recipe(folder: Path) -> Read:
    from submillion.recipe import Recipe

    def read(file: Path) -> None:
        recipe = Recipe.load(file)
        again = folder / "again.yaml"
        again.write_text(recipe.to_yaml(), encoding="utf-8")
        assert Recipe.load(again).model_dump() == recipe.model_dump(), (
            "a recipe that is written is read again"
        )
        recipe.with_absolute_paths()

    return read


def _override(folder: Path) -> Read:
    from submillion.recipe import Recipe

    def read(file: Path) -> None:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
        recipe = Recipe.load("r8", [text])
        again = folder / "again.yaml"
        again.write_text(recipe.to_yaml(), encoding="utf-8")
        assert Recipe.load(again) == recipe, "a recipe that is written is read again"

    return read


def _study(folder: Path) -> Read:
    from submillion.study.design import read_study

    def read(file: Path) -> None:
        design = read_study(file)
        assert len({run.name for run in design.runs}) == len(design.runs), "no two runs share a directory"
        for run in design.runs:
            (folder / run.name).parent.mkdir(exist_ok=True)
            (folder / run.name).touch()
            (folder / run.name).unlink()

    return read


def _claims(folder: Path) -> Read:
    from submillion.verification.claims.consistency import verify_claims

    return lambda file: str(verify_claims(file))


# -- run directories ----------------------------------------------------------------------------------------------


def _run_of(folder: Path) -> Path:
    """Write the files of the finished run and return its directory."""
    for name, content in seeds.run_files().items():
        file = folder / "run" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder / "run"


@contextlib.contextmanager
def _changed(place: Path, file: Path) -> Iterator[None]:
    """Replace one file of a run for the block; the first line of `file` is its name, the rest its content."""
    name, _, content = file.read_bytes().partition(b"\n")
    target = place / name.decode()
    original = target.read_bytes()
    target.write_bytes(content)
    try:
        yield
    finally:
        target.write_bytes(original)


def _card(folder: Path) -> Read:
    """Return the reader of one file of a run: the card and the summary are made from it."""
    from submillion.report import card
    from submillion.report.run_summary import summary_text
    from submillion.rundir import RunDir

    place = _run_of(folder)

    def read(file: Path) -> None:
        with _changed(place, file):
            run = RunDir.open(place)
            run.read_manifest()
            run.read_metrics()
            run.read_history()
            card.render_card(run)
            summary_text(run)

    return read


def _report(folder: Path) -> Read:
    """Return the reader of one file of a run that makes the page and lays out the figures that the file decides."""
    from submillion.report import figures, page
    from submillion.report.theme import house_style
    from submillion.rundir import RunDir

    place = _run_of(folder)

    def read(file: Path) -> None:
        with _changed(place, file):
            run = RunDir.open(place)
            with house_style():
                for drawing in figures.drawings(run):
                    # Those of predictions do not depend on a JSON file.
                    if not drawing.name.startswith(("confusion_", "classes_", "confidence_")):
                        drawing.draw(drawing.heading).draw_without_rendering()
            page.render_page(run)

    return read


def _predictions(folder: Path) -> Read:
    from submillion.assess.metrics import metrics_of
    from submillion.run_format.predictions import Predictions

    def read(file: Path) -> None:
        found = Predictions.read(file)
        if found.labels is not None:
            metrics_of(found.labels, found.probabilities, found.label_names)

    return read


# -- models -------------------------------------------------------------------------------------------------------


def _adapter_config(folder: Path) -> Read:
    from submillion.model.adapter import read_adapter_config

    return lambda file: read_adapter_config(file.parent)


def _adapter_tensors(folder: Path) -> Read:
    import torch

    from submillion.model.adapter import check_tensors, read_tensors

    expected = {"a": torch.zeros(2, 2)}

    def read(file: Path) -> None:
        tensors, _ = read_tensors(file.parent)
        check_tensors(file.parent, tensors, expected, {})

    return read


def _checkpoint(folder: Path) -> Read:
    """Return the reader of a position, which is sealed with the right checksum first."""
    import torch

    from submillion.fit import checkpoint

    def read(file: Path) -> None:
        content, state = file.read_bytes(), folder / "state.safetensors"
        if content[:1] == b"{":
            text = content.decode("utf-8", "replace")
            data = checkpoint.sealed({"a": torch.zeros(3)}, {}).replace(
                b" {}", b" " + json.dumps(text).encode()[1:-1]
            )
            length = data.index(b"}}") + 2
            state.write_bytes(data)
            assert length
        else:
            state.write_bytes(content)
        checkpoint.read(state)

    return read


def _cache(folder: Path) -> Read:
    from submillion.files.tensor_file import TensorFile

    def read(file: Path) -> None:
        copy = folder / "cached.safetensors"  # a damaged file of a cache is deleted
        copy.write_bytes(file.read_bytes())
        TensorFile(copy, "key", "states", "prefix_cache").read(lambda tensors: None)

    return read


def _cached() -> list[bytes]:
    import tempfile

    import numpy as np

    from submillion.files.tensor_file import TensorFile

    def fill(handle: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        handle.write(np.arange(4, dtype="<i4").tobytes())
        return {"ids": ("I32", (4,))}

    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "cached.safetensors"
        assert TensorFile(file, "key", "states", "prefix_cache").write(fill) is None
        return [file.read_bytes()]


def _encoder_config(folder: Path) -> Read:
    from submillion.budget.count import count
    from submillion.recipe import HeadRecipe, LoraRecipe
    from submillion.sources.folder import read_config

    def read(file: Path) -> None:
        values = read_config(file.parent, "encoder")
        count(values, 3, LoraRecipe(), HeadRecipe(), 1_000_000)

    return read


def _tokenizer(folder: Path) -> Read:
    from submillion.data.tokenizer import load_tokenizer
    from submillion.data.tokens import encode
    from submillion.data.truncation import Truncation

    for name, content in seeds.encoder_files().items():
        if name != "model.safetensors":
            (folder / name).write_bytes(content)

    def read(file: Path) -> None:
        (folder / "tokenizer.json").write_bytes(file.read_bytes())
        tokens = encode(load_tokenizer(folder), ["word1 goal", "", "é" * 40], Truncation(8))
        tokens.check_fits(64, 8)

    return read


READERS = {
    reader.name: reader
    for reader in (
        Reader("csv", "rows of a csv file", "data.csv", _data, seeds.csv, _either(mutate.of_cells)),
        Reader("tab", "rows of a tab-separated file", "data.tab", _data, seeds.tab, _either(mutate.of_cells)),
        Reader("lines", "texts, one a line", "data.txt", _data, seeds.lines, _bytes),
        Reader("jsonl", "rows as JSON lines", "data.jsonl", _data, seeds.jsonl, _either(_json_lines)),
        Reader("json", "rows in one JSON document", "data.json", _data, seeds.json_documents, _either(mutate.of_json)),
        Reader("parquet", "rows of a parquet file", "data.parquet", _data, seeds.parquet, _bytes),
        Reader("arrow", "rows of an arrow file", "data.arrow", _data, seeds.arrow, _bytes),
        Reader("stream", "rows of an arrow stream", "data.arrow", _data, seeds.stream, _bytes),
        Reader("hfmeta", "metadata of datasets in a table", "meta.json", _hub_metadata, seeds.hub_metadata,
               _either(mutate.of_json)),
        Reader("gz", "rows of a gzip file", "data.csv.gz", _data, seeds.gzipped, _bytes),
        Reader("zip", "rows of a zip file", "data.zip", _data, seeds.zipped, _bytes),
        Reader("xlsx", "rows of a spreadsheet", "data.xlsx", _data, seeds.sheets, _bytes),
        Reader("memory", "texts and labels as Python values", "seed.bin", _values, seeds.numbers,
               lambda rng, data, pool: rng.randbytes(8)),
        Reader("recipe", "a recipe", "recipe.yaml", _recipe, seeds.recipes, _either(mutate.of_yaml)),
        Reader("override", "a field of a recipe on the command line", "override.txt", _override, seeds.overrides,
               _either(mutate.of_yaml)),
        Reader("study", "a study with axes", "study.yaml", _study, seeds.studies, _either(mutate.of_yaml)),
        Reader("space", "a study with a search", "study.yaml", _study, seeds.spaces, _either(mutate.of_yaml)),
        Reader("claims", "published claims", "claims.yaml", _claims, seeds.claims, _either(mutate.of_yaml)),
        Reader("manifest", "the manifest of a run, for its card", "run.bin", _card,
               lambda: seeds.of_run("manifest.json"), _in_file_of_run(mutate.of_json)),
        Reader("metrics", "the metrics of a run, for its card", "run.bin", _card,
               lambda: seeds.of_run("metrics.json"), _in_file_of_run(mutate.of_json)),
        Reader("analysis", "the analysis of a run, for its card", "run.bin", _card, seeds.analyses,
               _in_file_of_run(mutate.of_json)),
        Reader("history", "the history of a run", "run.bin", _card, lambda: seeds.of_run("history.jsonl"),
               _in_file_of_run(_json_lines)),
        Reader("runrecipe", "the recipe in a run", "run.bin", _card, lambda: seeds.of_run("recipe.yaml"),
               _in_file_of_run(mutate.of_yaml)),
        Reader("report", "any JSON file of a run, for page and figures", "run.bin", _report,
               lambda: [*seeds.of_run("metrics.json", "manifest.json", "history.jsonl"), *seeds.analyses()],
               _in_file_of_run(mutate.of_json)),
        Reader("predictions", "saved predictions", "test.parquet", _predictions, seeds.predictions, _bytes),
        Reader("adapterconfig", "the configuration of an adapter", "adapter_config.json", _adapter_config,
               seeds.adapter_configs, _either(mutate.of_json)),
        Reader("adapter", "the tensors of an adapter", "adapter_model.safetensors", _adapter_tensors,
               seeds.tensor_files, _tensors),
        Reader("checkpoint", "the saved state of a training", "state.bin", _checkpoint, seeds.positions,
               _either(mutate.of_json)),
        Reader("cache", "a cached tensor file", "cached.bin", _cache, _cached, _tensors),
        Reader("encoderconfig", "the config.json of an encoder", "config.json", _encoder_config,
               seeds.encoder_configs, _either(mutate.of_json)),
        Reader("tokenizer", "the tokenizer.json of an encoder", "tokenizer.json", _tokenizer, seeds.tokenizers,
               _either(mutate.of_json)),
    )
}  # fmt: skip

"""The run directory: its layout, its manifest, its files; the contract between the rooms, and with users."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submillion.atomic import atomic_file, refused
from submillion.errors import BadInput, Problem
from submillion.sources.store import sha256_of

if TYPE_CHECKING:
    import numpy as np

# What may lie in a run directory that `--overwrite` empties; anything else there is not ours to delete.
CONTENTS = (
    "recipe.yaml",
    "manifest.json",
    "history.jsonl",
    "metrics.json",
    "predictions",
    "analysis",
    "adapter",
    "tokenizer",
    "checkpoint",
    "figures",
    "report.html",
    "README.md",
    "trackers",
)


class RunDir:
    """One run on disk. Every write is atomic: a reader, or a crash, never meets half a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False) -> RunDir:
        """Make a new, empty run directory.

        Raises:
            BadInput: the place is taken and `overwrite` is off, or it holds files that no run wrote.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise BadInput(
                Problem(str(path), "a new or empty directory", "a file", "Name another place with --out.")
            )
        present = sorted(entry.name for entry in run.path.iterdir()) if run.path.is_dir() else []
        if present and not overwrite:
            raise BadInput(
                Problem(
                    str(path),
                    "a new or empty directory",
                    f"one that holds {', '.join(present[:4])}",
                    "Name another place with --out, continue it with `submillion resume`, "
                    "or replace it with --overwrite.",
                )
            )
        foreign = [name for name in present if name not in CONTENTS]
        if foreign:
            raise BadInput(
                Problem(
                    str(path),
                    "a run directory to overwrite",
                    f"files that no run wrote: {', '.join(foreign[:4])}",
                    "Name another place with --out; these files were left as they are.",
                )
            )
        for name in present:
            entry = run.path / name
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Open an existing run; raises BadInput when `path` is not one."""
        run = cls(path)
        if not run.manifest.is_file():
            what = "no such directory" if not run.path.is_dir() else "a directory without manifest.json"
            raise BadInput(
                Problem(
                    str(path), "a run directory", what, "Make one with `submillion train RECIPE --out DIR`."
                )
            )
        return run

    # -- the layout ---------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Path:
        """The recipe as resolved, complete."""
        return self.path / "recipe.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, machine, seed, data fingerprints, encoder hashes, budget, cost, notices."""
        return self.path / "manifest.json"

    @property
    def history(self) -> Path:
        """One JSON line per logged step and per evaluation."""
        return self.path / "history.jsonl"

    @property
    def metrics(self) -> Path:
        """Metrics per split, computed from the saved predictions."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """Folder of one parquet file per split."""
        return self.path / "predictions"

    @property
    def analysis(self) -> Path:
        """Folder of what was found out about the run: `<part>.json`, and the predictions that some parts rest on."""
        return self.path / "analysis"

    @property
    def adapter(self) -> Path:
        """The best adapter in PEFT's format."""
        return self.path / "adapter"

    @property
    def tokenizer(self) -> Path:
        """What predict needs to turn text into tokens without asking a hub."""
        return self.path / "tokenizer"

    @property
    def checkpoint(self) -> Path:
        """Latest and best state of the training."""
        return self.path / "checkpoint"

    @property
    def figures(self) -> Path:
        """Figures as svg and png."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.path / "report.html"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    @property
    def trackers(self) -> Path:
        """Files of experiment trackers that log to disk."""
        return self.path / "trackers"

    # -- reading and writing ------------------------------------------------------------------------------

    def write_text(self, file: Path, text: str) -> None:
        """Write `text` to `file` (utf-8) atomically."""
        with atomic_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")

    def write_json(self, file: Path, value: Any) -> None:
        """Write `value` as indented JSON, keys in the order given; NaN is refused, it is not JSON."""
        self.write_text(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; raises BadInput when it cannot be read."""
        return self.read_json(self.manifest)

    def update_manifest(self, **facts: Any) -> None:
        """Set top-level facts of the manifest, keeping the others."""
        manifest = self.read_manifest() if self.manifest.is_file() else {}
        self.write_json(self.manifest, manifest | facts)

    def read_json(self, file: Path) -> dict[str, Any]:
        """Return a JSON file of the run; raises BadInput when it is missing or broken."""
        try:
            value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(
                Problem(str(file), "a readable JSON file of a run", str(error), "Was the run interrupted?")
            ) from error
        return value

    def append_history(self, record: dict[str, Any]) -> None:
        """Append one line to the history.

        Raises:
            SubmillionError: the disk refused the write.
        """
        line = json.dumps(record, ensure_ascii=False) + "\n"
        try:
            with self.history.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            raise refused(self.history, error) from error

    def read_history(self) -> list[dict[str, Any]]:
        """Return the history's records in order; a run that never logged has none.

        A last line without its end was cut off by a crash and is no record.
        """
        return [json.loads(line) for line in self._history_lines()]

    def truncate_history(self, records: int) -> None:
        """Keep the first `records` lines: what a resumed run will log again must not stand twice."""
        self.write_text(self.history, "".join(line + "\n" for line in self._history_lines()[:records]))

    def _history_lines(self) -> list[str]:
        if not self.history.is_file():
            return []
        return self.history.read_text(encoding="utf-8").split("\n")[:-1]

    def analysis_file(self, part: str) -> Path:
        """Where one part of the analysis lies."""
        return self.analysis / f"{part}.json"

    def write_analysis(self, part: str, found: dict[str, Any]) -> None:
        """Keep what one part of the analysis found."""
        self.write_json(self.analysis_file(part), found)

    def read_analysis(self, part: str) -> dict[str, Any] | None:
        """Return what one part of the analysis found, None where it has not been made."""
        file = self.analysis_file(part)
        return self.read_json(file) if file.is_file() else None

    def hashes(self, *places: Path) -> dict[str, str]:
        """Return the sha256 of files by their path in the run, `/` between its parts, in order of the paths.

        Args:
            places: files and folders of the run; a folder stands for all files below it but hidden ones,
                one that is absent for none. No place at all stands for everything that `seal` records.
        """
        found: dict[str, str] = {}
        for place in places or self._sealed:
            below = place.rglob("*") if place.is_dir() else [place]
            for file in below:
                name = file.relative_to(self.path).as_posix()
                if file.is_file() and not any(part.startswith(".") for part in name.split("/")):
                    found[name] = sha256_of(file)
        return dict(sorted(found.items()))

    def seal(self, *places: Path) -> None:
        """Record in the manifest the sha256 of what was just written, for `submillion verify`.

        `files` has those of recipe, history, predictions, adapter and tokenizer, `analysis_files` those below
        `analysis`. Metrics, figures, card and page are in neither: they follow from those files. Hashes of
        other places than the given ones stay as they are, so that what was damaged since is not sworn to anew.

        Args:
            places: as in `hashes`.
        """
        manifest, written = self.read_manifest(), places or self._sealed
        now = self.hashes(*written)
        renewed = tuple(place.relative_to(self.path).as_posix() for place in written)
        for entry, of_analysis in (("files", False), ("analysis_files", True)):
            kept = {
                name: sha
                for name, sha in manifest.get(entry, {}).items()
                if not any(name == place or name.startswith(f"{place}/") for place in renewed)
            }
            new = {
                name: sha
                for name, sha in now.items()
                if name.startswith(f"{self.analysis.name}/") == of_analysis
            }
            manifest[entry] = dict(sorted((kept | new).items()))
        self.write_json(self.manifest, manifest)

    @property
    def _sealed(self) -> tuple[Path, ...]:
        return (self.recipe, self.history, self.predictions, self.adapter, self.tokenizer, self.analysis)

    def prediction_file(self, split: str, rival: str | None = None) -> Path:
        """Where the predictions of one named split lie: the run's own, or those of a rival such as `linear`."""
        folder = self.predictions if rival is None else self.analysis / "rivals" / rival
        return folder / f"{split}.parquet"

    def prediction_splits(self) -> list[str]:
        """Names of the splits with saved predictions: validation and test first, others by name."""
        names = sorted(file.stem for file in self.predictions.glob("*.parquet"))
        first = [name for name in ("validation", "test") if name in names]
        return first + [name for name in names if name not in first]

    def save_predictions(
        self,
        split: str,
        ids: Sequence[str],
        text_sha256: Sequence[str],
        labels: Sequence[int] | None,
        probabilities: np.ndarray,
        label_names: Sequence[str],
        rival: str | None = None,
    ) -> None:
        """Save one split's predictions: id, text_sha256, label, predicted, and p_<class> for every class.

        Args:
            rival: name of another classifier, or of other texts, whose predictions the analysis keeps.
            labels: class index per row [N], or None for unlabelled rows.
            probabilities: float32 [N, C]; stored as they are, metrics are computed from the file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        # The predicted class is the most probable one as stored, ties included.
        probabilities = probabilities.astype("float32")
        predicted = probabilities.argmax(axis=1)
        columns: dict[str, Any] = {
            "id": pa.array(list(ids), pa.string()),
            "text_sha256": pa.array(list(text_sha256), pa.string()),
            "label": pa.array([None] * len(ids) if labels is None else list(labels), pa.int32()),
            "predicted": pa.array(predicted, pa.int32()),
        }
        for index, name in enumerate(label_names):
            columns[f"p_{name}"] = pa.array(probabilities[:, index])
        with atomic_file(self.prediction_file(split, rival)) as temporary:
            pq.write_table(pa.table(columns), temporary)

    def load_predictions(self, split: str, rival: str | None = None) -> dict[str, Any]:
        """Return one split's predictions: the run's own, or those of a rival.

        Returns:
            `ids` and `text_sha256` (lists), `labels` (int array [N] or None), `predicted` (int array [N]),
            `probabilities` (float32 [N, C]) and `label_names` (list of C names).
        """
        import numpy as np
        import pyarrow.parquet as pq

        file = self.prediction_file(split, rival)
        if not file.is_file():
            raise BadInput(
                Problem(str(file), f"saved predictions of '{split}'", "no such file", "Was the run finished?")
            )
        table = pq.read_table(file)
        names = [name for name in table.column_names if name.startswith("p_")]
        labelled = table["label"].null_count == 0
        return {
            "ids": table["id"].to_pylist(),
            "text_sha256": table["text_sha256"].to_pylist(),
            "labels": table["label"].to_numpy() if labelled else None,
            "predicted": table["predicted"].to_numpy(),
            "probabilities": np.stack([table[name].to_numpy() for name in names], axis=1),
            "label_names": [name.removeprefix("p_") for name in names],
        }

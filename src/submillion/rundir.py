"""The run directory: its layout and its files, which are the contract between the rooms and with users."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from submillion import adopted_recipe, run_paths, run_place
from submillion.cache import sha256_of
from submillion.errors import BadInput, Problem
from submillion.files import strict_json
from submillion.files.atomic import atomic_file, refused, write_json
from submillion.files.desktop import DESKTOP_FILES
from submillion.recipe import Recipe
from submillion.run_format.export import EXPORT
from submillion.run_format.history import HistoryRecord
from submillion.run_format.kinds import KINDS, PARTIAL
from submillion.run_format.manifest import FORMAT, Manifest
from submillion.run_format.metrics import Metrics
from submillion.run_format.predictions import Predictions
from submillion.run_format.splits import SCORED_SPLITS
from submillion.run_format.typed import check
from submillion.run_layout import DAMAGED, FINISH, RunLayout


class RunDir(RunLayout):
    """One run on disk. Every write is atomic: neither a reader nor a crash can leave half a file."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._sources: list[str] | None = None  # of the recipe; read when first needed

    @classmethod
    def create(cls, path: str | Path) -> RunDir:
        """Make a new, empty run directory.

        Raises:
            BadInput: the directory is not empty, or cannot be written to.
        """
        run = cls(path)
        run_place.check(run.path, overwrite=False)
        run.path.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Open an existing run; raises BadInput if `path` is not one."""
        run = cls(path)
        if not run.manifest.is_file():
            what, remedy = "a directory without manifest.json", "Make one with `train`."
            if run.path.is_file():
                what, remedy = "a file", "Name the directory that `train` has made."
            elif not run.path.is_dir():
                what = "no such directory"
            elif (run.path / EXPORT).is_file():
                what, remedy = "an export", "Name the run that it was made from."
            elif run_place.is_replacing(run.path):
                what, remedy = "a run that was about to be replaced", "Bring it back with `resume`."
            raise BadInput(Problem(str(path), "a run directory", what, remedy))
        return run

    def check_new(self, overwrite: bool, sources: Iterable[str] = ()) -> None:
        """Refuse a place where no run can be made; see `run_place.check`."""
        run_place.check(self.path, overwrite, sources)

    def new(self, overwrite: bool, here: bool = True) -> AbstractContextManager[None]:
        """Hold the empty directory of a new run for the block; see `run_place.new_run`.

        Args:
            overwrite: replace a run that is there.
            here: False does nothing, because another process of this run does it.
        """
        return run_place.new_run(self.path, overwrite) if here else nullcontext()

    def locked(self, here: bool = True, wait: bool = False) -> AbstractContextManager[None]:
        """Hold the lock of this run for the block; every command that writes into a run holds it.

        Args:
            here: False does nothing, because another process of this run holds it.
            wait: for another process that holds it, in place of an error.

        Raises:
            BadInput: this is not a run, it cannot be written to, or another process holds the lock.
        """
        if not here:
            return nullcontext()
        if not (self.path.is_dir() and run_place.is_replacing(self.path)):
            RunDir.open(self.path)
        return run_place.held(self.path, wait)

    def is_locked(self) -> bool:
        """Return whether another process is working on this run; changes nothing."""
        return run_place.is_locked(self.path)

    def write_text(self, file: Path, text: str) -> None:
        """Write `text` to `file` (utf-8) atomically."""
        with atomic_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")

    def write_json(self, file: Path, value: Any) -> None:
        """Write `value` as indented JSON, keys in the order given; NaN is refused, it is not JSON."""
        write_json(file, value)

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            BadInput: it cannot be read, or the run has another format than this version writes.
        """
        manifest = RunDir.open(self.path).read_json(self.manifest)
        if (version := manifest.get("format", 1)) != FORMAT:
            raise BadInput(
                Problem(
                    str(self.path),
                    f"a run of format {FORMAT}",
                    f"format {version}, written by submillion {manifest.get('submillion', '(unknown version)')}",
                    f"Train it again from {self.recipe}, or open it with the version that wrote it.",
                )
            )
        return cast(Manifest, manifest)

    def check_trained(self) -> None:
        """Refuse a run whose training has not ended; raises BadInput."""
        if self.read_manifest().get("status") == "running":
            found = "one that is still training or was killed"
            remedy = "Finish it with `resume`."
            raise BadInput(Problem(str(self.path), "a run whose training has ended", found, remedy))

    def read_recipe(self) -> Recipe:
        """Return the recipe that the run was trained with; of an adopted run, the one by which it predicts.

        Raises:
            BadInput: there is none, or a field of it is unknown or has a bad value.
        """
        if not self.recipe.is_file():
            if self.is_adopted:
                return adopted_recipe.recipe_of(self.read_manifest(), self.path)
            raise BadInput(
                Problem(str(self.recipe), "the recipe of a run", "no such file", "Train the run again.")
            )
        return Recipe.load(self.recipe)

    @property
    def is_adopted(self) -> bool:
        """Whether another program trained the adapter of this run, so that nothing is known of its training."""
        return self.manifest.is_file() and "adopted" in self.read_manifest()

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe, complete; files beside the run are named relative to it, so that both can be moved."""
        self._sources = recipe.absolute_sources()
        self.write_text(self.recipe, recipe.with_sources(self.relative).to_yaml())

    def relative(self, value: Any) -> Any:
        """Return a JSON value in which the paths of the recipe's data and encoder are relative to the run."""
        if self._sources is None:
            known = self.recipe.is_file() or self.is_adopted
            self._sources = self.read_recipe().absolute_sources() if known else []
        return run_paths.relative(value, self._sources, self.path)

    def copy_to(self, folder: Path) -> RunDir:
        """Copy the run into an existing folder, with the files that it names beside itself still found from there.

        Locks and other hidden files stay behind. Card and page name these files, and are to be written again.

        Returns:
            The copy.
        """
        shutil.copytree(self.path, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
        recipe, manifest, place = self.read_recipe(), self.read_manifest(), self.path.resolve()
        evaluated = [entry["file"] for entry in manifest.get("evaluations", {}).values() if entry["file"]]
        sources = [*recipe.absolute_sources(), *map(self.located, evaluated)]

        def copied(source: str) -> str:
            inside = Path(source).is_relative_to(place)
            return str(folder.resolve() / Path(source).relative_to(place)) if inside else source

        copy = RunDir(folder)
        copy.write_recipe(recipe.with_sources(copied))
        copy.write_json(copy.manifest, run_paths.moved(manifest, sources, place, folder))
        copy.seal(copy.recipe)
        return copy

    def located(self, source: str) -> str:
        """Return a source that the run names, with a path relative to the run made absolute."""
        return run_paths.located(source, self.path)

    def read_metrics(self) -> Metrics:
        """Return the metrics of every scored split; none before the run is scored."""
        if self.metrics.is_file():
            return cast(Metrics, self.read_json(self.metrics))
        RunDir.open(self.path)
        return {}

    def update_manifest(self, **facts: Any) -> None:
        """Set top-level facts of the manifest, keeping the others."""
        manifest = dict(self.read_manifest()) if self.manifest.is_file() else {"format": FORMAT}
        self.write_json(self.manifest, manifest | self.relative(facts))

    def begin(self, task: str, **facts: Any) -> None:
        """Record that a command has begun to change this finished run; `end` follows when its files agree again."""
        self.update_manifest(unfinished={"task": task, **facts})

    def end(self, **facts: Any) -> None:
        """Set facts of the manifest, and record that nothing is unfinished; the last write of every command."""
        manifest = {name: value for name, value in self.read_manifest().items() if name != "unfinished"}
        self.write_json(self.manifest, manifest | self.relative(facts))

    def read_json(self, file: Path) -> dict[str, Any]:
        """Return a JSON file of the run.

        Raises:
            BadInput: it is missing or broken, or its values are not of the types that such a file has.
        """
        name, remedy = self.in_run(file), DAMAGED if file.exists() else FINISH
        if file.parent == self.analysis:
            remedy = (
                f"Delete the file, then make it again: `submillion report {self.path} --with {file.stem}`."
            )
        value: dict[str, Any] = strict_json.read(file, "a JSON file of a run", remedy)
        check(value, KINDS.get(name, dict[str, Any]), str(file), remedy, partial=name in PARTIAL)
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
        """Return the history's records in order; none if the run never logged.

        A last line without a newline was cut off by a crash and is left out.

        Raises:
            BadInput: a line is not JSON, or its values are not of the types that such a line has.
        """
        records = []
        for number, line in enumerate(self.history_lines(), start=1):
            where = f"{self.history}, line {number}"
            record = strict_json.parse(line, where)
            check(record, HistoryRecord, where)
            records.append(record)
        return records

    def truncate_history(self, records: int) -> None:
        """Keep the first `records` lines: a resumed run logs the others again."""
        self.write_text(self.history, "".join(line + "\n" for line in self.history_lines()[:records]))

    def history_lines(self) -> list[str]:
        """Return the complete lines of the history."""
        if not self.history.is_file():
            return []
        return strict_json.read_text(self.history, "the history of a run").split("\n")[:-1]

    def write_analysis(self, part: str, result: dict[str, Any]) -> None:
        """Save the result of one part of the analysis."""
        self.write_json(self.analysis_file(part), result)

    def read_analysis(self, part: str) -> dict[str, Any] | None:
        """Return the result of one part of the analysis, or None if it has not been made."""
        file = self.analysis_file(part)
        return self.read_json(file) if file.is_file() else None

    def hashes(self, *places: Path) -> dict[str, str]:
        """Return the sha256 of files by their path in the run, `/` between its parts, in order of the paths.

        Args:
            places: files and folders of the run; a folder means all files below it except hidden ones and those that
                a desktop writes. Without places: everything that `seal` records.
        """
        hashes: dict[str, str] = {}
        for place in places or self._sealed:
            below = place.rglob("*") if place.is_dir() else [place]
            for file in below:
                name = self.in_run(file)
                hidden = file.name in DESKTOP_FILES or any(part.startswith(".") for part in name.split("/"))
                if file.is_file() and not hidden:
                    hashes[name] = sha256_of(file)
        return dict(sorted(hashes.items()))

    def seal(self, *places: Path) -> None:
        """Record in the manifest the sha256 of the files just written, for `verify`.

        `files` covers recipe, history, predictions, adapter and tokenizer; `analysis_files` covers `analysis`.
        Metrics, figures, card and page are in neither: they are computed from those files. Hashes outside
        `places` are kept, so later damage is not re-certified.

        Args:
            places: as in `hashes`.
        """
        manifest, written = dict(self.read_manifest()), places or self._sealed
        now = self.hashes(*written)
        replaced = tuple(map(self.in_run, written))
        for entry, of_analysis in (("files", False), ("analysis_files", True)):
            recorded: dict[str, str] = cast(dict[str, str], manifest.get(entry, {}))
            unchanged = {
                name: sha
                for name, sha in recorded.items()
                if not any(name == place or name.startswith(f"{place}/") for place in replaced)
            }
            new = {
                name: sha
                for name, sha in now.items()
                if name.startswith(f"{self.analysis.name}/") == of_analysis
            }
            manifest[entry] = dict(sorted((unchanged | new).items()))
        self.write_json(self.manifest, manifest)

    @property
    def _sealed(self) -> tuple[Path, ...]:
        return (self.recipe, self.history, self.predictions, self.adapter, self.tokenizer, self.analysis)

    def prediction_splits(self) -> list[str]:
        """Names of the splits with saved predictions: validation and test first, others by name."""
        names = sorted(file.stem for file in self.predictions.glob("*.parquet"))
        first = [name for name in SCORED_SPLITS if name in names]
        return first + [name for name in names if name not in first]

    def save_predictions(self, split: str, predictions: Predictions, baseline: str | None = None) -> None:
        """Save one split's predictions: the run's own, or those of a baseline."""
        predictions.write(self.prediction_file(split, baseline))

    def load_predictions(self, split: str, baseline: str | None = None) -> Predictions:
        """Return one split's predictions: the run's own, or those of a baseline.

        Raises:
            BadInput: none were saved.
        """
        file = self.prediction_file(split, baseline)
        if self.is_adopted and not file.is_file():
            found = "an adopted one that was not evaluated"
            remedy = "Adopt it again with labelled texts: `submillion adopt ADAPTER --out RUN --data FILE`."
            raise BadInput(Problem(str(file), f"a run with predictions of '{split}'", found, remedy))
        return Predictions.read(file)

"""The layout of a run directory: where each of its files is."""

from __future__ import annotations

from pathlib import Path

RECIPE, MANIFEST = "recipe.yaml", "manifest.json"
"""Names of the files that make a directory a run."""
FINISH = "Finish the run with `resume`."
"""The remedy for a file that an interrupted run lacks."""
DAMAGED = "Restore it from a copy of the run, or train again."
"""The remedy for a file that submillion has not written as it is."""

CONTENTS = (
    RECIPE,
    "data",
    MANIFEST,
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
"""What a run may hold. Replacing a run moves these aside; a directory that holds anything else is refused."""


class RunLayout:
    """The paths of one run, whether or not the files exist."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def recipe(self) -> Path:
        """The recipe as resolved, complete."""
        return self.path / RECIPE

    @property
    def training_rows(self) -> Path:
        """The training rows, if they were passed from memory."""
        return self.path / "data" / "train.parquet"

    def corrections(self, name: str) -> Path:
        """Return the run's copy of its file of corrected labels."""
        return self.path / "data" / "corrections" / name

    @property
    def manifest(self) -> Path:
        """Versions, machine, seed, data fingerprints, encoder hashes, budget, cost, notices."""
        return self.path / MANIFEST

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
        """Folder of the analysis: `<part>.json`, and the predictions that some parts are computed from."""
        return self.path / "analysis"

    @property
    def adapter(self) -> Path:
        """The best adapter in PEFT's format."""
        return self.path / "adapter"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, so that predicting asks no hub."""
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

    def prediction_file(self, split: str, baseline: str | None = None) -> Path:
        """Return the file of one split's predictions: the run's own, or those of a baseline such as `words`."""
        folder = self.predictions if baseline is None else self.analysis / "baselines" / baseline
        return folder / f"{split}.parquet"

    def analysis_file(self, part: str) -> Path:
        """Return the file of one part of the analysis."""
        return self.analysis / f"{part}.json"

    def in_run(self, file: Path) -> str:
        """Return the path of a file relative to the run, with `/` between its parts."""
        return file.relative_to(self.path).as_posix()

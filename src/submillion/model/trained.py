"""Opens a finished run for use: the same encoder, proven by its hash, the run's adapter and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.data.tokens import load_tokenizer
from submillion.errors import BadInput, Problem
from submillion.model.classifier import Classifier, open_adapter
from submillion.model.execution.reference import Execution, open_execution
from submillion.model.precision import Precision, choose, training_device
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, fetch_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WEIGHT_SUFFIXES = (".safetensors", ".bin")
UNFINISHED = "Finish the run with `submillion resume`, or train it again."


@dataclass(frozen=True)
class OpenedRun:
    """What predicting with a run takes; C = len(labels)."""

    classifier: Classifier
    """The trained classifier, on the accelerator if there is one; logits [B, C], column i is labels[i]."""
    tokenizer: PreTrainedTokenizerFast
    """The tokenizer saved in the run, never one fetched anew."""
    labels: list[str]
    """Class names by index."""
    max_length: int
    """Longest input in tokens, special tokens counted; longer texts are cut there, as in training."""
    precision: Precision
    """The recipe's precision as this machine can execute it."""
    execution: Execution
    """The recipe's execution, the same way."""


def open_run_classifier(run: RunDir) -> OpenedRun:
    """Rebuild the classifier that a run trained, from the run directory and its encoder.

    Raises:
        BadInput: the run is unfinished or unreadable, or its encoder is gone or is not the same any more.
    """
    manifest = run.read_manifest()
    recorded = _entry(run, manifest, "encoder")
    labels = [str(name) for name in _entry(run, manifest, "labels")]
    recipe = run_recipe(run)
    for part in (run.adapter, run.tokenizer):
        if not part.is_dir():
            raise BadInput(Problem(str(part), "a part of every finished run", "nothing there", UNFINISHED))
    tokenizer = load_tokenizer(run.tokenizer)
    fetched = fetch_encoder(recorded["source"], recorded.get("revision"))
    check_same_weights(run, recorded["sha256"], fetched)
    classifier = open_adapter(fetched.path, run.adapter, labels).to(training_device())
    precision = choose(recipe.train.precision)
    execution = open_execution(classifier, precision, recipe.train.execution, merged=True)
    return OpenedRun(classifier, tokenizer, labels, recipe.data.max_length, precision, execution)


def run_recipe(run: RunDir) -> Recipe:
    """Return the recipe that a run was trained with.

    Raises:
        BadInput: it is not there or not readable.
    """
    if not run.recipe.is_file():
        raise BadInput(Problem(str(run.recipe), "the recipe of a run", "no such file", UNFINISHED))
    return Recipe.load(run.recipe)


def text_columns(run: RunDir) -> str | list[str] | None:
    """Return the text columns that the run's recipe names, and say so; None: they are found by usual names."""
    columns = run_recipe(run).data.text
    if columns:
        names = columns if isinstance(columns, str) else " and ".join(columns)
        notices.emit("text_column", f"texts are read from {names}, as in training; --text names others.")
    return columns


def check_same_weights(run: RunDir, recorded: dict[str, str], fetched: FetchedEncoder) -> None:
    """Refuse an encoder whose weights differ from those that the adapter was trained on.

    Args:
        recorded: sha256 by file name, as the manifest has it.

    Raises:
        BadInput: a weight file is missing, new or has other bytes; all such files are named.
    """
    before = {name: sha for name, sha in recorded.items() if name.endswith(WEIGHT_SUFFIXES)}
    now = {name: sha for name, sha in fetched.sha256.items() if name.endswith(WEIGHT_SUFFIXES)}
    if before == now:
        return
    differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    absent = "none: no such file"
    raise BadInput(
        [
            Problem(
                f"{fetched.path / name}",
                f"the weights that {run.path} was trained on (sha256 {before.get(name, absent)})",
                f"sha256 {now.get(name, absent)}",
                "An adapter gives other answers on other weights: name the same encoder, or train again.",
            )
            for name in differing
        ]
    )


def _entry(run: RunDir, manifest: dict[str, Any], key: str) -> Any:
    if key not in manifest:
        raise BadInput(Problem(str(run.manifest), f"an entry '{key}'", "none", UNFINISHED))
    return manifest[key]

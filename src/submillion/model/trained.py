"""Opens a finished run for inference: its adapter and tokenizer on the encoder whose hash the run recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput, Problem
from submillion.model.build import open_adapter
from submillion.model.execution.choose import choose_execution
from submillion.model.execution.windowed import Windowed
from submillion.model.infer import predict_probabilities
from submillion.model.precision import choose_precision, training_device
from submillion.sources.fetch import FetchedEncoder, fetch_encoder

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

    from submillion.model.classifier import Classifier
    from submillion.model.protocol import Execution
    from submillion.recipe import Recipe
    from submillion.rundir import RunDir
    from submillion.terminal.progress import ProgressOption

WEIGHT_SUFFIXES = (".safetensors", ".bin")
UNFINISHED = "Finish the run with `resume`, or train it again."


@dataclass(frozen=True)
class OpenedRun:
    """Classifier and tokenizer of a run, ready for inference; C = len(labels)."""

    execution: Execution
    """The recipe's execution, or the one that this machine supports; logits [B, C], column i is labels[i]."""
    tokenizer: PreTrainedTokenizerFast
    """The tokenizer saved in the run, never a newly fetched one."""
    labels: list[str]
    """Class names by index."""
    truncation: Truncation
    """The longest input, and which tokens of a longer text are read, as in training."""
    _lock: Any = field(default_factory=threading.RLock, repr=False, compare=False)

    @property
    def classifier(self) -> Classifier:
        """The trained classifier, on the accelerator if the machine has one."""
        return self.execution.classifier

    def on(self, execution: Execution) -> OpenedRun:
        """Return this run on another execution of its classifier, by windows if it reads its texts so."""
        return replace(self, execution=_by_windows(execution, self.truncation), _lock=threading.RLock())

    def probabilities(
        self, texts: Sequence[str], batch_size: int, progress: ProgressOption = False
    ) -> np.ndarray:
        """Return the class probabilities of texts, float32 [N, C].

        Calls from several threads run one after the other. The kernels hold one batch, and a tokenizer that is
        configured in one thread while it encodes in another raises "Already borrowed"
        (https://github.com/huggingface/transformers/issues/47085).

        Args:
            texts: N texts.
            batch_size: texts per forward pass.
            progress: True shows a bar on stderr; a callable receives the rows done since its last call.
        """
        with self._lock:
            tokens = encode(self.tokenizer, list(texts), self.truncation)
            return predict_probabilities(self.execution, tokens, batch_size, progress)


ExecutionOf = Callable[["Classifier", "Recipe"], "Execution"]
"""Returns the execution of a run's classifier, given the run's recipe."""


def open_run_classifier(
    run: RunDir, merged: bool = True, execution_of: ExecutionOf | None = None
) -> OpenedRun:
    """Rebuild the classifier that a run trained, from the run directory and its encoder, as it was evaluated.

    New texts are answered by the run that `inference.open_for_answers` opens.

    Args:
        run: the run.
        merged: merge the adapters into the frozen weights, which is faster; False runs them beside, as training does.
        execution_of: how to run the classifier; None does as the recipe says.

    Raises:
        BadInput: the run is unfinished or unreadable, or its encoder is missing or has changed.
    """
    manifest = run.read_manifest()
    recorded = _entry(run, manifest, "encoder")
    labels = [str(name) for name in _entry(run, manifest, "labels")]
    recipe = run.read_recipe()
    for part in (run.adapter, run.tokenizer):
        if not part.is_dir():
            raise BadInput(Problem(str(part), "a folder of every finished run", "no such folder", UNFINISHED))
    tokenizer = load_tokenizer(run.tokenizer)
    fetched = fetch_encoder(run.located(recorded["source"]), recorded.get("revision"))
    check_same_weights(run, recorded["sha256"], fetched)
    classifier = open_adapter(fetched.path, run.adapter, labels).to(training_device())
    if recipe.data.max_length > classifier.longest:
        expected = (
            f"data.max_length of at most the {classifier.longest} tokens that the encoder has positions for"
        )
        raise BadInput(Problem(str(run.recipe), expected, str(recipe.data.max_length), UNFINISHED))
    if execution_of is None:
        precision = choose_precision(recipe.train.precision)
        execution = choose_execution(classifier, precision, recipe.train.execution, merged=merged)
    else:
        execution = execution_of(classifier, recipe)
    truncation = Truncation.of(recipe.data)
    return OpenedRun(_by_windows(execution, truncation), tokenizer, labels, truncation)


def _by_windows(execution: Execution, truncation: Truncation) -> Execution:
    return Windowed(execution) if truncation.windows == "all" else execution


def text_columns(run: RunDir) -> str | list[str] | None:
    """Return the text columns that the run's recipe names, after a notice; None if it names none."""
    columns = run.read_recipe().data.text
    if columns:
        names = columns if isinstance(columns, str) else " and ".join(columns)
        notices.emit("text_column", f"texts are read from {names}, as in training.")
    return columns


def check_same_weights(run: RunDir, recorded: dict[str, str], fetched: FetchedEncoder) -> None:
    """Reject an encoder whose weights differ from those that the adapter was trained on.

    Those of a download are hashed in full only inside `store.hashed_in_full`, which says what is compared elsewhere.

    Args:
        run: the run, for messages.
        recorded: sha256 by file name, from the manifest.
        fetched: the encoder as it is now.

    Raises:
        BadInput: a weight file is missing, new or has other bytes; the error lists all such files.
    """
    before = {name: sha for name, sha in recorded.items() if name.endswith(WEIGHT_SUFFIXES)}
    now = {name: sha for name, sha in fetched.sha256.items() if name.endswith(WEIGHT_SUFFIXES)}
    if before == now:
        return
    differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    absent = "no such file"
    raise BadInput(
        [
            Problem(
                f"{fetched.path / name}",
                f"the weights that {run.path} was trained on (sha256 {before.get(name, absent)})",
                f"sha256 {now.get(name, absent)}",
                "On other weights the adapter gives other predictions: use the same encoder, or train again.",
            )
            for name in differing
        ]
    )


def _entry(run: RunDir, manifest: Mapping[str, object], key: str) -> Any:
    if key not in manifest:
        raise BadInput(Problem(str(run.manifest), f"an entry '{key}'", "no such entry", UNFINISHED))
    return manifest[key]

"""A run under verification: recipe, data, tokens and encoder, each read once and independently of its figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from submillion import environment, notices
from submillion.assess.run_context import RunContext
from submillion.data.corpus import Corpus, Split, load_corpus, read_labelled
from submillion.data.labels import Classes
from submillion.data.token_report import token_report
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import Tokens, encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from submillion.families.families import family_of
from submillion.families.family import Family
from submillion.model.trained import OpenedRun, open_run_classifier
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, encoder_config, fetch_encoder
from submillion.sources.text_files import content_sha256
from submillion.verification.run.retraining import Retrained, differing_arithmetic, train_again

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Options:
    """How thoroughly a run is verified."""

    rows: int | None = None
    """Rows of each split to predict again: 0 predicts none; None predicts all of them where that is quick."""
    full: bool = False
    """Predict every row again."""
    retrain: bool = False
    """Train the recipe again."""
    seed: int = 0
    """Seed of the rows that are predicted again."""
    progress: bool = False
    """Show progress bars on standard error."""


class Case:
    """A run and what its checks need; nothing is taken from the run's own figures."""

    def __init__(self, run: RunDir, scratch: Path, options: Options) -> None:
        """Prepare; everything is read when it is first needed.

        Args:
            run: the run.
            scratch: a temporary directory for copies of the run; the run itself is never written to.
            options: how thorough the checks are.
        """
        self.run, self.scratch, self.options = run, scratch, options

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest, which most checks compare with recomputed values; any entry may be missing."""
        return cast(dict[str, Any], self.run.read_manifest())

    @cached_property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.run.read_recipe()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config.json of the recipe's encoder."""
        return encoder_config(self.recipe.encoder.source, self.recipe.encoder.revision)

    @cached_property
    def family(self) -> Family:
        """The family of the recipe's encoder, with the names of the model that the adapter is for."""
        family = family_of(self.config)
        return family.alone() if self.recipe.head.pooling == "mean" else family

    @cached_property
    def encoder(self) -> FetchedEncoder:
        """The recipe's encoder, at the revision that the run recorded."""
        revision = self.manifest["encoder"].get("revision") or self.recipe.encoder.revision
        return fetch_encoder(self.recipe.encoder.source, revision, progress=self.options.progress)

    @cached_property
    def corpus(self) -> Corpus:
        """The recipe's data, read again.

        Raises:
            BadInput: it can no longer be read.
        """
        return self._read_data[0]

    @cached_property
    def data_notices(self) -> list[dict[str, Any]]:
        """The notices that reading and tokenizing the recipe's data give."""
        with notices.collecting(quiet=True):
            self.count_tokens()
            return [*self._read_data[1], *notices.collected()]

    def count_tokens(self) -> dict[str, dict[str, Any]]:
        """Return the token counts of every split, with their notices."""
        texts = {name: split.texts for name, split in self.splits.items()}
        return token_report(self.tokenizer, self.tokens, texts, Truncation.of(self.recipe.data))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The run's tokenizer."""
        return load_tokenizer(self.run.tokenizer)

    @cached_property
    def _read_data(self) -> tuple[Corpus, list[dict[str, Any]]]:
        with notices.collecting(quiet=True):
            corpus = load_corpus(self.recipe.data, self.recipe.seed, progress=self.options.progress)
            return corpus, notices.collected()

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits of the corpus by name; none of an adopted run, whose training is unknown."""
        if self.run.is_adopted:
            return {}
        return {split.name: split for split in self.corpus.splits}

    @cached_property
    def tokens(self) -> dict[str, Tokens]:
        """Each split's texts, tokenized again with the run's tokenizer; no cache is used."""
        truncation = Truncation.of(self.recipe.data)
        return {
            name: encode(self.tokenizer, split.texts, truncation, self.options.progress)
            for name, split in self.splits.items()
        }

    @cached_property
    def evaluated(self) -> dict[str, Split]:
        """The splits that `evaluate` added, by name, whose file is present and unchanged."""
        found = {}
        for name, entry in self.manifest.get("evaluations", {}).items():
            file = Path(self.run.located(entry["file"])) if entry.get("file") else None
            if file is not None and file.exists() and content_sha256(file) == entry["sha256"]:
                with notices.suppressed():
                    found[name] = read_labelled(
                        file,
                        Classes.of_run(self.manifest),
                        name,
                        entry.get("text"),
                        entry.get("label"),
                        self.recipe.data.encoding,
                    )
        return found

    @cached_property
    def label_names(self) -> list[str]:
        """Class names by index, as the data gives them; of an adopted run, as its manifest does."""
        if self.run.is_adopted:
            return [str(name) for name in self.manifest["labels"]]
        return self.corpus.label_names

    @cached_property
    def known_splits(self) -> dict[str, Split]:
        """The splits whose texts are known: those of the recipe's data that are predicted, and evaluated files."""
        own = {name: split for name, split in self.splits.items() if name != "train"}
        return self.evaluated | own

    @cached_property
    def tokens_of_predictions(self) -> dict[str, Tokens]:
        """The tokens of `known_splits`, by name."""
        tokens = {name: self.tokens[name] for name in self.known_splits if name in self.tokens}
        tokenizer, truncation = load_tokenizer(self.run.tokenizer), Truncation.of(self.recipe.data)
        for name in self.evaluated.keys() - tokens.keys():
            tokens[name] = encode(tokenizer, self.evaluated[name].texts, truncation, self.options.progress)
        return tokens

    @cached_property
    def as_trained(self) -> OpenedRun:
        """The run's classifier, its adapters run beside the frozen weights as in training."""
        return open_run_classifier(self.run, merged=False)

    @cached_property
    def other_arithmetic(self) -> list[str]:
        """The facts of this machine and of the recorded one that differ and on which last bits depend."""
        execution = self.as_trained.execution
        kept = {name: self.how.get(name) for name in ("prefix_cached", "processes")}
        here = {
            "machine": environment.machine() | {"threads": self.manifest["machine"].get("threads")},
            "versions": environment.versions(),
            "training": kept | {"execution": execution.name, "precision": execution.precision.dtype_name},
        }
        return differing_arithmetic(self.manifest | {"training": self.how}, here)

    @property
    def how(self) -> dict[str, Any]:
        """The execution and the number format of the predictions: those of the training, or of the adoption."""
        recorded: dict[str, Any] = self.manifest["adopted" if self.run.is_adopted else "training"]
        return recorded

    @cached_property
    def retrained(self) -> Retrained:
        """The run, trained again in a temporary directory.

        Raises:
            SubmillionError: it cannot be trained on this machine.
        """
        return train_again(self.run, self.manifest, self.recipe, self.scratch, self.options.progress)

    @cached_property
    def context(self) -> RunContext:
        """The run as an analysis reads it. If the data changed, the context refuses to give texts."""
        return self.context_of(self.run)

    def context_of(self, run: RunDir) -> RunContext:
        """Return a run with the recipe's data, for an analysis; the run itself, or a copy of it."""
        if run.is_adopted:
            return RunContext(run, progress=self.options.progress)
        recorded = self.manifest["data"]["splits"]
        try:
            corpus = self.corpus
        except BadInput:
            return RunContext(run, progress=self.options.progress)
        unchanged = all(
            name in recorded and recorded[name]["fingerprint"] == split.fingerprint
            for name, split in self.splits.items()
        )
        return RunContext(run, corpus if unchanged else None, progress=self.options.progress)

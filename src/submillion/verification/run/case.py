"""A run under verification: recipe, data, tokens and encoder, each read once and independently of its figures."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from submillion.assess.run_context import RunContext, reread_corpus
from submillion.data.corpus import Corpus, Split
from submillion.data.tokens import Tokens, encode, load_tokenizer
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, encoder_config, fetch_encoder


class Case:
    """A run and what its checks need; nothing is taken from the run's own figures."""

    def __init__(self, run: RunDir, rows: int, full: bool, seed: int, progress: bool) -> None:
        """Prepare; everything is read when it is first needed.

        Args:
            run: the run.
            rows: rows of each split to re-predict.
            full: re-predict all rows.
            seed: seed of the re-predicted rows.
            progress: show progress bars on standard error.
        """
        self.run, self.rows, self.full, self.seed, self.progress = run, rows, full, seed, progress

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
    def encoder(self) -> FetchedEncoder:
        """The recipe's encoder, at the revision that the run recorded."""
        revision = self.manifest["encoder"].get("revision") or self.recipe.encoder.revision
        return fetch_encoder(self.recipe.encoder.source, revision, progress=self.progress)

    @cached_property
    def corpus(self) -> Corpus:
        """The recipe's data, read again.

        Raises:
            BadInput: it can no longer be read.
        """
        return reread_corpus(self.recipe, self.progress)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The splits of the corpus by name."""
        return {split.name: split for split in self.corpus.splits}

    @cached_property
    def tokens(self) -> dict[str, Tokens]:
        """Each split's texts, tokenized again with the run's tokenizer; no cache is used."""
        tokenizer = load_tokenizer(self.run.tokenizer)
        length = self.recipe.data.max_length
        return {
            name: encode(tokenizer, split.texts, length, self.progress) for name, split in self.splits.items()
        }

    @cached_property
    def context(self) -> RunContext:
        """The run as an analysis reads it. If the data changed, the context refuses to give texts."""
        recorded = self.manifest["data"]["splits"]
        try:
            corpus = self.corpus
        except BadInput:
            return RunContext(self.run, progress=self.progress)
        unchanged = all(
            name in recorded and recorded[name]["fingerprint"] == split.fingerprint
            for name, split in self.splits.items()
        )
        return RunContext(self.run, corpus if unchanged else None, progress=self.progress)

"""A run under verification: what several checks need, each fetched once and from its own source."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from submillion.assess.run_context import RunContext, read_again
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.rundir import RunDir
from submillion.sources.fetch import FetchedEncoder, encoder_config, fetch_encoder

if TYPE_CHECKING:
    from submillion.data.corpus import Corpus, Split
    from submillion.data.tokens import Tokens


class Case:
    """What the checks read. Nothing here is taken from the run's own figures."""

    def __init__(self, run: RunDir, rows: int, full: bool, seed: int, progress: bool) -> None:
        """Take a run.

        Args:
            rows: rows of each split to predict again.
            full: predict all rows again.
            seed: from which those rows are drawn.
            progress: show bars on standard error.
        """
        self.run, self.rows, self.full, self.seed, self.progress = run, rows, full, seed, progress

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the run claims of itself."""
        return self.run.read_manifest()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that lies in the run."""
        from submillion.model.trained import run_recipe

        return run_recipe(self.run)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config.json of the recipe's encoder."""
        return encoder_config(self.recipe.encoder.source, self.recipe.encoder.revision)

    @cached_property
    def encoder(self) -> FetchedEncoder:
        """The recipe's encoder, at the commit that the run recorded."""
        revision = self.manifest["encoder"].get("revision") or self.recipe.encoder.revision
        return fetch_encoder(self.recipe.encoder.source, revision, progress=self.progress)

    @cached_property
    def corpus(self) -> Corpus:
        """The data, read again as the recipe says.

        Raises:
            BadInput: it cannot be read any more.
        """
        return read_again(self.recipe, self.progress)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The corpus' splits by name."""
        return {split.name: split for split in self.corpus.splits}

    @cached_property
    def tokens(self) -> dict[str, Tokens]:
        """Each split's texts as the run's own tokenizer reads them now; no cache is asked."""
        from submillion.data.tokens import encode, load_tokenizer

        tokenizer = load_tokenizer(self.run.tokenizer)
        length = self.recipe.data.max_length
        return {
            name: encode(tokenizer, split.texts, length, self.progress) for name, split in self.splits.items()
        }

    @cached_property
    def context(self) -> RunContext:
        """The run as an analysis sees it; texts that are not the run's any more are refused there."""
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

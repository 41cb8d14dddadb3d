"""Gathers the facts: reads and checks the texts, counts the tokens of a sample, looks at encoder and machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from submillion import notices
from submillion.auto.facts import Facts, Machine, TextFacts, TokenFacts
from submillion.data.checked_rows import CheckedRows
from submillion.data.corpus import divided
from submillion.data.rows import LabelledRows
from submillion.data.split import text_keys
from submillion.data.token_report import unknown_tokens
from submillion.data.tokenizer import load_tokenizer
from submillion.data.tokens import encode
from submillion.data.truncation import Truncation
from submillion.errors import BadInput
from submillion.recipe import Recipe
from submillion.recipe_data import CROSS_VALIDATION
from submillion.sources.fetch import encoder_config, fetch_encoder, trained_with_mean

SAMPLE = 2_000
"""Texts whose words and tokens are counted."""
SAMPLED_TOKENS = 2_048
"""Tokens of a text that the sample retains; its full length is known all the same."""
TOKENS_PER_WORD = 1.35
"""Of English news in a vocabulary of 30,000; stands in until the texts are tokenized."""


def text_facts(
    asked: Recipe, rows: LabelledRows | None, progress: bool
) -> tuple[TextFacts, list[str], CheckedRows]:
    """Read and check the texts; return their facts, the sample that tokens are counted in, and the rows.

    The sample is drawn by the hash of each text, so it depends neither on the order of the rows nor on the machine.

    Args:
        asked: names the data.
        rows: labelled texts from memory.
        progress: show downloads.

    Raises:
        BadInput: a file cannot be read, labels do not fit together, or there are too few rows.
    """
    data = asked.with_absolute_paths().data  # as the training has them
    own = data.validation is not None and data.validation != CROSS_VALIDATION
    if not own:
        data = data.model_copy(update={"validation": CROSS_VALIDATION})  # holds no row out
    checked = CheckedRows.unannounced(data, asked.seed, progress, rows)
    try:
        with notices.suppressed():  # the training gives them
            corpus = divided(checked, data, asked.seed)
    except BadInput:
        checked.announce()  # they may explain it
        raise
    texts = corpus.train.texts
    order = np.argsort(text_keys(f"auto {asked.seed}", texts), kind="stable")[:SAMPLE]
    sample = [texts[row] for row in order]
    facts = TextFacts.of(
        corpus.train.labels,
        sample,
        test_rows=len(corpus.test) if corpus.test else 0,
        validation_rows=len(corpus.validation) if own else 0,
    )
    return facts, sample, checked


def rough_facts(asked: Recipe, encoder: str, texts: TextFacts, machine: Machine) -> Facts:
    """Return the facts before the encoder is fetched: from its configuration alone, tokens guessed from words."""
    tokens = max(3, round(texts.words * TOKENS_PER_WORD) + 2)
    config = encoder_config(encoder, asked.encoder.revision)
    return Facts(
        texts,
        TokenFacts.of(np.array([tokens]), 0.0),
        encoder,
        config,
        trained_with_mean(encoder, asked.encoder.revision),
        machine,
    )


def token_facts(
    asked: Recipe, encoder: str, texts: TextFacts, sample: Sequence[str], machine: Machine, progress: bool
) -> Facts:
    """Return the facts with those of the sample in tokens; fetches the encoder if it is not on this machine.

    Raises:
        BadInput: the encoder cannot be found, reached or read.
    """
    fetched = fetch_encoder(encoder, asked.encoder.revision, progress)
    tokenizer = load_tokenizer(fetched.path)
    tokens = encode(tokenizer, sample, Truncation(SAMPLED_TOKENS))
    facts = TokenFacts.of(tokens.full_lengths, unknown_tokens(tokenizer, tokens).share)
    config = encoder_config(encoder, asked.encoder.revision)
    return Facts(texts, facts, encoder, config, trained_with_mean(encoder, asked.encoder.revision), machine)

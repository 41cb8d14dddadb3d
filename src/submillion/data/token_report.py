"""The token counts of each split: lengths, truncated texts, unknown tokens; their notices and the refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.sources.catalog import ENCODERS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from submillion.data.tokens import Tokens
    from submillion.data.truncation import Truncation

# A smiley or a rare name is no cause for a notice.
NOTICED_SHARE = 0.01
# A token has at least one character unless the tokenizer spells characters in bytes; a mark for the beginning of a word
# may be a token of its own.
BYTES_PER_CHARACTER = 1.3
FEW_CHARACTERS = 200  # too few to tell a script from a few signs


@dataclass(frozen=True)
class Unknown:
    """The tokens of some texts that stand for whatever the tokenizer does not know."""

    tokens: int = 0
    """Tokens without the special ones."""
    unknown: int = 0
    texts: int = 0
    texts_with_unknown: int = 0

    def __add__(self, other: Unknown) -> Unknown:
        return Unknown(
            self.tokens + other.tokens,
            self.unknown + other.unknown,
            self.texts + other.texts,
            self.texts_with_unknown + other.texts_with_unknown,
        )

    @property
    def share(self) -> float:
        """Share of the tokens."""
        return self.unknown / self.tokens if self.tokens else 0.0

    def notice(self, where: str) -> None:
        """Emit a notice if the share is worth one; `where` names the texts."""
        if self.share > NOTICED_SHARE:
            notices.emit(
                "unknown_tokens",
                f"{self.share:.1%} of the tokens of {where} are unknown to the encoder's tokenizer, in "
                f"{self.texts_with_unknown:,} of {self.texts:,} texts; the classifier cannot tell them apart.",
                unknown=self.unknown,
                tokens=self.tokens,
                texts=self.texts_with_unknown,
            )


def unknown_tokens(tokenizer: PreTrainedTokenizerFast, tokens: Tokens) -> Unknown:
    """Return the unknown tokens of texts, after truncation; a tokenizer that spells words in bytes has none."""
    special = tokenizer.num_special_tokens_to_add(pair=False)
    content = len(tokens.ids) - special * len(tokens.as_windows())
    unknown = unknown_id(tokenizer)
    if unknown is None or not len(tokens):
        return Unknown(content, 0, len(tokens), 0)
    counts = np.diff(np.concatenate([[0], np.cumsum(tokens.ids == unknown)])[tokens.offsets])
    return Unknown(content, int(counts.sum()), len(tokens), int((counts > 0).sum()))


def unknown_id(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """Return the id of the unknown token; None if there is none, or if every text has it as a special token."""
    own = tokenizer.unk_token_id
    number = own if isinstance(own, int) else None
    empty = tokenizer.backend_tokenizer.encode("").ids
    return None if number in empty else number


def token_report(
    tokenizer: PreTrainedTokenizerFast,
    tokens: Mapping[str, Tokens],
    texts: Mapping[str, Sequence[str]],
    truncation: Truncation,
) -> dict[str, dict[str, Any]]:
    """Return the token counts of each split; notices give the shares of truncated texts and of unknown tokens, if any.

    Args:
        tokenizer: the encoder's.
        tokens: tokens by split name.
        texts: the texts by split name.
        truncation: the rule by which they were truncated.

    Returns:
        Per split `rows`, `windows` (the rule's), `tokens` (total, after truncation), `mean`, `median`, `p99` and
        `longest` (tokens per text before truncation), `truncated` (texts), `truncated_share`, `unknown` (tokens),
        `unknown_share` (of the tokens without the special ones), `unknown_texts` (texts that have one),
        `characters_per_token` (before truncation).
    """
    special = tokenizer.num_special_tokens_to_add(pair=False)
    report: dict[str, dict[str, Any]] = {}
    for name, split in tokens.items():
        lengths, unknown = split.full_lengths, unknown_tokens(tokenizer, split)
        whole = int(lengths.sum(dtype=np.int64)) - special * len(split)
        characters = sum(map(len, texts[name]))
        report[name] = {
            "rows": len(split),
            "windows": truncation.windows,
            "tokens": len(split.ids),
            "mean": round(float(lengths.mean()), 2),
            "median": float(np.median(lengths)),
            "p99": round(float(np.percentile(lengths, 99)), 2),
            "longest": int(lengths.max()),
            "truncated": split.truncated,
            "truncated_share": round(split.truncated / len(split), 6),
            "unknown": unknown.unknown,
            "unknown_share": round(unknown.share, 6),
            "unknown_texts": unknown.texts_with_unknown,
            "characters_per_token": round(characters / whole, 3) if whole else 0.0,
        }
        unknown.notice(f"the {name} texts")
        _notice_bytes(name, whole, characters)
    _notice_truncated(truncation, report)
    _notice_windows(tokens)
    return report


def check_known(report: Mapping[str, Mapping[str, Any]], limit: float, encoder: str) -> None:
    """Refuse to train an encoder whose tokenizer does not know the training texts.

    Args:
        report: the result of `token_report`.
        limit: largest share of unknown tokens.
        encoder: as the user named it.

    Raises:
        BadInput: the training texts have a larger share.
    """
    train = report["train"]
    if train["unknown_share"] <= limit:
        return
    fitting = [f"{entry.name} ({entry.scripts})" for entry in ENCODERS.values() if entry.scripts]
    others = [name for name in fitting if not name.startswith(f"{encoder} ")]
    remedy = (
        "Take an encoder that was pretrained on the language of these texts: "
        f"{' or '.join(others) or 'another one'}, or one of the hub whose page names the language; or raise "
        "@{data.max_unknown_tokens}."
    )
    raise BadInput(
        Problem(
            f"the training texts with the encoder {encoder}",
            f"at most {limit:.0%} of tokens that its tokenizer does not know",
            f"{train['unknown_share']:.1%}, in {train['unknown_texts']:,} of {train['rows']:,} texts",
            remedy,
        )
    )


def _notice_bytes(name: str, tokens: int, characters: int) -> None:
    """Emit a notice if a tokenizer without an unknown token spells the texts in bytes."""
    if characters >= FEW_CHARACTERS and tokens > BYTES_PER_CHARACTER * characters:
        notices.emit(
            "spelled_in_bytes",
            f"the {name} texts take {tokens / characters:.1f} tokens per character: the encoder's tokenizer spells "
            "them in bytes, because it was not made for their script. An encoder for their language reads more of "
            "each text.",
            tokens=tokens,
            characters=characters,
        )


def _notice_windows(tokens: Mapping[str, Tokens]) -> None:
    """Emit a notice of the texts that are read in several windows, if there are any."""
    divided = {
        name: (int((split.windows.counts > 1).sum()), int(split.windows.counts.max()))
        for name, split in tokens.items()
        if split.windows is not None and len(split) and split.windows.counts.max() > 1
    }
    if divided:
        parts = ", ".join(
            f"{texts:,} of {len(tokens[name]):,} {name} texts (at most {most:,} windows)"
            for name, (texts, most) in divided.items()
        )
        notices.emit("windows", f"read in several windows, whose features are averaged: {parts}.")


def _notice_truncated(truncation: Truncation, report: Mapping[str, Mapping[str, Any]]) -> None:
    truncated = {name: part for name, part in report.items() if part["truncated"]}
    if truncated:
        shares = ", ".join(f"{part['truncated_share']:.1%} of {name}" for name, part in truncated.items())
        lost = "lose their middle" if truncation.windows == "head_tail" else "are truncated"
        notices.emit("truncated_texts", f"texts longer than {truncation.max_length} tokens {lost}: {shares}.")

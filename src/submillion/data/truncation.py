"""The rule by which a text that is too long loses tokens or is read in windows, applied to one tokenized text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

    from submillion.recipe_data import DataRecipe

Windows = Literal["first", "head_tail", "all"]


class ReadTokens(NamedTuple):
    """The S tokens of one text that the encoder reads, special tokens included."""

    ids: list[int]
    """[S]."""
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in characters [S]; of special tokens, (0, 0)."""
    special: list[bool]
    """Which of them are special tokens [S]."""
    gap: int | None
    """Place of the first token after those dropped from the middle of the text; None if none were."""

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Start and end of each run of tokens that is adjacent in the text: one, or two with a gap between them."""
        end = len(self.ids)
        return [(0, end)] if self.gap is None else [(0, self.gap), (self.gap, end)]

    def spans(self) -> list[tuple[int, int]]:
        """Return the part of the text that each of `parts` covers, in characters; (0, 0) if it has no character."""
        spans = []
        for low, high in self.parts:
            # Special tokens have an empty span.
            tokens = [span for span in self.offsets[low:high] if span[1] > span[0]]
            spans.append((tokens[0][0], tokens[-1][1]) if tokens else (0, 0))
        return spans


@dataclass(frozen=True)
class Truncation:
    """The longest input, and which tokens of a longer text it holds."""

    max_length: int
    """Tokens per text, special tokens included."""
    windows: Windows = "first"
    """`first`: those on the tokenizer's own side of the text, in most encoders its beginning. `head_tail`: half of them
    from the beginning and half from the end of the text. `all`: all of them, in as many windows as the text needs."""

    @classmethod
    def of(cls, data: DataRecipe) -> Truncation:
        """Return the rule of a recipe."""
        return cls(data.max_length, data.windows)

    @property
    def head_tail(self) -> tuple[int, int]:
        """Tokens from the beginning and from the end of a text, special ones included, that `head_tail` keeps.

        This is "head+tail" of Sun et al. 2019 (arXiv:1905.05583, section 5.3.1), the best of their ways to read long
        texts. Of 510 tokens they took 128 from the head and 382 from the tail, chosen empirically; here both have half,
        because no such ratio is known to fit other texts. The head has one more if `max_length` is odd.
        """
        tail = self.max_length // 2
        return self.max_length - tail, tail

    def windows_of(self, full_lengths: np.ndarray, special: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths of the windows of texts with `all`, int64 [W], and the windows of each text, int64 [N].

        A text has as few windows as possible, of equal length, the last one a few tokens shorter: the mean over its
        windows is then that over the text, in which a short last window would count too much. Windows do not overlap,
        as in Sun et al. 2019 (arXiv:1905.05583, section 5.3.1, "hierarchical methods"): in a mean, an overlap counts
        its tokens twice.

        Args:
            full_lengths: tokens of each text, special ones included, int [N].
            special: special tokens of a window.
        """
        content = np.asarray(full_lengths, dtype=np.int64) - special
        counts = np.maximum(-(-content // (self.max_length - special)), 1)
        sizes = -(-content // counts)
        lengths = np.repeat(sizes + special, counts)
        lengths[np.cumsum(counts) - 1] = content - (counts - 1) * sizes + special
        return lengths, counts

    def ids(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> list[int]:
        """Return the token ids that are read, as `read` does, without the rest."""
        if self._is_divided(tokenizer, encoding):
            return [one for window in self._windows(tokenizer, encoding) for one in window.ids]
        if self._drops_middle(tokenizer, encoding):
            head, tail = self.head_tail
            ids: list[int] = tokenizer.backend_tokenizer.post_process(encoding).ids
            return ids[:head] + ids[-tail:]
        return list(self._from_one_side(tokenizer, encoding).ids)

    def read(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> ReadTokens:
        """Return the tokens of one text that are read; with `all`, its windows end to end.

        Args:
            tokenizer: the encoder's.
            encoding: of the whole text, without special tokens; it may be truncated in place.
        """
        if self._is_divided(tokenizer, encoding):
            windows = self._windows(tokenizer, encoding)
            return ReadTokens(
                [one for window in windows for one in window.ids],
                [span for window in windows for span in window.offsets],
                [bool(flag) for window in windows for flag in window.special_tokens_mask],
                None,
            )
        if not self._drops_middle(tokenizer, encoding):
            whole = self._from_one_side(tokenizer, encoding)
            return ReadTokens(
                whole.ids, whole.offsets, [bool(flag) for flag in whole.special_tokens_mask], None
            )
        whole = tokenizer.backend_tokenizer.post_process(encoding)
        head, tail = self.head_tail
        ids, offsets, special = whole.ids, whole.offsets, [bool(flag) for flag in whole.special_tokens_mask]
        return ReadTokens(
            ids[:head] + ids[-tail:], offsets[:head] + offsets[-tail:], special[:head] + special[-tail:], head
        )

    def room(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """Return the tokens of a text that have room beside the special ones."""
        return self.max_length - tokenizer.num_special_tokens_to_add(pair=False)

    def _drops_middle(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> bool:
        return self.windows == "head_tail" and len(encoding) > self.room(tokenizer)

    def _is_divided(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> bool:
        return self.windows == "all" and len(encoding) > self.room(tokenizer)

    def _windows(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> list[Encoding]:
        """Divide a text into the windows of `windows_of`, each with its own special tokens."""
        count = -(-len(encoding) // self.room(tokenizer))
        encoding.truncate(-(-len(encoding) // count))  # the other pieces are in `overflowing`
        pieces = [encoding, *encoding.overflowing]
        return [tokenizer.backend_tokenizer.post_process(piece) for piece in pieces]

    def _from_one_side(self, tokenizer: PreTrainedTokenizerFast, encoding: Encoding) -> Encoding:
        if len(encoding) > self.room(tokenizer):
            encoding.truncate(self.room(tokenizer), direction=tokenizer.truncation_side)
        return tokenizer.backend_tokenizer.post_process(encoding)

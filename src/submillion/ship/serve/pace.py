"""How long the texts that wait for a classifier will take: estimated tokens, and the measured seconds of a token."""

from __future__ import annotations

from submillion.data.truncation import Truncation

BYTES_PER_TOKEN = 4
SPECIAL_TOKENS = 2
FULL_TOKENS = 512
"""A batch with fewer estimated tokens is slower per token than those that a long queue is classified in."""
MEMORY = 2.0
"""Seconds of classification after which an estimate has moved by about two thirds to a new speed."""
MOST_WEIGHT = 0.5  # of one batch: the machine may have been suspended meanwhile


def token_estimate(text: str, truncation: Truncation) -> int:
    """Return about how many tokens of a text a run reads; tokenizing it would take too long for a refusal.

    Bytes of UTF-8 and not characters, because a Chinese character is about a token.
    """
    if truncation.windows == "all":
        return SPECIAL_TOKENS + len(text.encode()) // BYTES_PER_TOKEN
    read = text[: BYTES_PER_TOKEN * truncation.max_length]
    return min(SPECIAL_TOKENS + len(read.encode()) // BYTES_PER_TOKEN, truncation.max_length)


class Pace:
    """The seconds of an estimated token in full batches."""

    def __init__(self, tokens: int, seconds: float) -> None:
        """Begin with a first measurement.

        Args:
            tokens: estimated tokens of a batch, at least 1.
            seconds: the time that it took.
        """
        self._per_token = seconds / tokens

    def seconds(self, tokens: int) -> float:
        """Return the seconds that estimated tokens will take."""
        return tokens * self._per_token

    def learn(self, tokens: int, seconds: float) -> None:
        """Take in the time of a batch.

        A small batch can only show that the classifier is faster than estimated: its time per token is that of full
        batches or more. Otherwise the many single texts of a quiet hour would shut the door on the next rush.

        Args:
            tokens: its estimated tokens, at least 1.
            seconds: the time that it took.
        """
        measured = seconds / tokens
        if tokens < FULL_TOKENS and measured > self._per_token:
            return
        weight = min(MOST_WEIGHT, seconds / (seconds + MEMORY))
        self._per_token += weight * (measured - self._per_token)

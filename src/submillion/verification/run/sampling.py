"""The power of a sample of rows: how likely changed rows are to escape it."""

from __future__ import annotations

from submillion.wording import percent

FEW = 5  # changed rows in the sentence about a sample
CERTAIN = 0.05  # probability of escaping below which changed rows count as found


def escape_probability(rows: int, sampled: int, changed: int) -> float:
    """Return the probability that a sample drawn without replacement misses every changed row.

    It is C(rows - changed, sampled) / C(rows, sampled), the hypergeometric probability of 0.

    Args:
        rows: all rows.
        sampled: rows drawn.
        changed: changed rows among all.

    Example:
        >>> round(escape_probability(2189, 200, 5), 3)
        0.62
    """
    if sampled > rows - changed:
        return 0.0
    probability = 1.0
    for row in range(changed):
        probability *= (rows - sampled - row) / (rows - row)
    return probability


def changed_rows_found(rows: int, sampled: int) -> int:
    """Return the smallest number of changed rows that escapes a sample with a probability of at most CERTAIN."""
    low, high = 1, rows
    while low < high:
        middle = (low + high) // 2
        if escape_probability(rows, sampled, middle) <= CERTAIN:
            high = middle
        else:
            low = middle + 1
    return low


def power(rows: int, sampled: int) -> str:
    """Return the power of a sample as part of a sentence."""
    if sampled >= rows:
        return f"all {rows:,} rows"
    few, many = min(FEW, rows), changed_rows_found(rows, sampled)
    return (
        f"{sampled:,} of {rows:,} rows, which {few} changed {'row' if few == 1 else 'rows'} "
        f"escape{'s' if few == 1 else ''} with a probability of "
        f"{percent(escape_probability(rows, sampled, few), 0)} and {many:,} with at most {percent(CERTAIN, 0)}"
    )

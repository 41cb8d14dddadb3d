"""Formats numbers, lists and foreign text for sentences, tables and pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

MINUS = "\N{MINUS SIGN}"
SMALLEST_P = 1e-4
"""Smaller p-values are written as `< 0.0001`."""


_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of them
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides, which make a terminal show another order of characters
    "\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"  # lone surrogates, which no encoding can write
)


def printable(text: object, longest: int | None = None, keep: str = "") -> str:
    r"""Return a text that comes from a file so that it is safe to print: control characters become visible escapes.

    A terminal executes some control characters: a class name with an escape sequence could clear the screen, rewrite
    earlier lines or set the clipboard. Printable text, in whatever script, is unchanged, and so is the result of an
    earlier call.

    Args:
        text: the text, or an object whose `str` is printed.
        longest: maximum number of characters; a longer text ends with an ellipsis. None does not shorten it.
        keep: control characters that stay, such as a newline between lines of our own.

    Example:
        >>> printable("\x1b[2Jspam")
        '\\x1b[2Jspam'
    """
    # A text of many megabytes is cut before its characters are replaced.
    shown = str(text) if longest is None else str(text)[: longest + 1]
    shown = _UNPRINTABLE.sub(
        lambda match: match[0] if match[0] in keep else match[0].encode("unicode_escape").decode("ascii"),
        shown,
    )
    return shown if longest is None or len(shown) <= longest else f"{shown[: longest - 1]}…"


def percent_number(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage without its sign, for example `91.6`.

    A share strictly between 0 and 1 is never rounded to 0 or 100: it is written as `<0.1` or `>99.9`.
    """
    shown = f"{100 * share:.{decimals}f}"
    step = 10.0**-decimals
    if share > 0 and shown == f"{0:.{decimals}f}":
        return f"<{step:.{decimals}f}"
    if share < 1 and shown == f"{100:.{decimals}f}":
        return f">{100 - step:.{decimals}f}"
    return shown


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage, for example `91.6%`."""
    return f"{percent_number(share, decimals)}%"


def percent_range(low: float, high: float, decimals: int = 1) -> str:
    """Return an interval of shares, for example `90.4 to 92.2%`."""
    return f"{percent_number(low, decimals)} to {percent(high, decimals)}"


def percent_interval(interval: Mapping[str, object], decimals: int = 1) -> str:
    """Return the limits of an interval with the keys `low` and `high`, or `not defined` if they are None."""
    low, high = interval["low"], interval["high"]
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return "not defined"
    return percent_range(low, high, decimals)


def signed(value: float, decimals: int = 2) -> str:
    """Return a difference with its sign (a true minus, U+2212); one that rounds to zero has no sign."""
    shown = f"{abs(value):.{decimals}f}"
    if not float(shown):
        return shown
    return f"{'+' if value > 0 else MINUS}{shown}"


def points(difference: float, decimals: int = 2) -> str:
    """Return a difference of two shares in percentage points, for example `+1.43` for 0.0143."""
    return signed(100 * difference, decimals)


def points_range(low: float, high: float, decimals: int = 2) -> str:
    """Return an interval of a difference of two shares in points, for example `+0.60 to +2.26`."""
    return f"{points(low, decimals)} to {points(high, decimals)}"


def p_value(p: float) -> str:
    """Return a p-value with three significant digits for a table: `0.0134`, or `< 0.0001`."""
    return f"{p:.3g}" if p >= SMALLEST_P else f"< {SMALLEST_P:.4f}"


def p_equals(p: float) -> str:
    """Return a p-value for a sentence: `p = 0.0134`, or `p < 0.0001`."""
    return f"p = {p_value(p)}" if p >= SMALLEST_P else f"p {p_value(p)}"


def plural(number: int, noun: str, plural_noun: str | None = None) -> str:
    """Return a count with its noun, for example `1 row` or `2,189 rows`.

    Args:
        number: how many.
        noun: the singular.
        plural_noun: the plural; None appends an s.
    """
    return f"{number:,} {noun if number == 1 else plural_noun or noun + 's'}"


def listed(items: Iterable[object], conjunction: str = "and") -> str:
    """Return items as a list in words: `a`, `a and b`, or `a, b and c`."""
    *first, last = [str(item) for item in items] or [""]
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def capitalized(text: str) -> str:
    """Return a text with its first letter in upper case and the others unchanged."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds; below ten seconds with decimals."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min {rest} s"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss, as progress shows it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def byte_count(size: float) -> str:
    """Return a size in bytes, kB, MB or GB (powers of 1,000)."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:,.0f} bytes"


def shorten(names: Sequence[str], longest: int = 28) -> list[str]:
    """Return the names cut in the middle to `longest` characters: long names often differ only near the end.

    Names that would become equal are cut at the end, after which comes their place in `names`, from 1.
    """
    tail = (longest - 1) // 2
    cut = [name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}" for name in names]
    times = Counter(cut)
    ends = [f"… ({place})" for place in range(1, len(names) + 1)]
    return [
        short if times[short] == 1 or len(name) <= longest else name[: longest - len(end)] + end
        for short, name, end in zip(cut, names, ends, strict=True)
    ]


def excerpt(text: str, longest: int) -> str:
    """Return the beginning of a text in at most `longest` characters, cut between words if possible."""
    if len(text) <= longest:
        return text
    head = text[: longest - 1]
    if not text[longest - 1].isspace():
        before, _, rest = head.rpartition(" ")
        head = before if before and len(rest) <= longest // 10 else head
    return head.rstrip() + "…"

"""The template engine of card and page, and its filters: counts, percentages, durations, paths, missing values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import yaml

from submillion import recipe_file
from submillion.run_format.interval import Interval
from submillion.wording import (
    byte_count,
    duration,
    listed,
    p_equals,
    p_value,
    percent,
    percent_range,
    plural,
    points,
    points_range,
    printable,
    shorten,
    signed,
)

NOT_MEASURED = "not measured"
# An absolute path of Unix (at least two parts) or Windows, up to a space or a delimiter.
_ABSOLUTE = re.compile(r"(?<![\w.:/\\-])(?:~?(?:/[^\s/:;,'\"|]+){2,}|[A-Za-z]:(?:\\[^\s\\:;,'\"|]+)+)")


def engine(autoescape: bool) -> jinja2.Environment:
    """Return the engine of the templates.

    Args:
        autoescape: escape texts, labels and names for HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("submillion.report", "."),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_visible,
        autoescape=autoescape,  # noqa: S701 - off for the card alone, which is Markdown and escaped by its own filter
    )
    environment.filters |= _filters()
    return environment


def _visible(value: Any) -> Any:
    """Make control characters of a text visible: a label or text of the data may hold any."""
    return printable(value, keep="\n\t") if type(value) is str else value


def _filters() -> dict[str, Callable[..., Any]]:
    """Return the filters for values; a missing value is written as `not measured`."""
    return {
        "fact": lambda value: known(value, _fact),
        "number": lambda value, decimals=1: known(value, lambda number: f"{number:,.{decimals}f}"),
        "estimate": lambda value: known(value, estimate),
        "decimal": lambda value, decimals=4: known(value, lambda number: f"{number:.{decimals}f}"),
        "share": lambda value, decimals=2: known(value, lambda share: percent(share, decimals)),
        "points": lambda value, decimals=2: known(value, lambda share: points(share, decimals)),
        "change": lambda value, decimals=4: known(value, lambda number: signed(number, decimals)),
        "share_span": lambda value, decimals=2: span(
            value, lambda low, high: percent_range(low, high, decimals)
        ),
        "points_span": lambda value, decimals=2: span(
            value, lambda low, high: points_range(low, high, decimals)
        ),
        "decimal_span": lambda value, decimals=4: span(
            value, lambda low, high: f"{low:.{decimals}f} to {high:.{decimals}f}"
        ),
        "change_span": lambda value, decimals=4: span(
            value, lambda low, high: f"{signed(low, decimals)} to {signed(high, decimals)}"
        ),
        "p_value": lambda value: known(value, p_value),
        "p_equals": lambda value: known(value, p_equals),
        "duration": lambda value: known(value, duration),
        "bytes": lambda value: known(value, byte_count),
        "term": lambda value: str(value) if value else "not stated by its source",
        "public": lambda value: known(value, lambda text: str(public(text))),
        "public_sentence": public_sentence,
        "setting": setting,
        "listed": listed,
        "plural": plural,
        "shortened": lambda names: shorten(list(names), 60),
    }


def known(value: Any, write: Callable[[Any], str]) -> str:
    """Return a value as `write` formats it; `not measured` if the run does not have it."""
    return NOT_MEASURED if value is None or isinstance(value, jinja2.Undefined) else write(value)


def span(interval: Interval | Mapping[str, Any], write: Callable[[float, float], str]) -> str:
    """Return the limits of an interval as `write` formats them; `not defined` if it has no limits."""
    if interval is None or isinstance(interval, jinja2.Undefined):
        return NOT_MEASURED
    low, high = interval["low"], interval["high"]
    return "not defined" if low is None or high is None else write(low, high)


def estimate(interval: Interval) -> str:
    """Return a value with its interval; too few rows give no interval."""
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value is None:
        return NOT_MEASURED
    if low is None or high is None:
        return f"{value:.4f} (interval not defined)"
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def setting(value: Any) -> str:
    """Return a value as in a recipe's yaml: null, true, a list in brackets."""
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).split("\n")[0]


def published(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe by dotted name, for publication: absolute paths are cut to their last part."""
    return {name: public(value) for name, value in recipe_file.flat(recipe).items()}


def public(value: Any) -> Any:
    """Return a value for publication: an absolute path, or one outside the run, is cut to its last part."""
    if isinstance(value, str) and (_ABSOLUTE.match(value) or value.startswith(("../", "..\\"))):
        return last_part(value.rstrip("\\/"))
    return value


def public_sentence(text: str) -> str:
    """Return a sentence for publication: absolute paths in it are cut to their last part."""
    return _ABSOLUTE.sub(lambda path: last_part(path.group()), text)


def last_part(path: str) -> str:
    """Return the last part of a Unix or Windows path."""
    return re.split(r"[\\/]", path)[-1]


def _fact(value: Any) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)

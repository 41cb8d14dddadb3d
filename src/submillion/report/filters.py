"""How values are written in the card and on the page: counts, shares, durations, and what is not known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from submillion import recipe_file
from submillion.report.theme import percent

if TYPE_CHECKING:
    import jinja2

NOT_MEASURED = "not measured"
# An absolute path of Unix (two parts or more) or of Windows, up to a space or a mark that ends it.
_ABSOLUTE = re.compile(r"(?<![\w.:/\\-])(?:~?(?:/[^\s/:;,'\"|]+){2,}|[A-Za-z]:(?:\\[^\s\\:;,'\"|]+)+)")


def engine(autoescape: bool) -> jinja2.Environment:
    """Return the engine that both templates are written with.

    Args:
        autoescape: escape what a text, a label or a name holds, as HTML needs.
    """
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("submillion.report", "."),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=autoescape,
    )
    made.filters |= _filters()
    return made


def _filters() -> dict[str, Callable[..., Any]]:
    """Return the filters that both templates write values with; an unknown value is called not measured."""
    return {
        "fact": lambda value: known(value, lambda found: f"{found:,}" if _is_count(found) else str(found)),
        "number": lambda value, decimals=1: known(value, lambda found: f"{found:,.{decimals}f}"),
        "estimate": lambda value: known(value, estimate),
        "decimal": lambda value, decimals=4: known(value, lambda found: f"{found:.{decimals}f}"),
        "share": lambda value, decimals=2: known(value, lambda found: f"{percent(found, decimals)} %"),
        "points": lambda value, decimals=2: known(value, lambda found: signed(100 * found, decimals)),
        "change": lambda value, decimals=4: known(value, lambda found: signed(found, decimals)),
        "p_value": lambda value: known(value, p_value),
        "duration": lambda value: known(value, duration),
        "bytes": lambda value: known(value, byte_count),
        "term": lambda value: str(value) if value else "not stated by its source",
        "public": lambda value: known(value, lambda found: str(public(found))),
        "public_sentence": public_sentence,
        "setting": setting,
    }


def known(value: Any, written: Callable[[Any], str]) -> str:
    """Write a value, or say that the run does not hold it."""
    import jinja2

    return NOT_MEASURED if value is None or isinstance(value, jinja2.Undefined) else written(value)


def estimate(found: Mapping[str, Any]) -> str:
    """Write a value of the analysis with its interval; too few rows give none."""
    if found["value"] is None:
        return NOT_MEASURED
    if found["low"] is None:
        return f"{found['value']:.4f} (interval {NOT_MEASURED})"
    return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


def signed(value: float, decimals: int) -> str:
    """Write a difference with its sign, a true minus; one that rounds to nothing has none."""
    shown = f"{abs(value):.{decimals}f}"
    if not float(shown):
        return shown
    return f"{'+' if value > 0 else chr(0x2212)}{shown}"


def p_value(value: float) -> str:
    """Write a probability of significance; a very small one as below 0.0001."""
    return f"{value:.4f}" if value >= 0.0001 else "below 0.0001"


def duration(seconds: float) -> str:
    """Write a time in hours, minutes and seconds; tenths and hundredths where it is short."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min {rest} s"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def byte_count(count: float) -> str:
    """Write a size in bytes, kB, MB or GB (powers of 1,000)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,.0f} bytes"


def setting(value: Any) -> str:
    """Write a value as the recipe's yaml would: null, true, a list in brackets."""
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).split("\n")[0]


def published(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe's fields under dotted names; of a path only the last part, reports are published."""
    return {name: public(value) for name, value in recipe_file.flat(recipe).items()}


def public(value: Any) -> Any:
    """Return a value fit to be published: of an absolute path only the last part."""
    if isinstance(value, str) and _ABSOLUTE.match(value):
        return last_part(value.rstrip("\\/"))
    return value


def public_sentence(text: str) -> str:
    """Return a sentence fit to be published: of each absolute path in it only the last part."""
    return _ABSOLUTE.sub(lambda path: last_part(path.group()), text)


def last_part(path: str) -> str:
    """Return what stands after the last separator of a path, of any system."""
    return re.split(r"[\\/]", path)[-1]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

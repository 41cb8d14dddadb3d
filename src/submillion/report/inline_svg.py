"""Embeds SVG figures in a page: unique ids, a text alternative, the colours of the page, no active content."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from submillion.report.theme import BLUE, GRID, INK, MUTED, NAVY, SKY, UNDEFINED, VERMILION
from submillion.wording import printable

# page.css gives these variables a second value in dark mode.
PALETTE = {
    "#ffffff": "ground",
    "#000000": "ink",
    INK.lower(): "ink",
    MUTED.lower(): "muted",
    GRID.lower(): "grid",
    UNDEFINED.lower(): "undefined",
    BLUE.lower(): "blue",
    VERMILION.lower(): "vermilion",
    NAVY.lower(): "navy",
    SKY.lower(): "sky",
}
_DRAWN = frozenset(
    [
        "svg",
        "g",
        "path",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "use",
        "image",
        "defs",
        "clipPath",
        "linearGradient",
        "radialGradient",
        "stop",
        "pattern",
        "marker",
        "mask",
    ]
)
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"\s*font-family:[^;]*;?")


def inline(svg: str, prefix: str, title: str, description: str) -> str:
    """Return an SVG document as an element of an HTML page.

    Ids get `prefix`, so that the ids of two figures never collide. Elements that draw nothing (scripts, styles,
    metadata), event handlers and external addresses are removed. Fonts are those of the page, and numbers have two
    decimals (a hundredth of a point). The colours of the theme become variables of the page. A figure with other
    colours, or with an image, keeps its colours and gets the class `paper`: a light background.

    Args:
        svg: an SVG document.
        prefix: unique on the page.
        title: its accessible name.
        description: text alternative.

    Raises:
        xml.etree.ElementTree.ParseError: `svg` is not an SVG document.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - expat loads no external entity and limits expansion
    own_colours = _has_other_colours(root, svg)
    drawing = _cleaned(root, prefix, own_colours)
    if drawing is None:
        raise ElementTree.ParseError(f"the root element is {_local(root.tag)}, not svg")
    left, top, width, height = (float(number) for number in root.attrib["viewBox"].split())
    drawing.attrib = {
        "class": "drawing paper" if own_colours else "drawing",
        "role": "img",
        "aria-labelledby": f"{prefix}t {prefix}d",
        "viewBox": f"{left:g} {top:g} {width:g} {height:g}",
        # The size of the file is in points, that of the page in pixels of 1/96 inch.
        "style": f"max-width: {width * 4 / 3:.0f}px",
    }
    for name, words, mark in (("desc", description, "d"), ("title", title, "t")):
        element = ElementTree.Element(name, {"id": prefix + mark})
        element.text = printable(words)
        drawing.insert(0, element)
    return ElementTree.tostring(drawing, encoding="unicode")


def _has_other_colours(root: ElementTree.Element, svg: str) -> bool:
    if any(_local(element.tag) == "image" for element in root.iter()):
        return True
    return any(colour.lower() not in PALETTE for colour in _COLOUR.findall(svg))


def _cleaned(element: ElementTree.Element, prefix: str, own_colours: bool) -> ElementTree.Element | None:
    """Return a copy without namespaces and without children that draw nothing; None if the element draws nothing."""
    name = _local(element.tag)
    if name not in _DRAWN:
        return None
    copy = ElementTree.Element(name)
    for key, value in element.attrib.items():
        safe = _attribute(_local(key), value, prefix, own_colours)
        if safe is not None:
            copy.set(_local(key), safe)
    if name == "text" and not own_colours and "fill:" not in copy.get("style", ""):
        copy.set("style", f"{copy.get('style', '')}; fill: var(--figure-ink)".removeprefix("; "))
    if name in ("text", "tspan"):
        copy.text = element.text
    for child in element:
        if (cleaned := _cleaned(child, prefix, own_colours)) is not None:
            if name in ("text", "tspan"):
                cleaned.tail = child.tail
            copy.append(cleaned)
    return copy


def _attribute(name: str, value: str, prefix: str, own_colours: bool) -> str | None:
    """Return the value of an attribute for the page; None if the page must not have it."""
    if name.startswith("on") or (name in ("space", "version", "width", "height") and value.endswith("pt")):
        return None
    if name == "id":
        return prefix + value
    if name == "href":
        return f"#{prefix}{value[1:]}" if value.startswith("#") else _image(value)
    value = _REFERENCE.sub(lambda match: f"url(#{prefix}{match.group(1)})", value)
    if "url(" in _REFERENCE.sub("", value):
        return None
    if name in ("d", "points", "x", "y", "transform"):
        shorter = _LONG_NUMBER.sub(lambda number: f"{float(number.group()):.2f}", value)
        return " ".join(shorter.split()) if name == "d" else shorter
    if name in ("style", "fill", "stroke"):
        value = _FONT.sub("", value)
        return value if own_colours else _COLOUR.sub(_variable, value)
    return value


def _image(address: str) -> str | None:
    return "".join(address.split()) if address.startswith("data:image/png;base64,") else None


def _variable(colour: re.Match[str]) -> str:
    return f"var(--figure-{PALETTE[colour.group().lower()]})"


def _local(name: str) -> str:
    return name.rpartition("}")[2]

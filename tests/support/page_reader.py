"""An HTML parser that collects the elements and words of a report page."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


INLINE = {"mark", "sup", "span", "b", "code", "strong", "text", "tspan"}


class ParsedPage(HTMLParser):
    """The elements of a page with their attributes, and its words by section; checks that elements are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.section = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("section", "footer"):
            self.section = dict(attrs).get("id") or tag
        if tag not in INLINE:
            self.words.setdefault(self.section, []).append(" ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.setdefault(self.section, []).append(data)

    def text(self, section: str | None = None) -> str:
        """Return the words of a section, or of the whole page, spaces of every kind alike."""
        parts = self.words.values() if section is None else [self.words[section]]
        return " ".join("".join("".join(part) for part in parts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

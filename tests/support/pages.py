"""The code blocks of README.md and of the pages in docs/, with the reasons of those that no test executes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from support import ROOT

PAGES = ["README.md", *sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md"))]
SHELL, PYTHON = "", "python"
_BLOCK = re.compile(
    r"(?:^<!-- not executed: (?P<reason>[^\n]+?) -->\n+)?"
    r"^```(?P<language>[\w{}-]*)[^\n]*\n(?P<content>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
_LINE = re.compile(r"(?:[^\\\n]|\\.|\\\n)+")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """Of its fence."""
    language: str
    """SHELL, PYTHON or another one."""
    content: str
    reason: str | None
    """Why no test executes it, from the comment `<!-- not executed: REASON -->` above it; None if one does."""

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The command lines of a block for the shell; a line that ends in a backslash goes on in the next one."""
        lines = [line.replace("\\\n", " ").strip() for line in _LINE.findall(self.content)]
        return [line for line in lines if not line.startswith("#")]


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            *match.group("language", "content", "reason"),
        )
        for match in _BLOCK.finditer(text)
    ]

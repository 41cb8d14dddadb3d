"""The whole examination of `submillion doctor`, with everything removed that would name user, home or hosts."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from submillion.inspection.doctor.network import PUBLIC_HUB, PUBLIC_REGISTRY, examine_network
from submillion.inspection.doctor.processor import examine_accelerator, examine_kernels, examine_processor
from submillion.inspection.doctor.section import Section, Trouble
from submillion.inspection.doctor.software import examine_extras, examine_versions
from submillion.inspection.doctor.storage import examine_caches, examine_disks, examine_memory
from submillion.terminal.text_table import align_columns
from submillion.wording import printable

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>)]+", re.IGNORECASE)
_TOKEN = re.compile(r"\b(hf|pypi|ghp|gho|github_pat|glpat|sk)[_-][A-Za-z0-9_-]{8,}")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")


@dataclass(frozen=True)
class Examination:
    """The findings about this machine, fit for a bug report."""

    sections: list[Section]

    @property
    def troubles(self) -> list[Trouble]:
        """All problems, those that prevent training first."""
        found = [trouble for section in self.sections for trouble in section.troubles]
        return sorted(found, key=lambda trouble: not trouble.prevents_training)

    @property
    def able(self) -> bool:
        """Whether nothing prevents training."""
        return not any(trouble.prevents_training for trouble in self.troubles)

    def to_json(self) -> dict[str, Any]:
        """Return `able`, `facts` by section, and `problems` with text, remedy and prevents_training."""
        return {
            "able": self.able,
            "facts": {section.title: section.facts for section in self.sections},
            "problems": [vars(trouble) for trouble in self.troubles],
        }

    def render(self) -> str:
        """Return the facts by section, then the problems with their remedies."""
        lines: list[str] = []
        for section in self.sections:
            lines += [
                section.title,
                *(f"  {line}" for line in align_columns(list(section.facts.items()), right=())),
            ]
        lines.append("")
        for trouble in self.troubles:
            title = "prevents training" if trouble.prevents_training else "problem"
            lines += [f"{title}: {printable(trouble.text)}.", f"  {printable(trouble.remedy)}"]
        if not self.troubles:
            lines.append("no problems")
        return "\n".join(lines)


def examine(offline: bool = False) -> Examination:
    """Examine this machine.

    Args:
        offline: do not ask hub and package registry.
    """
    parts: list[Callable[[], Section]] = [
        examine_versions,
        examine_processor,
        examine_kernels,
        examine_accelerator,
        examine_memory,
        examine_disks,
        examine_caches,
        lambda: examine_network(offline),
        examine_extras,
    ]
    sections = [parts[0]()]
    if not sections[0].troubles:  # the others import these packages
        sections += [part() for part in parts[1:]]
    return Examination([redacted_section(section) for section in sections])


def redacted_section(section: Section) -> Section:
    """Return a section without the names of user, home and private hosts."""
    return Section(
        section.title,
        {redacted(name): redacted(value) for name, value in section.facts.items()},
        [
            Trouble(redacted(trouble.text), redacted(trouble.remedy), trouble.prevents_training)
            for trouble in section.troubles
        ],
    )


def redacted(text: str, home: Path | None = None, user: str | None = None) -> str:
    """Return a text without home folder (`~`), user name, tokens, mail addresses, and addresses of private hosts.

    Args:
        text: any text.
        home: None takes the user's.
        user: None takes the user's.
    """
    home = home or Path.home()
    for folder in sorted({str(home), str(home.resolve())}, key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(rf"{re.escape(folder)}(?=$|[/\\\s:,;)'\"])", "~", text)
    name = user or _user()
    if name:
        text = re.sub(rf"(?<=[/\\]){re.escape(name)}(?=$|[/\\\s:,;)'\"])", "USER", text)
    text = _TOKEN.sub("TOKEN", _MAIL.sub("MAIL", text))
    return _URL.sub(lambda match: _public(match[0]), text)


def _public(address: str) -> str:
    host = urlsplit(address).hostname
    return f"https://{host}" if host in (PUBLIC_HUB, PUBLIC_REGISTRY) else "ADDRESS"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""

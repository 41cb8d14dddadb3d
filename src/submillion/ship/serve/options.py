"""The options of a server: its address, its token, and the limits that keep one client from harming another."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from submillion.errors import BadInput, Problem
from submillion.model.precisions import check_precision

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_TOKEN = re.compile(r"[\x21-\x7e]{16,}")


@dataclass(frozen=True)
class ServeOptions:
    """Everything that the operator of a server chooses."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token: str | None = None
    """The bearer token that requests must have; None asks for none."""
    workers: int = 1
    """Processes; each loads the runs."""
    max_texts: int = 256
    """Texts of one request."""
    max_characters: int = 100_000
    """Characters of one text."""
    max_body_bytes: int = 4 * 2**20
    """Bytes of one request's body."""
    max_queue: int = 4096
    """Texts that wait in one process; a request beyond it gets 429."""
    precision: str = "auto"
    """Number format of the answers; see `model.inference.open_for_answers`."""

    def check(self) -> None:
        """Refuse values that no server can have.

        Raises:
            BadInput: a port or a limit out of range, or an unknown precision.
        """
        check_precision(self.precision)
        ranges = {
            "port": (0, 65535),
            "workers": (1, 256),
            "max_texts": (1, 65536),
            "max_characters": (1, 10**8),
            "max_body_bytes": (1024, 2**30),
            "max_queue": (1, 10**6),
        }
        problems = [
            Problem(f"@{{{name}}}", f"a number from {low:,} to {high:,}", f"{value:,}")
            for name, (low, high) in ranges.items()
            if not low <= (value := getattr(self, name)) <= high
        ]
        if self.max_queue < self.max_texts:
            found = f"{self.max_queue:,}"
            problems.append(
                Problem("@{max_queue}", f"at least the {self.max_texts:,} of @{{max_texts}}", found)
            )
        if problems:
            raise BadInput(problems)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_token(file: str | Path) -> str:
    """Return the token in a file: its only line.

    Raises:
        BadInput: the file cannot be read, or does not hold one line of at least 16 visible ASCII characters.
    """
    expected = "one line of at least 16 visible ASCII characters"
    remedy = "Write one, for example with: openssl rand -hex 32"
    try:
        content = Path(file).read_bytes()[:4096]
    except OSError as error:
        raise BadInput(Problem(str(file), expected, f"{error.strerror or error}", remedy)) from error
    token = content.decode("ascii", errors="replace").strip()
    if not _TOKEN.fullmatch(token):
        # Never the content: the message may end up in a log.
        raise BadInput(Problem(str(file), expected, f"another content ({len(content)} bytes)", remedy))
    return token

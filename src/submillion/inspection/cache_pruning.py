"""Deletes entries of the cache folder that no process uses: the old ones, the least recently used, or all."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from submillion.cache import cache_root, lock_of, locked
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.files.atomic import ABANDONED_S, is_temporary
from submillion.inspection.cache_entries import KINDS, Entry, children, listing
from submillion.run_place import LOCK
from submillion.wording import byte_count, printable

RETAINED = ("estimators",)
"""Kinds that only a training can make again, and that a pickled object may need: deleted only if they are named."""
_AMOUNT = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_BYTES = {"": 1, "b": 1, "bytes": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("", 1000), ("b", 1000), ("ib", 1024))
}
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True)
class Pruned:
    """What `prune` deleted."""

    path: str
    deleted: list[Entry]
    retained: dict[str, str]
    """Entries that were chosen and could not be deleted, `kind/name`, with the reason."""
    rest: int
    """Bytes of the entries that are still there."""
    dry_run: bool

    @property
    def freed(self) -> int:
        """Bytes of the deleted entries."""
        return sum(entry.size for entry in self.deleted)

    def to_json(self) -> dict[str, Any]:
        """Return path, deleted, retained, freed, rest and dry_run."""
        return asdict(self) | {"freed": self.freed}

    def render(self) -> str:
        """Return a line per entry, and the sum."""
        verb = "would be freed" if self.dry_run else "freed"
        lines = [f"{entry.kind}/{entry.name}: {byte_count(entry.size)}" for entry in self.deleted]
        lines += [f"{name}: not deleted, {reason}" for name, reason in self.retained.items()]
        lines.append(f"{self.path}: {byte_count(self.freed)} {verb}, {byte_count(self.rest)} left")
        return "\n".join(map(printable, lines))


def prune(
    max_size: str | None = None,
    older_than: str | None = None,
    everything: bool = False,
    kinds: Sequence[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Delete entries of the cache folder that no running process has locked; nothing outside it, and no link's target.

    Args:
        max_size: delete the least recently used entries until the others take at most this: `20GB`, `500 MB`.
        older_than: delete entries without a use for this long: `12h`, `30d`, `4w`.
        everything: delete all entries.
        kinds: only these kinds; without any, all but those of RETAINED.
        dry_run: delete nothing, but return what would be deleted.

    Raises:
        BadInput: none or more than one of the first three, a value that is no size or time, or an unknown kind.
    """
    wanted = {"max_size": max_size, "older_than": older_than, "everything": everything or None}
    if sum(value is not None for value in wanted.values()) != 1:
        given = [f"@{{{name}}}" for name, value in wanted.items() if value is not None]
        expected = "one of @{max_size}, @{older_than} and @{everything}"
        raise BadInput(Problem("cache prune", expected, "several" if given else "none"))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        hint = did_you_mean(unknown[0], KINDS)
        raise BadInput(Problem("@{kinds}", f"one of {', '.join(KINDS)}", f"'{unknown[0]}'", hint))
    found = listing()
    entries = [
        entry for entry in found.entries if (entry.kind in kinds if kinds else entry.kind not in RETAINED)
    ]
    if max_size is not None:
        entries = _beyond(entries, byte_size(max_size))
    elif older_than is not None:
        seconds = age_seconds(older_than)
        entries = [entry for entry in entries if entry.age_s > seconds]
    deleted, retained = [], {}
    for entry in entries:
        reason = _delete(entry, dry_run)
        if reason is None:
            deleted.append(entry)
        else:
            retained[f"{entry.kind}/{entry.name}"] = reason
    rest = found.size - sum(entry.size for entry in deleted)
    return Pruned(found.path, deleted, retained, rest, dry_run)


def byte_size(text: str) -> int:
    """Return the bytes of a size such as `20GB` (10^9), `500 MB` or `2GiB` (2^30).

    Raises:
        BadInput: it is no size.
    """
    return int(_amount(text, _BYTES, "@{max_size}", "a size such as 20GB or 500MB"))


def age_seconds(text: str) -> float:
    """Return the seconds of an age such as `12h`, `30d` or `4w`.

    Raises:
        BadInput: it is no age.
    """
    return _amount(text, _SECONDS, "@{older_than}", "a time such as 12h, 30d or 4w")


def _amount(text: str, units: Mapping[str, float], argument: str, expected: str) -> float:
    """Return a number times the value of its unit, as in `20GB`."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or match["unit"].lower() not in units:
        raise BadInput(Problem(argument, expected, f"'{text}'"))
    return float(match["number"]) * units[match["unit"].lower()]


def _beyond(entries: Iterable[Entry], max_bytes: int) -> list[Entry]:
    """Return the least recently used entries, without which the others take at most `max_bytes`."""
    by_use = sorted(entries, key=lambda entry: entry.last_use)
    total, beyond = sum(entry.size for entry in by_use), []
    for entry in by_use:
        if total <= max_bytes:
            break
        beyond.append(entry)
        total -= entry.size
    return beyond


def _delete(entry: Entry, dry_run: bool) -> str | None:
    """Delete an entry, whole or not at all; return the reason if it stays."""
    if entry.unfinished and entry.age_s < ABANDONED_S:
        return "a process may be writing it"
    path = entry.place
    try:
        with _unused(entry):
            if dry_run:
                return None
            if path.is_dir() and not path.is_symlink():
                # Under a name that no reader looks for, so that a killed deletion leaves no half of an entry.
                aside = path
                if not is_temporary(path.name):
                    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
                    path.rename(aside)
                shutil.rmtree(aside)
            else:
                path.unlink()
    except BlockingIOError:
        return "a running process uses it"
    except FileNotFoundError:
        return "another process has deleted it"
    except OSError as error:
        return f"{error.strerror or error}"
    return None


@contextmanager
def _unused(entry: Entry) -> Iterator[None]:
    """Hold the locks that a process takes which makes or uses an entry.

    Raises:
        BlockingIOError: a process holds one of them.
    """
    path = entry.place
    locks = [lock_of(path)]
    if entry.kind == "estimators":
        locks.append(path / LOCK)
    elif entry.kind == "wheels":
        # No lock of their own: they belong to an encoder or a data set that is being fetched.
        locks = [file for kind in ("encoders", "data") for file in children(cache_root() / kind)]
    elif entry.unfinished:
        locks += [
            file for file in children(path.parent) if entry.name.startswith(file.name.removesuffix(".lock"))
        ]
    with ExitStack() as held:
        for lock in locks:
            if lock.name.endswith(LOCK) and lock.is_file():
                held.enter_context(locked(lock, wait=False))
        yield

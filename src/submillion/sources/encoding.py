"""Finds the encoding and the line ends of a text file, and checks that the whole file can be decoded."""

from __future__ import annotations

import codecs
import contextlib
import encodings.aliases
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

from charset_normalizer import from_bytes

from submillion import notices
from submillion.errors import BadInput, Problem, did_you_mean
from submillion.wording import percent

BLOCK = 1 << 18  # bytes decoded at a time
SAMPLE = 1 << 16  # bytes of lines beyond ASCII from which the encoding is detected
CONTEXT = 200  # bytes of a line in the sample before its first byte beyond ASCII
MOST_LINES = 20_000  # lines beyond ASCII that are looked at
PER_LINE = 4096  # bytes of a line in the sample after it
# Shares of lines, and of bytes beyond ASCII, that are valid utf-8, above which a file counts as damaged utf-8. By
# chance some lines of every encoding are, and a tenth of the bytes of Chinese and Korean ones.
MIXED_LINES = 0.1
MIXED_BYTES = 0.5
NEAR = 0.02  # difference of charset-normalizer's measure of disorder that decides nothing
BOMS = (
    # utf-32 first: its mark begins with that of utf-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WIDE = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
# The encodings of Windows first, then those of other systems that still occur. The ISO 8859 family is missing: where a
# Windows encoding differs from its relative there, ISO has control characters that texts do not contain.
NARROW = (
    *(f"cp125{number}" for number in "201345678"),
    *("koi8_r", "gb18030", "big5", "cp932", "euc_jp", "cp949", "mac_roman", "cp850"),
)
BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
CONTROLS_UTF8 = re.compile(rb"\xc2[\x80-\x9f]")
CONTROLS = re.compile("[\x80-\x9f]")
# Python's codecs that do not decode bytes of text files, or that would execute escapes in them.
NO_ENCODINGS = {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "mbcs", "oem"}


@dataclass(frozen=True)
class TextForm:
    """How the bytes of a file become lines of text."""

    encoding: str
    newline: str = "\n"
    """Character that ends a line; a carriage return before a newline belongs to the line's end."""
    detected: str = ""
    """The line that shows the encoding best, if the bytes alone decided about it."""
    line: int = 0
    """Its number."""
    breaks: int = 0
    """Ends of lines."""
    controls: int = 0
    """Characters U+0080 to U+009F, which no text contains on purpose."""


def text_form(path: Path, encoding: str | None = None) -> TextForm:
    """Return how a file is decoded: as asked, by its byte order mark, as utf-8, or else as its bytes suggest.

    The whole file is decoded once, so that reading it later meets no surprise. charset-normalizer detects the encoding;
    of two encodings that fit equally well, cp1252 (Windows, Western Europe) is taken.

    Args:
        path: an existing file.
        encoding: the name of an encoding; None finds it.

    Raises:
        BadInput: the file cannot be decoded, with the line and the byte; or there is no such encoding.
    """
    status = path.stat()
    form = _form_or_refusal(path, encoding, (status.st_size, status.st_mtime_ns, status.st_ino))
    if isinstance(form, BadInput):
        raise BadInput(form.problems)
    return form


def further_encoding(path: Path, likely: str | None) -> str | None:
    """Return the encoding to read a further file of a run with: that of its data if the file is not utf-8, else None.

    Args:
        path: an existing file.
        likely: encoding of the run's data, None if it was not named.
    """
    if likely is None:
        return None
    try:
        form = text_form(path)
    except BadInput:
        return likely
    return likely if form.detected else None


def announce(path: Path, form: TextForm) -> None:
    """Report an encoding that was detected, and control characters that a wrong encoding leaves behind."""
    if form.detected:
        notices.emit(
            "encoding",
            f"{path.name}: not utf-8; read as {form.encoding}, which its bytes suggest. Line {form.line} reads: "
            f"{form.detected!r}. If that is wrong, name the encoding (data.encoding).",
            encoding=form.encoding,
            line=form.line,
        )
    if form.controls:
        remedy = (
            "in the encoding cp1252 (data.encoding) they are quotes and dashes"
            if form.encoding in ("latin-1", "latin_1", "iso8859-1", "iso8859_1")
            else "the file was probably converted as if it were latin-1; convert the original again as cp1252"
        )
        notices.emit(
            "control_characters",
            f"{path.name}: {form.controls:,} control characters U+0080 to U+009F in the texts; {remedy}.",
            characters=form.controls,
        )


@lru_cache(maxsize=64)
def _form_or_refusal(path: Path, asked: str | None, status: tuple[int, int, int]) -> TextForm | BadInput:  # noqa: ARG001  # part of the key
    try:
        return _text_form(path, asked)
    except BadInput as error:
        return error


def _text_form(path: Path, asked: str | None) -> TextForm:
    with path.open("rb") as file:
        beginning = file.read(4)
    mark = next((name for bom, name in BOMS if beginning.startswith(bom)), None)
    if asked is not None:
        return _scanned(path, _as_asked(path, asked, mark))
    if mark:
        return _scanned(path, mark)
    found = _first_nul(path)
    if found is None:
        try:
            return _scanned(path, "utf-8")
        except BadInput as error:
            return _detected(path, NARROW, error)
    line = f"{path}, line {found}"
    nul = Problem(
        line, "text", "a byte of value zero", "Remove it, or name the encoding with @{data.encoding}."
    )
    return _detected(path, WIDE, BadInput(nul))


def _as_asked(path: Path, asked: str, mark: str | None) -> str:
    """Return the name of the codec for an encoding that the user names."""
    name = ""
    # LookupError also of codecs that do not decode to text.
    with contextlib.suppress(LookupError, ValueError):
        codec = codecs.lookup(asked).name
        with contextlib.suppress(UnicodeError):
            b"text".decode(codec)
        name = codec
    if not name or name.replace("-", "_") in NO_ENCODINGS:
        known = sorted({*encodings.aliases.aliases.values(), "utf-8", "utf-16", "latin-1"} - NO_ENCODINGS)
        hint = did_you_mean(asked, known)
        raise BadInput(
            Problem("@{data.encoding}", "an encoding such as utf-8, cp1252 or gb18030", repr(asked), hint)
        )
    name = "utf-8" if name == "utf-8-sig" else name
    if mark and not name.startswith(mark):
        found = f"the byte order mark of {mark}"
        raise BadInput(Problem(str(path), f"text in {name} (data.encoding)", found, "Omit @{data.encoding}."))
    return mark or name


def _first_nul(path: Path) -> int | None:
    """Return the line of the first byte of value zero, None if there is none."""
    line = 1
    for block in _blocks(path):
        position = block.find(b"\0")
        if position >= 0:
            return line + block.count(b"\n", 0, position)
        line += block.count(b"\n")
    return None


def _scanned(path: Path, encoding: str) -> TextForm:
    """Decode a whole file; return its form, or raise BadInput with the line that is not in the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = returns = pairs = controls = begun = 0  # begun: bytes of the current line in earlier blocks
    before = first = ""
    for block in chain(_blocks(path), [b""]):
        pending = decoder.getstate()[0] if not isinstance(decoder.getstate()[0], int) else b""
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            raise _undecodable(
                path, encoding, pending + block, newlines, begun - len(pending), error
            ) from error
        if encoding == "utf-8":
            controls += len(CONTROLS_UTF8.findall(block))
        elif not text.isascii():
            controls += len(CONTROLS.findall(text))
        newlines += text.count("\n")
        returns += text.count("\r")
        pairs += text.count("\r\n") + (before == "\r" and text[:1] == "\n")
        first = first or next((end for end in re.findall(r"\r\n|\r|\n", text[:SAMPLE])[:1]), "")
        before = text[-1:]
        begun = len(block) - 1 - block.rfind(b"\n") + (0 if b"\n" in block else begun)
    # Spreadsheets on old Macintosh computers end rows with a carriage return, and lines inside a cell with a newline.
    alone = returns - pairs
    newline = "\r" if first == "\r" and alone > newlines else "\n"
    return TextForm(encoding, newline, breaks=newlines + alone, controls=controls)


def _undecodable(
    path: Path, encoding: str, data: bytes, newlines: int, begun: int, error: UnicodeError
) -> BadInput:
    """Return the error for bytes that are not in an encoding.

    Args:
        path: the file.
        encoding: of the file.
        data: the bytes.
        newlines: before them in the file.
        begun: bytes of the current line before them.
        error: of the decoder.
    """
    start = error.start if isinstance(error, UnicodeDecodeError) else 0
    line = newlines + 1 + data.count(b"\n", 0, start)
    begin = data.rfind(b"\n", 0, start) + 1 if b"\n" in data[:start] else -begun
    found = (
        f"byte 0x{data[start]:02x} at position {start - begin + 1} of the line"
        if data[start:]
        else "half a character"
    )
    remedy = "Name the encoding of the file with @{data.encoding}, or save the file as utf-8."
    return BadInput(Problem(f"{path}, line {line}", f"text in {encoding}", found, remedy))


def _detected(path: Path, candidates: Sequence[str], refusal: BadInput) -> TextForm:
    """Return the form of a file that is not utf-8; raise `refusal` if no encoding fits all of it."""
    wide = candidates is WIDE
    sample = next(_blocks(path)) if wide else _beyond_ascii(path, refusal)
    for encoding in _likely(sample[: SAMPLE - SAMPLE % 4] if wide else sample, candidates):
        try:
            form = _scanned(path, encoding)
        except BadInput:
            continue
        if wide and not form.breaks:  # any bytes are utf-16, but only utf-16 has line ends then
            continue
        number, line = _telling_line(path, form)
        return replace(form, detected=line, line=number)
    raise refusal


def _beyond_ascii(path: Path, refusal: BadInput) -> bytes:
    """Return a sample of the bytes around those beyond ASCII.

    Raises:
        BadInput: `refusal`, because so much of the file is valid utf-8 that the rest of it must be damaged.
    """
    sample = bytearray()
    lines = valid_lines = size = valid_size = 0
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(BLOCK), b""):
            if line.isascii():
                continue
            beyond = BEYOND_ASCII.findall(line)
            size += sum(map(len, beyond))
            valid = sum(len(found) for part in beyond for found in UTF8.findall(part))
            valid_size += valid
            lines += 1
            valid_lines += valid == sum(map(len, beyond))
            if len(sample) < SAMPLE:
                start = line.index(beyond[0])
                sample += line[max(0, start - CONTEXT) : start + PER_LINE] + b"\n"
            if lines == MOST_LINES:
                break
    if valid_lines > max(1, MIXED_LINES * lines) or valid_size > MIXED_BYTES * size:
        (problem,) = refusal.problems
        found = f"{problem.found}, although {percent(valid_size / size, 0)} of the bytes beyond ASCII are"
        remedy = "Correct the damaged lines, or name the encoding of the file with @{data.encoding}."
        raise BadInput(Problem(problem.where, problem.expected, found, remedy))
    return bytes(sample)


def _likely(sample: bytes, candidates: Sequence[str]) -> Iterator[str]:
    """Yield the encodings that a sample may have, the likeliest first."""
    matches = list(from_bytes(sample, cp_isolation=list(candidates)))
    if not matches:
        return
    near = [match for match in matches if match.chaos <= matches[0].chaos + NEAR]
    if any("cp1252" in match.could_be_from_charset for match in near):
        yield "cp1252"
    for match in matches:
        yield match.encoding


def _telling_line(path: Path, form: TextForm) -> tuple[int, str]:
    """Return the first line beyond ASCII, shortened around its first such character, and its number."""
    with path.open(encoding=form.encoding, newline=form.newline) as file:
        for number, line in enumerate(file, start=1):
            if not line.isascii() or form.encoding in WIDE:
                start = next((place for place, char in enumerate(line) if not char.isascii()), 0)
                return number, line[max(0, start - 20) : start + 40].strip()
    return 1, ""


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")

"""Which format a file has, told by its first bytes and its name; what is not read is refused and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from submillion.data import arrow_form, delimited, json_form
from submillion.data.table import Table
from submillion.errors import BadInput, Problem, did_you_mean

READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": delimited.comma_separated,
    ".tsv": delimited.tab_separated,
    ".tab": delimited.tab_separated,
    ".jsonl": json_form.json_lines,
    ".ndjson": json_form.json_lines,
    ".json": json_form.json_file,
    ".parquet": arrow_form.parquet,
    ".arrow": arrow_form.arrow,
    ".feather": arrow_form.arrow,
    ".txt": delimited.text_lines,
    ".text": delimited.text_lines,
    "": delimited.text_lines,
}
PICKLES = (".pkl", ".pickle", ".p", ".joblib")
# A pickle of protocol 2 to 5 starts with the opcode PROTO and its number (pickletools).
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
FOREIGN = {
    b"\x1f\x8b": ("a gzip archive", "Unpack it: gunzip FILE."),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "Unpack it, or save the sheet as csv (utf-8)."),
    b"BZh": ("a bzip2 archive", "Unpack it: bunzip2 FILE."),
    b"\xfd7zXZ": ("an xz archive", "Unpack it: unxz FILE."),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "Unpack it: unzstd FILE."),
    b"\xff\xfe": ("text in utf-16", "Save it as utf-8: iconv -f utf-16 -t utf-8 FILE > NEW."),
    b"\xfe\xff": ("text in utf-16", "Save it as utf-8: iconv -f utf-16 -t utf-8 FILE > NEW."),
}


def open_table(path: str | Path, form: str | None = None, trust_pickle: bool = False) -> Table:
    """Open a file of texts, labelled or not.

    Args:
        path: csv, tsv, jsonl, json, parquet, arrow, plain text lines.
        form: `orange-tab` where the source knows that it is one; null tells the format by the file.
        trust_pickle: unpickle pickles, which runs code that their author chose.

    Raises:
        BadInput: no such file, an empty one, a pickle, or a format that is not read here.
    """
    path = Path(path)
    beginning = _beginning(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES or beginning.startswith(PICKLE_MAGIC):
        if trust_pickle:
            return arrow_form.pickle(path)
        raise BadInput(
            Problem(
                str(path),
                "a file that holds data only",
                "a pickle: reading one runs code that the file's author chose",
                "Save it as csv, jsonl or parquet; if you made it yourself, --set data.trust_pickle=true.",
            )
        )
    for magic, (found, remedy) in FOREIGN.items():
        if beginning.startswith(magic):
            raise BadInput(Problem(str(path), "a file of texts", found, remedy))
    if form == "orange-tab":
        return delimited.orange(path)
    if beginning.startswith(b"PAR1"):
        return arrow_form.parquet(path)
    if beginning.startswith(b"ARROW1"):
        return arrow_form.arrow(path)
    if suffix not in READERS:
        known = ", ".join(name for name in READERS if name)
        raise BadInput(Problem(str(path), f"a file whose name ends in {known}", f"'{path.suffix}'"))
    return READERS[suffix](path)


def _beginning(path: Path) -> bytes:
    if not path.exists():
        folder = path.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        found = "no such file" if folder.is_dir() else f"no such folder as '{folder}'"
        raise BadInput(Problem(str(path), "a file of texts", found, did_you_mean(path.name, names)))
    if path.is_dir():
        raise BadInput(Problem(str(path), "a file of texts", "a folder"))
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
    except OSError as error:
        raise BadInput(Problem(str(path), "a file that can be read", f"{error.strerror}")) from error
    if not beginning:
        raise BadInput(Problem(str(path), "a file of texts", "an empty file"))
    return beginning

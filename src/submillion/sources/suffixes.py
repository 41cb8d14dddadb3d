"""Data file formats by suffix, and how a pickle is recognised."""

from __future__ import annotations

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
    ".text": "text",
}
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
ARCHIVES = (".gz", ".zip")
PLAIN = tuple(suffix for suffix, form in FORMATS.items() if form == "text")
LABELLED = (*(suffix for suffix in FORMATS if suffix not in PLAIN), *SPREADSHEETS, *ARCHIVES)
# Listed with the data files, so that the reader can say why it refuses them.
PICKLES = (".pkl", ".pickle", ".p", ".joblib")
# A pickle of protocol 2 to 5 starts with the opcode PROTO and its number (pickletools).
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
DATA_SUFFIXES = (*FORMATS, *SPREADSHEETS, *ARCHIVES, *PICKLES)

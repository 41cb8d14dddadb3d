"""Loads an encoder's fast tokenizer from its folder: no code of the folder is run, no error of a parser escapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from submillion.errors import BadInput, Problem
from submillion.families.families import FAMILIES
from submillion.sources.folder import CONFIG, TOKENIZERS, read_config
from submillion.wording import excerpt, listed

SENTENCEPIECE = ("sentencepiece.bpe.model", "spm.model", "spiece.model")
"""Tokenizer files that transformers converts with the two libraries below."""
SENTENCEPIECE_NEEDS = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""Packages and the modules that they install."""


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """Load the fast tokenizer in a folder, without the hub.

    Raises:
        BadInput: the folder has no tokenizer files, they cannot be read, or a library that reads them is missing.
    """
    folder = Path(folder)
    # With config.json alone, transformers silently builds a tokenizer without a vocabulary.
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise BadInput(
            Problem(
                str(folder),
                f"a tokenizer: {' or '.join(' with '.join(names) for names in TOKENIZERS)}",
                "none" if folder.is_dir() else "no such folder",
                "Save the tokenizer there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER).",
            )
        )
    _check_libraries(folder)
    with rust_errors(str(folder), "a tokenizer that transformers can load"):
        # The folder is local, which the security linter cannot know.
        tokenizer = AutoTokenizer.from_pretrained(  # nosec B615
            str(folder), config=_config(folder), local_files_only=True, trust_remote_code=False
        )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BadInput(
            Problem(
                str(folder),
                "a fast tokenizer",
                f"{type(tokenizer).__name__}, a slow one",
                "Save a tokenizer that has a tokenizer.json.",
            )
        )
    return tokenizer


@contextmanager
def rust_errors(where: str, expected: str) -> Iterator[None]:
    """Turn whatever the parsers of a tokenizer raise into one message; all of it means that the files are not usable.

    Args:
        where: the tokenizer, for the message.
        expected: what it should be.

    Raises:
        BadInput: the block raised an error.
    """
    try:
        yield
    except BaseException as error:
        # A panic of the Rust library is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, BadInput):
            raise
        found = f"{type(error).__name__}: {excerpt(' '.join(str(error).split()), 300)}"
        raise BadInput(Problem(where, expected, found)) from error


def _config(folder: Path) -> Any:
    """Return a configuration of the folder's family for transformers, which chooses the tokenizer's class by it.

    Not the folder's own: it may name code to run, or hold numbers that exhaust the memory.
    """
    if not (folder / CONFIG).is_file():
        return PreTrainedConfig()
    kind = read_config(folder, str(folder))["model_type"]
    return CONFIG_MAPPING[kind]() if kind in FAMILIES else PreTrainedConfig()


def _check_libraries(folder: Path) -> None:
    """Refuse a folder with a sentencepiece model alone if a library is missing; transformers would name another one."""
    present = [name for name in SENTENCEPIECE if (folder / name).is_file()]
    if not present or (folder / "tokenizer.json").is_file():
        return
    missing = [package for package, module in SENTENCEPIECE_NEEDS.items() if not _is_installed(module)]
    if missing:
        raise BadInput(
            Problem(
                str(folder),
                f"tokenizer.json, or the packages that convert {present[0]} (sentencepiece and protobuf)",
                f"no tokenizer.json and no package {listed(missing)}",
                f"Install them with: pip install {' '.join(SENTENCEPIECE_NEEDS)}",
            )
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent package
        return False

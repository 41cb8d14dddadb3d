"""Data in folders: the files of each split, by the names of files and folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from submillion import notices
from submillion.errors import BadInput, Problem
from submillion.sources.suffixes import DATA_SUFFIXES, LABELLED, PLAIN
from submillion.wording import listed

# Files that `datasets` writes beside the data.
NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
DEPTH = 2
"""Levels of folders that data files are looked for in, the named folder included."""
LISTED_FILES = 5
SPLIT_WORDS = {
    "train": ("train", "training", "trainset"),
    "validation": ("validation", "valid", "val", "dev", "validset", "devset"),
    "test": ("test", "testing", "testset"),
}


def split_of(name: str) -> str | None:
    """Return the split of a name: test for `test_public`, validation for `agnews-dev`; None if it names none."""
    for word in re.split(r"[^a-z]+", name.lower()):
        for split, words in SPLIT_WORDS.items():
            if word in words:
                return split
    return None


def data_files(folder: Path) -> dict[str, list[Path]]:
    """Return a folder's data files by split, according to the names of files and folders up to two levels deep.

    If a name contains `train`, `test`, `valid` or `dev`, only files with such names are used; else all are train.
    Plain text files are used only if there are no other files.

    Raises:
        BadInput: there are no data files, or a split has files of several formats.
    """
    files = sorted(
        file
        for pattern in ("*", "*/*")
        for file in folder.glob(pattern)
        if is_data(file) and (file.is_file() or file.is_symlink())
        if not any(map(is_hidden, file.relative_to(folder).parts))
    )
    files = [file for file in files if file.suffix.lower() not in PLAIN] or files
    files = [file for file in files if is_there(file)]
    if not files:
        raise BadInput(Problem(str(folder), f"data files ({', '.join(LABELLED)})", *_other_files(folder)))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_within(folder, file) or "", []).append(file)
    unnamed = by_split.pop("", [])
    named = bool(by_split)
    if not named:
        by_split = {"train": unnamed}
    elif unnamed:
        names = some_of([file.name for file in unnamed])
        notices.emit(
            "files_left_out",
            f"{folder}: files without a split in their name are not used: {names}.",
            files=len(unnamed),
        )
    _one_format_each(folder, by_split)
    _notice_folders(folder, by_split)
    _notice_deeper(folder, named)
    return by_split


def is_hidden(name: str) -> bool:
    """Return whether a file's or a folder's name marks it as hidden, or as a lock of Excel (`~$train.xlsx`)."""
    return name.startswith((".", "~$"))


def is_there(file: Path) -> bool:
    """Return whether a path is a file.

    Raises:
        BadInput: it is a link to something that does not exist: left out, its rows would be missing silently.
    """
    if file.is_symlink() and not file.exists():
        found = f"a link to {file.readlink()}, which does not exist"
        raise BadInput(Problem(str(file), "a file", found, "Remove the link, or restore what it names."))
    return file.is_file()


def _other_files(folder: Path) -> tuple[str, str]:
    """Return (found, remedy) for a folder without data files: perhaps its classes are folders of other files."""
    suffixes = Counter(
        file.suffix.lower()
        for pattern in ("*/*", "*/*/*")
        for file in folder.glob(pattern)
        if file.suffix and file.is_file() and not any(map(is_hidden, file.relative_to(folder).parts))
    )
    remedy = "Name the folder they are in."
    if not suffixes:
        return "none", remedy
    others = counted(suffixes)
    return (
        f"none, but {others} in its folders",
        f"{remedy} If each of its folders is a class, save each text as a .txt file.",
    )


def counted(suffixes: Counter[str]) -> str:
    """Return such as `14 .pdf and 2 .md`, the most frequent suffixes first."""
    first = suffixes.most_common(LISTED_FILES)
    shown = [f"{count:,} {suffix}" for suffix, count in first]
    more = suffixes.total() - sum(count for _, count in first)
    return listed([*shown, f"{more:,} others"] if more else shown)


def is_data(file: Path) -> bool:
    """Return whether a file's name is one of a data file."""
    return file.suffix.lower() in DATA_SUFFIXES and file.name not in NOT_DATA


def _split_within(folder: Path, file: Path) -> str | None:
    """Return the split that the innermost name gives: train/part-0.csv is train, train/test.csv is test."""
    relative = file.relative_to(folder)
    return split_of(file.stem) or next(filter(None, map(split_of, relative.parts[-2::-1])), None)


def _notice_folders(folder: Path, by_split: Mapping[str, Sequence[Path]]) -> None:
    """Emit a notice about splits whose files are in several folders, which may be configurations or languages."""
    for split, files in by_split.items():
        places = list(dict.fromkeys(file.parent.relative_to(folder).as_posix() for file in files))
        if len(places) > 1:
            notices.emit(
                "several_folders",
                f"{folder}: the files of split {split} are in {len(places)} folders and are used together: "
                f"{some_of(places)}. If they are configurations of the data, name the folder of one.",
                folders=len(places),
            )


def _notice_deeper(folder: Path, named: bool) -> None:
    """Emit a notice about data files that lie too deep to be used.

    Args:
        folder: of the data.
        named: whether the files in use are named by their splits; others would not be used anyway.
    """
    deeper = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        files = [Path(place, name) for name in sorted(names) if not is_hidden(name)]
        deeper += [
            file
            for file in files
            if len(file.relative_to(folder).parts) > DEPTH and is_data(file)
            if file.suffix.lower() not in PLAIN and (not named or _split_within(folder, file))
        ]
    if deeper:
        named_files = some_of([file.relative_to(folder).as_posix() for file in deeper])
        notices.emit(
            "files_too_deep",
            f"{folder}: files more than {DEPTH} levels deep are not used: {named_files}.",
            files=len(deeper),
        )


def some_of(names: Sequence[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = [f"and {len(names) - LISTED_FILES:,} more"] if len(names) > LISTED_FILES else []
    return ", ".join([*names[:LISTED_FILES], *more])


def _one_format_each(folder: Path, by_split: dict[str, list[Path]]) -> None:
    """Reject train.csv beside train.jsonl, which are probably the same rows."""
    for split, files in by_split.items():
        suffixes: Sequence[str] = sorted({file.suffix.lower() for file in files})
        if len(suffixes) > 1:
            raise BadInput(
                Problem(
                    f"{folder}, split {split}",
                    "files of one format",
                    f"{', '.join(file.name for file in files[:5])}",
                    "Name one of them with @{data.train} or @{data.test}.",
                )
            )

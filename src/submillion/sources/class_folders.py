"""Texts in one folder per class, one file each, perhaps below a folder per split; copied into one csv per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submillion import notices
from submillion.cache import cache_root
from submillion.files.csv_rows import csv_writer
from submillion.sources import store
from submillion.sources.data_folder import counted, is_data, is_hidden, is_there, some_of, split_of
from submillion.sources.suffixes import PLAIN
from submillion.sources.text_files import digest_of, in_unicode, is_text, read_text
from submillion.wording import listed, plural

COLUMNS = ("id", "text", "label")
UNLABELLED = {"unsup", "unlabeled", "unlabelled"}
"""Folders of texts without a class, as in the movie reviews of Maas et al. 2011."""
REVISION = 1  # of the copies: those of an earlier one are not used any more


@dataclass(frozen=True)
class ClassFolders:
    """The files of one folder per class."""

    folder: Path
    splits: dict[str, dict[str, list[Path]]]
    """Files by class by split."""

    @classmethod
    def found(cls, folder: Path) -> ClassFolders | None:
        """Return the texts of a folder that has a folder for each class; None if it has other data, or no such folders.

        The classes are folders of text files in FOLDER, or in FOLDER/train, FOLDER/test and so on.
        """
        if any(map(_is_labelled, _visible(folder))):
            return None
        below = [entry for entry in _visible(folder) if entry.is_dir()]
        if any(_is_labelled(file) for entry in below for file in _visible(entry)):
            return None
        by_split = {split: _classes(entry) for entry in below if (split := split_of(entry.name))}
        splits = {split: classes for split, classes in by_split.items() if len(classes) > 1}
        if not splits:
            classes = _classes(folder)
            if len(classes) < 2 or all(split_of(name) for name in classes) or _are_splits(classes):
                return None
            splits = {"train": classes}
        return cls(folder, splits)

    def copies(self, encoding: str | None) -> tuple[dict[str, Path], dict[str, str]]:
        """Write a csv of each split into the cache, with the file's path as id.

        Args:
            encoding: of the files; None finds it.

        Returns:
            The csv, and the sha256 of all paths and bytes, by split.

        Raises:
            BadInput: a file cannot be decoded.
            SubmillionError: the cache cannot be written.
        """
        digests = {split: digest_of(self.folder, _files(classes)) for split, classes in self.splits.items()}
        copies = {}
        for split, digest in digests.items():
            target = cache_root() / "converted" / f"{digest[:32]}-{encoding or 'found'}-{REVISION}-{split}"

            def convert(place: Path, split: str = split) -> dict[str, Any]:
                with (place / f"{split}.csv").open("w", encoding="utf-8", newline="") as out:
                    return {"encodings": self._write(split, encoding, csv_writer(out).writerow)}

            detected = store.cached_folder(target, convert)["facts"]["encodings"]
            copies[split] = target / f"{split}.csv"
            if detected:
                read = listed(f"{plural(count, 'file')} as {name}" for name, count in detected.items())
                notices.emit(
                    "encoding",
                    f"{self.folder}, {split}: not utf-8; read {read}. If that is wrong, name the encoding "
                    "(data.encoding).",
                )
        return copies, digests

    def announce(self) -> None:
        """Report the classes, and the folders of texts without a class, which are not used."""
        names = list(dict.fromkeys(name for classes in self.splits.values() for name in classes))
        count = sum(len(files) for classes in self.splits.values() for files in classes.values())
        notices.emit(
            "class_folders",
            f"{self.folder}: {plural(count, 'text')} in {len(names):,} folders, which are the classes: "
            f"{some_of(names)}.",
            classes=len(names),
        )
        if others := self._others():
            notices.emit(
                "files_left_out",
                f"{self.folder}: files of other types than .txt are not read: {counted(others)}.",
                files=others.total(),
            )
        without = [
            entry for entry in self.folder.glob("**") if entry.is_dir() and entry.name.lower() in UNLABELLED
        ]
        if without:
            places = some_of([entry.relative_to(self.folder).as_posix() for entry in without])
            notices.emit(
                "files_left_out", f"{self.folder}: folders of texts without a class are not used: {places}."
            )

    def _others(self) -> Counter[str]:
        """Return how many files in the folders of classes are no texts, by their suffixes."""
        above = {files[0].parent.parent for classes in self.splits.values() for files in classes.values()}
        return Counter(
            file.suffix.lower()
            for place in above
            for entry in _visible(place)
            if entry.is_dir() and entry.name.lower() not in UNLABELLED
            for file in _visible(entry)
            if file.is_file() and not is_text(file)
        )

    def _write(
        self, split: str, encoding: str | None, write: Callable[[Sequence[str]], object]
    ) -> dict[str, int]:
        """Write the rows of a split; return the encodings that were detected, with their numbers of files."""
        detected: Counter[str] = Counter()
        write(COLUMNS)
        for label, files in self.splits[split].items():
            for file in files:
                text, found = read_text(file, encoding)
                if found:
                    detected[found] += 1
                write((in_unicode(file.relative_to(self.folder).as_posix()), text, in_unicode(label)))
        return dict(detected)


def _files(classes: Mapping[str, Sequence[Path]]) -> Iterator[Path]:
    for files in classes.values():
        yield from files


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))


def _is_labelled(file: Path) -> bool:
    return is_data(file) and file.suffix.lower() not in PLAIN and is_there(file)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the text files in each folder of a folder, by the folder's name."""
    texts = {
        entry.name: [file for file in _visible(entry) if is_text(file) and is_there(file)]
        for entry in _visible(folder)
        if entry.is_dir() and entry.name.lower() not in UNLABELLED
    }
    return {name: files for name, files in texts.items() if files}


def _are_splits(classes: Mapping[str, Sequence[Path]]) -> bool:
    """Return whether the files are named as splits, such as en/train.txt: each has many texts then."""
    return all(split_of(file.stem) for file in _files(classes))

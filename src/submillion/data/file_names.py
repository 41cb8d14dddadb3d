"""Refuses training texts that are the names of files: the texts themselves are in these files."""

from __future__ import annotations

from submillion.data.rows import LabelledRows
from submillion.errors import Problem
from submillion.wording import listed, printable

ROWS = 20  # whose texts are looked at
LONGEST = 500  # characters of a file's path
SHOWN, QUOTED = 3, 40  # names quoted in the message, and characters of each


def names_of_files(train: LabelledRows) -> Problem | None:
    """Return the problem with texts that name files beside the data file or in a folder beside it, None with others.

    A table of files and their classes often lies beside one folder per class.
    """
    if train.class_values or not train.files:
        return None
    file = train.files[0][0]
    texts = [train.texts[row].strip() for row in range(min(len(train), ROWS))]
    if not texts or not all(0 < len(text) <= LONGEST and "\n" not in text for text in texts):
        return None
    try:
        folders = [file.parent, *(entry for entry in file.parent.iterdir() if entry.is_dir())]
        if not all(any((folder / text).is_file() for folder in folders) for text in texts):
            return None
    except OSError:  # a text longer than a file's name can be, or a folder that may not be listed
        return None
    columns = listed(f"'{name}'" for name in train.columns[0].text)
    quoted = ", ".join(f"'{printable(text, QUOTED)}'" for text in texts[:SHOWN])
    return Problem(
        f"{file}, column {columns}",
        "texts",
        f"the names of files: {quoted}",
        "Write the texts themselves into the column; or, if the files lie in one folder per class, move "
        f"{file.name} out of {file.parent} and name that folder.",
    )

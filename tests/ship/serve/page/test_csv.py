"""Tests of how the server's page reads csv, in node: its rows are those of the file, as `predict` counts them."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from submillion.data.formats import open_table
from submillion.ship.serve import pages
from support.npm_packages import need_node


def table_of(text: str) -> list[list[str]]:
    """Return the records that the page makes of a csv with commas."""
    need_node()
    source = (Path(pages.__file__).parent / "page" / "csv.js").read_bytes()
    module = f"data:text/javascript;base64,{base64.b64encode(source).decode()}"
    script = f"const {{ table }} = await import({json.dumps(module)});"
    script += f"console.log(JSON.stringify(table({json.dumps(text)}, ',')));"
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script], capture_output=True, text=True, check=True
    )
    records: list[list[str]] = json.loads(done.stdout)
    return records


@pytest.mark.parametrize("text", ["text\na\n\nb\n", 'text\r\na\r\n\r\n""\r\nb\r\n\r\n', "text\n\na"])
def test_a_blank_line_of_one_column_is_an_empty_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "texts.csv"
    file.write_bytes(text.encode())
    rows = [[str(value) for value in values] for _, values in open_table(file).rows(["text"])]
    assert "" in [row[0] for row in rows]
    assert table_of(text) == [["text"], *rows]


def test_other_blank_lines_are_left_out() -> None:
    assert table_of("\n\ntext\na\n") == [["text"], ["a"]]
    assert table_of("text,note\na,1\n\nb,2\n\n") == [["text", "note"], ["a", "1"], ["b", "2"]]

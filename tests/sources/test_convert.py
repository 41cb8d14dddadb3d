"""AG News' headerless csv, Orange's .tab and bare tab-separated files become plain csv files in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.sources.convert import Converted, converted
from submillion.sources.fetch import fetch_data


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_agnews_form_gets_a_header_and_a_text(tmp_path: Path, own_cache: Path) -> None:
    file = write(tmp_path / "train.csv", '"3","Wall St.","Bears ""claw"" back"\n\n"4","","B\nC"\n')
    copy = converted(file)
    assert copy.file.read_text(encoding="utf-8") == (
        'text,label,title,description\n"Wall St. Bears ""claw"" back",3,Wall St.,"Bears ""claw"" back"\n'
        '"B\nC",4,,"B\nC"\n'
    )
    assert copy.is_agnews and copy.file.name == "train.csv" and own_cache in copy.file.parents
    (notice,) = notices.collected()
    assert notice["text"] == "train.csv: read as class number, title and description (AG News' form)."
    changed = copy.file.stat().st_mtime_ns
    assert converted(file) == copy and copy.file.stat().st_mtime_ns == changed


def test_agnews_form_with_its_header_is_the_same(tmp_path: Path) -> None:
    rows = "3,Wall St.,Bears\n"
    plain = converted(write(tmp_path / "a.csv", rows))
    headed = converted(write(tmp_path / "b.csv", "Class Index,Title,Description\n" + rows))
    assert headed.is_agnews and headed.file.read_text() == plain.file.read_text()


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [("1234", ["World", "Sports", "Business", "Sci/Tech"]), ("13", "World"), ("0123", None), ("12345", None)],
)
def test_only_numbers_from_1_to_4_are_agnews_classes(
    tmp_path: Path, numbers: str, labels: list[str] | None
) -> None:
    file = write(tmp_path / "train.csv", "".join(f"{number},a,b\n" for number in numbers))
    data = fetch_data(str(file))
    assert (data.labels is None) == (labels is None)
    assert data.label == ("label" if labels else None)
    assert list(data.sha256) == ["train.csv"] and data.files["train"] != [file]


def test_orange_form_loses_types_and_roles(tmp_path: Path) -> None:
    content = 'Category\tText \nd\tstring\nclass\t\n\nearn\tprofit "up\nacq\tbuys, sells\n'
    copy = converted(write(tmp_path / "r8.tab", content))
    assert copy.file.name == "r8.csv" and not copy.is_agnews
    assert copy.file.read_text() == 'Category,Text\nearn,"profit ""up"\nacq,"buys, sells"\n'
    assert notices.collected() == []
    one = converted(write(tmp_path / "one.tab", "text\ns\n\n\nx\n"))
    assert one.file.read_text() == 'text\n""\nx\n'


def test_rows_of_empty_cells_are_left_out_of_orange_form(tmp_path: Path) -> None:
    copy = converted(
        write(tmp_path / "r52.tab", "Category\tText\nd\tstring\nclass\t\n\t\nearn\t\n\t\nacq\tb\n")
    )
    assert copy.file.read_text() == "Category,Text\nearn,\nacq,b\n"


def test_a_bare_file_gets_the_names_of_its_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "sms.csv", 'ham\t"Ok", she said, fine\nspam\tWIN "now\n')
    copy = converted(file, columns=("label", "text"))
    assert copy.file.read_text() == 'label,text\nham,"""Ok"", she said, fine"\nspam,"WIN ""now"\n'
    with pytest.raises(BadInput, match=r"sms\.csv, line 1: expected 3 fields, as in other rows, found 2"):
        converted(write(tmp_path / "more" / "sms.csv", "a\tb\n"), columns=("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "text,label\na,b\n"),
        ("train.csv", "1,2,3\n"),
        ("train.csv", "1,title\n"),
        ("train.csv", "id,title,description\n3,a,b\n"),
        ("train.csv", ""),
        ("train.csv", '"unfinished'),
        ("train.tsv", "3\ttitle\tdescription\n"),
        ("train.tab", "text\tlabel\nx\ty\n"),
        ("train.tab", "text\tlabel\n"),
    ],
)
def test_other_files_are_returned_as_they_are(
    tmp_path: Path, own_cache: Path, name: str, content: str
) -> None:
    file = write(tmp_path / name, content)
    assert converted(file) == Converted(file)
    assert not (own_cache / "converted").exists()


def test_rows_with_other_fields_are_refused_by_line(tmp_path: Path, own_cache: Path) -> None:
    file = write(tmp_path / "train.csv", "1,a,b\n2,c\n\n3,d,e,f\n4,g\n")
    with pytest.raises(BadInput) as refused:
        converted(file)
    assert str(refused.value).splitlines() == [
        f"{file}, lines 2, 5: expected 3 fields, as in other rows, found 2.",
        f"{file}, line 4: expected 3 fields, as in other rows, found 4.",
    ]
    assert list((own_cache / "converted").glob("[!.]*")) == []


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [("a.csv", '3,"a\rb",c\n4,d,e\n', ()), ("b.tab", 'label\ttext\nd\tstring\n\n3\t"a\n4\td\n', ())],
)
def test_a_lone_carriage_return_ends_no_row_of_the_copy(
    tmp_path: Path, name: str, content: str, columns: tuple[str, ...]
) -> None:
    from submillion.data.readers import iter_rows

    rows = list(iter_rows(converted(write(tmp_path / name, content), columns=columns).file))
    assert sum(len(ids) for ids, *_ in rows) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [
            f"{row % 4 + 1},It arrived broken again {row},{'delivery' if row % 2 else 'billing'}"
            for row in range(9)
        ],
        ["1,It arrived broken,delivery", "2,I was charged twice,billing"],  # fewer rows
        [f"{row},title {row},some text {row}" for row in range(1, 31)],  # ids
    ],
)
def test_numbers_beside_texts_and_labels_are_no_agnews_form(tmp_path: Path, rows: list[str]) -> None:
    file = write(tmp_path / "train.csv", "\n".join(rows) + "\n")
    assert converted(file) == Converted(file)


def test_a_header_that_joined_files_repeat_is_left_out_each_time(tmp_path: Path) -> None:
    part = "Class Index,Title,Description\n3,Wall St.,Bears\n"
    file = write(tmp_path / "joined.csv", f"{part}\ufeff{part}")
    for _ in range(2):  # converted, and found in the cache
        with notices.collecting():
            assert converted(file).file.read_text().count("Wall St. Bears") == 2
            assert "joined.csv: line 3 repeats the header and is left out." in [
                notice["text"] for notice in notices.collected()
            ]

"""Files as spreadsheets write them are read; rows that a stray quote merged are refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.data.readers import iter_texts, read_rows
from submillion.errors import BadInput

GOOD = "".join(f"a good text {row},{'pos' if row % 2 else 'neg'}\n" for row in range(20))


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def pairs(path: Path, **options: str) -> list[tuple[str, str]]:
    rows = read_rows([path], **options)  # type: ignore[arg-type]
    return list(zip(rows.texts, rows.labels, strict=True))


def texts_of_notices() -> str:
    return "\n".join(notice["text"] for notice in notices.collected())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_sep_line_of_excel_names_the_delimiter(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "rows.csv", "sep=;\r\ntext;score;label\r\na, b;3,5;x\r\nc;4,0;y\r\n", encoding)
    rows = read_rows([path])
    assert (
        list(rows.texts) == ["a, b", "c"]
        and rows.labels == ["x", "y"]
        and rows.where(0) == "rows.csv, line 3"
    )
    assert "line 1 names the delimiter, ';'; the header is line 2" in texts_of_notices()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_table_that_excel_saves_as_text_is_read(tmp_path: Path, encoding: str) -> None:
    content = '"Review"\tstars\tSentiment\r\ngut, schön\t4\tpos\r\nübel\t1\tneg\r\n'
    path = write(tmp_path / "rows.txt", content, encoding)
    assert pairs(path) == [("gut, schön", "pos"), ("übel", "neg")]
    assert "rows.txt: a table whose columns are separated by '\\t'." in texts_of_notices()


def test_lines_with_tabs_are_texts_unless_the_first_names_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.txt", 'good\tday\nbad\t"night\n')
    assert [texts for _, texts in iter_texts(path)] == [["good\tday", 'bad\t"night']]
    assert "quotes" not in texts_of_notices()
    with pytest.raises(BadInput, match=r"If it has columns, rename it to \.csv or \.tsv\.$"):
        read_rows([path])


def test_empty_rows_at_the_end_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text;label\r\na;x\r\nb;y\r\n;\r\n;\r\n ; \r\n")
    assert pairs(path) == [("a", "x"), ("b", "y")]
    assert "rows.csv: 3 rows without any value at the end of the file are ignored." in texts_of_notices()
    assert [texts for _, texts in iter_texts(path)] == [["a", "b"]]


def test_an_empty_row_between_others_is_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,label\na,x\n,\nb,y\n")
    with pytest.raises(BadInput, match=r"line 3: expected a label in column 'label', found nothing"):
        read_rows([path])


def test_empty_columns_at_the_end_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,label,,\na,x,,\nb,y,,,,\nc,z\n")
    assert pairs(path) == [("a", "x"), ("b", "y"), ("c", "z")]
    assert "2 columns without a name at the end are ignored" in texts_of_notices()
    assert "empty fields after the last column are ignored in 1 row." in texts_of_notices()
    with pytest.raises(BadInput, match=r"line 3: expected 2 fields, as in the header, found 3"):
        read_rows([write(tmp_path / "more.csv", "text,label\na,x\nb,y,z\n")])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('id;"comment, free text";label\n0;one;x\n1;two;y\n', "comment, free text"),
        ("comment, free text;label\none;x\ntwo;y\n", "comment, free text"),
        ("a|label\none|x\ntwo|y\n", "a"),
        ("a\tlabel\none\tx\ntwo\ty\n", "a"),
        ('a,"x;y;z",label\none,1;2;3,x\ntwo,4,y\n', "a"),
    ],
)
def test_the_delimiter_is_the_one_that_splits_all_rows(tmp_path: Path, content: str, text: str) -> None:
    assert pairs(write(tmp_path / "rows.csv", content), text=text) == [("one", "x"), ("two", "y")]


def test_rows_that_end_with_carriage_returns_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'text,label\rone,x\r"two\nlines",y\r')
    rows = read_rows([path])
    assert list(rows.texts) == ["one", "two\nlines"] and rows.examples([0, 1]) == [
        "rows.csv, line 2",
        "rows.csv, line 3",
    ]
    mixed = write(tmp_path / "mixed.csv", "text,label\none\rmore,x\ntwo,y\n")
    with pytest.raises(
        BadInput, match="line 2: expected one row per line, found a carriage return inside the row"
    ):
        read_rows([mixed])


def test_columns_may_be_named_by_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "frame.csv", "0,1\nx,one\ny,two\n")
    assert pairs(path, label="0", text="1") == [("one", "x"), ("two", "y")]


@pytest.mark.parametrize(
    ("stray", "line"),
    [
        ('"the first,pos\na second,neg\nthe third",pos\n', 22),  # label last, three rows
        ('"the first,pos\nit was 5",neg\n', 22),  # label last, two rows
    ],
)
def test_rows_merged_by_a_stray_quote_are_refused(tmp_path: Path, stray: str, line: int) -> None:
    path = write(tmp_path / "rows.csv", f"text,label\n{GOOD}{stray}{GOOD}")
    with pytest.raises(
        BadInput, match=rf"rows\.csv, line {line}: expected a quote that closes in its own row"
    ) as caught:
        read_rows([path])
    assert "contains rows of the file, such as 'the first,pos'" in str(caught.value)
    with pytest.raises(BadInput, match=rf"line {line}: expected a quote that closes"):
        list(iter_texts(path))


def test_rows_merged_where_the_label_comes_first_are_refused(tmp_path: Path) -> None:
    good = "".join(f"{'pos' if row % 2 else 'neg'},text {row},17\n" for row in range(20))
    path = write(tmp_path / "rows.csv", f'label,text,year\n{good}pos,"one,17\nneg,two",17\n{good}')
    with pytest.raises(BadInput, match=r"line 22: expected a quote that closes .* such as 'one,17'"):
        read_rows([path])


def test_texts_of_several_lines_are_texts(tmp_path: Path) -> None:
    texts = [
        "two\nlines",
        "a list:\n1, 2, 3\nand more, or less",
        "pos\nneg",
        "he said, pos\nno",
        "x,y\nz",
        "\n\n",
    ]
    quoted = "".join(f'"{text}",{label}\n' for text in texts for label in ("pos", "neg"))
    assert pairs(write(tmp_path / "rows.csv", f"text,label\n{GOOD}{quoted}"))[20::2] == [
        (text, "pos") for text in texts
    ]
    first = "".join(f'{label},"{text}"\n' for text in texts for label in ("pos", "neg"))
    assert pairs(write(tmp_path / "first.csv", f"label,text\n{first}"))[::2] == [
        (text, "pos") for text in texts
    ]


def test_stray_quotes_in_tab_separated_files_are_text(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.tsv", 'text\tlabel\n"one\tx\ntwo\ty\nthree"\tx\n')
    assert pairs(path) == [('"one', "x"), ("two", "y"), ('three"', "x")]
    assert "quotes are read as characters of the text" in texts_of_notices()
    quoted = write(tmp_path / "quoted.tsv", 'text\tlabel\n"one\nmore"\tx\ntwo\ty\n')
    assert pairs(quoted) == [("one\nmore", "x"), ("two", "y")]


def test_many_bad_rows_are_ten_lines(tmp_path: Path) -> None:
    bad = "".join(f"text,{','.join('x' * (row % 40 + 2))}\n" for row in range(1000))
    with pytest.raises(BadInput) as caught:
        read_rows([write(tmp_path / "rows.csv", f"text,label\na,b\n{bad}")])
    lines = str(caught.value).splitlines()
    assert len(lines) == 10 and "775 more problems of this kind" in lines[-1]


def test_a_million_columns_are_refused_in_a_moment(tmp_path: Path) -> None:
    names = [f"c{column}" for column in range(200_000)]
    path = write(tmp_path / "wide.csv", f"{','.join(names)}\n{','.join('1' for _ in names)}\n")
    with pytest.raises(
        BadInput, match="expected a text column 'c7x', found the columns 'c0', .* and 199980 more"
    ):
        read_rows([path], text="c7x", label="c1")


@pytest.mark.parametrize("again", ["text,label", "\ufefftext,label", '\ufeff"text","label"'])
def test_a_header_that_joined_files_repeat_is_left_out_and_counted(tmp_path: Path, again: str) -> None:
    path = write(tmp_path / "rows.csv", f"text,label\na,x\n{again}\nb,y\n")
    assert pairs(path) == [("a", "x"), ("b", "y")]
    assert "rows.csv: line 3 repeats the header and is left out." in texts_of_notices()
    assert [texts for _, texts in iter_texts(path)] == [["a", "b"]]
    more = write(tmp_path / "more.csv", f"text,label\na,x\n{again}\nb,y\n{again}\n")
    assert len(pairs(more)) == 2
    assert "2 lines repeat the header and are left out; line 3 is the first." in texts_of_notices()


def test_rows_that_look_like_the_header_by_chance_are_rows(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "text\na\ntext\n\ufefftext\nb\n")
    assert [texts for _, texts in iter_texts(one)] == [
        ["a", "text", "b"]
    ]  # with a byte order mark, it is no text
    numbers = write(tmp_path / "frame.csv", "0,1\n0,1\n1,0\n")
    assert pairs(numbers, label="0", text="1") == [("1", "0"), ("0", "1")]


@pytest.mark.parametrize("sep", ["", "sep=,\n"])
@pytest.mark.parametrize(
    "rows",
    [
        'text, label\n"broken, indeed", "delivery"\nlate, "billing"\n',
        'label, text\ndelivery, "broken, indeed"\n"billing", "late"\n',
    ],
)
def test_quotes_after_blanks_quote(tmp_path: Path, sep: str, rows: str) -> None:
    path = write(tmp_path / "rows.csv", sep + rows)
    assert pairs(path) == [("broken, indeed", "delivery"), ("late", "billing")]
    assert "rows.csv: blanks after ',' are ignored: quotes follow them." in texts_of_notices()


def test_quotes_after_blanks_that_belong_to_a_text_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'label,text\nx, "Nice" she said\ny,b\n')
    assert pairs(path) == [(' "Nice" she said', "x"), ("b", "y")]
    late = write(tmp_path / "late.csv", "label,text\n" + "x,a\n" * 150 + 'y, "b, c"\n')
    remedy = r"found 3\. Remove the blanks between ',' and the double quotes after it\."
    with pytest.raises(BadInput, match=rf"line 152: expected 2 fields, as in the header, {remedy}"):
        read_rows([late])


@pytest.mark.parametrize(
    "content", ["'text','label'\n'a, b','x'\n", "'text'\n'a'\n", "text,label\n" + "'a b', 'x'\n" * 4]
)
def test_single_quotes_around_fields_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput, match="found single quotes around them. Replace them with double quotes"):
        read_rows([write(tmp_path / "rows.csv", content)])
    kept = write(tmp_path / "kept.csv", "text,label\n'tis fine,x\nrock 'n' roll,y\n")
    assert pairs(kept) == [("'tis fine", "x"), ("rock 'n' roll", "y")]


def test_a_backslash_before_a_quote_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'text,label\na,x\n"He said \\"yes\\" now",y\n')
    with pytest.raises(BadInput, match=r'line 3: .*, found \\" inside a quoted field\. Double each quote'):
        read_rows([path])


def test_the_first_line_of_a_single_column_that_may_be_a_text_is_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "Thanks for the message\nMy parcel is lost\nCharged twice\n")
    with pytest.raises(
        BadInput, match=r"If the first line is a text, add a line 'text' above it; if it is a header"
    ):
        iter_texts(path)
    assert [texts for _, texts in iter_texts(path, text="Thanks for the message")] == [
        ["My parcel is lost", "Charged twice"]
    ]
    for name in ("customer message", "Review text (in English)", "customerReviewText"):
        named = write(tmp_path / "named.csv", f"{name}\na\n")
        assert [texts for _, texts in iter_texts(named)] == [["a"]]

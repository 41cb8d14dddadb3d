"""Text files of every encoding are read as written, with a notice where the bytes alone decided; or refused by line."""
# ruff: noqa: RUF001  # letters of other scripts on purpose

from __future__ import annotations

from pathlib import Path

import pytest

from submillion import notices
from submillion.errors import BadInput
from submillion.sources.encoding import announce, further_encoding, text_form
from submillion.sources.records import decoded_lines

WINDOWS = "text,label\nIt’s the budget – “surprised”,money\nfine,food\n"
TEXTS = {
    "cp1252": WINDOWS,
    "cp1250": "tekst,etykieta\nZażółć gęślą jaźń i proszę o źródło,a\nŁódź jest piękna, wiśnie są śliczne,b\n",
    "cp1251": "text,label\nПривет, как дела? Это хороший фильм,pos\nОчень плохо,neg\n",
    "koi8_r": "text,label\nПривет, как дела? Это хороший фильм,pos\nОчень плохо,neg\n",
    "gb18030": "text,label\n这部电影非常好看,正面\n服务态度很差,负面\n",
    "big5": "text,label\n這部電影非常好看,正面\n服務態度很差,負面\n",
    "cp932": "text,label\nこの映画はとても面白いです,正\nサービスが悪い,負\n",
    "cp949": "text,label\n이 영화는 정말 재미있어요,긍정\n서비스가 나빠요,부정\n",
    "cp1253": "text,label\nΑυτή η ταινία είναι πολύ καλή,α\nΗ εξυπηρέτηση ήταν κακή,β\n",
    "utf_16_le": "text,label\nhello,a\nworld,b\n",
    "utf_16_be": "text,label\n这部电影非常好看,正面\n",
    "utf_32_le": "text,label\nhello,a\n",
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_is_detected_and_named(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path / "rows.csv", TEXTS[encoding].encode(encoding))
    form = text_form(file)
    assert form.encoding == encoding and "".join(decoded_lines(file)) == TEXTS[encoding]
    announce(file, form)
    (notice,) = notices.collected()
    assert notice["encoding"] == encoding and f"read as {encoding}, which its bytes suggest" in notice["text"]


@pytest.mark.parametrize("text", ["fine,a\ncafé,b\n", "schöne Grüße,a\n", "it costs 5 €,a\n", WINDOWS])
def test_western_texts_are_cp1252_and_have_no_control_characters(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "rows.csv", text.encode("cp1252"))
    assert text_form(file).encoding == "cp1252" and "".join(decoded_lines(file)) == text


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf8_and_byte_order_marks_need_no_notice(tmp_path: Path, codec: str) -> None:
    file = write(tmp_path / "rows.csv", "naïve 😀\nb\n".encode(codec))
    form = text_form(file)
    announce(file, form)
    assert list(decoded_lines(file)) == ["naïve 😀\n", "b\n"] and notices.collected() == []


def test_an_encoding_that_is_named_is_used(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", "Bu film çok güzel\n".encode("cp1254"))
    assert list(decoded_lines(file, "cp1254")) == ["Bu film çok güzel\n"]
    with pytest.raises(BadInput, match=r"line 1: expected text in utf-8, found byte 0xe7 at position 9"):
        text_form(file, "utf-8")
    with pytest.raises(
        BadInput, match="expected an encoding such as utf-8, .*found 'cp1253x'. Did you mean 'cp1253'"
    ):
        text_form(file, "cp1253x")
    for name in ("rot13", "unicode_escape", "base64", "a\0b"):
        with pytest.raises(BadInput, match="expected an encoding such as utf-8"):
            text_form(file, name)
    marked = write(tmp_path / "marked.csv", "é\n".encode("utf-8-sig"))
    with pytest.raises(BadInput, match=r"found the byte order mark of utf-8\. Omit `data\.encoding`"):
        text_form(marked, "cp1252")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "é\n".encode() * 50 + b"caf\xe9\n",
            "line 51: .*byte 0xe9 at position 4 .* 99% of the bytes beyond ASCII are",
        ),
        (
            b'[{"text": "' + "é".encode() * 500_000 + b'\xe9"}]',
            "line 1: .*byte 0xe9 at position 1000012 .*>99% of",
        ),
        (b"a,b\nx\0y,z\n", "line 2: expected text, found a byte of value zero"),
        ("ab\n".encode("utf-16") + b"a", "line 2: expected text in utf-16, found byte 0x61"),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        text_form(write(tmp_path / "rows.csv", content))


def test_control_characters_of_a_wrong_conversion_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", "It\x92s, it\x96s\n".encode())
    announce(file, text_form(file))
    assert "2 control characters U+0080 to U+009F" in notices.collected()[0]["text"]
    latin = write(tmp_path / "latin.csv", b"It\x92s\n")
    announce(latin, text_form(latin, "latin-1"))
    assert "in the encoding cp1252 (data.encoding) they are quotes" in notices.collected()[1]["text"]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\rb\rc\r", ["a\r", "b\r", "c\r"]),
        (b'a\r"x\ny"\rc\r', ["a\r", '"x\ny"\r', "c\r"]),
        (b"a\r\nb\r\n", ["a\r\n", "b\r\n"]),
        (b"one\rstill one\ntwo\n", ["one\rstill one\n", "two\n"]),
    ],
)
def test_lines_end_as_in_most_of_the_file(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    assert list(decoded_lines(write(tmp_path / "rows.txt", content))) == lines


def test_a_further_file_is_read_like_the_runs_data_unless_it_is_utf8(tmp_path: Path) -> None:
    turkish = write(tmp_path / "a.csv", "çok güzel\n".encode("cp1254"))
    assert further_encoding(turkish, "cp1254") == "cp1254" and further_encoding(turkish, None) is None
    assert further_encoding(write(tmp_path / "b.csv", "çok güzel\n".encode()), "cp1254") is None

"""Damaged files of word vectors: each is refused with one named error that gives path and place, at once and without the memory."""

import contextlib
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lmlib.errors import EncodingError, FormatError, LmlibError
from lmlib.models.vectors import FORMATS, WordVectors

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def awkward():
    """The words and numbers that the fixtures of the exchange with gensim hold."""
    with np.load(FIXTURES / "vectors.npz") as file:
        return WordVectors(file["words"].tolist(), file["vectors"])


# What is wrong → the bytes and the place in the error, whether the format is named or found out

TEXT = {
    "empty": (b"", 1),
    "header only": (b"2 3\n", 1),
    "header without end": (b"2 3", 1),
    "header of one number": (b"2\na 1 2 3\nb 1 2 3\n", 1),
    "header of three numbers": (b"2 3 4\na 1 2 3\nb 1 2 3\n", 2),
    "header with a negative number": (b"-2 3\na 1 2 3\nb 1 2 3\n", 2),
    "header with a fraction": (b"2 3.0\na 1 2 3\nb 1 2 3\n", 2),
    "header with words": (b"two three\na 1 2 3\nb 1 2 3\n", 1),
    "header with full-width digits": ("２ ３\na 1 2 3\nb 1 2 3\n".encode(), 1),
    "header with two spaces": (b"2  3\na 1 2 3\nb 1 2 3\n", None),
    "header before a blank line": (b"2 3\n\na 1 2 3\nb 1 2 3\n", 2),
    "no words": (b"0 3\n", 1),
    "no dimensions": (b"2 0\na\nb\n", 1),
    "count too large": (b"3 3\na 1 2 3\nb 1 2 3\n", 1),
    "count a little too large": (b"3 3\na 1.5 2.5 3.5\nb 1.5 2.5 3.5\n", 4),
    "count too small": (b"1 3\na 1 2 3\nb 1 2 3\n", 3),
    "dimension too large": (b"2 4\na 1 2 3\nb 1 2 3\n", None),
    "dimension too small": (b"2 2\na 1 2 3\nb 1 2 3\n", 2),
    "short row": (b"3 3\na 1 2 3\nb 1 2\nlonger 1.5 2.5 3.5\n", 3),
    "row of one number": (b"3 3\na 1.25 2.25 3\nb 1\nlonger 1.5 2.5 3.5\n", 3),
    "row of a word alone": (b"3 3\na 1.25 2.25 3\nb\nlonger 1.5 2.5 3.5\n", 3),
    "long row": (b"2 3\na 1 2 3\nb 1 2 3 4\n", 3),
    "long row of a word with a space": (b"2 3\na 1 2 3\nb b 1 2 3 4\n", 3),
    "blank row": (b"2 3\na 1.5 2.5 3.5\n\nb 1.5 2.5 3.5\n", 3),
    "blank last row": (b"2 3\na 1 2 3\nb 1 2 3\n\n", 4),
    "not a number": (b"2 3\na 1 2 3\nb 1 x 3\n", 3),
    "NaN": (b"2 3\na 1 2 3\nb 1 nan 3\n", 3),
    "NaN in the first row": (b"2 3\na 1 -NaN 3\nb 1 2 3\n", 2),
    "infinity": (b"2 3\na 1 2 3\nb 1 inf 3\n", 3),
    "negative infinity": (b"2 3\na 1 2 3\nb -Infinity 2 3\n", 3),
    "beyond float32": (b"2 3\na 1 2 3\nb 1 3.5e38 3\n", 3),
    "beyond float64": (b"2 3\na 1 2 3\nb 1 1e999 3\n", 3),
    "decimal comma": (b"2 3\na 1 2 3\nb 1,5 2 3\n", 3),
    "underscore in a number": (b"2 3\na 1 2 3\nb 1_0 2 3\n", 3),
    "hexadecimal": (b"2 3\na 1 2 3\nb 0x1 2 3\n", 3),
    "full-width digit": ("2 3\na 1 2 3\nb １ 2 3\n".encode(), 3),
    "exponent without digits": (b"2 3\na 1 2 3\nb 1 2 3e\n", 3),
    "two signs": (b"2 3\na 1 2 3\nb 1 --2 3\n", 3),
    "two points": (b"2 3\na 1 2 3\nb 1 2.5.1 3\n", 3),
    "numbers run together": (b"2 3\na 1 2 3\nb 1 2-3 4\n", 3),
    "double space between numbers": (b"2 3\na 1 2 3\nb 1  2 3\n", 3),
    "double space after the word": (b"2 3\na 1 2 3\nb  1 2 3\n", 3),
    "two spaces at the end": (b"2 3\na 1 2 3\nb 1 2 3  \n", 3),
    "tabs": (b"2 3\na 1 2 3\nb\t1\t2\t3\n", 3),
    "empty word": (b"2 3\na 1 2 3\n 1.5 2 3\n", 3),
    "word of a space": (b"2 3\na 1 2 3\n  1 2 3\n", 3),
    "repeated word": (b"3 3\na 1 2 3\nb 1 2 3\na 4 5 6\n", 4),
    "not UTF-8": (b"2 3\na 1 2 3\n\xff\xfe 1 2 3\n", 3),
    "Latin-1": ("2 3\na 1 2 3\nnaïve 1 2 3\n".encode("latin-1"), 3),
    "cut inside a character": (b"2 3\na 1 2 3\n\xc3 1 2 3\n", 3),
    "cut inside the last number": (b"2 3\na 1 2 3\nb 1 2 3.", 3),
    "cut before the last newline": (b"2 3\na 1 2 3.5\nb 1 2 3", 3),
    "cut inside a row": (b"2 3\na 1.5 2.5 3.5\nb 1 2", 3),
    "cut after a row": (b"3 3\na 1.25 2.25 3.25\nb 1.25 2.25 3.25\n", 4),
    "old Macintosh line ends": (b"2 3\ra 1 2 3\rb 1 2 3\r", None),
    "UTF-16": ("2 3\na 1 2 3\nb 1 2 3\n".encode("utf-16"), None),
    "NUL in a number": (b"2 3\na 1 2 3\nb 1 2 3\0\n", 3),
}
GLOVE = {
    "word alone": (b"a\nb\n", 1),
    "short row": (b"a 1 2 3.5\nb 1 2\n", 2),
    "long row": (b"a 1 2 3\nb 1 2 3 4\n", 2),
    "header left in": (b"2 3\na 1 2 3\nb 1 2 3\n", 2),
    "NaN in the first row": (b"a 1 nan 3\nb 1 2 3\n", 1),
    "NaN": (b"a 1 2 3\nb 1 nan 3\n", 2),
    "blank row": (b"a 1.5 2.5 3.5\n\nb 1.5 2.5 3.5\n", 2),
    "repeated word": (b"a 1 2 3\na 1 2 3\n", 2),
    "not UTF-8": (b"a 1 2 3\n\xff 1 2 3\n", 2),
    "empty word": (b" 1 2 3\na 1 2 3\n", 1),
    "cut short": (b"a 1 2 3\nb 1 2 3", 2),
    "one line without end": (b"a 1 2 3", 1),
    "long first row before many short ones": (b"a" + b" 1" * 5000 + b"\n" + b"b 1\n" * 5000, 1),
    "a byte order mark alone": (b"\xef\xbb\xbf", 1),
}


def row(word, *values):
    return word + b" " + struct.pack(f"<{len(values)}f", *values)


A, B = row(b"a", 1, -2, 3) + b"\n", row(b"b", 4, 5, 6) + b"\n"
BINARY = {
    "empty": (b"", ":1"),
    "header only": (b"2 3\n", ":1"),
    "count too large": (b"3 3\n" + A + B, ":1"),
    "count too large by one record of a long word": (b"3 3\n" + A + row(b"b" * 50, 1, 2, 3), "byte 82"),
    "count too small": (b"1 3\n" + A + B, "byte 19"),
    "no words": (b"0 3\n", ":1"),
    "no dimensions": (b"2 0\na b ", ":1"),
    "dimension too large": (b"2 4\n" + A + B, None),
    "dimension too small": (b"2 2\n" + A + B, "byte 14"),
    "cut inside the last vector": (b"2 3\n" + A + B[:-3], ":1"),
    "cut inside the last vector after a long word": (b"2 3\n" + row(b"a" * 50, 1, 2, 3) + B[:-3], "byte 67"),
    "cut after a record": (b"2 3\n" + A, ":1"),
    "no space in the rest": (b"2 3\n" + row(b"a" * 50, 1, 2, 3) + b"b" * 20, "byte 67"),
    "surplus byte": (b"2 3\n" + A + B + b"\n", "byte 34"),
    "NaN": (b"2 3\n" + A + row(b"b", 1, np.nan, 3), "byte 21"),
    "infinity": (b"2 3\n" + A + row(b"b", 1, 2, -np.inf), "byte 21"),
    "repeated word": (b"2 3\n" + A + A, "byte 19"),
    "empty word": (b"2 3\n" + A + row(b"", 1, 2, 3) + b"\n\n\n\n", "byte 19"),
    "word with a newline": (b"2 3\n" + A + row(b"b\nb", 1, 2, 3), "byte 19"),
    "two newlines after a record": (b"2 3\n" + A + b"\n" + B, "byte 19"),
    "not UTF-8": (b"2 3\n" + A + row(b"\xff", 1, 2, 3), "byte 19"),
    "a text file": (b"2 3\na 1.25 2.25 3.25\nb 1.25 2.25 3.25\n", "byte"),
}


def refuse(path, content, format, place):
    """One named error that gives path and place."""
    path.write_bytes(content)
    with pytest.raises((FormatError, EncodingError)) as caught:
        WordVectors.load(path, format)
    assert str(caught.value).startswith(str(path))
    if place is not None:
        assert re.match(rf"{re.escape(str(path))}(: )?{place}\b", str(caught.value)), caught.value


@pytest.mark.parametrize("fault", TEXT)
def test_damaged_text(tmp_path, fault):
    content, line = TEXT[fault]
    refuse(tmp_path / "file", content, "word2vec", None if line is None or fault.startswith("header") else f":{line}")
    refuse(tmp_path / "file", content, None, None if line is None else f":{line}")


@pytest.mark.parametrize("fault", GLOVE)
def test_damaged_glove(tmp_path, fault):
    content, line = GLOVE[fault]
    refuse(tmp_path / "file", content, "glove", f":{line}")


@pytest.mark.parametrize("fault", BINARY)
def test_damaged_binary(tmp_path, fault):
    content, place = BINARY[fault]
    refuse(tmp_path / "file", content, "word2vec-binary", place)
    if fault != "a text file":
        refuse(tmp_path / "file", content, None, place)


@pytest.mark.parametrize("format", [None, "word2vec", "word2vec-binary"])
@pytest.mark.parametrize(
    "header", ["1000000000000 100", "100 2000000000", "999999999999999999 999999999999999999", f"{'9' * 5000} 3", "3000 1000"]
)
def test_a_header_that_asks_for_too_much(tmp_path, header, format):
    """An error at once and without the memory: the header is held against the size of the file first."""
    path = tmp_path / "file"
    path.write_bytes(header.encode() + b"\nthe 1 2 3\n")
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(FormatError, match=re.escape(f"{path}:")):
        WordVectors.load(path, format)
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    assert seconds < 0.5  # a millisecond in truth; the bound leaves room for a busy machine


@pytest.mark.parametrize("format", FORMATS)
def test_cuts_are_noticed(awkward, tmp_path, format):
    """Cut at many bytes, all of the last 80 among them: an error each time, but for the last newline of a binary file (gensim has none)."""
    path = tmp_path / "file"
    awkward.save(path, format)
    content = path.read_bytes()
    silent = []
    for size in sorted({*range(0, len(content), 5), *range(len(content) - 80, len(content))}):
        path.write_bytes(content[:size])
        with contextlib.suppress(LmlibError):
            WordVectors.load(path, format)
            silent.append(size)
    if format == "glove":  # without a header a file that ends after a row is whole
        assert all(content[size - 1 : size] == b"\n" for size in silent)
    else:
        assert silent == ([len(content) - 1] if format == "word2vec-binary" else [])


@pytest.mark.parametrize("format", FORMATS)
def test_random_damage_raises_named_errors_only(awkward, tmp_path, format):
    """Flipped, dropped and doubled bytes: vectors or an LmlibError, never another exception."""
    path, rng = tmp_path / "file", np.random.default_rng(3)
    awkward.save(path, format)
    content = path.read_bytes()
    for _ in range(300):
        at = int(rng.integers(len(content)))
        middle = [bytes([content[at] ^ (1 << int(rng.integers(8)))]), b"", content[at : at + 1] * 2][int(rng.integers(3))]
        path.write_bytes(content[:at] + middle + content[at + 1 :])
        for given in (format, None):
            with contextlib.suppress(LmlibError):
                WordVectors.load(path, given)

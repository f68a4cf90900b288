"""Word vectors: exchange with gensim (fixtures/make_vectors.py), the conventions of word2vec.c and faults of writing."""

import errno
import hashlib
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import (
    EncodingError,
    FormatError,
    NonFiniteError,
    ShapeError,
    StorageError,
    UnavailableError,
    UnknownNameError,
    VocabularyError,
)
from lmlib.models.vectors import FORMATS, WordVectors

FIXTURES = Path(__file__).parent / "fixtures"


def bits(array):
    return np.asarray(array, np.float32).view(np.uint32)


@pytest.fixture(scope="module")
def awkward():
    """Words with no-break space, combining accent, emoji, U+2028 or the look of a number; -0, subnormal and extreme numbers."""
    with np.load(FIXTURES / "vectors.npz") as file:
        return WordVectors(file["words"].tolist(), file["vectors"])


@pytest.fixture
def small():
    return WordVectors(["the", "of", "naïve"], [[1, 2], [3, 4], [5, 6]])


def assert_same(got, want):
    assert got.words == want.words
    assert_array_equal(bits(got.vectors), bits(want.vectors))


# The object


def test_looking_up():
    vectors = WordVectors(["the", "cat"], np.array([[3.0, 4.0], [0.0, 0.0]]), counts=[9, 2])
    assert vectors["the"].tolist() == [3, 4]
    assert ("cat" in vectors, "Cat" in vectors, len(vectors), vectors.index["cat"]) == (True, False, 2, 1)
    assert_allclose(vectors.unit, [[0.6, 0.8], [0, 0]], atol=1e-7)  # a vector of zeros has no direction and stays as it is
    assert vectors.vectors.dtype == vectors.unit.dtype == np.float32
    assert vectors.counts.tolist() == [9, 2]
    assert repr(vectors) == "WordVectors(2 words, 2 dimensions)"
    with pytest.raises(VocabularyError, match="'cta'; did you mean 'cat'"):
        vectors["cta"]


def test_unit_vectors_of_extreme_length():
    """Lengths whose squares leave the range of float32."""
    assert_allclose(WordVectors(["a", "b"], [[3e30, 4e30], [3e-30, 4e-30]]).unit, [[0.6, 0.8]] * 2, rtol=1e-6)


def test_the_matrix_is_read_only_and_the_callers_is_not():
    matrix = np.ones((1, 2), np.float32)
    vectors = WordVectors(["a"], matrix)
    for array in (vectors.vectors, vectors.unit):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 5
    matrix[0, 0] = 2


@pytest.mark.parametrize(
    ("words", "matrix", "counts", "error", "message"),
    [
        (["a"], [[1], [2]], None, ShapeError, r"\(2, 1\)"),
        (["a"], [1], None, ShapeError, r"\(1,\)"),
        ([], np.zeros((0, 3)), None, ShapeError, "at least one"),
        (["a"], np.zeros((1, 0)), None, ShapeError, "at least one"),
        (["a", "a"], [[1], [2]], None, VocabularyError, "'a' occurs twice, in rows 0 and 1"),
        (["a", ""], [[1], [2]], None, VocabularyError, r"words\[1\]"),
        (["a", 7], [[1], [2]], None, VocabularyError, r"words\[1\] is 7"),
        (["a", "b"], [[1], [np.nan]], None, NonFiniteError, r"'b' \(row 1\)"),
        (["a", "b"], [[np.inf], [1]], None, NonFiniteError, r"'a' \(row 0\)"),
        (["a"], [[1]], [1, 2], ShapeError, "counts"),
        (["a"], [[1]], [1.5], ShapeError, "whole numbers"),
    ],
)
def test_refused_contents(words, matrix, counts, error, message):
    with pytest.raises(error, match=message):
        WordVectors(words, matrix, counts)


# Exchange


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("name", "format"), [("gensim.txt", "word2vec"), ("gensim.bin", "word2vec-binary"), ("gensim-glove.txt", "glove")])
def test_reads_what_gensim_wrote(awkward, name, format, given):
    assert_same(WordVectors.load(FIXTURES / name, format if given else None), awkward)


@pytest.mark.parametrize("format", FORMATS)
def test_gensim_reads_what_we_write(awkward, tmp_path, format):
    """gensim read exactly these bytes, to the bit (asserted by the script when it made the fixture)."""
    awkward.save(tmp_path / "ours", format)
    read = json.loads((FIXTURES / "vectors.json").read_text(encoding="utf-8"))["sha256 of our files that gensim read bit for bit"]
    assert hashlib.sha256((tmp_path / "ours").read_bytes()).hexdigest() == read[format]
    assert_same(WordVectors.load(tmp_path / "ours"), awkward)


@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_float32_survives(tmp_path, format):
    """Random bit patterns: every exponent, subnormals and both zeros included."""
    patterns = np.random.default_rng(0).integers(0, 1 << 32, 60_000, dtype=np.uint32).view(np.float32)
    patterns = patterns[np.isfinite(patterns)][:50_000].reshape(-1, 50)
    vectors = WordVectors([f"w{i}" for i in range(len(patterns))], patterns)
    vectors.save(tmp_path / "file", format)
    assert_same(WordVectors.load(tmp_path / "file", format), vectors)


def test_reads_what_word2vec_c_writes(tmp_path):
    """word2vec.c ends a text row with a space, and a binary record with a newline (main, "Save the word vectors")."""
    text, binary = tmp_path / "text", tmp_path / "binary"
    text.write_bytes(b"2 2\n</s> 0.004003 0.004419 \nthe -0.001 1.5 \n")
    binary.write_bytes(b"2 2\n</s> " + struct.pack("<2f", 0.004003, 0.004419) + b"\nthe " + struct.pack("<2f", -0.001, 1.5) + b"\n")
    want = WordVectors(["</s>", "the"], [[0.004003, 0.004419], [-0.001, 1.5]])
    assert_same(WordVectors.load(text), want)
    assert_same(WordVectors.load(binary), want)


def test_binary_as_documented(small, tmp_path):
    small.save(tmp_path / "file", "word2vec-binary")
    assert (tmp_path / "file").read_bytes() == b"".join(
        [b"3 2\nthe ", struct.pack("<2f", 1, 2), b"\nof ", struct.pack("<2f", 3, 4), "\nnaïve ".encode(), struct.pack("<2f", 5, 6), b"\n"]
    )


def test_binary_values_that_look_like_newlines_and_spaces(tmp_path):
    """Float32 whose bytes are newlines and spaces: only positions count."""
    values = np.frombuffer(b"\n\n\n\n    \n \n ", "<f4").reshape(1, 3)
    vectors = WordVectors(["a", "b"], np.concatenate([values, -values]))
    vectors.save(tmp_path / "file", "word2vec-binary")
    assert_same(WordVectors.load(tmp_path / "file", "word2vec-binary"), vectors)


def test_text_with_windows_line_ends_a_byte_order_mark_and_words_with_spaces(tmp_path):
    path = tmp_path / "file"
    rows = ". . . 1 2\nat name@domain.com -1e0 .5\n2 3. +4\n"
    want = WordVectors([". . .", "at name@domain.com", "2"], [[1, 2], [-1, 0.5], [3, 4]])
    for text in (rows, "3 2\n" + rows):
        for start in ("", "\ufeff"):
            for end in ("\n", "\r\n"):
                path.write_bytes((start + text).replace("\n", end).encode())
                assert_same(WordVectors.load(path), want)


# Writing


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("word", ["New York", "a\nb", " ", "\n"])
def test_a_word_with_a_separator_is_not_written(tmp_path, word, format):
    with pytest.raises(FormatError, match=re.escape(f"{word!r} (row 1)")):
        WordVectors(["ok", word], [[1], [2]]).save(tmp_path / "file", format)
    assert not list(tmp_path.iterdir())


def test_words_that_a_reader_would_change_are_not_written(tmp_path):
    with pytest.raises(EncodingError, match=r"row 0"):
        WordVectors(["\ud800"], [[1]]).save(tmp_path / "file")
    with pytest.raises(FormatError, match="byte order mark"):
        WordVectors(["\ufeffa"], [[1]]).save(tmp_path / "file", "glove")
    assert not list(tmp_path.iterdir())
    vectors = WordVectors(["\ufeffa"], [[1]])
    vectors.save(tmp_path / "file", "word2vec")
    assert_same(WordVectors.load(tmp_path / "file"), vectors)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(small, tmp_path, monkeypatch, fault):
    path = tmp_path / "file"
    path.write_text("the old file")

    def fail(*_):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=re.escape(str(path))):
        small.save(path)
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_save_makes_folders_and_replaces_files_but_not_folders(small, tmp_path):
    path = tmp_path / "new" / "folder" / "vectors.txt"
    for _ in range(2):
        small.save(path)
        assert list(path.parent.iterdir()) == [path]
    assert_same(WordVectors.load(path), small)
    with pytest.raises(StorageError, match="is a folder"):
        small.save(path.parent)


def test_unknown_formats(small, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'word2vec-binary'"):
        small.save(tmp_path / "file", "word2vec_binary")
    with pytest.raises(UnknownNameError, match="formats: word2vec"):
        WordVectors.load(tmp_path / "file", "bin")


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(UnavailableError, match=re.escape(str(path))):
            WordVectors.load(path)

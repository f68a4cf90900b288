"""Word vectors: a matrix with a vocabulary, and the file formats in which the field exchanges them.

  "word2vec"         text: a header "V D", then V lines "word x1 … xD" (Mikolov et al. 2013; word2vec.c without -binary, gensim, fastText)
  "word2vec-binary"  the same header, then V records: the word, a space, D little-endian float32, and a newline as word2vec.c writes it
                     (gensim writes none; both readers take both, and so does this one)
  "glove"            the text lines without a header (Pennington et al. 2014)

None of them has a checksum, a count of words that can be trusted or a way to quote a word, so reading is strict: a file is either read
whole or refused with its path and line (text) or byte (binary). Left out on purpose: the counts (no format holds them; a tokenizer
keeps them) and pickled models.

Shapes: V vocabulary, D dimensions.
"""

import mmap
import os
import re
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import numpy as np

from lmlib.errors import (
    EncodingError,
    FormatError,
    NonFiniteError,
    ShapeError,
    StorageError,
    UnavailableError,
    UnknownNameError,
    VocabularyError,
    check_shape,
    nearest,
    storage_errors,
)

FORMATS = ("word2vec", "word2vec-binary", "glove")

BOM = b"\xef\xbb\xbf"
HEADER = re.compile(rb"(?:\xef\xbb\xbf)?([0-9]{1,18}) ([0-9]{1,18})\r?\n")
NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
LIKE_NUMBER = re.compile(rb"(?i:[+-]?(?:nan|inf|infinity))|" + NUMBER.pattern)  # what was meant as one, so that the error can say so


class WordVectors:
    """A vector for each word of a vocabulary.

    Attributes:
      words: tuple of V distinct words, most frequent first where the order has a meaning.
      vectors: (V, D) float32, read-only.
      counts: (V,) int64, how often each word was seen in training, or None.
      index: dict from word to row.
    """

    def __init__(self, words, vectors, counts=None):
        """Join a vocabulary and a matrix.

        Args:
          words: V distinct, non-empty strings.
          vectors: (V, D) numbers, kept as float32.
          counts: (V,) whole numbers, or None.

        Raises:
          ShapeError: the number of words, rows and counts differ, or there is nothing.
          VocabularyError: a word is empty, occurs twice or is no string.
          NonFiniteError: a vector holds NaN or an infinity.
        """
        self.words = tuple(words)
        check_shape(vectors, (len(self.words), None), "vectors")
        try:
            self.vectors = _read_only(np.ascontiguousarray(vectors, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise ShapeError(f"vectors must be real numbers: {error}") from error
        if 0 in self.vectors.shape:
            raise ShapeError(f"word vectors need at least one word and one dimension, got shape {self.vectors.shape}")
        if not (finite := np.isfinite(self.vectors).all(axis=1)).all():
            row = int(np.argmin(finite))
            raise NonFiniteError(f"the vector of {self.words[row]!r} (row {row}) holds NaN or an infinity: did training diverge?")
        self.counts = None
        if counts is not None:
            if not np.issubdtype(np.asarray(counts).dtype, np.integer):
                raise ShapeError(f"counts must be whole numbers, got {np.asarray(counts).dtype}")
            self.counts = _read_only(np.ascontiguousarray(check_shape(counts, (len(self.words),), "counts"), dtype=np.int64))
        self.index = {}
        for row, word in enumerate(self.words):
            if not isinstance(word, str) or not word:
                raise VocabularyError(f"words[{row}] is {word!r}: a word is a string of at least one character")
            if self.index.setdefault(word, row) != row:
                raise VocabularyError(f"the word {word!r} occurs twice, in rows {self.index[word]} and {row}")

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self.index

    def __getitem__(self, word):
        """The vector (D,) of a word. Raises VocabularyError where there is none."""
        return self.vectors[self.row(word)]

    def __repr__(self):
        return f"WordVectors({len(self):,} words, {self.vectors.shape[1]} dimensions)"

    def row(self, word):
        """The row of a word. Raises VocabularyError, with the nearest of the frequent words, where there is none."""
        if word not in self.index:
            raise VocabularyError(f"no vector for the word {word!r}{nearest(word, self.words[:20_000])}")
        return self.index[word]

    @cached_property
    def unit(self):
        """The vectors scaled to length 1, (V, D) float32, read-only: their products are cosines. A vector of zeros stays as it is."""
        norms_V = np.sqrt(np.einsum("vd,vd->v", self.vectors, self.vectors, dtype=np.float64))  # squares may leave the range of float32
        return _read_only((self.vectors / np.where(norms_V > 0, norms_V, 1)[:, None]).astype(np.float32))

    def save(self, path, format="word2vec"):
        """Write the vectors; the file appears whole or not at all. Reading it back gives the same words and the same bits.

        Args:
          path: the file to write or replace.
          format: "word2vec", "word2vec-binary" or "glove".

        Raises:
          UnknownNameError: there is no such format.
          FormatError: a word holds a space or a newline, which the formats use as separators.
          EncodingError: a word cannot be written as UTF-8.
          StorageError: the disk is full or cannot be written.
        """
        _check_format(format)
        encoded = [_encode(word, row) for row, word in enumerate(self.words)]
        if format == "glove" and encoded[0].startswith(BOM):
            raise FormatError(
                f"the first word {self.words[0]!r} begins with a byte order mark, which a reader of {format} files would drop"
            )
        with replacing(Path(path)) as file:
            if format != "glove":
                file.write(b"%d %d\n" % self.vectors.shape)
            if format == "word2vec-binary":
                for word, vector_D in zip(encoded, self.vectors.astype("<f4", copy=False), strict=True):
                    file.write(b"%b %b\n" % (word, vector_D.tobytes()))
                return
            # Nine digits tell any two float32 apart, and stay so far from the middle between two that a reader may go by way of float64.
            numbers = b" %.9g" * self.vectors.shape[1] + b"\n"
            for word, vector_D in zip(encoded, self.vectors, strict=True):
                file.write(word + numbers % tuple(vector_D.tolist()))

    @classmethod
    def load(cls, path, format=None):
        """Read vectors.

        Args:
          path: the file.
          format: one of FORMATS; None looks at the file: a first line of two whole numbers is a header, and what follows the first word
            is mostly digits or not.

        Raises:
          FormatError: the file does not follow its format; names path and line (text) or byte (binary). Among the faults: a header that
            the file's size contradicts (found before any memory is taken), missing or surplus rows, a row of the wrong length, NaN or an
            infinity, an empty or repeated word, a text file whose last line has no end (it may have been cut short).
          EncodingError: a word is not UTF-8.
          UnavailableError: the file cannot be opened.
          UnknownNameError: there is no such format.
        """
        path = Path(path)
        if format is not None:
            _check_format(format)
        try:
            with open(path, "rb") as file:
                return cls(*_read(file, path, format))
        except OSError as error:
            raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error


def _check_format(format):
    if format not in FORMATS:
        raise UnknownNameError(f"unknown format {format!r} of word vectors{nearest(format, FORMATS)} (formats: {', '.join(FORMATS)})")


def _read_only(array):
    array = array.view()  # the caller's own array stays writeable
    array.flags.writeable = False
    return array


# Writing


def _encode(word, row):
    if " " in word or "\n" in word:
        raise FormatError(f"the word {word!r} (row {row}) cannot be written: space and newline are separators in files of word vectors")
    try:
        return word.encode()
    except UnicodeEncodeError as error:
        raise EncodingError(f"the word {word!r} (row {row}) cannot be written as UTF-8: {error.reason}") from error


@contextmanager
def replacing(path):
    """A file to write to that takes the place of `path` once it is complete; on any failure `path` stays as it was."""
    with storage_errors(path):
        if path.is_dir():
            raise StorageError(f"cannot write {path}: it is a folder; name a file in it")
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


# Reading


def _read(file, path, format):
    """Words and matrix of an open file, whose header is held against its size before anything else."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise FormatError(f"{path}:1: the file is empty")
    header = HEADER.match(start := file.read(64))
    if format == "glove" or (format is None and header is None):
        file.seek(len(BOM) if start.startswith(BOM) else 0)
        return _read_glove(file, path, size)
    if header is None:
        first = start.partition(b"\n")[0]
        raise FormatError(f"{path}:1: expected a header of two whole numbers, 'words dimensions', got {first!r}")

    V, D = int(header[1]), int(header[2])
    if V == 0 or D == 0:
        raise FormatError(f"{path}:1: the header says {V} words of {D} dimensions: both must be at least 1")
    body = size - header.end()
    if format is None:
        file.seek(header.end())
        format = "word2vec" if _is_text(file.read(1024 + 4 * min(D, 1024)), D) else "word2vec-binary"
    smallest = 4 * D + 2 if format == "word2vec-binary" else 2 * D + 2  # a row of one-letter word and, in text, one-digit numbers
    if V * smallest > body:
        raise FormatError(
            f"{path}:1: the header says {V} words of {D} dimensions, at least {V * smallest} bytes as {format}, but {body} bytes follow: "
            "the file was cut short or the header is wrong"
        )
    file.seek(header.end())
    return _read_binary(file, path, header.end(), V, D) if format == "word2vec-binary" else _read_rows(file, path, V, D, first_line=2)


def _is_text(start, D):
    """Whether the 4 D bytes after the first word are D numbers in text, which fill at least half of them; of float32 bytes, a fifteenth
    look like that by chance."""
    window = start.partition(b" ")[2][: 4 * D]
    return 2 * len(window.translate(None, b"0123456789+-.eE \r\n")) <= len(window) > 0


def _read_glove(file, path, size):
    """Count the lines, take the dimension from the first one, then read."""
    start = file.tell()
    fields = file.readline().rstrip(b"\r\n").removesuffix(b" ").split(b" ")
    D = sum(1 for _ in takewhile(LIKE_NUMBER.fullmatch, reversed(fields[1:])))
    if D == 0:
        raise FormatError(f"{path}:1: expected a word and its numbers (or a header 'words dimensions'), got {b' '.join(fields)[:60]!r}")
    file.seek(start)
    V = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    needed = V * (2 * D + 2)
    if needed > size:  # found before the matrix is made, as for a header
        raise FormatError(f"{path}:1: {V} lines of {D} numbers, as the first has, would need {needed} bytes, but the file has {size}")
    file.seek(start)
    return _read_rows(file, path, V, D, first_line=1)


def _read_rows(file, path, V, D, first_line):
    """Read exactly V text rows of D numbers. Words may hold spaces, since a row is split from its right end."""
    words, lines, vectors_VD = [], {}, np.zeros((V, D), np.float32)
    at = file.tell()
    for number, line in enumerate(file, first_line):
        where = f"{path}:{number}"
        if not line.endswith(b"\n"):
            raise FormatError(f"{where}: the last line has no newline: the file may have been cut short")
        if len(words) == V:
            raise FormatError(f"{where}: more rows than the {V} that the header says")
        word, *fields = line[:-1].removesuffix(b"\r").removesuffix(b" ").rsplit(b" ", D)  # word2vec.c ends a row with a space
        if len(fields) != D:
            raise FormatError(f"{where}: expected a word and {D} numbers, got {len(fields)} numbers")
        if LIKE_NUMBER.fullmatch(word.rpartition(b" ")[2]) and b" " in word:
            raise FormatError(f"{where}: more than {D} numbers, or a word with a space before a number: {word[-60:]!r}")
        name = _word(word, where, at)
        with np.errstate(over="ignore"):  # what is too large for float32 becomes an infinity, refused below
            vectors_VD[len(words)] = _numbers(fields, where)
        if lines.setdefault(name, number) != number:
            raise FormatError(f"{where}: the word {name!r} was already on line {lines[name]}")
        words.append(name)
        at += len(line)
    if len(words) < V:
        raise FormatError(f"{path}:{first_line + len(words)}: the file ends after {len(words)} rows, but the header says {V}")
    _check_finite(vectors_VD, lambda row: f"{path}:{first_line + row}")
    return words, vectors_VD


def _numbers(fields, where):
    """Plain decimal numbers as floats; what Python's float takes beyond those (nan, 1_000) is refused."""
    if not b"".join(fields).translate(None, b"0123456789+-.eE"):
        try:
            return [float(field) for field in fields]
        except ValueError:
            pass
    column, bad = next((column, field) for column, field in enumerate(fields, 1) if not NUMBER.fullmatch(field))
    kind = "is not a finite number" if LIKE_NUMBER.fullmatch(bad) else "is not a number"
    raise FormatError(f"{where}: {bad[:60]!r}, value {column} of the row, {kind}")


def _read_binary(file, path, at, V, D):
    """Read exactly V records from byte `at` on; a newline after a record is skipped."""
    words, starts, offsets, vectors_VD = [], {}, [], np.zeros((V, D), np.float32)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row in range(V):
            space = data.find(b" ", at)
            end = space + 1 + 4 * D
            if space < 0 or end > len(data):
                raise FormatError(
                    f"{path}: byte {at}: the file ends inside record {row + 1} of {V}: it was cut short or its header is wrong"
                )
            where = f"{path}: byte {at}"
            name = _word(data[at:space], where, at)
            if starts.setdefault(name, at) != at:
                raise FormatError(f"{where}: the word {name!r} was already at byte {starts[name]}")
            words.append(name)
            offsets.append(space + 1)
            vectors_VD[row] = np.frombuffer(data[space + 1 : end], "<f4")
            at = end + (data[end : end + 1] == b"\n")
        if at != len(data):
            raise FormatError(f"{path}: byte {at}: {len(data) - at} bytes follow the last of the {V} records that the header says")
    _check_finite(vectors_VD, lambda row: f"{path}: byte {offsets[row]}")
    return words, vectors_VD


def _word(word, where, at):
    if not word or word[:1] == b" " or word[-1:] == b" ":
        raise FormatError(f"{where}: the word is empty or there is a space too many beside it")
    if b"\n" in word:
        raise FormatError(f"{where}: a newline inside the word {word[:60]!r}: the header's dimension may be wrong")
    try:
        return word.decode()
    except UnicodeDecodeError as error:
        raise EncodingError(f"{where}: the word {word[:60]!r} is not valid UTF-8 (byte {at + error.start} of the file)") from error


def _check_finite(vectors_VD, where):
    if not (finite_V := np.isfinite(vectors_VD).all(axis=1)).all():
        row = int(np.argmin(finite_V))
        column = int(np.argmin(np.isfinite(vectors_VD[row])))
        raise FormatError(f"{where(row)}: value {column + 1} of the row is {vectors_VD[row, column]}, not a finite float32")

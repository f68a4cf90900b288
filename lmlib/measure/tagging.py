"""How well labels, chunks and words were found.

Sequences of labels are scored by the spans that they mark, as at CoNLL (Tjong Kim Sang and Buchholz 2000, "Introduction to the CoNLL-2000
Shared Task: Chunking"): a span is right if its ends and its kind are. Most labels are O, so the share of right labels says little. Words
are spans of characters in the same way, which is how the SIGHAN bakeoffs score segmentation (Sproat and Emerson 2003).

    precision = right / found    recall = right / true    F1 = 2 right / (found + true)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lmlib.errors import FormatError, ShapeError


@dataclass(frozen=True)
class SpanScore:
    """Counts of spans; two of them add up."""

    right: int
    found: int
    true: int

    def __add__(self, other: "SpanScore") -> "SpanScore":
        return SpanScore(self.right + other.right, self.found + other.found, self.true + other.true)

    @property
    def precision(self) -> float:
        """NaN where nothing was found."""
        return self.right / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        """NaN where there is nothing to find."""
        return self.right / self.true if self.true else math.nan

    @property
    def f1(self) -> float:
        """NaN where nothing was found and there is nothing to find."""
        return 2 * self.right / (self.found + self.true) if self.found + self.true else math.nan


def bio_spans(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """(start, stop, kind) of the chunks that BIO labels mark: B-x begins a chunk of kind x, I-x goes on, O is outside.

    As in the script of CoNLL (conlleval), I-x also begins a chunk where none of its kind is under way.

    Raises:
      FormatError: a label is neither O nor B-… nor I-….
    """
    spans, start, kind = set(), 0, None
    for i, label in enumerate([*labels, "O"]):
        mark, _, name = label.partition("-")
        if label != "O" and (mark not in ("B", "I") or not name):
            raise FormatError(f"label {i} is {label!r}: it must be O, or B- or I- and a kind")
        if kind is not None and (mark != "I" or name != kind):
            spans.add((start, i, kind))
            kind = None
        if kind is None and label != "O":
            start, kind = i, name
    return spans


def word_spans(words: Iterable[str]) -> set[tuple[int, int]]:
    """(start, stop) of each word in the characters of all."""
    ends = list(accumulate(map(len, words)))
    return set(zip([0, *ends], ends, strict=False))


def chunk_score(true: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> SpanScore:
    """Score rows of BIO labels against the true ones.

    Raises:
      ShapeError: a row has another number of labels.
    """
    return _score(true, found, bio_spans, len)


def segmentation_score(true: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> SpanScore:
    """Score sentences, lists of words, against the true words of the same characters.

    Raises:
      ShapeError: a sentence does not have the same characters.
    """
    return _score(true, found, word_spans, "".join)


def label_accuracy(true: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> float:
    """Share of the labels that are the true ones; NaN where there are none.

    Raises:
      ShapeError: a row has another number of labels.
    """
    right = total = 0
    for labels, others in _pairs(true, found, len):
        right += sum(map(str.__eq__, labels, others))
        total += len(labels)
    return right / total if total else math.nan


def _score(true, found, spans, content):
    total = SpanScore(0, 0, 0)
    for row, other in _pairs(true, found, content):
        want, got = spans(row), spans(other)
        total += SpanScore(len(want & got), len(got), len(want))
    return total


def _pairs(true, found, content):
    true, found = [list(row) for row in true], [list(row) for row in found]
    if len(true) != len(found):
        raise ShapeError(f"{len(true)} true rows and {len(found)} found ones: they must stand side by side")
    for i, (row, other) in enumerate(zip(true, found, strict=True)):
        if content(row) != content(other):
            raise ShapeError(f"row {i}: {content(other)!r} was found in place of {content(row)!r}: the rows must be of the same text")
    return zip(true, found, strict=True)

"""Spans and their scores: the cases that conlleval and the SIGHAN scorer decide, by hand, and a naive count on random labels."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import FormatError, ShapeError
from lmlib.measure.tagging import SpanScore, bio_spans, chunk_score, label_accuracy, segmentation_score, word_spans


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a O B-b", [(0, 2, "a"), (3, 4, "b")]),
        ("B-a B-a I-a", [(0, 1, "a"), (1, 3, "a")]),
        ("B-a I-b I-b", [(0, 1, "a"), (1, 3, "b")]),  # another kind begins another chunk
        ("I-a I-a O I-b", [(0, 2, "a"), (3, 4, "b")]),  # I after O begins one
        ("O B-a I-a", [(1, 3, "a")]),  # to the end
        ("B-x.y_z I-x.y_z", [(0, 2, "x.y_z")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
    ],
)
def test_spans_are_conllevals(labels, spans):
    assert bio_spans(labels.split()) == set(spans)


def chunks_by_conlleval(labels):
    """The two functions of conlleval, startOfChunk and endOfChunk, for its labels B, I and O."""
    spans, start, before = set(), None, ("O", "")
    for i, label in enumerate([*labels, "O"]):
        mark, kind = label[0], label[2:]
        ends = before[0] != "O" and (mark in "BO" or before[1] != kind)
        begins = mark == "B" or (mark == "I" and (before[0] == "O" or before[1] != kind))
        if ends:
            spans.add((start, i, before[1]))
        if begins:
            start = i
        before = (mark, kind)
    return spans


def test_score_of_random_labels_is_the_naive_count():
    rng = np.random.default_rng(0)
    rows = [[str(x) for x in rng.choice(["O", "B-a", "I-a", "B-b", "I-b"], rng.integers(0, 9))] for _ in range(300)]
    others = [[x if rng.random() < 0.8 else str(rng.choice(["O", "B-a", "I-b"])) for x in row] for row in rows]
    want = [(chunks_by_conlleval(row), chunks_by_conlleval(other)) for row, other in zip(rows, others, strict=True)]
    score = chunk_score(rows, others)
    assert score == SpanScore(sum(len(a & b) for a, b in want), sum(len(b) for _, b in want), sum(len(a) for a, _ in want))
    assert_allclose(score.f1, 2 / (1 / score.precision + 1 / score.recall))
    same = [a == b for row, other in zip(rows, others, strict=True) for a, b in zip(row, other, strict=True)]
    assert label_accuracy(rows, others) == np.mean(same)


def test_a_span_must_agree_in_both_ends_and_kind():
    true = [["B-a", "I-a", "O", "B-b"]]
    assert chunk_score(true, [["B-a", "O", "O", "B-c"]]) == SpanScore(0, 2, 2)
    assert chunk_score(true, [["B-a", "I-a", "O", "O"]]) == SpanScore(1, 1, 2)
    empty = chunk_score([["O"]], [["O"]])
    assert math.isnan(empty.f1)
    assert math.isnan(empty.precision)
    assert math.isnan(empty.recall)


def test_segmentation():
    assert word_spans(["你们", "想"]) == {(0, 2), (2, 3)}
    score = segmentation_score([["你们", "想", "在", "草地"]], [["你们", "想在", "草地"]])
    assert score == SpanScore(2, 3, 4)
    assert (score + SpanScore(1, 1, 0)).f1 == 2 * 3 / 8


def test_rows_of_other_texts_are_refused():
    with pytest.raises(ShapeError, match="row 1"):
        chunk_score([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ShapeError, match="row 0"):
        segmentation_score([["ab"]], [["a", "c"]])
    with pytest.raises(ShapeError, match="side by side"):
        label_accuracy([["O"]], [])
    with pytest.raises(FormatError, match="label 1"):
        bio_spans(["O", "X-a"])
    with pytest.raises(FormatError, match="label 0"):
        bio_spans(["B-"])

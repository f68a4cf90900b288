"""Diversity against NLTK (self-BLEU; a stored fixture, see fixtures/make_diversity.py) and against counting by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError
from lmlib.measure.diversity import distinct, ngrams, reference_bleu, repetition, self_bleu

GROUPS = json.loads((Path(__file__).parent / "fixtures" / "diversity.json").read_text("utf-8"))["groups"]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["name"])
def test_self_bleu_is_nltks(group):
    for n, want in enumerate(group["self_bleu"], 1):
        assert_allclose(self_bleu(group["texts"], n), want, rtol=1e-12, atol=1e-15)


def test_self_bleu_of_ids_and_its_ends():
    same = np.array([[1, 2, 3, 4, 5]] * 3)
    assert self_bleu(same) == 1
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0
    letters = [list("abcab"), list("abcb"), list("cab")]
    assert self_bleu(letters) == self_bleu([[ord(x) for x in text] for text in letters])


def test_distinct_counts_over_all_texts():
    """Li et al.: "a b a b" and "a b": bigrams ab ba ab ab, two different ones of four; five letters a b, two of six."""
    texts = [list("abab"), list("ab")]
    assert ngrams(texts[0], 2) == [("a", "b"), ("b", "a"), ("a", "b")]
    assert distinct(texts, 2) == 2 / 4
    assert distinct(texts, 1) == 2 / 6
    assert math.isnan(distinct(texts, 5))


def test_repetition_is_within_a_text():
    """Welleck et al., seq-rep-2: "a b a b" has two different bigrams of three; "a b" one of one; "a" has none, and does not count."""
    texts = [list("abab"), list("ab"), list("a")]
    assert_allclose(repetition(texts, 2), (1 / 3 + 0) / 2)
    assert repetition([[7] * 100], 4) == 1 - 1 / 97
    assert math.isnan(repetition([[1, 2]], 3))


@pytest.mark.parametrize("measure", [distinct, repetition, self_bleu])
def test_what_is_no_list_of_texts_is_refused(measure):
    with pytest.raises(ShapeError):
        measure("abc")
    with pytest.raises(ShapeError, match="text 1"):
        measure([["a"], "abc"])
    with pytest.raises(ConfigError, match="n must"):
        measure([["a"], ["b"]], 0)


def test_one_text_has_no_others():
    with pytest.raises(EmptyCorpusError):
        self_bleu([["a"]])


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["name"])
def test_reference_bleu_is_that_of_self_bleu(group):
    """Self-BLEU, which is NLTK's, is the mean of what each text has against the others."""
    texts = group["texts"]
    others = [reference_bleu([text], texts[:i] + texts[i + 1 :], 3) for i, text in enumerate(texts)]
    assert_allclose(np.mean(others), self_bleu(texts, 3), rtol=1e-12)


def test_reference_bleu_does_not_see_uniformity():
    real = [list("abcde"), list("fghij"), list("abxyz")]
    assert reference_bleu([real[0]] * 9, real) == 1
    assert self_bleu([real[0]] * 9) == 1
    assert distinct([real[0]] * 9, 2) == 4 / 36


def test_reference_bleu_needs_texts_and_references():
    with pytest.raises(EmptyCorpusError):
        reference_bleu([], [["a"]])
    with pytest.raises(EmptyCorpusError):
        reference_bleu([["a"]], [])
    with pytest.raises(ShapeError, match="text 0"):
        reference_bleu(["abc"], [["a"]])

"""Naive Bayes against scikit-learn, by hand, and as the unigram models that it is made of."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.naive_bayes import MultinomialNB

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, VocabularyError
from lmlib.models.bag_of_words import bag_of_words
from lmlib.models.naive_bayes import naive_bayes

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.4, (60, 20))
LABELS = RNG.integers(0, 3, 60)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("k", [1.0, 0.1])
def test_it_equals_scikit_learns(kind, k):
    theirs = MultinomialNB(alpha=k).fit(COUNTS, LABELS)
    ours, unseen = naive_bayes(kind(COUNTS), LABELS, k=k), RNG.poisson(0.7, (30, 20))
    assert_allclose(ours.log_probabilities(kind(unseen)), theirs.predict_log_proba(unseen), atol=1e-10)
    assert_array_equal(ours.predict(kind(unseen)), theirs.predict(unseen))


def test_by_hand():
    """Label 0: "tea tea", label 1: "wine". With k = 1 and two words p(tea | 0) = 3/4, p(tea | 1) = 1/3; the priors are equal."""
    model = naive_bayes(bag_of_words([[0, 0], [1]], 2), [0, 1])
    assert_allclose(np.exp(model.word_CV), [[3 / 4, 1 / 4], [1 / 3, 2 / 3]])
    want = np.array([3 / 4 * 1 / 4, 1 / 3 * 2 / 3])
    assert_allclose(np.exp(model.log_probabilities(bag_of_words([[0, 1]], 2))), [want / want.sum()])


def test_a_text_without_words_has_the_prior():
    model = naive_bayes(COUNTS, LABELS)
    assert_allclose(np.exp(model.log_probabilities(np.zeros((1, 20)))[0]), np.bincount(LABELS) / 60)


def test_a_label_without_texts_is_never_chosen():
    model = naive_bayes(COUNTS, LABELS, classes=4)
    assert (model.predict(COUNTS) < 3).all()
    assert np.isneginf(model.log_probabilities(COUNTS)[:, 3]).all()


def test_what_is_refused():
    with pytest.raises(ConfigError, match="k above 0"):
        naive_bayes(COUNTS, LABELS, k=0)
    with pytest.raises(ShapeError, match="59 labels"):
        naive_bayes(COUNTS, LABELS[:-1])
    with pytest.raises(EmptyCorpusError):
        naive_bayes(COUNTS[:0], [])
    with pytest.raises(VocabularyError):
        naive_bayes(COUNTS, LABELS, classes=2)
    with pytest.raises(ShapeError):
        naive_bayes(COUNTS, LABELS).predict(COUNTS[:, :-1])

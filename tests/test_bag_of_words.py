"""Counts against a Counter, TF-IDF against scikit-learn, the embedding without learning against the pseudocode that describes it."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, VocabularyError
from lmlib.measure.embeddings import analogies
from lmlib.models.bag_of_words import averaged_and_tiled, bag_of_words, inverse_document_frequency, tfidf
from lmlib.text.batches import write_tokens
from lmlib.text.tokenizers import WordTokenizer
from lmlib.text.world import World


def random_texts(n=80, seed=0):
    rng = np.random.default_rng(seed)
    vocabulary = [f"w{i}" for i in range(50)]
    return [" ".join(rng.choice(vocabulary, rng.integers(0, 40), p=(p := 1 / np.arange(1, 51)) / p.sum())) for _ in range(n)]


def test_counts_equal_a_counter():
    texts = random_texts()
    tokenizer = WordTokenizer.train(texts, unk=None)
    counts = bag_of_words(write_tokens(texts, tokenizer))
    assert counts.shape == (80, tokenizer.vocab_size)
    for row, text in zip(counts.toarray(), texts, strict=True):
        assert dict(zip(tokenizer.words, row, strict=True)) == dict.fromkeys(tokenizer.words, 0) | Counter(text.split())
    assert (counts.data > 0).all(), "a word that stands twice has one cell"
    sequences = bag_of_words([tokenizer.encode(text) for text in texts], tokenizer.vocab_size)
    assert_array_equal(sequences.toarray(), counts.toarray())


def test_order_does_not_count():
    assert_array_equal(bag_of_words([[0, 1, 1, 2], [2, 1, 0, 1], []], 4).toarray(), [[1, 2, 1, 0], [1, 2, 1, 0], [0, 0, 0, 0]])


def test_tfidf_equals_scikit_learn():
    """Trained on some texts, applied to others: an empty text among them, and words that no text of the training set holds."""
    train, test = random_texts(60, 0), [*random_texts(20, 1), "", "w0 w0 w49"]
    vectorizer = CountVectorizer(vocabulary=[f"w{i}" for i in range(60)], token_pattern=r"\S+")
    theirs = TfidfTransformer().fit(vectorizer.transform(train))
    ids = [[int(word[1:]) for word in text.split()] for text in [*train, *test]]
    idf = inverse_document_frequency(bag_of_words(ids[:60], 60))
    assert_allclose(idf, theirs.idf_, rtol=1e-12)
    assert_allclose(idf.max(), np.log(61) + 1)
    got = tfidf(bag_of_words(ids[60:], 60), idf)
    assert_allclose(got.toarray(), theirs.transform(vectorizer.transform(test)).toarray(), atol=1e-12)


def test_tfidf_by_hand():
    """Two documents: word 0 is in both, idf 1; word 1 in one, idf ln(3 / 2) + 1. Rows have length 1."""
    counts = bag_of_words([[0, 0, 1], [0]], 2)
    idf = inverse_document_frequency(counts)
    assert_allclose(idf, [1, np.log(1.5) + 1])
    row = np.array([2, np.log(1.5) + 1])
    assert_allclose(tfidf(counts, idf).toarray(), [row / np.linalg.norm(row), [1, 0]])


def test_averaged_and_tiled_is_the_pseudocode():
    words = ["tea", "eat", "at", "a", "世界"]
    part = averaged_and_tiled(sorted(set("".join(words))), 6, part_dimension=4)  # the mean of one character is its vector
    got = averaged_and_tiled(words, 6, part_dimension=4)
    for word in words:
        vector = np.mean([part[character][:4] for character in word], axis=0)
        assert_allclose(got[word], [vector[i % len(vector)] for i in range(6)], atol=1e-6)
    assert_array_equal(got["tea"], got["eat"])
    assert not np.allclose(got["at"], got["tea"])


def test_tiling_adds_no_dimension():
    words = World().words
    narrow, wide = (averaged_and_tiled(words, dimension, part_dimension=10) for dimension in (10, 200))
    assert np.linalg.matrix_rank(wide.vectors, tol=1e-3) == 10
    assert_allclose(narrow.unit @ narrow.unit.T, wide.unit @ wide.unit.T, atol=1e-5)


def test_without_learning_the_small_world_stays_unknown():
    """Fewer than one in five, and those by spelling: comparatives and superlatives, hardly a capital."""
    questions, words = World().analogies(), World().words
    for seed in (0, 1):
        got = analogies(averaged_and_tiled(words, 300, seed=seed), questions, restrict=None)
        assert got.total.coverage == 1
        assert got.total.accuracy < 0.2
        by_category = {score.category: score.accuracy for score in got.categories}
        assert by_category["capital"] < 0.02 < 0.4 < by_category["comparative"]


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(EmptyCorpusError):
        bag_of_words([[], []], 4)
    with pytest.raises(VocabularyError, match="= 4 is outside"):
        bag_of_words([[0], [4]], 4)
    with pytest.raises(ConfigError, match="vocab_size"):
        bag_of_words([[0]])
    with pytest.raises(ShapeError, match="idf_V"):
        tfidf(bag_of_words([[0]], 4), np.ones(3))
    with pytest.raises(ConfigError, match="at least 1"):
        averaged_and_tiled(["a"], 0)
    with pytest.raises(VocabularyError):
        averaged_and_tiled(["a", ""], 3)

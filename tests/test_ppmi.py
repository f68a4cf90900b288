"""PPMI against a naive loop over cells, its SVD against numpy's dense one, its vectors against the known answers of the small world."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from lmlib.errors import ConfigError, EmptyCorpusError, NonFiniteError, ShapeError, VocabularyError
from lmlib.measure.embeddings import analogies
from lmlib.models.ppmi import PPMIConfig, count_matrix, ppmi_vectors, shifted_ppmi, truncated_svd
from lmlib.text.world import World


def random_counts(vocab=30, seed=0):
    """Sparse, skewed, not symmetric; the last word never occurs."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2.0 / np.arange(1, vocab + 1)[:, None] * rng.gamma(0.5, 2, (vocab, vocab))).astype(float)
    counts[-1] = counts[:, -1] = 0
    return counts


@pytest.mark.parametrize(("smoothing", "shift"), [(1.0, 1.0), (0.75, 1.0), (0.75, 5.0), (1.0, 0.5)])
def test_shifted_ppmi_equals_a_naive_loop(smoothing, shift):
    counts, V = random_counts(), 30
    want = np.zeros((V, V))
    smoothed = [sum(counts[c][o] for c in range(V)) ** smoothing for o in range(V)]
    for c in range(V):
        for o in range(V):
            if counts[c][o] > 0:
                p_pair, p_word, p_context = counts[c][o] / counts.sum(), counts[c].sum() / counts.sum(), smoothed[o] / sum(smoothed)
                want[c][o] = max(0, math.log(p_pair / (p_word * p_context)) - math.log(shift))
    got = shifted_ppmi(count_matrix(counts, V), smoothing, shift)
    assert_allclose(got.toarray(), want, atol=1e-12)
    assert 0 < got.nnz == (want > 0).sum() < (counts > 0).sum()


def test_independent_words_have_no_mutual_information():
    counts = np.outer([5, 3, 2], [1, 7, 4]).astype(float)
    assert shifted_ppmi(count_matrix(counts, 3), smoothing=1.0, shift=1.0).toarray().max() < 1e-12
    symmetric = random_counts() + random_counts().T
    got = shifted_ppmi(count_matrix(symmetric, 30), smoothing=1.0).toarray()
    assert_allclose(got, got.T, atol=1e-12)


def test_counts_may_come_as_cells_or_as_a_matrix():
    counts = random_counts()
    rows, columns = counts.nonzero()
    half = counts[rows, columns] / 2
    cells = tuple(np.tile(x, 2) for x in (rows.astype(np.int32), columns.astype(np.int32), half))  # each cell twice: they add up
    for form in (counts, sparse.coo_matrix(counts), sparse.csc_array(counts), cells, tuple(x[::-1] for x in cells)):
        got = count_matrix(form, 30)
        assert_array_equal(got.toarray(), counts)
        assert got.nnz == len(rows)
    given = sparse.csr_array(counts)
    shifted_ppmi(count_matrix(given, 30))
    assert_array_equal(given.toarray(), counts)  # the caller's counts stay as they were


@pytest.mark.parametrize("dense", [0, 1500])
def test_the_svd_is_numpys(dense, monkeypatch):
    monkeypatch.setattr("lmlib.models.ppmi._DENSE", dense)  # small vocabularies and large ones take different ways
    matrix = shifted_ppmi(count_matrix(random_counts(60), 60))
    u, values, w = truncated_svd(matrix, 12)
    dense_u, dense_values, dense_wt = np.linalg.svd(matrix.toarray())
    assert_allclose(values, dense_values[:12], rtol=1e-10)
    assert_allclose((u * values) @ w.T, (dense_u[:, :12] * dense_values[:12]) @ dense_wt[:12], atol=1e-9)
    assert_allclose(u.T @ u, np.eye(12), atol=1e-10)
    assert_allclose(w.T @ w, np.eye(12), atol=1e-10)
    assert (u[np.abs(u).argmax(axis=0), np.arange(12)] > 0).all()
    again = truncated_svd(matrix, 12)
    for a, b in zip((u, values, w), again, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dense", [0, 1500])
def test_beyond_the_rank_there_is_nothing(dense, monkeypatch):
    monkeypatch.setattr("lmlib.models.ppmi._DENSE", dense)
    matrix = sparse.csr_array(np.outer(np.arange(1, 9), np.arange(8, 0, -1)).astype(float))
    u, values, w = truncated_svd(matrix, 3)
    assert_allclose(values, [204, 0, 0], atol=1e-9)  # ‖(1 … 8)‖²
    assert not u[:, 1:].any()
    assert not w[:, 1:].any()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_vectors_are_weighted_by_a_power_of_the_singular_values(power):
    counts, words = random_counts(), [f"w{i}" for i in range(30)]
    config = PPMIConfig(dimension=5, eigenvalue_power=power)
    vectors = ppmi_vectors(config, words, counts, word_counts=np.arange(30, 0, -1))
    u, values, _ = np.linalg.svd(shifted_ppmi(count_matrix(counts, 30)).toarray())
    gram = (u[:, :5] * values[:5] ** (2 * power)) @ u[:, :5].T  # products of the rows do not know the signs
    assert_allclose(vectors.vectors @ vectors.vectors.T, gram, atol=1e-5 * values[0] ** (2 * power))
    assert vectors.words == tuple(words)
    assert vectors.counts[0] == 30
    assert_allclose(vectors.vectors[-1], 0, atol=1e-12)  # the word that never occurs


def test_the_small_world_is_answered():
    """Every analogy, from the exact expected counts of its grammar."""
    world = World()
    vectors = ppmi_vectors(PPMIConfig(dimension=100), world.words, world.cooccurrence(window=5))
    assert analogies(vectors, world.analogies(), restrict=None).total.accuracy == 1


def test_what_cannot_be_counted_is_refused():
    counts, words = random_counts(), [f"w{i}" for i in range(30)]
    with pytest.raises(ShapeError, match=r"\(30, 30\)"):
        ppmi_vectors(PPMIConfig.tiny(), words[:-1], counts)
    with pytest.raises(VocabularyError, match=r"columns\[1\] = 30"):
        count_matrix((np.array([0, 1]), np.array([0, 30]), np.ones(2)), 30)
    with pytest.raises(ShapeError, match="three arrays"):
        count_matrix((np.array([0, 1]), np.array([0]), np.ones(2)), 30)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(NonFiniteError, match="negative or not finite"):
            count_matrix((np.array([0]), np.array([0]), np.array([bad])), 30)
    with pytest.raises(EmptyCorpusError):
        count_matrix(np.zeros((3, 3)), 3)
    with pytest.raises(ConfigError, match="at most 29"):
        ppmi_vectors(PPMIConfig(dimension=30), words, counts)
    with pytest.raises(ConfigError, match="above log 1e"):
        ppmi_vectors(PPMIConfig.tiny(shift=1e9), words, counts)
    for field, value in {"dimension": 0, "smoothing": 0.0, "shift": 0.0, "eigenvalue_power": -1.0}.items():
        with pytest.raises(ConfigError, match=field):
            PPMIConfig(**{field: value})

"""Counts of pairs against a loop, and the expected loss against the model's own loss of a pair and against its minimum by autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError
from lmlib.measure.pairs import loss_of_knowing_nothing, negative_sampling_loss, pair_counts
from lmlib.models import word2vec
from lmlib.text.batches import SkipGramPairs
from lmlib.text.store import TokenStore


def some_counts(V=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 20, (V, V)).astype(float), rng.dirichlet(np.ones(V))


def test_counts_are_those_of_a_loop():
    store = TokenStore.from_sequences([[0, 1, 2, 1], [2], [1, 0]], vocab_size=4)
    pairs = SkipGramPairs(store, span=3, window=2, seed=5)
    want = np.zeros((4, 4))
    for step in range(2 * len(pairs)):
        for centre, context, real in zip(*pairs[step].values(), strict=True):
            want[centre, context] += real
    got = pair_counts(pairs, 4, epochs=2)
    assert_array_equal(got, want)
    assert got.sum() > 0


def test_the_expected_loss_is_the_mean_over_pairs_and_their_noise():
    """Of the model's own loss of a pair, over all pairs and, since k = 2, over all pairs of noise words."""
    counts, noise = some_counts()
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=(2, 5, 3))
    want = 0.0
    for c in range(5):
        for o in range(5):
            for i in range(5):
                for j in range(5):
                    share = counts[c, o] / counts.sum() * noise[i] * noise[j]
                    want += share * float(word2vec.negative_sampling_loss(v[c], u[o], u[jnp.array([i, j])]))
    assert_allclose(negative_sampling_loss(counts, noise, 2, v @ u.T), want, rtol=1e-5)


def test_no_products_are_better_than_the_best():
    counts, noise = some_counts()
    best = negative_sampling_loss(counts, noise, 5)
    ideal = np.log(counts / (5 * counts.sum(1, keepdims=True) * noise))
    assert_allclose(negative_sampling_loss(counts, noise, 5, ideal), best, rtol=1e-12)

    def loss(x):
        noise_VV = 5 * counts.sum(1, keepdims=True) * noise
        return (counts * jax.nn.softplus(-x) + noise_VV * jax.nn.softplus(x)).sum()

    assert_allclose(jax.grad(loss)(ideal), 0, atol=1e-4)
    rng = np.random.default_rng(2)
    assert all(negative_sampling_loss(counts, noise, 5, ideal + rng.normal(size=(5, 5))) > best for _ in range(10))


def test_a_pair_that_never_occurs_costs_the_best_nothing():
    counts, noise = some_counts()
    counts[0, 1] = 0
    x = np.log(np.maximum(counts, 1e-12) / (5 * counts.sum(1, keepdims=True) * noise))
    assert_allclose(negative_sampling_loss(counts, noise, 5), negative_sampling_loss(counts, noise, 5, x), rtol=1e-9)


def test_knowing_nothing():
    counts, noise = some_counts()
    assert_allclose(negative_sampling_loss(counts, noise, 5, np.zeros((5, 5))), loss_of_knowing_nothing(5))


def test_what_cannot_be_is_refused():
    counts, noise = some_counts()
    with pytest.raises(ShapeError, match="noise_V"):
        negative_sampling_loss(counts, noise[:4], 5)
    with pytest.raises(ShapeError, match="products_VV"):
        negative_sampling_loss(counts, noise, 5, np.zeros((5, 4)))
    with pytest.raises(ShapeError, match="never drawn"):
        negative_sampling_loss(counts, noise * [0, 1, 1, 1, 1], 5)
    with pytest.raises(ConfigError, match="no pairs"):
        negative_sampling_loss(counts * 0, noise, 5)

"""The full softmax against a naive loop with the gradient by hand, and against the least loss that a text allows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError
from lmlib.models import softmax, windows
from lmlib.models.softmax import ARCHITECTURES, SoftmaxConfig
from tests.test_word2vec import chunk

CONFIG = SoftmaxConfig(dimension=6, window=3, block=4, blocks=3, cap=2.0, subsample=1e-1)
step_update, step_loss = (jax.jit(function, static_argnums=0) for function in (softmax.step_update, softmax.step_loss))


def random_params(vocab=12, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32) for name in ("input", "output")}


def naive_step(config, tables, params, drawn, i, rate):
    """One prediction after the other, in float64: the error is p - 1 for the word that stands there and p for all others."""
    old = {name: np.asarray(p, np.float64) for name, p in params.items()}
    new = {name: p.copy() for name, p in old.items()}
    share = {name: np.asarray(s, np.float64)[:, None] for name, s in tables["share"].items()}
    ids, left, right = (np.asarray(drawn[name]) for name in ("ids", "left", "right"))
    steps, losses, weights = -(-int(drawn["count"]) // (config.block * config.blocks)), [], []
    for n in range(config.blocks):
        for b in range(config.block):
            at = (n * steps + i) * config.block + b + config.window
            reach = [d for d in range(-left[at], right[at] + 1) if d != 0]
            if config.architecture == "skip-gram":
                predictions = [([ids[at]], ids[at + d], (config.window + 1 - abs(d)) / config.window) for d in reach]
            else:
                predictions = [([ids[at + d] for d in reach], ids[at], 1.0)] * bool(reach)
            for inputs, word, weight in predictions:
                x = old["input"][inputs].mean(axis=0)
                p = np.exp(old["output"] @ x)
                p /= p.sum()
                losses.append(-weight * np.log(p[word]))
                weights.append(weight)
                error = weight * (p - np.eye(len(p))[word])
                new["output"] -= rate * share["output"] * np.outer(error, x)
                for each in inputs:
                    new["input"][each] -= rate * share["input"][each] * (error @ old["output"]) / len(inputs)
    return new, sum(losses) / sum(weights), len(weights)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_equals_a_naive_loop_over_what_it_drew(architecture):
    config = dataclasses.replace(CONFIG, architecture=architecture)
    batch, counts = chunk(documents=40)
    tables, params = softmax.sampling_tables(config, counts), random_params()
    assert min(t.min() for t in tables["share"].values()) < 1, "the cap should be at work in this test"
    drawn = softmax.draw(config, tables, batch, jax.random.key(3))
    total = 0
    for i in range(int(windows.steps_in(config, drawn))):
        want, loss, predictions = naive_step(config, tables, params, drawn, i, 0.3)
        got = step_update(config, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        assert_allclose(step_loss(config, tables, params, drawn, i), loss, rtol=1e-5)
        total += predictions
    size = np.asarray(drawn["left"] + drawn["right"])
    assert total == (size.sum() if architecture == "skip-gram" else (size > 0).sum()), "every prediction of the chunk is learnt from once"


def test_loss_of_one_prediction_by_hand():
    x, outputs = np.array([1.0, -1.0]), np.log([[1.0, 1.0], [2.0, 1.0], [5.0, 1.0]])  # exp(u . x) is 1, 2 and 5
    assert_allclose([softmax.softmax_loss(x, outputs, word) for word in range(3)], -np.log([1 / 8, 2 / 8, 5 / 8]), rtol=1e-6)


def test_skip_gram_learns_the_distribution_of_the_words_around_a_word():
    """A text drawn from a Markov chain: the mean loss falls to the entropy of a pair's second word given the first, and no lower."""
    rng = np.random.default_rng(0)
    size, vocab = 20_000, 6
    chain, ids = rng.dirichlet(np.full(vocab, 0.3), vocab), np.zeros(size, np.int32)
    for t in range(1, size):
        ids[t] = rng.choice(vocab, p=chain[ids[t - 1]])
    config = SoftmaxConfig(dimension=8, window=1, learning_rate=0.2)
    batch = {"ids": ids, "document": np.zeros(size, np.int32), "count": np.int32(size)}
    step = jax.jit(softmax.make_step(config, np.bincount(ids, minlength=vocab), 3))
    state = softmax.init_state(config, vocab, jax.random.key(0))
    for t in range(15):
        state, _ = step(state, batch, jax.random.key(t))
    pairs = np.zeros((vocab, vocab))
    np.add.at(pairs, (ids[:-1], ids[1:]), 1)
    joint = (pairs + pairs.T) / (2 * pairs.sum())
    entropy = -(joint * np.log(joint / joint.sum(axis=1, keepdims=True), where=joint > 0, out=np.zeros_like(joint))).sum()
    log_p = jax.nn.log_softmax(state["params"]["input"] @ state["params"]["output"].T)
    loss = -(joint * np.asarray(log_p)).sum()
    independent = -(joint.sum(axis=0) * np.log(joint.sum(axis=0))).sum()
    assert entropy < loss < entropy + 0.01 < independent - 0.1


@pytest.mark.parametrize(("field", "value"), [("block", 0), ("cap", -1.0), ("architecture", "skipgram")])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=f"{field}.*{value}"):
        SoftmaxConfig(**{field: value})

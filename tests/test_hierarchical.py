"""Hierarchical softmax against a naive loop, autodiff, and the sum of all words' probabilities."""

import dataclasses
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError
from lmlib.models import hierarchical, windows
from lmlib.models.hierarchical import HierarchicalConfig
from lmlib.models.huffman import huffman_tree
from tests.test_word2vec import chunk

BASE = HierarchicalConfig(dimension=6, window=3, block=4, blocks=3, top=3, cap=2.0, subsample=1e-1)
CASES = [
    dataclasses.replace(BASE, architecture=a, top=t, levels=m)
    for a in hierarchical.ARCHITECTURES
    for t, m in ((0, 0), (0, 3), (3, 2), (30, 1))
]
cases = pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.architecture}-{c.top}-{c.levels}")


def random_params(vocab=12, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32) for name in ("context", "nodes")}


def naive_step(config, counts, tables, params, drawn, i, rate):
    """Equation 3, one decision after the other, in float64, at the nodes that the step drew; all from the values before the step."""
    tree = huffman_tree(counts)
    old = {name: np.asarray(p, np.float64) for name, p in params.items()}
    new = {name: p.copy() for name, p in old.items()}
    share = {name: np.asarray(s, np.float64) for name, s in tables["share"].items()}
    ids, left, right, offset = (np.asarray(drawn[name]) for name in ("ids", "left", "right", "offset"))
    steps, total, inputs = -(-int(drawn["count"]) // (config.block * config.blocks)), 0.0, 0
    for n in range(config.blocks):
        number = n * steps + i
        repeats = Counter(ids[number * config.block : (number + 1) * config.block + 2 * config.window].tolist())
        for at in range(number * config.block, (number + 1) * config.block):
            at += config.window  # padding
            reach = [d for d in range(-left[at], right[at] + 1) if d != 0]
            if config.architecture == "skip-gram":
                groups = [([ids[at + d]], (config.window + 1 - abs(d)) / config.window) for d in reach]
            else:
                groups = [([ids[at + d] for d in reach], 1.0)] * bool(reach)
            word, inputs = ids[at], inputs + sum(pair for _, pair in groups)
            length = tree["lengths"][word]
            above = sum(node >= len(counts) - 1 - config.top for node in tree["nodes"][word, :length])
            taken, rest = [(level, 1.0) for level in range(above)], length - above
            if config.levels and rest:
                drew = [int((offset[at] + m) * np.float32(rest) / config.levels) for m in range(config.levels)]
                taken += [(above + level, rest / config.levels) for level in drew]
            else:
                taken += [(level, 1.0) for level in range(above, length)]
            for group, pair in groups:
                x = old["context"][group].mean(axis=0)
                for level, weight in taken:
                    node, code = tree["nodes"][word, level], int(tree["codes"][word, level])
                    u = old["nodes"][node]
                    total += pair * weight * np.log1p(np.exp(-(1 - 2 * code) * (u @ x)))
                    error = pair * weight * (1 - code - 1 / (1 + np.exp(-u @ x)))
                    new["nodes"][node] += rate * share["nodes"][node] / (repeats[word] if level >= above else 1) * error * x
                    for c in group:
                        new["context"][c] += rate * share["context"][c] / repeats[c] * error * u / len(group)
    return new, total, inputs


@cases
def test_a_step_equals_a_naive_loop_over_what_it_drew(config):
    batch, counts = chunk()
    tables, params = hierarchical.sampling_tables(config, counts), random_params()
    assert min(t.min() for t in tables["share"].values()) < 1, "the cap should be at work in this test"
    drawn = hierarchical.draw(config, tables, batch, jax.random.key(3))
    for i in range(int(windows.steps_in(config, drawn))):
        want, total, inputs = naive_step(config, counts, tables, params, drawn, i, 0.3)
        got = hierarchical.step_update(config, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        assert_allclose(hierarchical.step_loss(config, tables, params, drawn, i), total / inputs, rtol=1e-5)


@cases
def test_a_chunk_is_its_steps_one_after_the_other(config):
    batch, counts = chunk()
    tables, key = hierarchical.sampling_tables(config, counts), jax.random.key(3)
    state = hierarchical.init_state(config, 12, key) | {"params": random_params()}
    drawn = hierarchical.draw(config, tables, batch, key)
    steps, want = int(windows.steps_in(config, drawn)), state["params"]
    for i in range(steps):
        want, *_ = naive_step(config, counts, tables, want, drawn, i, config.learning_rate * (1 - i / steps / 5))
    got, _ = hierarchical.train_chunk(config, tables, 5, state, batch, key)
    for name in want:
        assert_allclose(got["params"][name], want[name], atol=1e-5)


@cases
def test_the_update_is_the_gradient_of_the_loss(config):
    """With no cap and no word twice in a block, a step moves by the rate times the gradient, by autodiff, of the summed loss."""
    config = dataclasses.replace(config, cap=1e9, subsample=0.0)
    batch, counts = chunk(vocab=40)
    batch["ids"] = (np.arange(200) % 40).astype(np.int32)
    tables, params = hierarchical.sampling_tables(config, counts), random_params(vocab=40)
    drawn = hierarchical.draw(config, tables, batch, jax.random.key(4))
    _, _, inputs = naive_step(config, counts, tables, params, drawn, 0, 0.1)
    gradient = jax.grad(lambda p: hierarchical.step_loss(config, tables, p, drawn, 0) * inputs)(params)
    got = hierarchical.step_update(config, tables, params, drawn, 0, 0.1)
    for name in params:
        assert_allclose(got[name], params[name] - 0.1 * gradient[name], atol=1e-5)


def test_the_probabilities_of_all_words_sum_to_one():
    _, counts = chunk()
    tree, params = huffman_tree(counts), random_params()
    x = np.linspace(-1, 1, 6)
    losses = [
        hierarchical.hierarchical_softmax_loss(x, params["nodes"][tree["nodes"][w, :n]], tree["codes"][w, :n])
        for w, n in enumerate(tree["lengths"])
    ]
    assert_allclose(np.exp(-np.array(losses)).sum(), 1, rtol=1e-5)


def test_loss_of_one_word_by_hand():
    x, nodes = np.array([1.0, -2.0]), np.array([[0.5, 0.25], [1.0, 0.0]])  # u . x = 0 and 1
    want = np.log1p(np.exp(0.0)) + np.log1p(np.exp(1.0))  # left at the first (code 0), right at the second (code 1)
    assert_allclose(hierarchical.hierarchical_softmax_loss(x, nodes, np.array([0, 1])), want, rtol=1e-6)


@pytest.mark.parametrize("levels", [1, 3, 7])
def test_drawn_nodes_stand_for_the_whole_path(levels):
    """Averaged over the offset, every node of every path has weight 1 altogether: the expected gradient is that of the whole path."""
    _, counts = chunk()
    config = dataclasses.replace(BASE, top=0, levels=levels)
    tables, tree = hierarchical.sampling_tables(config, counts), huffman_tree(counts)
    grid = 5040  # divisible by every length and number of levels here, so that the average over offsets is exact
    for word, length in enumerate(tree["lengths"]):
        offsets = jnp.asarray((np.arange(grid) + 0.5) / grid, jnp.float32)
        nodes, label, weight = jax.device_get(hierarchical.nodes_of(config, tables, jnp.full(grid, word), offsets))
        total = np.bincount(nodes.reshape(-1), weights=weight.reshape(-1), minlength=12) / grid
        assert_allclose(total[tree["nodes"][word, :length]], 1, atol=2e-3)
        assert_allclose(total.sum(), length, atol=1e-4)
        codes = dict(zip(tree["nodes"][word, :length].tolist(), tree["codes"][word, :length].tolist(), strict=True))
        assert_array_equal(label.reshape(-1), [1 - codes[node] for node in nodes.reshape(-1).tolist()])


@pytest.mark.parametrize(("field", "value"), [("architecture", "cbov"), ("levels", -1), ("block", 0)])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        HierarchicalConfig(**{field: value})

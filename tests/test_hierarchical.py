"""Hierarchical softmax against a naive loop, autodiff, and the sum of all words' probabilities."""

import dataclasses

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
draw, step_update, step_loss = (jax.jit(f, static_argnums=0) for f in (hierarchical.draw, hierarchical.step_update, hierarchical.step_loss))
cases = pytest.mark.parametrize("config", CASES, ids=lambda c: f"{c.architecture}-{c.top}-{c.levels}")


def random_params(vocab=12, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32) for name in ("context", "nodes")}


def repeats(ids, at):
    near = ids[max(at - hierarchical.NEAR, 0) : at + hierarchical.NEAR + 1]
    return int((near == ids[at]).sum())


def naive_step(config, counts, tables, params, drawn, i, rate):
    """Equation 3, one decision after the other, in float64, at the nodes that the chunk drew; all from the values before the step."""
    tree = huffman_tree(counts)
    old = {name: np.asarray(p, np.float64) for name, p in params.items()}
    new = {name: p.copy() for name, p in old.items()}
    share = {name: np.asarray(s, np.float64) for name, s in tables["share"].items()}
    ids, left, right = (np.asarray(drawn[name]) for name in ("ids", "left", "right"))
    packed, centre, weights = (np.asarray(drawn["nodes"][name]) for name in ("packed", "centre", "weight"))
    steps, total, inputs = -(-int(drawn["count"]) // (config.block * config.blocks)), 0.0, 0
    for n in range(config.blocks):
        number = n * steps + i
        for b in range(config.block):
            at = number * config.block + b + config.window  # after the padding
            reach = [d for d in range(-left[at], right[at] + 1) if d != 0]
            if config.architecture == "skip-gram":
                groups = [([at + d], (config.window + 1 - abs(d)) / config.window) for d in reach]
            else:
                groups = [([at + d for d in reach], 1.0)] * bool(reach)
            word, inputs = ids[at], inputs + sum(pair for _, pair in groups)
            path = list(zip(tree["nodes"][word].tolist(), tree["codes"][word].tolist(), strict=True))[: tree["lengths"][word]]
            first = len(counts) - 1 - config.top
            taken = [(node, code, 1.0) for node, code in path if node >= first]
            for q in np.flatnonzero((centre[number] == b) & (weights[number] > 0)):
                node, code = divmod(int(packed[number, q]), 2)
                assert (node, code) in path, "a node is drawn from the path of its centre"
                taken.append((node, code, weights[number, q]))
            for group, pair in groups:
                x = old["context"][ids[group]].mean(axis=0)
                for node, code, weight in taken:
                    u = old["nodes"][node]
                    total += pair * weight * np.log1p(np.exp(-(1 - 2 * code) * (u @ x)))
                    error = pair * weight * (1 - code - 1 / (1 + np.exp(-u @ x)))
                    new["nodes"][node] += rate * share["nodes"][node] / (1 if node >= first else repeats(ids, at)) * error * x
                    for c in group:
                        new["context"][ids[c]] += rate * share["context"][ids[c]] / repeats(ids, c) * error * u / len(group)
    return new, total, inputs


@cases
def test_a_step_equals_a_naive_loop_over_what_it_drew(config):
    batch, counts = chunk()
    tables, params = hierarchical.sampling_tables(config, counts), random_params()
    assert min(t.min() for t in tables["share"].values()) < 1, "the cap should be at work in this test"
    drawn = draw(config, tables, batch, jax.random.key(3))
    for i in range(int(windows.steps_in(config, drawn))):
        want, total, inputs = naive_step(config, counts, tables, params, drawn, i, 0.3)
        got = step_update(config, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        assert_allclose(step_loss(config, tables, params, drawn, i), total / inputs, rtol=1e-5)


@cases
def test_a_chunk_is_its_steps_one_after_the_other(config):
    batch, counts = chunk()
    tables, key = hierarchical.sampling_tables(config, counts), jax.random.key(3)
    state = hierarchical.init_state(config, 12, key) | {"params": random_params()}
    drawn = draw(config, tables, batch, key)
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
    drawn = draw(config, tables, batch, jax.random.key(4))
    _, _, inputs = naive_step(config, counts, tables, params, drawn, 0, 0.1)
    gradient = jax.grad(lambda p: step_loss(config, tables, p, drawn, 0) * inputs)(params)
    got = step_update(config, tables, params, drawn, 0, 0.1)
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


def paths_below_the_top(config, counts, block):
    """The rest of the paths of a block's words, laid end to end: [(2 node + code, place of the word in the block)]."""
    tree = huffman_tree(counts)
    return [
        (2 * int(tree["nodes"][word, level]) + int(tree["codes"][word, level]), b)
        for b, word in enumerate(block)
        for level in range(tree["lengths"][word] if word >= 0 else 0)
        if tree["nodes"][word, level] < len(counts) - 1 - config.top
    ]


# Words of a block of 4, by number of nodes that they have together below the top; -1 is padding.
BLOCKS = [[3, 0, 7, 7], [0, 0, 0, 0], [11, 10, 9, 8], [-1, -1, -1, -1], [5, -1, -1, -1], [0, 3, 0, -1], [-1, -1, 0, 4], [0, 11, 0, 0]]


@pytest.mark.parametrize(("top", "levels"), [(0, 0), (0, 1), (0, 3), (1, 2), (3, 1), (3, 2), (3, 5), (11, 2), (30, 0)])
def test_nodes_are_taken_at_equal_distances_from_paths_laid_end_to_end(top, levels):
    _, counts = chunk()
    config = dataclasses.replace(BASE, top=top, levels=levels)
    tables = hierarchical.sampling_tables(config, counts)
    offset = np.linspace(0, 0.99, len(BLOCKS)).astype(np.float32)
    got = jax.device_get(hierarchical.nodes_of(config, tables, jnp.array(BLOCKS), jnp.asarray(offset)))
    lengths = set()
    for n, block in enumerate(BLOCKS):
        there, size = paths_below_the_top(config, counts, block), got["packed"].shape[1]
        lengths.add(len(there))
        if levels and len(there) > size == levels * 4:
            apart = len(there) / size
            want = [(*there[int((offset[n] + q) * apart)], apart) for q in range(size)]
        else:
            assert len(there) <= size, "where whole paths are taken there is room for them"
            want = [(*node, 1.0) for node in there]
        used = got["weight"][n] > 0
        assert_allclose(np.stack([got[name][n][used] for name in ("packed", "centre", "weight")], axis=1), np.reshape(want, (-1, 3)))
    assert 0 in lengths
    assert top >= 11 or len(lengths) > 4, "blocks of many lengths should be at work in this test"


@pytest.mark.parametrize(("top", "levels"), [(0, 1), (0, 3), (3, 1), (3, 2), (0, 7)])
def test_drawn_nodes_stand_for_the_whole_path(top, levels):
    """Averaged over the offset, every node of every path has weight 1 altogether: the expected gradient is that of the whole path."""
    _, counts = chunk()
    config = dataclasses.replace(BASE, top=top, levels=levels)
    tables, grid = hierarchical.sampling_tables(config, counts), 5040
    offsets = jnp.asarray((np.arange(grid) + 0.5) / grid, jnp.float32)
    for block in BLOCKS:
        got = jax.device_get(hierarchical.nodes_of(config, tables, jnp.broadcast_to(jnp.array(block), (grid, 4)), offsets))
        key = (got["packed"] * 4 + got["centre"]).reshape(-1)
        total = np.bincount(key, weights=got["weight"].reshape(-1), minlength=24 * 4) / grid
        want = np.zeros(24 * 4)
        for packed, b in paths_below_the_top(config, counts, block):
            want[packed * 4 + b] = 1
        assert_allclose(total, want, atol=2e-3)


@pytest.mark.parametrize("architecture", hierarchical.ARCHITECTURES)
def test_the_expected_step_is_that_of_whole_paths(architecture):
    """Over many draws of nodes, with all tokens kept and every window as large as can be, steps average to the one with whole paths."""
    batch, counts = chunk(size=40)
    config = dataclasses.replace(BASE, architecture=architecture, window=1, top=1, levels=1, subsample=0.0, cap=1e9)
    whole, params = dataclasses.replace(config, levels=0), random_params()
    tables = hierarchical.sampling_tables(config, counts)

    def step(config, key):
        return hierarchical.step_update(config, tables, params, hierarchical.draw(config, tables, batch, key), 0, 1.0)

    draws = 4000
    got = jax.jit(jax.vmap(lambda key: step(config, key)))(jax.random.split(jax.random.key(5), draws))
    want = step(whole, jax.random.key(5))
    for name in params:
        spread = np.asarray(got[name].std(axis=0)).max()
        assert spread > 0.1, "draws should differ in this test"
        assert_allclose(got[name].mean(axis=0), want[name], atol=5 * spread / np.sqrt(draws))


@pytest.mark.parametrize("architecture", hierarchical.ARCHITECTURES)
@pytest.mark.parametrize(("vocab", "top", "levels"), [(1, 0, 0), (2, 0, 1), (3, 0, 1), (3, 1, 1), (3, 32, 5)])
def test_small_vocabularies(architecture, vocab, top, levels):
    """Paths of none to two nodes: a step still equals the naive loop, and a text whose steps end in padding trains."""
    batch, counts = chunk(vocab=vocab, size=50)
    config = dataclasses.replace(BASE, architecture=architecture, top=top, levels=levels)
    tables, params = hierarchical.sampling_tables(config, counts), random_params(vocab=vocab)
    drawn = draw(config, tables, batch, jax.random.key(3))
    for i in range(int(windows.steps_in(config, drawn))):
        want, *_ = naive_step(config, counts, tables, params, drawn, i, 0.3)
        got = step_update(config, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)


@pytest.mark.parametrize("config", CASES[2::4], ids=lambda c: c.architecture)
def test_padding_takes_no_node_and_moves_no_row(config):
    """The tokens after the end of a corpus: their blocks have no weight, and a step that reads padding alone changes nothing."""
    batch, counts = chunk()
    batch["count"] = np.int32(13)
    tables, params = hierarchical.sampling_tables(config, counts), random_params()
    drawn = jax.device_get(draw(config, tables, batch, jax.random.key(3)))
    ids_NB = drawn["ids"][config.window : -config.window][: len(drawn["nodes"]["packed"]) * config.block].reshape(-1, config.block)
    lengths = [len(paths_below_the_top(config, counts, block)) for block in ids_NB]
    assert_allclose(drawn["nodes"]["weight"].sum(axis=1), lengths, rtol=1e-5)
    nothing = step_update(config, tables, params, drawn | {"count": 0}, len(ids_NB) - 1, 0.3)
    for name in params:
        assert_array_equal(nothing[name], params[name])


@pytest.mark.parametrize(("field", "value"), [("architecture", "cbov"), ("levels", -1), ("block", 0)])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        HierarchicalConfig(**{field: value})

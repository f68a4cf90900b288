"""GloVe against its paper written out as loops, against the C program, and against itself one cell at a time."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmlib.errors import ConfigError, NonFiniteError, ShapeError
from lmlib.learn.train import fit
from lmlib.measure.embeddings import analogies
from lmlib.models import glove
from lmlib.models.glove import GloVeConfig
from lmlib.models.vectors import WordVectors
from lmlib.text.cooccurrence import Cooccurrences, count_cooccurrences
from lmlib.text.store import TokenStore, write_tokens
from lmlib.text.tokenizers import WordTokenizer
from lmlib.text.world import World

SMALL = GloVeConfig(dimension=3, x_max=4.0, tile=4, group=2, groups=3, learning_rate=0.1, damping=0.0)
train_cells = jax.jit(glove.train_cells, static_argnums=0)


def random_state(config, vocab_size, seed=0):
    """A state whose sums of squares are above 1, as in the middle of a run; parameters of size 1."""
    state = glove.init_state(config, vocab_size, jax.random.key(seed))
    table = np.array(state["params"]["rows"])
    bits, D = np.random.default_rng(seed), config.dimension
    table[:, glove.WORD, : D + 1] = bits.normal(size=(len(table), D + 1))
    table[:, glove.CONTEXT, :D] = bits.normal(size=(len(table), D))
    table[:, glove.CONTEXT, D + 1] = bits.normal(size=len(table))
    for sums in (glove.WORD_SUMS, glove.CONTEXT_SUMS):
        table[:, sums] += bits.random(table[:, sums].shape)
    return state | {"params": {"rows": jnp.asarray(table)}}


def naive_step(config, table, cells):
    """What a step on these cells, (i, j, x), should make of the table: all gradients where it stood before, in float64."""
    old, D = np.asarray(table, np.float64), config.dimension
    sides = ((glove.WORD, [*range(D), D]), (glove.CONTEXT, [*range(D), D + 1]))  # the columns of a row that are trained
    gradients, squares, curvature = (np.zeros_like(old) for _ in range(3))
    cost = 0.0
    for i, j, x in cells:
        weight = min(1.0, (x / config.x_max) ** config.alpha)
        difference = old[i, glove.WORD] @ old[j, glove.CONTEXT] - np.log(x)
        cost += 0.5 * weight * difference**2
        for (row, columns), at, other in zip(sides, (i, j), (old[j, glove.CONTEXT], old[i, glove.WORD]), strict=True):
            gradient = weight * difference * other[columns]
            gradients[at, row, columns] += gradient
            squares[at, row, columns] += gradient**2
            curvature[at, row, columns] += weight * np.abs(other[columns]) * np.abs(other[columns]).sum()
    new = old.copy()
    for row, columns in sides:
        rate = np.full(D + 1, config.learning_rate)
        if config.form == "program":
            rate[D] = 1.0
            new[:, row + 1, columns] += rate**2 * squares[:, row, columns]
            scale = rate / np.sqrt(old[:, row + 1, columns])
        else:
            new[:, row + 1, columns] += squares[:, row, columns]
            scale = rate / np.sqrt(new[:, row + 1, columns])
        if config.damping:
            scale = np.minimum(scale, config.damping / np.maximum(curvature[:, row, columns], 1e-6))
        new[:, row, columns] -= scale * gradients[:, row, columns]
    return new, cost


def trained_columns(table, config):
    """The parts of the table that mean something, as one array."""
    D = config.dimension
    words = np.asarray(table)[:, glove.WORD : glove.WORD_SUMS + 1, : D + 1]
    contexts = np.asarray(table)[:, glove.CONTEXT : glove.CONTEXT_SUMS + 1][:, :, [*range(D), D + 1]]
    return np.stack([words, contexts])


def test_weighting_and_objective_are_those_of_the_paper():
    np.testing.assert_allclose(glove.weighting(jnp.array([0.0, 1, 50, 100, 1e4]), 100, 0.75), [0, 0.01**0.75, 0.5**0.75, 1, 1], rtol=1e-6)
    bits = np.random.default_rng(0)
    word, context, bias, other_bias, x = bits.normal(size=(4, 3)), bits.normal(size=(4, 3)), *bits.normal(size=(2, 4)), [0.5, 3, 100, 900]
    want = sum(min(1, (x[n] / 100) ** 0.75) * (sum(word[n] * context[n]) + bias[n] + other_bias[n] - np.log(x[n])) ** 2 for n in range(4))
    assert float(glove.objective(word, context, bias, other_bias, jnp.array(x))) == pytest.approx(want, rel=1e-5)


def test_the_gradient_is_that_of_the_objective():
    """With sums so large that all coordinates move at one rate, a step is plain descent on J / 2."""
    config = replace(SMALL, learning_rate=1e3)
    state = random_state(config, 8)
    table = np.array(state["params"]["rows"])
    table[:, [glove.WORD_SUMS, glove.CONTEXT_SUMS]] = 1e12
    counts = np.random.default_rng(1).integers(0, 9, (4, 4)).astype(np.float32)
    new, cost = glove.train_tile(config, jnp.asarray(table), jnp.array([0, 1]), jnp.asarray(counts), jnp.zeros((4, 4)))
    found = glove.parameters(config, {"rows": table}, 8)
    i, j = np.nonzero(counts)

    def half(p):
        rows = p["word"][i], p["context"][j + 4], p["word_bias"][i], p["context_bias"][j + 4]
        return glove.objective(*rows, counts[i, j], config.x_max, config.alpha) / 2

    value, gradient = jax.value_and_grad(half)(found)
    assert float(cost) == pytest.approx(float(value), rel=1e-5)
    after = glove.parameters(config, {"rows": new}, 8)
    for name in found:
        np.testing.assert_allclose(after[name] - found[name], -1e-3 * gradient[name], atol=2e-5)


@pytest.mark.parametrize("form", glove.FORMS)
@pytest.mark.parametrize("damping", [0.0, 0.05])
@pytest.mark.parametrize("blocks", [(0, 2), (1, 1)])
def test_a_step_on_a_tile_equals_the_naive_loop(form, damping, blocks):
    config = replace(SMALL, form=form, damping=damping)
    state, bits = random_state(config, 12), np.random.default_rng(2)
    counts, back = bits.integers(0, 9, (2, 4, 4)).astype(np.float32) * bits.integers(0, 2, (2, 4, 4))
    if blocks[0] == blocks[1]:
        back = np.zeros_like(back)
    new, cost = glove.train_tile(config, state["params"]["rows"], jnp.array(blocks), jnp.asarray(counts), jnp.asarray(back))
    a, b = (4 * block for block in blocks)
    cells = [(a + p, b + q, counts[p, q]) for p, q in np.argwhere(counts)] + [(b + q, a + p, back[p, q]) for p, q in np.argwhere(back)]
    want, value = naive_step(config, state["params"]["rows"], cells)
    np.testing.assert_allclose(trained_columns(new, config), trained_columns(want, config), atol=2e-5)
    assert float(cost) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("form", glove.FORMS)
def test_a_step_on_groups_equals_the_naive_loop(form):
    config = replace(SMALL, form=form)
    state = random_state(config, 12)
    heads = np.array([3, 5, 12])  # 12: no word
    tails = np.array([[4, 7], [9, 12], [12, 12]])  # … and places that are left over
    if form == "program":
        tails[0, 0] = 3  # a word with itself; in the paper's form each place of a word in a step sees its own squares alone
    counts = np.array([[2, 5], [1, 0], [0, 0]], np.float32)
    back = np.array([[0, 4], [6, 0], [0, 0]], np.float32)
    new, cost = glove.train_groups(config, state["params"]["rows"], *map(jnp.asarray, (heads, tails, counts, back)))
    cells = [(heads[n], tails[n, k], counts[n, k]) for n, k in np.argwhere(counts)]
    want, value = naive_step(config, state["params"]["rows"], cells + [(tails[n, k], heads[n], back[n, k]) for n, k in np.argwhere(back)])
    np.testing.assert_allclose(trained_columns(new, config), trained_columns(want, config), atol=2e-5)
    assert float(cost) == pytest.approx(value, rel=1e-5)


def test_heads_are_damped_as_in_the_naive_loop():
    config = replace(SMALL, damping=0.01)
    state = random_state(config, 12)
    rows, arrays = state["params"]["rows"], (jnp.array([2]), jnp.array([[7, 8]]), jnp.array([[3.0, 5.0]]), jnp.zeros((1, 2)))
    new, _ = glove.train_groups(config, rows, *arrays)
    want, _ = naive_step(config, rows, [(2, 7, 3.0), (2, 8, 5.0)])
    np.testing.assert_allclose(trained_columns(new, config)[0, 2], trained_columns(want, config)[0, 2], atol=2e-5)
    assert not np.allclose(new[2], naive_step(SMALL, rows, [(2, 7, 3.0), (2, 8, 5.0)])[0][2], atol=1e-3)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parent / "fixtures" / "glove" / "reference.npz") as file:
        return {name: file[name] for name in file}


def one_by_one(rows, columns, counts):
    """A batch whose every step is one cell."""
    none = np.zeros((0, 1, 1), np.float32)
    ids = {"heads": rows.astype(np.int32)[:, None], "tails": columns.astype(np.int32)[:, None, None]}
    values = {"counts": counts.astype(np.float32)[:, None, None], "counts_back": np.zeros((len(counts), 1, 1), np.float32)}
    return ids | values | {"blocks": np.zeros((0, 2), np.int32), "tiles": none, "tiles_back": none, "cells": np.int32(len(counts))}


def test_one_cell_a_step_in_the_programs_form_equals_the_program(reference):
    config = GloVeConfig(dimension=8, form="program", learning_rate=0.05, damping=0.0, tile=1, group=1, groups=1)
    state, V = glove.init_state(config, 595, jax.random.key(0)), 595
    table, start = np.array(state["params"]["rows"]), reference["params_000"]
    table[:, glove.WORD, :9], table[:, glove.CONTEXT, :8], table[:, glove.CONTEXT, 9] = start[:V], start[V:, :8], start[V:, 8]
    state["params"] = {"rows": jnp.asarray(table)}
    batch = one_by_one(reference["order_i"] - 1, reference["order_j"] - 1, reference["order_x"])
    for iteration, cost in ((1, 0.089501), (2, 0.076912), (3, 0.074313)):
        state, metrics = train_cells(config, state, batch, jax.random.key(0))
        want, found = reference[f"params_{iteration:03}"], glove.parameters(config, state["params"], V)
        for name, part in (("word", want[:V, :8]), ("context", want[V:, :8]), ("word_bias", want[:V, 8]), ("context_bias", want[V:, 8])):
            np.testing.assert_allclose(found[name], part, atol=1e-4)
        assert float(metrics["loss"]) == pytest.approx(cost, abs=5e-6)


def test_many_cells_a_step_cost_what_one_cell_a_step_costs(reference):
    """Over ten iterations within 2 %, and so in each but the first, in which biases must go a long way in few steps."""
    keep = reference["cooc_i"] <= reference["cooc_j"]
    upper = [reference[name][keep] for name in ("cooc_i", "cooc_j", "cooc_x")]
    ids = [(part - 1).astype(np.int32) for part in upper[:2]]
    counts = Cooccurrences(*ids, upper[2].astype(np.float32), 595, symmetric=True)
    config = GloVeConfig(dimension=8, learning_rate=0.05, tile=8, epochs=10)
    batches = glove.make_batches(config, counts)
    costs, cells = [], []
    initial = glove.init_state(config, 595, jax.random.key(0))
    for _, metrics in fit(glove.make_step(config), initial, batches, key=jax.random.key(0), steps=10 * len(batches)):
        costs.append(float(metrics["loss"][0]))
        cells.append(int(metrics["cells"][0]))
    batched = np.average(np.reshape(costs, (10, -1)), weights=np.reshape(cells, (10, -1)), axis=1)

    single = replace(config, damping=0.0, tile=1, group=1, groups=1)
    state, rows, sequential = glove.init_state(single, 595, jax.random.key(0)), counts.triplets(), []
    for epoch in range(10):
        order = np.random.default_rng(epoch).permutation(len(counts))
        state, metrics = train_cells(single, state, one_by_one(*(part[order] for part in rows)), jax.random.key(0))
        sequential.append(float(metrics["loss"]))
    ratio = batched / np.array(sequential)
    assert abs(batched.mean() / np.mean(sequential) - 1) < 0.02
    assert (abs(ratio[2:] - 1) < 0.02).all()
    assert ratio[0] < 1.1


def zipf_counts(vocab_size=200, n=4000, seed=0, symmetric=True):
    ids = np.minimum(np.random.default_rng(seed).zipf(1.2, n) - 1, vocab_size - 1)
    return count_cooccurrences(TokenStore.from_sequences([ids], vocab_size), 5, symmetric=symmetric)


def run(config, counts, vocab_size, stop=None, state=None, seed=0):
    batches = glove.make_batches(config, counts, seed)
    state = state or glove.init_state(config, vocab_size, jax.random.key(seed))
    history = []
    stop = config.epochs * len(batches) if stop is None else stop
    for now, metrics in fit(glove.make_step(config), state, batches, key=jax.random.key(seed), steps=stop):
        history.append(jax.device_get(metrics))
        state = now
    return jax.device_get(state), history


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one():
    config, counts = GloVeConfig.tiny(epochs=3), zipf_counts()
    assert len(glove.make_batches(config, counts)) > 1
    whole, history = run(config, counts, 200)
    half, first = run(config, counts, 200, stop=5)
    again, rest = run(config, counts, 200, state=half)
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    jax.tree.map(np.testing.assert_array_equal, first + rest, history)


@pytest.mark.parametrize("symmetric", [True, False])
def test_training_fits_the_counts(symmetric):
    config, counts = GloVeConfig.tiny(epochs=30), zipf_counts(symmetric=symmetric)
    state, history = run(config, counts, 200)
    found = glove.parameters(config, state["params"], 200)
    rows, columns, x = counts.triplets()
    cells = found["word"][rows], found["context"][columns], found["word_bias"][rows], found["context_bias"][columns], x
    assert glove.objective(*cells, config.x_max, config.alpha) / (2 * len(x)) < 0.25 * history[0]["loss"][0]
    np.testing.assert_array_equal(glove.word_vectors(config, state["params"], 200), found["word"] + found["context"])


def test_without_damping_frequent_words_overshoot():
    config, counts = GloVeConfig.tiny(epochs=10, form="program", tile=64, learning_rate=0.05), zipf_counts()
    _, damped = run(config, counts, 200)
    assert damped[-1]["loss"][0] < damped[0]["loss"][0]
    with pytest.raises(NonFiniteError):
        run(replace(config, damping=0.0, epochs=60), counts, 200)


@pytest.mark.parametrize("fault", ["tails", "heads", "blocks", "counts"])
def test_a_batch_with_an_unknown_id_or_a_bad_count_is_skipped(fault):
    config = GloVeConfig.tiny(groups=2, group=2)
    batch = dict(glove.make_batches(replace(config, density=0.3), zipf_counts())[0])
    batch[fault] = batch[fault].copy()
    n = np.argwhere(batch["counts"].reshape(-1, 2, 2)[:, 0, 0] > 0)[0, 0]
    batch[fault][(n, 0, 0)[: batch[fault].ndim]] = {"counts": np.nan, "blocks": 10_000}.get(fault, -1)
    state = glove.init_state(config, 200, jax.random.key(0))
    after, metrics = train_cells(config, state, batch, jax.random.key(0))
    assert (int(after["skipped"]), int(after["step"])) == (1, 1)
    np.testing.assert_array_equal(after["params"]["rows"], state["params"]["rows"])
    assert np.isnan(metrics["loss"])


def test_configs_and_shapes_are_checked():
    for name, value in (("dimension", 0), ("x_max", -1.0), ("tile", 0), ("damping", -0.1), ("form", "papr")):
        with pytest.raises(ConfigError, match=f"GloVeConfig.{name}"):
            GloVeConfig(**{name: value})
    config = GloVeConfig.tiny()
    state, batch = glove.init_state(config, 200, jax.random.key(0)), glove.make_batches(config, zipf_counts())[0]
    with pytest.raises(ShapeError, match="tiles"):
        glove.train_cells(replace(config, tile=16), state, batch, None)


def test_the_small_worlds_analogies_are_answered():
    """A fast form of the claim `world_glove_analogy`."""
    world = World()
    sentences = list(world.sample(60_000, 0))
    tokenizer = WordTokenizer.train(sentences, unk=None)
    config = GloVeConfig(window=8, learning_rate=0.05, epochs=50, tile=16)
    counts = count_cooccurrences(write_tokens(sentences, tokenizer), config.window)
    state, _ = run(config, counts, len(tokenizer.words))
    vectors = WordVectors(tokenizer.words, glove.word_vectors(config, state["params"], len(tokenizer.words)))
    assert analogies(vectors, world.analogies()).total.accuracy >= 0.95

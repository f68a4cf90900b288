"""CBOW with negative sampling against a naive loop, autodiff and what the two gradients of the mean should be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError
from lmlib.models import cbow, windows
from lmlib.models.cbow import CBOWConfig
from tests.test_word2vec import chunk

CONFIG = CBOWConfig(dimension=6, window=3, block=4, blocks=3, shared_negatives=5, negatives=3, cap=2.0, subsample=1e-1)
step_update, step_loss = (jax.jit(function, static_argnums=0) for function in (cbow.step_update, cbow.step_loss))


def random_params(vocab=12, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32) for name in ("context", "centre")}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_step(config, tables, params, drawn, i, rate):
    """Centre by centre, in float64, from the windows and noise words that the step drew; all from the values before the step."""
    old = {name: np.asarray(p, np.float64) for name, p in params.items()}
    new = {name: p.copy() for name, p in old.items()}
    share = {name: np.asarray(s, np.float64) for name, s in tables["share"].items()}
    ids, left, right, noise = (np.asarray(drawn[name]) for name in ("ids", "left", "right", "noise"))
    steps, losses = -(-int(drawn["count"]) // (config.block * config.blocks)), []
    for n in range(config.blocks):
        number = n * steps + i
        for at in range(number * config.block + config.window, (number + 1) * config.block + config.window):
            around = [at + d for d in range(-left[at], right[at] + 1) if d != 0]
            if not around:
                continue
            context = ids[around]
            c, loss = ids[at], 0.0
            repeats = {to: int((ids[max(to - cbow.NEAR, 0) : to + cbow.NEAR + 1] == ids[to]).sum()) for to in [at, *around]}
            h = np.mean([old["context"][word] for word in context], axis=0)
            dh = np.zeros_like(h)
            outputs = [(c, 1, 1.0)] + [(word, 0, config.negatives / len(noise[number])) for word in noise[number]]
            for o, label, weight in outputs:
                u = old["centre"][o]
                error = weight * (label - sigmoid(u @ h))
                dh += error * u
                new["centre"][o] += rate * share["centre"][o] / (repeats[at] if label else 1) * error * h
                loss -= weight * np.log(sigmoid(u @ h if label else -u @ h))
            for to in around:
                part = 1 / len(around) if config.gradient == "true" else 1
                new["context"][ids[to]] += rate * share["context"][ids[to]] / repeats[to] * part * dh
            losses.append(loss)
    return new, losses


@pytest.mark.parametrize("gradient", ["true", "word2vec.c"])
def test_a_step_equals_a_naive_loop_over_what_it_drew(gradient):
    config = dataclasses.replace(CONFIG, gradient=gradient)
    batch, counts = chunk(documents=40)
    tables, params = cbow.sampling_tables(config, counts), random_params()
    assert min(t.min() for t in tables["share"].values()) < 1, "the cap should be at work in this test"
    drawn = cbow.draw(config, tables, batch, jax.random.key(3))
    alone = int(((drawn["ids"] >= 0) & (drawn["left"] + drawn["right"] == 0)).sum())
    assert alone, "some centre should stand alone in its document in this test"
    total = 0
    for i in range(int(windows.steps_in(config, drawn))):
        want, losses = naive_step(config, tables, params, drawn, i, 0.3)
        got = step_update(config, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        assert_allclose(step_loss(config, tables, params, drawn, i), np.mean(losses), rtol=1e-5)
        total += len(losses)
    assert total == int(drawn["count"]) - alone, "every centre of the chunk is learnt from once"


def test_a_chunk_is_its_steps_one_after_the_other():
    batch, counts = chunk(documents=40)
    tables, key = cbow.sampling_tables(CONFIG, counts), jax.random.key(3)
    state = cbow.init_state(CONFIG, 12, key) | {"params": random_params()}
    drawn = cbow.draw(CONFIG, tables, batch, key)
    steps, want = int(windows.steps_in(CONFIG, drawn)), state["params"]
    for i in range(steps):
        want, _ = naive_step(CONFIG, tables, want, drawn, i, CONFIG.learning_rate * (1 - i / steps / 5))
    got, metrics = cbow.train_chunk(CONFIG, tables, 5, state, batch, key)
    for name in want:
        assert_allclose(got["params"][name], want[name], atol=1e-5)
    assert (int(metrics["tokens"]), int(metrics["kept"])) == (191, int(drawn["count"]))


@pytest.fixture
def no_damping():
    """A step in which neither the cap nor repeated words lower a rate: (config, tables, params, drawn)."""
    config = dataclasses.replace(CONFIG, cap=1e9, subsample=0.0)
    batch, counts = chunk(vocab=40, documents=40)
    batch["ids"] = (np.arange(200) % 40).astype(np.int32)
    tables = cbow.sampling_tables(config, counts)
    return config, tables, random_params(vocab=40), cbow.draw(config, tables, batch, jax.random.key(4))


def test_the_update_is_the_gradient_of_the_loss(no_damping):
    """With no cap and no word twice in a block, a step moves by the rate times the gradient, by autodiff, of the summed loss."""
    config, tables, params, drawn = no_damping
    centres = (cbow.blocks_of(config, drawn, 0)[3] > 0).sum()
    gradient = jax.grad(lambda p: cbow.step_loss(config, tables, p, drawn, 0) * centres)(params)
    got = step_update(config, tables, params, drawn, 0, 0.1)
    for name in params:
        assert_allclose(got[name], params[name] - 0.1 * gradient[name], atol=1e-5)


def test_the_program_moves_context_words_as_many_times_too_far_as_the_window_has_words(no_damping):
    """One centre, by hand: with gradient="word2vec.c" each of its n context words moves n times as far, the outputs as before."""
    config, tables, params, drawn = no_damping
    config = dataclasses.replace(config, block=1, blocks=1)
    i = int(jnp.argmax(drawn["left"] + drawn["right"])) - config.window
    n = int(cbow.blocks_of(config, drawn, i)[3][0, 0])
    assert n > 3
    true = step_update(config, tables, params, drawn, i, 0.1)
    program = step_update(dataclasses.replace(config, gradient="word2vec.c"), tables, params, drawn, i, 0.1)
    assert_allclose(program["context"] - params["context"], n * (true["context"] - params["context"]), atol=1e-5)
    assert_allclose(program["centre"], true["centre"], atol=1e-6)


def test_loss_of_one_centre_by_hand():
    context, centre = np.array([[1.0, -2.0], [3.0, 0.0]]), np.array([0.5, 0.25])  # the mean is (2, -1)
    noise = np.array([[1.0, 0.0], [0.0, 1.0]])
    want = np.log1p(np.exp(-0.75)) + np.log1p(np.exp(2.0)) + np.log1p(np.exp(-1.0))
    assert_allclose(cbow.cbow_loss(context, centre, noise), want, rtol=1e-6)


def test_loss_of_a_step_is_that_of_its_centres():
    config = dataclasses.replace(CONFIG, block=1, blocks=40, negatives=5)
    batch, counts = chunk(documents=40)
    tables, params = cbow.sampling_tables(config, counts), random_params()
    drawn = cbow.draw(config, tables, batch, jax.random.key(5))
    drawn, losses, steps = jax.device_get(drawn), [], int(windows.steps_in(config, drawn))
    for n in range(config.blocks):
        at = n * steps + config.window
        words = [drawn["ids"][at + d] for d in range(-int(drawn["left"][at]), int(drawn["right"][at]) + 1) if d != 0]
        if words:
            context, centre = params["context"][np.array(words)], params["centre"][drawn["ids"][at]]
            losses.append(cbow.cbow_loss(context, centre, params["centre"][drawn["noise"][n * steps]]))
    assert_allclose(cbow.step_loss(config, tables, params, drawn, 0), np.mean(losses), rtol=1e-5)


def test_columns_that_fill_cache_lines_stay_zero_and_are_left_out():
    batch, counts = chunk(documents=40)
    state = cbow.init_state(CONFIG, 12, jax.random.key(0))
    state, _ = cbow.train_chunk(CONFIG, cbow.sampling_tables(CONFIG, counts), 5, state, batch, jax.random.key(0))
    for table in state["params"].values():
        assert table.shape == (12, 16)
        assert not table[:, 6:].any()
        assert table[:, :6].all()
    assert_array_equal(cbow.input_vectors(CONFIG, state["params"]), state["params"]["context"][:, :6])


@pytest.mark.parametrize(("field", "value"), [("block", 0), ("negatives", 0), ("cap", -1.0), ("gradient", "ture")])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=f"{field}.*{value}"):
        CBOWConfig(**{field: value})


def test_repeats_are_counted_near_a_token():
    """By hand, two tokens to each side: a word counts itself, and neither its copies further off nor the padding around the text."""
    assert_array_equal(windows.repeats_near(jnp.array([5, 7, 5, 5, 7, 9, 9, 9, 3, 7]), 2), [2, 1, 3, 2, 1, 3, 3, 3, 1, 1])
    assert_array_equal(windows.repeats_near(jnp.array([4, 4, 4, 4, 4]), 1), [2, 3, 3, 3, 2])

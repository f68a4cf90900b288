"""Skip-gram with negative sampling against a naive loop, autodiff and the distributions that it should draw from."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, EmptyCorpusError
from lmlib.models import windows, word2vec
from lmlib.models.word2vec import SkipGramConfig

CONFIG = SkipGramConfig(dimension=6, window=3, block=4, blocks=3, shared_negatives=5, cap=2.0, subsample=1e-1)


def chunk(size=200, vocab=12, seed=0, documents=7):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab, size) * rng.integers(0, 2, size)  # word 0 is frequent
    count = size - 9
    batch = {"ids": ids.astype(np.int32), "document": np.sort(rng.integers(0, documents, size)).astype(np.int32), "count": np.int32(count)}
    return batch, np.bincount(ids[:count], minlength=vocab) + 1


def random_params(vocab=12, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32) for name in ("centre", "context")}


def naive_step(config, tables, params, drawn, i, rate):
    """Equation 4, pair by pair, in float64, from the windows and noise words that the step drew; all from the values before the step."""
    old = {name: np.asarray(p, np.float64) for name, p in params.items()}
    new = {name: p.copy() for name, p in old.items()}
    share = {name: np.asarray(s, np.float64) for name, s in tables["share"].items()}
    ids, left, right, noise = (np.asarray(drawn[name]) for name in ("ids", "left", "right", "noise"))
    steps, pairs = -(-int(drawn["count"]) // (config.block * config.blocks)), 0
    for n in range(config.blocks):
        number = n * steps + i
        repeats = Counter(ids[number * config.block : (number + 1) * config.block + 2 * config.window].tolist())
        for at in range(number * config.block, (number + 1) * config.block):
            at += config.window  # padding
            near = {d: (config.window + 1 - abs(d)) / config.window for d in range(-left[at], right[at] + 1) if d != 0}
            size = sum(near.values())
            positive = [(ids[at + d], 1, weight) for d, weight in near.items()]
            for o, label, weight in positive + [(o, 0, size * config.negatives / len(noise[number])) for o in noise[number]]:
                c = ids[at]
                v, u = old["centre"][c], old["context"][o]
                error = weight * (label - 1 / (1 + np.exp(-u @ v)))
                new["centre"][c] += rate * share["centre"][c] / repeats[c] * error * u
                new["context"][o] += rate * share["context"][o] / (repeats[o] if label else 1) * error * v
            pairs += size
    return new, pairs


def test_a_step_equals_a_naive_loop_over_what_it_drew():
    batch, counts = chunk()
    tables, params = word2vec.sampling_tables(CONFIG, counts), random_params()
    assert min(t.min() for t in tables["share"].values()) < 1, "the cap should be at work in this test"
    drawn = word2vec.draw(CONFIG, tables, batch, jax.random.key(3))
    steps, total = int(word2vec.steps_in(CONFIG, drawn)), 0
    for i in range(steps):
        want, pairs = naive_step(CONFIG, tables, params, drawn, i, 0.3)
        got = word2vec.step_update(CONFIG, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        total += pairs
    reach = np.concatenate([np.asarray(drawn[side]) for side in ("left", "right")])
    want = sum((CONFIG.window + 1 - d) / CONFIG.window * (reach >= d).sum() for d in range(1, CONFIG.window + 1))
    assert_allclose(total, want, err_msg="every pair of the chunk is learnt from once")


def test_a_chunk_is_its_steps_one_after_the_other():
    batch, counts = chunk()
    tables, key = word2vec.sampling_tables(CONFIG, counts), jax.random.key(3)
    state = word2vec.init_state(CONFIG, 12, key) | {"params": random_params()}
    drawn = word2vec.draw(CONFIG, tables, batch, key)
    steps, want = int(word2vec.steps_in(CONFIG, drawn)), state["params"]
    for i in range(steps):
        want, _ = naive_step(CONFIG, tables, want, drawn, i, CONFIG.learning_rate * (1 - i / steps / 5))
    got, metrics = word2vec.train_chunk(CONFIG, tables, 5, state, batch, key)
    for name in want:
        assert_allclose(got["params"][name], want[name], atol=1e-5)
    assert (int(metrics["tokens"]), int(metrics["kept"])) == (191, int(drawn["count"]))
    assert (int(got["step"]), int(got["skipped"])) == (1, 0)


def test_the_update_is_the_gradient_of_the_loss():
    """With no cap and no word twice in a block, a step moves by the rate times the gradient, by autodiff, of the summed loss."""
    config = dataclasses.replace(CONFIG, cap=1e9, subsample=0.0)
    batch, counts = chunk(vocab=40)
    batch["ids"] = (np.arange(200) % 40).astype(np.int32)
    tables, params = word2vec.sampling_tables(config, counts), random_params(vocab=40)
    drawn = word2vec.draw(config, tables, batch, jax.random.key(4))
    pairs = word2vec.blocks_of(config, drawn, 0)[2].sum()
    gradient = jax.grad(lambda p: word2vec.step_loss(config, tables, p, drawn, 0) * pairs)(params)
    got = word2vec.step_update(config, tables, params, drawn, 0, 0.1)
    for name in params:
        assert_allclose(got[name], params[name] - 0.1 * gradient[name], atol=1e-5)


def test_loss_of_one_pair_by_hand():
    v, u, noise = np.array([1.0, -2.0]), np.array([0.5, 0.25]), np.array([[1.0, 0.0], [0.0, 1.0]])
    want = np.log1p(np.exp(-0.0)) + np.log1p(np.exp(1.0)) + np.log1p(np.exp(-2.0))  # u.v = 0, noise . v = 1 and -2
    assert_allclose(word2vec.negative_sampling_loss(v, u, noise), want, rtol=1e-6)


def test_step_loss_is_the_mean_over_pairs_of_equation_4():
    """With noise words of its own (block of one), the loss of a step is that of its pairs, one by one, times the noise's weight."""
    config = dataclasses.replace(CONFIG, block=1, blocks=40, shared_negatives=5)
    batch, counts = chunk()
    tables, params = word2vec.sampling_tables(config, counts), random_params()
    drawn = word2vec.draw(config, tables, batch, jax.random.key(5))
    losses, weights, steps = [], [], int(word2vec.steps_in(config, drawn))
    for n in range(config.blocks):
        at = n * steps + config.window
        noise = params["context"][drawn["noise"][n * steps]]
        for d in range(-int(drawn["left"][at]), int(drawn["right"][at]) + 1):
            if d != 0:
                v, u = params["centre"][drawn["ids"][at]], params["context"][drawn["ids"][at + d]]
                losses.append(word2vec.negative_sampling_loss(v, u, noise))
                weights.append((config.window + 1 - abs(d)) / config.window)
    assert_allclose(word2vec.step_loss(config, tables, params, drawn, 0), np.average(losses, weights=weights), rtol=1e-5)


def test_windows_stay_within_documents_radius_and_chunk():
    batch, counts = chunk(size=3000, documents=200)
    config = dataclasses.replace(CONFIG, subsample=0.0)
    drawn = jax.device_get(windows.draw_with_noise(config, word2vec.sampling_tables(config, counts), batch, jax.random.key(0)))
    count, inner = int(batch["count"]), slice(config.window, config.window + 3000)
    assert int(drawn["count"]) == count
    assert_array_equal(drawn["ids"][inner][:count], batch["ids"][:count])
    left, right, document = drawn["left"][inner], drawn["right"][inner], batch["document"][:count]
    assert not left[count:].any()
    assert not right[count:].any()
    for i in range(count):
        first, last = np.searchsorted(document, document[i]), np.searchsorted(document, document[i], side="right") - 1
        assert (left[i], right[i]) <= (min(3, i - first), min(3, last - i))
        if first <= i - 3 and i + 3 <= last:  # far from the edges both sides are the radius
            assert left[i] == right[i]
            assert 1 <= left[i] <= 3
    radius = np.bincount(np.maximum(left, right)[:count], minlength=4)[1:]
    far = np.array([left[i] == right[i] for i in range(count)])
    assert far.mean() > 0.5
    assert radius.min() > 0


def test_a_pair_weighs_what_a_drawn_radius_would_give_it_on_average():
    """Each radius from 1 to the window is as likely as the others; far from the edges of a document, and at them."""
    config = dataclasses.replace(CONFIG, subsample=0.0)
    batch, counts = chunk(size=300, documents=20)
    tables = word2vec.sampling_tables(config, counts)
    drawn = word2vec.draw(config, tables, batch, jax.random.key(0))
    _, _, left, right = windows.spans_of(config, drawn, 0)
    radii = np.arange(1, config.window + 1)
    want = np.mean([windows.band(config, jnp.minimum(left, radius), jnp.minimum(right, radius)) for radius in radii], axis=0)
    assert_allclose(windows.window_weights(config, left, right), want, atol=1e-6)
    assert set(np.unique(left)) == set(range(config.window + 1))


def test_tokens_stay_with_the_published_probability():
    """Each word's share of kept tokens is within five standard errors of min(1, sqrt(t/f) + t/f), the C program's form."""
    batch, counts = chunk(size=60_000)
    config = dataclasses.replace(CONFIG, subsample=0.01)
    drawn = jax.device_get(word2vec.draw(config, word2vec.sampling_tables(config, counts), batch, jax.random.key(1)))
    seen = np.bincount(batch["ids"][: batch["count"]], minlength=12)
    kept = np.bincount(drawn["ids"][config.window :][: drawn["count"]], minlength=12)
    f = counts / counts.sum()
    p = np.minimum(1, np.sqrt(0.01 / f) + 0.01 / f)
    assert p.min() < 0.5
    assert (np.abs(kept / seen - p) <= 5 * np.sqrt(p * (1 - p) / seen) + 1e-9).all()


def test_noise_words_follow_the_unigram_to_the_three_quarters():
    batch, counts = chunk(size=100_000)
    drawn = jax.device_get(word2vec.draw(CONFIG, word2vec.sampling_tables(CONFIG, counts), batch, jax.random.key(2)))
    want = counts**0.75 / (counts**0.75).sum()
    got = np.bincount(drawn["noise"].reshape(-1), minlength=12) / drawn["noise"].size
    assert (np.abs(got - want) < 5 * np.sqrt(want / drawn["noise"].size)).all()


@pytest.mark.parametrize("vocab", [1, 2, 1000])
def test_alias_table_is_the_distribution(vocab):
    p = np.random.default_rng(0).dirichlet(np.full(vocab, 0.3))
    keep, other = word2vec.alias_table(p)
    again = keep.astype(np.float64).copy()
    np.add.at(again, other, 1 - keep.astype(np.float64))
    assert_allclose(again / vocab, p, atol=1e-6)


def test_columns_that_fill_cache_lines_stay_zero_and_are_left_out():
    batch, counts = chunk()
    config, key = dataclasses.replace(CONFIG, dimension=6), jax.random.key(0)
    state = word2vec.init_state(config, 12, key)
    assert state["params"]["centre"].shape == state["params"]["context"].shape == (12, 16)
    state, _ = word2vec.train_chunk(config, word2vec.sampling_tables(config, counts), 5, state, batch, key)
    for table in state["params"].values():
        assert not table[:, 6:].any()
        assert table[:, :6].all()
    assert_array_equal(word2vec.input_vectors(config, state["params"]), state["params"]["centre"][:, :6])


def test_learning_rate_falls_linearly_to_its_floor():
    config = SkipGramConfig(learning_rate=0.1, final_learning_rate=0.01)
    rates = [float(word2vec.learning_rate(config, x)) for x in (0.0, 0.25, 0.5, 0.95, 1.0)]
    assert_allclose(rates, [0.1, 0.075, 0.05, 0.01, 0.01], rtol=1e-5)


def test_a_chunk_that_ends_in_nan_is_skipped_whole():
    batch, counts = chunk()
    tables, key = word2vec.sampling_tables(CONFIG, counts), jax.random.key(0)
    params = random_params()
    params["context"] = params["context"].at[3, 2].set(jnp.nan)
    state = word2vec.init_state(CONFIG, 12, key) | {"params": params}
    after, _ = word2vec.train_chunk(CONFIG, tables, 5, state, batch, key)
    assert (int(after["step"]), int(after["skipped"])) == (1, 1)
    for name in params:
        assert_array_equal(after["params"][name], params[name])


@pytest.mark.parametrize(("field", "value"), [("block", 0), ("learning_rate", -1.0), ("subsample", -1e-3), ("shared_negatives", 0)])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        SkipGramConfig(**{field: value})


def test_a_vocabulary_without_counts_is_an_error():
    with pytest.raises(EmptyCorpusError, match="counts"):
        word2vec.sampling_tables(CONFIG, np.zeros(5))


SCRIPT = """
import lmlib, hashlib, jax, numpy as np
from lmlib.learn.train import fit
from lmlib.models import windows, word2vec
config = word2vec.SkipGramConfig(dimension=100)
rng = np.random.default_rng(0)
ids = (rng.zipf(1.3, 40_000) % 3000).astype(np.int32)
batches = [{"ids": ids[i : i + 20_000], "document": np.zeros(20_000, np.int32), "count": np.int32(20_000)} for i in (0, 20_000)]
step = word2vec.make_step(config, np.bincount(ids, minlength=3000) + 1, 2)
state = word2vec.init_state(config, 3000, jax.random.key(0))
for state, metrics in fit(step, state, batches, key=jax.random.key(1), steps=2):
    pass
print(hashlib.sha256(np.asarray(state["params"]["centre"]).tobytes()).hexdigest())
"""


@pytest.mark.skipif(shutil.which("taskset") is None or (os.cpu_count() or 1) < 2, reason="needs taskset and two cores")
def test_one_core_or_two_give_the_same_bits():
    def digest(cores):
        command = ["taskset", "-c", cores, sys.executable, "-c", SCRIPT]
        environment = os.environ | {"LMLIB_REPRODUCIBLE": "1", "JAX_PLATFORMS": "cpu"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert digest("0") == digest("0,1")

"""Skip-gram over subwords against naive loops, autodiff, and word2vec, which it is where no word has n-grams in common."""

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

from lmlib.errors import ConfigError, ShapeError
from lmlib.learn.train import fit
from lmlib.models import fasttext, word2vec
from lmlib.models.fasttext import FastTextConfig
from lmlib.text.batches import CorpusChunks, TokenStore
from lmlib.text.subwords import ft_hash, ngrams

CONFIG = FastTextConfig(
    dimension=6, window=3, block=4, blocks=6, parts=2, shared_negatives=5, cap=2.0, crowd=1.0, subsample=1e-1, buckets=300
)
WORDS = ["the", "nation", "national", "nationality", "ration", "a", "where", "here", "ananan", "internationalisation", "été", "there"]


def chunk(size=200, vocab=12, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab, size) * rng.integers(0, 2, size)  # word 0 is frequent
    count = size - 9
    batch = {"ids": ids.astype(np.int32), "document": np.sort(rng.integers(0, 7, size)).astype(np.int32), "count": np.int32(count)}
    return batch, np.bincount(ids[:count], minlength=vocab) + 1


def random_params(grams, dimension=6, seed=1):
    rng = np.random.default_rng(seed)
    vocab = len(grams.offsets) - 1
    rows = rng.normal(size=(vocab + len(grams.buckets) + 1, dimension))
    rows[-1] = 0
    return {"rows": jnp.asarray(rows, jnp.float32), "context": jnp.asarray(rng.normal(size=(vocab, dimension)), jnp.float32)}


def rows_of(grams, word):
    return [word, *(len(grams.offsets) - 1 + grams.ngrams[grams.offsets[word] : grams.offsets[word + 1]])]


def naive_step(config, grams, tables, params, drawn, i, rate):
    """Compose, learn pair by pair, distribute: in float64, from the windows and noise words that the step drew."""
    rows, context = (np.asarray(params[name], np.float64).copy() for name in ("rows", "context"))
    share = {name: np.asarray(s, np.float64) for name, s in tables["share"].items()}
    ids, left, right, noise = (np.asarray(drawn[name]) for name in ("ids", "left", "right", "noise"))
    steps = -(-int(drawn["count"]) // (config.block * config.blocks))
    h = np.array([np.mean([rows[r] for r in rows_of(grams, w)], axis=0) for w in range(len(context))])
    before, per_part = h.copy(), config.blocks // config.parts
    for part in range(config.parts):
        old_h, old_context = h.copy(), context.copy()
        for n in range(part * per_part, (part + 1) * per_part):
            number = n * steps + i
            repeats = Counter(ids[number * config.block : (number + 1) * config.block + 2 * config.window].tolist())
            for at in range(number * config.block, (number + 1) * config.block):
                at += config.window  # padding
                near = {d: (config.window + 1 - abs(d)) / config.window for d in range(-left[at], right[at] + 1) if d != 0}
                positive = [(ids[at + d], 1, weight) for d, weight in near.items()]
                share_of_noise = sum(near.values()) * config.negatives / len(noise[number])
                for o, label, weight in positive + [(o, 0, share_of_noise) for o in noise[number]]:
                    c = ids[at]
                    error = weight * (label - 1 / (1 + np.exp(-old_context[o] @ old_h[c])))
                    h[c] += rate * share["centre"][c] / repeats[c] * error * old_context[o]
                    context[o] += rate * share["context"][o] / (repeats[o] if label else 1) * error * old_h[c]
    for w in range(len(context)):
        for r in rows_of(grams, w):
            rows[r] += share["rows"][r] * (h[w] - before[w])
    return {"rows": rows, "context": context}


@pytest.mark.parametrize("tile", [2, 512])
def test_a_step_equals_a_naive_loop_over_what_it_drew(tile, monkeypatch):
    monkeypatch.setattr(fasttext, "TILE", tile)
    batch, counts = chunk()
    grams = CONFIG.subwords(WORDS)
    tables, params = fasttext.sampling_tables(CONFIG, grams, counts), random_params(grams)
    assert min(s[:-1].min() for s in tables["share"].values()) < 1, "the cap should be at work in this test"
    assert len(grams.ngrams) > len(grams.buckets), "words should share n-grams in this test"
    drawn = word2vec.draw(CONFIG, tables, batch, jax.random.key(3))
    for i in range(int(word2vec.steps_in(CONFIG, drawn))):
        want = naive_step(CONFIG, grams, tables, params, drawn, i, 0.3)
        got = fasttext.step_update(CONFIG, tables, params, drawn, i, 0.3)
        for name in want:
            assert_allclose(got[name], want[name], atol=1e-5)
        assert not got["rows"][-1].any()


def test_what_a_row_takes_is_crowd_over_the_ways_of_its_words():
    _, counts = chunk()
    grams = CONFIG.subwords(WORDS)
    tables = fasttext.sampling_tables(CONFIG, grams, counts)
    f = counts / counts.sum()
    kept = f * np.minimum(1, np.sqrt(0.1 / f) + 0.1 / f)
    updates = kept / kept.sum() * CONFIG.block * CONFIG.blocks * (CONFIG.window + 1) * (1 + CONFIG.negatives)
    ways = np.zeros(len(tables["share"]["rows"]))
    for w in range(12):
        for r in rows_of(grams, w):
            ways[r] += min(1, updates[w] / CONFIG.cap)
    assert_allclose(tables["share"]["rows"][:-1], np.minimum(1, CONFIG.crowd / ways[:-1]), rtol=1e-5)
    assert tables["share"]["rows"][-1] == 0
    assert_array_equal(tables["share"]["rows"][:12], np.ones(12))  # a word's own row is nobody else's


def test_without_shared_ngrams_it_is_word2vec():
    """Words of one letter and n-grams of five: a word has its own row alone, so that a step is `parts` steps of word2vec."""
    config = dataclasses.replace(CONFIG, smallest=5)
    words, (batch, counts) = [chr(ord("a") + i) for i in range(12)], chunk()
    grams = config.subwords(words)
    assert len(grams.buckets) == 0
    tables, params = fasttext.sampling_tables(config, grams, counts), random_params(grams)
    drawn = word2vec.draw(config, tables, batch, jax.random.key(3))
    got = fasttext.step_update(config, tables, params, drawn, 0, 0.3)

    one = word2vec.SkipGramConfig(dimension=6, window=3, block=4, blocks=3, shared_negatives=5, cap=2.0, subsample=1e-1)
    assert_array_equal(word2vec.sampling_tables(one, counts)["share"]["centre"], tables["share"]["centre"])
    tokens, noise, positive, weight = word2vec.blocks_of(config, drawn, 0)
    want = {"centre": params["rows"][:-1], "context": params["context"]}
    for half in (slice(0, 3), slice(3, 6)):
        centres = tokens[half, 3:7]
        outputs, rate_c, rate_o = word2vec.outputs_and_rates(one, tables, tokens[half], noise[half], 0.3)
        dv, du = word2vec.ascents(want["centre"][centres], want["context"][outputs], positive[half], weight[half])
        want = {
            "centre": want["centre"].at[centres].add(dv * rate_c[..., None]),
            "context": want["context"].at[outputs].add(du * rate_o[..., None]),
        }
    assert_allclose(got["rows"][:-1], want["centre"], atol=1e-6)
    assert_allclose(got["context"], want["context"], atol=1e-6)


def test_a_word_moves_against_the_gradient_of_the_loss_by_its_vector():
    """With one part, no caps and no word twice, rows take the sum over words of -dL/dh, by autodiff through the composed vectors."""
    config = dataclasses.replace(CONFIG, cap=1e9, crowd=1e9, subsample=0.0, parts=1, blocks=3)
    words = [f"w{i:03}word" for i in range(40)]
    batch = {"ids": (np.arange(200) % 40).astype(np.int32), "document": np.zeros(200, np.int32), "count": np.int32(200)}
    grams = config.subwords(words)
    tables, params = fasttext.sampling_tables(config, grams, np.full(40, 5)), random_params(grams)
    drawn = word2vec.draw(config, tables, batch, jax.random.key(4))
    pairs = word2vec.blocks_of(config, drawn, 0)[2].sum()
    share = np.zeros((40, len(params["rows"])), np.float32)  # A of h = A z
    for w in range(40):
        np.add.at(share[w], rows_of(grams, w), 1 / len(rows_of(grams, w)))

    def loss(h, context):
        tokens, noise, positive, weight = word2vec.blocks_of(config, drawn, 0)
        outputs = jnp.concatenate([tokens, noise], axis=1)
        return word2vec.mean_loss(h[tokens[:, 3:7]], context[outputs], positive, weight) * pairs

    h = share @ params["rows"]
    assert_allclose(fasttext.step_loss(config, tables, params, drawn, 0), loss(h, params["context"]) / pairs, rtol=1e-5)
    dh, dcontext = jax.grad(loss, argnums=(0, 1))(h, params["context"])
    got = fasttext.step_update(config, tables, params, drawn, 0, 0.1)
    sizes = np.array([len(rows_of(grams, w)) for w in range(40)])
    assert_allclose(got["rows"], params["rows"] - 0.1 * (share * sizes[:, None]).T @ dh, atol=1e-4)
    assert_allclose(got["context"], params["context"] - 0.1 * dcontext, atol=1e-5)


def test_distinct_words_are_those_of_many_rows_first():
    grams = CONFIG.subwords(WORDS)
    tables = fasttext.sampling_tables(CONFIG, grams, np.ones(12, np.int64))
    ids = jnp.array([5, -1, 9, 0, 5, 9, 3, -1])
    slot, words, count = fasttext.distinct(tables, ids)
    assert int(count) == 4
    assert sorted(words[:4].tolist()) == [0, 3, 5, 9]
    assert (words[4:] == -1).all()
    assert_array_equal(words[slot][ids >= 0], ids[ids >= 0])
    assert (np.diff([len(ngrams(WORDS[w])) for w in words[:4]]) <= 0).all()


def test_vectors_are_the_means_of_rows():
    grams = CONFIG.subwords(WORDS)
    params = random_params(grams)
    rows = np.asarray(params["rows"])
    want = [np.mean([rows[r] for r in rows_of(grams, w)], axis=0) for w in range(12)]
    assert_allclose(fasttext.input_vectors(CONFIG, grams, params), want, atol=1e-6)
    vectors = fasttext.subword_vectors(CONFIG, WORDS, grams, params, np.arange(12))
    assert_allclose(vectors["nation"], want[1], atol=1e-6)
    unseen = [12 + np.flatnonzero(grams.buckets == h % 300)[0] for h in map(ft_hash, ngrams("nations")) if h % 300 in grams.buckets]
    assert len(ngrams("nations")) > len(unseen) > 3
    assert_allclose(vectors["nations"], rows[unseen].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("buckets", 0), ("crowd", -1.0), ("parts", 4), ("smallest", 0)])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(CONFIG, **{field: value})


def test_subwords_of_another_vocabulary_are_an_error():
    with pytest.raises(ShapeError, match="subwords"):
        fasttext.sampling_tables(CONFIG, CONFIG.subwords(WORDS[:5]), np.ones(12))


def test_words_that_share_an_ending_come_near_one_another():
    """Words of two endings, each in contexts of its own: a new word with one of them is nearer to those that share it."""
    rng = np.random.default_rng(0)
    stems = ["walk", "talk", "jump", "cook", "paint", "play", "rain", "work"]
    words = [s + e for e in ("ing", "ness") for s in stems] + ["alpha", "beta", "gamma", "delta"]
    ids = []
    for _ in range(6000):
        kind = rng.integers(0, 2)
        ids += [8 * kind + rng.integers(0, 8), 16 + 2 * kind + rng.integers(0, 2)]
    ids = np.array(ids, np.int32)
    batches = CorpusChunks(TokenStore.from_sequences(ids.reshape(-1, 2), 20), len(ids))
    config = FastTextConfig.tiny(epochs=5, subsample=0.0)
    grams = config.subwords(words)
    step = fasttext.make_step(config, grams, np.bincount(ids), 1)
    for state, metrics in fit(step, fasttext.init_state(config, grams, jax.random.key(0)), batches, key=jax.random.key(1), steps=5):  # noqa: B007
        pass
    assert np.isfinite(metrics["loss"]).all()
    vectors = fasttext.subword_vectors(config, words, grams, state["params"])
    new, known = vectors["singing"], vectors.known.unit
    cosine = known @ new / np.linalg.norm(new)
    assert cosine[:8].mean() > cosine[8:16].mean() + 0.5


SCRIPT = """
import lmlib, hashlib, jax, numpy as np
from lmlib.learn.train import fit
from lmlib.models import fasttext
config = fasttext.FastTextConfig(blocks=256, parts=4)
rng = np.random.default_rng(0)
ids = (rng.zipf(1.3, 40_000) % 3000).astype(np.int32)
batches = [{"ids": ids[i : i + 20_000], "document": np.zeros(20_000, np.int32), "count": np.int32(20_000)} for i in (0, 20_000)]
counts = np.bincount(ids, minlength=3000) + 1
grams = config.subwords([f"w{i}" for i in range(3000)], counts)
step = fasttext.make_step(config, grams, counts, 2)
state = fasttext.init_state(config, grams, jax.random.key(0))
for state, metrics in fit(step, state, batches, key=jax.random.key(1), steps=2):
    pass
print(hashlib.sha256(np.asarray(state["params"]["rows"]).tobytes()).hexdigest())
"""


@pytest.mark.skipif(shutil.which("taskset") is None or (os.cpu_count() or 1) < 2, reason="needs taskset and two cores")
def test_one_core_or_two_give_the_same_bits():
    def digest(cores):
        command = ["taskset", "-c", cores, sys.executable, "-c", SCRIPT]
        environment = os.environ | {"LMLIB_REPRODUCIBLE": "1", "JAX_PLATFORMS": "cpu"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert digest("0") == digest("0,1")

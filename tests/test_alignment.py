"""Procrustes against a hidden rotation, retrieval against naive loops, dictionaries against counting, the small world's languages."""

import itertools
import math

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError, UnknownNameError, VocabularyError
from lmlib.learn.train import fit
from lmlib.measure.alignment import align, dice_dictionary, dictionary_of_world, procrustes, translation
from lmlib.models import word2vec
from lmlib.models.ppmi import PPMIConfig, ppmi_vectors
from lmlib.models.vectors import WordVectors
from lmlib.text.batches import CorpusChunks, write_tokens
from lmlib.text.store import TokenStore
from lmlib.text.tokenizers import WordTokenizer
from lmlib.text.world import World

WORLD = World()


def rotation(dimension, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))[0]


def languages(noise=0.0, n=60, dimension=8):
    """Two languages whose spaces differ by a rotation, lengths and noise; a word's translation has its number."""
    rng = np.random.default_rng(1)
    source = rng.normal(size=(n, dimension))
    target = (source @ rotation(dimension) + noise * rng.normal(size=(n, dimension))) * rng.uniform(0.1, 9, (n, 1))
    a, b = ([f"{letter}{i}" for i in range(n)] for letter in "ab")
    return WordVectors(a, source), WordVectors(b, target), list(zip(a, b, strict=True))


def test_procrustes_finds_a_hidden_rotation():
    x = np.random.default_rng(0).normal(size=(20, 6))
    assert_allclose(procrustes(x, x @ rotation(6)), rotation(6), atol=1e-10)
    reflection = np.diag([1.0, -1, 1, 1, 1, 1])
    assert_allclose(procrustes(x, x @ reflection), reflection, atol=1e-10)


def test_no_other_orthogonal_map_is_better():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 5))
    w = procrustes(x, y)
    assert_allclose(w @ w.T, np.eye(5), atol=1e-12)
    best = np.linalg.norm(x @ w - y)
    for seed in range(200):
        near = np.linalg.qr(w + 0.05 * np.random.default_rng(seed).normal(size=(5, 5)))
        near = near[0] * np.sign(np.diag(near[1]))
        assert np.linalg.norm(x @ near - y) > best
        assert np.linalg.norm(x @ rotation(5, seed) - y) > best


def test_a_hidden_rotation_is_learnt_from_some_pairs_and_translates_the_others():
    source, target, pairs = languages()
    aligned = align(source, target, [*pairs[:10], ("ghost", "b1"), ("a1", "ghost")])
    assert_allclose(aligned.unit @ aligned.unit.T, source.unit @ source.unit.T, atol=1e-5)  # no angle changes
    for retrieval in ("cosine", "csls"):
        got = translation(aligned, target, pairs[10:], retrieval=retrieval)
        assert got.precision == {1: 1, 5: 1, 10: 1}
        assert (got.covered, got.n) == (50, 50)
        assert translation(source, target, pairs[10:], retrieval=retrieval).precision[1] < 0.2  # without the map


@pytest.mark.parametrize("retrieval", ["cosine", "csls"])
def test_translation_equals_a_naive_loop(retrieval, monkeypatch):
    source, target, pairs = languages(noise=0.8)
    pairs = [*pairs[:40], ("a0", "b50"), ("a1", "ghost"), ("ghost", "b1"), ("a41", "ghost")]
    aligned, hub = align(source, target, pairs[:20]), 4
    cosine = [[float(a @ b) for b in target.unit] for a in aligned.unit]
    near_target = [np.mean(sorted((cosine[s][t] for s in range(60)), reverse=True)[:hub]) for t in range(60)]
    near_source = [np.mean(sorted(cosine[s], reverse=True)[:hub]) for s in range(60)]
    hits = {1: 0, 3: 0}
    for s in range(40):
        scores = [2 * cosine[s][t] - near_source[s] - near_target[t] if retrieval == "csls" else cosine[s][t] for t in range(60)]
        order = sorted(range(60), key=lambda t, scores=scores: -scores[t])
        right = {s, 50} if s == 0 else {s}
        for k in hits:
            hits[k] += not right.isdisjoint(order[:k])
    for at_once in (1 << 24, 7 * 60):  # so that the seams are tested too
        monkeypatch.setattr("lmlib.measure.alignment._COSINES_AT_ONCE", at_once)
        got = translation(aligned, target, pairs, ks=(1, 3), retrieval=retrieval, hub=hub)
        assert got.precision == {k: h / 40 for k, h in hits.items()}
        assert (got.covered, got.n) == (40, 42)
    assert 0.1 < got.precision[1] < got.precision[3] < 1
    assert_allclose(got.chance[1], (39 / 60 + 2 / 60) / 40)
    frame = got.frame()
    assert frame["k"].tolist() == [1, 3]
    assert frame["precision"].tolist() == list(got.precision.values())


def test_chance_is_that_of_drawing_words():
    source, target, _ = languages(n=6)
    got = translation(source, target, [("a0", "b0"), ("a0", "b3")], ks=(1, 2), hub=2)
    draws = list(itertools.combinations(range(6), 2))
    assert_allclose([got.chance[1], got.chance[2]], [2 / 6, np.mean([bool({0, 3} & set(draw)) for draw in draws])])


def test_csls_lowers_a_hub():
    """A word at cosine 0.5 to every source word beats their partners at 0.45; with CSLS it scores 1 - 0.5 and they 0.9 - 0.225."""
    source = WordVectors(list("abcd"), np.eye(4, 8))
    partners = np.concatenate([0.45 * np.eye(4), math.sqrt(1 - 0.45**2) * np.eye(4)], axis=1)
    target = WordVectors([*"ABCD", "hub"], np.concatenate([partners, [[0.5] * 4 + [0] * 4]]))
    pairs = list(zip("abcd", "ABCD", strict=True))
    by_cosine, by_csls = (translation(source, target, pairs, ks=(1,), retrieval=name, hub=2) for name in ("cosine", "csls"))
    assert by_cosine.answers == (("hub",),) * 4
    assert by_csls.precision[1] == 1


# Dictionaries


def test_dice_equals_counting():
    rng = np.random.default_rng(0)
    source, target = ([rng.integers(0, 12, rng.integers(0, 9)).tolist() for _ in range(80)] for _ in range(2))
    stores = [TokenStore.from_sequences(side, 12) for side in (source, target)]
    dice = np.zeros((12, 12))
    for a in range(12):
        for b in range(12):
            both = sum(a in s and b in t for s, t in zip(source, target, strict=True))
            dice[a, b] = 2 * both / (sum(a in s for s in source) + sum(b in t for t in target))
    want = {(a, b) for a in range(12) for b in range(12) if dice[a, b] == dice[a].max() == dice[:, b].max() and dice[a, b] >= 0.3}
    got = dice_dictionary(*stores, min_count=1)
    assert {(a, b) for a, b, _ in got} == want
    assert_allclose([score for *_, score in got], sorted((dice[a, b] for a, b in want), reverse=True))
    assert len(want) > 3
    often = dice_dictionary(*stores, min_count=30)
    assert all(sum(a in s for s in source) >= 30 and sum(b in t for t in target) >= 30 for a, b, _ in often)


def test_dice_reads_the_lexicon_off_the_small_world():
    """Of the pairs it finds for words of the lexicon, at least 95 % are true; it is not given the lexicon."""
    records = list(WORLD.records(8_000, seed=5))
    sides = [[record[language] for record in records] for language in ("en", "fr")]
    tokenizers = [WordTokenizer.train(side, unk=None) for side in sides]
    found = dice_dictionary(*(write_tokens(side, t) for side, t in zip(sides, tokenizers, strict=True)))
    named = [(tokenizers[0].words[a], tokenizers[1].words[b]) for a, b, _ in found]
    lexicon = set(dictionary_of_world(WORLD))
    known = {a for a, _ in lexicon}
    judged = [pair in lexicon for pair in named if pair[0] in known]
    assert len(judged) > 200
    assert np.mean(judged) > 0.95


def test_the_dictionary_of_the_world():
    pairs = dictionary_of_world(WORLD)
    assert {("cat", "chat"), ("big", "grand"), ("big", "grande"), ("film", "film"), ("movie", "film")} <= set(pairs)
    assert not [pair for pair in pairs if " " in "".join(pair) or ":" in pair[1] or "/" in pair[1] or "-" in pair]
    assert ("cat", "猫") in dictionary_of_world(WORLD, "zh")


# Languages


def window_counts(store, window=5):
    V = store.vocab_size
    counts = np.zeros(V * V)
    document = np.repeat(np.arange(len(store)), np.diff(store.offsets))
    for d in range(1, window + 1):
        near = document[d:] == document[:-d]
        counts += np.bincount(store.ids[d:][near].astype(np.int64) * V + store.ids[:-d][near], minlength=V * V)
    return counts.reshape(V, V) + counts.reshape(V, V).T


def halves(pairs, seed=0):
    """A dictionary to learn from and one to test on, without a source word in both."""
    words = sorted({a for a, _ in pairs})
    first = {words[i] for i in np.random.default_rng(seed).permutation(len(words))[::2]}
    return [pair for pair in pairs if pair[0] in first], [pair for pair in pairs if pair[0] not in first]


def test_english_and_french_of_the_small_world_by_counting():
    """Spaces counted from sentences that are no translations of each other: another seed for each language."""
    spaces = []
    for seed, language in ((11, "en"), (12, "fr")):
        documents = WORLD.sample(20_000, seed, language)
        tokenizer = WordTokenizer.train(documents, unk=None, min_count=5)
        counts = window_counts(write_tokens(documents, tokenizer))
        spaces.append(ppmi_vectors(PPMIConfig(dimension=100), tokenizer.words, counts, tokenizer.counts))
    learn, test = halves(dictionary_of_world(WORLD))
    got = translation(align(*spaces, learn), spaces[1], test)
    assert got.covered > 150
    assert got.precision[1] > 0.5 > 100 * got.chance[1]
    assert got.precision[10] > 0.8


@pytest.mark.soak
def test_english_and_french_of_the_small_world_by_skip_gram():
    config, spaces = word2vec.SkipGramConfig(epochs=15), []
    for seed, language in ((11, "en"), (12, "fr")):
        documents = WORLD.sample(30_000, seed, language)
        tokenizer = WordTokenizer.train(documents, unk=None, min_count=5)
        batches = CorpusChunks(write_tokens(documents, tokenizer), 1 << 15)
        step = word2vec.make_step(config, tokenizer.counts, len(batches))
        state = word2vec.init_state(config, tokenizer.vocab_size, jax.random.key(seed))
        for state, _ in fit(step, state, batches, key=jax.random.key(1), steps=config.epochs * len(batches)):  # noqa: B007, B020
            pass
        spaces.append(WordVectors(tokenizer.words, word2vec.input_vectors(config, state["params"]), tokenizer.counts))
    learn, test = halves(dictionary_of_world(WORLD))
    assert translation(align(*spaces, learn), spaces[1], test).precision[1] > 0.5


def test_what_cannot_be_aligned_is_refused():
    source, target, pairs = languages()
    with pytest.raises(UnknownNameError, match="retrievals: cosine, csls"):
        translation(source, target, pairs, retrieval="dot")
    for ks in ((), (0,), (61,)):
        with pytest.raises(ConfigError, match="1 to 60"):
            translation(source, target, pairs, ks=ks)
    with pytest.raises(ConfigError, match="hub"):
        translation(source, target, pairs, hub=61)
    with pytest.raises(VocabularyError, match="right order"):
        align(source, target, [pair[::-1] for pair in pairs])
    with pytest.raises(ShapeError):
        align(source, WordVectors(["b0", "b1"], np.ones((2, 3))), pairs)
    with pytest.raises(ShapeError):
        procrustes(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ShapeError, match="sentences"):
        dice_dictionary(*(TokenStore.from_sequences(side, 2) for side in ([[0], [1]], [[0]])))
    nothing = translation(source, target, [("ghost", "b0")])
    assert (nothing.covered, nothing.n) == (0, 1)
    assert math.isnan(nothing.precision[1])
    assert_array_equal(nothing.answers, ())

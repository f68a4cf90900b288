"""What can still be drawn: against choosing tokens by sorting, one context at a time, and against drawing itself."""

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, EmptyCorpusError, VocabularyError
from lmlib.generate import Sampling, generate, reshape, settings
from lmlib.measure.writing import kept as kept_of
from lmlib.measure.writing import places, reach
from lmlib.models.base import shift_right
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.text.tokenizers import WordTokenizer

V = 6
MODEL = Bigram(BigramConfig(V, 8, bos=0, eos=0), rngs=nnx.Rngs(3))
TOKENS = np.random.default_rng(0).integers(0, V, (40, 4)).astype(np.int32)
LENGTHS = np.array([4, 3, 2, 0] * 10, np.int32)
SAMPLINGS = [Sampling(0.6, top_p=0.8), Sampling(top_k=2), Sampling(min_p=0.4), Sampling(typical_p=0.5), Sampling(2.0, 4, 0.9, 0.2)]


def kept(p, sampling):
    """Which tokens of a distribution may be drawn, by sorting; probabilities differ, so there are no ties."""
    p = p ** (1 / sampling.temperature)
    p = p / p.sum()
    if sampling.top_k:
        p = np.where(p >= np.sort(p)[-sampling.top_k], p, 0)
        p /= p.sum()
    for name in ("top_p", "typical_p"):
        if (mass := getattr(sampling, name)) is None:
            continue
        positive = p > 0
        surprisal = -np.log(np.where(positive, p, 1))
        cost = surprisal if name == "top_p" else np.abs(surprisal - (p * surprisal).sum())
        order = np.argsort(np.where(positive, cost, np.inf))
        count = np.searchsorted(np.cumsum(p[order]), mass - 1e-7) + 1
        p = np.where(np.isin(np.arange(len(p)), order[:count]), p, 0)
        p /= p.sum()
        if name == "top_p" and sampling.min_p:
            p = np.where(p >= sampling.min_p * p.max(), p, 0)
    if sampling.min_p and sampling.top_p is None:
        p = np.where(p >= sampling.min_p * p.max(), p, 0)
    return p > 0


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_reach_is_that_of_a_naive_choice(sampling):
    logits_BLV, _ = MODEL.forward(np.asarray(shift_right(TOKENS, 0)))
    p_BLV = np.asarray(jax.nn.softmax(logits_BLV), np.float64)
    can = [[kept(p_BLV[b, t], sampling)[TOKENS[b, t]] for t in range(n)] for b, n in enumerate(LENGTHS)]
    found = reach(MODEL, [{"tokens": TOKENS[:20], "lengths": LENGTHS[:20]}, {"tokens": TOKENS[20:], "lengths": LENGTHS[20:]}], sampling)
    assert found.sequences == sum(n > 0 for n in LENGTHS)
    assert found.tokens == LENGTHS.sum()
    assert found.reached_tokens == sum(map(sum, can))
    assert found.reached == sum(all(row) for row in can if row)
    assert 0 < found.share_of_tokens < 1  # else the test would say little


def test_what_is_drawn_is_within_reach():
    sampling = Sampling(1.5, top_p=0.7)
    made = generate(MODEL, [[]] * 200, sampling, max_new_tokens=5, key=jax.random.key(0))
    assert reach(MODEL, [{"tokens": made.tokens, "lengths": made.lengths}], sampling).share == 1
    assert reach(MODEL, [{"tokens": made.tokens, "lengths": made.lengths}], Sampling(top_p=0.3)).share < 1


def test_without_truncation_all_is_within_reach():
    batch = {"tokens": TOKENS, "lengths": LENGTHS}
    assert reach(MODEL, [batch], Sampling(0.5)).share == reach(MODEL, [batch], Sampling(1.0, V, 1.0, 1e-9, 1.0)).share == 1


def test_reshape_takes_the_settings_in_their_order():
    """Temperature comes first: at T = 2 the nucleus of .6 holds two tokens of (.8, .15, .05), at T = 1 one; greedy draws from none."""
    logits = np.log(np.array([[0.8, 0.15, 0.05]], np.float32))
    assert_array_equal(np.isfinite(reshape(logits, settings(Sampling(top_p=0.6)))), [[True, False, False]])
    assert_array_equal(np.isfinite(reshape(logits, settings(Sampling(2.0, top_p=0.6)))), [[True, True, False]])
    assert settings(Sampling.greedy(repetition_penalty=1.2)) == {"temperature": 1.0, "repetition_penalty": 1.2}
    assert_allclose(reshape(logits, {}), logits)


def test_what_cannot_be_asked():
    batch = {"tokens": TOKENS, "lengths": LENGTHS}
    for sampling in (Sampling.greedy(), Sampling(repetition_penalty=1.1), Sampling(no_repeat_ngram=2)):
        with pytest.raises(ConfigError, match="temperature and truncation"):
            reach(MODEL, [batch], sampling)
    with pytest.raises(EmptyCorpusError):
        reach(MODEL, [{"tokens": TOKENS, "lengths": 0 * LENGTHS}], Sampling())
    with pytest.raises(VocabularyError):
        reach(MODEL, [{"tokens": TOKENS + V, "lengths": LENGTHS}], Sampling())


def test_kept_counts_what_is_right_and_wrong():
    """(.4, .3, .2, .1), of which the second and the last are possible; the two most probable are kept by top-k."""
    logits_NV = np.log(np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]))
    possible_NV = np.array([[False, True, False, True], [True, True, True, True]])
    found = kept_of(logits_NV, possible_NV, {"all": Sampling(), "top-k 2": Sampling(top_k=2)})
    assert found["way"].tolist() == ["all", "all", "top-k 2", "top-k 2"]
    assert found["possible"].tolist() == [2, 4, 2, 4]
    assert found["kept"].tolist() == [4, 4, 2, 2]
    assert found["lost"].tolist() == [0, 0, 1, 2]
    assert_allclose(found["wrong"], [0.6, 0, 4 / 7, 0], atol=1e-6)
    with pytest.raises(ConfigError):
        kept_of(logits_NV, possible_NV, {"greedy": Sampling.greedy()})


def test_places_are_the_different_beginnings():
    """ "a b" and "a c": nothing, "a"; the model says what stepping through them says."""
    words = WordTokenizer.train(["a b c"], specials=("<s>", "</s>"), unk=None)
    model = Bigram(BigramConfig(words.vocab_size, 4, bos=words.special("<s>"), eos=words.special("</s>")), rngs=nnx.Rngs(0))
    after = {"": {"a": 1.0}, "a": {"b": 0.5, "c": 0.25, "never seen": 0.25}}
    logits_NV, possible_NV = places(model, ["a b", "a c"], words, after.get)
    want = [model.step(model.init_state(1, max_len=1), np.array([i]))[1][0] for i in (model.bos, words.index["a"])]
    assert_allclose(logits_NV, want, rtol=1e-6)
    assert [np.array(words.tokens)[row].tolist() for row in possible_NV] == [["a"], ["b", "c"]]

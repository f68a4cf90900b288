"""Perplexity against counting by hand: tokens weigh equally, however they are cut into batches."""

import math
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, VocabularyError
from lmlib.measure.perplexity import Perplexity, bigram_entropy, perplexity
from lmlib.models.base import merge, score_by_forward, split
from lmlib.models.bigram import Bigram, BigramConfig


@pytest.fixture(scope="module")
def model():
    return Bigram(BigramConfig(9, d_model=5), rngs=nnx.Rngs(0))


def table(model):
    """log p(next | token) in float64, by numpy."""
    _, params = split(model)
    logits = np.asarray(params["embed"]["embedding"], np.float64) @ np.asarray(params["out"]["kernel"], np.float64)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_uniform_model_has_the_size_of_the_vocabulary(model):
    definition, params = split(model)
    uniform = merge(definition, {**params, "embed": {"embedding": jnp.zeros((9, 5))}})
    result = perplexity(uniform, [{"tokens": np.zeros((2, 3), np.int32), "targets": np.ones((2, 3), np.int32)}])
    assert_allclose([result.perplexity, result.bits_per_token, result.nats], [9, math.log2(9), 6 * math.log(9)], rtol=1e-6)
    assert result.tokens == 6
    assert_allclose(result.excess_bits(1.0), math.log2(9) - 1, rtol=1e-6)


def test_twenty_partitions_of_a_text_give_one_perplexity(model):
    """The mean of the perplexities of batches is another number, and far away when one batch is hard."""
    rng, logp = np.random.default_rng(0), table(model)
    text = np.concatenate([rng.integers(0, 9, 381), np.tile(np.unravel_index(logp.argmin(), logp.shape), 20)]).astype(np.int32)
    want = math.exp(-np.mean(logp[text[:-1], text[1:]]))
    for _ in range(20):
        cuts = [0, *sorted(rng.choice(np.arange(70, 420, 70), 3, replace=False)), len(text) - 1]
        batches = [{"tokens": text[None, a:b], "targets": text[None, a + 1 : b + 1]} for a, b in pairwise(cuts)]
        assert abs(perplexity(model, batches).perplexity / want - 1) < 1e-6
    mean = np.mean([perplexity(model, [b]).perplexity for b in batches])
    assert abs(mean / want - 1) > 0.01


def test_padded_sequences_count_real_tokens_after_bos(model):
    logp = table(model)
    rows = [[3, 5, 0], [0], [7, 7, 7, 7, 0]]
    tokens = np.array([row + [8] * (5 - len(row)) for row in rows], np.int32)
    result = perplexity(model, [{"tokens": tokens, "lengths": np.array([3, 1, 5])}])
    want = -sum(logp[a, b] for row in rows for a, b in pairwise([0, *row]))
    assert result.tokens == 9
    assert_allclose(result.nats, want, rtol=1e-6)


class Counter(nnx.Module):
    """A model with memory: the n-th token that it reads (from 0) makes it expect token n mod 4, with odds 3 : 1 : 1 : 1."""

    vocab_size, bos, eos = 4, 0, 0

    def init_state(self, batch, *, max_len, source=None):
        return jnp.zeros((batch,), jnp.int32)

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        state = jnp.zeros(len(tokens_BL), jnp.int32) if state is None else state
        n_BL = state[:, None] + jnp.arange(tokens_BL.shape[1])[None, :]
        return jnp.log(1.0 + 2.0 * (n_BL[..., None] % 4 == jnp.arange(4)[None, None, :])), state + tokens_BL.shape[1]

    def score(self, tokens_BL, lengths):
        return score_by_forward(self, tokens_BL, lengths)


def test_streams_carry_the_state_and_windows_do_not():
    model, text = Counter(), np.arange(12, dtype=np.int32)[None] % 4
    batches = [{"tokens": text[:, i : i + 3], "targets": text[:, i : i + 3]} for i in (0, 3, 6, 9)]
    assert_allclose(perplexity(model, batches, model.init_state(1, max_len=3)).perplexity, 2, rtol=1e-6)
    assert_allclose(perplexity(model, batches).nats, 3 * math.log(2) + 9 * math.log(6), rtol=1e-6)


def test_sums_are_made_in_float64(model):
    """2^24 nats and one more: float32 would lose the one."""
    total = Perplexity(2.0**24, 1) + Perplexity(1.0, 1)
    assert (total.nats, total.tokens) == (2.0**24 + 1, 2)
    batch = {"tokens": np.zeros((1, 1), np.int32), "targets": np.zeros((1, 1), np.int32)}
    one = perplexity(model, [batch]).nats
    assert abs(perplexity(model, [batch] * 300).nats / (300 * one) - 1) < 1e-12


def test_a_hopeless_model_has_infinite_perplexity_not_an_overflow():
    assert Perplexity(1e6, 1).perplexity == math.inf


def test_bigram_entropy_by_hand_and_bounds():
    """After a: b, b, c, c (1 bit); after b: always a (0 bits)."""
    assert_allclose(bigram_entropy([0, 0, 0, 0, 1, 1], [1, 1, 2, 2, 0, 0]), 4 / 6)
    assert bigram_entropy([[0, 1], [2, 0]], [[1, 2], [0, 1]]) == 0
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 5, (2, 200_000))
    assert abs(bigram_entropy(tokens, targets) - math.log2(5)) < 1e-3


BAD = {
    "token too large": ({"tokens": [[9]], "targets": [[0]]}, VocabularyError, "batch 1: tokens"),
    "negative target": ({"tokens": [[0]], "targets": [[-1]]}, VocabularyError, "batch 1: targets"),
    "negative token": ({"tokens": [[-1]], "lengths": [1]}, VocabularyError, "batch 1: tokens"),
    "floats": ({"tokens": [[0.0]], "targets": [[0]]}, ShapeError, "integers"),
    "shapes": ({"tokens": [[0, 1]], "targets": [[0]]}, ShapeError, "batch 1: targets"),
    "length too long": ({"tokens": [[0, 1]], "lengths": [3]}, ShapeError, "lengths must be"),
    "lengths of another batch": ({"tokens": [[0, 1]], "lengths": [1, 1]}, ShapeError, "batch 1: lengths"),
}


@pytest.mark.parametrize(("batch", "error", "named"), BAD.values(), ids=BAD)
def test_bad_batches_are_named(model, batch, error, named):
    good = {"tokens": np.zeros((1, 1), np.int32), "lengths": np.ones(1, np.int32)}
    with pytest.raises(error, match=named):
        perplexity(model, [good, {name: np.array(value) for name, value in batch.items()}])


def test_nothing_to_score(model):
    for batches in ([], [{"tokens": np.zeros((2, 3), np.int32), "lengths": np.zeros(2, np.int32)}]):
        with pytest.raises(EmptyCorpusError, match="no token"):
            perplexity(model, batches)
    with pytest.raises(EmptyCorpusError, match="no pair"):
        bigram_entropy([], [])


def test_other_units_share_the_same_nats():
    """A text of 1,000 bytes, 200 words and 300 tokens: e.g. 2 bits a byte are 10 bits a word, whatever the tokens."""
    result = Perplexity(2 * math.log(2) * 1000, 300)
    assert_allclose([result.bits_per(1000), result.bits_per(200), result.bits_per(300)], [2, 10, result.bits_per_token])
    assert_allclose([result.perplexity_per(200), result.perplexity_per(300)], [1024, result.perplexity])
    assert Perplexity(1e6, 300).perplexity_per(10) == math.inf
    with pytest.raises(ConfigError, match="at least one unit"):
        result.bits_per(0)

"""The cache against a naive count of the last words; what its weight and its place in a stream mean."""

import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError
from lmlib.measure.perplexity import perplexity
from lmlib.models.base import compiled
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.models.cache import Cache
from lmlib.models.ngram import NgramConfig, train

TEXT = [[2, 3, 3, 4, 1], [2, 2, 5, 1], [4, 3, 5, 5, 2, 1]]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_scores_are_the_equation(size):
    inner = train(NgramConfig.tiny(6, bos=0, eos=1), TEXT)
    rows = [[word for sentence in TEXT for word in sentence], [5] * 9 + [0] + [5] * 5]
    tokens = np.array(rows, np.int32)  # two rows, the second with a BOS inside, which is no word
    lengths = np.array([15, 15])
    got = np.asarray(compiled(Cache(inner, size=size, weight=0.3), "score")(tokens, lengths))
    for row, own, found in zip(tokens, np.exp(np.asarray(inner.score(tokens, lengths))), got, strict=True):
        for t in range(len(row)):
            last = [w for w in row[max(0, t - size) : t] if w != 0]
            p = 0.7 * own[t] + 0.3 * last.count(row[t]) / len(last) if last else own[t]
            assert_allclose(np.exp(found[t]), p, atol=1e-6)


def test_without_weight_it_is_the_model():
    inner = Bigram(BigramConfig.tiny(6), rngs=nnx.Rngs(0))
    tokens, lengths = np.array([[1, 2, 2, 3]], np.int32), np.array([4])
    assert_allclose(Cache(inner, weight=0.0).score(tokens, lengths), inner.score(tokens, lengths), atol=1e-6)


def test_it_helps_where_a_text_repeats_itself_and_only_over_the_ends_of_batches_with_a_state():
    inner = Bigram(BigramConfig.tiny(6), rngs=nnx.Rngs(0))
    stream = np.tile([2, 3, 2, 4], 20).astype(np.int32)
    batches = [{"tokens": stream[None, i : i + 8], "targets": stream[None, i + 1 : i + 9]} for i in range(0, 72, 8)]
    model = Cache(inner, size=20, weight=0.5)
    state = model.init_state(1, max_len=8)
    alone, cached, with_state = perplexity(inner, batches), perplexity(model, batches), perplexity(model, batches, state)
    assert with_state.nats < cached.nats < alone.nats


def test_its_program_serves_every_weight():
    inner = train(NgramConfig.tiny(6, bos=0, eos=1), TEXT)
    programs = {compiled(Cache(inner, size=3, weight=weight), "score").args[0] for weight in (0.1, 0.2)}
    assert len(programs) == 1


def test_settings_that_make_no_cache():
    inner = Bigram(BigramConfig.tiny(6), rngs=nnx.Rngs(0))
    for fields in ({"size": 0}, {"weight": 1.0}, {"weight": -0.1}, {"weight": float("nan")}):
        with pytest.raises(ConfigError, match="Cache"):
            Cache(inner, **fields)

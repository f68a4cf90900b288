"""The neural bigram model against the two things that are known of it: its closed form and its optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from lmlib.config import from_dict
from lmlib.errors import ConfigError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fit, init_train_state, make_train_step
from lmlib.measure.perplexity import bigram_entropy, perplexity
from lmlib.models.base import merge, split
from lmlib.models.bigram import Bigram, BigramConfig


def test_logits_are_the_equation():
    model = Bigram(BigramConfig(7, d_model=3), rngs=nnx.Rngs(0))
    _, params = split(model)
    e, w, b = params["embed"]["embedding"], params["out"]["kernel"], params["out"]["bias"] + 0.5
    tokens_BL = np.array([[0, 6, 2], [3, 3, 1]])
    logits_BLV, _ = merge(split(model)[0], params | {"out": {"kernel": w, "bias": b}}).forward(tokens_BL)
    for row, tokens in zip(logits_BLV, tokens_BL, strict=True):
        for logits, token in zip(row, tokens, strict=True):
            assert_allclose(logits, np.asarray(e)[token] @ np.asarray(w) + np.asarray(b), atol=1e-6)


def sampled_text(length=3000):
    """A Markov chain over 6 letters: three of its rows are skewed, three are uniform."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.dirichlet(np.full(6, 0.5), 3), np.full((3, 6), 1 / 6)])
    text = [0]
    for _ in range(length):
        text.append(rng.choice(6, p=rows[text[-1]]))
    return np.array(text, np.int32)


def test_training_reaches_the_bigram_entropy_and_never_passes_it():
    text = sampled_text()
    pairs = {"tokens": text[None, :-1], "targets": text[None, 1:]}
    bound = bigram_entropy(**pairs)
    model = Bigram(BigramConfig(6, d_model=6), rngs=nnx.Rngs(0))
    definition, params = split(model)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 300))
    state = init_train_state(params, optimizer)
    train_step = make_train_step(next_token_loss(definition), optimizer)
    history = []
    run = fit(train_step, state, [pairs] * 300, key=jax.random.key(0), steps=300, steps_per_call=100)
    for state, _ in run:
        history.append(perplexity(merge(definition, state["params"]), [pairs]).excess_bits(bound))
    assert min(history) > -1e-6  # no bigram model can beat it on these pairs
    assert history[-1] < 1e-3
    assert perplexity(model, [pairs]).excess_bits(bound) > 0.3  # before training it was far away


@pytest.mark.parametrize(
    "fields", [{"vocab_size": 0}, {"vocab_size": 5, "d_model": 0}, {"vocab_size": 5, "eos": 5}, {"vocab_size": 5, "bos": -1}]
)
def test_config_refuses_what_makes_no_model(fields):
    with pytest.raises(ConfigError, match="BigramConfig"):
        from_dict(BigramConfig, fields)


def test_presets():
    assert BigramConfig.tiny() == BigramConfig(5, d_model=4)
    assert BigramConfig.small(100, bos=1) == BigramConfig(100, d_model=64, bos=1)


def test_loss_of_padded_sequences_is_the_weighted_score():
    model = Bigram(BigramConfig.tiny(bos=1, eos=3), rngs=nnx.Rngs(0))
    definition, params = split(model)
    batch = {"tokens": np.array([[2, 4, 3, 0], [3, 0, 0, 0]], np.int32), "lengths": np.array([3, 1], np.int32)}
    value, (carry, metrics) = next_token_loss(definition)(params, None, batch, jax.random.key(0))
    assert_allclose(value, -model.score(**{"tokens_BL": batch["tokens"], "lengths": batch["lengths"]}).sum() / 4, rtol=1e-6)
    assert carry is None
    assert metrics["tokens"] == 4


def test_what_stands_beyond_the_lengths_has_no_influence():
    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    loss = next_token_loss(definition)
    gradient = jax.jit(jax.grad(lambda p, tokens: loss(p, None, {"tokens": tokens, "lengths": np.array([2])}, None)[0]))
    a, b = gradient(params, np.array([[1, 2, 3, 4]])), gradient(params, np.array([[1, 2, 0, 0]]))
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=1e-7), a, b)


@pytest.mark.parametrize("name", ["tokens", "targets"])
@pytest.mark.parametrize("bad", [-1, -100, 5, 2**31 - 1])
def test_an_id_outside_the_vocabulary_is_a_non_finite_loss_never_another_row(name, bad):
    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    batch = {"tokens": np.zeros((2, 3), np.int32), "targets": np.zeros((2, 3), np.int32)}
    batch[name][1, 2] = bad
    assert jnp.isnan(next_token_loss(definition)(params, None, batch, None)[0])

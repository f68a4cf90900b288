"""The boundary to flax, and what models share."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ShapeError
from lmlib.models.base import call, merge, score_by_forward, shift_right, split, token_logp


class Net(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(6, 4, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.dropout = nnx.Dropout(0.5)
        self.scale = nnx.Param(jnp.ones(4))

    def __call__(self, tokens_B, key=None):
        x_BD = self.dropout(self.embed(tokens_B), deterministic=key is None, rngs=key)
        for block in self.blocks:
            x_BD = block(x_BD)
        return x_BD * self.scale[...][None]


TOKENS = np.arange(6, dtype=np.int32)


def test_split_gives_a_plain_dict_and_merge_gives_the_model_back():
    model = Net(nnx.Rngs(0))
    definition, params = split(model)
    assert {type(node) for node in (params, params["blocks"], params["blocks"][0])} == {dict}
    assert sorted(params) == ["blocks", "embed", "scale"]  # a Dropout adds nothing
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    assert_array_equal(params["embed"]["embedding"], model.embed.embedding[...])
    assert_array_equal(merge(definition, params)(TOKENS), model(TOKENS))


def test_definition_is_static_and_shared_by_models_of_one_kind():
    """Two models that differ in their numbers alone run the same program: it is traced once."""
    traced = 0

    def apply(definition, params, tokens):
        nonlocal traced
        traced += 1
        return merge(definition, params)(tokens)

    apply = jax.jit(apply, static_argnums=0)
    results = [apply(*split(Net(nnx.Rngs(seed))), TOKENS) for seed in range(3)]
    assert traced == 1
    assert len({hash(split(Net(nnx.Rngs(seed)))[0]) for seed in range(3)}) == 1
    for seed, result in enumerate(results):
        assert_allclose(result, Net(nnx.Rngs(seed))(TOKENS), atol=1e-6)


def test_merge_leaves_the_definition_and_the_model_untouched():
    """What a merged model does to itself inside a program is not seen outside, so a program is a pure function."""
    model = Net(nnx.Rngs(0))
    definition, params = split(model)
    merged = merge(definition, params)
    merged.scale[...] = jnp.zeros(4)
    assert_array_equal(params["scale"], jnp.ones(4))
    assert_array_equal(merge(definition, params)(TOKENS), model(TOKENS))


def rename(params):
    return {"mbed" if name == "embed" else name: value for name, value in params.items()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (rename, "mbed/embedding: (6, 4) for no such parameter"),
        (lambda p: p | {"scale": jnp.ones(3)}, "scale: (3,) for (4,)"),
        (lambda p: {"embed": p["embed"], "scale": p["scale"]}, "blocks/1/kernel: absent for (4, 4)"),
        (lambda p: p | {"more": jnp.ones(1)}, "more: (1,) for no such parameter"),
        (lambda p: p | {"blocks": {0: p["blocks"][0]}}, "blocks/1/bias: absent for (4,)"),
    ],
)
def test_merge_refuses_parameters_of_another_model(change, named):
    """nnx.merge alone goes by position: it takes renamed and misshapen parameters in silence."""
    definition, params = split(Net(nnx.Rngs(0)))
    with pytest.raises(ShapeError, match=re.escape(named)):
        merge(definition, change(params))


def test_dropout_is_off_without_a_key_and_a_function_of_the_key_with_one():
    definition, params = split(Net(nnx.Rngs(0)))
    outputs = {k: call(definition, "__call__", params, TOKENS, jax.random.key(k)) for k in range(2)}
    assert_array_equal(outputs[0], merge(definition, params)(TOKENS, jax.random.key(0)))
    assert not jnp.allclose(outputs[0], outputs[1])
    assert not jnp.allclose(outputs[0], merge(definition, params)(TOKENS))


def test_gradients_have_the_structure_of_the_parameters():
    definition, params = split(Net(nnx.Rngs(0)))
    gradient = jax.grad(lambda p: merge(definition, p)(TOKENS).sum())(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert_allclose(gradient["scale"], merge(definition, params | {"scale": jnp.ones(4)})(TOKENS).sum(0), rtol=1e-5)


def test_shift_right_by_hand():
    assert_array_equal(shift_right(np.array([[1, 2, 3], [4, 5, 6]]), 9), [[9, 1, 2], [9, 4, 5]])


def test_token_logp_by_hand_also_for_large_and_half_precision_logits():
    logits = np.array([[[0.0, np.log(3.0), 0.0], [1000.0, 1000.0, -1000.0]]], np.float32)
    assert_allclose(token_logp(jnp.array(logits), np.array([[1, 0]])), [[np.log(3 / 5), np.log(1 / 2)]], rtol=1e-6)
    flat = jnp.zeros((1, 1, 1000), jnp.bfloat16)
    assert_allclose(token_logp(flat, np.array([[7]])), [[-np.log(1000)]], rtol=1e-6)


def test_score_by_forward_by_hand():
    """A model that gives the token t + 1 the logit log(2) and the others 0, whatever t: p = 2/5 for the successor, 1/5 otherwise."""

    class Successor(nnx.Module):
        vocab_size, bos, eos = 4, 0, 3

        def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
            return jnp.log(1.0 + jax.nn.one_hot(tokens_BL + 1, 4)), {}

    logp = score_by_forward(Successor(), np.array([[1, 2, 3], [2, 3, 0]]), np.array([3, 2]))
    assert_allclose(logp, np.log([[2 / 5, 2 / 5, 2 / 5], [1 / 5, 2 / 5, 1]]), atol=1e-6)

"""Each misprinted form against its printed equations, number by number in plain Python, and by what it cannot do."""

import math

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, UnknownNameError
from lmlib.learn.losses import next_token_loss
from lmlib.models.base import merge, split
from lmlib.models.cells import GRU, LSTM, RNN, Cell, shapes, step
from lmlib.models.misprints import MISPRINTS, misprinted_lm
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM

D, H = 3, 2


def σ(x):
    return 1 / (1 + math.exp(-x))


def drawn(form, seed=0):
    """Parameters, carry (1, H) each and an input (1, D), of numpy."""
    cell, rng = MISPRINTS[form].cell, np.random.default_rng(seed)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes(cell, D, H).items()}
    carry = tuple(rng.normal(size=(1, H)).astype(np.float32) for _ in range(MISPRINTS[form].carried))
    return params, carry, rng.normal(size=(1, D)).astype(np.float32)


def by_hand(form, params, carry, x):
    """The printed equations for each unit j, in a list of the arrays carried."""
    W, b, x, h = params["w_xh"], params["b"], x[0], carry[0][0]
    U, c = params["w_hh"], carry[-1][0]

    def a(block, j):  # x W + b of a gate
        return sum(x[d] * W[d, block * H + j] for d in range(D)) + b[block * H + j]

    def u(block, j, of):
        return sum(of[k] * U[k, block * H + j] for k in range(H))

    units = []
    for j in range(H):
        if form == "no recurrence":
            units.append([math.tanh(a(0, j))])
        elif form == "a bias for a matrix":
            units.append([σ(a(0, j) - b[j] + b[j] * h[j])])
        elif form == "printed updates":
            units.append([math.tanh(a(0, j) + u(0, j, h))])
        elif form == "gates without state":
            i, f, g, o = (σ(a(block, j)) for block in range(4))
            new = f * c[j] + i * g
            units.append([o * σ(new), new])
        elif form == "gates plus state":
            i, f = σ(a(0, j) + h[j]), σ(a(1, j) + h[j])
            new = f * c[j] + i * σ(a(2, j) + i * h[j])
            units.append([σ(a(3, j) + new) * σ(new), new])
        elif form == "state squashed twice":
            r = [σ(a(0, k) + u(0, k, h)) for k in range(H)]
            z = σ(a(1, j) + u(1, j, h))
            new = (1 - z) * c[j] + z * math.tanh(a(2, j) + u(2, j, [r[k] * h[k] for k in range(H)]))
            units.append([math.tanh(new), new])
        elif form == "state without matrix":
            r, z = σ(a(0, j) + h[j]), σ(a(1, j) + h[j])
            units.append([z * h[j] + (1 - z) * σ(a(2, j) + r * h[j])])
    return np.array(units).T


@pytest.mark.parametrize("form", MISPRINTS)
def test_a_step_is_what_is_printed(form):
    params, carry, x_BD = drawn(form)
    found = MISPRINTS[form].step(params, carry, x_BD)
    assert len(found) == MISPRINTS[form].carried
    assert_allclose(np.stack(found)[:, 0], by_hand(form, params, carry, x_BD), rtol=1e-5)


def test_the_articles_gru_number():
    """Every pre-activation (1, 2), the state 0: c = [0.5568 0.8491], and tanh of it once more, [0.5056 0.6906]."""
    cell = MISPRINTS["state squashed twice"].cell
    params = {name: np.zeros(shape, np.float32) for name, shape in shapes(cell, D, H).items()} | {"b": np.tile([1.0, 2.0], 3)}
    h, c = MISPRINTS["state squashed twice"].step(params, (np.zeros((1, H)),) * 2, np.zeros((1, D)))
    assert_allclose(c, [[0.5568, 0.8491]], atol=5e-5)
    assert_allclose(h, [[0.5056, 0.6906]], atol=5e-5)


def lm(form, seed=0, **fields):
    return misprinted_lm(form, RecurrentConfig.tiny(cell=MISPRINTS[form].cell, **fields), rngs=nnx.Rngs(seed))


@pytest.mark.parametrize("form", MISPRINTS)
def test_it_begins_with_the_numbers_of_the_right_model(form):
    right = RecurrentLM(RecurrentConfig.tiny(cell=MISPRINTS[form].cell), rngs=nnx.Rngs(3))
    jax.tree.map(assert_array_equal, split(lm(form, seed=3))[1], split(right)[1])


TOKENS_BL = np.random.default_rng(0).integers(0, 5, (2, 6), dtype=np.int32)


@pytest.mark.parametrize("form", MISPRINTS)
def test_stepping_equals_the_forward_pass(form):
    model = lm(form)
    logits_BLV, end = model.forward(TOKENS_BL)
    state = model.init_state(2, max_len=6)
    for t in range(6):
        state, logits_BV = model.step(state, TOKENS_BL[:, t])
        assert_allclose(logits_BV, logits_BLV[:, t], atol=1e-6)
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), state, end)


@pytest.mark.parametrize(("form", "remembers"), [(form, form != "no recurrence") for form in MISPRINTS])
def test_only_one_of_them_forgets_all_tokens_but_the_last(form, remembers):
    model, other = lm(form), TOKENS_BL.copy()
    other[:, 0] = (other[:, 0] + 1) % 5
    a, b = model.forward(TOKENS_BL)[0][:, -1], model.forward(other)[0][:, -1]
    assert np.array_equal(a, b) != remembers


def test_printed_updates_are_the_sums_that_are_printed():
    """ΔW = Σ x_tᵀ ∂L/∂h_t and Δb = Σ ∂L/∂h_t with the loss of that step alone, written out with the softmax; nothing for W_hh."""
    model = lm("printed updates", layers=1)
    definition, params = split(model)
    inputs_BL, targets_BL = TOKENS_BL[:, :-1], TOKENS_BL[:, 1:]
    gradient = jax.grad(lambda p: next_token_loss(definition)(p, None, {"tokens": inputs_BL, "targets": targets_BL}, None)[0])(params)

    params, gradient = jax.device_get((params, gradient))
    x_BLD, weights = params["embedding"][inputs_BL], params["layers"]["cells"][0]
    h_BH, dW, db = np.zeros((2, 4)), 0, 0
    for t in range(5):
        h_BH = np.tanh(x_BLD[:, t] @ weights["w_xh"] + h_BH @ weights["w_hh"] + weights["b"])
        e_BV = np.exp(h_BH @ params["output"] + params["bias"])
        e_BV /= e_BV.sum(axis=-1, keepdims=True)
        e_BV[np.arange(2), targets_BL[:, t]] -= 1
        dh_BH = e_BV @ params["output"].T / targets_BL.size
        dW, db = dW + x_BLD[:, t].T @ dh_BH, db + dh_BH.sum(axis=0)
    found = gradient["layers"]["cells"][0]
    assert_allclose(found["w_xh"], dW, atol=1e-6)
    assert_allclose(found["b"], db, atol=1e-6)
    assert_array_equal(found["w_hh"], 0)


def test_its_loss_is_that_of_the_right_network():
    """Where only the updates are misprinted, what is predicted is not."""
    wrong, right = lm("printed updates", seed=1), RecurrentLM(RecurrentConfig.tiny(cell=RNN), rngs=nnx.Rngs(1))
    assert_allclose(wrong.forward(TOKENS_BL)[0], right.forward(TOKENS_BL)[0], atol=1e-6)


def test_squashed_twice_is_a_gru_but_for_the_second_squashing():
    """With the content taken for the state, one step of the right cell gives the content."""
    form = "state squashed twice"
    params, (h, _), x_BD = drawn(form)
    _, c = MISPRINTS[form].step(params, (h, h), x_BD)
    assert_allclose(c, step(MISPRINTS[form].cell, params, (h,), x_BD)[0], rtol=1e-5)


def test_a_state_can_be_carried_over():
    model = lm("gates plus state")
    whole, _ = model.forward(TOKENS_BL)
    first, state = model.forward(TOKENS_BL[:, :3])
    second, _ = model.forward(TOKENS_BL[:, 3:], state)
    assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'no recurrence'"):
        misprinted_lm("no recurence", RecurrentConfig.tiny(cell=RNN), rngs=nnx.Rngs(0))
    for cell in (LSTM, Cell("rnn", layer_norm=True), GRU):
        with pytest.raises(ConfigError, match="is a misprint of"):
            misprinted_lm("no recurrence", RecurrentConfig.tiny(cell=cell), rngs=nnx.Rngs(0))
    definition, params = split(lm("no recurrence"))
    with pytest.raises(ConfigError, match="running text"):
        merge(definition, params).forward(TOKENS_BL, lengths=np.array([6, 2]))

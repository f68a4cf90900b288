"""Gates against the cells' equations written out, gradients by lag against products of Jacobians and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError
from lmlib.measure.recurrence import gate_values, gradient_by_lag, reach
from lmlib.models.cells import GRU, LSTM, RNN, Cell, shapes, step

D, H, B, L = 3, 4, 2, 6


def drawn(cell, seed=0):
    """Parameters, carry, inputs (L, B, D) and a direction (B, H); all of numpy."""
    keys = iter(jax.random.split(jax.random.key(seed), 20))
    params = {name: 0.7 * jax.random.normal(next(keys), shape) for name, shape in shapes(cell, D, H).items()}
    carry = tuple(jax.random.normal(next(keys), (B, H)) for _ in range(cell.carried))
    return jax.device_get((params, carry, jax.random.normal(next(keys), (L, B, D)), jax.random.normal(next(keys), (B, H))))


@pytest.mark.parametrize("peephole", [False, True])
def test_gates_explain_the_content_of_an_lstm(peephole):
    """c' = f ⊙ c + i ⊙ g and h' = o ⊙ tanh(c'), with g of its own equation: what the cell did is what its gates say."""
    cell = Cell("lstm", peephole=peephole)
    params, carry, x_LBD, _ = drawn(cell)
    gates = jax.device_get(gate_values(cell, params, carry, x_LBD))
    for t, x_BD in enumerate(x_LBD):
        h, c = map(np.asarray, carry)
        block = slice(2 * H, 3 * H)
        g = np.tanh(x_BD @ params["w_xh"][:, block] + h @ params["w_hh"][:, block] + params["b"][block])
        carry = step(cell, params, carry, x_BD)
        assert_allclose(gates["forget"][t] * c + gates["input"][t] * g, carry[1], atol=1e-6)
        assert_allclose(gates["output"][t] * np.tanh(carry[1]), carry[0], atol=1e-6)


def test_the_cell_of_1997_has_no_forget_gate():
    cell = Cell("lstm", forget_gate=False)
    gates = gate_values(cell, *drawn(cell)[:3])
    assert list(gates) == ["input", "output"]
    assert gates["output"].shape == (L, B, H)


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("update", ["cho", "chung"])
def test_gates_explain_the_state_of_a_gru(update, reset):
    cell = Cell("gru", update=update, reset=reset)
    params, (h,), x_LBD, _ = drawn(cell)
    gates = jax.device_get(gate_values(cell, params, (h,), x_LBD))
    x_g, w_g, b_g = (params[name][..., 2 * H :] for name in ("w_xh", "w_hh", "b"))
    for t, x_BD in enumerate(x_LBD):
        r, z = gates["reset"][t], gates["update"][t]
        recurrent = (r * h) @ w_g if reset == "before" else r * (h @ w_g + params["b_hh"])
        candidate = np.tanh(x_BD @ x_g + b_g + recurrent)
        new = z * h + (1 - z) * candidate if update == "cho" else (1 - z) * h + z * candidate
        h = np.asarray(step(cell, params, (h,), x_BD)[0])
        assert_allclose(new, h, atol=1e-6)


def test_gates_are_refused_where_there_are_none():
    with pytest.raises(ConfigError, match="gates can be read"):
        gate_values(RNN, *drawn(RNN)[:3])
    with pytest.raises(ConfigError, match="layer_norm"):
        gate_values(Cell("lstm", layer_norm=True), *drawn(Cell("lstm", layer_norm=True))[:3])


def test_the_gradient_of_a_simple_network_is_a_product_of_jacobians():
    """u multiplied step by step by diag(1 - h²) W_hhᵀ, in numpy."""
    params, (h,), x_LBD, u_BH = drawn(RNN)
    found = gradient_by_lag(RNN, params, (h,), x_LBD, u_BH)
    states = []
    for x_BD in x_LBD:
        h = np.tanh(x_BD @ params["w_xh"] + h @ params["w_hh"] + params["b"])
        states.append(h)
    d_BH = np.asarray(u_BH)
    for lag in range(L):
        assert_allclose(found[lag], np.linalg.norm(d_BH, axis=-1), rtol=1e-5)
        d_BH = (d_BH * (1 - states[-1 - lag] ** 2)) @ params["w_hh"].T


def test_the_gradient_of_an_lstm_without_recurrent_weights_is_a_power_of_its_forget_gate():
    """Then only the content is handed on: |u ⊙ o ⊙ (1 - tanh²c) ⊙ f^k| at lag k, with f the same at all steps if the input is."""
    params, carry, x_LBD, u_BH = drawn(LSTM)
    params |= {"w_hh": jnp.zeros((H, 4 * H))}
    x_LBD = jnp.repeat(x_LBD[:1], L, axis=0)
    found, gates = gradient_by_lag(LSTM, params, carry, x_LBD, u_BH), gate_values(LSTM, params, carry, x_LBD)
    for x_BD in x_LBD:
        carry = step(LSTM, params, carry, x_BD)
    slope_BH = u_BH * gates["output"][-1] * (1 - np.tanh(carry[1]) ** 2)
    assert_allclose(found[0], np.linalg.norm(u_BH, axis=-1), rtol=1e-6)
    for lag in range(1, L):
        assert_allclose(found[lag], np.linalg.norm(slope_BH * gates["forget"][-1] ** lag, axis=-1), rtol=1e-5)


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU, Cell("gru", reset="before"), Cell("lstm", layer_norm=True)], ids=str)
def test_the_gradient_at_a_lag_is_that_of_the_steps_after_it(cell):
    """The state k steps before the end, taken as a given: JAX differentiates the rest by itself."""
    params, carry, x_LBD, u_BH = drawn(cell)
    found = gradient_by_lag(cell, params, carry, x_LBD, u_BH)
    for t in range(L):
        carry = step(cell, params, carry, x_LBD[t])

        def rest(carry, t=t):
            for x_BD in x_LBD[t + 1 :]:
                carry = step(cell, params, carry, x_BD)
            return (carry[0] * u_BH).sum()

        squares = sum(jnp.square(part).sum(axis=-1) for part in jax.grad(rest)(carry))
        assert_allclose(found[L - 1 - t], np.sqrt(squares), rtol=1e-5, atol=1e-6)


def test_the_reach_of_a_rotation_is_a_power_of_its_scale():
    """Without inputs and biases the state stays 0, where the slope of tanh is 1: each step back multiplies by ρ, in every direction."""
    turn_HH, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))
    params = {"w_xh": jnp.zeros((D, H)), "w_hh": jnp.asarray(0.5 * turn_HH, jnp.float32), "b": jnp.zeros(H)}
    table = reach(RNN, params, jnp.ones((L, B, D)), seed=3)
    assert table["lag"].tolist() == list(range(L))
    assert_allclose(table["log10"], np.arange(L) * np.log10(0.5), atol=1e-5)


def test_a_gradient_that_is_gone_has_a_logarithm():
    params = {name: jnp.zeros(shape) for name, shape in shapes(RNN, D, H).items()}
    assert_allclose(reach(RNN, params, jnp.ones((3, B, D)))["log10"], [0, -30, -30], atol=1e-4)

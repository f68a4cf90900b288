"""Recurrent cells as they are sometimes printed, to be trained beside the right ones: the same weights, batches and steps.

Each form takes the parameters of the cell that it is printed for, as in `cells.shapes`, so that the same seed begins with the same numbers.
What is wrong:

  no recurrence       h' = φ(x W + b): the state before is not read, so this is a network of one token.
  a bias for a matrix  h' = σ(x W + b ⊙ h): what should be h W_hh is a bias times the state, number by number.
  printed updates     the right network, with the updates Δh = ∂L/∂h, ΔW = α Δh xᵀ, Δb = α Δh: no φ', no sum over the paths through time,
                      and nothing for W_hh. They are the gradient where φ counts as the identity and the state as a given, and so they are
                      computed here.
  gates without state  i, f, o, g = σ(x W + b), c' = f ⊙ c + i ⊙ g, h' = o ⊙ σ(c'): no gate sees the state, and nothing is negative.
  gates plus state    i, f = σ(x W + b + h), g = σ(x W + b + i ⊙ h), o = σ(x W + b + c'), h' = o ⊙ σ(c'): states are added without a matrix.
  state squashed twice  a GRU with a content c' = (1 - z) ⊙ c + z ⊙ tanh(x W + (r ⊙ h) U + b) and h' = tanh(c').
  state without matrix  z, r = σ(x W + b + h), h~ = σ(x W + b + r ⊙ h), h' = z ⊙ h + (1 - z) ⊙ h~.

The right forms are Elman's, Gers, Schmidhuber & Cummins' and Cho et al.'s in `cells`.

Shapes: B batch, L time, D input, H hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lmlib.errors import ConfigError, UnknownNameError, nearest
from lmlib.models.cells import GRU, LSTM, RNN, Cell, project, sigmoid
from lmlib.models.recurrent import RecurrentConfig, RecurrentLayers, RecurrentLM


@dataclass(frozen=True)
class Misprint:
    """A form: the cell whose place and weights it takes, its step (params, carry, x_BD) -> carry, and how many arrays it carries."""

    cell: Cell
    step: Callable
    carried: int = 1


def _no_recurrence(params, carry, x):
    return (jnp.tanh(project(RNN, params, x)),)


def _bias_for_matrix(params, carry, x):
    return (sigmoid(x @ params["w_xh"] + params["b"][None] * carry[0]),)


def _printed_updates(params, carry, x):
    given = jax.lax.stop_gradient(carry[0] @ params["w_hh"])
    z = project(RNN, params, x) + given
    return (z + jax.lax.stop_gradient(jnp.tanh(z) - z),)  # the value of tanh, the gradient of the identity


def _gates_without_state(params, carry, x):
    i, f, g, o = jnp.split(sigmoid(project(LSTM, params, x)), 4, axis=-1)
    c = f * carry[1] + i * g
    return o * sigmoid(c), c


def _gates_plus_state(params, carry, x):
    h, c = carry
    i, f, g, o = jnp.split(project(LSTM, params, x), 4, axis=-1)
    i, f = sigmoid(i + h), sigmoid(f + h)
    c = f * c + i * sigmoid(g + i * h)
    return sigmoid(o + c) * sigmoid(c), c


def _squashed_twice(params, carry, x):
    h, c = carry
    d = h.shape[-1]
    z = project(GRU, params, x)
    r, u = jnp.split(sigmoid(z[:, : 2 * d] + h @ params["w_hh"][:, : 2 * d]), 2, axis=-1)
    c = (1 - u) * c + u * jnp.tanh(z[:, 2 * d :] + (r * h) @ params["w_hh"][:, 2 * d :])
    return jnp.tanh(c), c


def _state_without_matrix(params, carry, x):
    (h,) = carry
    r, z, g = jnp.split(project(GRU, params, x), 3, axis=-1)
    r, z = sigmoid(r + h), sigmoid(z + h)
    return (z * h + (1 - z) * sigmoid(g + r * h),)


MISPRINTS = {
    "no recurrence": Misprint(RNN, _no_recurrence),
    "a bias for a matrix": Misprint(RNN, _bias_for_matrix),
    "printed updates": Misprint(RNN, _printed_updates),
    "gates without state": Misprint(LSTM, _gates_without_state, carried=2),
    "gates plus state": Misprint(LSTM, _gates_plus_state, carried=2),
    "state squashed twice": Misprint(Cell("gru", update="chung", reset="before"), _squashed_twice, carried=2),
    "state without matrix": Misprint(GRU, _state_without_matrix),
}


class MisprintedLayers(RecurrentLayers):
    """The layers of another model, with the same weights, that take steps of a misprinted form. One direction, no dropout."""

    def __init__(self, layers: RecurrentLayers, form: str):
        self.config, self.kernel, self.cells, self.form = layers.config, "portable", layers.cells, form

    def init_state(self, batch: int):
        shape_BH, carried = (batch, self.config.d_hidden), range(MISPRINTS[self.form].carried)
        return tuple(tuple(jnp.zeros(shape_BH) for _ in carried) for _ in self.cells)

    def step(self, state, x_BD):
        after = []
        for cell, carry in zip(self.cells, state, strict=True):
            after.append(MISPRINTS[self.form].step(cell.as_dict(), carry, x_BD))
            x_BD = after[-1][0]
        return tuple(after), x_BD

    def __call__(self, x_BLD, state=None, lengths=None, *, table_VD=None, key=None) -> tuple[jax.Array, Any]:
        if lengths is not None:
            raise ConfigError("misprinted layers read running text: rows of different lengths are not for them")
        x_BLD = x_BLD if table_VD is None else table_VD[x_BLD]
        state = self.init_state(len(x_BLD)) if state is None else state
        state, h_LBH = jax.lax.scan(self.step, state, x_BLD.swapaxes(0, 1))
        return h_LBH.swapaxes(0, 1), state


def misprinted_lm(form: str, config: RecurrentConfig, *, rngs: nnx.Rngs) -> RecurrentLM:
    """A recurrent language model whose cell is misprinted: the numbers that it begins with are those of the right one of this seed.

    Args:
      form: one of `MISPRINTS`.
      config: of a model of the cell that it is printed for, without dropout.

    Raises:
      UnknownNameError, ConfigError: there is no such form; or the config is of another cell.
    """
    if form not in MISPRINTS:
        raise UnknownNameError(f"no misprint {form!r}{nearest(form, MISPRINTS)}: there are {', '.join(MISPRINTS)}")
    if config.cell != MISPRINTS[form].cell or config.dropout or config.state_dropout or config.weight_dropout:
        raise ConfigError(f"{form!r} is a misprint of {MISPRINTS[form].cell}, without dropout; the config is of {config}")
    model = RecurrentLM(config, rngs=rngs)
    model.layers = MisprintedLayers(model.layers, form)
    return model

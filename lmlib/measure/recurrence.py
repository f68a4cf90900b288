"""Inside recurrent cells: how far their gates are open, and how far back a gradient reaches.

  Bengio, Simard & Frasconi 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult" (IEEE Trans. Neural Networks 5).
  Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks" (arXiv 1211.5063).

Shapes: L time, B batch, D input, H hidden.
"""

from functools import partial

import jax
import jax.numpy as jnp

from lmlib import programs
from lmlib.errors import ConfigError
from lmlib.models.cells import GRU, LSTM, RNN, Cell, project, shapes, sigmoid, step

GATES = {"lstm": ("input", "forget", "output"), "gru": ("reset", "update")}


def gate_values(cell: Cell, params, carry, x_LBD) -> dict[str, jax.Array]:
    """The gates of a cell at each step of a sequence, each (L, B, H) with numbers from 0, shut, to 1, open.

    Args:
      cell: an LSTM (input, forget, output; that of 1997 has no forget gate) or a GRU (reset, update), without layer normalisation.
      params: see `cells.shapes`.
      carry: before the first step.
      x_LBD: inputs, time first.

    Raises:
      ConfigError: the cell has no gates, or normalises them.
    """
    if cell.kind not in GATES or cell.layer_norm:
        raise ConfigError(f"gates can be read of an LSTM or a GRU without layer_norm, got {cell}")

    def one(carry, x_BD):
        after = step(cell, params, carry, x_BD)
        return after, (carry, after)

    _, (before, after) = jax.lax.scan(one, carry, x_LBD)
    z_LBG = project(cell, params, x_LBD) + before[0] @ params["w_hh"]  # the gates wait for nothing but the state before
    blocks = jnp.split(z_LBG, cell.gates, axis=-1)
    if cell.kind == "gru":
        return dict(zip(GATES["gru"], map(sigmoid, blocks), strict=False))
    i, *f, _, o = blocks
    if cell.peephole:
        p_i, *p_f, p_o = params["peephole"][:, None, None, :]
        i, f, o = i + p_i * before[1], [a + p * before[1] for a, p in zip(f, p_f, strict=True)], o + p_o * after[1]
    return {name: sigmoid(z) for name, z in zip(("input", *["forget"] * len(f), "output"), (i, *f, o), strict=True)}


@partial(jax.jit, static_argnums=0)
def gradient_by_lag(cell: Cell, params, carry, x_LBD, u_BH):
    """How much the last output depends on what the cell had in mind k steps before: |∂(u · h_L) / ∂ carry_{L-k}|.

    The gradient of a loss at the last step reaches the weights by the states before it; where it is 0, they learn nothing of what stood
    there. For a simple network it is the length of u, multiplied by the k Jacobians diag(φ') W_hhᵀ of the steps between (Pascanu et al.,
    equation 5); for an LSTM the carry is (h, c), and both are counted.

    Args:
      cell: any.
      params: see `cells.shapes`.
      carry: before the first step, arrays (B, H).
      x_LBD: inputs, time first.
      u_BH: the gradient of the loss at the last output, e.g. a direction drawn for each row.

    Returns:
      (L, B), lags 0 … L - 1; at lag 0 it is the length of u.
    """

    def last(nudges):
        def one(carry, inputs):
            x_BD, nudge = inputs
            return tuple(a + b for a, b in zip(step(cell, params, carry, x_BD), nudge, strict=True)), None

        after, _ = jax.lax.scan(one, carry, (x_LBD, nudges))
        return (after[0] * u_BH).sum()

    zeros = tuple(jnp.zeros((len(x_LBD), *part.shape), part.dtype) for part in carry)  # added to each carry, so that it has a gradient
    squares = [jnp.square(part).sum(axis=-1) for part in jax.grad(last)(zeros)]
    return jnp.sqrt(sum(squares))[::-1]


def reach(cell: Cell, params, x_LBD, seed: int = 0):
    """`gradient_by_lag` from a state of zeros, in a random direction of length 1 for each row, as a table.

    Returns:
      A DataFrame with the columns lag and log10: the logarithm of the length of the gradient (at least 1e-30), the mean over rows; 0 at
      lag 0.
    """
    import pandas as pd

    shape_BH = x_LBD.shape[1], params["w_hh"].shape[0]
    u_BH = jax.random.normal(jax.random.key(seed), shape_BH)
    u_BH = u_BH / jnp.linalg.norm(u_BH, axis=1, keepdims=True)
    lengths_LB = gradient_by_lag(cell, params, (jnp.zeros(shape_BH),) * cell.carried, x_LBD, u_BH)
    return pd.DataFrame({"lag": range(len(lengths_LB)), "log10": jnp.log10(jnp.maximum(lengths_LB, 1e-30)).mean(axis=1)})


def _example(cell):
    params = {name: jnp.zeros(shape) for name, shape in shapes(cell, 2, 4).items()}
    return cell, params, (jnp.zeros((2, 4)),) * cell.carried, jnp.zeros((3, 2, 2)), jnp.ones((2, 4))


for _cell in (RNN, LSTM, GRU):
    programs.register(f"recurrence.gradient_by_lag.{_cell.kind}", gradient_by_lag, partial(_example, _cell))

"""Recurrent cells over a sequence, and back: backpropagation through time.

Werbos 1990, "Backpropagation Through Time" (Proceedings of the IEEE 78): with δ_t the gradient of the loss at the pre-activations of
step t,

    ∂L/∂W_xh = Σ_t x_tᵀ δ_t,    ∂L/∂W_hh = Σ_t h_{t-1}ᵀ δ_t,    ∂L/∂b = Σ_t δ_t

Only the δ_t have to be found one after the other. Each of the sums is one large product over all steps at once, and so is the projection
of the inputs, x W_xh, on the way forward; automatic differentiation of `lax.scan` would add up the weights' gradients step by step. cuDNN
works like this, too (Appleyard et al. 2016, "Optimizing Performance of Recurrent Neural Networks on GPUs", arXiv 1604.01946). What is
differentiated by hand here (`jax.custom_vjp`, reverse mode only) is the scan itself, in two forms:

  `_scan_lstm`  the LSTM of Gers et al. 2000, with the gradient of each gate written out;
  `_scan_any`   any cell: JAX differentiates a single step, and is told that the values of the products in it are known.

Shapes: L time, B batch, D input, H hidden, G gates of the cell.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from lmlib.models.cells import LSTM, Cell, advance, project, recurrent_matrices


def scan(cell: Cell, params, carry, x_LBD, *, table_VD=None, real_LB=None, keep_BH=None, reverse=False, kernel="portable"):
    """Run a cell over time.

    Args:
      cell: which one.
      params: see `cells.shapes`.
      carry: before the first step, arrays (B, H).
      x_LBD: inputs; time leads, so that a step is one piece of memory. With a table, the ids (L, B) of its rows.
      table_VD: the inputs that there are, worth giving where they are fewer than the steps: each is projected once.
      real_LB: booleans; where False, the step does not happen and the carry is handed on. None: all steps happen.
      keep_BH: by what the state is multiplied before each recurrent product, the same at every step: variational dropout's mask, divided by
        the probability of keeping. None for none.
      reverse: begin at the last step.
      kernel: "portable", or "cudnn" (see `cudnn_runs`), which gives the same within rounding.

    Returns:
      h after each step (L, B, H), and the carry after the last.
    """
    if kernel == "cudnn":
        return _scan_cudnn(params, carry, x_LBD if table_VD is None else table_VD[x_LBD])
    xz_LBG = project(cell, params, x_LBD) if table_VD is None else project(cell, params, table_VD)[x_LBD]
    real_LB1 = None if real_LB is None else real_LB[..., None]
    matrices = recurrent_matrices(cell, params)
    if cell == LSTM:
        return _scan_lstm(reverse, matrices["gates"], carry, xz_LBG, real_LB1, keep_BH)
    extras = {name: value for name, value in params.items() if name not in ("w_xh", "w_hh", "gain_x")}
    return _scan_any(cell, reverse, matrices, extras, carry, xz_LBG, real_LB1, keep_BH)


def _held(real_B1, new, old):
    """The new carry, but the old one in rows whose sequence is not going on."""
    return new if real_B1 is None else tuple(jnp.where(real_B1, n, o) for n, o in zip(new, old, strict=True))


def _before(first_BH, all_LBH, reverse):
    """What stood before each step, given what stood before the first and after every one."""
    parts = [all_LBH[1:], first_BH[None]] if reverse else [first_BH[None], all_LBH[:-1]]
    return jnp.concatenate(parts)


def _kept(h, keep_BH):
    """What is left of the state, (B, H) or (L, B, H), after its dropout."""
    return h if keep_BH is None else h * keep_BH.reshape((1,) * (h.ndim - 2) + keep_BH.shape)


def _over_time(a_LBK, d_LBG):
    """Σ over steps and rows of aᵀ d, in one product: (K, G)."""
    return a_LBK.reshape(-1, a_LBK.shape[-1]).T @ d_LBG.reshape(-1, d_LBG.shape[-1])


# ---- the LSTM, by hand ----


def _gates(t_BG):
    """i, f, g, o of the LSTM from the tanh of its scaled pre-activations: σ(z) = (1 + tanh(z / 2)) / 2."""
    i, f, g, o = jnp.split(t_BG, 4, axis=-1)
    return 0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan_lstm(reverse, w_HG, carry, xz_LBG, real_LB1, keep_BH):
    return _lstm_forward(reverse, w_HG, carry, xz_LBG, real_LB1, keep_BH)[0]


def _lstm_forward(reverse, w_HG, carry, xz_LBG, real_LB1, keep_BH):
    d = w_HG.shape[0]
    scale_G = jnp.repeat(jnp.array([0.5, 0.5, 1, 0.5], w_HG.dtype), d)  # so that one tanh over whole rows serves all gates
    scaled_HG = w_HG * scale_G[None]

    def one(carry, inputs):
        h, c = carry
        xz_BG, real_B1 = inputs
        t_BG = jnp.tanh(xz_BG * scale_G[None] + _kept(h, keep_BH) @ scaled_HG)
        i, f, g, o = _gates(t_BG)
        c = f * c + i * g
        h, c = _held(real_B1, (o * jnp.tanh(c), c), carry)
        return (h, c), (h, c, t_BG)

    last, (h_LBH, c_LBH, t_LBG) = lax.scan(one, carry, (xz_LBG, real_LB1), reverse=reverse)
    return (h_LBH, last), (w_HG, carry, real_LB1, keep_BH, h_LBH, c_LBH, t_LBG)


def _lstm_backward(reverse, saved, gradients):
    """∂L/∂z of every gate, from the last step to the first.

    With dh the gradient that reaches h' from above and from the step after it, and likewise dc:

        dc += dh o (1 - tanh²c'),   dz_i = dc g i(1-i),   dz_f = dc c f(1-f),   dz_g = dc i (1-g²),   dz_o = dh tanh(c') o(1-o)
        handed on to the step before: dc f  and  dz W_hhᵀ
    """
    w_HG, (h0, c0), real_LB1, keep_BH, h_LBH, c_LBH, t_LBG = saved
    d_LBH, (dh_BH, dc_BH) = gradients
    w_GH = w_HG.T
    d = w_HG.shape[0]
    slope_G = jnp.repeat(jnp.array([0.25, 0.25, 1, 0.25], w_HG.dtype), d)  # σ(1-σ) = (1 - tanh²)/4

    def one(state, inputs):
        dh, dc_above = state
        d_BH, c, c_before, t_BG, real_B1 = inputs
        i, f, g, o = _gates(t_BG)
        squashed = jnp.tanh(c)
        dh = dh + d_BH
        dc = dc_above + dh * o * (1 - squashed * squashed)
        outer = jnp.concatenate([dc, dc, dc, dh], axis=-1)  # two factors side by side and one expression over whole rows:
        inner = jnp.concatenate([g, c_before, i, squashed], axis=-1)  # twice as fast as four expressions joined
        dz_BG = outer * inner * (1 - t_BG * t_BG) * slope_G[None]
        if real_B1 is not None:
            dz_BG = jnp.where(real_B1, dz_BG, 0)
        return _held(real_B1, (_kept(dz_BG @ w_GH, keep_BH), dc * f), (dh, dc_above)), dz_BG

    inputs = d_LBH, c_LBH, _before(c0, c_LBH, reverse), t_LBG, real_LB1
    carry, dz_LBG = lax.scan(one, (dh_BH, dc_BH), inputs, reverse=not reverse)
    dw_HG = _over_time(_kept(_before(h0, h_LBH, reverse), keep_BH), dz_LBG)
    return dw_HG, carry, dz_LBG, None, None


_scan_lstm.defvjp(_lstm_forward, _lstm_backward)


# ---- any cell ----


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scan_any(cell, reverse, matrices, extras, carry, xz_LBG, real_LB1, keep_BH):
    return _any_forward(cell, reverse, matrices, extras, carry, xz_LBG, real_LB1, keep_BH)[0]


def _any_forward(cell, reverse, matrices, extras, carry, xz_LBG, real_LB1, keep_BH):
    def one(carry, inputs):
        xz_BG, real_B1 = inputs
        products = {}

        def product(name, a_BH, plus=None):
            value = _kept(a_BH, keep_BH) @ matrices[name]
            products[name] = value if plus is None else value + plus
            return products[name]

        new = _held(real_B1, advance(cell, extras, carry, xz_BG, product), carry)
        return new, (new[0], carry, products)

    last, (h_LBH, before, products) = lax.scan(one, carry, (xz_LBG, real_LB1), reverse=reverse)
    summed = _inputs_are_summed(cell)
    return (h_LBH, last), (matrices, extras, None if summed else xz_LBG, real_LB1, keep_BH, before, products)


def _inputs_are_summed(cell):
    """Whether the inputs enter only as the `plus` of products, so that their gradient is that of the products' values."""
    return cell.kind == "rnn" or not (cell.layer_norm or (cell.kind == "gru" and cell.reset == "after"))


@jax.custom_vjp
def _known(a_BH, w_GH, value_BG):
    """The value of a product a @ w_GHᵀ + …, without computing it; its gradient reaches a, and what was added, as if it had been."""
    return value_BG


_known.defvjp(lambda a, w_GH, value: (value, w_GH), lambda w_GH, d: (d @ w_GH, None, d))


def _any_backward(cell, reverse, saved, gradients):
    matrices, extras, xz_LBG, real_LB1, keep_BH, before, products = saved
    d_LBH, d_carry = gradients
    transposed = {name: w.T for name, w in matrices.items()}
    rows, width = d_LBH.shape[1], cell.gates * d_LBH.shape[2]

    def one(state, inputs):
        (dh, *rest), d_extras = state
        d_BH, xz_BG, real_B1, before, products = inputs

        def again(extras, before, xz_BG, products):
            read = {}

            def product(name, a_BH, plus=None):
                read[name] = _kept(a_BH, keep_BH)
                return _known(read[name], transposed[name], products[name])

            xz_BG = jnp.zeros((rows, width)) if xz_BG is None else xz_BG  # summed into the products already
            new = _held(real_B1, advance(cell, extras, before, xz_BG, product), before)
            return new, {name: a for name, a in read.items() if name != "gates"}  # what "gates" multiplies is h: no need to keep it twice

        _, back, read = jax.vjp(again, extras, before, xz_BG, products, has_aux=True)
        more, d_before, d_xz, d_products = back((dh + d_BH, *rest))
        return (d_before, jax.tree.map(jnp.add, d_extras, more)), (d_xz, d_products, read)

    start = tuple(d_carry), jax.tree.map(jnp.zeros_like, extras)
    inputs = d_LBH, xz_LBG, real_LB1, before, products
    (d_carry, d_extras), (d_xz_LBG, d_products, read) = lax.scan(one, start, inputs, reverse=not reverse)
    read = {"gates": _kept(before[0], keep_BH), **read}
    if d_xz_LBG is None:
        d_xz_LBG = jnp.concatenate([d_products[name] for name in ("gates", "candidate") if name in matrices], axis=-1)
    return {name: _over_time(read[name], d_products[name]) for name in matrices}, d_extras, d_carry, d_xz_LBG, None, None


_scan_any.defvjp(_any_forward, _any_backward)


# ---- cuDNN ----


def cudnn_runs(cell: Cell) -> bool:
    """Whether cuDNN's LSTM can stand in here: the plain LSTM, on an NVIDIA GPU. It knows neither masks nor dropout of the state."""
    return cell == LSTM and jax.default_backend() == "gpu" and "cuda" in jax.devices()[0].client.platform_version.lower()


def _scan_cudnn(params, carry, x_LBD):
    from jax.experimental import rnn

    d_input, d_hidden = x_LBD.shape[-1], carry[0].shape[-1]
    both = [params["w_xh"].T, params["w_hh"].T, params["b"], jnp.zeros_like(params["b"])]  # cuDNN has a second bias
    weights = jnp.concatenate([part.reshape(-1) for part in both])
    lengths_B = jnp.full(x_LBD.shape[1], x_LBD.shape[0], jnp.int32)
    h, c = (part[None] for part in carry)
    y_BLH, h, c = rnn.lstm(x_LBD.swapaxes(0, 1), h, c, weights, lengths_B, d_input, d_hidden, 1, 0.0, False)
    return y_BLH.swapaxes(0, 1), (h[0], c[0])

"""Recurrent cells: one step in time, as pure functions.

  Elman 1990, "Finding Structure in Time" (Cognitive Science 14): the simple recurrent network.
  Hochreiter & Schmidhuber 1997, "Long Short-Term Memory" (Neural Computation 9): input and output gates, no forget gate.
  Gers, Schmidhuber & Cummins 2000, "Learning to Forget" (Neural Computation 12): the forget gate, and so the LSTM of today.
  Gers & Schmidhuber 2000, "Recurrent Nets that Time and Count" (IJCNN): peepholes.
  Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder" (arXiv 1406.1078): the gated recurrent unit.
  Chung et al. 2014, "Empirical Evaluation of Gated Recurrent Neural Networks" (arXiv 1412.3555): the update gate turned round.
  Ba, Kiros & Hinton 2016, "Layer Normalization" (arXiv 1607.06450).

What a step reads of its input, x W_xh + b, does not depend on the state. So it is made by `project`, for one step or a whole sequence in
one product, and `advance` does the rest. `rnn_step`, `lstm_step` and `gru_step` are the two together.

`carry` is what a cell hands from step to step, a tuple of arrays (B, H): (h,) or, for the LSTM, (h, c). h is the output of the cell. In
the parameters the columns of the gates stand side by side: LSTM i, f, g, o (1997: i, g, o); GRU reset, update, candidate, as in PyTorch.

Left out on purpose: projections of the state (LSTMP) and the coupled gates of later variants.

Shapes: B batch, D input, H hidden, G gates of the cell, … any leading axes.
"""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from lmlib.errors import ConfigError

OPTIONS = {"rnn": {"activation"}, "lstm": {"forget_gate", "peephole"}, "gru": {"update", "reset"}}  # of each kind, besides layer_norm


@dataclass(frozen=True)
class Cell:
    """Which cell: a kind, and the options of that kind. The others must keep their defaults."""

    kind: Literal["rnn", "lstm", "gru"] = "lstm"
    activation: Literal["tanh", "relu"] = "tanh"  # rnn
    forget_gate: bool = True  # lstm: False is the cell of 1997
    peephole: bool = False  # lstm: the gates see the cell's content
    update: Literal["cho", "chung"] = "cho"  # gru: "cho" keeps the old state where the update gate is open, "chung" where it is closed
    reset: Literal["before", "after"] = "after"  # gru: the reset gate acts before the recurrent product (the papers) or after it (cuDNN)
    layer_norm: bool = False

    def __post_init__(self):
        allowed = {"kind": tuple(OPTIONS), "activation": ("tanh", "relu"), "update": ("cho", "chung"), "reset": ("before", "after")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"Cell.{name} must be one of {', '.join(map(repr, values))}, got {getattr(self, name)!r}")
        for kind, names in OPTIONS.items():
            for name in sorted(names):
                if kind != self.kind and getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(f"Cell.{name} is an option of kind={kind!r}, not of {self.kind!r}")

    @property
    def gates(self):
        """G, how many blocks of H columns the weights have."""
        return {"rnn": 1, "lstm": 3 + self.forget_gate, "gru": 3}[self.kind]

    @property
    def carried(self):
        """How many arrays (B, H) the cell hands on: 2 for the LSTM (h, c), else 1 (h)."""
        return 2 if self.kind == "lstm" else 1


RNN, LSTM, GRU = Cell("rnn"), Cell("lstm"), Cell("gru")  # the LSTM and the GRU as cuDNN and PyTorch have them


def shapes(cell: Cell, d_input: int, d_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a cell's parameters.

    w_xh (D, GH), w_hh (H, GH) and b (GH,) always; "b_hh" (H,), the candidate's second bias, where the GRU resets after the product;
    "peephole" (G-1, H), for the gates in their order; "gain_h" and "gain_x" (GH,), "gain_c" and "bias_c" (H,) of layer normalisation.
    """
    d, h, gh = d_input, d_hidden, cell.gates * d_hidden
    found = {"w_xh": (d, gh), "w_hh": (h, gh), "b": (gh,)}
    if cell.kind == "gru" and cell.reset == "after":
        found["b_hh"] = (h,)
    if cell.peephole:
        found["peephole"] = (cell.gates - 1, h)
    if cell.layer_norm:
        found["gain_h"] = (gh,)
        if cell.kind != "rnn":
            found["gain_x"] = (gh,)
        if cell.kind == "lstm":
            found |= {"gain_c": (h,), "bias_c": (h,)}
    return found


def rnn_step(params, h_BH, x_BD, cell=RNN):
    """One step of the simple recurrent network, Elman 1990: h_t = φ(x_t W_xh + h_{t-1} W_hh + b), φ = tanh or relu.

    With layer normalisation φ(LN(x_t W_xh + h_{t-1} W_hh) + b), equation 4 of Ba et al.

    Args:
      params: {"w_xh": (D, H), "w_hh": (H, H), "b": (H,)}, see `shapes`.
      h_BH: the state before the step.
      x_BD: the input.

    Returns:
      The state after the step, (B, H).
    """
    return step(cell, params, (h_BH,), x_BD)[0]


def lstm_step(params, carry, x_BD, cell=LSTM):
    """One step of long short-term memory, Gers et al. 2000:

        i, f, o = σ(x W + h U + b),  g = tanh(x W + h U + b),  c' = f ⊙ c + i ⊙ g,  h' = o ⊙ tanh(c')

    each with its own block of W, U and b. Without forget gate f = 1: the cell of 1997, with tanh for its two squashing functions.
    Peepholes add p_i ⊙ c, p_f ⊙ c and p_o ⊙ c' inside the σ. Layer normalisation (equations 20-22 of Ba et al.) takes LN(x W) + LN(h U) + b
    and tanh(LN(c')).

    Args:
      params: {"w_xh": (D, 4H), "w_hh": (H, 4H), "b": (4H,)}, gates in the order i, f, g, o; see `shapes`.
      carry: (h, c) before the step, (B, H) each.
      x_BD: the input.

    Returns:
      (h, c) after the step.
    """
    return step(cell, params, carry, x_BD)


def gru_step(params, h_BH, x_BD, cell=GRU):
    """One step of the gated recurrent unit, Cho et al. 2014, equations 5-8:

        r = σ(x W_r + h U_r + b_r),  z = σ(x W_z + h U_z + b_z)
        reset "before" the product (both papers)   h~ = tanh(x W + (r ⊙ h) U + b)
        reset "after" it (cuDNN, PyTorch)          h~ = tanh(x W + b + r ⊙ (h U + b_hh)), so that one product serves all gates
        update "cho" (also PyTorch)                h' = z ⊙ h + (1 - z) ⊙ h~
        update "chung" (their equation 5)          h' = (1 - z) ⊙ h + z ⊙ h~

    Args:
      params: {"w_xh": (D, 3H), "w_hh": (H, 3H), "b": (3H,)} and, if reset after, "b_hh": (H,); order reset, update, candidate.
      h_BH: the state before the step.
      x_BD: the input.

    Returns:
      The state after the step, (B, H).
    """
    return step(cell, params, (h_BH,), x_BD)[0]


def step(cell: Cell, params, carry, x_BD):
    """One step of any cell: the carry after it."""
    matrices = recurrent_matrices(cell, params)

    def product(name, a_BH, plus=None):
        return a_BH @ matrices[name] if plus is None else a_BH @ matrices[name] + plus

    return advance(cell, params, carry, project(cell, params, x_BD), product)


def project(cell: Cell, params, x):
    """What the gates read of the input, (…, D) → (…, GH): x W_xh + b, for as many steps as x has."""
    z = (x.reshape(-1, x.shape[-1]) @ params["w_xh"]).reshape(*x.shape[:-1], -1)  # one product of two matrices is the fastest there is
    if cell.layer_norm and cell.kind == "rnn":
        return z  # normalised together with the recurrent part; b comes after
    if cell.layer_norm:
        z = _norm_gates(cell, z, params["gain_x"])
    return z + params["b"].reshape((1,) * (z.ndim - 1) + (-1,))


def recurrent_matrices(cell: Cell, params):
    """The matrices by which a step multiplies, by name: W_hh, in two parts where the candidate waits for the reset gate."""
    w_HG = params["w_hh"]
    if cell.kind == "gru" and cell.reset == "before":
        h = w_HG.shape[0]
        return {"gates": w_HG[:, : 2 * h], "candidate": w_HG[:, 2 * h :]}
    return {"gates": w_HG}


def advance(cell: Cell, params, carry, xz_BG, product):
    """One step, given what the gates read of the input.

    Args:
      carry: before the step.
      xz_BG: of `project`, (B, GH).
      product: product(name, a_BH, plus=None) = a @ recurrent_matrices[name] + plus. The caller says how: a scan that goes backwards
        knows the value already.

    Returns:
      The carry after the step.
    """
    return {"rnn": _advance_rnn, "lstm": _advance_lstm, "gru": _advance_gru}[cell.kind](cell, params, carry, xz_BG, product)


def _advance_rnn(cell, params, carry, xz, product):
    z = product("gates", carry[0], xz)
    if cell.layer_norm:
        z = layer_norm(z) * params["gain_h"][None] + params["b"][None]
    return (jnp.tanh(z) if cell.activation == "tanh" else jnp.maximum(z, 0),)


def _advance_lstm(cell, params, carry, xz, product):
    h, c = carry
    z = xz + _norm_gates(cell, product("gates", h), params["gain_h"]) if cell.layer_norm else product("gates", h, xz)
    i, *f, g, o = jnp.split(z, cell.gates, axis=-1)
    if cell.peephole:
        p_i, *p_f, p_o = params["peephole"][:, None, :]
        i, f = i + p_i * c, [f_ + p * c for f_, p in zip(f, p_f, strict=True)]
    c = (sigmoid(f[0]) * c if f else c) + sigmoid(i) * jnp.tanh(g)
    if cell.peephole:
        o = o + p_o * c
    seen = layer_norm(c) * params["gain_c"][None] + params["bias_c"][None] if cell.layer_norm else c
    return sigmoid(o) * jnp.tanh(seen), c


def _advance_gru(cell, params, carry, xz, product):
    (h,) = carry
    xz_gates, xz_candidate = xz[:, : 2 * h.shape[-1]], xz[:, 2 * h.shape[-1] :]
    gain_gates, gain_candidate = jnp.split(params["gain_h"], [2 * h.shape[-1]]) if cell.layer_norm else (None, None)

    def norm(z, gain):
        return layer_norm(z) * gain[None] if cell.layer_norm else z

    def summed(name, a, x, gain):
        return x + norm(product(name, a), gain) if cell.layer_norm else product(name, a, x)

    if cell.reset == "after":
        hz_gates, hz_candidate = jnp.split(product("gates", h), [2 * h.shape[-1]], axis=-1)
        r, u = jnp.split(sigmoid(xz_gates + norm(hz_gates, gain_gates)), 2, axis=-1)
        candidate = jnp.tanh(xz_candidate + r * (norm(hz_candidate, gain_candidate) + params["b_hh"][None]))
    else:
        r, u = jnp.split(sigmoid(summed("gates", h, xz_gates, gain_gates)), 2, axis=-1)
        candidate = jnp.tanh(summed("candidate", r * h, xz_candidate, gain_candidate))
    keep = u if cell.update == "cho" else 1 - u
    return (keep * h + (1 - keep) * candidate,)


def sigmoid(x):
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2, which never overflows and, on a CPU, takes half the time."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def layer_norm(x, epsilon=1e-5):
    """(x - mean) / sqrt(variance + ε) over the last axis, equation 3 of Ba et al. without gain and bias."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x * (jnp.square(x).mean(axis=-1, keepdims=True) + epsilon) ** -0.5


def _norm_gates(cell, z, gain):
    """Layer normalisation of pre-activations: of all gates together, but of the GRU's candidate by itself (Ba et al., supplement)."""
    gain = gain.reshape((1,) * (z.ndim - 1) + (-1,))
    if cell.kind == "lstm":
        return layer_norm(z) * gain
    cut = 2 * z.shape[-1] // 3
    return jnp.concatenate([layer_norm(z[..., :cut]), layer_norm(z[..., cut:])], axis=-1) * gain

"""Recurrent layers and the recurrent language model.

  Mikolov et al. 2010, "Recurrent neural network based language model" (Interspeech): the language model.
  Zaremba, Sutskever & Vinyals 2014, "Recurrent Neural Network Regularization" (arXiv 1409.2329): dropout, but never on the way from state
    to state; the small, medium and large LSTM of the Penn Treebank.
  Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks" (arXiv 1512.05287): one mask for
    all steps, on the state as well.
  Merity, Keskar & Socher 2018, "Regularizing and Optimizing LSTM Language Models" (arXiv 1708.02182): dropout of recurrent weights.
  Press & Wolf 2017, "Using the Output Embedding to Improve Language Models" (arXiv 1608.05859): one matrix for input and output words.

    x_t = E[w_t],   h¹_t = cell(h¹_{t-1}, x_t),   h²_t = cell(h²_{t-1}, h¹_t), …   p(w_{t+1} | w_1 … w_t) = softmax(h_t W + b)

The state is what is carried over in truncated backpropagation through time: `forward` takes it and gives it back, and no gradient flows
across, since the gradient is taken with the state as a given.

Left out on purpose: the rest of AWD-LSTM (averaged SGD, activation regularisation), mixtures of softmaxes and dynamic evaluation.

Shapes: B batch, L time, D input, H hidden, O output of the layers (H, or 2H if bidirectional), V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError, check_shape
from lmlib.models.base import call, score_by_forward, split
from lmlib.models.cells import GRU, LSTM, RNN, Cell, shapes, step
from lmlib.models.scans import cudnn_runs, scan


@dataclass(frozen=True)
class LayersConfig:
    """Recurrent layers, one upon the other."""

    d_input: int  # D
    d_hidden: int  # H, of each direction
    layers: int = 1
    cell: Cell = LSTM
    bidirectional: bool = False
    dropout: float = 0.0  # of what enters each layer and leaves the last one
    dropout_mask: Literal["step", "sequence"] = "step"  # drawn anew at every step (Zaremba) or once for all steps (Gal & Ghahramani)
    state_dropout: float = 0.0  # of h before each recurrent product, one mask for all steps (Gal & Ghahramani)
    weight_dropout: float = 0.0  # of the recurrent weights, one mask for the whole batch (Merity et al.)
    init_scale: float | None = None  # weights and biases uniform in ± this; None is 1/sqrt(H)

    def __post_init__(self):
        for name in ("d_input", "d_hidden", "layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{type(self).__name__}.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "state_dropout", "weight_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{type(self).__name__}.{name} must be at least 0 and less than 1, got {getattr(self, name)}")
        if self.dropout_mask not in ("step", "sequence"):
            raise ConfigError(f"{type(self).__name__}.dropout_mask must be 'step' or 'sequence', got {self.dropout_mask!r}")
        if self.init_scale is not None and not self.init_scale > 0:
            raise ConfigError(f"{type(self).__name__}.init_scale must be positive, got {self.init_scale}")

    @property
    def d_output(self):
        """O, the width of what the last layer gives."""
        return self.d_hidden * (1 + self.bidirectional)


class CellWeights(nnx.Module):
    """Owns the weights of one cell, named as in `cells.shapes`."""

    def __init__(self, cell: Cell, d_input: int, d_hidden: int, init_scale: float | None, *, rngs: nnx.Rngs):
        scale = d_hidden**-0.5 if init_scale is None else init_scale
        self.names = tuple(shapes(cell, d_input, d_hidden))
        for name, shape in shapes(cell, d_input, d_hidden).items():
            drawn = jax.random.uniform(rngs.params(), shape, minval=-scale, maxval=scale)
            setattr(self, name, nnx.Param(jnp.ones(shape) if name.startswith("gain") else drawn))

    def as_dict(self):
        """The weights as the pure functions take them."""
        return {name: getattr(self, name)[...] for name in self.names}


class RecurrentLayers(nnx.Module):
    """Stacked recurrent layers in one direction or both.

    The state is a tuple with one entry for each layer (bidirectional: forward and backward of the first, then of the second, …), each the
    carry of its cell, (h,) or (h, c), all (B, H).

    Args:
      kernel: "portable", or "cudnn", which is used where it can do what is asked: see `fastest_kernel`. Parameters are the same.
    """

    def __init__(self, config: LayersConfig, *, rngs: nnx.Rngs, kernel: str = "portable"):
        if kernel not in ("portable", "cudnn"):
            raise ConfigError(f"kernel must be 'portable' or 'cudnn', got {kernel!r}")
        self.config, self.kernel = config, kernel
        widths = [config.d_input] + [config.d_output] * (config.layers - 1)
        self.cells = nnx.List(
            CellWeights(config.cell, width, config.d_hidden, config.init_scale, rngs=rngs)
            for width in widths
            for _ in range(1 + config.bidirectional)
        )

    def init_state(self, batch: int):
        """Zeros, each an array of its own, so that a compiled program may be given them to write into."""
        shape_BH, carried = (batch, self.config.d_hidden), range(self.config.cell.carried)
        return tuple(tuple(jnp.zeros(shape_BH) for _ in carried) for _ in self.cells)

    def step(self, state, x_BD):
        """One step of all layers, without dropout: the state after it and the output (B, H). Not for both directions."""
        if self.config.bidirectional:
            raise ConfigError("layers that read in both directions cannot step: the backward one begins at the end")
        after = []
        for cell, carry in zip(self.cells, state, strict=True):
            after.append(step(self.config.cell, cell.as_dict(), carry, x_BD))
            x_BD = after[-1][0]
        return tuple(after), x_BD

    def __call__(self, x_BLD, state=None, lengths=None, *, table_VD=None, key=None):
        """Read a sequence.

        Args:
          x_BLD: input vectors; with a table, the ids (B, L) of its rows.
          table_VD: word vectors.
          state: before the first step; None for zeros. A backward layer begins with it at each row's last real step.
          lengths: (B,), how many steps of each row are real; None for all.
          key: randomness of dropout; None turns dropout off.

        Returns:
          The outputs (B, L, O), forward and backward side by side, and the state: forward that after `lengths` steps, backward that after
          the first. Beyond its length a row's output is the state that it stopped with.
        """
        config, directions = self.config, 1 + self.config.bidirectional
        if table_VD is not None and (len(table_VD) >= x_BLD.size or (key is not None and config.dropout)):
            x_BLD, table_VD = table_VD[x_BLD], None  # what is dropped differs from token to token
        check_shape(x_BLD, (None, None, config.d_input) if table_VD is None else (None, None), "x_BLD")
        state = self.init_state(len(x_BLD)) if state is None else state
        x_LBD = x_BLD.swapaxes(0, 1)
        real_LB = None if lengths is None else length_mask(lengths, len(x_LBD)).T
        after = []
        for layer in range(config.layers):
            x_LBD = self._dropout(x_LBD, key, 3 * layer)
            outputs = []
            for direction in range(directions):
                i = directions * layer + direction
                weights, keep_BH, mine = self.cells[i].as_dict(), None, None
                if key is not None:
                    mine = jax.random.fold_in(jax.random.fold_in(key, 3 * layer + 1), direction)
                if key is not None and config.weight_dropout:
                    weights["w_hh"] = _drop(weights["w_hh"], config.weight_dropout, jax.random.fold_in(mine, 0))
                if key is not None and config.state_dropout:
                    keep_BH = _drop(jnp.ones_like(state[i][0]), config.state_dropout, jax.random.fold_in(mine, 1))
                plain = real_LB is None and keep_BH is None and direction == 0
                kernel = self.kernel if plain else "portable"
                options = {"real_LB": real_LB, "keep_BH": keep_BH, "reverse": direction == 1, "kernel": kernel}
                h_LBH, carry = scan(config.cell, weights, state[i], x_LBD, table_VD=None if layer else table_VD, **options)
                outputs.append(h_LBH)
                after.append(carry)
            x_LBD = outputs[0] if directions == 1 else jnp.concatenate(outputs, axis=-1)
        x_LBD = self._dropout(x_LBD, key, 3 * config.layers)
        return x_LBD.swapaxes(0, 1), tuple(after)

    def _dropout(self, x_LBD, key, place):
        if key is None or not self.config.dropout:
            return x_LBD
        over = x_LBD.shape if self.config.dropout_mask == "step" else (1, *x_LBD.shape[1:])
        return x_LBD * _drop(jnp.ones(over), self.config.dropout, jax.random.fold_in(key, place))


def _drop(x, rate, key):
    """Each number is 0 with probability `rate`, else divided by 1 - rate."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def fastest_kernel(cell: Cell) -> str:
    """The kernel to make layers with on this machine, chosen before anything is traced: "cudnn" where it runs, else "portable".

    What is exported to another machine must be "portable".
    """
    return "cudnn" if cudnn_runs(cell) else "portable"


@dataclass(frozen=True)
class RecurrentConfig:
    """The language model. `bos` and `eos` are ids of the vocabulary; in running text one separator is both."""

    vocab_size: int  # V
    d_embed: int = 128  # D
    d_hidden: int = 128  # H
    layers: int = 2
    cell: Cell = LSTM
    tied: bool = False  # output words are the input words; needs D = H
    dropout: float = 0.0
    dropout_mask: Literal["step", "sequence"] = "step"
    state_dropout: float = 0.0
    weight_dropout: float = 0.0
    init_scale: float | None = None  # of the cells
    init_embed: float = 0.1  # embedding and output weights uniform in ± this; the output bias begins at 0
    bos: int = 0
    eos: int = 0

    def __post_init__(self):
        for name in ("vocab_size", "d_embed"):
            if getattr(self, name) < 1:
                raise ConfigError(f"RecurrentConfig.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("bos", "eos"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ConfigError(
                    f"RecurrentConfig.{name} must be an id of the vocabulary, 0 … {self.vocab_size - 1}, got {getattr(self, name)}"
                )
        if self.tied and self.d_embed != self.d_hidden:
            raise ConfigError(f"RecurrentConfig.tied needs d_embed = d_hidden, got {self.d_embed} and {self.d_hidden}")
        if not self.init_embed > 0:
            raise ConfigError(f"RecurrentConfig.init_embed must be positive, got {self.init_embed}")
        self.layers_config()

    def layers_config(self):
        """The config of the layers in it."""
        same = ("d_hidden", "layers", "cell", "dropout", "dropout_mask", "state_dropout", "weight_dropout", "init_scale")
        return LayersConfig(self.d_embed, **{name: getattr(self, name) for name in same})

    @classmethod
    def tiny(cls, vocab_size=5, **fields):
        """For tests."""
        return cls(vocab_size, **{"d_embed": 3, "d_hidden": 4, "init_scale": 0.5, "init_embed": 0.5, **fields})

    @classmethod
    def ptb_small(cls, vocab_size=10_000, **fields):
        """Zaremba et al. 2014, small: 2 × 200, no dropout, all in ±0.1. Published on the Penn Treebank: test perplexity 114.5.

        Trained on 20 streams, 20 steps of backpropagation, gradient clipped at 5, SGD with rate 1 for 4 epochs, then halved in each
        of 9 more.
        """
        return cls(vocab_size, **{"d_embed": 200, "d_hidden": 200, "init_scale": 0.1, **fields})

    @classmethod
    def wikitext2_small(cls, vocab_size, **fields):
        """The LSTM of pytorch/examples, word_language_model, as it comes: 2 × 200, dropout 0.2. SGD with rate 20, divided by 4 when the
        validation loss does not fall, gradient clipped at 0.25, 20 streams of 35 steps."""
        return cls(vocab_size, **{"d_embed": 200, "d_hidden": 200, "dropout": 0.2, **fields})

    @classmethod
    def shakespeare(cls, vocab_size=65, **fields):
        """Characters of Shakespeare, of the size that Karpathy's char-rnn has by default: 2 × 128, 50 streams of 50 steps."""
        return cls(vocab_size, **{"d_embed": 128, "d_hidden": 128, **fields})


class RecurrentLM(nnx.Module):
    """A `LanguageModel` of recurrent layers. Its state is that of the layers."""

    def __init__(self, config: RecurrentConfig, *, rngs: nnx.Rngs, kernel: str = "portable"):
        self.vocab_size, self.bos, self.eos = config.vocab_size, config.bos, config.eos
        shape_VD = config.vocab_size, config.d_embed

        def draw(*shape):
            return nnx.Param(jax.random.uniform(rngs.params(), shape, minval=-config.init_embed, maxval=config.init_embed))

        self.embedding = draw(*shape_VD)
        self.layers = RecurrentLayers(config.layers_config(), rngs=rngs, kernel=kernel)
        self.tied = config.tied
        if not config.tied:
            self.output = draw(config.d_hidden, config.vocab_size)
        self.bias = nnx.Param(jnp.zeros(config.vocab_size))

    def init_state(self, batch, *, max_len, source=None):
        """Zeros: a tuple with one carry a layer."""
        return self.layers.init_state(batch)

    def step(self, state, token_B):
        """Read one token: the new state and the logits (B, V) of the next."""
        state, h_BH = self.layers.step(state, self.embedding[...][token_B])
        return state, self._logits(h_BH)

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        """Logits (B, L, V) after each token and the state after `lengths` tokens; see `LanguageModel.forward`."""
        h_BLH, state = self.layers(tokens_BL, state, lengths, table_VD=self.embedding[...], key=key)
        return self._logits(h_BLH.reshape(-1, h_BLH.shape[-1])).reshape(*tokens_BL.shape, self.vocab_size), state

    def score(self, tokens_BL, lengths):
        """Log-probability (nats) of each token given those before it, (B, L)."""
        return score_by_forward(self, tokens_BL, lengths)

    def _logits(self, h_NH):
        weights_HV = self.embedding[...].T if self.tied else self.output[...]
        ones_N1 = jnp.ones((len(h_NH), 1))  # the bias' gradient is a product, too: XLA's sum over 700 rows of 33,278 takes 80 times as long
        return h_NH @ weights_HV + ones_N1 @ self.bias[...][None]


def _example(method, *args, **fields):
    definition, params = split(RecurrentLM(RecurrentConfig.tiny(**fields), rngs=nnx.Rngs(0)))
    return definition, method, params, *args


def _states(cell):
    return ((jnp.zeros((2, 4)),) * cell.carried,) * 2


for _cell in (RNN, LSTM, GRU):
    _name = f"recurrent.{_cell.kind}"
    programs.register(f"{_name}.step", call, lambda c=_cell: _example("step", _states(c), jnp.zeros(2, jnp.int32), cell=c))
    programs.register(f"{_name}.forward", call, lambda c=_cell: _example("forward", jnp.zeros((2, 3), jnp.int32), cell=c))
    programs.register(f"{_name}.score", call, lambda c=_cell: _example("score", jnp.zeros((2, 3), jnp.int32), jnp.full(2, 3), cell=c))

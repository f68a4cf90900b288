"""Neural classifiers of text: word vectors → recurrent layers or a convolution → one vector a text → dense layers → labels.

  Kim 2014, "Convolutional Neural Networks for Sentence Classification" (arXiv 1408.5882): the convolution, and its maximum over time.
  Collobert et al. 2011, "Natural Language Processing (Almost) from Scratch" (arXiv 1103.0398): the maximum of each feature over a sentence.
  Graves & Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM" (Neural Networks 18): reading in both directions.
  Jozefowicz, Zaremba & Sutskever 2015, "An Empirical Exploration of Recurrent Network Architectures" (ICML): the forget gate begins open.

With e_t the vector of word t of a text of n words,

    recurrent     h_t = cell(h_{t-1}, e_t) in layers;       v = h_n, or the mean or the maximum of h_1 … h_n
    convolution   z_t = Σ_i e_{t+i} W_i for each width;     v = relu(b + max_t z_t) of all widths, side by side
    then          p(label | text) = softmax(v' W + b),      v' = v, or relu(v W + b)

Batches hold texts of unequal length, filled up with padding that no number depends on: a recurrent network whose last state is taken after
the padding, as many tutorials do, has forgotten a short text. A convolution sees zero vectors before and behind the text, in every window
that holds at least one of its words. A text without words has v = 0.

Left out on purpose: the constraint on the norm of Kim's output weights, his two channels of word vectors, and attention.

Shapes: B batch, L time, D embedding, H hidden, O features of a text, F filters, W width of a window, V vocabulary, C classes.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError, ShapeError, check_ids
from lmlib.models.base import Definition, call, split
from lmlib.models.cells import GRU, LSTM, RNN, Cell
from lmlib.models.recurrent import LayersConfig, RecurrentLayers
from lmlib.text.batches import PaddedBatches, pad

OPTIONS = {  # of each encoder
    "recurrent": ("hidden", "cell", "bidirectional", "pooling", "state_dropout", "forget_bias"),
    "cnn": ("widths", "filters"),
}


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier: an encoder and the options of that encoder. Those of the other must keep their defaults."""

    vocab_size: int  # V
    classes: int = 2  # C
    d_embed: int = 128  # D
    encoder: Literal["recurrent", "cnn"] = "recurrent"
    hidden: tuple[int, ...] = (64,)  # recurrent: H of each layer, in each direction
    cell: Cell = LSTM  # recurrent
    bidirectional: bool = False  # recurrent
    pooling: Literal["last", "mean", "max"] = "last"  # recurrent: what is taken of the outputs
    state_dropout: float = 0.0  # recurrent: of the state before each recurrent product, one mask for all steps
    forget_bias: float = 1.0  # recurrent: what is added to the bias of the LSTM's forget gate at the beginning
    widths: tuple[int, ...] = (3, 4, 5)  # cnn: W of each window
    filters: int = 100  # cnn: F, for each width
    dense: int = 0  # units of a layer before the output; 0 for none
    dropout_words: float = 0.0  # of the numbers of word vectors
    dropout: float = 0.0  # of what each other layer gives, but not of the logits
    init_embed: float = 0.05  # word vectors uniform in ± this

    def __post_init__(self):
        sizes = {name: getattr(self, name) for name in ("vocab_size", "classes", "d_embed", "filters")}
        for name in ("hidden", "widths"):
            sizes |= {f"{name}[{i}]": size for i, size in enumerate(getattr(self, name))}
            if not getattr(self, name):
                raise ConfigError(f"ClassifierConfig.{name} must name at least one size")
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"ClassifierConfig.{name} must be at least 1, got {size}")
        if self.dense < 0:
            raise ConfigError(f"ClassifierConfig.dense must not be negative, got {self.dense}")
        for name in ("dropout_words", "dropout", "state_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"ClassifierConfig.{name} must be at least 0 and less than 1, got {getattr(self, name)}")
        if not self.init_embed > 0:
            raise ConfigError(f"ClassifierConfig.init_embed must be positive, got {self.init_embed}")
        for name, values in {"encoder": tuple(OPTIONS), "pooling": ("last", "mean", "max")}.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"ClassifierConfig.{name} must be one of {', '.join(map(repr, values))}, got {getattr(self, name)!r}")
        for encoder, names in OPTIONS.items():
            for name in names:
                if encoder != self.encoder and getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(f"ClassifierConfig.{name} is an option of encoder={encoder!r}, not of {self.encoder!r}")

    @property
    def d_text(self):
        """O, the numbers that stand for a text."""
        if self.encoder == "cnn":
            return self.filters * len(self.widths)
        return self.hidden[-1] * (1 + self.bidirectional)

    @classmethod
    def tiny(cls, vocab_size=7, **fields):
        """For tests."""
        small = {"filters": 4, "widths": (1, 3)} if fields.get("encoder") == "cnn" else {"hidden": (4,)}
        return cls(vocab_size, **{"classes": 3, "d_embed": 3, "init_embed": 0.5, **small, **fields})

    @classmethod
    def lstm_64_32(cls, vocab_size=10_000, **fields):
        """A net of the tutorials for IMDb: vectors of 256, LSTMs of 64 and 32 units, 64 dense ones. There a text is cut after 100 words;
        Adam, 10 epochs, batches of 32. (Their single sigmoid is the softmax of two labels.)"""
        return cls(vocab_size, **{"d_embed": 256, "hidden": (64, 32), "dense": 64, **fields})

    @classmethod
    def lstm_128(cls, vocab_size=10_000, **fields):
        """Vectors of 50 and one LSTM of 128 units; texts of 100 words, Adam, 10 epochs, batches of 64. Tutorials print it with the outputs
        of all steps against one label a text; here it is the last one."""
        return cls(vocab_size, **{"d_embed": 50, "hidden": (128,), **fields})

    @classmethod
    def lstm_1024(cls, vocab_size=10_000, **fields):
        """Vectors of 128, one LSTM of 1024 units and as many dense ones. Printed without the relu between the two dense layers, which would
        make them one, and with two classes a step; here they are two layers, and the classes those of the text."""
        return cls(vocab_size, **{"d_embed": 128, "hidden": (1024,), "dense": 1024, **fields})

    @classmethod
    def lstm_512_512(cls, vocab_size=10_000, **fields):
        """Vectors of 256 and two LSTMs of 512 units, printed as the "encoder" and the "decoder" of a generator."""
        return cls(vocab_size, **{"d_embed": 256, "hidden": (512, 512), **fields})

    @classmethod
    def kim(cls, vocab_size, **fields):
        """Kim 2014, CNN-rand: windows of 3, 4 and 5 words, 100 filters each, vectors of 300, dropout 0.5; batches of 50. Published: 76.1 %
        on MR with ten folds, trained with Adadelta."""
        return cls(vocab_size, **{"encoder": "cnn", "d_embed": 300, "dropout": 0.5, "init_embed": 0.25, **fields})


def pool(h_BLH, lengths_B, pooling: str, *, bidirectional: bool = False):
    """One vector a text from the outputs of its words; padding has no part in it.

    Args:
      h_BLH: outputs, those of a backward layer in the second half.
      lengths_B: how many of each row are real; a row of length 0 gives zeros.
      pooling: "last", what a layer gives when it has read all of the text: forward at the last word, backward at the first; "mean"; "max".
      bidirectional: whether there is a backward half (which only "last" must know).

    Returns:
      (B, H).
    """
    some_B1, real_BL1 = (lengths_B > 0)[:, None], length_mask(lengths_B, h_BLH.shape[1])[..., None]
    if pooling == "mean":
        return jnp.sum(h_BLH, axis=1, where=real_BL1) / jnp.maximum(lengths_B, 1)[:, None]
    if pooling == "max":
        return jnp.where(some_B1, jnp.where(real_BL1, h_BLH, -jnp.inf).max(axis=1), 0)
    last_BH = jnp.take_along_axis(h_BLH, jnp.maximum(lengths_B - 1, 0)[:, None, None], axis=1)[:, 0]
    if bidirectional:
        half = h_BLH.shape[-1] // 2
        last_BH = jnp.concatenate([last_BH[:, :half], h_BLH[:, 0, half:]], axis=-1)
    return jnp.where(some_B1, last_BH, 0)


def convolve(x_BLD, w_WDF):
    """Filters at every window that holds at least one of the vectors, with zeros where it reaches beyond: (B, L + W - 1, F).

    Place t is the window that ends at vector t. Each vector is multiplied by all parts of a filter in one product and the results are moved
    to where they are summed: on a CPU the way back is then many times faster than that of XLA's convolution.
    """
    batch, length, d = x_BLD.shape
    width, _, filters = w_WDF.shape
    parts_BLWF = (x_BLD.reshape(-1, d) @ w_WDF.swapaxes(0, 1).reshape(d, -1)).reshape(batch, length, width, filters)
    moved = [jnp.pad(parts_BLWF[:, :, i], ((0, 0), (width - 1 - i, i), (0, 0))) for i in range(width)]
    return sum(moved[1:], moved[0])


def max_over_time(x_BLD, lengths_B, w_WDF, b_F):
    """relu(b + the maximum of each filter over the windows that touch the text), equations 2 and 3 of Kim 2014: (B, F)."""
    x_BLD = jnp.where(length_mask(lengths_B, x_BLD.shape[1])[..., None], x_BLD, 0)
    z_BTF = convolve(x_BLD, w_WDF)
    windows_B = jnp.where(lengths_B > 0, lengths_B + len(w_WDF) - 1, 0)
    best_BF = pool(z_BTF, windows_B, "max")
    return jnp.where((lengths_B > 0)[:, None], jnp.maximum(best_BF + b_F[None], 0), 0)


class TextNet(nnx.Module):
    """A classifier of texts; `forward` gives the logits of its classes.

    Args:
      kernel: of the recurrent layers in one direction, see `lmlib.models.recurrent.RecurrentLayers`.
    """

    def __init__(self, config: ClassifierConfig, *, rngs: nnx.Rngs, kernel: str = "portable"):
        self.config, self.vocab_size, self.classes = config, config.vocab_size, config.classes
        scale, glorot = config.init_embed, nnx.initializers.glorot_uniform()
        self.embedding = nnx.Param(jax.random.uniform(rngs.params(), (config.vocab_size, config.d_embed), minval=-scale, maxval=scale))
        if config.encoder == "cnn":
            self.filters = nnx.List(nnx.Param(glorot(rngs.params(), (w, config.d_embed, config.filters))) for w in config.widths)
            self.filter_bias = nnx.Param(jnp.zeros(config.d_text))
        else:
            self.layers = nnx.List(self._layers(rngs, kernel))
        if config.dense:
            self.dense = nnx.Linear(config.d_text, config.dense, kernel_init=glorot, rngs=rngs)
        self.output = nnx.Linear(config.dense or config.d_text, config.classes, kernel_init=glorot, rngs=rngs)
        self.drop_words, self.drop = nnx.Dropout(config.dropout_words), nnx.Dropout(config.dropout)

    def _layers(self, rngs, kernel):
        config, width = self.config, self.config.d_embed
        same = {"cell": config.cell, "bidirectional": config.bidirectional, "state_dropout": config.state_dropout}
        for hidden in config.hidden:
            layer = RecurrentLayers(LayersConfig(width, hidden, **same), rngs=rngs, kernel=kernel)
            if config.cell.kind == "lstm" and config.cell.forget_gate:
                for cell in layer.cells:
                    cell.b = nnx.Param(cell.b[...].at[hidden : 2 * hidden].add(config.forget_bias))
            yield layer
            width = layer.config.d_output

    def forward(self, tokens_BL, lengths_B, *, key=None):
        """Read texts.

        Args:
          tokens_BL: ids; what stands at and beyond `lengths_B` must be ids, too, but has no influence.
          lengths_B: words of each text, 0 … L.
          key: randomness of dropout; None turns dropout off.

        Returns:
          Logits (B, C).
        """
        keys = repeat(None) if key is None else iter(jax.random.split(key, 2 + 2 * len(self.config.hidden)))

        def dropped(dropout, x):
            key = next(keys)
            return dropout(x, deterministic=key is None, rngs=key)

        x_BLD = dropped(self.drop_words, self.embedding[...][tokens_BL])
        if self.config.encoder == "cnn":
            b_WF = self.filter_bias[...].reshape(len(self.filters), -1)
            found = [max_over_time(x_BLD, lengths_B, w[...], b_F) for w, b_F in zip(self.filters, b_WF, strict=True)]
            v_BO = jnp.concatenate(found, axis=-1)
        else:
            # what a forward layer gives at a word does not depend on what follows: only the backward one must know where a text ends
            known_B = lengths_B if self.config.bidirectional else None
            for i, layer in enumerate(self.layers):
                x_BLD, _ = layer(dropped(self.drop, x_BLD) if i else x_BLD, lengths=known_B, key=next(keys))
            v_BO = pool(x_BLD, lengths_B, self.config.pooling, bidirectional=self.config.bidirectional)
        v_BO = dropped(self.drop, v_BO)
        if self.config.dense:
            v_BO = dropped(self.drop, jax.nn.relu(self.dense(v_BO)))
        return self.output(v_BO)


class LabelledSequences(PaddedBatches):
    """`PaddedBatches` with the label of each text: {"tokens", "lengths", "index", "labels"}, where "labels" (B,) int32 is 0 in rows that
    only fill up the batch (index -1).

    Args:
      sequences, batch_size, seed, boundaries, options: as for `PaddedBatches`.
      labels: whole numbers from 0, one a text.
    """

    def __init__(self, sequences, labels, batch_size, seed=0, boundaries=None, **options):
        if len(sequences) != len(labels):
            raise ShapeError(f"{len(sequences)} texts have {len(labels)} labels: one label a text is needed")
        self.labels = check_ids(labels, 2**31, "labels").astype(np.int32)
        super().__init__(sequences, batch_size, seed, boundaries, **options)

    def _batch(self, epoch, i):
        batch = super()._batch(epoch, i)
        return batch | {"labels": np.where(batch["index"] >= 0, self.labels[batch["index"]], 0).astype(np.int32)}


def quantile_boundaries(lengths, buckets: int = 6) -> tuple[int, ...]:
    """Boundaries for `PaddedBatches` such that each bucket holds about as many texts; rising, the last is the longest."""
    shares = np.arange(1, buckets + 1) / buckets
    return tuple(int(b) for b in np.unique(np.quantile(np.maximum(lengths, 1), shares, method="inverted_cdf")))


def predict(definition: Definition, params, sequences, *, batch_size: int = 128, boundaries=None) -> np.ndarray:
    """log p(label | text) in nats of many texts: (texts, C) float32 on the host.

    Args:
      definition, params: of `split`.
      sequences: ids of each text, 1-D; may be empty.
      batch_size: texts at once; those of similar length go together.
      boundaries: lengths to which texts are filled up, one compiled program each; `quantile_boundaries` of these texts if None.

    Raises:
      VocabularyError: an id outside the vocabulary.
      ShapeError: a text is longer than the last boundary.
    """
    (vocab_size,) = (shape[0] for name, shape in definition.leaves if name == "embedding")
    (classes,) = (shape[0] for name, shape in definition.leaves if name == "output/bias")
    result = np.zeros((len(sequences), classes), np.float32)
    if not len(sequences):
        return result
    sequences = [check_ids(one, vocab_size, f"sequences[{i}]") if len(one) else () for i, one in enumerate(sequences)]
    lengths = np.array([len(one) for one in sequences])
    boundaries = np.asarray(boundaries or quantile_boundaries(lengths))
    if lengths.max() > boundaries[-1]:
        raise ShapeError(f"sequence {lengths.argmax()} has {lengths.max()} tokens, more than the last boundary, {boundaries[-1]}")
    bucket = np.searchsorted(boundaries, lengths)
    for b, length in enumerate(boundaries):
        rows = np.flatnonzero(bucket == b)
        for some in (rows[at : at + batch_size] for at in range(0, len(rows), batch_size)):
            filled = [sequences[i] for i in some] + [()] * (batch_size - len(some))
            logits_BC = call(definition, "forward", params, *pad(filled, int(length)))
            result[some] = jax.nn.log_softmax(logits_BC)[: len(some)]
    return result


def _example(**fields):
    definition, params = split(TextNet(ClassifierConfig.tiny(**fields), rngs=nnx.Rngs(0)))
    return definition, "forward", params, jnp.zeros((2, 5), jnp.int32), jnp.array([5, 2])


for _cell in (RNN, LSTM, GRU):
    _name, _fields = f"classifier.{_cell.kind}.forward", {"cell": _cell, "bidirectional": True, "pooling": "mean", "dense": 2}
    programs.register(_name, call, lambda fields=_fields: _example(**fields))
programs.register("classifier.cnn.forward", call, lambda: _example(encoder="cnn"))

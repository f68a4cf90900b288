"""Tasks with a known answer, drawn anew at every step: what has to be remembered, and for how long, is a parameter.

  Hochreiter & Schmidhuber 1997, "Long Short-Term Memory" (Neural Computation 9), experiments 4 and 5: adding, over long lags.
  Arjovsky, Shah & Bengio 2016, "Unitary Evolution Recurrent Neural Networks" (arXiv 1511.06464), section 4: copying and adding in the form
    of today, and what a model without memory reaches in each.

Shapes: B batch, L time.
"""

import numpy as np

from lmlib.errors import ConfigError
from lmlib.text.batches import Batches, random_bits


class _Drawn(Batches):
    """Batches without a corpus: no step repeats another, and an epoch is one step."""

    def __init__(self, batch_size, seed=0, **at_least):
        for name, (value, least) in {"batch_size": (batch_size, 1), **at_least}.items():
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{type(self).__name__}: {name} must be an integer of at least {least}, got {value!r}")
        self.batch_size = batch_size
        super().__init__(1, seed)


class CopyTask(_Drawn):
    """Read some symbols, wait, and say them again, in their order.

    `batches[step]` is {"tokens", "targets"}, both (B, lag + 2 · copied) int32, for `lmlib.learn.losses.next_token_loss`. A row of tokens is
    `copied` symbols, lag - 1 blanks, the mark that asks for the answer, and `copied` blanks; the targets are blanks, and at the last
    `copied` places the symbols. Id 0 is the blank, 1 … `symbols` are the symbols, the last id is the mark.

    Args:
      batch_size: B.
      lag: steps between a symbol and the moment at which it must be said, less `copied`.
      symbols: how many different ones there are.
      copied: how many have to be kept in mind.
    """

    def __init__(self, batch_size, lag, seed=0, *, symbols=8, copied=10):
        super().__init__(batch_size, seed, lag=(lag, 1), symbols=(symbols, 2), copied=(copied, 1))
        self.lag, self.symbols, self.copied = lag, symbols, copied
        self.vocab_size, self.length = symbols + 2, lag + 2 * copied

    @property
    def baseline(self):
        """Nats a token of the best model without memory, which knows when to speak but not what: copied · ln(symbols) / length."""
        return self.copied * float(np.log(self.symbols)) / self.length

    def _batch(self, epoch, i):
        said = 1 + (random_bits(self.batch_size * self.copied, self.seed, epoch) % np.uint64(self.symbols)).astype(np.int32)
        tokens = np.zeros((self.batch_size, self.length), np.int32)
        targets = tokens.copy()
        tokens[:, : self.copied] = targets[:, -self.copied :] = said.reshape(self.batch_size, self.copied)
        tokens[:, -self.copied - 1] = self.symbols + 1
        return {"tokens": tokens, "targets": targets}


class AddingTask(_Drawn):
    """Read pairs of a number and a mark, and say at the end the sum of the two numbers that were marked.

    `batches[step]` is {"inputs", "targets"}: (B, L, 2) float32, numbers uniform in [0, 1) and marks 0 or 1, and (B,) float32. One of the
    two marked numbers stands in the first half of the row, the other in the second.

    Args:
      batch_size: B.
      length: L.
    """

    baseline = 1 / 6  # squared error of the best answer without memory, which is always 1: the variance of the sum of two numbers

    def __init__(self, batch_size, length, seed=0):
        super().__init__(batch_size, seed, length=(length, 2))
        self.length = length

    def _batch(self, epoch, i):
        rows, half = self.batch_size, self.length // 2
        bits = random_bits(rows * (self.length + 2), self.seed, epoch).reshape(rows, -1)
        numbers_BL = ((bits[:, 2:] >> np.uint64(40)) * 2.0**-24).astype(np.float32)
        marked_B2 = np.stack([bits[:, 0] % np.uint64(half), half + bits[:, 1] % np.uint64(self.length - half)], axis=1).astype(np.int64)
        marks_BL = np.zeros_like(numbers_BL)
        np.put_along_axis(marks_BL, marked_B2, 1, axis=1)
        targets_B = np.take_along_axis(numbers_BL, marked_B2, axis=1).sum(axis=1)
        return {"inputs": np.stack([numbers_BL, marks_BL], axis=-1), "targets": targets_B}

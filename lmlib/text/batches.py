"""Batches: `batches[step]` is a dict of numpy arrays and a pure function of the token store, the seed and the step.

So a run that was stopped goes on from the number of its step alone, and every process of a run can make its own part. `len(batches)` is
the number of steps in an epoch; a larger step belongs to a later epoch, with another shuffle; `for batch in batches` runs through the
first epoch. Random numbers are the raw output of Philox (Salmon et al. 2011), a generator whose stream can be entered anywhere: its key is
(seed, epoch), its counter the step. numpy promises that this raw output stays the same from version to version; it does not for
`shuffle` or `integers`.

Shapes: B batch, L time, N tokens in a span, W window.
"""

import operator
from functools import lru_cache

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, check_shape
from lmlib.text.store import TokenStore, write_tokens

__all__ = [
    "BPTTStreams",
    "CBOWBlocks",
    "CorpusChunks",
    "LanguageModelWindows",
    "PaddedBatches",
    "SkipGramPairs",
    "TokenStore",
    "context_windows",
    "keep_probability",
    "pad",
    "write_tokens",
]


def random_bits(n, seed, epoch, step=0):
    """n random 64-bit integers, a function of (seed, epoch, step) alone: (n,) uint64."""
    return np.random.Philox(key=[seed, epoch], counter=[0, step, 0, 0]).random_raw(n)


@lru_cache(maxsize=4)
def permutation(n, seed, epoch):
    """A random order of 0 … n - 1, a function of (n, seed, epoch) alone: (n,) int64, read-only."""
    order = np.argsort(random_bits(n, seed, epoch, step=2**63), kind="stable")  # a counter that no step reaches
    order.flags.writeable = False
    return order


def pad(sequences, length, value=0):
    """Sequences of ids side by side: tokens (B, length) int32, filled up with `value`, and lengths (B,) int32."""
    lengths = np.array([len(s) for s in sequences], np.int32)
    if lengths.size and lengths.max() > length:
        raise ShapeError(f"sequence {int(lengths.argmax())} has {lengths.max()} tokens, but there is room for {length}")
    tokens = np.full((len(sequences), length), value, np.int32)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens, lengths


def _check_positive(**arguments):
    for name, value in arguments.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a positive integer, got {value!r}")


class Batches:
    """What all batches share. A kind of batches sets `steps`, the length of an epoch, and says how to make step `i` of an epoch."""

    def __init__(self, steps, seed=0):
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
            raise ConfigError(f"seed must be an integer from 0 to 2**64 - 1, got {seed!r}")
        self.steps, self.seed = steps, int(seed)

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        step = operator.index(step)
        if step < 0:
            raise ConfigError(f"steps are counted from 0, got {step}")
        return self._batch(*divmod(step, self.steps))

    def __iter__(self):
        return (self[step] for step in range(len(self)))


class LanguageModelWindows(Batches):
    """Windows of the running text in random order, for models that begin every window afresh.

    `batches[step]` is {"tokens", "targets"}, both (B, L) int32; targets are the tokens one place on. An epoch cuts the text, documents
    one after the other, into windows that do not overlap; the place of the first window is drawn anew for each epoch, so that
    no token is always left out; the windows that do not fill a batch are left for another epoch.
    """

    def __init__(self, store, batch_size, length, seed=0):
        _check_positive(batch_size=batch_size, length=length)
        self.store, self.batch_size, self.length = store, batch_size, length
        self.windows, self.spare = divmod(len(store.ids) - 1, length)
        if self.windows < batch_size:
            raise EmptyCorpusError(
                f"{len(store.ids)} tokens make {self.windows} windows of {length}, fewer than one batch of {batch_size}: "
                "use more text, shorter windows or smaller batches"
            )
        super().__init__(self.windows // batch_size, seed)

    def _batch(self, epoch, i):
        first = int(random_bits(1, self.seed, epoch)[0] % np.uint64(self.spare + 1))
        rows = permutation(self.windows, self.seed, epoch)[i * self.batch_size : (i + 1) * self.batch_size]
        text = self.store.ids[first + rows[:, None] * self.length + np.arange(self.length + 1)].astype(np.int32)
        return {"tokens": text[:, :-1], "targets": text[:, 1:]}


class BPTTStreams(Batches):
    """Consecutive pieces of B parallel streams, for truncated back-propagation through time: row b of a step goes on where row b of the
    step before ended, so that a recurrent state can be carried over.

    `batches[step]` is {"tokens", "targets", "reset"}: (B, L) int32 twice, and (B,) bool, true where a row does not continue the step
    before, i.e. at the first step of an epoch. The text is cut into B streams of equal length; of each, the end that does not fill a
    step is left out (fewer than L tokens a stream). Nothing is random.
    """

    def __init__(self, store, batch_size, length):
        _check_positive(batch_size=batch_size, length=length)
        self.store, self.batch_size, self.length = store, batch_size, length
        self.stream = (len(store.ids) - 1) // batch_size  # tokens a stream; the target of its last one is the token after it
        if self.stream < length:
            raise EmptyCorpusError(
                f"{len(store.ids)} tokens make {batch_size} streams of {self.stream}, shorter than one step of {length}: "
                "use more text, shorter steps or fewer streams"
            )
        super().__init__(self.stream // length)

    def _batch(self, epoch, i):
        starts = np.arange(self.batch_size)[:, None] * self.stream + i * self.length
        text = self.store.ids[starts + np.arange(self.length + 1)].astype(np.int32)
        return {"tokens": text[:, :-1], "targets": text[:, 1:], "reset": np.full(self.batch_size, i == 0)}


class CorpusChunks(Batches):
    """The corpus in order, `size` tokens at a time, for trainers that draw windows and negatives on the device.

    `batches[step]` is {"ids", "document", "count"}: (size,) int32 twice and () int32. Only the last chunk of an epoch is not full: from
    `count` on, ids are 0 and documents -1.
    """

    def __init__(self, store, size):
        _check_positive(size=size)
        self.store, self.size = store, size
        super().__init__(-(-len(store.ids) // size))

    def _batch(self, epoch, i):
        ids, document = _span(self.store, i * self.size, self.size)
        missing = self.size - len(ids)
        return {
            "ids": np.pad(ids, (0, missing)),
            "document": np.pad(document, (0, missing), constant_values=-1),
            "count": np.array(len(ids), np.int32),
        }


def _span(store, start, size):
    """Up to `size` tokens from `start` on, and the number of the document that each belongs to: two (N,) int32."""
    stop = min(start + size, len(store.ids))
    first = np.searchsorted(store.offsets, start, side="right") - 1
    last = np.searchsorted(store.offsets, stop, side="left")
    lengths = np.diff(np.clip(store.offsets[first : last + 1], start, stop))
    return store.ids[start:stop].astype(np.int32), np.repeat(np.arange(first, last, dtype=np.int32), lengths)


def keep_probability(counts, sample, form="word2vec.c"):
    """With which probability an occurrence of each word is kept when frequent words are subsampled.

    With f = count / total and t = `sample`: "word2vec.c", the published program: min(1, sqrt(t / f) + t / f); "paper", Mikolov et al.
    2013 (arXiv 1310.4546), section 2.3: min(1, sqrt(t / f)).

    Args:
      counts: (V,) occurrences of each id.
      sample: t, e.g. 1e-3; 0 keeps everything.

    Returns:
      (V,) float64; 1 for an id that never occurs.
    """
    if form not in ("word2vec.c", "paper"):
        raise ConfigError(f"form must be 'word2vec.c' or 'paper', got {form!r}")
    if not sample >= 0:
        raise ConfigError(f"sample must not be negative, got {sample!r}")
    counts = np.asarray(counts, np.float64)
    if sample == 0:
        return np.ones_like(counts)
    with np.errstate(divide="ignore"):
        ratio = sample * counts.sum() / counts  # t / f
    return np.minimum(1.0, np.sqrt(ratio) + (ratio if form == "word2vec.c" else 0.0))


def context_windows(ids, document, radii, window):
    """The words around each word: those at most its radius away and in the same document.

    Args:
      ids, document, radii: (N,) integers; 1 ≤ radius ≤ window.
      window: W, the largest radius.

    Returns:
      contexts (N, 2W) int32, from the left to the right, 0 where there is none, and mask (N, 2W) bool, true where there is one.
    """
    n, distance = len(ids), np.r_[-window:0, 1 : window + 1]
    at = np.arange(n)[:, None] + distance
    inside = (at >= 0) & (at < n)
    at = np.clip(at, 0, max(n - 1, 0))
    mask = inside & (np.abs(distance) <= np.asarray(radii)[:, None]) & (document[at] == document[:, None])
    return np.where(mask, ids[at], 0).astype(np.int32), mask


class CBOWBlocks(Batches):
    """The readable form of word2vec's windows, on the host: each word with the words around it.

    `batches[step]` is {"centres", "contexts", "mask"}: (N,) int32, (N, 2W) int32 and (N, 2W) bool. A step takes the next `span` = N
    tokens of the corpus, drops frequent words by `keep_probability` (words on both sides then move together, as in word2vec), and draws
    for each that is left a radius uniformly from 1 … W. Rows that are left over have an empty mask. Windows end where the span or the
    document ends.
    """

    def __init__(self, store, span, window, seed=0, *, sample=0.0, form="word2vec.c", counts=None):
        _check_positive(span=span, window=window)
        self.store, self.span, self.window = store, span, window
        counts = store.counts() if counts is None else check_shape(np.asarray(counts), (store.vocab_size,), "counts")
        self.keep = keep_probability(counts, sample, form)
        super().__init__(-(-len(store.ids) // span), seed)

    def _batch(self, epoch, i):
        ids, document = _span(self.store, i * self.span, self.span)
        bits = random_bits(2 * len(ids), self.seed, epoch, i).reshape(2, -1)
        kept = (bits[0] >> np.uint64(11)) * 2.0**-53 < self.keep[ids]
        radii = 1 + (bits[1] % np.uint64(self.window)).astype(np.int64)
        contexts, mask = context_windows(ids[kept], document[kept], radii[kept], self.window)
        empty = (0, self.span - len(mask))
        return {
            "centres": np.pad(ids[kept], empty),
            "contexts": np.pad(contexts, (empty, (0, 0))),
            "mask": np.pad(mask, (empty, (0, 0))),
        }


class SkipGramPairs(CBOWBlocks):
    """The same windows as pairs of one word and one of its neighbours.

    `batches[step]` is {"centres", "contexts", "mask"}, each (N · 2W,), in the order of the text; the mask is true where there is a pair.
    """

    def _batch(self, epoch, i):
        block = super()._batch(epoch, i)
        return {
            "centres": np.repeat(block["centres"], 2 * self.window),
            "contexts": block["contexts"].reshape(-1),
            "mask": block["mask"].reshape(-1),
        }


class PaddedBatches(Batches):
    """Sequences of unequal length, those of similar length together, so that there are few shapes and little padding.

    `batches[step]` is {"tokens", "lengths", "index"}: (B, L) int32, (B,) int32 and (B,) int32, L the boundary of the bucket, `index` the
    number of the sequence. Every sequence comes once an epoch, in random order; rows that fill up the last batch of a bucket have
    length 0 and index -1.

    Args:
      sequences: a TokenStore, or a list of sequences of ids; then `vocab_size` is needed.
      batch_size: B.
      boundaries: rising lengths of the buckets; a sequence goes into the first that holds it. Without: 8, 16, 32 … as far as needed.
      pad_id: what stands behind the end of a sequence.
      truncate: cut sequences that are longer than the last boundary, instead of raising; `truncated` counts them.

    Raises:
      ShapeError: a sequence is longer than the last boundary.
    """

    def __init__(self, sequences, batch_size, seed=0, boundaries=None, *, vocab_size=None, pad_id=0, truncate=False):
        _check_positive(batch_size=batch_size)
        if not isinstance(sequences, TokenStore):
            if vocab_size is None:
                raise ConfigError("PaddedBatches needs vocab_size when the sequences are not a TokenStore")
            sequences = TokenStore.from_sequences(sequences, vocab_size)
        lengths = np.diff(sequences.offsets)
        if boundaries is None:
            boundaries = [8]
            while boundaries[-1] < lengths.max():
                boundaries.append(2 * boundaries[-1])
        _check_positive(**{f"boundaries[{i}]": boundary for i, boundary in enumerate(boundaries)})
        if not len(boundaries) or (np.diff(boundaries) <= 0).any():
            raise ConfigError(f"boundaries must rise, and be at least one, got {list(boundaries)}")
        too_long = np.flatnonzero(lengths > boundaries[-1])
        if too_long.size and not truncate:
            raise ShapeError(
                f"sequence {too_long[0]} has {lengths[too_long[0]]} tokens, more than the last boundary, {boundaries[-1]} "
                f"({too_long.size} such sequences): add a boundary, or cut them with truncate=True"
            )
        self.sequences, self.batch_size, self.boundaries, self.pad_id = sequences, batch_size, tuple(boundaries), pad_id
        self.truncated = too_long.size
        self._bucket = np.searchsorted(boundaries, np.minimum(lengths, boundaries[-1]))
        filled = np.bincount(self._bucket, minlength=len(boundaries))
        self._plan_of, self._plan = None, None
        super().__init__(int((-(-filled // batch_size)).sum()), seed)

    def _batch(self, epoch, i):
        if self._plan_of != epoch:
            order = permutation(len(self.sequences), self.seed, epoch)
            by_bucket = [order[self._bucket[order] == b] for b in range(len(self.boundaries))]
            batches = [
                (b, index[at : at + self.batch_size]) for b, index in enumerate(by_bucket) for at in range(0, len(index), self.batch_size)
            ]
            mixed = np.argsort(random_bits(len(batches), self.seed, epoch), kind="stable")
            self._plan_of, self._plan = epoch, [batches[j] for j in mixed]
        bucket, index = self._plan[i]
        length = self.boundaries[bucket]
        missing = self.batch_size - len(index)
        rows = [self.sequences[j][:length] for j in index] + [()] * missing
        tokens, lengths = pad(rows, length, self.pad_id)
        return {"tokens": tokens, "lengths": lengths, "index": np.pad(index, (0, missing), constant_values=-1).astype(np.int32)}

"""Windowed co-occurrence counts of a corpus, each pair of words weighted by 1 / distance: what GloVe is trained on.

Pennington, Socher, Manning 2014, "GloVe: Global Vectors for Word Representation" (EMNLP), section 4.2: words d places apart in the same
document contribute 1/d to the count of their pair. Corpus and counts may be larger than memory. A piece of the corpus at a time is counted
into a run, the sorted distinct pairs with their sums; the runs are then merged, one range of pairs at a time. A pair is one 64-bit number
with the distance in its lowest bits, so that a sort of plain numbers brings equal pairs together.

Shapes: N tokens of a piece, E pairs of places, P distinct pairs.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import InitVar, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, check_ids, check_shape, storage_errors

THREADS = 2  # numpy sorts and adds without Python's lock; the result does not depend on it
BYTES = 120  # of memory for each pair of places in a piece that is being counted, or pair of a range that is being merged
SAMPLE = 1024  # one pair in so many is looked at to find the ranges of the merge


@dataclass(frozen=True)
class Cooccurrences:
    """The non-zero cells of a matrix of counts, sorted by row and then column; of a symmetric one only those with row ≤ column.

    `len(counts)` is the number of non-zero cells of the whole matrix.

    Attributes:
      rows, columns: (P,) int32, ids of the word and of the word near it.
      counts: (P,) float32, the sum of 1/distance over all places where the two are near each other.
      vocab_size: V.
      symmetric: whether a word's context is on both sides of it, so that the cell (j, i) is equal to (i, j) and not held.
      check: look at all cells whether they are such; what `count_cooccurrences` has just mapped need not be read for it.
    """

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    vocab_size: int
    symmetric: bool
    check: InitVar[bool] = True

    def __post_init__(self, check):
        if not check:
            return
        for name in ("rows", "columns"):
            check_shape(getattr(self, name), (len(self.counts),), name)
            check_ids(getattr(self, name), self.vocab_size, name)
        if self.symmetric and any((r > c).any() for r, c in zip(_parts(self.rows), _parts(self.columns), strict=True)):
            raise ConfigError("symmetric counts are given by their cells with row ≤ column alone")
        if not all(len(part) == 0 or (np.isfinite(part).all() and part.min() > 0) for part in _parts(self.counts)):
            raise ConfigError("counts must be positive, finite numbers: cells of nothing are left out")

    def __len__(self):
        return len(self.counts) + (int((self.rows != self.columns).sum()) if self.symmetric else 0)

    def triplets(self):
        """The whole matrix, both halves of a symmetric one: rows, columns and counts, sorted by row and then column."""
        if not self.symmetric:
            return self.rows, self.columns, self.counts
        other = self.rows != self.columns
        rows = np.concatenate([self.rows, self.columns[other]])
        columns = np.concatenate([self.columns, self.rows[other]])
        order = np.argsort(rows.astype(np.int64) * self.vocab_size + columns)
        return rows[order], columns[order], np.concatenate([self.counts, self.counts[other]])[order]


def _parts(array, size=1 << 22):
    """An array a piece at a time, so that what is computed of it does not take its size in memory."""
    return (array[start : start + size] for start in range(0, len(array), size))


def count_cooccurrences(store, window=10, *, symmetric=True, memory=1 << 28, folder=None) -> Cooccurrences:
    """Count which words stand near each other, each pair weighted by 1 / distance.

    Args:
      store: a TokenStore; windows do not reach from one document into the next.
      window: the largest distance.
      symmetric: count the words on both sides of a word, or (False) only those on its left; the row is the word, the column its context.
        (The C program's asymmetric counts are the transpose of these.)
      memory: bytes to work in, about, apart from the result. The counts do not depend on it but for the last bits of a sum.
      folder: where to keep runs and result, the result memory-mapped; None keeps both in memory. Takes 16 bytes for each distinct pair of
        each piece of the corpus, and 12 for each of the result.

    Raises:
      EmptyCorpusError: no document has two words.
      ConfigError: an argument is out of range, or vocabulary and window are too large for one number of 64 bits.
      StorageError: the disk is full, or the folder cannot be written.
    """
    if window < 1:
        raise ConfigError(f"window must be at least 1, got {window}")
    if memory < 1 << 20:
        raise ConfigError(f"memory must be at least 1 MiB, got {memory} bytes")
    bits = (window - 1).bit_length()
    if store.vocab_size**2 << bits >= 2**63:
        raise ConfigError(f"a vocabulary of {store.vocab_size} words with a window of {window} does not fit into 64 bits: take fewer words")
    size = memory // (THREADS * BYTES)  # pairs of places in a piece
    tokens = max(1, size // window)
    starts = range(0, len(store.ids), tokens)
    with _scratch(folder) as scratch, ThreadPoolExecutor(THREADS) as threads:

        def count(number):
            start = starts[number]
            run = _sums(_pairs(store, start, min(start + tokens, len(store.ids)), window, symmetric, bits), bits)
            if not len(run[0]):
                return None
            return run if scratch is None else _written(scratch / f"run{number}", run)

        runs = [run for run in _ahead(threads, count, range(len(starts))) if run is not None]
        if not runs:
            raise EmptyCorpusError("no document has two words, so no word stands near another one")
        edges = _edges(runs, size)

        def merge(edge):
            return _merged(runs, *edge)

        ranges = _ahead(threads, merge, list(pairwise(edges)))
        return _result(ranges, store.vocab_size, symmetric, folder)


@contextmanager
def _scratch(folder) -> Iterator[Path | None]:
    if folder is None:
        yield None
        return
    with storage_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=folder, prefix=".counting-")
    with scratch as name:
        yield Path(name)


def _ahead(threads, function, arguments):
    """function(argument) for each argument, in order, no more of them at work or waiting than there are threads."""
    waiting = []
    for argument in arguments:
        waiting.append(threads.submit(function, argument))
        if len(waiting) >= THREADS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _pairs(store, start, stop, window, symmetric, bits):
    """All pairs whose right word is one of the tokens start … stop - 1: (E,) int64, (row · V + column) << bits | distance - 1."""
    first = np.searchsorted(store.offsets, start, side="right") - 1
    last = np.searchsorted(store.offsets, stop, side="left")
    begins = store.offsets[first:last]
    place_N = np.arange(start, stop) - np.repeat(begins, np.diff(np.clip(store.offsets[first : last + 1], start, stop)))
    margin = min(window, start)
    ids = store.ids[start - margin : stop].astype(np.int64)
    right = ids[margin:]
    pairs = []
    for distance in range(1, min(window, len(ids) - 1) + 1):
        skip = max(0, distance - margin)  # tokens whose neighbour would lie before the corpus
        inside = np.flatnonzero(place_N[skip:] >= distance) + skip
        here, there = right[inside], ids[inside + (margin - distance)]
        row, column = (np.minimum(here, there), np.maximum(here, there)) if symmetric else (here, there)
        row *= store.vocab_size
        row += column
        row <<= bits
        row |= distance - 1
        pairs.append(row)
    return np.concatenate(pairs) if pairs else np.zeros(0, np.int64)


def _sums(pairs, bits):
    """Distinct pairs, sorted, and the sum of 1/distance of each: (P,) int64 and (P,) float64. Sorts its argument in place."""
    pairs.sort()
    weight = 1 / np.arange(1, (1 << bits) + 1)
    weights = weight[pairs & ((1 << bits) - 1)]
    pairs >>= bits
    return _added(pairs, weights)


def _added(keys, weights):
    """The sum of the weights of each run of equal keys."""
    if not len(keys):
        return keys, weights
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(weights, first)


def _written(path, run):
    """Write a run; returns its path, which `_opened` takes."""
    with storage_errors(path), open(path, "wb") as file:
        for array in run:
            array.tofile(file)
    return path


def _opened(run):
    """Keys and sums of a run. One on disk is mapped anew each time, so that what was read of it does not stay in memory."""
    if not isinstance(run, Path):
        return run
    size = run.stat().st_size // 16
    return np.memmap(run, np.int64, "r", shape=size), np.memmap(run, np.float64, "r", offset=8 * size, shape=size)


def _edges(runs, size):
    """Numbers that cut the pairs of all runs into ranges of about `size` entries."""
    keys = [_opened(run)[0] for run in runs]
    sample = np.sort(np.concatenate([k[::SAMPLE] for k in keys]))
    inner = sample[max(1, size // SAMPLE) :: max(1, size // SAMPLE)]
    return [0, *np.unique(inner).tolist(), max(int(k[-1]) for k in keys) + 1]


def _merged(runs, low, high):
    """The pairs low … high - 1 of all runs: distinct, sorted, with their sums."""
    parts = []
    for keys, sums in map(_opened, runs):
        part = slice(*np.searchsorted(keys, [low, high]))
        parts.append((np.array(keys[part]), np.array(sums[part])))
    keys, sums = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")  # stable: equal pairs are added in the order of the corpus
    return _added(keys[order], sums[order])


def _result(ranges, vocab_size, symmetric, folder):
    """Put the merged ranges one after the other, in memory or into the files of the folder."""
    columns = {"rows": np.int32, "columns": np.int32, "counts": np.float32}
    parts = {name: [] for name in columns}
    place = nullcontext() if folder is None else storage_errors(folder)
    with place:
        files = {} if folder is None else {name: open(Path(folder) / f".{name}.part", "wb") for name in columns}  # noqa: SIM115
        try:
            for keys, sums in ranges:
                row, column = np.divmod(keys, vocab_size)
                if symmetric:
                    sums[row == column] *= 2  # a word near itself stands on its left and on its right
                for name, array in zip(columns, (row, column, sums), strict=True):
                    array = array.astype(columns[name])
                    array.tofile(files[name]) if files else parts[name].append(array)
        finally:
            for file in files.values():
                file.close()
        if folder is None:
            arrays = {name: np.concatenate(parts[name]) for name in columns}
        else:
            for name in columns:
                os.replace(Path(folder) / f".{name}.part", Path(folder) / f"{name}.bin")
            arrays = {name: np.memmap(Path(folder) / f"{name}.bin", dtype, "r") for name, dtype in columns.items()}
    return Cooccurrences(**arrays, vocab_size=vocab_size, symmetric=symmetric, check=False)

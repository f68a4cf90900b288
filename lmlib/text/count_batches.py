"""The cells of a co-occurrence matrix in batches: tiles where they lie close together, groups of one word where they do not.

Frequent words stand next to nearly all other words, rare words next to few, so the matrix of counts, its words in order of frequency, is
nearly full at one end and nearly empty everywhere else. A cell that is trained on by itself costs two rows read and two rows written; in
a tile of P x P cells the same 2P rows serve all of them, and in a group the row of one word serves its k cells. The cell (i, j) always
comes together with (j, i), since both need the rows of the same two words.

Shapes: P words of a block, T tiles of a batch, S steps over groups, N groups a step, K cells of a group.
"""

import numpy as np

from lmlib.text.batches import Batches, permutation
from lmlib.text.cooccurrence import Cooccurrences
from lmlib.text.tokenizer_base import check_count

PARTS = 8  # batches of an epoch, at least, so that tiles and groups take turns


class CellBatches(Batches):
    """All cells of a matrix of counts once an epoch, tiles and groups in random order, drawn anew for each epoch.

    `batches[step]` is a dict of arrays that always have the same shapes:
      "blocks" (T, 2) int32, "tiles" (T, P, P) float32: counts of the words of the first block (rows) with those of the second as contexts;
        0 where there is no cell.
      "heads" (S, N) int32, "tails" (S, N, K) int32, "counts" (S, N, K) float32: the count of each head with its tails as contexts; where
        there is no cell the count is 0 and the id `rows`, which is none.
      "tiles_back", "counts_back", of the same shapes: the counts of the same pairs the other way round, so transposed tiles. Where the
        counts are symmetric these are left out; then they are the same, but for the cell of a word with itself, which must not come twice.
      "cells" () int32: how many cells there are.

    Args:
      counts: of `count_cooccurrences`. Any order of the ids will do, but by falling frequency trains fastest.
      tile: P.
      density: a tile with less than this share of its cells is taken apart into groups.
      group: K.
      groups: N.
      size: cells of a batch, about.
      seed: of the order.
    """

    def __init__(self, counts: Cooccurrences, *, tile=64, density=0.05, group=16, groups=8, size=1 << 22, seed=0):
        for name, value in (("tile", tile), ("group", group), ("groups", groups), ("size", size)):
            check_count(name, value, 1)
        self.tile, self.group, self.groups, self.cells = tile, group, groups, len(counts)
        self.symmetric = counts.symmetric
        self.rows = -(-counts.vocab_size // tile) * tile  # V, rounded up to whole blocks
        low, high, forth, back = _unordered(counts)
        values = (forth,) if back is None else (forth, back)
        in_tile = self._make_tiles(low, high, values, density)
        self._make_groups(low[~in_tile], high[~in_tile], [value[~in_tile] for value in values])
        parts = max(PARTS, round(self.cells / size))
        self.tiles_a_batch = -(-len(self.blocks) // parts)
        self.steps_a_batch = -(-len(self.heads) // (groups * parts))
        super().__init__(parts, seed)

    def _make_tiles(self, low, high, values, density):
        """Fill the dense tiles; returns which pairs lie in them."""
        P = self.tile
        wide = self.rows // P
        number = (low // P).astype(np.int64) * wide + high // P
        share = np.bincount(number, minlength=wide * wide) / P**2
        share[:: wide + 1] *= 2  # a tile on the diagonal has both a pair's cells, as its one half
        dense = np.flatnonzero(share >= density)
        place = np.full(wide * wide, -1, np.int32)
        place[dense] = np.arange(len(dense))
        place = place[number]
        inside = place >= 0
        self.blocks = np.stack(np.divmod(dense, wide), axis=1).astype(np.int32)
        place, i, j = place[inside], low[inside] % P, high[inside] % P
        self.tiles = []
        diagonal = (self.blocks[:, 0] == self.blocks[:, 1])[place]
        for value in values:
            tiles = np.zeros((len(dense), P, P), np.float32)
            tiles[place, i, j] = value[inside]
            self.tiles.append(tiles)
        # On the diagonal the first tile holds both directions and the second one nothing, for they are trained with the same rows
        back = values[-1][inside][diagonal]
        self.tiles[0][place[diagonal], j[diagonal], i[diagonal]] = back
        if len(self.tiles) > 1:
            own = (low == high)[inside][diagonal]
            self.tiles[0][place[diagonal][own], i[diagonal][own], j[diagonal][own]] = values[0][inside][diagonal][own]
            self.tiles[1][self.blocks[:, 0] == self.blocks[:, 1]] = 0
        return inside

    def _make_groups(self, low, high, values):
        """Deal out the other pairs, sorted by their more frequent word, evenly among as many groups of that word as it needs."""
        K = self.group
        first = np.flatnonzero(np.concatenate([[True], low[1:] != low[:-1]])) if len(low) else np.zeros(0, np.int64)
        size = np.diff(np.append(first, len(low)))
        groups = -(-size // K)
        start = np.cumsum(groups) - groups
        of_word, within = np.repeat(groups, size), np.arange(len(low)) - np.repeat(first, size)
        group, place = np.repeat(start, size) + within % of_word, within // of_word
        self.heads = np.repeat(low[first], groups).astype(np.int32)
        self.tails = np.full((len(self.heads), K), self.rows, np.int32)
        self.tails[group, place] = high
        self.counts = [np.zeros((len(self.heads), K), np.float32) for _ in values]
        for counts, value in zip(self.counts, values, strict=True):
            counts[group, place] = value

    def _batch(self, epoch, part):
        names = ("", "_back") if not self.symmetric else ("",)
        at = self._chosen(len(self.blocks), self.tiles_a_batch, epoch, part)
        batch = {"blocks": _taken(self.blocks, at, 0)}
        batch |= {f"tiles{name}": _taken(tiles, at, 0) for name, tiles in zip(names, self.tiles, strict=True)}
        at = self._chosen(len(self.heads), self.steps_a_batch * self.groups, epoch, part)
        shape = (self.steps_a_batch, self.groups)
        batch["heads"] = _taken(self.heads, at, self.rows).reshape(shape)
        batch["tails"] = _taken(self.tails, at, self.rows).reshape(*shape, self.group)
        for name, counts in zip(names, self.counts, strict=True):
            batch[f"counts{name}"] = _taken(counts, at, 0).reshape(*shape, self.group)
        return batch | {"cells": np.array(_cells(batch), np.int32)}

    def _chosen(self, n, size, epoch, part):
        """Which of n things the batch has, evenly many of each batch, and -1 up to `size`."""
        if n == 0:
            return np.full(size, -1)
        chosen = permutation(n, self.seed, epoch)[part :: self.steps]
        return np.pad(chosen, (0, size - len(chosen)), constant_values=-1)


def _unordered(counts):
    """Pairs of words i ≤ j, sorted, with the counts of (i, j) and of (j, i); None for the latter where they are the same."""
    if counts.symmetric:
        return counts.rows, counts.columns, counts.counts, None
    turned = counts.rows > counts.columns
    low, high = np.where(turned, counts.columns, counts.rows), np.where(turned, counts.rows, counts.columns)
    keys, pair = np.unique(low.astype(np.int64) * counts.vocab_size + high, return_inverse=True)
    forth, back = np.zeros((2, len(keys)), np.float32)
    forth[pair[~turned]], back[pair[turned]] = counts.counts[~turned], counts.counts[turned]
    low, high = np.divmod(keys, counts.vocab_size)
    return low.astype(np.int32), high.astype(np.int32), forth, back


def _taken(array, at, missing):
    """array[at], with `missing` where `at` is -1; those stand at the end."""
    filled = int((at >= 0).sum())
    out = np.empty((len(at), *array.shape[1:]), array.dtype)
    np.take(array, at[:filled], axis=0, out=out[:filled])
    out[filled:] = missing
    return out


def _cells(batch):
    """Number of cells of a batch."""
    if "tiles_back" in batch:
        return sum(np.count_nonzero(batch[name]) for name in ("tiles", "tiles_back", "counts", "counts_back"))
    diagonal = batch["blocks"][:, 0] == batch["blocks"][:, 1]
    twice = 2 * np.count_nonzero(batch["tiles"]) - np.count_nonzero(batch["tiles"][diagonal])
    own = (batch["counts"] > 0) & (batch["tails"] == batch["heads"][:, :, None])
    return twice + 2 * np.count_nonzero(batch["counts"]) - np.count_nonzero(own)

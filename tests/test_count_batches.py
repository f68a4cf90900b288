"""Batches of cells: every cell exactly once an epoch, in its place, as a pure function of the step."""

from collections import Counter

import numpy as np
import pytest

from lmlib.errors import ConfigError
from lmlib.text.cooccurrence import Cooccurrences, count_cooccurrences
from lmlib.text.count_batches import CellBatches
from lmlib.text.store import TokenStore


def counts_of(symmetric, vocab_size=45, seed=0):
    """Counts of words of which the first are frequent, so that there are dense and sparse tiles, and cells of words with themselves."""
    bits = np.random.default_rng(seed)
    ids = np.minimum(bits.geometric(0.12, 700) - 1, vocab_size - 1)
    return count_cooccurrences(TokenStore.from_sequences([ids[:400], ids[400:]], vocab_size), 3, symmetric=symmetric)


def cells_of(batch, tile):
    """The cells that a batch says it has: a list of (i, j, count)."""
    symmetric = "tiles_back" not in batch
    found = []
    for n, (a, b) in enumerate(batch["blocks"]):
        back = batch["tiles"][n] * (a != b) if symmetric else batch["tiles_back"][n]
        for p, q in np.argwhere(batch["tiles"][n] > 0):
            found.append((a * tile + p, b * tile + q, batch["tiles"][n, p, q]))
        for p, q in np.argwhere(back > 0):
            found.append((b * tile + q, a * tile + p, back[p, q]))
    for s, n in np.ndindex(batch["heads"].shape):
        head = batch["heads"][s, n]
        for k, tail in enumerate(batch["tails"][s, n]):
            back = batch["counts"][s, n, k] * (head != tail) if symmetric else batch["counts_back"][s, n, k]
            found += [cell for cell in ((head, tail, batch["counts"][s, n, k]), (tail, head, back)) if cell[2] > 0]
    return [(int(i), int(j), float(x)) for i, j, x in found]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("density", [0.0, 0.3, 0.6, 3.0])
@pytest.mark.parametrize("size", [100, 10_000])
def test_every_cell_comes_once_an_epoch(symmetric, density, size):
    counts = counts_of(symmetric)
    batches = CellBatches(counts, tile=8, density=density, group=4, groups=3, size=size, seed=5)
    want = Counter((int(i), int(j), float(x)) for i, j, x in zip(*counts.triplets(), strict=True))
    for epoch in (0, 1):
        parts = [batches[epoch * len(batches) + i] for i in range(len(batches))]
        found = [cells_of(batch, 8) for batch in parts]
        assert [int(batch["cells"]) for batch in parts] == [len(cells) for cells in found]
        assert Counter(cell for cells in found for cell in cells) == want
        assert len({tuple((name, a.shape, a.dtype) for name, a in batch.items()) for batch in parts}) == 1
    assert sum(batch["cells"] for batch in parts) == len(counts)
    dense, sparse = (batches.blocks.size > 0, batches.heads.size > 0)
    assert (dense, sparse) == {0.0: (True, False), 0.3: (True, True), 0.6: (True, True), 3.0: (False, True)}[density]


def test_a_batch_is_a_pure_function_of_the_step_and_epochs_differ():
    counts = counts_of(True)
    arguments = {"tile": 8, "density": 0.3, "group": 4, "groups": 3, "size": 100}
    one, two = (CellBatches(counts, seed=3, **arguments) for _ in range(2))
    assert len(one) > 2
    for step in (len(one) + 1, 0, 2):
        for name, array in one[step].items():
            np.testing.assert_array_equal(array, two[step][name])
    other = CellBatches(counts, seed=4, **arguments)

    def order(batches, epoch):
        return np.concatenate([batches[epoch * len(batches) + i]["blocks"] for i in range(len(batches))]).tolist()

    assert len({str(order(one, 0)), str(order(one, 1)), str(order(other, 0))}) == 3


def test_groups_of_a_word_are_filled_evenly():
    columns = np.arange(1, 10)
    counts = Cooccurrences(np.zeros(9, np.int32), columns.astype(np.int32), np.ones(9, np.float32), 10, symmetric=True)
    batches = CellBatches(counts, tile=2, density=1.0, group=4, groups=1)
    assert sorted((batches.counts[0] > 0).sum(axis=1)) == [3, 3, 3]


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match="tile must be an integer of at least 1, got 0"):
        CellBatches(counts_of(True), tile=0)

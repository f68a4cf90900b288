"""Co-occurrence counts against a naive count and against the GloVe program's."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lmlib.errors import ConfigError, EmptyCorpusError, StorageError
from lmlib.text import cooccurrence
from lmlib.text.cooccurrence import Cooccurrences, count_cooccurrences
from lmlib.text.store import TokenStore

GLOVE = Path(__file__).parent / "fixtures" / "glove"


def naive(documents, window, symmetric):
    counts = Counter()
    for document in documents:
        for at, word in enumerate(document):
            for distance in range(1, min(window, at) + 1):
                counts[word, document[at - distance]] += 1 / distance
                if symmetric:
                    counts[document[at - distance], word] += 1 / distance
    return counts


def random_documents(seed=0, vocab_size=30):
    bits = np.random.default_rng(seed)
    lengths = [0, 1, 2, 300, 0, 7, 5000, 1, 40, 0]
    return [bits.integers(0, vocab_size, n).tolist() for n in lengths]


def as_dict(counts):
    return {(int(i), int(j)): float(x) for i, j, x in zip(*counts.triplets(), strict=True)}


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of some hundred tokens, so that documents and windows are cut and runs are many."""

    def set_size(bytes_a_pair):
        monkeypatch.setattr(cooccurrence, "BYTES", bytes_a_pair)
        monkeypatch.setattr(cooccurrence, "SAMPLE", 4)

    return set_size


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("window", [1, 3, 10, 17])
@pytest.mark.parametrize("bytes_a_pair", [120, 600, 4000])
def test_counts_are_the_naive_count_however_the_corpus_is_cut(small_pieces, window, symmetric, bytes_a_pair):
    small_pieces(bytes_a_pair)
    documents = random_documents()
    counts = count_cooccurrences(TokenStore.from_sequences(documents, 30), window, symmetric=symmetric, memory=1 << 20)
    want = naive(documents, window, symmetric)
    assert as_dict(counts) == pytest.approx(want, rel=1e-6)
    assert len(counts) == len(want)
    keys = counts.rows.astype(int) * 30 + counts.columns
    assert (np.diff(keys) > 0).all()


def test_on_disk_the_counts_are_the_same_and_nothing_else_is_left(small_pieces, tmp_path):
    small_pieces(5000)
    store = TokenStore.from_sequences(random_documents(1), 30)
    memory = count_cooccurrences(store, 5, memory=1 << 20)
    disk = count_cooccurrences(store, 5, memory=1 << 20, folder=tmp_path / "new" / "folder")
    for name in ("rows", "columns", "counts"):
        assert isinstance(getattr(disk, name), np.memmap)
        np.testing.assert_array_equal(getattr(disk, name), getattr(memory, name))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["columns.bin", "counts.bin", "rows.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module there")
def test_the_memory_is_kept_to():
    """Of a corpus whose pairs of places take 160 MB, in a process of its own: nothing that is mapped stays in memory."""
    code = """
import resource, sys, tempfile
import numpy as np
from lmlib.text.cooccurrence import count_cooccurrences
from lmlib.text.store import TokenStore
ids = np.minimum(np.random.default_rng(0).zipf(1.2, 2_000_000) - 1, 29_999).astype(np.uint16)
store = TokenStore(ids, np.array([0, len(ids)]), 30_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with tempfile.TemporaryDirectory() as folder:
    counts = count_cooccurrences(store, 10, memory=1 << 24, folder=folder)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(counts.counts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    more, pairs = map(int, done.stdout.split())
    assert pairs > 500_000
    assert more * (1 if sys.platform == "darwin" else 1024) < 1 << 26


def test_the_number_of_threads_does_not_matter(small_pieces, monkeypatch):
    store = TokenStore.from_sequences(random_documents(2), 30)
    small_pieces(2000)
    two = count_cooccurrences(store, 5, memory=1 << 20)
    monkeypatch.setattr(cooccurrence, "THREADS", 1)
    small_pieces(4000)
    one = count_cooccurrences(store, 5, memory=1 << 20)
    np.testing.assert_array_equal(one.counts, two.counts)


def test_counts_equal_the_glove_programs():
    words = [line.split()[0] for line in (GLOVE / "vocab.txt").read_text().split("\n") if line]
    ids = {word: i for i, word in enumerate(words)}
    text = (GLOVE / "t.txt").read_text().split()
    counts = count_cooccurrences(TokenStore.from_sequences([[ids[word] for word in text if word in ids]], len(words)), 5)
    with np.load(GLOVE / "reference.npz") as reference:
        rows, columns, values = counts.triplets()
        np.testing.assert_array_equal(rows + 1, reference["cooc_i"])
        np.testing.assert_array_equal(columns + 1, reference["cooc_j"])
        want = reference["cooc_x"].copy()
        want[0] /= 2  # its merge reads the first cell twice when no pair has overflowed its dense table, as here
        np.testing.assert_allclose(values, want, rtol=1e-6)
        assert values[0] == pytest.approx(naive([[ids[word] for word in text if word in ids]], 5, True)[0, 0])
    assert len(counts) == len(values)


def test_faults_are_named(tmp_path):
    store = TokenStore.from_sequences([[0, 1]], 3)
    with pytest.raises(ConfigError, match="window must be at least 1, got 0"):
        count_cooccurrences(store, 0)
    with pytest.raises(ConfigError, match="at least 1 MiB"):
        count_cooccurrences(store, 5, memory=1000)
    with pytest.raises(ConfigError, match="does not fit into 64 bits"):
        count_cooccurrences(TokenStore(np.zeros(4, np.int64), np.array([0, 4]), 2**31), 10)
    with pytest.raises(EmptyCorpusError, match="no document has two words"):
        count_cooccurrences(TokenStore.from_sequences([[0], [1], [2]], 3), 5)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        count_cooccurrences(store, 5, folder=tmp_path / "file")
    one = np.ones(1, np.int32)
    with pytest.raises(ConfigError, match="row ≤ column alone"):
        Cooccurrences(one, 0 * one, np.ones(1, np.float32), 3, symmetric=True)
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="positive, finite"):
            Cooccurrences(one, one, np.full(1, bad, np.float32), 3, symmetric=False)

"""Huffman trees against gensim's, and against what makes a code a good one."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmlib.errors import ConfigError, EmptyCorpusError
from lmlib.models.huffman import huffman_tree

FIXTURE = np.load(Path(__file__).parent / "fixtures" / "huffman.npz")


def paths(tree):
    """The codes of a tree as strings, one a word."""
    return ["".join(map(str, code[:length])) for code, length in zip(tree["codes"], tree["lengths"], strict=True)]


@pytest.mark.parametrize("name", ["two", "equal", "powers", "zipf", "ties"])
def test_codes_and_paths_equal_gensim(name):
    """fixtures/huffman.npz: Word2Vec(hs=1).wv.get_vecattr(word, 'code' and 'point'), made by fixtures/make_huffman.py."""
    tree = huffman_tree(FIXTURE[f"{name}_counts"])
    assert_array_equal(tree["lengths"], FIXTURE[f"{name}_lengths"])
    real = np.arange(tree["nodes"].shape[1])[None, :] < tree["lengths"][:, None]
    assert_array_equal(tree["codes"][real], FIXTURE[f"{name}_codes"])
    assert_array_equal(tree["nodes"][real], FIXTURE[f"{name}_points"])
    assert (tree["nodes"][~real] == -1).all()
    assert not tree["codes"][~real].any()
    assert {part: array.dtype for part, array in tree.items()} == {"lengths": np.int32, "nodes": np.int32, "codes": np.int8}


@pytest.mark.parametrize("seed", range(5))
def test_a_code_is_prefix_free_complete_and_shortest(seed):
    """Kraft's sum is exactly 1, no code begins another, and the mean length is within one bit of the entropy, for any counts."""
    rng = np.random.default_rng(seed)
    counts = rng.zipf(1.2 + seed / 5, 400) % 10_000 + 1
    tree = huffman_tree(counts)
    assert (0.5 ** tree["lengths"].astype(float)).sum() == 1.0
    codes = sorted(paths(tree))
    assert not any(later.startswith(earlier) for earlier, later in pairwise(codes))
    p = counts / counts.sum()
    entropy, mean = -(p * np.log2(p)).sum(), p @ tree["lengths"]
    assert entropy <= mean < entropy + 1
    rarer = counts[:, None] > counts[None, :]
    assert (tree["lengths"][:, None] <= tree["lengths"][None, :])[rarer].all()


def test_counts_that_are_powers_of_two_are_coded_without_loss():
    counts = np.array([8, 4, 2, 1, 1])
    assert huffman_tree(counts)["lengths"].tolist() == [1, 2, 3, 4, 4]  # -log2 of 8/16, 4/16 …


def test_paths_are_those_of_one_tree():
    """Every path begins at the root, a node follows the one above it, and each inner node has exactly two children."""
    tree = huffman_tree(np.random.default_rng(1).integers(1, 50, 200))
    children = set()
    for word, (nodes, codes, length) in enumerate(zip(tree["nodes"], tree["codes"], tree["lengths"], strict=True)):
        assert nodes[0] == 198
        children |= {(nodes[i], codes[i], ("node", nodes[i + 1])) for i in range(length - 1)}
        children.add((nodes[length - 1], codes[length - 1], ("word", word)))
    assert len(children) == len({child[:2] for child in children}) == 2 * 199


def test_a_single_word_needs_no_decision():
    tree = huffman_tree([3])
    assert tree["lengths"].tolist() == [0]
    assert tree["nodes"].shape == tree["codes"].shape == (1, 0)


@pytest.mark.parametrize(
    ("counts", "error"), [([], EmptyCorpusError), ([1, -1], ConfigError), ([0.5, 2], ConfigError), ([[1, 2]], ConfigError)]
)
def test_impossible_counts_are_named(counts, error):
    with pytest.raises(error):
        huffman_tree(counts)

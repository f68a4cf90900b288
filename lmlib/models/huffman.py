"""Huffman tree of a vocabulary, for hierarchical softmax: frequent words get short paths.

Huffman 1952, "A Method for the Construction of Minimum-Redundancy Codes": join the two rarest nodes until one is left.
Morin, Bengio 2005; Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv 1310.4546), section 2.1: a word's probability is the product of
one yes-or-no decision for each inner node on the path from the root to it.

Equal counts leave the tree open. Here they are resolved as by gensim: a binary heap that compares counts alone. The C program resolves
them otherwise; its codes are as short on average.

Shapes: V vocabulary, L longest path.
"""

from heapq import heapify, heappop, heappush

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, as_array


class _Node(int):
    """A count that knows its node; compared as a plain int, so that the heap sees the count alone."""


def _node(count, number):
    node = _Node(count)
    node.number = number
    return node


def huffman_tree(counts_V):
    """The path from the root to every word.

    Args:
      counts_V: (V,) whole numbers ≥ 0, how often each word occurs.

    Returns:
      {"lengths": (V,) int32, number of decisions on each word's path; "nodes": (V, L) int32, the inner nodes on it from the root down,
      numbered 0 … V - 2 in the order in which they were joined, so that V - 2 is the root, then -1; "codes": (V, L) int8, which child
      is taken at each of them, 0 for the rarer one and 1 for the other, then 0}. A single word has no path: L is 0.

    Raises:
      EmptyCorpusError: there is no word.
      ConfigError: the counts are not whole numbers ≥ 0 in a row.
    """
    counts_V = as_array(counts_V, "counts")
    if counts_V.size == 0:
        raise EmptyCorpusError("a Huffman tree needs a vocabulary of at least one word")
    if counts_V.ndim != 1 or not np.issubdtype(counts_V.dtype, np.integer) or counts_V.min() < 0:
        raise ConfigError(f"counts must be whole numbers ≥ 0 in one row, got {counts_V.dtype} of shape {counts_V.shape}")

    size = len(counts_V)
    heap = [_node(count, number) for number, count in enumerate(counts_V.tolist())]
    heapify(heap)
    parent, code = np.zeros(2 * size - 1, np.int32), np.zeros(2 * size - 1, np.int8)  # words first, then inner nodes
    children = []
    for number in range(size, 2 * size - 1):
        rarer, other = heappop(heap), heappop(heap)
        children.append((rarer.number, other.number))
        heappush(heap, _node(rarer + other, number))
    children = np.array(children, np.int32).reshape(-1, 2)
    parent[children] = np.arange(size, 2 * size - 1)[:, None]
    code[children[:, 1]] = 1

    # All words climb at once, a level a turn, until the last has arrived at the root.
    words, node, upwards = np.arange(size), np.arange(size), []
    while len(words := words[node < 2 * size - 2]):
        node = node[node < 2 * size - 2]
        upwards.append((words, parent[node] - size, code[node]))
        node = parent[node]
    lengths_V = np.zeros(size, np.int32)
    for words, _, _ in upwards:
        lengths_V[words] += 1
    nodes_VL, codes_VL = np.full((size, len(upwards)), -1, np.int32), np.zeros((size, len(upwards)), np.int8)
    for turn, (words, nodes, codes) in enumerate(upwards):
        place = lengths_V[words] - 1 - turn
        nodes_VL[words, place], codes_VL[words, place] = nodes, codes
    return {"lengths": lengths_V, "nodes": nodes_VL, "codes": codes_VL}

"""Subwords: the character n-grams of words, hashed into a fixed number of buckets, as fastText does it.

Bojanowski, Grave, Joulin, Mikolov 2017, "Enriching Word Vectors with Subword Information" (TACL 5, arXiv 1607.04606), section 3.2: a word
is put between < and >, so that prefixes and suffixes are told from the middle ("her" in "where" is not "<her>"), and has all n-grams of 3
to 6 characters, among them, for a short word, the whole "<word>". Buckets are given by the 32-bit FNV-1a hash of an n-gram's UTF-8 bytes.
The authors' program reads these bytes as signed numbers, so that the hash of non-ASCII text is not the published FNV-1a; who wants to read
its models needs the same.

Shapes: V words, T n-grams of all words together, K distinct buckets of these, P bytes of all words together.
"""

from typing import NamedTuple

import numpy as np

from lmlib.errors import ConfigError, EncodingError
from lmlib.text.tokenizer_base import check_count

OFFSET, PRIME = np.uint32(2166136261), np.uint32(16777619)
WORDS_AT_ONCE = 1 << 16


class Subwords(NamedTuple):
    """The n-grams of each of V words: those of word w are ngrams[offsets[w]:offsets[w + 1]], numbers of `buckets`.

    Only buckets that some word uses have a number: no other can be trained. They are numbered by use, so that what is needed most lies
    together in memory.
    """

    offsets: np.ndarray  # (V + 1,) int64
    ngrams: np.ndarray  # (T,) int32, numbers from 0 … K - 1; an n-gram that a word has twice stands there twice
    buckets: np.ndarray  # (K,) int64, the bucket of each number


def ngrams(word, smallest=3, largest=6):
    """The character n-grams of <word>, from the left to the right and from short to long, as fastText orders them.

    Args:
      word: a str.
      smallest, largest: lengths in characters.
    """
    _check_lengths(smallest, largest)
    marked = f"<{word}>"
    return [
        marked[i : i + n]
        for i in range(len(marked))
        for n in range(smallest, min(largest, len(marked) - i) + 1)
        if not (n == 1 and (i == 0 or i == len(marked) - 1))  # < and > alone are no characters of the word
    ]


def ft_hash(ngram):
    """fastText's 32-bit hash of a str: FNV-1a over UTF-8 bytes, each extended from eight bits with its sign."""
    h = int(OFFSET)
    for byte in ngram.encode():
        signed = byte - 256 if byte > 127 else byte
        h = ((h ^ (signed & 0xFFFFFFFF)) * int(PRIME)) & 0xFFFFFFFF
    return h


def hashed_ngrams(words, smallest=3, largest=6, buckets=2_000_000):
    """The buckets of all n-grams of all words: ft_hash(ngram) % buckets, in the order of `ngrams`, for many words at once.

    Args:
      words: V strings.
      smallest, largest: lengths in characters.
      buckets: how many there are.

    Returns:
      (V + 1,) int64 and (T,) int64: word w has hashes[offsets[w]:offsets[w + 1]].

    Raises:
      EncodingError: a word cannot be written as UTF-8.
      ConfigError: impossible lengths or number of buckets.
    """
    _check_lengths(smallest, largest)
    check_count("buckets", buckets, 1)
    counts, hashes = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(words), WORDS_AT_ONCE):
        count, found = _hash_some(words[first : first + WORDS_AT_ONCE], first, smallest, largest)
        counts.append(count)
        hashes.append(found.astype(np.int64) % buckets)
    return np.cumsum(np.concatenate(counts)), np.concatenate(hashes)


def subwords(words, smallest=3, largest=6, buckets=2_000_000, counts=None):
    """The Subwords of a vocabulary.

    Args:
      words, smallest, largest, buckets: see `hashed_ngrams`.
      counts: (V,) how often each word occurs, for the numbering of the buckets by use; None takes each word once.
    """
    offsets, hashes = hashed_ngrams(words, smallest, largest, buckets)
    used, number = np.unique(hashes, return_inverse=True)
    weights = None if counts is None else np.repeat(np.asarray(counts, np.float64), np.diff(offsets))
    order = np.argsort(-np.bincount(number, weights, minlength=len(used)), kind="stable")
    rank = np.zeros(len(used), np.int32)
    rank[order] = np.arange(len(used), dtype=np.int32)
    return Subwords(offsets, rank[number], used[order])


def _check_lengths(smallest, largest):
    check_count("smallest", smallest, 1)
    check_count("largest", largest, 1)
    if smallest > largest:
        raise ConfigError(f"the smallest n-gram ({smallest}) is longer than the largest ({largest})")


def _hash_some(words, first, smallest, largest):
    """How many n-grams each word has, (V,), and their hashes, (T,) uint32: all words byte by byte side by side."""
    try:
        encoded = [f"<{word}>".encode() for word in words]
    except UnicodeEncodeError as error:
        at = next(i for i, word in enumerate(words) if any(0xD800 <= ord(c) < 0xE000 for c in word))
        raise EncodingError(f"words[{first + at}] = {words[at]!r} cannot be written as UTF-8: {error.reason}") from error
    lengths = np.array([len(word) for word in encoded], np.int64)
    data_P = np.frombuffer(b"".join(encoded), np.uint8)
    ends_V = np.cumsum(lengths)
    begins_P = (data_P & 0xC0) != 0x80  # a byte that begins a character
    signed_P = data_P.astype(np.int8).astype(np.int32).view(np.uint32)

    # Every character begins n-grams. All are extended byte by byte; where the next byte begins a character (or the word is at its end) an
    # n-gram of n characters is complete.
    start = np.flatnonzero(begins_P)
    word = np.searchsorted(ends_V, start, side="right")
    h, n, at = np.full(len(start), OFFSET), np.zeros(len(start), np.int64), start.copy()
    found = []
    while len(start):
        h = (h ^ signed_P[at]) * PRIME
        n += begins_P[at]
        at += 1
        ended = at == ends_V[word]
        complete = ended | begins_P[np.minimum(at, len(data_P) - 1)]
        mark = (n == 1) & ((at - start == 1) & ((start == ends_V[word] - lengths[word]) | ended))
        take = complete & (n >= smallest) & ~mark
        found.append((start[take], n[take], word[take], h[take]))
        on = ~ended & ~(complete & (n == largest))
        start, h, n, at, word = start[on], h[on], n[on], at[on], word[on]
    start, n, word, h = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((n, start))
    return np.bincount(word, minlength=len(words)), h[order]

"""Bag of words, TF-IDF, and a word vector made without learning: the baselines that show what learning adds.

A bag of words is a vector of a document: how often it holds each word of the vocabulary, in whatever order (Harris 1954). TF-IDF weights
the counts by how few documents hold the word (Salton and Buckley 1988; idf after Spärck Jones 1972), in scikit-learn's smoothed form.

Some texts describe as "word embedding" the mean of the vectors of a word's parts, repeated until it has the size that is wanted.
`averaged_and_tiled` is that, to the letter. Nothing in it is learnt: two words are near if they are spelt with the same letters, anagrams
are equal, and repeating numbers adds no dimension.

Shapes: N documents, V vocabulary, D dimensions, P characters, E dimensions of a character.
"""

import numpy as np
from scipy import sparse

from lmlib.errors import ConfigError, check_shape
from lmlib.models.vectors import WordVectors
from lmlib.text.store import TokenStore


def bag_of_words(documents, vocab_size=None):
    """How often each document holds each word.

    Args:
      documents: a TokenStore, or sequences of ids, one a document.
      vocab_size: V; a TokenStore knows it.

    Returns:
      counts_NV, a csr_array of float64. A document without words is a row of zeros.

    Raises:
      EmptyCorpusError: there is no word in any document.
      VocabularyError: an id is outside the vocabulary.
    """
    if not isinstance(documents, TokenStore):
        if vocab_size is None:
            raise ConfigError("bag_of_words needs vocab_size where the documents are sequences of ids")
        documents = TokenStore.from_sequences(documents, vocab_size)
    ids, offsets, vocab_size = documents.ids, documents.offsets, documents.vocab_size
    index = np.int32 if len(ids) < 2**31 else np.int64
    counts_NV = sparse.csr_array((np.ones(len(ids)), ids.astype(index), offsets.astype(index)), shape=(len(offsets) - 1, vocab_size))
    counts_NV.sum_duplicates()
    return counts_NV


def inverse_document_frequency(counts_NV):
    """idf(w) = ln[(1 + N) / (1 + n_w)] + 1 for the n_w of N documents that hold w, (V,): as if one more document held every word.

    A word of every document keeps weight 1; one of none, the largest.
    """
    N, V = counts_NV.shape
    holds_V = np.bincount(counts_NV.indices[counts_NV.data > 0], minlength=V)
    return np.log((1 + N) / (1 + holds_V)) + 1


def tfidf(counts_NV, idf_V):
    """Each document's counts times idf, scaled to length 1: scikit-learn's TfidfTransformer.

    Args:
      counts_NV: from `bag_of_words`.
      idf_V: from `inverse_document_frequency`, of the documents that are trained on: those tested on must not have a say.

    Returns:
      A csr_array (N, V); the product of two rows is the cosine of the documents. A row of zeros stays as it is.
    """
    check_shape(idf_V, (counts_NV.shape[1],), "idf_V")
    weighted_NV = sparse.csr_array(counts_NV.multiply(idf_V[None, :]))
    norms_N = np.sqrt(weighted_NV.multiply(weighted_NV).sum(axis=1))
    return sparse.csr_array(weighted_NV.multiply(1 / np.where(norms_N > 0, norms_N, 1)[:, None]))


def averaged_and_tiled(words, dimension, part_dimension=100, seed=0, counts=None):
    """The mean of the vectors of a word's characters, repeated to the length that is wanted: vector[i] = mean[i mod E].

    Args:
      words: the V words.
      dimension: D, the length wanted.
      part_dimension: E, the length of a character's vector; each is drawn from a standard normal distribution.
      seed: of the characters' vectors.
      counts: (V,) how often each word occurs, kept with the vectors; or None.

    Returns:
      WordVectors. Their rank is at most E, however large D, and at most the number of characters.

    Raises:
      ConfigError: a dimension is less than 1.
    """
    if min(dimension, part_dimension) < 1:
        raise ConfigError(f"dimensions must be at least 1, got {dimension} and {part_dimension}")
    characters = {character: i for i, character in enumerate(sorted(set("".join(words))))}
    parts_PE = np.random.default_rng(seed).standard_normal((len(characters), part_dimension))
    # a word without characters has no mean; WordVectors, which knows the rules for words, refuses it
    means_VE = np.stack([parts_PE[[characters[c] for c in word]].mean(axis=0) if word else np.zeros(part_dimension) for word in words])
    return WordVectors(words, means_VE[:, np.arange(dimension) % part_dimension], counts)

"""What the pairs of a text allow: how often each word stands around each other one, and the best loss that skip-gram can reach on them.

Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization": the loss of negative sampling depends on the vectors only
through the products u_o . v_c, and is least where each is log(N / M), N the times a pair is in the text and M the times it is noise.

Shapes: V vocabulary.
"""

import math

import numpy as np

from lmlib.errors import ConfigError, ShapeError, check_shape


def pair_counts(pairs, vocab_size, epochs=1):
    """How often each pair is drawn: counts[c, o] for the word c at the centre and o around it, (V, V) float64.

    Args:
      pairs: a `text.batches.SkipGramPairs`; windows and subsampling are drawn as it says.
      vocab_size: V. The result has V squared numbers, so this is for vocabularies of some thousand words.
      epochs: how many times to go through the text, each with draws of its own.
    """
    counts_VV = np.zeros((vocab_size, vocab_size))
    for step in range(epochs * len(pairs)):
        batch = pairs[step]
        np.add.at(counts_VV, (batch["centres"][batch["mask"]], batch["contexts"][batch["mask"]]), 1)
    return counts_VV


def negative_sampling_loss(counts_VV, noise_V, negatives, products_VV=None):
    """The expected loss of a pair of the text and its noise pairs, in nats: equation 4 of Mikolov et al. 2013 (arXiv 1310.4546), negated.

    Args:
      counts_VV: how often word o stands around word c, from `pair_counts`.
      noise_V: the distribution of the noise words.
      negatives: k, the noise pairs for each pair of the text.
      products_VV: u_o . v_c for each pair; without them, those for which the loss is least: no vectors, of whatever dimension, do better.

    Raises:
      ShapeError: the arrays are not of one vocabulary.
      ConfigError: there are no pairs.
    """
    counts_VV = np.asarray(counts_VV, np.float64)
    V = len(counts_VV)
    check_shape(counts_VV, (V, V), "counts_VV")
    noise_VV = negatives * counts_VV.sum(1, keepdims=True) * np.asarray(check_shape(noise_V, (V,), "noise_V"), np.float64)
    if not (total := counts_VV.sum()) > 0:
        raise ConfigError("there are no pairs: use longer documents, or more of them")
    if products_VV is None:
        seen = counts_VV > 0  # a pair that never occurs costs nothing at a product of minus infinity
        if (noise_VV[seen] == 0).any():
            raise ShapeError("a word of the text is never drawn as noise: are counts and noise of one vocabulary?")
        x = np.log(counts_VV[seen] / noise_VV[seen])
        return float((counts_VV[seen] * np.logaddexp(0, -x) + noise_VV[seen] * np.logaddexp(0, x)).sum() / total)
    x = np.asarray(check_shape(products_VV, (V, V), "products_VV"), np.float64)
    return float((counts_VV * np.logaddexp(0, -x) + noise_VV * np.logaddexp(0, x)).sum() / total)


def loss_of_knowing_nothing(negatives):
    """The loss while all products are zero, so that each of the 1 + k answers is a coin toss: (1 + k) log 2 nats."""
    return (1 + negatives) * math.log(2)

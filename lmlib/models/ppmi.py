"""Word vectors by counting: positive pointwise mutual information, and its truncated singular value decomposition.

Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization" (NIPS): skip-gram with k negative samples is least at
u_o . v_c = PMI(c, o) - log k, so the matrix of shifted positive PMI (equation 11) says outright what skip-gram approaches by descent, and
its truncated SVD (section 4.2) makes vectors of it.
Levy, Goldberg and Dagan 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings" (TACL): the smoothing of
the context distribution, which is skip-gram's unigram^0.75 in a matrix (section 3.2), and the weighting of the singular values by a power
(section 3.3).

The counts are the caller's: how often word o stands around word c, unweighted or weighted by 1 / distance, and so are the window and the
subsampling that they were made with. Left out on purpose: sums of word and context vectors, which Levy, Goldberg and Dagan found to be of
no use with SVD.

Shapes: V vocabulary, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lmlib.errors import ConfigError, EmptyCorpusError, NonFiniteError, ShapeError, check_ids, check_shape
from lmlib.models.vectors import WordVectors

_DENSE = 1500  # words; up to here LAPACK takes no longer than the iteration


@dataclass(frozen=True)
class PPMIConfig:
    """Shifted, smoothed PPMI and its SVD; the defaults are what Levy, Goldberg and Dagan 2015 recommend for SVD (section 7)."""

    dimension: int = 100  # D, length of a vector
    window: int = 5  # of the counts, which the caller makes
    smoothing: float = 0.75  # α: contexts count^α; 1 is plain PMI
    shift: float = 1.0  # k of the - log k, skip-gram's number of negatives; 1 shifts nothing
    eigenvalue_power: float = 0.5  # p of U Σ^p: 1 keeps the distances of the rows, 0 and 0.5 do better as word vectors

    def __post_init__(self):
        for name in ("dimension", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"PPMIConfig.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.smoothing <= 1:
            raise ConfigError(f"PPMIConfig.smoothing is a power, more than 0 and at most 1 (1 is plain PMI), not {self.smoothing}")
        if not self.shift > 0:
            raise ConfigError(f"PPMIConfig.shift is the k of - log k and must be positive (1 shifts nothing), not {self.shift}")
        if self.eigenvalue_power < 0:
            raise ConfigError(f"PPMIConfig.eigenvalue_power must not be negative, got {self.eigenvalue_power}")

    @classmethod
    def tiny(cls, **changes):
        """For tests and vocabularies of some ten words."""
        return cls(**{"dimension": 16} | changes)

    @classmethod
    def paper(cls, **changes):
        """500 dimensions, as in Levy, Goldberg and Dagan 2015."""
        return cls(**{"dimension": 500} | changes)


def count_matrix(counts, vocab_size):
    """Co-occurrence counts as a sparse matrix, counts[c, o] for the word c and o around it.

    Args:
      counts: a (V, V) scipy.sparse or dense matrix, or a tuple (rows, columns, values) of equally long arrays, whose repeated cells add up.
      vocab_size: V.

    Returns:
      A (V, V) csr_array of float64 without repeated cells or zeros.

    Raises:
      ShapeError, VocabularyError: the counts are not of this vocabulary.
      NonFiniteError: a count is negative or not finite.
      EmptyCorpusError: there is no count.
    """
    if isinstance(counts, tuple):
        if len(counts) != 3 or not len(counts[0]) == len(counts[1]) == len(counts[2]):
            raise ShapeError("counts must be a matrix or three arrays of equal length: rows, columns, values")
        rows, columns = (check_ids(ids, vocab_size, name) for ids, name in zip(counts, ("rows", "columns"), strict=False))
        counts = sparse.coo_array((np.asarray(counts[2], np.float64), (rows, columns)), shape=(vocab_size, vocab_size))
    check_shape(counts, (vocab_size, vocab_size), "counts")
    matrix_VV = sparse.csr_array(counts, dtype=np.float64, copy=True)
    matrix_VV.sum_duplicates()
    matrix_VV.eliminate_zeros()
    if not (np.isfinite(matrix_VV.data) & (matrix_VV.data > 0)).all():
        raise NonFiniteError("a co-occurrence count is negative or not finite")
    if matrix_VV.nnz == 0:
        raise EmptyCorpusError("there are no co-occurrences: use longer documents, or more of them")
    return matrix_VV


def shifted_ppmi(counts_VV, smoothing=0.75, shift=1.0):
    """max(0, PMI_α(c, o) - log k), with PMI_α(c, o) = log [n(c, o) Σ_o' n(o')^α / (n(c) n(o)^α)] in nats.

    Equation 11 of Levy and Goldberg 2014 with the smoothed contexts of section 3.2 of Levy, Goldberg and Dagan 2015; n(c) and n(o) are the
    sums of a row and of a column. Without smoothing (α = 1) the matrix is as symmetric as the counts.

    Args:
      counts_VV: a csr_array from `count_matrix`.
      smoothing: α, the power of the contexts' counts.
      shift: k.

    Returns:
      A (V, V) csr_array of float64; only cells above 0 are stored.
    """
    rows_V, columns_V = counts_VV.sum(axis=1), counts_VV.sum(axis=0) ** smoothing
    # A division a side, never the product of two large counts; words that never occur have no cells to be divided.
    with np.errstate(divide="ignore"):
        left_V, right_V = np.log(rows_V), np.log(columns_V / columns_V.sum())
    ppmi_VV = counts_VV.copy()
    np.log(ppmi_VV.data, out=ppmi_VV.data)
    ppmi_VV.data -= np.repeat(left_V + np.log(shift), np.diff(ppmi_VV.indptr))
    ppmi_VV.data -= right_V[ppmi_VV.indices]
    np.maximum(ppmi_VV.data, 0, out=ppmi_VV.data)
    ppmi_VV.eliminate_zeros()
    return ppmi_VV


def truncated_svd(matrix_VV, dimension):
    """The `dimension` largest singular values of a sparse matrix and their vectors: matrix ≈ U Σ Wᵀ, the best approximation of its rank.

    LAPACK for small vocabularies, else ARPACK's Lanczos iteration to the precision of float64, from a fixed start. (The spectrum of a PPMI
    matrix falls slowly: on 60,000 words of Wikipedia, a randomised SVD has its smallest of 100 values still 5 % off after four passes, and
    1 % after ten, which take as long.) A singular vector's sign is free; it is chosen such that the largest entry by size in each column
    of U is positive.

    Args:
      matrix_VV: a (V, V) sparse matrix of float64.
      dimension: D, less than V.

    Returns:
      U (V, D), the singular values (D,) in falling order, W (V, D). Where the rank is less than D, what is left over is zero.

    Raises:
      ConfigError: D is not less than V.
    """
    V = matrix_VV.shape[0]
    if not 0 < dimension < V:
        raise ConfigError(f"{dimension} dimensions were asked for, but a matrix of {V} words gives at most {V - 1}: lower `dimension`")
    if V <= _DENSE:
        u_VD, values_D, wt_DV = np.linalg.svd(matrix_VV.toarray())
    else:
        start_V = np.random.default_rng(0).standard_normal(V)
        u_VD, values_D, wt_DV = sparse.linalg.svds(matrix_VV, k=dimension, v0=start_V, solver="arpack")
    order_D = np.argsort(-values_D, kind="stable")[:dimension]
    u_VD, values_D, w_VD = u_VD[:, order_D], values_D[order_D], wt_DV[order_D].T
    signs_D = np.sign(u_VD[np.abs(u_VD).argmax(axis=0), np.arange(dimension)])
    signs_D[values_D <= V * np.finfo(np.float64).eps * values_D[0]] = 0
    return u_VD * signs_D, values_D * np.abs(signs_D), w_VD * signs_D


def ppmi_vectors(config, words, counts, word_counts=None):
    """Word vectors U Σ^p of the shifted, smoothed PPMI of co-occurrence counts (Levy, Goldberg and Dagan 2015, section 3.3).

    A word without a cell above 0 gets a vector of zeros.

    Args:
      config: a PPMIConfig.
      words: the V words.
      counts: how often each word stands around each other one, as for `count_matrix`; row and column i are those of words[i].
      word_counts: (V,) how often each word occurs, kept with the vectors; or None.

    Returns:
      WordVectors of config.dimension dimensions.

    Raises:
      ConfigError: there are no more words than dimensions, or the shift leaves nothing.
      ShapeError, VocabularyError, NonFiniteError, EmptyCorpusError: as `count_matrix`.
    """
    ppmi_VV = shifted_ppmi(count_matrix(counts, len(words)), config.smoothing, config.shift)
    if ppmi_VV.nnz == 0:
        raise ConfigError(f"no pair of words has a PMI above log {config.shift:g}: lower PPMIConfig.shift")
    u_VD, values_D, _ = truncated_svd(ppmi_VV, config.dimension)
    return WordVectors(words, u_VD * values_D**config.eigenvalue_power, word_counts)

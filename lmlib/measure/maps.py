"""Maps of word vectors: two coordinates a word, and how much of what was known they keep.

The plane of the principal components is `lmlib.record.figures.principal_plane`: linear, so that offsets stay offsets, but of a hundred
dimensions it keeps the two of the largest variance. t-SNE (van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", JMLR 9) keeps
neighbours: it minimises KL(P ‖ Q) between the similarities p_ij of the vectors, Gaussian with a bandwidth that gives each the same
perplexity, and those of the points in the plane, q_ij ∝ 1 / (1 + ‖y_i - y_j‖²). What is far apart on such a map, and how dense it is,
means nothing.

A map's trustworthiness says how far its neighbours are true ones (Venna and Kaski 2001); chance is about 1/2.

Shapes: N points, D dimensions.
"""

import numpy as np

from lmlib.errors import ConfigError, check_shape


def tsne_plane(vectors_ND, perplexity: float = 15.0, seed: int = 0):
    """Coordinates (N, 2) by t-SNE, for up to some thousand vectors.

    The points start at the first two principal components (Kobak and Berens 2019), as scikit-learn has it, so that the map hangs little on
    the seed; similarities are exact, not approximate, and two runs on a machine give the same map.

    Args:
      vectors_ND: vectors; of word vectors, take `unit`: for those, distances order words as cosines do.
      perplexity: effective number of neighbours, less than N.
      seed: of what is random in the start.

    Raises:
      ShapeError: not (N, D).
      ConfigError: perplexity is not between 1 and N.
    """
    from sklearn.manifold import TSNE

    vectors_ND = np.asarray(vectors_ND, np.float64)
    check_shape(vectors_ND, (None, None), "vectors_ND")
    if not 1 <= perplexity < len(vectors_ND):
        raise ConfigError(
            f"perplexity is an effective number of neighbours: from 1 to less than the {len(vectors_ND)} points, not {perplexity}"
        )
    return TSNE(perplexity=perplexity, init="pca", method="exact", random_state=seed).fit_transform(vectors_ND)


def trustworthiness(vectors_ND, points_N2, k: int = 10) -> float:
    """How far the k nearest neighbours on a map are neighbours in truth, 0 … 1 (Venna and Kaski 2001):

      1 - 2 / (N k (2N - 3k - 1)) Σ_i Σ_{j among the k nearest of i on the map} max(0, r(i, j) - k)

    with r(i, j) the rank of j among the neighbours of i by the vectors, 1 for the nearest.

    Raises:
      ShapeError: there are not as many points as vectors.
      ConfigError: k is not between 1 and N / 2.
    """
    from sklearn.manifold import trustworthiness

    N = len(vectors_ND)
    check_shape(points_N2, (N, None), "points_N2")
    if not 1 <= k < N / 2:
        raise ConfigError(f"k must be at least 1 and less than half of the {N} points, got {k}")
    return float(trustworthiness(np.asarray(vectors_ND, np.float64), np.asarray(points_N2, np.float64), n_neighbors=k))

"""t-SNE on vectors whose neighbours are known, trustworthiness against its equation, word by word."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError
from lmlib.measure.maps import trustworthiness, tsne_plane
from lmlib.models.vectors import WordVectors
from lmlib.record import figures


def clouds(groups=5, each=12, dimension=20, seed=0):
    """Points about the corners of a simplex: no plane holds them all apart."""
    rng = np.random.default_rng(seed)
    return np.repeat(np.eye(groups, dimension), each, axis=0) + 0.05 * rng.normal(size=(groups * each, dimension))


def nearest(points, k):
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :k]


def test_neighbours_on_the_map_are_of_the_same_cloud():
    points, cloud = tsne_plane(clouds(), perplexity=8), np.arange(60) // 12
    assert points.shape == (60, 2)
    assert (cloud[nearest(points, 5)] == cloud[:, None]).all()
    assert not (cloud[nearest(figures.principal_plane(clouds()), 5)] == cloud[:, None]).all()  # what two components cannot do
    assert_array_equal(points, tsne_plane(clouds(), perplexity=8))


def test_trustworthiness_equals_its_equation():
    rng = np.random.default_rng(0)
    vectors, points, N, k = rng.normal(size=(40, 6)), rng.normal(size=(40, 2)), 40, 7
    order = nearest(vectors, N - 1).tolist()
    penalty = sum(max(0, order[i].index(j) + 1 - k) for i, near in enumerate(nearest(points, k)) for j in near)
    assert_allclose(trustworthiness(vectors, points, k), 1 - 2 / (N * k * (2 * N - 3 * k - 1)) * penalty)


def test_trustworthiness_tells_a_true_map_from_a_shuffled_one():
    vectors = clouds()
    points = tsne_plane(vectors, perplexity=8)
    assert trustworthiness(points, points) == 1
    assert trustworthiness(vectors, points) > 0.95
    assert abs(trustworthiness(vectors, np.random.default_rng(0).permutation(points)) - 0.5) < 0.1


def test_a_word_plane_may_be_of_t_sne():
    vectors = WordVectors([f"w{i}" for i in range(60)], clouds())
    groups = {"first": vectors.words[:30], "second": vectors.words[30:]}
    plane = figures.word_plane(vectors, groups, tsne_plane)
    assert_array_equal(plane[["x", "y"]].to_numpy(), tsne_plane(vectors.unit))
    assert plane["word"].tolist() == list(vectors.words)


def test_what_cannot_be_mapped_is_refused():
    for perplexity in (0.5, 60, np.nan):
        with pytest.raises(ConfigError, match="less than the 60 points"):
            tsne_plane(clouds(), perplexity)
    with pytest.raises(ShapeError):
        tsne_plane(np.ones(4))
    with pytest.raises(ShapeError):
        trustworthiness(clouds(), np.ones((3, 2)))
    with pytest.raises(ConfigError, match="half of the 60"):
        trustworthiness(clouds(), np.ones((60, 2)), k=30)

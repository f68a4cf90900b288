"""Purity by hand and against a loop, clusterings of vectors whose classes are known, classes from the questions they are made of."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError, UnknownNameError
from lmlib.measure.categories import (
    SETS,
    categorisation,
    category_set,
    classes_of_questions,
    classes_of_world,
    contingency,
    purity,
    unambiguous,
)
from lmlib.models.bag_of_words import averaged_and_tiled
from lmlib.models.ppmi import PPMIConfig, ppmi_vectors
from lmlib.models.vectors import WordVectors
from lmlib.text.world import World


def clouds(spread, sizes=(12, 9, 15), dimension=8, seed=0):
    """Words of some classes, each scattered about a direction of its own."""
    rng = np.random.default_rng(seed)
    classes = {f"class{i}": [f"w{i}_{j}" for j in range(n)] for i, n in enumerate(sizes)}
    centres = np.eye(dimension)[: len(sizes)]
    matrix = np.concatenate([c + spread * rng.normal(size=(n, dimension)) for c, n in zip(centres, sizes, strict=True)])
    return WordVectors([word for words in classes.values() for word in words], matrix * rng.uniform(0.1, 9, (len(matrix), 1))), classes


def test_purity_by_hand():
    """Manning, Raghavan and Schütze 2008, figure 16.4: (5 + 4 + 3) / 17."""
    groups = [0] * 6 + [1] * 6 + [2] * 5
    labels = list("xxxxxo") + list("xooood") + list("xxddd")
    assert_allclose(purity(groups, labels), 12 / 17)
    assert_array_equal(contingency(groups, labels), [[0, 1, 5], [1, 4, 1], [3, 0, 2]])
    assert purity([1, 2, 3], ["a", "a", "b"]) == 1  # each by itself: purity alone favours many groups
    with pytest.raises(ShapeError):
        purity([1, 2], ["a"])
    with pytest.raises(ShapeError):
        purity([], [])


def test_purity_equals_a_naive_loop():
    rng = np.random.default_rng(3)
    groups, labels = rng.integers(0, 7, 200), rng.choice(list("abcde"), 200)
    want = sum(max(sum((groups == g) & (labels == c)) for c in "abcde") for g in range(7)) / 200
    assert_allclose(purity(groups, labels), want)


@pytest.mark.parametrize("method", ["k-means", "agglomerative"])
def test_classes_that_lie_apart_are_found(method):
    vectors, classes = clouds(spread=0.05)
    got = categorisation(vectors, classes | {"class2": [*classes["class2"], "ghost"]}, method)
    assert got.purities == ((1.0,) * 5 if method == "k-means" else (1.0,))
    assert (len(got.words), got.n) == (36, 37)
    assert sorted(got.table().to_numpy().max(axis=1)) == [9, 12, 15]
    (row,) = got.frame().to_dict("records")
    assert (row["purity"], row["sd"], row["classes"], row["covered"], row["n"]) == (1, 0, 3, 36, 37)
    assert 0.4 < got.chance < 0.6  # the largest class has 15 of 36


@pytest.mark.parametrize("method", ["k-means", "agglomerative"])
def test_without_structure_purity_is_that_of_chance(method):
    rng = np.random.default_rng(0)
    _, classes = clouds(0, sizes=(40, 40, 40, 40))
    vectors = WordVectors([word for words in classes.values() for word in words], rng.normal(size=(160, 10)))
    got = categorisation(vectors, classes, method)
    assert abs(got.purity - got.chance) < 0.06
    assert got.chance < 0.45


def test_seeds_are_kept_apart_and_repeat():
    vectors, classes = clouds(spread=0.4, sizes=(20,) * 6)
    first, again = (categorisation(vectors, classes, seeds=range(4)) for _ in range(2))
    assert first == again
    assert len(first.purities) == 4
    assert first.purities[2] == categorisation(vectors, classes, seeds=[2]).purity
    assert_allclose(first.purity, np.mean(first.purities))
    assert first.chance < first.purity < 1


def test_a_vector_of_zeros_is_clustered_too():
    vectors, classes = clouds(spread=0.05)
    matrix = vectors.vectors.copy()
    matrix[0] = 0
    for method in ("k-means", "agglomerative"):
        assert categorisation(WordVectors(vectors.words, matrix), classes, method).purity >= 35 / 36 - 9 / 36


def test_the_small_world_is_sorted_by_counting_not_by_spelling():
    world = World()
    classes = classes_of_world(world)
    assert len(classes) == 18
    assert {"france", "japan"} <= set(classes["country land"])
    assert set(classes["number month"]) >= {"may", "june"}
    counted = categorisation(ppmi_vectors(PPMIConfig(dimension=60), world.words, world.cooccurrence(5)), classes)
    spelt = categorisation(averaged_and_tiled(world.words, 100), classes)
    assert (len(counted.words), counted.n) == (234, 234)
    assert counted.purity == 1
    assert spelt.purity < 0.3


def test_classes_of_questions():
    questions = {"a": [("x", "1", "y", "2"), ("y", "2", "z", "3")], "b": [("9", "w", "x", "v")]}
    got = classes_of_questions(questions, {"letter": [("a", 0), ("b", 1)], "digit": [("a", 1), ("b", 0)]})
    assert got == {"letter": ["x", "y", "z", "w", "v"], "digit": ["1", "2", "3", "9", "x"]}
    assert unambiguous(got) == {"letter": ["y", "z", "w", "v"], "digit": ["1", "2", "3", "9"]}
    assert unambiguous({"land": ["Turkey", "Chad"], "bird": ["turkey", "duck", "duck"]}) == {"land": ["Chad"], "bird": ["duck", "duck"]}


def test_what_cannot_be_clustered_is_refused():
    vectors, classes = clouds(0.1)
    with pytest.raises(UnknownNameError, match="did you mean 'k-means'"):
        categorisation(vectors, classes, "kmeans")
    with pytest.raises(UnknownNameError, match="things, forms"):
        category_set("battig")
    with pytest.raises(ConfigError, match="at least two classes, but 1 of 2"):
        categorisation(vectors, {"a": ["w0_0"], "b": ["ghost"]})
    with pytest.raises(ConfigError, match="'W0_0' is in the classes 'a' and 'b'"):
        categorisation(vectors, {"a": ["w0_0"], "b": ["W0_0", "w1_1"]})
    with pytest.raises(ConfigError, match="at least one seed"):
        categorisation(vectors, classes, seeds=())


@pytest.mark.data
def test_the_sets():
    """Sizes of the classes as they are made; Georgia, a country and a state, is in neither."""
    things, forms = (category_set(name) for name in SETS)
    assert {kind: len(words) for kind, words in things.items()} == {
        "country": 124, "capital": 116, "currency": 28, "US city": 67, "US state": 26, "nationality": 41, "family": 46,
        "flowers": 25, "insects": 25, "instruments": 25, "weapons": 25,
    }  # fmt: skip
    assert [len(words) for words in forms.values()] == [32, 29, 37, 34, 33, 40, 37, 30]
    assert "Georgia" not in things["country"]

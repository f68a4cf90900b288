"""WEAT against a naive loop over pairs and partitions; hard debiasing against its equations and vectors with a known bias."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError, UnknownNameError, VocabularyError
from lmlib.measure.bias import (
    GENDER_PAIRS,
    WEAT_TESTS,
    bias_subspace,
    direct_bias,
    effect_size,
    hard_debias,
    permutation_p,
    weat,
    weat_lists,
)
from lmlib.models.vectors import WordVectors


def random_vectors(n=40, dimension=7, seed=0):
    rng = np.random.default_rng(seed)
    return WordVectors([f"w{i}" for i in range(n)], rng.normal(size=(n, dimension)) * rng.uniform(0.1, 5, (n, 1)))


def names(*numbers):
    return [f"w{i}" for i in numbers]


def naive_weat(vectors, x, y, a, b):
    """Equations of Caliskan et al., word by word, and every partition."""

    def cos(v, w):
        v, w = vectors[v].astype(np.float64), vectors[w].astype(np.float64)
        return v @ w / math.sqrt((v @ v) * (w @ w))

    def s(w):
        return sum(cos(w, i) for i in a) / len(a) - sum(cos(w, i) for i in b) / len(b)

    both = [*x, *y]
    mean = sum(map(s, both)) / len(both)
    sd = math.sqrt(sum((s(w) - mean) ** 2 for w in both) / len(both))
    effect = (sum(map(s, x)) / len(x) - sum(map(s, y)) / len(y)) / sd
    observed = sum(map(s, x)) - sum(map(s, y))
    reached, partitions = 0, 0
    for chosen in itertools.combinations(both, len(x)):
        rest = [w for w in both if w not in chosen]
        reached += sum(map(s, chosen)) - sum(map(s, rest)) >= observed - 1e-12
        partitions += 1
    return effect, reached / partitions, partitions


@pytest.mark.parametrize(("x", "y"), [(names(0, 1, 2, 3), names(4, 5, 6, 7)), (names(0, 1, 2), names(3, 4, 5, 6, 7))])
def test_weat_equals_a_naive_loop(x, y):
    vectors, a, b = random_vectors(), names(10, 11, 12), names(20, 21, 22, 23)
    got, (effect, p, partitions) = weat(vectors, x, y, a, b), naive_weat(vectors, x, y, a, b)
    assert_allclose(got.effect, effect, rtol=1e-5)
    assert (got.p, got.exact, got.partitions) == (p, True, partitions)
    assert 0 < p < 1


def test_weat_finds_a_bias_that_was_put_in():
    """Targets that lie with their attributes exactly: d = 2, the largest there is, and only 1 of 70 partitions as extreme."""
    words = [f"{side}{i}" for side in "xyab" for i in range(4)]
    vectors = WordVectors(words, np.repeat([[1.0, 0], [0, 1], [1, 0], [0, 1]], 4, axis=0) * np.arange(1, 17)[:, None])
    x, y, a, b = ([f"{side}{i}" for i in range(4)] for side in "xyab")
    got = weat(vectors, [*x, "ghost"], [w.upper() for w in y], a, b)
    assert_allclose((got.effect, got.p), (2, 1 / 70))
    assert (got.covered, got.n, got.oov) == ((4, 4, 4, 4), (5, 4, 4, 4), ("ghost",))
    assert_allclose(weat(vectors, y, x, a, b).effect, -2)
    assert weat(vectors, y, x, a, b).p == 1
    (row,) = got.frame().to_dict("records")
    assert (row["covered"], row["n"], row["exact"]) == (16, 17, True)


def test_random_partitions_come_near_to_all_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    s_x, s_y = rng.normal(0.4, 1, 8), rng.normal(0, 1, 8)
    p, exact, partitions = permutation_p(s_x, s_y)
    assert (exact, partitions) == (True, 12_870)
    monkeypatch.setattr("lmlib.measure.bias._EXACT", 0)
    estimate, exact, partitions = permutation_p(s_x, s_y, samples=50_000, seed=1)
    assert (exact, partitions) == (False, 50_000)
    assert abs(estimate - p) < 5 * math.sqrt(p * (1 - p) / 50_000)
    assert estimate == permutation_p(s_x, s_y, samples=50_000, seed=1)[0] != permutation_p(s_x, s_y, samples=50_000, seed=2)[0]
    assert permutation_p(s_x + 100, s_y, samples=2_000)[0] == pytest.approx(1 / 2001, rel=1)  # never 0


def test_without_difference_there_is_no_effect():
    assert math.isnan(effect_size(np.ones(3), np.ones(3)))
    assert permutation_p(np.full(6, 0.1), np.full(6, 0.1))[0] == 1  # ties count, whatever the order of the sum


# Hard debiasing


@pytest.fixture
def gendered():
    """Six pairs that differ along one hidden direction, with noise; 30 words with a share in it; two words of none."""
    rng = np.random.default_rng(0)
    D, direction = 12, np.eye(12)[0]
    words, matrix = [], []
    for i in range(6):
        base = 0.7 * rng.normal(size=D) * (1 - direction)
        for sign, name in ((1, "she"), (-1, "he")):
            words.append(f"{name}{i}")
            matrix.append(base + sign * direction + 0.1 * rng.normal(size=D))
    for i in range(30):
        words.append(f"job{i}")
        matrix.append(rng.normal(size=D) + (1 if i % 2 else -1) * direction)
    pairs = [(f"she{i}", f"he{i}") for i in range(6)]
    return WordVectors(words, np.array(matrix), counts=np.arange(42, 0, -1)), pairs, direction, [f"job{i}" for i in range(30)]


def test_the_subspace_is_the_principal_components_of_the_pairs(gendered):
    vectors, pairs, direction, _ = gendered
    basis, shares = bias_subspace(vectors, [*pairs, ("she0", "ghost")], dimension=3)
    assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)
    C = np.zeros((12, 12))
    for pair in pairs:
        two = np.stack([vectors.unit[vectors.row(word)].astype(np.float64) for word in pair])
        C += np.cov(two.T, bias=True)
    values, axes = np.linalg.eigh(C)
    assert_allclose(shares, values[::-1][:3] / values.sum(), rtol=1e-6)
    assert_allclose(np.abs(basis[0] @ axes[:, -1]), 1, rtol=1e-6)
    assert shares[0] > 0.9
    assert basis[0] @ direction > 0.95  # points to the first words of the pairs
    assert bias_subspace(vectors, [pair[::-1] for pair in pairs])[0][0] @ direction < -0.95


def test_hard_debiasing_fulfils_its_equations(gendered):
    vectors, pairs, _, jobs = gendered
    basis, _ = bias_subspace(vectors, pairs)
    after = hard_debias(vectors, basis, neutral=jobs, equalise=pairs)
    assert_allclose(np.linalg.norm(after.vectors, axis=1), 1, rtol=1e-6)
    assert direct_bias(vectors, jobs, basis) > 0.1
    assert_allclose(direct_bias(after, jobs, basis), 0, atol=1e-7)
    g = basis[0]
    for she, he in pairs:
        assert_allclose(after[she] - (after[she] @ g) * g, after[he] - (after[he] @ g) * g, atol=1e-6)  # differ in the subspace only
        assert_allclose(after[she] @ g, -(after[he] @ g), rtol=1e-5)
        for job in jobs[:5]:
            assert_allclose(after[job] @ after[she], after[job] @ after[he], atol=1e-6)
    for job in jobs[:3]:  # by hand
        w = vectors.unit[vectors.row(job)]
        assert_allclose(after[job], (w - (w @ g) * g) / np.linalg.norm(w - (w @ g) * g), atol=1e-6)
    assert_array_equal(after.counts, vectors.counts)


def test_debiasing_takes_the_association_away(gendered):
    """Jobs of one kind against those of the other, with she and he as attributes: an effect before, none after."""
    vectors, pairs, _, jobs = gendered
    lists = jobs[1::2], jobs[::2], [she for she, _ in pairs], [he for _, he in pairs]
    basis, _ = bias_subspace(vectors, pairs)
    before, after = weat(vectors, *lists), weat(hard_debias(vectors, basis, neutral=jobs, equalise=pairs), *lists)
    assert before.effect > 1
    assert before.p < 0.01 < 0.05 < after.p or math.isnan(after.effect)
    assert not before.exact  # 30 targets have 155 million partitions
    few = jobs[1:13:2], jobs[:12:2], [pairs[0][0]], [pairs[0][1]]  # what is left between one equalised pair is rounding, which is no effect
    pair = weat(hard_debias(vectors, basis, neutral=jobs, equalise=pairs), *few)
    assert (math.isnan(pair.effect), pair.p, pair.exact) == (True, 1.0, True)


def test_by_default_all_words_but_the_pairs_are_neutralised(gendered):
    vectors, pairs, _, jobs = gendered
    basis, _ = bias_subspace(vectors, pairs, dimension=2)
    assert_array_equal(
        hard_debias(vectors, basis, equalise=pairs).vectors, hard_debias(vectors, basis, neutral=jobs, equalise=pairs).vectors
    )
    some = hard_debias(vectors, basis, neutral=jobs[:2], equalise=())
    assert_allclose(some.vectors[14:], vectors.unit[14:], atol=1e-7)  # the rest is only scaled


def test_direct_bias_by_hand():
    vectors = WordVectors(["a", "b", "c"], [[3, 4], [0, 2], [-1, 0]])
    assert_allclose(direct_bias(vectors, ["a", "b", "c", "ghost"], [[1.0, 0.0]]), (0.6 + 0 + 1) / 3, rtol=1e-6)
    assert_allclose(direct_bias(vectors, ["a", "b", "c"], [[1.0, 0.0]], strictness=2), (0.36 + 0 + 1) / 3, rtol=1e-6)


def test_what_cannot_be_measured_is_refused(gendered):
    vectors, pairs, _, jobs = gendered
    with pytest.raises(UnknownNameError, match="did you mean 'math-arts'"):
        weat_lists("math-art")
    with pytest.raises(VocabularyError, match="1 of the 2 words of Y"):
        weat(vectors, jobs[:2], ["job3", "ghost"], ["she0"], ["he0"])
    with pytest.raises(VocabularyError, match="none of the 10 pairs"):
        bias_subspace(vectors, GENDER_PAIRS)
    with pytest.raises(ConfigError, match="span 6 dimensions, not 7"):
        bias_subspace(vectors, pairs, dimension=7)
    basis, _ = bias_subspace(vectors, pairs)
    with pytest.raises(ConfigError, match="'she0' is to be neutralised and equalised"):
        hard_debias(vectors, basis, neutral=["she0"], equalise=pairs)
    with pytest.raises(ShapeError):
        hard_debias(vectors, np.ones((1, 3)))
    with pytest.raises(VocabularyError, match="no bias to measure"):
        direct_bias(vectors, ["ghost"], basis)
    flat = WordVectors(["a", "b"], [[0, 1.0, 0], [0, 0, 1.0]])
    with pytest.raises(ConfigError, match="a, b do not differ"):
        hard_debias(flat, np.eye(3)[:1], equalise=[("a", "b")])


@pytest.mark.data
def test_the_published_lists():
    sizes = {name: [len(words) for words in weat_lists(name)] for name in WEAT_TESTS}
    assert sizes["flowers-insects"] == [25, 25, 25, 25]
    assert sizes["math-arts"] == sizes["science-arts"] == [8, 8, 8, 8]
    assert weat_lists("mental-physical")[0][0] == "sad"

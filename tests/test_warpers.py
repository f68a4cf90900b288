"""Warpers against their papers' definitions, written naively in numpy: sort, add up one by one, keep or drop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib import warpers

V = 12
LOGITS = np.random.default_rng(0).normal(0, 2, (20, V)).astype(np.float32)
LOGITS[3, [1, 5, 7]] = -np.inf  # tokens that are impossible already
LOGITS[4] = -np.inf
LOGITS[4, 6] = 0.5  # one only
LOGITS[5] *= 30  # nearly certain


def softmax(logits):
    p = np.exp(np.float64(logits) - np.max(logits))
    return p / p.sum()


def kept(warped):
    return [set(np.flatnonzero(np.isfinite(row)).tolist()) for row in np.asarray(warped)]


def smallest(order, q, p):
    """Take tokens in their order until they have probability p; at least one."""
    taken, total = set(), 0.0
    for i in order:
        if taken and total >= p:
            break
        taken.add(int(i))
        total += q[i]
    return {i for i in taken if q[i] > 0}


def naive(name, logits, p):
    q = softmax(logits)
    if name == "top_k":
        return smallest(np.argsort(-q)[:p], q, 2)
    if name == "nucleus":
        return smallest(np.argsort(-q), q, p)
    if name == "min_p":
        return {i for i in range(V) if q[i] >= p * q.max()}
    with np.errstate(divide="ignore"):
        surprisal = -np.log(q)
    H = sum(a * s for a, s in zip(q, surprisal, strict=True) if a > 0)
    return smallest(np.argsort(np.abs(H - surprisal)), q, p)


CASES = [("top_k", k) for k in (1, 2, 5, V)] + [(n, p) for n in ("nucleus", "min_p", "typical") for p in (1e-6, 0.05, 0.3, 0.7, 0.95)]


@pytest.mark.parametrize(("name", "p"), CASES)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_warper_keeps_what_the_definition_keeps(name, p, compiled):
    warp = getattr(warpers, name)
    got = (jax.jit(warp) if compiled else warp)(LOGITS, p)
    want = [naive(name, row, p) for row in LOGITS]
    assert kept(got) == want
    assert min(map(len, want)) >= 1
    for row, old, tokens in zip(np.asarray(got), LOGITS, want, strict=True):  # and leaves them as they were
        assert_array_equal(row[sorted(tokens)], old[sorted(tokens)])


@pytest.mark.parametrize("name", ["nucleus", "typical"])
def test_probability_1_keeps_everything(name):
    """Also where probabilities add up to 1 before the last token in float32."""
    logits = np.concatenate([[20.0], np.linspace(0, -60, 999)])[None].astype(np.float32)
    assert np.isfinite(np.asarray(getattr(warpers, name)(logits, 1.0))).all()


@pytest.mark.parametrize(("name", "p"), [("top_k", 2), ("nucleus", 0.5), ("typical", 0.5)])
def test_ties_stay_together(name, p):
    """Probabilities 0.4, 0.2, 0.2, 0.2: the last three are equal, so none of them is preferred for its number."""
    logits = np.log(np.array([[0.2, 0.4, 0.2, 0.2]], np.float32))
    assert kept(getattr(warpers, name)(logits, p)) == [{0, 1, 2, 3} if name != "typical" else {0, 2, 3}]


@pytest.mark.parametrize("shape", [(1, 3000), (40, 500)])
def test_thresholds_are_those_of_a_sort(shape):
    """Larger vocabularies, costs of every sign and size, zeros of both signs."""
    logits = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32) * np.logspace(-30, 2, shape[1], dtype=np.float32)
    logits[:, :4] = [0.0, -0.0, 1e-30, -1e-30]
    for k in (1, 7, shape[1] // 2, shape[1] - 1):
        kth = np.sort(logits, axis=1)[:, -k][:, None]
        assert_array_equal(np.isfinite(np.asarray(warpers.top_k(logits, k))), logits >= kth)
    for row, left in zip(logits, kept(warpers.nucleus(logits, 0.9)), strict=True):
        want = smallest(np.argsort(-row, kind="stable"), softmax(row), 0.9)
        assert len(want ^ left) <= 1  # where float32 and float64 may disagree about the last one


def test_typical_may_drop_the_most_probable_token():
    """Meister et al.: of (0.4, 0.2, 0.2, 0.2), whose entropy is 1.33 nats, 0.2 (1.61 nats) is nearer to it than 0.4 (0.92)."""
    logits = np.log(np.array([[0.4, 0.2, 0.2, 0.2]], np.float32))
    assert kept(warpers.typical(logits, 0.55)) == [{1, 2, 3}]


@pytest.mark.parametrize("t", [0.1, 0.7, 1.0, 3.0])
def test_temperature_is_a_power_of_the_probabilities(t):
    got = np.asarray(jax.nn.softmax(warpers.temperature(LOGITS, t)))
    for row, logits in zip(got, LOGITS, strict=True):
        want = softmax(logits) ** (1 / t)
        assert_allclose(row, want / want.sum(), atol=1e-6)


@pytest.mark.parametrize("t", [1e-6, 1e-20, 1.2e-38])
def test_the_smallest_temperatures_are_greedy_and_finite(t):
    got = np.asarray(jax.nn.softmax(warpers.temperature(jnp.asarray(LOGITS * 100), t)))
    assert_array_equal(got, np.eye(V)[LOGITS.argmax(1)])


def test_repetition_penalty_is_hugging_faces():
    seen = np.zeros(LOGITS.shape, bool)
    seen[:, [0, 3, 8]] = True
    got = np.asarray(warpers.repetition_penalty(LOGITS, seen, 1.5))
    for row, logits in zip(got, LOGITS, strict=True):
        for i, (new, old) in enumerate(zip(row, logits, strict=True)):
            want = old if i not in (0, 3, 8) else old / 1.5 if old > 0 else old * 1.5
            assert_allclose(new, want, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_no_repeat_ngram_bans_what_would_complete_one(n):
    rng = np.random.default_rng(n)
    T = 8
    text, lengths = rng.integers(0, 3, (200, T)).astype(np.int32), rng.integers(0, T + 1, 200)
    logits = np.zeros((200, 4), np.float32)
    got = kept(warpers.no_repeat_ngram(logits, text, lengths, n))
    banned_any = 0
    for row, length, left in zip(text, lengths, got, strict=True):
        words = row[:length].tolist()
        have = {tuple(words[i : i + n]) for i in range(length - n + 1)}
        tail = tuple(words[length - n + 1 :])
        want = {i for i in range(4) if len(tail) < n - 1 or (*tail, i) not in have}
        assert left == want
        banned_any += len(want) < 4
    assert banned_any or n > 4

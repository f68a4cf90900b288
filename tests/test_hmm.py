"""Hidden Markov models against the definition: sums and maxima over every path of states, written out in float64."""

from itertools import product

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.config import from_dict
from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, VocabularyError
from lmlib.measure.perplexity import perplexity
from lmlib.models.base import compiled, merge, split
from lmlib.models.hmm import HMM, HMMConfig, baum_welch_step, estimate, expected_counts, posteriors, supervised, viterbi

S, V = 3, 4
ROWS = [[1, 3, 0, 2, 2], [2], [0, 0, 1, 3], [3, 1, 2], []]
LENGTHS = np.array([len(row) for row in ROWS])
TOKENS = np.array([row + [3] * (5 - len(row)) for row in ROWS], np.int32)  # the padding is a token that matters if it is read
FORMS = pytest.mark.parametrize("parallel", [False, True], ids=["scan", "associative scan"])


def params_of(seed=0, zeros=False):
    rng = np.random.default_rng(seed)
    params = {"start": rng.dirichlet(np.ones(S)), "transition": rng.dirichlet(np.ones(S), S), "emission": rng.dirichlet(np.ones(V), S)}
    if zeros:  # a chain that only goes up, and states that share few tokens
        params["start"] = np.array([1.0, 0, 0])
        params["transition"] = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1.0]])
        params["emission"] = np.array([[0.5, 0.5, 0, 0], [0, 0.25, 0.75, 0], [0, 0, 0.5, 0.5]])
    return {name: value.astype(np.float32) for name, value in params.items()}


def joint(params, tokens, path):
    """p(x, z) as it is defined."""
    p = 1.0
    for t, (x, z) in enumerate(zip(tokens, path, strict=True)):
        p *= float(params["start"][z] if t == 0 else params["transition"][path[t - 1], z]) * float(params["emission"][z, x])
    return p


def paths(tokens):
    return list(product(range(S), repeat=len(tokens)))


def brute(params, tokens):
    """By enumeration: likelihood, posterior (L, S), expected counts, best path."""
    posterior = np.zeros((len(tokens), S))
    counts = {"start": np.zeros(S), "transition": np.zeros((S, S)), "emission": np.zeros((S, V))}
    p = {path: joint(params, tokens, path) for path in paths(tokens)}
    total = sum(p.values())
    for path, weight in p.items():
        for t, (x, z) in enumerate(zip(tokens, path, strict=True)):
            posterior[t, z] += weight / total
            counts["emission"][z, x] += weight / total
            if t == 0:
                counts["start"][z] += weight / total
            else:
                counts["transition"][path[t - 1], z] += weight / total
    return total, posterior, counts, max(p, key=p.get)


@FORMS
@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_posteriors_are_sums_over_all_paths(seed, parallel):
    params = params_of(seed)
    posterior_BLS, logp_BL = posteriors(params, TOKENS, LENGTHS, parallel)
    for row, posterior_LS, logp_L in zip(ROWS, posterior_BLS, logp_BL, strict=True):
        total, want, _, _ = brute(params, row)
        assert_allclose(logp_L.sum(), np.log(total), atol=1e-5)
        assert_allclose(posterior_LS[: len(row)], want, atol=1e-5)
        assert not posterior_LS[len(row) :].any()
        assert not logp_L[len(row) :].any()
        for t in range(1, len(row)):  # each factor, not only the product
            assert_allclose(logp_L[t], np.log(brute(params, row[: t + 1])[0] / brute(params, row[:t])[0]), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_viterbi_is_the_best_of_all_paths(seed):
    params = params_of(seed)
    path_BL, logp_B = viterbi(params, TOKENS, LENGTHS)
    for row, path, logp in zip(ROWS, np.asarray(path_BL), logp_B, strict=True):
        *_, best = brute(params, row)
        assert tuple(path[: len(row)]) == best
        assert not path[len(row) :].any()
        assert_allclose(logp, np.log(joint(params, row, best)), atol=1e-5)


@FORMS
@pytest.mark.parametrize("add", [0.0, 0.5])
def test_a_step_of_baum_welch_is_the_ratio_of_expected_counts(parallel, add):
    params, config = params_of(1), HMMConfig(V, S, add_transition=add, add_emission=2 * add)
    want = {"start": np.zeros(S), "transition": np.zeros((S, S)), "emission": np.zeros((S, V))}
    logp = 0.0
    for row in filter(None, ROWS):
        total, _, counts, _ = brute(params, row)
        want = {name: want[name] + counts[name] for name in want}
        logp += np.log(total)
    model = merge(split(HMM(config, rngs=nnx.Rngs(0)))[0], params)
    batches = [{"tokens": TOKENS[:2], "lengths": LENGTHS[:2]}, {"tokens": TOKENS[2:], "lengths": LENGTHS[2:]}]
    new, got = baum_welch_step(config, model, batches, parallel)
    assert_allclose(got, logp, rtol=1e-6)
    for name, count in want.items():
        count = count + (2 * add if name == "emission" else add)
        assert_allclose(split(new)[1][name], count / count.sum(-1, keepdims=True), atol=1e-5)


@FORMS
def test_what_cannot_be_is_impossible_and_never_nan(parallel):
    params = params_of(zeros=True)
    rows = np.array([[0, 1, 2, 3, 3], [3, 0, 1, 2, 2], [0, 0, 3, 1, 1], [0, 2, 1, 3, 0]], np.int32)
    lengths = np.array([5, 5, 5, 3])
    posterior_BLS, logp_BL = posteriors(params, rows, lengths, parallel)
    path_BL, logp_B = viterbi(params, rows, lengths)
    counts, total_B = expected_counts(params, rows, lengths, parallel)
    want, posterior, want_counts, best = brute(params, rows[0])
    third, _, more_counts, _ = brute(params, rows[3, :3])
    assert_allclose(np.exp(np.asarray(total_B)), [want, 0, 0, third], rtol=1e-5)
    assert third > 0
    assert_allclose(posterior_BLS[0], posterior, atol=1e-6)
    assert not np.asarray(posterior_BLS[1:3]).any()
    assert_allclose(logp_BL.sum(1), total_B)
    assert tuple(path_BL[0]) == best
    assert np.isneginf(np.asarray(logp_B[1:3])).all()
    for name in counts:
        assert_allclose(counts[name], want_counts[name] + more_counts[name], atol=1e-5)


@FORMS
def test_a_long_sequence_keeps_its_digits(parallel):
    """Against the recursion in float64, scaled as Rabiner has it (section V.A); 2,000 tokens are exp(-2,700), far below float32."""
    params, rng = params_of(2), np.random.default_rng(0)
    tokens = rng.integers(0, V, 2000)
    alpha, logp = params["start"].astype(np.float64), np.zeros(len(tokens))
    for t, x in enumerate(tokens):
        alpha = (alpha if t == 0 else alpha @ params["transition"]) * params["emission"][:, x]
        logp[t] = np.log(alpha.sum())
        alpha /= alpha.sum()
    _, got = posteriors(params, tokens[None].astype(np.int32), np.array([len(tokens)]), parallel)
    assert_allclose(got[0], logp, atol=1e-5)


def test_an_unlikely_state_is_not_lost():
    """A path of probability exp(-200) under way to the only state that can emit what comes: in linear space it is 0."""
    params = {"start": np.array([1, 0], np.float32), "transition": np.array([[1, 1e-30], [0, 1]], np.float32)}
    params["emission"] = np.array([[1e-4, 1 - 1e-4, 0], [1e-30, 0, 1]], np.float32)
    tokens, lengths = np.array([[0, 0, 0, 2]], np.int32), np.array([4])
    path, logp = viterbi(params, tokens, lengths)
    assert_array_equal(path[0], [0, 0, 0, 1])
    want = np.log(np.float64(1e-4)) * 3 + np.log(1e-30)
    assert_allclose(logp, [want], rtol=1e-6)
    assert_allclose(posteriors(params, tokens, lengths)[1].sum(), want, rtol=1e-6)


def sampled(params, n, rng, end):
    """Sequences of the model that end with the token `end`."""
    rows = []
    for _ in range(n):
        row, z = [], rng.choice(S, p=params["start"] / params["start"].sum())
        while not row or (row[-1] != end and len(row) < 12):
            row.append(rng.choice(V, p=params["emission"][z] / params["emission"][z].sum()))
            z = rng.choice(S, p=params["transition"][z] / params["transition"][z].sum())
        rows.append(row)
    return rows


def test_the_likelihood_never_falls_and_comes_to_that_of_the_source():
    rng, source = np.random.default_rng(0), params_of(zeros=True)
    source["emission"][2] = [0, 0, 0.2, 0.8]  # token 3 ends a sequence
    rows = sampled(source, 300, rng, end=3)
    lengths = np.array([len(row) for row in rows])
    batch = {"tokens": np.array([row + [0] * (12 - len(row)) for row in rows], np.int32), "lengths": lengths}
    config = HMMConfig(V, S, bos=3, eos=3)
    model, history = HMM(config, rngs=nnx.Rngs(3)), []
    for _ in range(60):
        before, (model, logp) = model, baum_welch_step(config, model, [batch])
        history.append(logp)
        assert_allclose(-perplexity(before, [batch]).nats, logp, rtol=1e-5)
    assert (np.diff(history) >= -1e-6 * abs(history[-1])).all()
    assert history[-1] > history[0] + 100
    definition = split(model)[0]
    of_source = -perplexity(merge(definition, source), [batch]).nats
    assert history[-1] > of_source - 3  # maximum likelihood on a sample: above its source, were it the global maximum


def test_supervised_is_counting():
    config = HMMConfig(V, S, add_transition=0.5, add_emission=0.25)
    model = supervised(config, [[0, 1, 1], [2], [], [1, 0]], [[0, 1, 1], [0], [], [1, 0]])
    params = split(model)[1]
    assert_allclose(params["start"], np.array([2.5, 1.5, 0.5]) / 4.5, rtol=1e-6)
    assert_allclose(params["transition"], np.array([[0.5, 1.5, 0.5], [1.5, 1.5, 0.5], [0.5, 0.5, 0.5]]) / [[2.5], [3.5], [1.5]], rtol=1e-6)
    assert_allclose(params["emission"][1], np.array([0.25, 3.25, 0.25, 0.25]) / 4, rtol=1e-6)
    unsmoothed = split(supervised(HMMConfig(V, S), [[0, 1]], [[0, 1]]))[1]
    assert_allclose(unsmoothed["transition"], [[0, 1, 0], [1 / 3] * 3, [1 / 3] * 3])  # states without a count know nothing


def test_a_token_that_cannot_follow_has_probability_zero_and_so_has_what_comes_after():
    params = params_of(zeros=True)
    model = merge(split(HMM(HMMConfig(V, S), rngs=nnx.Rngs(0)))[0], params)
    score = compiled(model, "score")(np.array([[1, 3, 1]], np.int32), np.array([3]))
    assert_allclose(np.exp(score), [[0.5, 0, 0]], atol=1e-6)
    logits, _ = model.forward(np.array([[0, 1, 3, 1]], np.int32))
    assert np.isneginf(np.asarray(logits[0, 2:])).all()


def test_bos_begins_anew():
    model = HMM(HMMConfig.tiny(bos=2, eos=4), rngs=nnx.Rngs(0))
    fresh, state = model.forward(np.array([[2, 1, 3]]))
    later, after = model.forward(np.array([[2, 0, 1, 2, 1, 3]]))
    assert_allclose(later[:, 3:], fresh, atol=1e-6)
    assert_allclose(after, state, atol=1e-6)


@pytest.mark.parametrize("bad", [-1, V, 2**31 - 1])
def test_an_id_outside_the_vocabulary_is_nan_never_another_row(bad):
    tokens = np.array([[0, bad, 1]], np.int32)
    assert np.isnan(posteriors(params_of(), tokens, np.array([3]))[1][0, 1])
    model = HMM(HMMConfig(V, S), rngs=nnx.Rngs(0))
    assert np.isnan(np.asarray(model.score(tokens, np.array([3])))[0, 1])


@pytest.mark.parametrize("fields", [{"states": 0}, {"bos": 4}, {"eos": -1}, {"add_emission": -0.1}, {"add_transition": float("nan")}])
def test_config_refuses_what_makes_no_model(fields):
    with pytest.raises(ConfigError, match="HMMConfig"):
        from_dict(HMMConfig, {"vocab_size": V, "states": S} | fields)


def test_sequences_that_are_none_are_refused():
    config = HMMConfig(V, S)
    model = HMM(config, rngs=nnx.Rngs(0))
    with pytest.raises(VocabularyError, match=r"paths\[0\]"):
        supervised(config, [[0, 1]], [[0, S]])
    with pytest.raises(ShapeError, match=r"paths\[1\]"):
        supervised(config, [[0], [0, 1]], [[0], [0]])
    with pytest.raises(EmptyCorpusError):
        supervised(config, [[]], [[]])
    with pytest.raises(VocabularyError, match="batch 0"):
        baum_welch_step(config, model, [{"tokens": np.array([[V]]), "lengths": np.array([1])}])
    with pytest.raises(ShapeError, match="lengths"):
        baum_welch_step(config, model, [{"tokens": np.array([[1]]), "lengths": np.array([2])}])
    with pytest.raises(EmptyCorpusError):
        baum_welch_step(config, model, [])


def test_presets_are_models():
    assert HMMConfig.tiny(7).states == 3
    assert HMMConfig.small(50, states=8) == HMMConfig(50, 8, add_transition=1e-3, add_emission=1e-3)
    counts = {"start": np.zeros(3), "transition": np.zeros((3, 3)), "emission": np.zeros((3, 5))}
    for leaf in jax.tree.leaves(split(estimate(HMMConfig.tiny(), counts))[1]):
        assert_allclose(leaf.sum(-1), 1, rtol=1e-6)

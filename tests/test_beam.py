"""Beam search against the enumeration of every continuation, and against a naive beam in Python where it is not exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.beam import beam_search, length_penalty
from lmlib.errors import ConfigError, EmptyCorpusError, NonFiniteError, VocabularyError
from lmlib.generate import Sampling, generate
from lmlib.models.base import compiled, merge, split
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.models.hmm import HMM, HMMConfig


def bigram(seed, vocab_size=3):
    definition, params = split(Bigram(BigramConfig(vocab_size, d_model=5, bos=1, eos=2), rngs=nnx.Rngs(seed)))
    return merge(definition, jax.tree.map(lambda x: 2 * x, params))  # less even than at the start


def hmm(seed, vocab_size=3):
    return HMM(HMMConfig(vocab_size, 4), rngs=nnx.Rngs(seed))


FAMILIES = {"bigram": bigram, "hmm": hmm}


def score_of(logp, length, alpha):
    """Wu et al. 2016, equation 14, without the coverage penalty."""
    return logp / ((5 + length) ** alpha / (5 + 1) ** alpha)


def continuations(model, prompt, stop, N):
    """Every continuation that is finished, or as long as it may be, with its log-probability by `score`: [(tokens, finished, logp)]."""
    found, begun = [], [()]
    while begun:
        grown = [(*s, i) for s in begun for i in range(model.vocab_size)]
        found += [s for s in grown if s[-1] in stop or len(s) == N]
        begun = [s for s in grown if s[-1] not in stop and len(s) < N]
    rows = [[*prompt, *s] for s in found]
    tokens = np.array([row + [0] * (len(prompt) + N - len(row)) for row in rows], np.int32)
    logp = np.asarray(compiled(model, "score")(tokens, np.array([len(row) for row in rows])), np.float64)
    return [(list(s), s[-1] in stop, logp_T[len(prompt) :].sum()) for s, logp_T in zip(found, logp, strict=True)]


def assert_found(found, b, want, alpha):
    """The hypotheses of prompt b are the best of `want`: the finished ones first, each part by its score.

    A bigram model gives exactly the same score to texts that are made of the same pairs, so that which of them comes first is open.
    """
    ranked = sorted(want, key=lambda c: (not c[1], -score_of(c[2], len(c[0]), alpha)))
    known, seen = {tuple(tokens): (finished, logp) for tokens, finished, logp in want}, set()
    for k, (tokens, finished, logp) in zip(range(found.lengths.shape[1]), ranked, strict=False):
        n = found.lengths[b, k]
        text = tuple(found.tokens[b, k, :n].tolist())
        assert text not in seen
        seen.add(text)
        assert found.finished[b, k] == known[text][0] == finished
        assert_allclose(found.logp[b, k].sum(), known[text][1], atol=2e-5)
        assert_allclose(found.scores[b, k], score_of(known[text][1], n, alpha), atol=2e-5)
        assert_allclose(found.scores[b, k], score_of(logp, len(tokens), alpha), atol=2e-5)
        assert not found.tokens[b, k, n:].any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(25))
def test_a_beam_wide_enough_is_exact(family, seed):
    """50 tiny models, prompts of different lengths: all of the ranking, whatever the penalty."""
    model, alpha, N = FAMILIES[family](seed), (0.0, 0.6, 1.0, 2.5)[seed % 4], 4
    prompts = [[], [0, 1, 1], [1]]
    found = beam_search(model, prompts, beams=3**N, max_new_tokens=N, alpha=alpha)
    for b, prompt in enumerate(prompts):
        want = continuations(model, prompt, {model.eos}, N)
        assert_found(found, b, want, alpha)
        assert (found.lengths[b] > 0).sum() == len(want)  # there are no more
        assert np.isneginf(found.scores[b, len(want) :]).all()


def naive_beam(model, prompt, K, N, alpha, stop):
    """Beam search with lists, never ended early."""
    step = compiled(model, "step")
    state = model.init_state(1, max_len=20)
    for token in [model.bos, *prompt][:-1]:
        state, _ = step(state, np.array([token], np.int32))
    alive, ended = [([], 0.0, state, [model.bos, *prompt][-1])], []
    for _ in range(N):
        grown = []
        for text, total, state, token in alive:
            state, logits = step(state, np.array([token], np.int32))
            logp = np.asarray(jax.nn.log_softmax(logits[0]), np.float64)
            grown += [([*text, i], total + logp[i], state, i) for i in range(model.vocab_size)]
        ended += [(text, True, total) for text, total, _, token in grown if token in stop]
        alive = sorted((g for g in grown if g[3] not in stop), key=lambda g: -g[1])[:K]
    return ended + [(text, False, total) for text, total, *_ in alive]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("K", "alpha", "stop"), [(1, 0.0, None), (2, 0.6, None), (3, 1.5, (3, 4)), (4, 0.0, ()), (9, 1.0, None)])
def test_a_narrow_beam_is_the_naive_one(family, K, alpha, stop):
    model, N = FAMILIES[family](1, vocab_size=6), 7
    prompts = [[3, 5], [], [0, 5, 5, 3]]
    found = beam_search(model, prompts, beams=K, max_new_tokens=N, alpha=alpha, stop=stop)
    for b, prompt in enumerate(prompts):
        assert_found(found, b, naive_beam(model, prompt, K, N, alpha, {model.eos} if stop is None else set(stop)), alpha)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_beam_is_greedy_without_a_stop_token(family):
    model = FAMILIES[family](4, vocab_size=6)
    prompts = [[3], [], [2, 2, 4]]
    found = beam_search(model, prompts, beams=1, max_new_tokens=9, stop=())
    greedy = generate(model, prompts, Sampling.greedy(), max_new_tokens=9, stop=())
    assert_array_equal(found.tokens[:, 0], greedy.tokens)
    assert_allclose(found.logp[:, 0], greedy.logp, atol=1e-6)
    assert [row.tolist() for row in found.best()] == [row.tolist() for row in greedy.rows()]


def test_a_prompt_does_not_depend_on_its_batch():
    model, prompts = hmm(0, vocab_size=6), [[3], [], [5, 5, 4]]
    whole = beam_search(model, prompts, beams=3, max_new_tokens=8, alpha=0.6)
    alone = beam_search(model, prompts[2:], beams=3, max_new_tokens=8, alpha=0.6)
    assert_array_equal(alone.tokens[0], whole.tokens[2])
    assert_allclose(alone.scores[0], whole.scores[2], atol=1e-6)


def test_a_longer_answer_needs_a_penalty():
    """alpha compares hypotheses by their length as the equation has it; 0 is log p itself."""
    assert_allclose([length_penalty(n, 0.0) for n in (1, 7)], 1)
    assert_allclose(length_penalty(7, 0.6), 2**0.6)
    means = [beam_search(hmm(2), [[]], beams=8, max_new_tokens=8, alpha=alpha).lengths[0, 0] for alpha in (0.0, 6.0)]
    assert means[0] < means[1]


def test_no_finished_hypothesis_is_still_an_answer():
    """EOS all but impossible: what was cut off comes back, and says that it is not finished."""
    definition, params = split(hmm(0))
    emission = params["emission"].at[:, 0].set(0.0)
    model = merge(definition, params | {"emission": emission / emission.sum(1, keepdims=True)})
    found = beam_search(model, [[], [1]], beams=2, max_new_tokens=5)
    assert not found.finished.any()
    assert (found.lengths == 5).all()
    assert np.isfinite(found.scores).all()


class Broken(Bigram):
    """NaN after token 2."""

    def step(self, state, token_B):
        state, logits_BV = super().step(state, token_B)
        return state, jnp.where(token_B[:, None] == 2, jnp.nan, logits_BV)


def test_a_beam_without_a_distribution_is_an_error():
    model = Broken(BigramConfig(4, d_model=3, bos=0, eos=3), rngs=nnx.Rngs(0))
    with pytest.raises(NonFiniteError, match="prompt 1"):
        beam_search(model, [[0], [2]], beams=1, max_new_tokens=1)
    with pytest.raises(NonFiniteError, match="prompt 0"):
        beam_search(model, [[0]], beams=4, max_new_tokens=3)  # one of the beams meets it
    beam_search(model, [[0]], beams=4, max_new_tokens=1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"beams": 0}, ConfigError),
        ({"beams": 1.5}, ConfigError),
        ({"alpha": -0.1}, ConfigError),
        ({"alpha": float("nan")}, ConfigError),
        ({"prompts": []}, EmptyCorpusError),
        ({"prompts": [[3]]}, VocabularyError),
        ({"stop": [3]}, VocabularyError),
        ({"max_new_tokens": 0}, ConfigError),
    ],
)
def test_a_bad_call_is_refused(change, error):
    with pytest.raises(error):
        beam_search(bigram(0), **{"prompts": [[0]], "beams": 2, "max_new_tokens": 2} | change)

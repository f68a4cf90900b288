"""Generating with any `LanguageModel`, against a naive loop over `step`, the model's own distribution, and the catalogue of faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chisquare

from lmlib import warpers
from lmlib.errors import ConfigError, EmptyCorpusError, LmlibError, NonFiniteError, ShapeError, VocabularyError
from lmlib.generate import Sampling, generate, stream
from lmlib.models.base import compiled, merge, split
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.models.hmm import HMM, HMMConfig

V = 7
MODELS = {
    "bigram": lambda: Bigram(BigramConfig(V, d_model=6, bos=1, eos=5), rngs=nnx.Rngs(0)),
    "hmm": lambda: HMM(HMMConfig(V, 4), rngs=nnx.Rngs(2)),
}
PROMPTS = [[2, 3], [], [6, 6, 2, 0, 4], [4], [2, 3]]
KEY = jax.random.key(7)
SETTINGS = {
    "as it is": Sampling(),
    "greedy": Sampling.greedy(),
    "warm, truncated": Sampling(1.3, top_k=5, top_p=0.9, min_p=0.02),
    "typical": Sampling(0.8, typical_p=0.8),
    "no repetition": Sampling(0.9, repetition_penalty=1.7, no_repeat_ngram=2),
    "greedy, no repetition": Sampling.greedy(repetition_penalty=1.2, no_repeat_ngram=3),
}


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]()


def naive(model, prompt, sampling, n, key, stop):
    """One row, a token at a time, from `step` alone; the model is asked for log-probabilities by its own `score`."""
    step, score = compiled(model, "step"), compiled(model, "score")
    state, text, made = model.init_state(1, max_len=20), list(prompt), []
    for token in [model.bos, *prompt]:
        state, logits = step(state, np.array([token], np.int32))
    while len(made) < n:
        if sampling.repetition_penalty is not None:
            seen = np.isin(np.arange(V), text)[None]
            logits = warpers.repetition_penalty(logits, seen, sampling.repetition_penalty)
        if sampling.no_repeat_ngram is not None:
            padded = np.array([text + [0] * (20 - len(text))], np.int32)
            logits = warpers.no_repeat_ngram(logits, padded, np.array([len(text)]), sampling.no_repeat_ngram)
        if sampling.temperature:
            logits = warpers.temperature(logits, sampling.temperature)
        for name, warp in (("top_k", "top_k"), ("top_p", "nucleus"), ("min_p", "min_p"), ("typical_p", "typical")):
            if getattr(sampling, name) is not None:
                logits = getattr(warpers, warp)(logits, getattr(sampling, name))
        place = jax.random.fold_in(key, len(text))
        token = int(jax.random.categorical(place, logits[0]) if sampling.temperature else logits[0].argmax())
        text.append(token)
        made.append(token)
        if token in stop:
            break
        state, logits = step(state, np.array([token], np.int32))
    whole = np.array([text + [0] * (20 - len(text))], np.int32)
    return made, np.asarray(score(whole, np.array([len(text)])))[0, len(prompt) : len(text)]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_compiled_loop_is_the_naive_one(model, name):
    """Tokens, lengths and log-probabilities, which are those of the model itself, whatever warped its distribution."""
    got = generate(model, PROMPTS, SETTINGS[name], max_new_tokens=6, key=KEY)
    assert got.tokens.shape == got.logp.shape == (5, 6)
    for i, (prompt, row, logp) in enumerate(zip(PROMPTS, got.rows(), got.logp, strict=True)):
        tokens, want = naive(model, prompt, SETTINGS[name], 6, jax.random.fold_in(KEY, i), {model.eos})
        assert row.tolist() == tokens
        assert_allclose(logp[: len(row)], want, atol=1e-5)
        assert not got.tokens[i, len(row) :].any()
        assert not logp[len(row) :].any()


@pytest.mark.parametrize("block", [1, 2, 3, 10, 99])
@pytest.mark.parametrize("name", ["as it is", "no repetition"])
def test_streaming_gives_the_same_bits(model, name, block):
    whole = generate(model, PROMPTS, SETTINGS[name], max_new_tokens=10, key=KEY)
    pieces = list(stream(model, PROMPTS, SETTINGS[name], max_new_tokens=10, key=KEY, block=block))
    assert max(piece.lengths.max() for piece in pieces) <= block
    assert all(piece.lengths.any() for piece in pieces)  # it ends when there is nothing more
    for i, row in enumerate(whole.rows()):
        assert np.concatenate([piece.rows()[i] for piece in pieces]).tolist() == row.tolist()
        logp = np.concatenate([piece.logp[i, : piece.lengths[i]] for piece in pieces])
        assert_array_equal(logp, whole.logp[i, : len(row)])


def test_a_row_does_not_depend_on_its_batch(model):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(5))
    whole = generate(model, PROMPTS, max_new_tokens=9, key=KEY)
    for rows in ([2], [4, 2, 0], [3, 3, 3, 3, 3, 3, 3]):
        part = generate(model, [PROMPTS[i] for i in rows], max_new_tokens=9, key=keys[np.array(rows)])
        for i, row, logp in zip(rows, part.rows(), part.logp, strict=True):
            assert row.tolist() == whole.rows()[i].tolist()
            assert_allclose(logp, whole.logp[i], atol=1e-6)
    assert whole.rows()[0].tolist() != whole.rows()[4].tolist()  # the same prompt in two rows: two draws


def test_a_text_given_back_goes_on_as_if_it_had_not_been_cut(model):
    keys = jax.random.split(KEY, 3)
    whole = generate(model, PROMPTS[:3], max_new_tokens=8, key=keys, stop=())
    head = generate(model, PROMPTS[:3], max_new_tokens=3, key=keys, stop=())
    tail = generate(model, [[*p, *row] for p, row in zip(PROMPTS, head.rows(), strict=False)], max_new_tokens=5, key=keys, stop=())
    assert_array_equal(np.concatenate([head.tokens, tail.tokens], axis=1), whole.tokens)


def test_stop_tokens(model):
    free = generate(model, PROMPTS, max_new_tokens=30, key=KEY, stop=())
    assert (free.lengths == 30).all()
    for stop in ([3], [2, 6], None):
        ids = [model.eos] if stop is None else stop
        got = generate(model, PROMPTS, max_new_tokens=30, key=KEY, stop=stop)
        for row, tokens in zip(got.rows(), free.tokens, strict=True):
            ends = np.flatnonzero(np.isin(tokens, ids))
            assert row.tolist() == tokens[: ends[0] + 1 if ends.size else 30].tolist()


def exact(model, length):
    """{string: probability} of all that can be generated within a length, by `score`."""
    found, begun = {}, [()]
    while begun:
        grown = [(*s, i) for s in begun for i in range(V)]
        found |= dict.fromkeys(s for s in grown if s[-1] == model.eos or len(s) == length)
        begun = [s for s in grown if s not in found]
    lengths = np.array([len(s) for s in found])
    tokens = np.array([[*s, *[0] * (length - len(s))] for s in found], np.int32)
    logp = np.asarray(compiled(model, "score")(tokens, lengths), np.float64).sum(1)
    return dict(zip(found, np.exp(logp), strict=True))


def test_samples_follow_the_distribution_of_the_model(model):
    """χ² over all strings of up to three tokens, seed fixed; rare ones are pooled so that each class expects 5 or more."""
    p = exact(model, 3)
    assert abs(sum(p.values()) - 1) < 1e-5
    n = 20_000
    got = generate(model, [[]] * n, max_new_tokens=3, key=jax.random.key(0))
    counts = dict.fromkeys(p, 0)
    for row in got.rows():
        counts[tuple(row.tolist())] += 1
    common = [s for s in p if n * p[s] >= 5]
    observed = [counts[s] for s in common] + [n - sum(counts[s] for s in common)]
    expected = np.array([p[s] for s in common] + [1 - sum(p[s] for s in common)])
    assert len(common) > 50
    assert chisquare(observed, n * expected / expected.sum()).pvalue > 0.01


def test_truncated_samples_follow_the_truncated_distribution():
    """The first token after BOS, warped by hand: nucleus 0.8 at temperature 1.5."""
    model = MODELS["bigram"]()
    q = np.asarray(jax.nn.softmax(model.forward(np.array([[model.bos]]))[0][0, 0] / 1.5), np.float64)
    order = np.argsort(-q)
    keep = order[: int(np.searchsorted(np.cumsum(q[order]), 0.8)) + 1]
    assert 1 < len(keep) < V
    got = generate(model, [[]] * 5000, Sampling(1.5, top_p=0.8), max_new_tokens=1, key=jax.random.key(1))
    counts = np.bincount(got.tokens[:, 0], minlength=V)
    assert counts.sum() == counts[keep].sum()
    assert chisquare(counts[keep], 5000 * q[keep] / q[keep].sum()).pvalue > 0.01


def test_temperatures(model):
    """0 is greedy, whatever the key, and needs none; as T falls towards 0 the draws become greedy; above 1 they spread."""
    greedy = generate(model, PROMPTS, Sampling(0), max_new_tokens=8, stop=())
    for t in (1.2e-38, 1e-30, 1e-12, 1e-6, 1e-4):
        assert_array_equal(generate(model, PROMPTS, Sampling(t), max_new_tokens=8, key=KEY, stop=()).tokens, greedy.tokens)
    means = [generate(model, [[]] * 500, Sampling(t), max_new_tokens=1, key=KEY).logp.mean() for t in (0.3, 1.0, 3.0)]
    assert means[0] > means[1] + 0.05 > means[2] + 0.1
    for t in (-1e-9, -1.0, float("nan"), float("inf"), 1e-39):
        with pytest.raises(ConfigError, match="temperature"):
            Sampling(t)


def test_equal_logits_go_to_the_smallest_id():
    definition, params = split(MODELS["bigram"]())
    flat = merge(definition, jax.tree.map(jnp.zeros_like, params))
    assert generate(flat, [[3]], Sampling.greedy(), max_new_tokens=3, stop=()).tokens.tolist() == [[0, 0, 0]]
    with_ban = generate(flat, [[3, 0]], Sampling.greedy(no_repeat_ngram=1), max_new_tokens=5, stop=())
    assert with_ban.tokens.tolist() == [[1, 2, 4, 5, 6]]


class Broken(Bigram):
    """Logits straight from a table, which a product with one-hot rows could not hold: 0 · NaN is NaN everywhere."""

    def __init__(self, table, broken_V, after):
        super().__init__(BigramConfig(V, d_model=1, bos=1, eos=5), rngs=nnx.Rngs(0))
        self.table = nnx.Param(table.at[after].set(jnp.asarray(broken_V, jnp.float32)))

    def step(self, state, token_B):
        return state, self.table[...][token_B]

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        return self.table[...][tokens_BL], {}


INF, NAN = float("inf"), float("nan")
PATHOLOGIES = {
    "all -inf": [-INF] * V,
    "all NaN": [NAN] * V,
    "one NaN": [0, 0, NAN, 0, 0, 0, 0],
    "NaN among -inf": [-INF, NAN] + [-INF] * 5,
    "one inf": [0, 0, 0, INF, 0, 0, 0],
    "all inf": [INF] * V,
    "inf and -inf": [INF, -INF, 0, 0, 0, 0, 0],
    "inf and NaN": [INF, NAN, 0, 0, 0, 0, 0],
    "-NaN last": [0, 0, 0, 0, 0, 0, -NAN],
}
SAMPLERS = [Sampling.greedy(), Sampling(), Sampling(top_k=3), Sampling(top_p=0.9), Sampling(min_p=0.1), Sampling(typical_p=0.9)]
TABLE = jnp.broadcast_to(jnp.arange(V, dtype=jnp.float32)[None, :], (V, V))


@pytest.mark.parametrize("name", PATHOLOGIES)
def test_logits_that_are_no_distribution_are_an_error_in_every_sampler(name):
    """Rows that meet them at once, later or never: reliability asks for an error that names the place, never a token."""
    model = Broken(TABLE.at[0, 2].set(99.0), PATHOLOGIES[name], after=2)  # after 0 comes 2, and after 2 it breaks
    for sampling in SAMPLERS:
        with pytest.raises(NonFiniteError, match="token 1 of row 1"):
            generate(model, [[3], [2]], sampling, max_new_tokens=8, key=KEY)
        pieces = stream(model, [[3], [0]], sampling, max_new_tokens=8, block=1, key=KEY)
        assert next(pieces).tokens[1, 0] == 2
        with pytest.raises(NonFiniteError, match="token 2 of row 1"):
            next(pieces)
        generate(model, [[3], [4]], Sampling.greedy(), max_new_tokens=8)  # who does not meet it is not harmed


def test_a_single_possible_token_is_taken():
    model = Broken(TABLE, [-INF, -INF, -INF, 0, -INF, -INF, -INF], after=2)
    for sampling in SAMPLERS:
        got = generate(model, [[2], [2]], sampling, max_new_tokens=8, key=KEY)
        assert got.tokens[:, 0].tolist() == [3, 3]
        assert got.logp[:, 0].tolist() == [0, 0]


def test_an_ended_row_cannot_break_the_call():
    """Row 0 stops with a token after which the model breaks; it is not asked any more."""
    model = Broken(TABLE.at[3, 2].set(99.0), [NAN] * V, after=2)
    got = generate(model, [[3], [4]], Sampling.greedy(), max_new_tokens=8, stop=[2])
    assert got.rows()[0].tolist() == [2]
    assert got.rows()[1].tolist() == [6] * 8


def test_no_token_left_is_an_error():
    model = MODELS["bigram"]()
    with pytest.raises(NonFiniteError, match="no_repeat_ngram"):
        generate(model, [[0]], Sampling(no_repeat_ngram=1), max_new_tokens=V, key=KEY, stop=())


BAD_CALLS = {
    "no prompt": ({"prompts": []}, EmptyCorpusError),
    "a text": ({"prompts": "abc"}, ShapeError),
    "a list of texts": ({"prompts": ["abc"]}, ShapeError),
    "one prompt, not a list of them": ({"prompts": [1, 2]}, ShapeError),
    "an id too large": ({"prompts": [[0], [1, V]]}, VocabularyError),
    "a negative id": ({"prompts": [[-1]]}, VocabularyError),
    "ids that are none": ({"prompts": [[0.5]]}, ShapeError),
    "a stop token too large": ({"stop": [V]}, VocabularyError),
    "a stop token that is no list": ({"stop": 3}, ShapeError),
    "nothing to generate": ({"max_new_tokens": 0}, ConfigError),
    "half a token": ({"max_new_tokens": 2.5}, ConfigError),
    "no key": ({"key": None}, ConfigError),
    "a seed in place of a key": ({"key": 0}, ConfigError),
    "keys for other rows": ({"key": jax.random.split(KEY, 3)}, ShapeError),
    "top_k above the vocabulary": ({"sampling": Sampling(top_k=V + 1)}, ConfigError),
    "a number as sampling": ({"sampling": 0.7}, ConfigError),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_refused_before_anything_runs(name):
    change, error = BAD_CALLS[name]
    arguments = {"prompts": [[1, 2], [3]], "sampling": None, "max_new_tokens": 3, "key": KEY} | change
    model = MODELS["bigram"]()
    for function in (generate, stream):  # `stream` does not wait for its first block
        with pytest.raises(error):
            function(model, **arguments)
    with pytest.raises(ConfigError, match="block"):
        stream(model, [[1]], max_new_tokens=3, key=KEY, block=0)


@pytest.mark.parametrize(
    "fields",
    [{"top_k": 0}, {"top_k": -1}, {"top_k": 2.0}, {"top_k": True}, {"no_repeat_ngram": 0}, {"repetition_penalty": 0.0}]
    + [{"repetition_penalty": INF}]
    + [{name: p} for name in ("top_p", "min_p", "typical_p") for p in (0.0, -0.1, 1.1, NAN)],
)
def test_sampling_refuses_what_makes_no_distribution(fields):
    with pytest.raises(LmlibError, match=next(iter(fields))):
        Sampling(**fields)


def test_prompts_none_is_one_empty_prompt_a_key():
    model = MODELS["hmm"]()
    keys = jax.random.split(KEY, 4)
    assert generate(model, max_new_tokens=3, key=KEY).tokens.shape == (1, 3)
    assert_array_equal(generate(model, max_new_tokens=3, key=keys).tokens, generate(model, [[]] * 4, max_new_tokens=3, key=keys).tokens)

"""What holds for every `LanguageModel`. A model joins by one line in MODELS."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.beam import beam_search
from lmlib.generate import generate
from lmlib.models.base import compiled, split
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.models.cache import Cache
from lmlib.models.cells import Cell
from lmlib.models.hmm import HMM, HMMConfig
from lmlib.models.ngram import Ngram, NgramConfig, train
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM

MODELS = {  # name: a thunk that makes a tiny model with random weights and a vocabulary of at most 6
    "bigram": lambda: Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)),
    "bigram with two separators": lambda: Bigram(BigramConfig.tiny(bos=1, eos=3), rngs=nnx.Rngs(1)),
    "hmm": lambda: HMM(HMMConfig.tiny(), rngs=nnx.Rngs(2)),
    "hmm with two separators": lambda: HMM(HMMConfig.tiny(bos=1, eos=3), rngs=nnx.Rngs(3)),
    "n-gram": lambda: counted(),
    "n-gram with two separators": lambda: counted(bos=1, eos=3),
    "unigram": lambda: counted(order=1),
    "n-gram, backed off": lambda: counted(bos=1, eos=3, method="kneser_ney", backoff=True, discounts=((0.7,),) * 3),
    "maximum likelihood": lambda: counted(bos=1, eos=3, method="mle"),
    "cache of a bigram": lambda: Cache(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)), size=3, weight=0.4),
    "cache of an n-gram": lambda: Cache(counted(bos=1, eos=3), size=4, weight=0.4),
    "rnn": lambda: recurrent(Cell("rnn")),
    "lstm": lambda: recurrent(Cell("lstm"), bos=1, eos=3),
    "gru": lambda: recurrent(Cell("gru", reset="before"), tied=True, d_embed=4),
    "lstm of every option": lambda: recurrent(Cell("lstm", peephole=True, layer_norm=True), dropout=0.5, state_dropout=0.5),
}


def counted(**fields):
    """An n-gram model of random sentences, most continuations among them unseen."""
    config = NgramConfig.tiny(6, **fields)
    letters = [i for i in range(6) if i not in (config.bos, config.eos)]
    rng = np.random.default_rng(4)
    return train(config, [[*rng.choice(letters, rng.integers(1, 7), p=p), config.eos] for p in rng.dirichlet(np.ones(len(letters)), 8)])


def recurrent(cell, **fields):
    return RecurrentLM(RecurrentConfig.tiny(cell=cell, **fields), rngs=nnx.Rngs(5))


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]()


def some_tokens(model, batch=4, length=7):
    return np.random.default_rng(0).integers(0, model.vocab_size, (batch, length), dtype=np.int32)


def test_stepping_equals_forward(model):
    tokens_BL = some_tokens(model)
    logits_BLV, after_forward = model.forward(tokens_BL)
    state = model.init_state(len(tokens_BL), max_len=tokens_BL.shape[1])
    for t, token_B in enumerate(tokens_BL.T):
        state, logits_BV = model.step(state, token_B)
        assert_allclose(logits_BV, logits_BLV[:, t], atol=1e-5)
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), state, after_forward)


def test_forward_goes_on_from_a_state(model):
    tokens_BL = some_tokens(model)
    whole_BLV, _ = model.forward(tokens_BL)
    first_BLV, state = model.forward(tokens_BL[:, :3])
    second_BLV, _ = model.forward(tokens_BL[:, 3:], state)
    assert_allclose(jnp.concatenate([first_BLV, second_BLV], axis=1), whole_BLV, atol=1e-5)


def test_state_stops_at_lengths(model):
    tokens_BL, lengths_B = some_tokens(model), np.array([1, 7, 3, 5])
    _, state = model.forward(tokens_BL, lengths=lengths_B)
    for b, length in enumerate(lengths_B):
        _, alone = model.forward(tokens_BL[b : b + 1, :length])
        jax.tree.map(lambda a, c, b=b: assert_allclose(a[b], c[0], atol=1e-5), state, alone)


def test_every_leaf_of_a_state_leads_with_the_batch(model):
    """Reordering the rows of a state reorders the continuations, which is all that beam search needs."""
    tokens_BL, order = some_tokens(model), np.array([2, 0, 3, 1])
    _, state = model.forward(tokens_BL[:, :-1])
    _, logits_BV = model.step(jax.tree.map(lambda leaf: leaf[order], state), tokens_BL[order, -1])
    _, want_BV = model.step(state, tokens_BL[:, -1])
    assert_allclose(logits_BV, want_BV[order], atol=1e-5)


def test_probabilities_of_all_strings_sum_to_one(model):
    """All complete strings shorter than 3, ended by EOS, and all prefixes of length 3."""
    letters = [i for i in range(model.vocab_size) if i != model.eos]
    rows = [[*s, model.eos] for n in range(3) for s in product(letters, repeat=n)] + [list(s) for s in product(letters, repeat=3)]
    lengths = np.array([len(row) for row in rows])
    tokens = np.array([row + [0] * (3 - len(row)) for row in rows], np.int32)
    logp = np.asarray(compiled(model, "score")(tokens, lengths), np.float64)
    assert abs(np.exp(logp.sum(axis=1)).sum() - 1) < 1e-5


def test_score_is_the_chain_rule_over_step(model):
    tokens_BL, lengths_B = some_tokens(model), np.array([0, 7, 3, 5])
    want_BL = np.zeros(tokens_BL.shape)
    state, token_B = model.init_state(len(tokens_BL), max_len=8), np.full(len(tokens_BL), model.bos, np.int32)
    for t in range(tokens_BL.shape[1]):
        state, logits_BV = model.step(state, token_B)
        token_B = tokens_BL[:, t]
        want_BL[:, t] = np.where(t < lengths_B, jax.nn.log_softmax(logits_BV)[np.arange(len(token_B)), token_B], 0)
    assert_allclose(model.score(tokens_BL, lengths_B), want_BL, atol=1e-5)


def test_logits_do_not_depend_on_later_tokens(model):
    tokens_BL = some_tokens(model)
    logits_BLV, _ = model.forward(tokens_BL)
    for t in range(tokens_BL.shape[1] - 1):
        changed_BL = tokens_BL.copy()
        changed_BL[:, t + 1 :] = (changed_BL[:, t + 1 :] + 1) % model.vocab_size
        assert_array_equal(model.forward(changed_BL)[0][:, : t + 1], logits_BLV[:, : t + 1])


def test_compiled_equals_plain(model):
    tokens_BL, lengths_B = some_tokens(model), np.array([1, 7, 3, 5])
    assert_allclose(compiled(model, "forward")(tokens_BL)[0], model.forward(tokens_BL)[0], atol=1e-5)
    assert_allclose(compiled(model, "score")(tokens_BL, lengths_B), model.score(tokens_BL, lengths_B), atol=1e-5)
    state = model.init_state(4, max_len=8)
    assert_allclose(compiled(model, "step")(state, tokens_BL[:, 0])[1], model.step(state, tokens_BL[:, 0])[1], atol=1e-5)


def test_parameters_are_finite_plain_arrays(model):
    """Nothing but float arrays, no keys among them: what optax, gradients and checkpoints take. In counted models, places too."""
    kinds = {jnp.dtype(jnp.float32)} | ({jnp.dtype(jnp.int32)} if isinstance(getattr(model, "model", model), Ngram) else set())
    for leaf in jax.tree.leaves(split(model)[1]):
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype in kinds
        assert jnp.isfinite(leaf).all()


def test_one_generate_serves_every_model(model):
    """Prompts of several lengths, one of them empty; what is drawn has the log-probability that `score` gives to the whole text."""
    key = jax.random.key(1)
    (text,) = generate(model, [[]], max_new_tokens=4, key=key).rows()
    prompts = [text[:2], [], text[:1], text[:3]]
    got = generate(model, prompts, max_new_tokens=3, key=key)
    best = beam_search(model, prompts, beams=2, max_new_tokens=3)
    drawn = list(zip(prompts, got.tokens, got.logp, got.lengths, strict=True))
    drawn += list(zip(prompts, best.tokens[:, 0], best.logp[:, 0], best.lengths[:, 0], strict=True))
    for prompt, tokens, logp_L, length in drawn:
        begin, end = len(prompt), len(prompt) + length
        whole = np.zeros((1, 8), np.int32)
        whole[0, :end] = [*prompt, *tokens[:length]]
        assert_allclose(logp_L[:length], compiled(model, "score")(whole, np.array([end]))[0, begin:end], atol=1e-5)

"""Recurrent language models on running text: the published recipe written out, scoring against a loop over steps, what is held back."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, EmptyCorpusError, VocabularyError
from lmlib.learn.optim import OptimConfig, make_schedule
from lmlib.learn.train import fetch, fit
from lmlib.measure import language_models
from lmlib.measure.language_models import LanguageModelConfig, corpora_of, encode, evaluate, prepare, separator, train_tokenizer
from lmlib.models.base import split
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM
from lmlib.text.corpora import memory_corpus
from lmlib.text.store import TokenStore

KEY = jax.random.key(0)


def written(lines=300, seed=0):
    rng = np.random.default_rng(seed)
    return memory_corpus([" ".join(rng.choice(["a", "bc", "def", "gh"], rng.integers(0, 9))) for _ in range(lines)])


def prepared(config, corpus):
    tokenizer = train_tokenizer(config, corpus)
    return prepare(config, tokenizer, encode(corpus, tokenizer)), tokenizer


def test_a_step_of_the_penn_treebank_preset_is_the_published_one():
    """Zaremba et al.: the gradient of the loss summed over the 20 steps and averaged over the 20 streams, shrunk to a norm of 5, rate 1."""
    small = RecurrentConfig.ptb_small(1, d_embed=6, d_hidden=6)
    ready, _ = prepared(LanguageModelConfig.ptb_small(net=small), written(600))
    state = ready.init(KEY)
    state["params"] = jax.tree.map(lambda w: 20 * w, state["params"])  # so that the gradient is longer than 5
    batch = ready.batches[0]

    def summed(params):
        logits, _ = ready.model(params).forward(batch["tokens"], ready.model(params).init_state(20, max_len=20))
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, batch["targets"][..., None], -1).sum() / 20

    gradient = jax.grad(summed)(state["params"])
    norm = math.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(gradient)))
    assert norm > 5
    expected = jax.tree.map(lambda w, g: w - g * 5 / norm, state["params"], gradient)
    new, metrics = jax.jit(ready.train_step)(state, batch, KEY)
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), new["params"], expected)
    assert_allclose(metrics["gradient_norm"], norm / 20, rtol=1e-4)


def test_the_penn_treebank_preset_falls_after_its_fourth_epoch(monkeypatch):
    asked = []
    monkeypatch.setattr(language_models, "_make_step", lambda _, optim, steps: asked.append((optim, steps)) or (None, None))
    ready, _ = prepared(LanguageModelConfig.ptb_small(), written(600))
    ((optim, steps),) = asked
    an_epoch = len(ready.batches)
    assert steps == 13 * an_epoch
    rates = [float(make_schedule(optim, steps)(epoch * an_epoch + i)) for epoch in range(13) for i in (0, an_epoch - 1)]
    assert rates == [20.0] * 8 + [20 * 0.5**i for i in range(1, 10) for _ in range(2)]
    assert (ready.net.d_hidden, ready.net.layers, ready.net.dropout, ready.net.init_scale, ready.net.init_embed) == (200, 2, 0, 0.1, 0.1)


def test_scoring_is_a_loop_over_single_steps(monkeypatch):
    """From BOS and zeros through the whole text, however it is cut into pieces."""
    rng = np.random.default_rng(0)
    model = RecurrentLM(RecurrentConfig.tiny(7, bos=3, eos=3), rngs=nnx.Rngs(0))
    ids = rng.integers(0, 7, 53)
    state, before, nats = model.init_state(1, max_len=1), 3, 0.0
    for token in ids.tolist():
        state, logits = model.step(state, jnp.array([before]))
        nats -= float(jax.nn.log_softmax(logits)[0, token])
        before = token
    for piece in (1, 10, 53, 512):
        monkeypatch.setattr(language_models, "PIECE", piece)
        found = evaluate(model, TokenStore.from_sequences([ids[:20], ids[20:]], 7))
        assert found.tokens == 53
        assert_allclose(found.nats, nats, rtol=1e-5)


@pytest.mark.parametrize("tokens", ["words", "characters", "byte-pairs"])
def test_the_tokens_are_those_of_the_text_in_order(tokens):
    corpus = memory_corpus(["ab cd", "", "ab é"])
    config = LanguageModelConfig.tiny(tokens=tokens, max_size=258 if tokens == "byte-pairs" else None)
    tokenizer = train_tokenizer(config, corpus)
    store, end = encode(corpus, tokenizer), separator(tokenizer)
    text = tokenizer.decode(store.ids)
    if tokens == "characters":
        assert text == corpus.text()
        assert tokenizer.decode([end]) == "\n"
    else:
        assert text.replace(" <eos>", "<eos>").replace("<eos> ", "<eos>") == "ab cd<eos><eos>ab é<eos>"
        assert tokenizer.decode([end]) == "<eos>"
    net = prepare(LanguageModelConfig.tiny(batch_size=1, length=2), tokenizer, store).net
    assert (net.vocab_size, net.bos, net.eos) == (tokenizer.vocab_size, end, end)


def test_without_bytes_an_unseen_character_is_an_error():
    seen, unseen = memory_corpus(["ab"]), memory_corpus(["abc"])
    alphabet = train_tokenizer(LanguageModelConfig.tiny(byte_fallback=False), seen)
    assert alphabet.vocab_size == 3
    with pytest.raises(VocabularyError, match="'c'"):
        encode(unseen, alphabet)
    assert len(encode(unseen, train_tokenizer(LanguageModelConfig.tiny(), seen)).ids) == 3


def test_the_published_parts_are_taken_and_otherwise_a_tenth_is_held_back(tmp_path):
    assert [(part, corpus.split) for part, corpus in corpora_of("world").items()] == [(part, part) for part in ("train", "valid", "test")]
    path = tmp_path / "some.txt"
    path.write_text("".join(f"line {i}\n" for i in range(25)))
    corpora = corpora_of(path)
    assert list(corpora) == ["train", "valid"]
    assert list(corpora["train"].documents()) == [f"line {i}" for i in range(23)]
    assert list(corpora["valid"].documents()) == ["line 23", "line 24"]
    assert [record["text"] for record in corpora["valid"].records()] == ["line 23", "line 24"]
    path.write_text("a\n" * 9)
    with pytest.raises(EmptyCorpusError, match="9 documents"):
        corpora_of(path)


@pytest.mark.data
def test_published_texts_have_the_published_numbers_of_tokens():
    for source, preset, vocabulary, sizes in (
        ("ptb", LanguageModelConfig.ptb_small(), 10_000, (929_589, 73_760, 82_430)),
        ("wikitext-2", LanguageModelConfig.wikitext2_small(), 33_278, (2_088_628, 217_646, 245_569)),
        ("tiny-shakespeare", LanguageModelConfig.shakespeare_chars(), 65, (1_003_854, 111_540)),
    ):
        corpora = corpora_of(source)
        tokenizer = train_tokenizer(preset, corpora["train"])
        assert tokenizer.vocab_size == vocabulary
        assert tuple(len(encode(corpus, tokenizer).ids) for corpus in corpora.values()) == sizes
    assert list(corpora) == ["train", "valid"]  # of Shakespeare


def test_the_rate_falls_when_validation_does_not_and_the_best_parameters_are_kept():
    optim = OptimConfig("sgd", 0.8, "plateau", factor=0.25)
    ready, _ = prepared(LanguageModelConfig.tiny(optim=optim, keep="best"), written())
    step, state = jax.jit(ready.train_step), ready.init(KEY)
    expected = [(3.0, 1, 1.0, 0.8), (2.0, 2, 2.0, 0.8), (2.5, 2, 2.0, 0.2), (2.0, 2, 2.0, 0.05), (1.9, 5, 5.0, 0.05)]
    for epoch, (loss, best_epoch, best_weight, rate) in enumerate(expected, 1):
        # the parameters of an epoch are told by their values
        state = state | {"params": jax.tree.map(lambda w, value=epoch: jnp.full_like(w, value), state["params"])}
        state, better = ready.end_epoch(state, loss, epoch)
        assert better == (best_epoch == epoch)
        assert int(state["best"]["epoch"]) == best_epoch
        assert {float(w.max()) for w in jax.tree.leaves(state["best"]["params"])} == {best_weight}
        new, metrics = step(state, ready.batches[0], KEY)
        moved = jax.tree.map(jnp.subtract, new["params"], state["params"])
        assert_allclose(float(optax.tree.norm(moved)), rate * float(metrics["gradient_norm"]), rtol=1e-2)
        jax.tree.map(assert_array_equal, new["best"], state["best"])  # a step hands it on
    last, _ = prepared(LanguageModelConfig.tiny(), written())
    assert "params" not in last.init(KEY)["best"]


def test_it_learns_to_spell():
    """Four words in random order: all but the first letter of a word is certain, and the model comes near the entropy of the source."""
    corpus = written(2000)
    ready, tokenizer = prepared(LanguageModelConfig.tiny(optim=OptimConfig("adam", 0.02, clip=1.0), epochs=4), corpus)
    state = ready.init(KEY)
    untrained = evaluate(ready.model(state["params"]), encode(written(100, 1), tokenizer))
    run = fit(ready.train_step, state, ready.batches, key=KEY, steps=ready.steps, steps_per_call=50)
    for state, metrics in run:  # noqa: B007
        pass
    trained = evaluate(ready.model(state["params"]), encode(written(100, 1), tokenizer))
    assert trained.bits_per_token < 1.35 < 4 < untrained.bits_per_token
    assert fetch([metrics])["loss"].mean() < 1.35 * math.log(2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokens": "letters"}, "tokens must be one of"),
        ({"tokens": "byte-pairs", "max_size": None}, "needs max_size"),
        ({"keep": "first"}, "keep must be one of"),
        ({"length": 0}, "length must be at least 1"),
    ],
)
def test_settings_out_of_range(changes, told):
    with pytest.raises(ConfigError, match=told):
        LanguageModelConfig(**changes)


def test_the_same_seed_gives_the_same_start():
    ready, _ = prepared(LanguageModelConfig.tiny(), written())
    jax.tree.map(assert_array_equal, ready.init(KEY), ready.init(KEY))
    fresh = split(RecurrentLM(ready.net, rngs=nnx.Rngs(KEY)))[1]
    jax.tree.map(assert_array_equal, ready.init(KEY)["params"], fresh)

"""fastText's classifier against autodiff and a naive loop, its features, and what it can and cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError
from lmlib.measure import text_classifiers
from lmlib.models import text_classifier
from lmlib.models.text_classifier import LabelledBatches, TextClassifierConfig, TextFeatures
from lmlib.text.subwords import ft_hash

CONFIG = TextClassifierConfig.tiny(learning_rate=0.3)


def random_state(size=9, labels=3, seed=0):
    state = text_classifier.init_state(CONFIG, size, labels, jax.random.key(seed))
    rng = np.random.default_rng(seed)
    return state | {"params": jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), state["params"])}


BATCH = {
    "tokens": np.array([[1, 2, 2, 8], [3, 0, 0, 0], [5, 6, 7, 0], [0, 0, 0, 0]], np.int32),
    "lengths": np.array([4, 1, 3, 0], np.int32),
    "labels": np.array([2, 0, 1, 1], np.int32),
}


def test_loss_is_that_of_a_naive_loop():
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), random_state()["params"])
    total = 0.0
    for tokens, n, label in zip(*BATCH.values(), strict=True):
        if n:
            logits = np.mean([params["embedding"][t] for t in tokens[:n]], axis=0) @ params["weight"]
            total -= logits[label] - np.log(np.exp(logits).sum())
    state = random_state()
    assert_allclose(text_classifier.loss(state["params"], BATCH), total, rtol=1e-5)
    _, metrics = text_classifier.train_step(CONFIG, 10, state, BATCH, None)
    assert_allclose(metrics["loss"], total / 3, rtol=1e-5)


def test_a_step_moves_against_the_gradient_by_autodiff_at_a_falling_rate():
    state = random_state() | {"step": jnp.int32(4)}
    gradient = jax.grad(text_classifier.loss)(state["params"], BATCH)
    new, metrics = text_classifier.train_step(CONFIG, 10, state, BATCH, None)
    assert_allclose(metrics["learning_rate"], 0.3 * 0.6, rtol=1e-6)
    for name in gradient:
        assert_allclose(new["params"][name], state["params"][name] - 0.18 * gradient[name], atol=1e-6)


@pytest.mark.parametrize("fault", ["nan", "token", "label"])
def test_an_unsound_step_is_skipped(fault):
    state, batch = random_state(), jax.tree.map(np.copy, BATCH)
    if fault == "nan":
        state["params"]["weight"] = state["params"]["weight"].at[0, 0].set(jnp.nan)
    else:
        batch["tokens" if fault == "token" else "labels"][0, ...] = 9
    new, metrics = text_classifier.train_step(CONFIG, 10, state, batch, None)
    assert (int(new["step"]), int(new["skipped"])) == (1, 1)
    assert np.isnan(metrics["loss"])
    for name, before in state["params"].items():
        assert_array_equal(new["params"][name], before)


def test_features_are_words_and_hashed_bigrams_of_the_training_texts():
    features = TextFeatures(TextClassifierConfig.tiny(buckets=10**6), ["the cat sat", "The cat ran ."])
    words = features.tokenizer.words
    (ids,) = features.encode(["cat sat ran the zebra cat"])
    assert [words[i] for i in ids[:5]] == ["cat", "sat", "ran", "the", "cat"]  # zebra is dropped

    def bucket(a, b):
        signed = ft_hash(a) - (ft_hash(a) >> 31 << 32), ft_hash(b) - (ft_hash(b) >> 31 << 32)
        return (signed[0] * 116049371 + signed[1]) % 2**64 % 10**6

    known = {bucket(*pair) for pair in (("the", "cat"), ("cat", "sat"), ("cat", "ran"), ("ran", "."))}
    assert set(features.buckets.tolist()) == known
    assert [int(features.buckets[i - len(words)]) for i in ids[5:]] == [bucket("cat", "sat"), bucket("the", "cat")]
    assert features.encode(["zebra", ""])[0].tolist() == []
    trigrams = TextFeatures(TextClassifierConfig.tiny(ngrams=3), ["a b c d"])
    assert trigrams.size == 4 + 3 + 2


def test_every_text_comes_once_an_epoch_with_its_label():
    features = [np.array([i, i + 1]) for i in range(10)] + [np.zeros(0, int)]
    batches = LabelledBatches(features, [*range(10), 0], 20, 4, seed=1)
    rows = [row for step in range(3) for row in zip(*batches[step].values(), strict=True)]
    seen = [(int(tokens[0]), int(label)) for tokens, length, label in rows if length]
    assert sorted(seen) == [(i, i) for i in range(10)]
    with pytest.raises(ShapeError, match="labels"):
        LabelledBatches(features, [0], 20, 4)
    with pytest.raises(EmptyCorpusError):
        LabelledBatches([np.zeros(0, int)], [0], 20, 4)


def order_matters(n, seed):
    """Texts whose label only their word order tells: "not good" and "good not", among other words."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    fill = [" ".join(rng.choice(["film", "it", "so", "was"], 3)) for _ in range(n)]
    return [f"{f} {'good bad' if label else 'bad good'} {f}" for f, label in zip(fill, labels, strict=True)], labels


def test_bigrams_tell_what_words_cannot():
    texts, labels = order_matters(400, 0)
    unseen, truth = order_matters(200, 1)
    for ngrams, low, high in ((1, 0.3, 0.7), (2, 0.99, 1.0)):
        config = TextClassifierConfig(ngrams=ngrams, epochs=10)
        predict = text_classifiers.fit_fasttext(texts, labels, config, seed=1)
        assert low <= (predict(unseen) == truth).mean() <= high
    again = text_classifiers.fit_fasttext(texts, labels, config, seed=1)
    assert_array_equal(predict(unseen), again(unseen))
    assert (text_classifiers.fit_logistic(texts, labels)(unseen) == truth).mean() > 0.99


def test_a_text_without_features_gets_every_label_alike():
    state = random_state()
    logp = text_classifier.predict(state["params"], [np.zeros(0, np.int32), np.array([1, 2])])
    assert_allclose(logp[0], -np.log(3), rtol=1e-6)
    assert_allclose(np.exp(logp).sum(axis=1), 1, rtol=1e-6)


def test_settings_are_chosen_inside_the_training_texts():
    texts, labels = order_matters(200, 2)
    asked = []

    def train(x, y, candidate):
        asked.append(len(x))
        return lambda unseen: np.array([int("good bad" in text) for text in unseen]) ^ (candidate != "right")

    assert text_classifiers.choose(texts, labels, ["wrong", "right", "false"], train) == "right"
    assert asked == [180] * 3


def test_a_comparison_has_a_row_for_each_classifier_and_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(text_classifiers, "RATES", (0.25,))
    monkeypatch.setattr(text_classifiers, "EPOCHS", (5,))
    texts, labels = order_matters(60, 3)
    path = tmp_path / "mine.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in zip(texts, labels, strict=True)))
    frame = text_classifiers.compare(str(path), k=3)
    assert len(frame) == 6
    assert frame.groupby("classifier")["texts"].sum().tolist() == [60, 60]
    assert (frame["low"] <= frame["accuracy"]).all()
    summary = text_classifiers.summary(frame)
    assert summary["parts"].tolist() == [3, 3]
    assert_allclose(summary["accuracy"], frame.groupby("classifier", sort=False)["accuracy"].mean())


@pytest.mark.parametrize("field", ["hidden", "ngrams", "learning_rate"])
def test_impossible_settings_are_named(field):
    with pytest.raises(ConfigError, match=field):
        TextClassifierConfig(**{field: 0})

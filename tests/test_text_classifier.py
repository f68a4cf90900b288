"""fastText's classifier against autodiff and a naive loop, its features, and what it can and cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.cli import main
from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, UnknownNameError
from lmlib.measure import text_classifiers
from lmlib.measure.classification import wilson_interval
from lmlib.models import text_classifier
from lmlib.models.text_classifier import LabelledBatches, TextClassifierConfig, TextFeatures
from lmlib.record.runs import load_run
from lmlib.text.corpora import Corpus, open_corpus
from lmlib.text.subwords import ft_hash

CONFIG = TextClassifierConfig.tiny(learning_rate=0.3)


def random_state(size=9, labels=3, seed=0):
    state = text_classifier.init_state(CONFIG, size, labels, 10, jax.random.key(seed))
    rng = np.random.default_rng(seed)
    return state | {"params": jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), state["params"])}


BATCH = {
    **text_classifier.pack([np.array(tokens, np.int32) for tokens in ([1, 2, 2, 8], [3], [5, 6, 7])], 4, 10),
    "labels": np.array([2, 0, 1, 1], np.int32),
}


def test_loss_is_that_of_a_naive_loop():
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), random_state()["params"])
    total = 0.0
    for i, label in enumerate(BATCH["labels"]):
        tokens = BATCH["tokens"][BATCH["rows"] == i]
        if len(tokens):
            logits = np.mean([params["embedding"][t] for t in tokens], axis=0) @ params["weight"]
            total -= logits[label] - np.log(np.exp(logits).sum())
    state = random_state()
    assert_allclose(text_classifier.loss(state["params"], BATCH), total, rtol=1e-5)
    _, metrics = text_classifier.train_step(state, BATCH, None)
    assert_allclose(metrics["loss"], total / 3, rtol=1e-5)


def test_a_step_moves_against_the_gradient_by_autodiff_at_a_falling_rate():
    state = random_state() | {"step": jnp.int32(4)}
    gradient = jax.grad(text_classifier.loss)(state["params"], BATCH)
    new, metrics = text_classifier.train_step(state, BATCH, None)
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
    new, metrics = text_classifier.train_step(state, batch, None)
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
    features = [np.full(1 + 60 * i, i) for i in range(10)] + [np.zeros(0, int)]
    batches = LabelledBatches(features, [*range(10), 0], 4, seed=1)
    orders = []
    for epoch in range(3):
        order = []
        for batch in (batches[3 * epoch + i] for i in range(3)):
            assert batch["tokens"].shape == batches[3 * epoch]["tokens"].shape  # one call an epoch
            for row, (length, label) in enumerate(zip(batch["lengths"], batch["labels"], strict=True)):
                own = batch["tokens"][batch["rows"] == row]
                assert len(own) == length
                if length:
                    assert_array_equal(own, features[label])
                    order.append(int(label))
            assert (batch["rows"] == 4).sum() == len(batch["rows"]) - batch["lengths"].sum()  # the rest is nobody's
        assert sorted(order) == list(range(10))
        orders.append(order)
    assert orders[0] != orders[1]
    jax.tree.map(assert_array_equal, batches[1], LabelledBatches(features, [*range(10), 0], 4, seed=1)[1])  # asked for by itself
    with pytest.raises(ShapeError, match="labels"):
        LabelledBatches(features, [0], 4)
    with pytest.raises(EmptyCorpusError):
        LabelledBatches([np.zeros(0, int)], [0], 4)


def test_prediction_does_not_depend_on_the_batch():
    params = random_state()["params"]
    rng = np.random.default_rng(0)
    features = [rng.integers(0, 9, n).astype(np.int32) for n in (3, 0, 7, 1, 300, 2)]
    alone = np.concatenate([text_classifier.predict(params, [one]) for one in features])
    for batch_size in (1, 4, 256):
        assert_allclose(text_classifier.predict(params, features, batch_size), alone, rtol=1e-5)
    assert text_classifier.predict(params, []).shape == (0, 3)


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
        predict = text_classifiers.prepare_fasttext(texts, labels, config, seed=1)(config)
        assert low <= (predict(unseen) == truth).mean() <= high
    assert (text_classifiers.prepare_logistic(texts, labels)(10.0)(unseen) == truth).mean() > 0.99


def test_one_program_serves_every_rate_and_number_of_epochs():
    state, other = (text_classifier.init_state(CONFIG, 9, 3, steps, jax.random.key(0)) for steps in (10, 20))
    other["opt_state"]["learning_rate"] = jnp.float32(0.6)
    step = jax.jit(text_classifier.train_step)
    rates = [float(step(one | {"step": jnp.int32(5)}, BATCH, None)[1]["learning_rate"]) for one in (state, other)]
    assert_allclose(rates, [0.3 * 0.5, 0.6 * 0.75], rtol=1e-6)
    assert step._cache_size() == 1


def test_a_text_without_features_gets_every_label_alike():
    state = random_state()
    logp = text_classifier.predict(state["params"], [np.zeros(0, np.int32), np.array([1, 2])])
    assert_allclose(logp[0], -np.log(3), rtol=1e-6)
    assert_allclose(np.exp(logp).sum(axis=1), 1, rtol=1e-6)


def test_settings_are_chosen_inside_the_training_texts():
    texts, labels = order_matters(200, 2)
    asked = []

    def prepare(x, y, seed):
        asked.append(len(x))
        return lambda candidate: lambda unseen: np.array([int("good bad" in text) for text in unseen]) ^ (candidate != "right")

    classifier = text_classifiers.Classifier("any", ("wrong", "right", "false"), prepare, str)
    assert text_classifiers.choose(classifier, texts, labels) == "right"
    assert asked == [180]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of 60 texts, and few settings to choose from."""
    monkeypatch.setattr(text_classifiers, "RATES", (0.25,))
    monkeypatch.setattr(text_classifiers, "EPOCHS", (5,))
    texts, labels = order_matters(60, 3)
    path = tmp_path / "mine.tsv"
    path.write_text("text\ttopic\n" + "".join(f"{t}\t{y}\n" for t, y in zip(texts, labels, strict=True)))
    return path


def test_every_text_is_scored_once_over_the_folds(table):
    corpora = text_classifiers.corpora_of(table, label="topic")
    parts = text_classifiers.parts_of(corpora, 3)
    assert sorted(text for part in parts for text in part.unseen) == sorted(text_classifiers.labelled(corpora[0])[0])
    for part in parts:
        assert len(part.texts) + len(part.unseen) == 60
    frame = pd.DataFrame(text_classifiers.compare(corpora, k=3))
    assert frame["classifier"].tolist() == ["fasttext", "logistic"] * 3
    again = pd.DataFrame(text_classifiers.compare(corpora, k=3))
    pd.testing.assert_frame_equal(frame.drop(columns="seconds"), again.drop(columns="seconds"))
    summary = text_classifiers.summary(frame)
    assert summary["parts"].tolist() == [3, 3]
    right = frame.groupby("classifier", sort=False)["right"].sum()
    for (_, row), n in zip(summary.iterrows(), right, strict=True):
        assert row["low"] < n / 60 < row["high"] or n == 60
    assert_allclose(summary["accuracy"], frame.groupby("classifier", sort=False)["accuracy"].mean())


def test_a_published_split_is_scored_once_a_seed_with_one_setting(monkeypatch):
    monkeypatch.setattr(text_classifiers, "EPOCHS", (5,))
    train, test = (_corpus(*order_matters(n, n)) for n in (80, 40))
    frame = pd.DataFrame(text_classifiers.compare([train, test], seeds=3))
    assert frame["classifier"].tolist() == ["fasttext", "logistic", "fasttext", "fasttext"]
    assert frame["part"].tolist() == ["test, seed 0"] * 2 + ["test, seed 1", "test, seed 2"]
    assert frame["texts"].tolist() == [40] * 4
    assert frame[frame["classifier"] == "fasttext"]["setting"].nunique() == 1
    summary = text_classifiers.summary(frame).set_index("classifier")
    low, high = wilson_interval(round(frame.query("classifier == 'fasttext'")["right"].mean()), 40)
    assert_allclose(summary.loc["fasttext", ["low", "high"]].tolist(), [low, high])


def _corpus(texts, labels):
    records = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return Corpus("some", "all", None, lambda: iter(records), "0" * 64)


def test_a_corpus_without_labels_is_refused(table):
    with pytest.raises(UnknownNameError, match=r"no labels.*topic"):
        text_classifiers.labelled(open_corpus(table, text="text"))


def test_the_command_records_tables_and_claims(table, tmp_path, capsys):
    command = ["classify", "--corpus", str(table), "--label", "topic", "--out", str(tmp_path / "run"), "--folds", "3", "--claim", "mine"]
    assert main(command) == 0
    run = load_run(tmp_path / "run")
    assert {name: len(claim["values"]) for name, claim in run.record["claims"].items()} == {"mine_fasttext_acc": 3, "mine_logreg_acc": 3}
    assert_allclose(run.table("accuracy")["accuracy"][0], np.mean(run.record["claims"]["mine_fasttext_acc"]["values"]), atol=1e-6)
    assert run.table("parts")["texts"].sum() == 120
    before = (tmp_path / "run" / "run.json").read_bytes()
    assert main(command) == 0
    assert "is finished" in capsys.readouterr().out
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert main([*command, "--hidden", "20"]) == 1
    assert "hidden" in capsys.readouterr().err
    assert main([*command, "--epochs", "20"]) == 1  # which validation chooses
    assert "no option '--epochs'" in capsys.readouterr().err
    assert main([*command, "--only", "logistic", "--net", "tiny"]) == 1
    assert "exclude each other" in capsys.readouterr().err


def test_one_of_the_two_can_be_asked_for_and_reads_chinese_by_characters(tmp_path):
    """Between white space these texts are one word each, none of which is seen twice; by characters, and pairs of them, they are easy."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.permutation(list("的了在是我有和人这中"))) + ("很好" if i % 2 else "不好") for i in range(120)]
    path = tmp_path / "zh.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(texts)), encoding="utf-8")
    command = ["classify", "--corpus", str(path), "--label", "label", "--only", "logistic", "--folds", "3", "--out"]
    for segmentation, low, high in (("cjk", 0.99, 1.0), ("space", 0.4, 0.6)):
        assert main([*command, str(tmp_path / segmentation), "--segmentation", segmentation]) == 0
        table = load_run(tmp_path / segmentation).table("accuracy")
        assert table["classifier"].tolist() == ["logistic"]
        assert low <= table["accuracy"][0] <= high
    assert set(load_run(tmp_path / "cjk").table("parts")) >= {"macro_precision_low", "macro_recall_high", "macro_f1"}


@pytest.mark.parametrize("field", ["hidden", "ngrams", "learning_rate"])
def test_impossible_settings_are_named(field):
    with pytest.raises(ConfigError, match=field):
        TextClassifierConfig(**{field: 0})

"""Training with early stopping, and scores with intervals, on texts whose label is an order of words."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import precision_recall_fscore_support

from lmlib.cli import main
from lmlib.errors import ConfigError
from lmlib.measure import neural_classifiers
from lmlib.measure.classification import bootstrap_intervals, classification, wilson_interval
from lmlib.measure.neural_classifiers import NeuralConfig, encode, score_net, train_net
from lmlib.record.runs import load_run
from lmlib.text.corpora import Corpus
from lmlib.text.tokenizers import WordTokenizer


def reviews(n, seed, noise=0.0):
    """A rise has "good" before "bad", a fall "bad" before "good"; every text has both words once. A share of labels is turned round."""
    rng, filler = np.random.default_rng(seed), ["the", "a", "plot", "was", "film", "and", "then", "it"]
    texts, labels = [], []
    for _ in range(n):
        words = list(rng.choice(filler, rng.integers(2, 9)))
        rises = rng.random() < 0.5
        at = sorted(rng.integers(0, len(words) + 1, 2))
        words.insert(at[1], "bad" if rises else "good")
        words.insert(at[0], "good" if rises else "bad")
        texts.append(" ".join(words).capitalize())
        labels.append("rise" if rises != (rng.random() < noise) else "fall")
    return texts, np.array(labels)


@pytest.fixture(scope="module")
def trained():
    told = []
    return train_net(*reviews(400, 0), NeuralConfig.tiny(), 0, told.append), told


def test_learns_an_order_and_tells_it_of_unseen_texts(trained):
    model, told = trained
    texts, labels = reviews(200, 1)
    assert (model(texts) == labels).mean() > 0.95
    assert model.labels.tolist() == ["fall", "rise"]
    assert_allclose(np.exp(model.log_probabilities(texts)).sum(axis=1), 1, rtol=1e-5)
    assert told == model.history
    assert model([""]).shape == (1,)
    assert model(["good zebra bad zebra"])[0] == "rise"  # unknown words are one word


def test_the_parameters_kept_are_those_of_the_best_epoch():
    """Noisy labels make validation go up and down. Its accuracy, computed again with what was kept, is the best of the history, and the
    run ended `patience` epochs later."""
    texts, labels = reviews(300, 2, noise=0.3)
    config = NeuralConfig.tiny(epochs=30, patience=3)
    model = train_net(texts, labels, config, 1)
    rows, held_back = neural_classifiers.folds(labels, 10, 1)[0]
    accuracies = [row["validation_accuracy"] for row in model.history]
    assert model.epoch == 1 + int(np.argmax(accuracies))  # the first of equals
    assert len(model.history) == model.epoch + 3 < 30
    assert (model([texts[i] for i in held_back]) == labels[held_back]).mean() == max(accuracies)
    known = WordTokenizer.train([texts[i] for i in rows], normalisation="lower", segmentation="punctuation", max_size=199)
    assert model.tokenizer.words == known.words  # what is held back is not looked at


def test_equal_arguments_give_equal_bits_and_another_seed_does_not():
    texts, labels = reviews(60, 3)
    config = NeuralConfig.tiny(epochs=1)
    a, b, c = (train_net(texts, labels, config, seed) for seed in (0, 0, 1))
    jax.tree.map(assert_array_equal, a.params, b.params)
    assert a.history == b.history
    assert (a.params["embedding"] != c.params["embedding"]).any()


def test_long_texts_are_cut_where_the_config_says_and_counted():
    tokenizer = WordTokenizer.train(["a b c d e"])
    ids = [tokenizer.encode("a b c d e"), tokenizer.encode("a b c")]
    for keep, part in (("start", slice(0, 3)), ("end", slice(-3, None))):
        found, longer = encode(tokenizer, ["a b c d e", "a b c"], NeuralConfig.tiny(max_length=3, keep=keep))
        assert longer == 1
        assert_array_equal(found[0], ids[0][part])
        assert_array_equal(found[1], ids[1])


def _corpus(texts, labels):
    records = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return Corpus("some", "all", None, lambda: iter(records), "0" * 64)


def test_scores_of_a_published_split():
    train, test = _corpus(*reviews(300, 4)), _corpus(*reviews(80, 5, noise=0.2))
    rows = list(score_net([train, test], NeuralConfig.tiny(epochs=4), seeds=2))
    assert [row["part"] for row, _ in rows] == ["test, seed 0", "test, seed 1"]
    for row, history in rows:
        assert row["texts"] == 80
        assert row["accuracy"] == row["right"] / 80
        assert 0.6 < row["accuracy"] < 0.95
        assert (row["low"], row["high"]) == wilson_interval(row["right"], 80)
        for name in ("macro_precision", "macro_recall", "macro_f1"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        assert row["classifier"] == "lstm"
        assert row["validation"] == max(epoch["validation_accuracy"] for epoch in history)
        assert {epoch["part"] for epoch in history} == {row["part"]}


def test_bootstrap_over_confusion_matrices_is_that_over_texts():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 150)
    predicted = np.where(rng.random(150) < 0.7, true, rng.integers(0, 3, 150))
    found = bootstrap_intervals(classification(true.tolist(), predicted.tolist()).confusion)
    draws = []
    for _ in range(1500):
        rows = rng.integers(0, 150, 150)
        *scores, _ = precision_recall_fscore_support(true[rows], predicted[rows], average="macro", zero_division=0)
        draws.append([(true[rows] == predicted[rows]).mean(), *scores])
    expected = np.quantile(draws, [0.025, 0.975], axis=0).T
    assert_allclose([found[name] for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1")], expected, atol=0.012)
    assert bootstrap_intervals([[5, 0], [0, 5]])["accuracy"] == (1, 1)
    with pytest.raises(ConfigError, match="confidence"):
        bootstrap_intervals([[5]], confidence=1)


@pytest.mark.parametrize("name", ["lstm_100", "lstm", "cnn", "tiny"])
def test_presets_are_configs_of_one_kind(name):
    config = getattr(NeuralConfig, name)(epochs=3)
    assert config.epochs == 3
    assert (config.net.encoder == "cnn") == (name == "cnn")


@pytest.mark.parametrize(("field", "value"), [("max_length", 0), ("patience", 0), ("keep", "middle")])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        NeuralConfig(**{field: value})


def test_the_command_records_tables_and_a_claim(tmp_path, capsys, monkeypatch):
    texts, labels = reviews(120, 6)
    path = tmp_path / "mine.tsv"
    path.write_text("text\ttopic\n" + "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)))
    monkeypatch.setattr(NeuralConfig, "tiny", classmethod(lambda cls, tiny=NeuralConfig.tiny, **given: tiny(epochs=2, **given)))
    command = ["classify", "--net", "tiny", "--corpus", str(path), "--label", "topic", "--out", str(tmp_path / "run"), "--folds", "2"]
    assert main([*command, "--claim", "mine"]) == 0
    run = load_run(tmp_path / "run")
    parts, history = run.table("parts"), run.table("history")
    assert parts["texts"].tolist() == [60, 60]
    assert_allclose(run.record["claims"]["mine_acc"]["values"], parts["accuracy"], atol=1e-6)
    assert_allclose(run.table("accuracy")["accuracy"][0], parts["accuracy"].mean(), atol=1e-6)
    assert len(history) == 4
    assert "epoch 2: loss" in capsys.readouterr().out
    assert main([*command, "--claim", "mine"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert run.record["parameters"]["config"]["max_length"] == 30
    assert main([*command, "--hidden", "20"]) == 1
    assert "hidden: no setting of the net 'tiny'" in capsys.readouterr().err
    assert main([*command, "--max-length", "9", "--segmentation", "cjk"]) == 1  # another run than the one in the folder
    told = capsys.readouterr().err
    assert "max_length: 30 there, 9 here" in told
    assert "segmentation" in told
    assert main(["classify", "--corpus", str(path), "--label", "topic", "--out", str(tmp_path / "x"), "--keep", "end"]) == 1
    assert "keep: no setting of fastText" in capsys.readouterr().err


def test_a_stopped_run_goes_on_after_the_last_part_that_it_finished(tmp_path, capsys, monkeypatch):
    texts, labels = reviews(90, 7)
    path = tmp_path / "mine.tsv"
    path.write_text("text\ttopic\n" + "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)))
    monkeypatch.setattr(NeuralConfig, "tiny", classmethod(lambda cls, tiny=NeuralConfig.tiny, **given: tiny(epochs=2, **given)))

    def command(out):
        given = ["--corpus", str(path), "--label", "topic", "--folds", "3", "--claim", "mine"]
        return ["classify", "--net", "tiny", "--out", str(out), *given]

    assert main(command(tmp_path / "whole")) == 0
    train, trained = neural_classifiers.train_net, []

    def stopped(texts, labels, config, seed, tell):
        trained.append(seed)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(texts, labels, config, seed, tell)

    monkeypatch.setattr(neural_classifiers, "train_net", stopped)
    assert main(command(tmp_path / "run")) == 130
    capsys.readouterr()
    assert main(command(tmp_path / "run")) == 0
    assert "going on after fold 1 of 3" in capsys.readouterr().out
    assert trained == [0, 1, 1, 2]
    one, other = load_run(tmp_path / "run"), load_run(tmp_path / "whole")
    assert one.record["outputs"] == other.record["outputs"]
    assert one.record["claims"] == other.record["claims"]

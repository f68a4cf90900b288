"""Classifiers in one form: against scikit-learn, against n-gram models scored one by one, and on what each of them can and cannot tell."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from lmlib.measure.text_classifiers import prepare_class_models, prepare_logistic, prepare_naive_bayes
from lmlib.models import ngram
from lmlib.text.tokenizers import WordTokenizer

NOUNS, GOOD, BAD = ("film", "trip", "novel"), ("superb", "lovely"), ("dull", "poor")


def opinions(n, seed=0):
    """Plain ones and negated ones: the label is in no word, nor in the sum of any weights of words."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for noun, word, negated in zip(rng.integers(0, 3, n), rng.integers(0, 4, n), rng.integers(0, 2, n), strict=True):
        texts.append(f"The {NOUNS[noun]} was {'not ' * negated}{(GOOD + BAD)[word]} .")
        labels.append("good" if (word < 2) != negated else "bad")
    return texts, np.array(labels)


TEXTS, LABELS = opinions(200)
UNSEEN, TRUTH = opinions(50, seed=1)


def test_naive_bayes_equals_scikit_learns():
    counts = CountVectorizer(token_pattern=r"\w+|[^\w\s]").fit(TEXTS)
    theirs = MultinomialNB(alpha=0.5).fit(counts.transform(TEXTS), LABELS)
    ours = prepare_naive_bayes(TEXTS, LABELS)(0.5)
    unseen = [*UNSEEN, "words never seen"]
    assert_allclose(ours.log_probabilities(unseen), theirs.predict_log_proba(counts.transform(unseen)), atol=1e-9)
    assert_array_equal(ours(unseen), theirs.predict(counts.transform(unseen)))
    assert_array_equal(ours.labels, ["bad", "good"])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_class_models_are_ngrams_and_bayes_rule(order):
    words = WordTokenizer.train(TEXTS, specials=("<s>", "</s>"), normalisation="lower", segmentation="punctuation")
    eos = words.special("</s>")
    config = ngram.NgramConfig(words.vocab_size, order, "kneser_ney", words.special("<s>"), eos, fallback=(0.75,))
    unseen, joint = [*UNSEEN, "", "a film never seen"], []
    for label in ("bad", "good"):
        ours = [text for text, own in zip(TEXTS, LABELS, strict=True) if own == label]
        model = ngram.train(config, [[*words.encode(text), eos] for text in ours])
        scores = [float(model.score([[*words.encode(text), eos]], [len(words.encode(text)) + 1]).sum()) for text in unseen]
        joint.append(np.array(scores) + np.log(len(ours) / len(TEXTS)))
    want = np.stack(joint, axis=1) - np.logaddexp(*joint)[:, None]
    assert_allclose(prepare_class_models(TEXTS, LABELS)(order).log_probabilities(unseen), want, atol=1e-4)


def test_order_matters_where_words_are_negated():
    """Sums over words cannot tell an exclusive or; pairs of words can."""
    for prepare, setting, knows_pairs in (
        (prepare_naive_bayes, 1.0, False),
        (lambda *texts: prepare_logistic(*texts, ngrams=1), 10.0, False),
        (prepare_logistic, 10.0, True),
        (prepare_class_models, 2, True),
    ):
        accuracy = (prepare(TEXTS, LABELS)(setting)(UNSEEN) == TRUTH).mean()
        assert (accuracy > 0.95) if knows_pairs else (accuracy < 0.8)


def test_logistic_gives_probabilities_of_its_labels():
    fitted = prepare_logistic(TEXTS, LABELS)(1.0)
    logp = fitted.log_probabilities(UNSEEN)
    assert_allclose(np.exp(logp).sum(axis=1), 1)
    assert_array_equal(fitted(UNSEEN), fitted.labels[logp.argmax(axis=1)])

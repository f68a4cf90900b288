"""Classifiers of text that count words or weigh them, on corpora with labels, all in one form: fastText's, logistic regression on TF-IDF,
naive Bayes, and a language model for each label. The first two are compared side by side.

In the comparison every setting is chosen inside the training texts, by the accuracy on a stratified tenth of them that is held back; the
classifier is then trained on all of them. Where a corpus publishes a training and a test part these are taken, for other corpora ten folds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from lmlib.errors import UnknownNameError
from lmlib.learn.train import fit
from lmlib.measure.classification import classification, folds, wilson_interval
from lmlib.models import ngram, text_classifier
from lmlib.models.bag_of_words import bag_of_words
from lmlib.models.base import compiled
from lmlib.models.naive_bayes import naive_bayes
from lmlib.models.text_classifier import LabelledBatches, TextClassifierConfig, TextFeatures
from lmlib.text.corpora import open_corpus, registry
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer, splitter

RATES, EPOCHS = (0.1, 0.25, 0.5), (10, 30)  # of fastText, from which validation chooses; the rates are among those of the paper
INVERSE_REGULARISATION = (1.0, 10.0, 100.0)  # C of the logistic regression


@dataclass(frozen=True)
class Classifier:
    """A way to learn labels: what may be chosen, and how it is trained."""

    name: str
    candidates: tuple
    prepare: Callable  # (texts, labels, seed) -> train; train(candidate) -> predict; predict(texts) -> labels
    tell: Callable  # a candidate in words
    random: bool = True  # whether another seed is another result


class Fitted(NamedTuple):
    """A classifier that is ready for use."""

    labels: np.ndarray  # (C,), rising
    log_probabilities: Callable  # texts -> log p(label | text) in nats, (texts, C)

    def __call__(self, texts) -> np.ndarray:
        """The most probable label of each text."""
        return self.labels[self.log_probabilities(texts).argmax(axis=1)]


class Part(NamedTuple):
    """Texts to train on and texts to score, with the labels of both."""

    name: str
    seed: int
    texts: list
    labels: np.ndarray
    unseen: list
    truth: np.ndarray


def fasttext(config: TextClassifierConfig | None = None) -> Classifier:
    """fastText's classifier; from RATES and EPOCHS validation chooses, the rest is that of the config."""
    config = config or TextClassifierConfig()
    candidates = tuple(replace(config, learning_rate=rate, epochs=epochs) for epochs in EPOCHS for rate in RATES)

    def tell(chosen):
        return f"{chosen.ngrams}-grams, rate {chosen.learning_rate:g}, {chosen.epochs} epochs"

    return Classifier("fasttext", candidates, lambda texts, labels, seed: prepare_fasttext(texts, labels, config, seed), tell)


def logistic(config: TextClassifierConfig | None = None) -> Classifier:
    """Logistic regression on TF-IDF of words and word bigrams (scikit-learn); the words are those of the config, fastText's."""
    config = config or TextClassifierConfig()
    words = {"normalisation": config.normalisation, "segmentation": config.segmentation}

    def prepare(texts, labels, _):
        return prepare_logistic(texts, labels, **words)

    return Classifier("logistic", INVERSE_REGULARISATION, prepare, "C={:g}".format, False)


CLASSIFIERS = {"fasttext": fasttext, "logistic": logistic}  # those that are compared


def prepare_fasttext(texts, labels, config: TextClassifierConfig, seed: int = 0):
    """Make the features of some texts, on which fastText's classifier can then be trained several times.

    Args:
      texts: the training texts.
      labels: one a text.
      config: says what the features are.
      seed: of the initial values and the order of the texts; with equal arguments two calls give the same bits.

    Returns:
      train(config), where rate, epochs, hidden and batch_size may be others; it returns a `Fitted`.

    Raises:
      EmptyCorpusError: the texts have no words.
      NonFiniteError: training diverged (from `train`).
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    features = TextFeatures(config, texts)
    encoded = features.encode(texts)

    def train(config):
        batches = LabelledBatches(encoded, number, config.batch_size, seed)
        init_key, key = jax.random.split(jax.random.key(seed))
        steps = config.epochs * len(batches)
        initial = text_classifier.init_state(config, features.size, len(names), steps, init_key)
        for state, _ in fit(text_classifier.train_step, initial, batches, key=key, steps=steps, steps_per_call=len(batches)):  # noqa: B007
            pass
        params = jax.tree.map(np.asarray, state["params"])
        return Fitted(names, lambda unseen: text_classifier.predict(params, features.encode(unseen)))

    return train


def prepare_logistic(texts, labels, ngrams: int = 2, normalisation: str = "lower", segmentation: str = "punctuation"):
    """Make the features of some texts for logistic regression.

    Args:
      texts, labels: as for `prepare_fasttext`.
      ngrams: longest word n-gram; 1 takes words alone.
      normalisation, segmentation: see `lmlib.text.tokenizers.WordTokenizer`.

    Returns:
      train(C), C the inverse strength of the regularisation; it returns a `Fitted`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    cut = {"tokenizer": splitter(normalisation, segmentation), "token_pattern": None, "lowercase": False}
    vectorizer = TfidfVectorizer(ngram_range=(1, ngrams), sublinear_tf=True, **cut)
    weights = vectorizer.fit_transform(texts)

    def train(C):
        with threadpool_limits(1):  # its products are too small for more, and sums then do not depend on the number of cores
            model = LogisticRegression(C=C, max_iter=1000).fit(weights, labels)
        return Fitted(model.classes_, lambda unseen: model.predict_log_proba(vectorizer.transform(unseen)))

    return train


def prepare_naive_bayes(texts, labels):
    """Count the words of some texts for naive Bayes (`lmlib.models.naive_bayes`); words that no training text has are dropped.

    Args:
      texts, labels: as for `prepare_fasttext`.

    Returns:
      train(k), k what is added to each count; it returns a `Fitted`.
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    words = WordTokenizer.train(texts, unk=None, normalisation="lower", segmentation="punctuation")

    def counts(some):
        return bag_of_words(words.encode_batch(list(some)), words.vocab_size)

    counts_NV = counts(texts)

    def train(k=1.0):
        model = naive_bayes(counts_NV, number, k=k)
        return Fitted(names, lambda unseen: model.log_probabilities(counts(unseen)))

    return train


def prepare_class_models(texts, labels):
    """Cut some texts for a language model of each label: naive Bayes whose words are not independent.

        p(c | text) ∝ p(c) p(text | c), p(text | c) by interpolated Kneser-Ney (Peng and Schuurmans 2003, "Combining Naive Bayes and n-Gram
        Language Models for Text Classification")

    Args:
      texts, labels: as for `prepare_fasttext`.

    Returns:
      train(order), the order of the n-grams; it returns a `Fitted`.
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    cut = {"normalisation": "lower", "segmentation": "punctuation"}
    words = WordTokenizer.train(texts, specials=("<s>", "</s>"), **cut)
    bos, eos = words.special("<s>"), words.special("</s>")
    ended = [[*ids, eos] for ids in words.encode_batch(list(texts))]

    def train(order=3):
        config = ngram.NgramConfig(words.vocab_size, order, "kneser_ney", bos, eos, fallback=(0.75,))
        models = [ngram.train(config, [ended[i] for i in np.flatnonzero(number == c)]) for c in range(len(names))]
        prior_C = np.log(np.bincount(number) / len(number))

        def log_probabilities(unseen):
            store = write_tokens(unseen, words, after="</s>")
            row = ngram.running_text(store, eos)
            sums = [np.add.reduceat(np.asarray(compiled(model, "score")(*row.values()))[0], store.offsets[:-1]) for model in models]
            joint_NC = np.stack(sums, axis=1).astype(np.float64) + prior_C
            return joint_NC - np.logaddexp.reduce(joint_NC, axis=1, keepdims=True)

        return Fitted(names, log_probabilities)

    return train


def choose(classifier: Classifier, texts, labels, seed=0):
    """The candidate that is most accurate on a stratified tenth of the texts that is held back; the first of equals."""
    rows, held_back = folds(labels, 10, seed)[0]
    train = classifier.prepare([texts[i] for i in rows], labels[rows], seed)
    unseen, truth = [texts[i] for i in held_back], labels[held_back]
    accuracies = [(train(candidate)(unseen) == truth).mean() for candidate in classifier.candidates]
    return classifier.candidates[int(np.argmax(accuracies))]


def labelled(corpus):
    """Texts (a list) and labels (an array of str) of a corpus; of trec-qc, the six coarse labels.

    Raises:
      UnknownNameError: the corpus has no labels.
    """
    records = list(corpus.records())
    if "label" not in records[0]:
        raise UnknownNameError(f"{corpus.name} has no labels: open it with label=, the name of a column (columns: {', '.join(records[0])})")
    labels = [str(record["label"]) for record in records]
    if corpus.name == "trec-qc":
        labels = [label.partition(":")[0] for label in labels]
    return [record["text"] for record in records], np.array(labels)


def corpora_of(source, *, text=None, label=None):
    """The corpora that a comparison reads: the published training and test part, or else the only one.

    Args:
      source, text, label: as for `lmlib.text.corpora.open_corpus`.
    """
    splits = registry().get(str(source), {}).get("splits", ())
    published = ("train", "test") if {"train", "test"} <= set(splits) else (None,)
    return [open_corpus(source, split, text=text, label=label) for split in published]


def parts_of(corpora, k: int = 10, seeds: int = 3) -> list[Part]:
    """What is trained and scored: on a published split as often as there are seeds, else k folds, each with a seed of its own.

    Args:
      corpora: of `corpora_of`.
      k: folds, where no split is published. How they are dealt out is fixed.
      seeds: how often, where a split is published.
    """
    (texts, labels), *test = map(labelled, corpora)
    if test:
        return [Part(f"test, seed {seed}", seed, texts, labels, *test[0]) for seed in range(seeds)]
    return [
        Part(f"fold {i + 1} of {k}", i, [texts[r] for r in rows], labels[rows], [texts[r] for r in held_out], labels[held_out])
        for i, (rows, held_out) in enumerate(folds(labels, k))
    ]


def compare(corpora, config: TextClassifierConfig | None = None, k: int = 10, seeds: int = 3, only: str | None = None):
    """Score fastText's classifier and logistic regression on one corpus.

    Args:
      corpora: of `corpora_of`.
      config: of fastText, whose rate and epochs are chosen by validation; the words are those of both.
      only: one name of CLASSIFIERS, where the other is not asked for.
      k, seeds: as for `parts_of`. On a published split the setting is chosen once, with the first seed, and the logistic regression, in
        which nothing is random, is trained once.

    Yields:
      For each part and classifier a dict: part, classifier; what `Classification.row` gives; setting (in words), seconds (choosing and
      training).
    """
    published, settings = len(corpora) > 1, {}
    for part in parts_of(corpora, k, seeds):
        for classifier in (make(config) for name, make in CLASSIFIERS.items() if only in (None, name)):
            if published and part.seed and not classifier.random:
                continue
            start = time.perf_counter()
            if not published or classifier.name not in settings:
                settings[classifier.name] = choose(classifier, part.texts, part.labels, part.seed)
            setting = settings[classifier.name]
            predicted = classifier.prepare(part.texts, part.labels, part.seed)(setting)(part.unseen)
            found = classification(part.truth.tolist(), predicted.tolist())
            row = {"part": part.name, "classifier": classifier.name} | found.row()
            yield row | {"setting": classifier.tell(setting), "seconds": time.perf_counter() - start}


def summary(frame):
    """Of a DataFrame of what `compare` yields: a row a classifier with the number of parts, mean and sd of their accuracies, and the mean
    macro F1, and Wilson's interval for the accuracy on as many texts as were scored."""
    groups = frame.groupby("classifier", sort=False)
    table = groups["accuracy"].agg(accuracy="mean", sd="std", parts="count").join(groups["macro_f1"].mean())
    table["low"], table["high"] = zip(*(_interval(group) for _, group in groups), strict=True)
    return table.reset_index()


def _interval(group):
    """Wilson's interval of the texts of all parts; where the parts are seeds on the same texts, of one of them on average."""
    texts, right = group["texts"].sum(), group["right"].sum()
    if group["part"].str.startswith("test").all():
        texts, right = texts // len(group), round(right / len(group))
    return wilson_interval(int(right), int(texts))

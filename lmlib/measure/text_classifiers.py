"""Two classifiers of text side by side, on corpora with labels: fastText's, and logistic regression on TF-IDF as the baseline.

Every setting is chosen inside the training texts, by the accuracy on a stratified tenth of them that is held back; the classifier is then
trained on all of them. Where a corpus publishes a training and a test part these are taken, for other corpora ten folds.
"""

import time
from dataclasses import replace

import jax
import numpy as np

from lmlib.errors import UnknownNameError, nearest
from lmlib.learn.train import fit
from lmlib.measure.classification import classification, folds
from lmlib.models import text_classifier
from lmlib.models.text_classifier import LabelledBatches, TextClassifierConfig, TextFeatures
from lmlib.text.corpora import open_corpus

CORPORA = ("ag-news-test", "rotten-tomatoes-mr", "sms-spam", "trec-qc")
RATES, EPOCHS = (0.1, 0.25, 0.5), (10, 30)  # of fastText, from which validation chooses; the rates are among those of the paper
INVERSE_REGULARISATION = (1.0, 10.0)  # C of the logistic regression


def fit_fasttext(texts, labels, config: TextClassifierConfig, seed: int = 0):
    """Train fastText's classifier.

    Args:
      texts: the training texts.
      labels: one a text.
      config: a TextClassifierConfig.
      seed: of the initial values and the order of the texts; with equal arguments two calls give the same bits.

    Returns:
      predict: a function from texts to their labels.

    Raises:
      EmptyCorpusError: the texts have no words.
      NonFiniteError: training diverged.
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    features = TextFeatures(config, texts)
    batches = LabelledBatches(features.encode(texts), number, features.size, config.batch_size, seed)
    init_key, key = jax.random.split(jax.random.key(seed))
    initial = text_classifier.init_state(config, features.size, len(names), init_key)
    train_step, steps = text_classifier.make_step(config, len(batches)), config.epochs * len(batches)
    for state, _ in fit(train_step, initial, batches, key=key, steps=steps, steps_per_call=len(batches)):  # noqa: B007
        pass
    params = jax.tree.map(np.asarray, state["params"])
    return lambda unseen: names[text_classifier.predict(params, features.encode(unseen)).argmax(axis=1)]


def fit_logistic(texts, labels, C: float = 10.0):
    """Train logistic regression on TF-IDF of words and word bigrams (scikit-learn); the baseline.

    Args:
      texts, labels: as for `fit_fasttext`.
      C: inverse strength of the regularisation.

    Returns:
      predict: a function from texts to their labels.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    # the same words as fastText's: every run of letters and every other mark by itself
    vectorizer = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True)
    with threadpool_limits(1):  # its products are too small for more, and sums then do not depend on the number of cores
        return make_pipeline(vectorizer, LogisticRegression(C=C, max_iter=1000)).fit(texts, labels).predict


def choose(texts, labels, candidates, train, seed=0):
    """The candidate with which `train(texts, labels, candidate)` is most accurate on a stratified tenth that is held back; the first of
    equals."""
    rows, held_back = folds(labels, 10, seed)[0]
    scores = []
    for candidate in candidates:
        predict = train([texts[i] for i in rows], labels[rows], candidate)
        scores.append((predict([texts[i] for i in held_back]) == labels[held_back]).mean())
    return candidates[int(np.argmax(scores))]


def fasttext_candidates(config):
    """The grid of `compare`: a config with each of EPOCHS and RATES."""
    return [replace(config, learning_rate=r, epochs=e) for e in EPOCHS for r in RATES]


def labelled(name: str, split: str | None = None):
    """Texts (a list) and labels (an array of str) of a corpus; of trec-qc, the six coarse labels.

    Raises:
      UnknownNameError: the corpus has no labels.
    """
    corpus = open_corpus(name, split)
    records = list(corpus.records())
    if "label" not in records[0]:
        raise UnknownNameError(f"{corpus.name} has no labels{nearest(name, CORPORA)} (corpora with labels: {', '.join(CORPORA)})")
    labels = [str(record["label"]) for record in records]
    if corpus.name == "trec-qc":
        labels = [label.partition(":")[0] for label in labels]
    return [record["text"] for record in records], np.array(labels)


def compare(name: str, *, config: TextClassifierConfig | None = None, k: int = 10, seed: int = 0, seeds: int = 3):
    """Both classifiers on one corpus.

    Args:
      name: of a corpus with labels, see CORPORA, or a table of the reader's own.
      config: of fastText; its learning rate and epochs are chosen by validation.
      k: folds, where no split is published.
      seed: of the folds.
      seeds: how often fastText is trained on a published split, with as many seeds.

    Returns:
      A DataFrame with one row a classifier and fold (or seed): corpus, classifier, part, texts, right, accuracy, low, high (Wilson's
      interval, 95 %), macro_f1, setting, seconds (choosing and training).
    """
    import pandas as pd

    config = config or TextClassifierConfig()
    if name == "trec-qc":
        (texts, labels), (unseen, truth) = labelled(name, "train"), labelled(name, "test")
        parts = [(f"test, seed {s}", s, (texts, labels), (unseen, truth)) for s in range(seeds)]
    else:
        texts, labels = labelled(name)
        parts = [
            (f"fold {i + 1} of {k}", i, *[([texts[r] for r in rows], labels[rows]) for rows in pair])
            for i, pair in enumerate(folds(labels, k, seed))
        ]

    def fasttext(part_seed):
        return fasttext_candidates(config), lambda x, y, candidate: fit_fasttext(x, y, candidate, part_seed)

    def logistic(part_seed):
        return list(INVERSE_REGULARISATION), fit_logistic

    found, chosen = [], {}
    for part, part_seed, (texts, labels), (unseen, truth) in parts:
        for classifier, method in (("fastText", fasttext), ("logistic regression, TF-IDF", logistic)):
            if name == "trec-qc" and classifier != "fastText" and part_seed:
                continue  # nothing in it is random
            start = time.perf_counter()
            candidates, train = method(part_seed)
            # on a published split the setting is chosen once, with the first seed
            setting = chosen.get(classifier) or choose(texts, labels, candidates, train, part_seed)
            if name == "trec-qc":
                chosen[classifier] = setting
            score = classification(truth.tolist(), train(texts, labels, setting)(unseen).tolist())
            told = f"C={setting:g}" if isinstance(setting, float) else _told(setting)
            row = {"corpus": name, "classifier": classifier, "part": part, "texts": score.n, "right": int(np.trace(score.confusion))}
            low, high = score.interval
            row |= {"accuracy": score.accuracy, "low": low, "high": high, "macro_f1": score.macro_f1, "setting": told}
            found.append(row | {"seconds": time.perf_counter() - start})
    return pd.DataFrame(found)


def _told(config):
    return f"{config.ngrams}-grams, rate {config.learning_rate:g}, {config.epochs} epochs"


def summary(frame):
    """Of `compare`: for each corpus and classifier mean and sd of the accuracy over parts, Wilson's interval of all texts, and seconds."""
    from lmlib.measure.classification import wilson_interval

    def row(group):
        import pandas as pd

        low, high = wilson_interval(int(group["right"].sum()), int(group["texts"].sum()))
        facts = {"parts": len(group), "accuracy": group["accuracy"].mean(), "sd": group["accuracy"].std(), "low": low, "high": high}
        return pd.Series(facts | {"macro_f1": group["macro_f1"].mean(), "seconds": group["seconds"].sum()})

    return frame.groupby(["corpus", "classifier"], sort=False)[list(frame.columns[2:])].apply(row).reset_index()

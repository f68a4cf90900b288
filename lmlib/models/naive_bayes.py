"""Naive Bayes: labels by counting words, as if the words of a text had nothing to do with one another.

    p(c | text) ∝ p(c) prod_w p(w | c)^n_w,     p(w | c) = (N_cw + k) / (N_c + k V)

Maron 1961, "Automatic Indexing: An Experimental Inquiry" (JACM 8); McCallum and Nigam 1998, "A Comparison of Event Models for Naive
Bayes Text Classification", for this form, the multinomial one. n_w says how often the text has word w, N_cw how often the training texts
of label c do. It is a unigram language model for each label (add-k, see `lmlib.models.ngram_counts`) and Bayes' rule; that words were
independent is wrong, so that its probabilities are far too sure, but which label is the largest is often right (Domingos and Pazzani 1997).

Shapes: N texts, V vocabulary, C labels.
"""

from typing import NamedTuple

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, check_ids, check_shape


class NaiveBayes(NamedTuple):
    """The logarithms that are added up."""

    prior_C: np.ndarray  # log p(c), -inf for a label that no text has
    word_CV: np.ndarray  # log p(w | c)

    def log_probabilities(self, counts_NV) -> np.ndarray:
        """log p(c | text) in nats, (N, C), of counts from `bag_of_words`; for a text without words it is the prior."""
        check_shape(counts_NV, (None, self.word_CV.shape[1]), "counts_NV")
        joint_NC = counts_NV @ self.word_CV.T + self.prior_C
        return joint_NC - np.logaddexp.reduce(joint_NC, axis=1, keepdims=True)

    def predict(self, counts_NV) -> np.ndarray:
        """The most probable label of each text, (N,)."""
        return self.log_probabilities(counts_NV).argmax(axis=1)


def naive_bayes(counts_NV, labels_N, *, classes: int | None = None, k: float = 1.0) -> NaiveBayes:
    """Count the words of each label.

    Args:
      counts_NV: of `lmlib.models.bag_of_words.bag_of_words`, or any matrix of numbers ≥ 0, sparse or not.
      labels_N: whole numbers from 0, one a text.
      classes: C; as many as there are labels if None.
      k: added to each count, above 0, so that no word is impossible.

    Raises:
      EmptyCorpusError: there is no text.
      ShapeError: there are not as many labels as texts.
      ConfigError: k is not positive.
      VocabularyError: a label is negative or not below `classes`.
    """
    if not k > 0:
        raise ConfigError(f"naive_bayes needs k above 0, else a word that one label has not seen rules that label out; got {k}")
    if not counts_NV.shape[0]:
        raise EmptyCorpusError("naive_bayes needs at least one text")
    if len(labels_N) != counts_NV.shape[0]:
        raise ShapeError(f"{counts_NV.shape[0]} texts have {len(labels_N)} labels: one label a text is needed")
    labels_N = np.asarray(labels_N)
    classes = int(labels_N.max()) + 1 if classes is None else classes
    labels_N = check_ids(labels_N, classes, "labels")
    has_CN = np.arange(classes)[:, None] == labels_N
    with np.errstate(divide="ignore"):  # log 0: a label without texts
        prior_C = np.log(has_CN.mean(axis=1))
    counts_CV = (counts_NV.T @ has_CN.T.astype(float)).T + k
    return NaiveBayes(prior_C, np.log(counts_CV / counts_CV.sum(axis=1, keepdims=True)))

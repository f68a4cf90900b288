"""How good labels are: accuracy and its interval, precision, recall and F1 of each class, the confusion matrix; folds for cross-validation.

Conventions are scikit-learn's: rows of a confusion matrix are the true labels, columns the predicted ones; a class that is never predicted
has precision 0, one that never occurs recall 0. Micro averages count every text once, macro averages every class once (a class that
neither occurs nor is predicted is left out).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from lmlib.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Classification:
    """Scores of n predicted labels."""

    labels: tuple  # C classes, sorted
    confusion: np.ndarray = field(repr=False)  # (C, C) int64: how often row was predicted as column
    n: int
    accuracy: float  # which is precision, recall and F1 in micro average, too
    interval: tuple[float, float]  # of the accuracy, Wilson's, at 95 %
    macro_precision: float
    macro_recall: float
    macro_f1: float

    def frame(self):
        """A DataFrame with one row a class: label, precision, recall, f1, support; at its end the averages "micro" and "macro"."""
        import pandas as pd

        precision, recall, f1 = _by_class(self.confusion)
        rows = zip(self.labels, precision, recall, f1, self.confusion.sum(axis=1), strict=True)
        micro = ("micro", self.accuracy, self.accuracy, self.accuracy, self.n)
        macro = ("macro", self.macro_precision, self.macro_recall, self.macro_f1, self.n)
        return pd.DataFrame([*rows, micro, macro], columns=["label", "precision", "recall", "f1", "support"])

    def row(self):
        """A dict for a table: texts, right; accuracy with its interval "low" and "high" (Wilson); macro_precision, macro_recall and
        macro_f1 with theirs (bootstrap), such as macro_f1_low and macro_f1_high; all intervals at 95 %."""
        low, high = self.interval
        row = {"texts": self.n, "right": int(np.trace(self.confusion)), "accuracy": self.accuracy, "low": low, "high": high}
        intervals = bootstrap_intervals(self.confusion)
        for name in ("macro_precision", "macro_recall", "macro_f1"):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), (getattr(self, name), *intervals[name]), strict=True))
        return row


def classification(true, predicted) -> Classification:
    """Compare predicted labels with the true ones.

    Args:
      true, predicted: n labels each, numbers or strings, n ≥ 1.

    Raises:
      ShapeError: the two differ in length, or there is nothing.
    """
    true, predicted = list(true), list(predicted)
    if len(true) != len(predicted) or not true:
        raise ShapeError(f"{len(true)} true and {len(predicted)} predicted labels: as many of both are needed, and at least one")
    from sklearn.metrics import confusion_matrix

    labels = tuple(sorted(set(true) | set(predicted)))
    number = {label: i for i, label in enumerate(labels)}  # numbers, since scikit-learn's own order of mixed types is none
    confusion = confusion_matrix([number[t] for t in true], [number[p] for p in predicted], labels=range(len(labels)))
    precision, recall, f1 = (scores.mean() for scores in _by_class(confusion))
    right = int(np.trace(confusion))
    return Classification(
        labels, confusion, len(true), right / len(true), wilson_interval(right, len(true)), float(precision), float(recall), float(f1)
    )


def _by_class(confusion):
    """Precision, recall and F1 of each class, (…, C) each, of confusion matrices (…, C, C)."""
    right, true, predicted = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1), confusion.sum(axis=-2)
    return right / np.maximum(predicted, 1), right / np.maximum(true, 1), 2 * right / np.maximum(true + predicted, 1)


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share of which `right` of n were seen (Wilson 1927): unlike p ± z s it stays within 0 … 1 and is honest
    near its ends.

    Args:
      right: successes, 0 … n.
      n: trials, at least 1.
      confidence: how often such an interval holds the true share.
    """
    if not 0 <= right <= n or n < 1 or not 0 < confidence < 1:
        raise ConfigError(f"wilson_interval needs 0 <= right <= n, n >= 1 and 0 < confidence < 1, got {right}, {n}, {confidence}")
    from scipy.stats import norm

    z, p = float(norm.ppf((1 + confidence) / 2)), right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def bootstrap_intervals(confusion, confidence: float = 0.95, draws: int = 10_000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the scores by the bootstrap (Efron 1979): what they are on as many texts drawn from these, with replacement.

    A text counts only by its true and its predicted label, so to draw texts is to draw confusion matrices from a multinomial distribution.

    Args:
      confusion: (C, C) counts, rows the true labels.
      confidence: what share of the draws lies inside.
      draws: how many.
      seed: of the draws.

    Returns:
      (low, high) of "accuracy", "macro_precision", "macro_recall" and "macro_f1". A class that a draw has not, counts 0 there.
    """
    confusion = np.asarray(confusion, np.int64)
    n, classes = int(confusion.sum()), len(confusion)
    if n < 1 or not 0 < confidence < 1 or draws < 1:
        raise ConfigError(f"bootstrap_intervals needs texts, 0 < confidence < 1 and draws >= 1, got {n}, {confidence}, {draws}")
    drawn = np.random.default_rng(seed).multinomial(n, confusion.reshape(-1) / n, size=draws).reshape(draws, classes, classes)
    scores = np.stack([np.trace(drawn, axis1=1, axis2=2) / n, *(score.mean(axis=-1) for score in _by_class(drawn))])
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def folds(labels, k: int = 10, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split texts for k-fold cross-validation so that each fold has its share of each label (scikit-learn's StratifiedKFold).

    Args:
      labels: one a text.
      k: number of folds. A label with fewer than k texts is missing from some test parts.
      seed: of the order in which the texts are dealt out.

    Returns:
      k pairs (training rows, test rows), rising int64; every row is in exactly one test part.

    Raises:
      ConfigError: k is less than 2, or no label has k texts.
    """
    import warnings

    from sklearn.model_selection import StratifiedKFold

    number = np.unique(np.asarray(labels), return_inverse=True)[1]
    if k < 2 or np.bincount(number).max() < k:
        raise ConfigError(f"{k} folds cannot be made of {len(number)} texts: k must be 2 … the number of texts of the most frequent label")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(StratifiedKFold(k, shuffle=True, random_state=seed).split(number, number))

"""Scores of labels against scikit-learn and by hand; folds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics

from lmlib.errors import ConfigError, ShapeError
from lmlib.measure.classification import classification, folds, wilson_interval


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true = rng.choice(["a", "b", "c"], 200, p=[0.7, 0.2, 0.1])
    predicted = np.where(rng.random(200) < 0.6, true, rng.choice(["a", "b", "d"], 200))  # c hardly predicted, d never true
    score = classification(true, predicted)
    labels = ["a", "b", "c", "d"]
    assert score.labels == tuple(labels)
    assert_array_equal(score.confusion, metrics.confusion_matrix(true, predicted, labels=labels))
    p, r, f, n = metrics.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    frame = score.frame()
    assert_allclose(frame[["precision", "recall", "f1", "support"]][:4], np.column_stack([p, r, f, n]))
    assert_allclose([score.macro_precision, score.macro_recall, score.macro_f1], [p.mean(), r.mean(), f.mean()])
    assert_allclose(score.accuracy, metrics.accuracy_score(true, predicted))
    assert_allclose(frame["f1"][4], metrics.f1_score(true, predicted, average="micro"))
    assert frame["label"].tolist() == [*labels, "micro", "macro"]


def test_wilsons_interval_by_hand():
    """Wilson 1927 solves |p - p0| = z sqrt(p0 (1 - p0) / n) for p0: both ends do."""
    for right, n in ((8, 10), (0, 20), (500, 500), (37, 1000)):
        low, high = wilson_interval(right, n)
        for end in (low, high):
            if 0 < end < 1:
                assert_allclose(abs(right / n - end), 1.959963985 * np.sqrt(end * (1 - end) / n), rtol=1e-6)
        assert 0 <= low <= right / n <= high <= 1
    assert_allclose(wilson_interval(8, 10), (0.4901625, 0.9433178), atol=1e-6)  # R: prop.test(8, 10, correct = FALSE)


def test_folds_are_stratified_disjoint_and_seeded():
    labels = np.repeat(["a", "b"], [90, 31])
    pairs = folds(labels, 10, seed=3)
    assert_array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(121))
    for train, test in pairs:
        assert not set(train) & set(test)
        assert len(train) + len(test) == 121
        assert (labels[test] == "a").sum() == 9
    assert_array_equal(pairs[0][1], folds(labels, 10, seed=3)[0][1])
    assert folds(labels, 10, seed=4)[0][1].tolist() != pairs[0][1].tolist()


def test_impossible_arguments_are_named():
    with pytest.raises(ShapeError, match="2 true and 1 predicted"):
        classification([1, 2], [1])
    with pytest.raises(ConfigError, match="right"):
        wilson_interval(3, 2)
    with pytest.raises(ConfigError, match="folds"):
        folds(["a"] * 5, 10)

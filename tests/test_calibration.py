"""Reliability and calibration error by hand, on labels drawn from the probabilities, and on probabilities made too sure."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, ShapeError, VocabularyError
from lmlib.measure.calibration import best_temperature, calibration_error, reliability, tempered


def drawn(n=20_000, classes=3, seed=0):
    """Probabilities, and labels that were drawn from them."""
    rng = np.random.default_rng(seed)
    logp = tempered(rng.normal(size=(n, classes)) * 1.5, 1.0)
    return logp, (np.exp(logp).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def test_by_hand():
    """Confidences .9, .9, .6, .8 | right, wrong, right, right: in bins of a tenth |.9 - .5| twice, |.6 - 1|, |.8 - 1|."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    table = reliability(np.log(p), [0, 1, 1, 1])
    assert_allclose(table[["texts", "confidence", "accuracy"]], [[1, 0.6, 1], [1, 0.8, 1], [2, 0.9, 0.5]])
    assert_allclose(table["high"], [0.6, 0.8, 0.9])
    assert_allclose(calibration_error(np.log(p), [0, 1, 1, 1]), (2 * 0.4 + 0.4 + 0.2) / 4)
    assert_allclose(calibration_error(np.log(p), [0, 1, 1, 1], bins=1), abs(0.8 - 0.75))


def test_what_is_drawn_is_calibrated():
    logp, labels = drawn()
    assert calibration_error(logp, labels) < 0.01
    assert abs(best_temperature(logp, labels) - 1) < 0.03


def test_the_temperature_is_found_again():
    logp, labels = drawn()
    sure = tempered(logp, 1 / 3)
    assert calibration_error(sure, labels) > 0.1
    found = best_temperature(sure, labels)
    assert abs(found - 3) < 0.1
    assert calibration_error(tempered(sure, found), labels) < 0.01
    assert (tempered(sure, found).argmax(axis=1) == sure.argmax(axis=1)).all()


def test_what_is_refused():
    logp, labels = drawn(5)
    with pytest.raises(ShapeError):
        reliability(logp, labels[:4])
    with pytest.raises(VocabularyError):
        reliability(logp, labels + 3)
    with pytest.raises(ConfigError):
        reliability(logp, labels, bins=0)

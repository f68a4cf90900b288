"""What a count is worth: by hand on two texts of a few words, and by what each estimator's equation says."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError
from lmlib.measure.smoothing import worth_of_counts
from lmlib.models.ngram_counts import NgramConfig

# 0 is BOS and EOS. First text: 0→1 twice, 1→2 twice, 2→0 twice, 0→3, 3→0. Second: 0→1, 1→2, 2→0, 0→2 twice, 2→0 twice more, 0→3, 3→3, 3→0
FIRST, SECOND = [[1, 2, 0], [1, 2, 0], [3, 0]], [[1, 2, 0], [2, 0], [2, 0], [3, 3, 0]]


def config(method="add_k", **settings):
    return NgramConfig(4, 2, method, **settings)


def test_a_second_text_says_what_a_count_is_worth():
    """Eight bigrams in the first text, ten in the second, so that each of these counts as 0.8."""
    worth = worth_of_counts(FIRST, SECOND, {"add 1": config()}, largest=3)
    assert worth.index.tolist() == [1, 2, 3]
    assert_allclose(worth["second text"][:2], [0.8 * (1 + 1) / 2, 0.8 * (1 + 1 + 3) / 3])
    assert np.isnan(worth.loc[3]).all()


def test_good_and_turing_foretell_it():
    """Two bigrams occur once, three twice and none three times."""
    worth = worth_of_counts(FIRST, SECOND, {"add 1": config()}, largest=2)
    assert_allclose(worth["Good-Turing"], [2 * 3 / 2, 3 * 0 / 3])


def test_estimators_say_what_their_equations_do():
    """add-1: (r + 1) N / (N + V), N of the context; absolute, with unigrams without discount: r - D + D T p(w)."""
    absolute = config("absolute", discounts=((0.0,), (0.5,)))
    worth = worth_of_counts(FIRST, SECOND, {"add 1": config(), "absolute": absolute}, largest=2)
    # once: 0→3 (N = 3, T = 2, p(3) = 1/8) and 3→0 (N = 1, T = 1, p(0) = 3/8)
    assert_allclose(
        worth.loc[1, ["add 1", "absolute"]], [(2 * 3 / 7 + 2 * 1 / 5) / 2, (0.5 + 0.5 * 2 / 8 + 0.5 + 0.5 * 3 / 8) / 2], rtol=1e-6
    )
    # twice: 0→1 (N = 3, T = 2, p(1) = 2/8), 1→2 (N = 2, T = 1, p(2) = 2/8), 2→0 (N = 2, T = 1, p(0) = 3/8)
    expected = (3 * 3 / 7 + 3 * 2 / 6 * 2) / 3, 1.5 + 0.5 * (2 * 2 / 8 + 2 / 8 + 3 / 8) / 3
    assert_allclose(worth.loc[2, ["add 1", "absolute"]], expected, rtol=1e-6)


def test_it_is_about_bigrams():
    with pytest.raises(ConfigError, match="order 2"):
        worth_of_counts(FIRST, SECOND, {"trigrams": NgramConfig(4, 3, "add_k")})
    with pytest.raises(ConfigError, match="at least one"):
        worth_of_counts(FIRST, SECOND, {})

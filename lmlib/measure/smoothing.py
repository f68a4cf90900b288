"""What is a count worth? Estimators of n-grams against a second text of the same kind.

A bigram that occurs r times in one half of a text occurs r* times in the other, on average, and r - r* is what an estimator should take
from it: Church and Gale 1991, "A comparison of the enhanced Good-Turing and deleted estimation methods for estimating probabilities of
English bigrams" (Computer Speech and Language 5). Good 1953 (Biometrika 40) foretells it from the first half alone: with n_r bigrams
that occur r times,

    r* = (r + 1) n_r+1 / n_r

Shapes: N bigrams.
"""

import numpy as np

from lmlib.errors import ConfigError
from lmlib.models.ngram_counts import NgramConfig, count, estimate


def worth_of_counts(first, second, estimators: dict[str, NgramConfig], largest: int = 9):
    """What bigrams that occur r times in one text are worth, by another text and by estimators.

    Args:
      first, second: TokenStores, or lists of sequences of ids; `second` may have another size, its counts are brought to that of `first`.
      estimators: configs of order 2 of one vocabulary, by the name of their column. What an estimator makes of a count is the
        probability that it gives, times the count of the context; in the interpolated form, the share of the shorter context included.
      largest: the largest r.

    Returns:
      A DataFrame with the index r = 1 … largest and the columns "second text", "Good-Turing", and the estimators; NaN for an r that
      does not occur.

    Raises:
      ConfigError: there is no estimator, or one is not of order 2.
    """
    import pandas as pd

    if not estimators or any(config.order != 2 for config in estimators.values()):
        raise ConfigError("worth_of_counts compares bigrams: give at least one estimator, each of order 2")
    config = next(iter(estimators.values()))
    levels, (_, others) = count(first, config), count(second, config)
    bigrams, V = levels[1], config.vocab_size
    keys, there = (level.parent.astype(np.int64) * V + level.word for level in (bigrams, others))  # of a bigram, the parent is a word
    elsewhere = pd.Series(others.count, there).reindex(keys, fill_value=0).to_numpy()
    context_N = np.bincount(bigrams.parent, bigrams.count, V)[bigrams.parent]
    frame = pd.DataFrame({"r": bigrams.count, "second text": elsewhere * (bigrams.count.sum() / others.count.sum())})
    for name, estimator in estimators.items():
        frame[name] = estimate(levels, estimator)[1].prob * context_N
    r = pd.RangeIndex(1, largest + 1, name="r")
    worth = frame.groupby("r").mean().reindex(r)
    n_r = np.bincount(np.minimum(bigrams.count, largest + 2), minlength=largest + 3)[1 : largest + 2].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        worth.insert(1, "Good-Turing", np.where(n_r[:-1] > 0, (r + 1) * n_r[1:] / n_r[:-1], np.nan))
    return worth

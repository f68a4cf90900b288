"""Scores over seeds: what each seed reached, and mean ± sd beside it, as the two tables of a run that say it."""

import pandas as pd

from lmlib.errors import ConfigError

LEAST_TOLERANCE = 0.02  # for seeds that happen to agree


def score_tables(run, name, frames, by, value, *, beside=(), corpus=None):
    """Write the tables `<name>_by_seed` and `<name>` (mean, sd and number of seeds), and return the second one.

    How far a run elsewhere may differ, where another processor rounds differently and training amplifies it, is taken from the spread over
    seeds: four times the largest standard deviation, and at least `LEAST_TOLERANCE`.

    Args:
      run: of `lmlib.record.runs`.
      frames: a mapping from the seed to a DataFrame of scores, a row for each value of the column `by`.
      by: the column that names what was scored, e.g. "category".
      value: the column that holds the score.
      beside: columns that are the same for all seeds and stand beside it, such as how many items there are and how many are covered.
      corpus: as for `Run.table`.

    Returns:
      A DataFrame with the index `by` and the columns mean, sd (empty for a single seed), seeds, and those beside.

    Raises:
      ConfigError: a column beside the score differs from seed to seed.
    """
    by_seed = pd.concat(frames, names=["seed"]).reset_index("seed")[["seed", by, value, *beside]]
    groups = by_seed.groupby(by, sort=False)
    if unequal := [column for column in beside if (groups[column].nunique(dropna=False) > 1).any()]:
        raise ConfigError(f"scores {name!r}: {unequal[0]!r} differs from seed to seed, so it cannot stand beside their mean")
    table = groups[value].agg(mean="mean", sd="std", seeds="count").join(groups[list(beside)].first())
    tolerance = max(LEAST_TOLERANCE, 4 * table["sd"].max()) if len(frames) > 1 else None
    run.table(f"{name}_by_seed", by_seed, tolerance={value: tolerance}, corpus=corpus)
    run.table(name, table, tolerance={"mean": tolerance, "sd": tolerance}, corpus=corpus)
    return table

"""Scores over seeds against numpy, and the tolerance that they give a run elsewhere."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError
from lmlib.record.runs import load_run, open_run
from lmlib.record.seeds import LEAST_TOLERANCE, score_tables


def frames(spread=0.1):
    scores = {1: (0.5, 0.9), 2: (0.5 + spread, 0.9), 3: (0.5 - spread, 0.9)}
    return {seed: pd.DataFrame({"set": ["b", "a"], "accuracy": values, "covered": [7, 8], "loss": seed}) for seed, values in scores.items()}


def made(tmp_path, frames, **more):
    with open_run(tmp_path, parameters={}, seeds=list(frames)) as run:
        return score_tables(run, "scores", frames, "set", "accuracy", beside=["covered"], **more)


def test_mean_and_deviation_over_seeds(tmp_path):
    table = made(tmp_path, frames())
    assert table.index.tolist() == ["b", "a"]
    assert_allclose(table["mean"], [0.5, 0.9])
    assert_allclose(table["sd"], [np.std([0.5, 0.6, 0.4], ddof=1), 0], atol=1e-12)
    assert (table["seeds"].tolist(), table["covered"].tolist()) == ([3, 3], [7, 8])
    assert (tmp_path / "tables/scores.csv").read_text() == "set,mean,sd,seeds,covered\nb,0.5,0.1,3,7\na,0.9,0,3,8\n"
    assert (tmp_path / "tables/scores_by_seed.csv").read_text().startswith("seed,set,accuracy,covered\n1,b,0.5,7\n1,a,0.9,8\n2,b,0.6,7\n")


def test_the_tolerance_is_four_deviations_of_the_widest(tmp_path):
    made(tmp_path, frames())
    tables = load_run(tmp_path).record["tables"]
    assert_allclose([tables["scores"]["tolerance"]["mean"], tables["scores_by_seed"]["tolerance"]["accuracy"]], 0.4)


def test_seeds_that_agree_still_leave_some_tolerance(tmp_path):
    made(tmp_path, frames(spread=0.0))
    assert load_run(tmp_path).record["tables"]["scores"]["tolerance"]["mean"] == LEAST_TOLERANCE


def test_a_single_seed_has_no_deviation_and_is_told_not_compared(tmp_path):
    table = made(tmp_path, {1: frames()[1]})
    assert table["sd"].isna().all()
    assert load_run(tmp_path).record["tables"]["scores"]["tolerance"]["mean"] is None


def test_what_differs_from_seed_to_seed_is_named(tmp_path):
    bad = frames()
    bad[2]["covered"] = [7, 9]
    with pytest.raises(ConfigError, match="'covered' differs"):
        made(tmp_path, bad)

"""Copying and adding: what a row says, what is expected of it, and what is reached without memory, all found again by other means."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError
from lmlib.text.synthetic import AddingTask, CopyTask


def test_a_row_to_copy_read_by_eye():
    task = CopyTask(2, lag=4, seed=3, symbols=5, copied=3)
    batch = task[7]
    assert batch["tokens"].dtype == batch["targets"].dtype == np.int32
    for tokens, targets in zip(batch["tokens"].tolist(), batch["targets"].tolist(), strict=True):
        said = tokens[:3]
        assert set(said) <= {1, 2, 3, 4, 5}
        assert tokens == [*said, 0, 0, 0, 6, 0, 0, 0]  # lag - 1 blanks, the mark, and room for the answer
        assert targets == [0, 0, 0, 0, 0, 0, 0, *said]
    assert (task.vocab_size, task.length) == (7, 10)


def test_symbols_are_drawn_alike():
    said = np.concatenate([CopyTask(50, lag=1, seed=1)[step]["tokens"][:, :10] for step in range(40)]).ravel()
    counts = np.bincount(said, minlength=9)[1:]
    expected = len(said) / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-square with 7 degrees of freedom: once in a thousand


def test_the_baseline_of_copying_is_that_of_a_model_that_knows_only_when():
    """Its probabilities written out: 1 for each blank, 1/8 for each symbol that has to be said."""
    task = CopyTask(4, lag=100)
    targets = task[0]["targets"]
    nats = np.where(targets == 0, 0.0, -np.log(1 / 8)).mean()
    assert_allclose(task.baseline, nats)
    assert_allclose(task.baseline, 10 * np.log(8) / 120)


@pytest.mark.parametrize("length", [2, 5, 40])
def test_the_sum_of_the_marked_numbers(length):
    batch = AddingTask(300, length, seed=2)[0]
    assert batch["inputs"].shape == (300, length, 2)
    assert batch["inputs"].dtype == batch["targets"].dtype == np.float32
    for row, target in zip(batch["inputs"], batch["targets"], strict=True):
        first, second = np.flatnonzero(row[:, 1])
        assert first < length // 2 <= second
        assert set(row[:, 1]) <= {0, 1}
        assert_allclose(target, row[first, 0] + row[second, 0], rtol=1e-6)
    numbers, marked = batch["inputs"][..., 0], batch["inputs"][..., 1].any(axis=0)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert marked.all()  # every place is marked now and then


def test_the_baseline_of_adding_is_the_error_of_always_answering_1():
    targets = np.concatenate([AddingTask(500, 30, seed=4)[step]["targets"] for step in range(40)])
    errors = (targets - 1.0) ** 2
    assert_allclose(errors.mean(), AddingTask.baseline, atol=4 * errors.std() / np.sqrt(len(errors)))
    assert ((targets - 0.95) ** 2).mean() > errors.mean() < ((targets - 1.05) ** 2).mean()


@pytest.mark.parametrize("make", [lambda seed: CopyTask(3, 5, seed), lambda seed: AddingTask(3, 6, seed)])
def test_a_batch_is_a_function_of_seed_and_step(make):
    name = "tokens" if "tokens" in make(0)[0] else "inputs"
    assert_array_equal(make(1)[5][name], make(1)[5][name])
    for other in (make(1)[6], make(2)[5]):
        assert (make(1)[5][name] != other[name]).any()


def test_what_makes_no_task_is_refused():
    with pytest.raises(ConfigError, match="CopyTask: lag must be an integer of at least 1, got 0"):
        CopyTask(1, 0)
    with pytest.raises(ConfigError, match="symbols must be an integer of at least 2"):
        CopyTask(1, 1, symbols=1)
    with pytest.raises(ConfigError, match="AddingTask: length must be an integer of at least 2, got 1"):
        AddingTask(1, 1)
    with pytest.raises(ConfigError, match="seed"):
        AddingTask(1, 4, seed=-1)

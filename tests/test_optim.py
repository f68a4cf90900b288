"""Learning rates at every step against their formulas; optimisers against their first step written out; early stopping."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.config import from_dict
from lmlib.errors import ConfigError
from lmlib.learn.optim import OptimConfig, lower_rate, make_optimizer, make_schedule
from lmlib.learn.stopping import Best


def rates(steps, **fields):
    schedule = make_schedule(OptimConfig(learning_rate=0.8, **fields), steps)
    return [float(schedule(t)) for t in range(steps)]


def test_schedules_are_their_formulas():
    assert_allclose(rates(5), [0.8] * 5)
    assert_allclose(rates(4, schedule="linear"), [0.8, 0.6, 0.4, 0.2], rtol=1e-6)
    assert_allclose(rates(6, schedule="cosine"), [0.4 * (1 + math.cos(math.pi * t / 6)) for t in range(6)], rtol=1e-5)
    assert_allclose(rates(10, schedule="step", hold=4, every=2), [0.8] * 4 + [0.4] * 2 + [0.2] * 2 + [0.1] * 2, rtol=1e-6)
    assert_allclose(rates(6, warmup=4), [0, 0.2, 0.4, 0.6, 0.8, 0.8], atol=1e-7)
    assert_allclose(rates(8, warmup=4, schedule="linear"), [0, 0.2, 0.4, 0.6, 0.8, 0.6, 0.4, 0.2], atol=1e-7)
    assert_allclose(
        rates(8, warmup=2, schedule="step", hold=4, every=3, factor=0.1), [0, 0.4, 0.8, 0.8, 0.08, 0.08, 0.08, 0.008], atol=1e-7
    )


def test_the_schedule_of_the_small_lstm_of_the_penn_treebank():
    """Zaremba et al.: rate 1 for four epochs, then halved in each of nine more; 5 steps an epoch here."""
    schedule = make_schedule(OptimConfig("sgd", 1.0, "step", hold=20, every=5), 65)
    assert_allclose([float(schedule(5 * epoch + 4)) for epoch in range(13)], [1.0] * 4 + [0.5**i for i in range(1, 10)])


PARAMS = {"w": jnp.array([3.0, -4.0])}
GRADIENT = {"w": jnp.array([6.0, 8.0])}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_held_rate_falls_when_it_is_told_to(name):
    """By the factor, at once, whatever the optimiser; its other state, clipping and warm-up are as without."""
    held, constant = (make_optimizer(OptimConfig(name, 0.1, schedule, warmup=1, clip=5.0), 10) for schedule in ("plateau", "constant"))
    state, other = held.init(PARAMS), constant.init(PARAMS)
    for step, scale in enumerate((1, 1, 0.25, 0.25, 0.0625)):
        if step in (2, 4):
            state = lower_rate(state, 0.25)
        gradient = {"w": (step + 1) * GRADIENT["w"] * jnp.array([1.0, -1.0]) ** step}
        found, state = held.update(gradient, state, PARAMS)
        expected, other = constant.update(gradient, other, PARAMS)
        assert_allclose(found["w"], scale * expected["w"], rtol=1e-6)
        assert (step == 0) == (not found["w"].any())
    with pytest.raises(ConfigError, match="is not held"):
        lower_rate(other, 0.5)


def first_step(**fields):
    optimizer = make_optimizer(OptimConfig(learning_rate=0.1, **fields), 10)
    updates, _ = optimizer.update(GRADIENT, optimizer.init(PARAMS), PARAMS)
    return np.asarray(updates["w"])


def test_the_first_step_of_each_optimiser():
    assert_allclose(first_step(name="sgd"), [-0.6, -0.8], rtol=1e-6)
    assert_allclose(first_step(name="sgd", clip=5.0), [-0.3, -0.4], rtol=1e-6)
    assert_allclose(first_step(name="sgd", clip=11.0), [-0.6, -0.8], rtol=1e-6)
    assert_allclose(first_step(name="adam"), [-0.1, -0.1], rtol=1e-4)
    assert_allclose(first_step(name="adamw", weight_decay=0.5), [-0.1 - 0.1 * 0.5 * 3, -0.1 + 0.1 * 0.5 * 4], rtol=1e-4)
    delta = [-0.1 * math.sqrt(1e-6) * g / math.sqrt(0.1 * g * g + 1e-6) for g in (6, 8)]
    assert_allclose(first_step(name="adadelta"), delta, rtol=1e-3)


def test_equal_configs_are_equal_runs():
    runs = []
    for _ in range(2):
        optimizer, params = make_optimizer(OptimConfig("adam", 0.1, "cosine", warmup=2), 9), PARAMS
        state = optimizer.init(params)
        for _ in range(9):
            updates, state = optimizer.update(params, state, params)
            params = optax.apply_updates(params, updates)
        runs.append(params["w"])
    assert_array_equal(*runs)
    assert np.abs(np.asarray(runs[0])).max() < 4


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"name": "rmsprop"}, "name"),
        ({"schedule": "sine"}, "schedule"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"clip": -1.0}, "clip"),
        ({"warmup": -1}, "warmup"),
        ({"schedule": "step", "every": 2}, "hold"),
        ({"schedule": "step", "hold": 2}, "every"),
        ({"schedule": "step", "hold": 2, "every": 1, "warmup": 2}, "hold"),
        ({"every": 2}, "options of schedule='step'"),
        ({"weight_decay": 0.1}, "adamw"),
    ],
)
def test_impossible_settings_are_named(fields, what):
    with pytest.raises(ConfigError, match=what):
        from_dict(OptimConfig, fields)


def test_a_warm_up_must_end():
    with pytest.raises(ConfigError, match="warm-up of 5"):
        make_schedule(OptimConfig(warmup=5), 5)


# ---- early stopping ----


def followed(scores, **options):
    best, seen = Best(), []
    for at, score in enumerate(scores):
        best = best.watch(score, {"w": np.array(at)}, at, **options)
        seen.append((best.at, best.waited))
    return best, seen


def test_the_best_is_kept_and_the_waiting_counted():
    best, seen = followed([3.0, 2.0, 2.0, 2.5, 1.0, 4.0])
    assert seen == [(0, 0), (1, 0), (1, 1), (1, 2), (4, 0), (4, 1)]
    assert (best.score, int(best.value["w"])) == (1.0, 4)
    best, seen = followed([0.3, 0.5, 0.5, 0.4, 0.6], higher=True)
    assert seen == [(0, 0), (1, 0), (1, 1), (1, 2), (4, 0)]
    assert best.score == 0.6


@pytest.mark.parametrize("higher", [False, True])
def test_what_is_not_a_number_is_never_the_best(higher):
    best, seen = followed([math.nan, 2.0, math.nan], higher=higher)
    assert seen == [(None, 1), (1, 0), (1, 1)]
    assert (best.score, int(best.value["w"])) == (2.0, 1)


def test_what_is_kept_outlives_the_array_that_is_donated():
    double = jax.jit(lambda w: 2 * w, donate_argnums=0)
    w = jnp.arange(4.0)
    best = Best().watch(1.0, {"w": w}, 0)
    w = double(w)
    assert_array_equal(best.value["w"], [0, 1, 2, 3])
    assert isinstance(best.value["w"], np.ndarray)

"""Training against loops written out by hand: the step, the scan over steps, resuming, skipping, interrupting."""

import logging
import os
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, NonFiniteError, ShapeError, VocabularyError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step, run_steps, stop_on_sigterm
from lmlib.models.base import merge, split
from lmlib.models.cells import LSTM, RNN
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM

KEY = jax.random.key(7)


def loss(params, carry, batch, key):
    """Least squares with noise on the weights, so that a step depends on its key, and a running mean of the targets as the carry."""
    prediction = batch["x"] @ (params["w"] + 0.01 * jax.random.normal(key, params["w"].shape))
    carry = None if carry is None else 0.9 * carry + 0.1 * batch["y"].mean()
    return jnp.mean((prediction - batch["y"]) ** 2), (carry, {"x0": batch["x"][0, 0]})


OPTIMIZER = optax.adam(0.05)
TRAIN_STEP = make_train_step(loss, OPTIMIZER)


class Batches:
    """batches[step], a pure function of the step; NaN at the steps that are `spoilt`."""

    def __init__(self, spoilt=()):
        self.spoilt = spoilt

    def __getitem__(self, step):
        x = np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32)
        return {"x": x * np.nan if step in self.spoilt else x, "y": (x @ np.array([1, -2, 3])).astype(np.float32)}


def new_state():
    return init_train_state({"w": jnp.zeros(3)}, OPTIMIZER, carry=jnp.zeros(()))


def train(state, steps, batches=None, **options):
    """The last state, on the host, and the metrics of all steps."""
    history = []
    run = fit(TRAIN_STEP, state, batches or Batches(), key=KEY, steps=steps, **options)
    for state, metrics in run:  # noqa: B007  the last one is wanted
        history.append(metrics)
    return jax.device_get(state), fetch(history)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(assert_array_equal, a, b)


def test_a_step_is_the_gradient_step_written_out():
    state, batch, key = new_state(), Batches()[0], jax.random.fold_in(KEY, 0)
    new, metrics = TRAIN_STEP(state, batch, key)
    w = 0.01 * jax.random.normal(key, (3,))
    error = batch["x"] @ w - batch["y"]
    gradient = 2 * batch["x"].T @ error / 8
    assert_allclose(metrics["loss"], np.mean(error**2), rtol=1e-5)
    assert_allclose(metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-5)
    assert_allclose(new["params"]["w"], -0.05 * np.sign(gradient), rtol=1e-4)  # Adam's first step has the length of the rate
    assert_allclose(new["carry"], 0.1 * batch["y"].mean(), rtol=1e-5)
    assert (new["step"], new["skipped"]) == (1, 0)


@pytest.mark.parametrize("steps_per_call", [1, 4, 12])
def test_fit_is_the_loop_of_steps(steps_per_call):
    state = new_state()
    losses = []
    step = jax.jit(TRAIN_STEP)
    for t in range(12):
        state, metrics = step(state, Batches()[t], jax.random.fold_in(KEY, t))
        losses.append(float(metrics["loss"]))
    fitted, metrics = train(new_state(), 12, steps_per_call=steps_per_call)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5), fitted, jax.device_get(state))
    assert_allclose(metrics["loss"], losses, rtol=1e-5)
    assert_array_equal(metrics["step"], np.arange(12))
    assert_array_equal(metrics["x0"], [Batches()[t]["x"][0, 0] for t in range(12)])
    assert not metrics["skipped"].any()


def test_training_converges():
    state, metrics = train(new_state(), 400, steps_per_call=100)
    assert_allclose(state["params"]["w"], [1, -2, 3], atol=0.05)
    assert metrics["loss"][-1] < 0.01 < metrics["loss"][0]


@pytest.mark.parametrize("steps_per_call", [1, 4])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(steps_per_call):
    """Stopped after each of its calls in turn, the last of which is a short one; the state goes through the host, as in a checkpoint."""
    whole, whole_metrics = train(new_state(), 14, steps_per_call=steps_per_call)
    for stop in range(steps_per_call, 14, steps_per_call):
        half, first = train(new_state(), stop, steps_per_call=steps_per_call)
        resumed, second = train(half, 14, steps_per_call=steps_per_call)
        assert_same(resumed, whole)
        for name, values in whole_metrics.items():
            assert_array_equal(np.concatenate([first[name], second[name]]), values)


def test_calls_end_at_multiples_of_steps_per_call():
    """A run resumed in between makes, from the next multiple on, the calls of the uninterrupted one."""
    half, _ = train(new_state(), 3)
    calls = [m["step"].tolist() for _, m in fit(TRAIN_STEP, half, Batches(), key=KEY, steps=10, steps_per_call=4)]
    assert calls == [[3], [4, 5, 6, 7], [8, 9]]
    assert list(fit(TRAIN_STEP, half, Batches(), key=KEY, steps=3)) == []


def test_calls_begin_anew_with_each_epoch():
    """So there are two lengths of calls, and nothing runs over the end of an epoch; resumed anywhere, the later calls are the same."""
    calls = [m["step"].tolist() for _, m in fit(TRAIN_STEP, new_state(), Batches(), key=KEY, steps=17, steps_per_call=4, steps_per_epoch=7)]
    assert calls == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10], [11, 12, 13], [14, 15, 16]]
    half, _ = train(new_state(), 9)
    calls = [m["step"].tolist() for _, m in fit(TRAIN_STEP, half, Batches(), key=KEY, steps=17, steps_per_call=4, steps_per_epoch=7)]
    assert calls == [[9, 10], [11, 12, 13], [14, 15, 16]]


def test_what_else_the_state_holds_is_handed_on():
    state, _ = train(new_state() | {"best": {"loss": jnp.float32(3)}}, 5, steps_per_call=2)
    assert state["best"] == {"loss": 3}
    assert_same({name: state[name] for name in new_state()}, train(new_state(), 5, steps_per_call=2)[0])


def language_model(cell, **fields):
    """The definition and parameters of a small recurrent language model of 7 tokens."""
    return split(RecurrentLM(RecurrentConfig.tiny(7, cell=cell, **fields), rngs=nnx.Rngs(1)))


@pytest.mark.parametrize(("kind", "pieces"), [("streams", 2), ("sequences", 2), ("sequences", 6)])
def test_pieces_of_a_batch_make_the_step_of_the_whole(kind, pieces):
    """Streams with a state that is carried over and partly begun anew; sequences of unequal length, one of them empty, so that pieces have
    different numbers of tokens."""
    definition, params = language_model(LSTM)
    rng, optimizer = np.random.default_rng(0), optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.5, momentum=0.9))
    tokens = rng.integers(0, 7, (4, 6, 5)).astype(np.int32)
    if kind == "streams":
        carry = jax.tree.map(lambda x: x + 0.3, merge(definition, params).init_state(6, max_len=5))
        batches = [{"tokens": t, "targets": (t + 1) % 7, "reset": rng.random(6) < 0.5} for t in tokens]
    else:
        carry, batches = None, [{"tokens": t, "lengths": np.array([5, 1, 0, 2, 5, 4], np.int32)} for t in tokens]
    results = []
    for n in (1, pieces):
        state = init_train_state(params, optimizer, carry)
        step = make_train_step(next_token_loss(definition), optimizer, n)
        *_, (state, metrics) = fit(step, state, batches, key=KEY, steps=4, steps_per_call=2)
        results.append((jax.device_get(state), jax.device_get(metrics)))
    whole, cut = results
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), cut[0], whole[0])
    assert_array_equal(cut[1]["tokens"], whole[1]["tokens"])
    assert_allclose(cut[1]["loss"], whole[1]["loss"], rtol=1e-6)
    assert_allclose(cut[1]["gradient_norm"], whole[1]["gradient_norm"], rtol=1e-5)


def test_each_piece_has_dropout_of_its_own():
    definition, params = language_model(RNN, dropout=0.5)
    row = np.arange(5, dtype=np.int32)[None] % 7
    batch = {"tokens": np.concatenate([row, row]), "targets": np.concatenate([row, row])}

    def gradient(pieces, batch):
        step = make_train_step(next_token_loss(definition), optax.sgd(1.0), pieces)
        return step(init_train_state(params, optax.sgd(1.0)), batch, KEY)[0]["params"]["bias"]

    alone = gradient(1, {name: array[:1] for name, array in batch.items()})
    assert float(jnp.abs(gradient(2, batch) - alone).max()) > 1e-3  # with one mask for both, two equal rows would be as one


def test_a_fault_in_one_piece_skips_the_step():
    definition, params = language_model(RNN)
    step = jax.jit(make_train_step(next_token_loss(definition), optax.sgd(1.0), 2))
    tokens = np.array([[1, 2], [3, 7]], np.int32)  # 7 is outside the vocabulary
    state, metrics = step(init_train_state(params, optax.sgd(1.0)), {"tokens": tokens, "targets": tokens}, KEY)
    assert int(state["skipped"]) == 1
    assert not np.isfinite(metrics["loss"])
    assert_same(jax.device_get(state["params"]), jax.device_get(params))


def test_pieces_must_be_equal():
    with pytest.raises(ConfigError, match="pieces must be at least 1, got 0"):
        make_train_step(loss, OPTIMIZER, 0)
    with pytest.raises(ShapeError, match="8 rows cannot be cut into 3"):
        make_train_step(lambda p, c, b, k: loss(p, None, b, k), OPTIMIZER, 3)(new_state() | {"carry": None}, Batches()[0], KEY)


def spoilt_by(kind):
    """A loss with a non-finite value, gradient or carry on batches whose first number is 99."""

    def spoilt_loss(params, carry, batch, key):
        value, (carry, metrics) = loss(params, carry, batch, key)
        bad = batch["x"][0, 0] == 99
        if kind == "value":
            value += jnp.where(bad, jnp.inf, 0)
        elif kind == "gradient":  # a square root has a finite value and an infinite slope at 0
            total = params["w"].sum()
            value += jnp.sqrt(jnp.where(bad, total - jax.lax.stop_gradient(total), 1.0))
        elif kind == "carry":
            carry += jnp.where(bad, jnp.nan, 0)
        return value, (carry, metrics)

    return spoilt_loss


@pytest.mark.parametrize("kind", ["value", "gradient", "carry"])
def test_a_non_finite_step_moves_nothing_but_its_counters(kind):
    step = jax.jit(make_train_step(spoilt_by(kind), OPTIMIZER))
    state, _ = step(new_state(), Batches()[0], KEY)
    batch = Batches()[1]
    batch["x"][0, 0] = 99
    after, _ = step(state, batch, KEY)
    assert_same({**after, "step": 0, "skipped": 0}, {**state, "step": 0, "skipped": 0})
    assert (after["step"], after["skipped"]) == (2, 1)
    batch["x"][0, 0] = 98
    assert step(state, batch, KEY)[0]["skipped"] == 0


def test_fifty_spoilt_batches_are_found_and_leave_no_trace():
    """What remains is the run that makes the other steps alone, each with its own number."""
    spoilt = set(np.random.default_rng(0).choice(200, 50, replace=False).tolist())
    state, metrics = train(new_state(), 200, Batches(spoilt), steps_per_call=50, max_skipped=50)
    assert set(np.flatnonzero(metrics["skipped"])) == spoilt
    assert state["skipped"] == 50
    want, step = new_state(), jax.jit(TRAIN_STEP)
    for t in sorted(set(range(200)) - spoilt):
        want, _ = step(want, Batches()[t], jax.random.fold_in(KEY, t))
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-4), state["params"], want["params"])


@pytest.mark.parametrize("steps_per_call", [1, 4])
@pytest.mark.parametrize("steps", [8, 100])
def test_persistent_nan_stops_the_run_in_a_state_that_can_be_replayed(steps_per_call, steps):
    batches, last = Batches(range(5, 1000)), None
    with pytest.raises(NonFiniteError, match=r"\(5 to 7\).*replay.*batches\[5\]"):
        for last in fit(TRAIN_STEP, new_state(), batches, key=KEY, steps=steps, steps_per_call=steps_per_call, max_skipped=3):  # noqa: B007
            pass
    state, _ = last
    sound, _ = train(new_state(), 5, steps_per_call=steps_per_call)
    assert state["step"] == 8
    assert_same(jax.device_get(state["params"]), sound["params"])
    _, metrics = jax.jit(TRAIN_STEP)(state, batches[5], jax.random.fold_in(KEY, 5))
    assert jnp.isnan(metrics["loss"])


def test_skipped_steps_apart_do_not_stop_a_run():
    state, _ = train(new_state(), 30, Batches(set(range(30)) - {2, 5, 8, 11, 14, 17, 20, 23, 26, 29}), max_skipped=3)
    assert (state["step"], state["skipped"]) == (30, 20)


def test_a_step_of_another_kind_needs_nothing_of_optax():
    """As word vectors have it: no optimiser, no carry; a batch is a chunk of a corpus; only the counters are agreed."""

    def count(state, batch, key):
        counts = state["counts"].at[batch["ids"]].add(jax.random.bernoulli(key, 0.5, batch["ids"].shape).astype(jnp.int32))
        return {"counts": counts, "step": state["step"] + 1, "skipped": state["skipped"]}, {"drawn": counts.sum()}

    chunks = [{"ids": np.arange(s, s + 4, dtype=np.int32) % 6} for s in range(10)]
    state = {"counts": jnp.zeros(6, jnp.int32), "step": jnp.zeros((), jnp.int32), "skipped": jnp.zeros((), jnp.int32)}
    want = np.zeros(6, int)
    for t, chunk in enumerate(chunks):
        np.add.at(want, chunk["ids"], jax.random.bernoulli(jax.random.fold_in(KEY, t), 0.5, (4,)))
    run = list(fit(count, state, chunks, key=KEY, steps=10, steps_per_call=5))
    assert_array_equal(run[-1][0]["counts"], want)
    assert int(run[-1][1]["drawn"][-1]) == want.sum()


def test_the_state_passed_in_stays_alive_and_a_yielded_one_until_the_next():
    start = new_state()
    run = fit(TRAIN_STEP, start, Batches(), key=KEY, steps=4)
    first, _ = next(run)
    second, _ = next(run)
    assert_array_equal(start["params"]["w"], np.zeros(3))
    assert first["params"]["w"].is_deleted()  # loud, if it is used: "Array has been deleted"
    kept = jax.device_get(second)
    copied = jax.tree.map(np.array, kept)
    list(run)
    assert_same(kept, copied)  # what was fetched is not overwritten by the steps that follow


def test_an_exception_in_the_body_or_in_the_batches_leaves_a_state_to_go_on_from():
    whole, _ = train(new_state(), 9)

    class Broken(Batches):
        def __getitem__(self, step):
            if step == 5:
                raise OSError("the disk is gone")
            return super().__getitem__(step)

    state = new_state()
    run = fit(TRAIN_STEP, state, Broken(), key=KEY, steps=9)
    with pytest.raises(OSError, match="disk is gone"):
        for state, _ in run:  # noqa: B007
            pass
    assert state["step"] == 5
    run = fit(TRAIN_STEP, state, Batches(), key=KEY, steps=9)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for state, _ in run:
            if state["step"] == 7:
                1 / 0  # noqa: B018
    assert_same(train(state, 9)[0], whole)


def test_ctrl_c_at_any_moment_loses_neither_the_state_nor_a_number():
    """SIGINT at twenty random moments; the curve and the state are those of a run that was left alone."""
    state, history, rng = new_state(), [], np.random.default_rng(0)
    for _ in range(20):
        timer = threading.Timer(rng.exponential(0.01), os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()
            for state, metrics in fit(TRAIN_STEP, state, Batches(), key=KEY, steps=10**9, steps_per_call=10):  # noqa: B007, B020
                history.append(metrics)
        timer.join()
    whole, whole_metrics = train(new_state(), int(state["step"]), steps_per_call=10)
    assert_same(jax.device_get(state), whole)
    assert whole["step"] > 0
    for name, values in fetch(history).items():
        assert_array_equal(values, whole_metrics[name])


def test_ctrl_c_during_a_call_is_held_back_until_its_results_are_handed_over():
    """The worst moment, when the old state is given away and the new one not there; the step sends the signal as it is traced."""

    def step(state, batch, key):
        signal.raise_signal(signal.SIGINT)
        return TRAIN_STEP(state, batch, key)

    handed_over = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for state, metrics in fit(step, new_state(), Batches(), key=KEY, steps=3):
            handed_over.append((state, metrics))
    ((state, metrics),) = handed_over
    assert_same(jax.device_get(state), train(new_state(), 1)[0])
    assert_array_equal(metrics["step"], [0])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_fit_runs_outside_the_main_thread():
    result = []
    thread = threading.Thread(target=lambda: result.append(train(new_state(), 3)[0]))
    thread.start()
    thread.join()
    assert_same(result[0], train(new_state(), 3)[0])


def test_one_program_for_a_shape_of_batches(caplog):
    """Each compilation is logged; the same step with the same shapes is not compiled again, in another `fit` either."""

    def step(state, batch, key):
        return TRAIN_STEP(state, batch, key)

    ragged = [{name: array[: 8 - t % 2] for name, array in Batches()[t].items()} for t in range(6)]
    with caplog.at_level(logging.INFO, "lmlib.learn.train"):
        for _ in range(2):
            list(fit(step, new_state(), ragged, key=KEY, steps=6))
    assert [record.getMessage().count("compiling") for record in caplog.records] == [1, 1]
    assert "float32[1, 7, 3]" in caplog.text


def test_batches_of_unequal_shape_do_not_run_in_one_call():
    ragged = [{name: array[: 8 - t // 3] for name, array in Batches()[t].items()} for t in range(6)]
    with pytest.raises(ShapeError, match="batches 2 and 3 have shapes"):
        list(fit(TRAIN_STEP, new_state(), ragged, key=KEY, steps=6, steps_per_call=2))


def test_integers_are_not_cut_to_32_bits_in_silence():
    def step(state, batch, key):
        return state | {"step": state["step"] + 1}, {"id": batch}

    state = {"step": jnp.zeros((), jnp.int32), "skipped": jnp.zeros((), jnp.int32)}
    ((_, metrics),) = fit(step, state, [np.int64(2**31 - 1)], key=KEY, steps=1)
    assert_array_equal(metrics["id"], [2**31 - 1])
    with pytest.raises(VocabularyError, match="batch from 0 on"):
        list(fit(step, state, [np.int64(2**32 + 3)], key=KEY, steps=1))


@pytest.mark.parametrize("options", [{"steps_per_call": 0}, {"max_skipped": 0}, {"steps_per_epoch": 0}])
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match="at least 1"):
        list(fit(TRAIN_STEP, new_state(), Batches(), key=KEY, steps=1, **options))


def test_fetch_of_nothing_is_nothing():
    assert fetch([]) == {}


def test_run_steps_is_registered_and_runs():
    from lmlib.programs import REGISTER

    program = REGISTER["train.run_steps"]
    assert program.function is run_steps
    state, metrics = program.function(*program.example())
    assert state["step"] == 2
    assert metrics["loss"].shape == (2,)


def test_sigterm_sets_the_event_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_sigterm_kills():
    code = (
        "import os, signal, time\nfrom lmlib.learn.train import stop_on_sigterm\n"
        "with stop_on_sigterm() as stop:\n    os.kill(os.getpid(), signal.SIGTERM)\n    assert stop.wait(5)\n"
        "    print('first', flush=True)\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(30)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == -signal.SIGTERM, result.stderr
    assert result.stdout == "first\n"

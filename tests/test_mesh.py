"""Rows shared out among devices against the whole batch on one; tests/conftest.py makes four devices of the CPU."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError
from lmlib.learn.checkpoint import Checkpoints
from lmlib.learn.losses import label_loss, next_token_loss
from lmlib.learn.mesh import place, row_mesh, share_out
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.models.base import split
from lmlib.models.classifier import ClassifierConfig, TextNet
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM

B, L, KEY, OPTIMIZER = 8, 6, jax.random.key(3), optax.adam(0.01)


def batch_of(step, kind):
    rng = np.random.default_rng(step)
    tokens = rng.integers(0, 5, (B, L + 1)).astype(np.int32)
    if kind == "windows":
        return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "reset": rng.random(B) < 0.3}
    batch = {"tokens": tokens, "lengths": rng.integers(1, L + 2, B)}  # devices have unequal numbers of tokens
    return batch if kind == "sequences" else batch | {"labels": rng.integers(0, 2, B), "index": np.where(rng.random(B) < 0.3, -1, 0)}


class Batches:
    def __init__(self, kind):
        self.kind = kind

    def __getitem__(self, step):
        return batch_of(step, self.kind)


def prepared(kind, **fields):
    """(loss, params, carry) of a small model."""
    if kind == "texts":
        definition, params = split(TextNet(ClassifierConfig.tiny(vocab_size=5, **fields), rngs=nnx.Rngs(0)))
        return label_loss(definition), params, None
    model = RecurrentLM(RecurrentConfig.tiny(**fields), rngs=nnx.Rngs(0))
    definition, params = split(model)
    return next_token_loss(definition), params, model.init_state(B, max_len=L) if kind == "windows" else None


def train(kind, devices, steps=49, state=None, **fields):
    """The last state, still on its devices, and the metrics of all steps; `devices` None is the plain step."""
    loss, params, carry = prepared(kind, **fields)
    start = init_train_state(params, OPTIMIZER, carry)
    if devices is not None:
        mesh = row_mesh(devices)
        loss, start = share_out(loss, mesh), place(start, mesh)
    start = start if state is None else state
    history, step = [], make_train_step(loss, OPTIMIZER)
    for end, metrics in fit(step, start, Batches(kind), key=KEY, steps=steps, steps_per_call=7):  # noqa: B007  the last one is wanted
        history.append(metrics)
    return end, fetch(history)


@pytest.mark.parametrize("kind", ["windows", "sequences", "texts"])
def test_devices_together_train_as_one_alone(kind):
    alone, told = train(kind, None)
    for devices in (1, 2, 4):
        state, metrics = train(kind, devices)
        assert metrics.keys() == told.keys()
        assert_allclose(metrics["loss"], told["loss"], rtol=1e-5)
        for name in metrics.keys() & {"tokens", "texts", "right"}:
            assert_array_equal(metrics[name], told[name])
        jax.tree.map(lambda a, b: assert_allclose(a, b, atol=2e-5), *map(jax.device_get, (state["params"], alone["params"])))
        assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state["params"])} == {devices}


def test_each_device_holds_its_own_rows_of_the_carry():
    assert row_mesh() == row_mesh(4)
    state, _ = train("windows", 4, steps=7)
    for leaf in jax.tree.leaves(state["carry"]):
        assert [shard.data.shape for shard in leaf.addressable_shards] == [(B // 4, *leaf.shape[1:])] * 4


def test_the_same_devices_give_the_same_bits_and_each_drops_what_it_draws():
    runs = [train("windows", 2, dropout=0.5) for _ in range(2)]
    jax.tree.map(assert_array_equal, *map(jax.device_get, runs))
    loss, params, carry = prepared("windows", dropout=0.5)
    batch = jax.tree.map(lambda rows: np.concatenate([rows[:4], rows[:4]]), batch_of(0, "windows"))  # both devices read the same rows
    value, _ = jax.jit(share_out(loss, row_mesh(2)))(params, carry, batch, KEY)
    half_carry, half = jax.tree.map(lambda rows: rows[:4], (carry, batch))
    drawn = [float(jax.jit(loss)(params, half_carry, half, jax.random.fold_in(KEY, device))[0]) for device in (0, 1)]
    assert abs(drawn[0] - drawn[1]) > 1e-3
    assert_allclose(value, np.mean(drawn), rtol=1e-5)


def test_a_run_goes_on_on_another_number_of_devices(tmp_path):
    whole, _ = train("windows", 2)
    begun, _ = train("windows", 2, steps=21)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(begun, {})
    _, params, carry = prepared("windows")
    for devices in (1, 2, 4):
        like = place(init_train_state(params, OPTIMIZER, carry), row_mesh(devices))
        with Checkpoints(tmp_path) as checkpoints:
            restored, _ = checkpoints.restore(like)
        jax.tree.map(assert_array_equal, *map(jax.device_get, (restored, begun)))
        ended, _ = train("windows", devices, state=restored)
        compare = assert_array_equal if devices == 2 else lambda a, b: assert_allclose(a, b, atol=2e-5)
        jax.tree.map(compare, *map(jax.device_get, (ended, whole)))


def test_a_fault_on_one_device_skips_the_step():
    loss, params, carry = prepared("windows")
    mesh = row_mesh(2)
    state, step = place(init_train_state(params, OPTIMIZER, carry), mesh), make_train_step(share_out(loss, mesh), OPTIMIZER)
    batch = batch_of(0, "windows")
    batch["tokens"][-1, 0] = 99  # outside the vocabulary, on the second device
    after, metrics = jax.jit(step)(state, batch, KEY)
    assert int(after["skipped"]) == 1
    assert np.isnan(metrics["loss"])
    for name in ("params", "opt_state", "carry"):
        jax.tree.map(assert_array_equal, *map(jax.device_get, (after[name], state[name])))


def test_what_cannot_be_shared_out_is_an_error():
    with pytest.raises(ConfigError, match="9 devices were asked for, and there are 4; a CPU becomes several with"):
        row_mesh(9)
    with pytest.raises(ConfigError, match="0 devices"):
        row_mesh(0)
    loss, params, carry = prepared("windows")
    with pytest.raises(ShapeError, match="a batch of 8 rows cannot be shared out among 3 devices"):
        place(init_train_state(params, OPTIMIZER, carry), row_mesh(3))
    with pytest.raises(ShapeError, match="a batch of 8 rows cannot be shared out among 3 devices"):
        share_out(loss, row_mesh(3))(params, carry, batch_of(0, "windows"), KEY)

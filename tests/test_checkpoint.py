"""Checkpoints: what goes in comes out, the same bit for bit, and whatever belongs to another run or writer is refused."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

from lmlib.errors import ConfigError, LockedError, MismatchError, NonFiniteError, StorageError, UnavailableError
from lmlib.learn.checkpoint import Checkpoints, restore
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fit, init_train_state, make_train_step
from lmlib.models.base import split
from lmlib.models.bigram import Bigram, BigramConfig

META = {"config": {"d_model": 4, "rate": 0.1}, "tokenizer": "ab12", "corpus": "cd34"}


def numbered(step, size=50):
    """A small state that says of every number to which step it belongs; all the kinds of leaves that occur."""
    rng = np.random.default_rng(step)
    return {
        "params": {"blocks": {0: jnp.array(rng.normal(size=(size, 3)), jnp.float32), 1: jnp.array(rng.normal(size=3), jnp.bfloat16)}},
        "opt_state": optax.ScaleByAdamState(jnp.int32(step), {"mu": jnp.full(4, float(step))}, jnp.zeros((0, 2))),
        "carry": None,
        "step": jnp.int32(step),
        "skipped": jnp.int32(0),
        "mask": jnp.array(step % 2 == 0),
    }


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(assert_array_equal, a, b)
    assert jax.tree.map(lambda x: x.dtype, a) == jax.tree.map(lambda x: x.dtype, b)


def saved(folder, *steps):
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(numbered(step), META)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_of_every_kind_of_leaf(tmp_path):
    with Checkpoints(tmp_path / "a" / "new folder") as checkpoints:
        assert checkpoints.latest is None
        checkpoints.save(numbered(7), META | {"list": (1, 2)})
        assert checkpoints.latest == 7
        state, meta = checkpoints.restore(like=numbered(0), meta=META)
    assert_same(state, numbered(7))
    assert meta == META | {"list": [1, 2]}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert_same(restore(tmp_path / "a" / "new folder", numbered(0))[0], numbered(7))


def test_the_newest_steps_are_kept(tmp_path):
    folder = saved(tmp_path, 1, 20, 300)
    assert [name for name in names(folder) if name.isdecimal()] == ["00000020", "00000300"]
    assert_same(restore(folder, numbered(0))[0], numbered(300))
    with Checkpoints(folder, keep=1) as checkpoints:
        checkpoints.save(numbered(301), META)
    assert [name for name in names(folder) if name.isdecimal()] == ["00000301"]


def test_no_checkpoint_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UnavailableError, match="no checkpoint"):
            restore(folder, numbered(0))


def change(path, value):
    """The state of step 0 with one entry changed, added, or, with None, taken away."""
    state = jax.tree.map(lambda leaf: leaf, numbered(0))
    *way, last = path.split("/")
    node = state
    for name in way:
        node = node[int(name) if name.isdecimal() else name]
    last = int(last) if last.isdecimal() else last
    node.pop(last) if value is None else node.update({last: value})
    return state


STATES = {
    "shape": (
        change("params/blocks/0", jnp.zeros((51, 3))),
        "params/blocks/0: ['float32', [50, 3]] in the checkpoint, ['float32', [51, 3]]",
    ),
    "rank": (change("params/blocks/0", jnp.zeros(50)), "params/blocks/0: ['float32', [50, 3]] in the checkpoint, ['float32', [50]] here"),
    "half precision": (change("params/blocks/0", jnp.zeros((50, 3), jnp.bfloat16)), "params/blocks/0: ['float32', [50, 3]] in"),
    "full precision": (
        change("params/blocks/1", jnp.zeros(3)),
        "params/blocks/1: ['bfloat16', [3]] in the checkpoint, ['float32', [3]] here",
    ),
    "bool": (change("mask", jnp.int32(0)), "mask: ['bool', []] in the checkpoint, ['int32', []] here"),
    "missing": (change("params/blocks/1", None), "params/blocks/1: only in the checkpoint"),
    "more": (change("params/head", jnp.zeros(3)), "params/head: not in the checkpoint"),
    "carry": (change("carry", jnp.zeros(3)), "carry: not in the checkpoint"),
    "optimiser": (change("opt_state", optax.sgd(0.1).init({})), "opt_state/count: only in the checkpoint"),
    "empty array": (change("params/none", jnp.zeros((0, 3))), "params/none: not in the checkpoint"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("checkpoints"), 1, 2)


@pytest.mark.parametrize(("like", "named"), STATES.values(), ids=STATES)
def test_a_state_of_another_kind_is_refused(folder, like, named):
    with pytest.raises(MismatchError, match=re.escape(named)):
        restore(folder, like)


METAS = {
    "value": (META | {"tokenizer": "ab13"}, "meta.tokenizer: ab12 in the checkpoint, ab13 here"),
    "nested value": (META | {"config": {"d_model": 8, "rate": 0.1}}, "meta.config.d_model: 4 in the checkpoint, 8 here"),
    "nested missing": (META | {"config": {"d_model": 4}}, "meta.config.rate: only in the checkpoint"),
    "nested more": (META | {"config": META["config"] | {"x": 1}}, "meta.config.x: not in the checkpoint"),
    "more": (META | {"seed": 1}, "meta.seed: not in the checkpoint"),
    "type": (META | {"config": {"d_model": 4.0, "rate": 0.1}}, "meta.config.d_model: 4 in the checkpoint, 4.0 here"),
    "bool": ({"config": {"d_model": True, "rate": 0.1}}, "meta.config.d_model: 4 in the checkpoint, True here"),
    "null": ({"corpus": None}, "meta.corpus: cd34 in the checkpoint, None here"),
}


@pytest.mark.parametrize(("meta", "named"), METAS.values(), ids=METAS)
def test_a_run_of_another_kind_is_refused(folder, meta, named):
    with pytest.raises(MismatchError, match=re.escape(named)):
        restore(folder, numbered(0), meta)


def test_every_difference_is_listed_and_entries_not_asked_for_are_not_compared(folder):
    like = change("mask", None)
    like["params"]["blocks"][0] = jnp.zeros(1)
    with pytest.raises(MismatchError) as caught:
        restore(folder, like, META | {"corpus": "x", "tokenizer": "y"})
    assert len(str(caught.value).split("\n")) == 5
    assert restore(folder, numbered(0), {"corpus": "cd34"})[1] == META


def test_a_non_finite_state_is_never_saved(tmp_path):
    saved(tmp_path, 1)
    for path, value in [("params/blocks/0", jnp.full((50, 3), jnp.nan)), ("carry", jnp.array([0, jnp.inf]))]:
        state = change(path, value) | {"step": jnp.int32(2)}
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(NonFiniteError, match=path):
            checkpoints.save(state, META)
    assert names(tmp_path)[0] == "00000001"
    assert restore(tmp_path, numbered(0))[0]["step"] == 1


def test_a_step_is_never_saved_twice_nor_an_earlier_one(tmp_path):
    """A cell that is run again trains from the beginning: its steps must not vanish in silence, nor replace the later ones."""
    saved(tmp_path, 5)
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 4, 5):
            with pytest.raises(StorageError, match=f"already has step 5, so step {step} is not saved"):
                checkpoints.save(numbered(step), META)
        checkpoints.save(numbered(6), META)


def test_a_writer_is_only_to_be_had_by_with(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for use in (lambda: checkpoints.save(numbered(1), META), lambda: checkpoints.restore(numbered(1))):
        with pytest.raises(StorageError, match="with Checkpoints"):
            use()
    with checkpoints:
        checkpoints.save(numbered(1), META)
    with pytest.raises(StorageError, match="with Checkpoints"):
        checkpoints.save(numbered(2), META)


def test_leaving_by_an_exception_keeps_what_was_saved_and_frees_the_folder(tmp_path):
    for step, error in enumerate([ZeroDivisionError, KeyboardInterrupt, SystemExit], 1):
        with pytest.raises(error), Checkpoints(tmp_path) as checkpoints:  # noqa: PT012
            checkpoints.save(numbered(step), META)
            raise error
        assert_same(restore(tmp_path, numbered(0))[0], numbered(step))
    assert "writer" not in names(tmp_path)


def test_arguments_that_cannot_be_saved(tmp_path):
    with pytest.raises(ConfigError, match="keep"):
        Checkpoints(tmp_path, keep=0)
    with Checkpoints(tmp_path) as checkpoints:
        for meta in ({"x": float("nan")}, {"x": object()}):
            with pytest.raises(ConfigError, match="JSON"):
                checkpoints.save(numbered(1), meta)
        with pytest.raises(MismatchError, match="carry of the state is a float"):
            checkpoints.save(numbered(1) | {"carry": 1.0}, META)
        with pytest.raises(MismatchError, match="same name"):
            checkpoints.save(numbered(1) | {"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)}, META)
    assert not [name for name in names(tmp_path) if name.isdecimal() or name.startswith("unfinished")]


def test_two_writers_exactly_one_wins(tmp_path):
    with Checkpoints(tmp_path) as first:
        with pytest.raises(LockedError, match=rf"is being written by process {os.getpid()} on"), Checkpoints(tmp_path):
            pass
        first.save(numbered(1), META)  # and the refusal has not disturbed it

    def race(_):
        try:
            with Checkpoints(tmp_path):
                time.sleep(0.3)
                return 1
        except LockedError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(race, range(4))) == 1
    saved(tmp_path, 2)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="cannot write"), Checkpoints(folder):
            pass


def test_resuming_from_a_checkpoint_after_every_call_is_the_uninterrupted_run_bit_for_bit(tmp_path):
    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    optimizer = optax.adamw(1e-2)
    train_step = make_train_step(next_token_loss(definition), optimizer)
    tokens = np.random.default_rng(0).integers(0, 5, (20, 4, 9), dtype=np.int32)
    batches = [{"tokens": batch[:, :-1], "targets": batch[:, 1:]} for batch in tokens]

    def run(state):
        return fit(train_step, state, batches, key=jax.random.key(1), steps=20, steps_per_call=4)

    start = init_train_state(params, optimizer)
    *_, (whole, _) = run(start)
    for call in range(5):
        with Checkpoints(tmp_path) as checkpoints:
            state = checkpoints.restore(start, META)[0] if call else start
            state, _ = next(run(state))
            checkpoints.save(state, META)
    assert_same(jax.device_get(restore(tmp_path, start)[0]), jax.device_get(whole))

"""Learning curves against the same training written out step by step, and what they refuse."""

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.train import init_train_state, make_train_step
from lmlib.measure.curves import learning_curves
from lmlib.models.base import merge, split
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM
from lmlib.text.batches import BPTTStreams
from lmlib.text.store import TokenStore
from lmlib.text.synthetic import CopyTask

OPTIM = OptimConfig(learning_rate=0.05, schedule="linear", clip=1.0)


def starts(vocab_size, seeds=(1, 2)):
    return {seed: split(RecurrentLM(RecurrentConfig.tiny(vocab_size), rngs=nnx.Rngs(seed))) for seed in seeds}


def written_out(definition, params, data, seed, steps, carry=None):
    """The parameters and the losses of each step, one step at a time and compiled anew."""
    optimizer = make_optimizer(OPTIM, steps)
    state, losses = init_train_state(params, optimizer, carry), []
    step = jax.jit(make_train_step(next_token_loss(definition), optimizer))
    for i in range(steps):
        state, metrics = step(state, data[i], jax.random.fold_in(jax.random.key(seed), i))
        losses.append(float(metrics["loss"]))
    return state["params"], losses


def test_each_seed_is_trained_as_by_itself_on_its_own_batches():
    begun, tasks = starts(10), {seed: CopyTask(3, 4, seed, copied=2) for seed in (1, 2)}
    ends, curve = learning_curves("LSTM", begun, tasks, OPTIM, steps=6, every=2)
    assert list(curve.columns) == ["model", "seed", "step", "loss"]
    assert set(curve["model"]) == {"LSTM"}
    for seed in (1, 2):
        params, losses = written_out(*begun[seed], tasks[seed], seed, 6)
        jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), ends[seed], params)
        mine = curve[curve["seed"] == seed]
        assert mine["step"].tolist() == [2, 4, 6]
        assert_allclose(mine["loss"], np.reshape(losses, (3, 2)).mean(axis=1), rtol=1e-5)


def test_the_state_is_carried_over_streams():
    streams = BPTTStreams(TokenStore.from_sequences([np.arange(200) % 5], 5), 2, 3)
    begun = starts(5, seeds=(3,))
    ends, _ = learning_curves("LSTM", begun, {3: streams}, OPTIM, steps=4, every=4)
    definition, params = begun[3]
    carry = merge(definition, params).init_state(2, max_len=3)
    carried, anew = (written_out(definition, params, streams, 3, 4, carry=first)[0] for first in (carry, None))
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), ends[3], carried)
    name = "layers", "cells", 0, "w_hh"
    a, b = ends[3], anew
    for key in name:
        a, b = a[key], b[key]
    assert np.abs(a - b).max() > 1e-4


def test_the_beginnings_are_left_as_they_were():
    begun = starts(10, seeds=(1,))
    before = jax.device_get(begun[1][1])
    learning_curves("LSTM", begun, {1: CopyTask(2, 2, copied=1)}, OPTIM, steps=1, every=1)
    jax.tree.map(assert_array_equal, begun[1][1], before)


def test_what_is_no_comparison_is_refused():
    with pytest.raises(ConfigError, match="LSTM: all seeds must start from one definition, got 2"):
        learning_curves("LSTM", starts(10, (1,)) | starts(11, (2,)), {}, OPTIM, steps=2, every=1)
    with pytest.raises(ConfigError, match="a multiple of every, got 3 and 2"):
        learning_curves("LSTM", starts(10), {}, OPTIM, steps=3, every=2)

"""Our side of the recurrent benchmark. What is compiled is compiled by the warm-up and kept."""

import time
from functools import cache

from lmlib import runtime  # prepares the process, so it stands before jax

# isort: split
import jax
import numpy as np
import optax
from flax import nnx

from lmlib.generate import generate
from lmlib.learn.losses import next_token_loss
from lmlib.learn.mesh import place, row_mesh, share_out
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.models.base import split
from lmlib.models.cells import Cell
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM, fastest_kernel
from tests.benchmarks.ours_word2vec import compiling
from tests.benchmarks.worker import serve

STEPS_PER_CALL, LAST = 40, 40


def describe():
    """The machine as this process sees it, reproducible mode included."""
    return {"name": "lmlib", "machine": runtime.machine()}


def model_of(seed, vocabulary, layers, width, kind="lstm", init=None):
    config = RecurrentConfig(vocabulary, d_embed=width, d_hidden=width, layers=layers, cell=Cell(kind), init_scale=init)
    return RecurrentLM(config, rngs=nnx.Rngs(seed), kernel=fastest_kernel(config.cell))


@cache
def train_step(definition, optimizer, rate, clip, mesh):
    """(step, optimizer): the same objects for every seed, so that the step is compiled once."""
    chain = optax.chain(optax.clip_by_global_norm(clip), {"sgd": optax.sgd, "adam": optax.adam}[optimizer](rate))
    return make_train_step(share_out(next_token_loss(definition), mesh), chain), chain


def run(task, seed, devices, **setting):
    """Train or generate; the result has `seconds` and, after training, `log_likelihood`: minus the mean loss over the last steps."""
    compiling.clear()
    result = train(seed, devices, **setting) if task == "train" else sample(seed, **setting)
    return result | {"compile_seconds": sum(compiling)}


def train(seed, devices, data, vocabulary, layers, width, kind, init, optimizer, rate, clip):
    data = np.load(data)
    model = model_of(seed, vocabulary, layers, width, kind, init)
    definition, params = split(model)
    mesh = row_mesh(devices)
    step, chain = train_step(definition, optimizer, rate, clip, mesh)
    state = place(init_train_state(params, chain, carry=model.init_state(data.shape[1], max_len=data.shape[2] - 1)), mesh)
    batches = [{"tokens": rows[:, :-1], "targets": rows[:, 1:]} for rows in data]
    start = time.perf_counter()
    run = fit(step, state, batches, key=jax.random.key(seed), steps=len(batches), steps_per_call=STEPS_PER_CALL)
    history = [metrics for _, metrics in run]
    losses = fetch(history)["loss"]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "log_likelihood": -float(losses[-LAST:].mean())}


def sample(seed, vocabulary, layers, width, batch, tokens):
    model = model_of(0, vocabulary, layers, width)
    start = time.perf_counter()
    made = generate(model, [[]] * batch, max_new_tokens=tokens, key=jax.random.key(seed), stop=())
    seconds = time.perf_counter() - start
    assert made.tokens.shape == (batch, tokens)
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(describe=describe, run=run)

"""Learning curves: the same model trained from several seeds, and the loss of each on the way, as a table to draw."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from lmlib.errors import ConfigError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.models.base import merge
from lmlib.text.batches import BPTTStreams


def learning_curves(
    name: str, starts: Mapping, batches: Mapping, optim: OptimConfig, *, steps: int, loss: Callable = next_token_loss, every: int = 20
):
    """Train each seed from its own beginning; the program is compiled once for all of them.

    Args:
      name: of the model, for the table.
      starts: from each seed to (definition, params), as `split` gives them; all of one definition.
      batches: from each seed to its batches. With `BPTTStreams` the state is carried from step to step, else every batch begins anew.
      optim: optimiser and learning rate.
      steps: how many, a multiple of `every`.
      loss: from the definition to loss(params, carry, batch, key), as `make_train_step` takes it.
      every: over how many steps the loss is averaged.

    Returns:
      The parameters with which each seed ends, and a DataFrame with the columns model, seed, step and loss, a row for each `every` steps:
      the mean loss of those that end with `step`.

    Raises:
      ConfigError: the seeds have different definitions, or steps cannot be divided.
    """
    import pandas as pd

    definitions = {definition for definition, _ in starts.values()}
    if len(definitions) != 1:
        raise ConfigError(f"{name}: all seeds must start from one definition, got {len(definitions)}")
    if every < 1 or steps < 1 or steps % every:
        raise ConfigError(f"{name}: steps must be a multiple of every, got {steps} and {every}")
    (definition,), optimizer = definitions, make_optimizer(optim, steps)
    train_step, ends, curves = make_train_step(loss(definition), optimizer), {}, []
    for seed, (_, params) in starts.items():
        data, history, carry = batches[seed], [], None
        if isinstance(data, BPTTStreams):
            carry = merge(definition, params).init_state(data.batch_size, max_len=data.length)
        begun = init_train_state(params, optimizer, carry)
        for state, metrics in fit(train_step, begun, data, key=jax.random.key(seed), steps=steps, steps_per_call=100):
            history.append(metrics)
            last = state["params"]
        ends[seed] = last
        means = fetch(history)["loss"].reshape(-1, every).mean(axis=1)
        curves.append(pd.DataFrame({"model": name, "seed": seed, "step": every * np.arange(1, len(means) + 1), "loss": means}))
    return ends, pd.concat(curves, ignore_index=True)

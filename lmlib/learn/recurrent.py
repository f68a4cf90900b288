"""A recurrent language model from its config to its end: what a notebook needs between a text and a model to look at.

Nothing is scored, saved or stopped early on the way; `lmlib.measure.language_models` does that for long runs.
"""

from functools import lru_cache

import jax
from flax import nnx

from lmlib.learn.losses import next_token_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.train import fit, init_train_state, make_train_step
from lmlib.models.base import merge, split
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM, fastest_kernel


def train_recurrent(
    config: RecurrentConfig, batches, *, epochs: int, optim: OptimConfig | None = None, seed: int = 0, streams: int | None = None
) -> RecurrentLM:
    """Train a recurrent language model for some epochs, each in one compiled call; another seed does not compile again.

    Args:
      config: of the model.
      batches: as `lmlib.learn.losses.next_token_loss` takes them, all of one shape: sentences of `PaddedBatches` with one boundary, or
        `BPTTStreams`.
      epochs: how often it goes through them.
      optim: optimiser and learning rate; the defaults of `OptimConfig` if None.
      seed: of the initial values and of dropout; the order of the batches is theirs. With equal arguments two calls give the same bits.
      streams: B, if the state is to be carried from batch to batch.

    Raises:
      NonFiniteError: training diverged.
      ShapeError: the batches are not of one shape.
    """
    steps = epochs * len(batches)
    model = RecurrentLM(config, rngs=nnx.Rngs(seed), kernel=fastest_kernel(config.cell))
    definition, params = split(model)
    train_step, optimizer = _make_step(definition, optim or OptimConfig(), steps)
    state = init_train_state(params, optimizer, None if streams is None else model.init_state(streams, max_len=1))
    for done, _ in fit(train_step, state, batches, key=jax.random.key(seed), steps=steps, steps_per_call=len(batches)):
        state = done
    return merge(definition, state["params"])


@lru_cache(maxsize=8)
def _make_step(definition, optim, steps):
    """The step and its optimiser: the same objects for every seed, so that it is compiled once."""
    optimizer = make_optimizer(optim, steps)
    return make_train_step(next_token_loss(definition), optimizer), optimizer

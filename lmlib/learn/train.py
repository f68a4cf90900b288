"""Training: a pure step, and a short loop around it.

The state of a training run is a plain dict of arrays,

    {"params": …, "opt_state": …, "carry": …, "step": (), "skipped": ()}

and everything else follows from it: step t trains on `batches[t]` with the randomness `fold_in(key, t)`. So a run that is resumed from a
saved state is, bit for bit, the run that was never interrupted. `make_train_step` makes the step of a loss and an optax optimiser; a model
with a step of its own (word vectors) hands that to `fit` instead. What is plotted, logged, saved or stopped early is up to the caller:

    train_step = make_train_step(next_token_loss(definition), optax.adamw(1e-2))
    state = init_train_state(params, optimizer)
    run = fit(train_step, state, batches, key=jax.random.key(0), steps=1000, steps_per_call=50)
    for state, metrics in run:
        history.append(metrics)
    curve = fetch(history)

A GAN, which trains two models against one another, has a loop of its own.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lmlib import programs
from lmlib.arrays import all_finite, initial_state
from lmlib.errors import ConfigError, NonFiniteError, ShapeError, VocabularyError

log = logging.getLogger(__name__)


def init_train_state(params, optimizer: optax.GradientTransformation, carry=None) -> dict:
    """The state before step 0.

    Args:
      params: a tree of arrays.
      optimizer: of optax.
      carry: what the loss hands from one step to the next, e.g. the recurrent state of truncated BPTT; None for nothing.
    """
    return initial_state(params, optimizer.init(params), carry)


def make_train_step(loss: Callable, optimizer: optax.GradientTransformation, pieces: int = 1) -> Callable:
    """The step of gradient descent: train_step(state, batch, key) -> (state, metrics), pure and not yet compiled.

    If the loss, its gradient or its carry is not finite, the step is skipped: parameters, optimiser and carry stay as they were, bit for
    bit, and only `step` and `skipped` move on. (`optax.apply_if_finite` does the same, but gives up after a number of such steps and then
    takes the NaN.)

    Args:
      loss: loss(params, carry, batch, key) -> (value, (carry, metrics)), value a scalar.
      optimizer: of optax.
      pieces: gradient accumulation: a batch, and the carry, is cut into so many pieces along its first axis, whose gradients are worked
        out one after the other, so that memory is needed for the activations of one piece alone. A piece weighs as much as it has tokens
        or texts, as the loss counts them; the step is that of the whole batch, up to rounding (and dropout, which is drawn by piece).

    Returns:
      A function whose metrics are those of the loss, the value itself as "loss" and the norm of the gradient as "gradient_norm".

    Raises:
      ShapeError: (when the step is traced) the rows of a batch cannot be shared out evenly.
    """
    evaluate = jax.value_and_grad(loss, has_aux=True)
    if pieces > 1:
        evaluate = partial(_by_pieces, evaluate, pieces)
    elif pieces < 1:
        raise ConfigError(f"pieces must be at least 1, got {pieces}")

    def train_step(state, batch, key):
        params, opt_state, carry = old = state["params"], state["opt_state"], state["carry"]
        (value, (carry, metrics)), gradient = evaluate(params, carry, batch, key)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        new = optax.apply_updates(params, updates), opt_state, carry
        sound = all_finite((value, gradient, carry))
        params, opt_state, carry = jax.tree.map(partial(jnp.where, sound), new, old)
        new = {"params": params, "opt_state": opt_state, "carry": carry, "step": state["step"] + 1, "skipped": state["skipped"] + ~sound}
        state = state | new  # what else the caller keeps in the state is handed on
        return state, metrics | {"loss": value, "gradient_norm": optax.tree.norm(gradient)}

    return train_step


def counted(metrics):
    """By how much a part of a batch weighs, given the metrics of its loss: the tokens or texts they count, else 1."""
    return jnp.float32(next((metrics[name] for name in ("tokens", "texts") if name in metrics), 1))


def _by_pieces(evaluate, pieces, params, carry, batch, key):
    """What `evaluate` gives for a batch, worked out piece by piece: means weighted by the number of tokens or texts, and sums of counts."""

    def cut(leaf):
        if len(leaf) % pieces:
            raise ShapeError(f"a batch of {len(leaf)} rows cannot be cut into {pieces} equal pieces")
        return leaf.reshape(pieces, -1, *leaf.shape[1:])

    def one(inputs):
        i, carry, batch = inputs
        (value, (carry, counts)), gradient = evaluate(params, carry, batch, jax.random.fold_in(key, i))
        weight = counted(counts)
        return (jax.tree.map(lambda x: weight * x, (value, gradient)), counts, weight), carry

    def add(total, inputs):
        found, carry = one(inputs)
        return jax.tree.map(jnp.add, total, found), carry

    inputs = jnp.arange(pieces), *jax.tree.map(cut, (carry, batch))
    shapes, _ = jax.eval_shape(one, jax.tree.map(lambda x: x[0], inputs))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    ((value, gradient), counts, weight), carry = jax.lax.scan(add, nothing, inputs)
    value, gradient = jax.tree.map(lambda x: x / jnp.maximum(weight, 1), (value, gradient))
    return (value, (jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carry), counts)), gradient


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def run_steps(train_step, state, batches, key):
    """As many steps as `batches` has along the first axis of its arrays, in one compiled call; `state` is donated.

    Small steps take less time than it takes to start them from Python; a scan starts many at once. The program is compiled once for each
    `train_step` and each shape of the batches (logged at level INFO).

    Returns:
      The new state, and the metrics of each step stacked, together with its number ("step") and whether it was skipped ("skipped").
    """
    log.info("compiling steps for batches of %s", jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", batches))

    def one(state, batch):
        new, metrics = train_step(state, batch, jax.random.fold_in(key, state["step"]))
        return new, metrics | {"step": state["step"], "skipped": new["skipped"] > state["skipped"]}

    return jax.lax.scan(one, state, batches)


def fit(
    train_step: Callable,
    state: dict,
    batches,
    *,
    key: jax.Array,
    steps: int,
    steps_per_call: int = 1,
    steps_per_epoch: int | None = None,
    max_skipped: int = 10,
) -> Iterator[tuple[dict, dict]]:
    """Train until `state["step"]` is `steps`, and yield (state, metrics) after each compiled call.

    Each call runs the steps up to the next multiple of `steps_per_call`, so a run resumed from any state that `fit` yielded makes the same
    calls, and the same numbers, as one that was not interrupted.

    The state is donated: a yielded state is alive until the next one is asked for, and then its arrays are deleted; what must outlive that
    is copied (`jax.device_get`) or saved. The state passed in is copied and stays alive. After an exception in the body of the loop, or
    Ctrl-C, the last state yielded is alive and complete: Ctrl-C during a call is held back until the results of the call are handed over.

    The metrics are left on the device, and the call may still be running when they are yielded: reading them waits for it, so read them
    rarely, or at the end (`fetch`).

    Args:
      train_step: train_step(state, batch, key) -> (state, metrics), pure; the state has at least "step" and "skipped". Hand in the same
        function again and it is not compiled again.
      state: of `init_train_state`, of a checkpoint, or of an earlier `fit`.
      batches: `batches[step]` gives a dict (or another tree) of numpy arrays, a pure function of the step.
      key: of the whole run; step t uses fold_in(key, t).
      steps: the step to stop at, counted from the beginning of the run, not from where it is resumed.
      steps_per_call: how many steps run in one compiled call. Batches of one call must have equal shapes.
      steps_per_epoch: calls begin anew with each epoch of so many steps, so that none runs over the end of one; None for one long epoch.
      max_skipped: give up after so many skipped steps in a row.

    Yields:
      The state, and a dict of metrics with one entry a step of the call, first axis; among them "step" and "skipped".

    Raises:
      NonFiniteError: at the end of a call, `max_skipped` or more steps in a row were skipped. Names them; the last state yielded is the
        one in which each of them can be replayed: `train_step(state, batches[s], jax.random.fold_in(key, s))`.
      ShapeError: batches of one call differ in shape.
      VocabularyError: a 64-bit integer does not fit into the 32 bits that JAX would cut it to.
    """
    if steps_per_call < 1 or max_skipped < 1:
        raise ConfigError(f"steps_per_call and max_skipped must be at least 1, got {steps_per_call} and {max_skipped}")
    an_epoch = max(steps, 1) if steps_per_epoch is None else steps_per_epoch
    if an_epoch < 1:
        raise ConfigError(f"steps_per_epoch must be at least 1, got {an_epoch}")
    state = jax.tree.map(jnp.copy, state)
    step, flags, in_a_row = int(state["step"]), (), []
    while step < steps:
        in_epoch = step % an_epoch
        stop = min(steps, step - in_epoch + min(an_epoch, in_epoch + steps_per_call - in_epoch % steps_per_call))
        stacked = _stack([batches[s] for s in range(step, stop)], step)  # the device may still be at work on the call before
        in_a_row = _count_skipped(in_a_row, step, flags, max_skipped)
        (state, metrics), interrupted = _uninterrupted(run_steps, train_step, state, stacked, key)
        yield state, metrics
        if interrupted:
            signal.raise_signal(signal.SIGINT)
        flags, step = metrics["skipped"], stop
    _count_skipped(in_a_row, step, flags, max_skipped)


def fetch(history: list[dict]) -> dict[str, np.ndarray]:
    """The metrics of many calls as one numpy array each, first axis: steps. `pandas.DataFrame(fetch(history))` if all are numbers."""
    history = jax.device_get(history)
    return {name: np.concatenate([metrics[name] for metrics in history]) for name in (history[0] if history else ())}


@contextmanager
def stop_on_sigterm(*others: int):
    """An event that is set by SIGTERM, by which a cluster announces that the process will be killed; main thread only.

    The loop asks `stop.is_set()` after each call, saves and exits with `stop.status`, 128 + the number of the signal (143 for SIGTERM). A
    second signal kills at once. The handlers that were there before are put back at the end.

        with stop_on_sigterm() as stop, Checkpoints(folder) as checkpoints:
            for state, metrics in fit(…):
                if stop.is_set():
                    checkpoints.save(state, meta)
                    sys.exit(stop.status)

    Args:
      others: more signals to be taken so, e.g. signal.SIGINT (Ctrl-C) in a program that a person started from a terminal.
    """
    stop = threading.Event()
    stop.status = 0

    def on_signal(number, frame):
        stop.status = 128 + number
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, *others)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _uninterrupted(function, *args):
    """The result of a call, and a list that is not empty if Ctrl-C was pressed meanwhile: between giving away the old state and holding
    the new one, KeyboardInterrupt would lose both."""
    interrupted = []
    if threading.current_thread() is not threading.main_thread():
        return function(*args), interrupted  # Python raises KeyboardInterrupt in the main thread only
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    try:
        result = function(*args)
    finally:
        signal.signal(signal.SIGINT, before)
    return result, interrupted


def _stack(batches, first):
    """Trees of equal arrays, stacked on the host along a new first axis; no integer loses bits on the way to the device."""

    def stack(*arrays):
        shapes = [np.shape(a) for a in arrays]
        for i, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ShapeError(
                    f"batches {first} and {first + i} have shapes {shapes[0]} and {shape}, so they cannot run in one call: "
                    "use steps_per_call=1 or batches of one shape"
                )
        stacked = np.asarray(arrays[0])[None] if len(arrays) == 1 else np.stack(arrays)
        narrow = stacked.astype(jax.dtypes.canonicalize_dtype(stacked.dtype), copy=False)
        if np.issubdtype(stacked.dtype, np.integer) and narrow.dtype != stacked.dtype and (narrow != stacked).any():
            raise VocabularyError(f"a batch from {first} on holds integers that do not fit into {narrow.dtype}")
        return narrow

    return jax.tree.map(stack, *batches)


def _count_skipped(in_a_row, stop, flags, max_skipped):
    """The steps skipped in a row before step `stop`, given those before the call whose flags these are."""
    flags = np.asarray(flags)
    for step, skipped in enumerate(flags, stop - len(flags)):
        in_a_row = [*in_a_row, step] if skipped else []
    if len(in_a_row) >= max_skipped:
        first, last = in_a_row[0], in_a_row[-1]
        raise NonFiniteError(
            f"{len(in_a_row)} steps in a row ({first} to {last}) had a non-finite loss or gradient, or ids outside the vocabulary; the "
            f"state is still that of step {first}. Lower the learning rate or clip the gradient; to see the cause, replay "
            f"train_step(state, batches[{first}], jax.random.fold_in(key, {first}))"
        )
    return in_a_row


def _example():
    from flax import nnx

    from lmlib.learn.losses import next_token_loss
    from lmlib.models.base import split
    from lmlib.models.bigram import Bigram, BigramConfig

    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    optimizer = optax.adamw(1e-2)
    train_step = make_train_step(next_token_loss(definition), optimizer)
    batches = {name: np.zeros((2, 3, 4), np.int32) for name in ("tokens", "targets")}
    return train_step, init_train_state(params, optimizer), batches, jax.random.key(0)


programs.register("train.run_steps", run_steps, _example)

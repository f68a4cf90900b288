"""The loop of a run that may be killed at any moment: train, log, save, stop when asked to, go on where it was.

A run is a list of steps, each a pure function of corpus, settings and seed (`lmlib.learn.train`), in calls of one compiled program; a
record of metrics.jsonl is a call. So it does not matter to the result when a run is saved, killed or resumed: state and metrics are, bit
for bit, those of a run that was never interrupted.
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from lmlib.errors import ConfigError, StorageError, storage_errors
from lmlib.learn import checkpoint
from lmlib.learn.train import fetch, fit, stop_on_sigterm
from lmlib.record.runs import read_metrics
from lmlib.record.show import bar
from lmlib.text.tokenizer_base import check_count

SAVE_SECONDS = 60.0  # at the latest


class Training(NamedTuple):
    """A run that is about to begin."""

    batches: object  # batches[step]
    epochs: int
    steps: int  # of the whole run, all epochs together; 0 where `init` does it all
    train_step: Callable
    init: Callable  # key -> the state before step 0
    vectors: Callable | None = None  # state -> (V, D) float32 on the host, of a method that makes word vectors
    unit: str = "tokens"  # what a step counts in its metrics
    size: int = 0  # how many of them an epoch has
    steps_per_call: int = 1
    record: Callable | None = None  # metrics of a call's steps, arrays -> what is logged of them; None takes those of the only step
    end_epoch: Callable | None = None  # (state, epoch from 1) -> (the state to go on with, what is logged, what is printed)


def check_arguments(seed: int, save_every: int | None):
    """Raise ConfigError unless these can be a seed and a number of steps (None for the default)."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed must be an integer from 0 to 2**32 - 1, got {seed}")
    check_count("save_every", 1 if save_every is None else save_every, 1)


def check_folder(folder: Path, names) -> bool:
    """Whether a folder holds a run; if not, it must not hold anything of the names that a run writes.

    Raises:
      StorageError: it does.
    """
    with storage_errors(folder):
        if (folder / "run.json").exists():
            return True
        taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise StorageError(f"{folder} holds {', '.join(taken)}, but no run that made it: choose another folder")
    return False


def first_state(training: Training, seed: int) -> dict:
    """The state before step 0."""
    return training.init(_keys(seed)[0])


def _keys(seed):
    """(the key of the first state, the key of the run)"""
    return jax.random.split(jax.random.key(seed))


def train(run, training: Training, seed: int, meta: dict, save_every: int | None = None) -> dict:
    """Train from the newest checkpoint of a run, if there is one, to the end; returns the last state.

    Args:
      run: of `lmlib.record.runs.open_run`, with existing="resume".
      training: what is trained.
      seed: of everything random.
      meta: what must be the same when the run goes on, see `lmlib.learn.checkpoint`.
      save_every: save after so many steps; by default at the end of each epoch, and once a minute. The result does not depend on it.

    Raises:
      MismatchError, IntegrityError: as `Checkpoints.restore`. NonFiniteError: training diverged.
      SystemExit: SIGTERM or Ctrl-C came; the state was saved. Its code is 128 + the number of the signal.
    """
    state = first_state(training, seed)
    if not training.steps:  # there is nothing to learn step by step
        return state
    steps, an_epoch = training.steps, training.steps // training.epochs
    save_every, losses = save_every or an_epoch, []
    with stop_on_sigterm(signal.SIGINT) as stop, checkpoint.Checkpoints(run.folder / "checkpoints") as checkpoints:
        if checkpoints.latest is not None:
            state, _ = checkpoints.restore(like=state, meta=meta)
            print(f"going on after {int(state['step']):,} of {steps:,} steps")
        done = int(state["step"])
        run.rewind(done - 1)  # what was logged after the checkpoint is logged again
        start = saved = time.monotonic()
        with _Speed(training, done) as speed:
            calls = _calls(training, state, _keys(seed)[1], speed)
            for state, record in calls:
                before, done = done, int(state["step"])
                run.log({"step": done - 1, "epoch": (done - 1) // an_epoch} | record)
                losses.append(float(record["loss"]))
                if stop.is_set() or done == steps or done // save_every > before // save_every or time.monotonic() - saved > SAVE_SECONDS:
                    _make_durable(run.folder / "metrics.jsonl")
                    checkpoints.save(state, meta)
                    saved = time.monotonic()
                if stop.is_set():
                    print(f"stopped after {done:,} of {steps:,} steps: the same command goes on from there", file=sys.stderr)
                    sys.exit(stop.status)
        run.time("training", time.monotonic() - start)
    _warn_of_faults(run, int(state["skipped"]), steps, losses)
    return state


def _calls(training, state, key, speed):
    """`fit`, and what happens between two epochs: the state after each call, and what is logged of it."""
    an_epoch = training.steps // training.epochs
    done, stretch = int(state["step"]), an_epoch if training.end_epoch else training.steps
    aligned = {"steps_per_call": training.steps_per_call, "steps_per_epoch": an_epoch}
    while done < training.steps:
        stop = (done // stretch + 1) * stretch
        run = fit(training.train_step, state, training.batches, key=key, steps=stop, **aligned)
        for state, metrics in run:
            found = fetch([metrics])
            done = int(found["step"][-1]) + 1
            record = (training.record or _only)(found)
            speed.show(done - 1, int(found[training.unit].sum()), float(record["loss"]))
            if training.end_epoch and done == stop:
                state, more, told = training.end_epoch(state, done // an_epoch)
                record |= more
                speed.tell(told)
            yield state, record


def _only(found):
    """What is logged of a call of one step."""
    return {name: values[0] for name, values in found.items() if name != "step"}


def _warn_of_faults(run, skipped, steps, losses):
    if skipped:
        warnings.warn(f"{skipped} of {steps} calls were skipped, since their result was not finite: lower the learning rate", stacklevel=3)
    logged = [record["loss"] for record in read_metrics(run.folder) if record["loss"] is not None]  # None: not finite
    if logged and losses and losses[-1] > 2 * logged[0]:
        told = f"the loss is {losses[-1]:.4g}, that of the first call {logged[0]:.4g}"
        warnings.warn(f"training diverged: {told}; lower the learning rate", stacklevel=3)


class _Speed:
    """On a terminal a bar with words (or cells) a second and the loss; elsewhere, as in the log of a cluster, a line an epoch."""

    def __init__(self, training, step):
        self._steps, self._epochs, self._unit = training.steps // training.epochs, training.epochs, training.unit
        done = training.size * step // self._steps
        self._bar = bar(training.epochs * training.size, done, unit=f" {training.unit}")
        self._start, self._items = None, 0  # counted from the end of the first call on, most of whose time is that of compiling

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def show(self, step, items, loss):
        epoch = step // self._steps + 1
        self._bar.set_description(f"epoch {epoch} of {self._epochs}", refresh=False)
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update(items)
        if self._start is None:
            self._start = time.monotonic()
            return
        self._items += items
        if self._bar.disable and (step + 1) % self._steps == 0:
            rate = self._items / (time.monotonic() - self._start)
            print(f"epoch {epoch} of {self._epochs}: loss {loss:.4g}, {rate:,.0f} {self._unit}/s", flush=True)

    def tell(self, line):
        """Print a line, above the bar where there is one."""
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.write(line)


def _make_durable(path):
    """A checkpoint survives the loss of power; so must the log up to it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())

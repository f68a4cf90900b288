"""Faults on purpose: kills, flipped bits, full disks, second writers, other models; nothing is lost and nothing is wrong in silence."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

import lmlib.learn.checkpoint as module
from lmlib.errors import ConfigError, IntegrityError, LockedError, MismatchError, NonFiniteError, StorageError, UnavailableError
from lmlib.learn.checkpoint import Checkpoints, restore
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fit, init_train_state, make_train_step, stop_on_sigterm
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


def test_the_seal_is_one_that_other_tools_can_check(tmp_path):
    saved(tmp_path, 3)
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum here")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "00000003", check=True)


def flip_and_restore(folder, flips, seed):
    """Flip one random bit of the newest step, all files in turn, restore, and flip it back. Returns the number of silent faults."""
    rng, silent = np.random.default_rng(seed), 0
    files = [path for path in sorted((folder / "00000002").rglob("*")) if path.is_file() and path.stat().st_size]
    for i in range(flips):
        path = files[i % len(files)]
        data = path.read_bytes()
        at = rng.integers(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << rng.integers(8))]) + data[at + 1 :])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state, _ = restore(folder, numbered(0), META)
        if not any("damaged checkpoints" in str(warning.message) and path.name in str(warning.message) for warning in caught):
            silent += path.name != "SHA256SUMS" or not caught
        assert_same(state, numbered(1))
        path.write_bytes(data)
    assert_same(restore(folder, numbered(0), META)[0], numbered(2))
    return silent


def test_no_flipped_bit_is_silent(tmp_path):
    assert flip_and_restore(saved(tmp_path, 1, 2), flips=100, seed=0) == 0


@pytest.mark.soak
def test_none_of_a_thousand_flipped_bits_is_silent(tmp_path):
    assert flip_and_restore(saved(tmp_path, 1, 2), flips=1000, seed=1) == 0


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS = {
    "cut in half": half,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_damaged_file_falls_back(tmp_path, fault):
    saved(tmp_path / "sound", 1, 2)
    files = [path.relative_to(tmp_path / "sound") for path in sorted((tmp_path / "sound" / "00000002").rglob("*")) if path.is_file()]
    for file in files:
        folder = shutil.copytree(tmp_path / "sound", tmp_path / "damaged")
        if (folder / file).stat().st_size:
            fault(folder / file)
            with pytest.warns(UserWarning, match="damaged checkpoints.*step 2.*going on from step 1"):
                state, _ = restore(folder, numbered(0), META)
            assert_same(state, numbered(1))
        shutil.rmtree(folder)


def test_a_writer_puts_the_damaged_step_aside_and_saves_it_again(tmp_path):
    saved(tmp_path, 1, 2)
    half(tmp_path / "00000002" / "meta.json")
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.warns(UserWarning, match="damaged"):
            assert_same(checkpoints.restore(numbered(0), META)[0], numbered(1))
        assert checkpoints.latest == 1
        checkpoints.save(numbered(2), META)
        assert_same(checkpoints.restore(numbered(0), META)[0], numbered(2))
    assert sum(name.startswith("damaged-00000002-") for name in names(tmp_path)) == 1


def test_all_damaged_is_an_error_and_nothing_is_touched(tmp_path):
    saved(tmp_path, 1, 2)
    for step in (1, 2):
        half(tmp_path / f"0000000{step}" / "meta.json")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(IntegrityError, match=r"step 2: SHA-256 differs for meta.json; step 1"):
        checkpoints.restore(numbered(0))
    assert [name for name in names(tmp_path) if name.isdecimal()] == ["00000001", "00000002"]


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


def test_what_a_kill_left_behind_goes_when_the_next_writer_opens(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "00000001").rename(tmp_path / "unfinished-00000001-5")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest is None
        assert not [name for name in names(tmp_path) if name.startswith("unfinished")]


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


def test_a_disk_known_to_be_full_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    saved(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        before = names(tmp_path)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
        with pytest.raises(StorageError, match=r"needs 0\.0 MB, 0\.0 MB are free"):
            checkpoints.save(numbered(2), META)
        assert names(tmp_path) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # event loops of orbax that its own failure has closed
def test_a_disk_that_fills_up_during_a_save_leaves_the_last_step_and_no_litter(tmp_path):
    """A limit on the size of files stands in for the disk: orbax fails in the middle of writing 4 MB of random numbers."""
    saved(tmp_path, 1)
    large = numbered(2) | {"carry": jax.random.normal(jax.random.key(0), (1 << 20,))}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Checkpoints(tmp_path) as checkpoints:
        before = names(tmp_path)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
            with pytest.raises(StorageError, match="cannot write"):
                checkpoints.save(large, META)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert_same(checkpoints.restore(numbered(0))[0], numbered(1))
        time.sleep(0.5)  # threads of orbax may still be writing
        checkpoints.save(numbered(2), META)  # once there is room again, it goes on, and there is no litter
        assert names(tmp_path) == sorted([*before, "00000002"])


def test_interrupted_in_the_middle_of_a_save(tmp_path, monkeypatch):
    saved(tmp_path, 1)

    def interrupt(path):
        raise KeyboardInterrupt

    with Checkpoints(tmp_path) as checkpoints:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
            patch.setattr(module, "_seal", interrupt)
            checkpoints.save(numbered(2), META)
        assert not [name for name in names(tmp_path) if name.startswith("unfinished")]
        checkpoints.save(numbered(2), META)


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


def noisy_step(state, batch, key):
    w = jnp.tanh(state["w"] + 0.1 * jax.random.normal(key, state["w"].shape) + batch)
    return {"w": w, "step": state["step"] + 1, "skipped": state["skipped"]}, {}


class SlowBatches:
    def __init__(self, pause):
        self.pause = pause

    def __getitem__(self, step):
        time.sleep(self.pause)
        return np.float32(step % 7)


def noisy_run(steps, state=None, pause=0.0):
    zero = {"w": jnp.zeros(100_000), "step": jnp.zeros((), jnp.int32), "skipped": jnp.zeros((), jnp.int32)}
    return fit(noisy_step, zero if state is None else state, SlowBatches(pause), key=jax.random.key(0), steps=steps, steps_per_call=2)


def child(folder, steps, every, pause):
    """What `lmlib train` does, in a process of its own: resume, train, save now and then, stop at SIGTERM with status 143."""
    with Checkpoints(folder) as checkpoints, stop_on_sigterm() as stop:
        state = None if checkpoints.latest is None else checkpoints.restore(next(noisy_run(2))[0])[0]
        print("from", checkpoints.latest or 0, flush=True)
        run = noisy_run(int(steps), state, float(pause))
        for state, _ in run:
            step = int(state["step"])
            if stop.is_set() or step % int(every) == 0 or step == int(steps):
                checkpoints.save(state, {})
                print("saved", step, flush=True)
            if stop.is_set():
                sys.exit(143)


def start(folder, steps, every, pause=0.0):
    """Its errors go to a file: XLA may log more than a pipe holds."""
    command = [sys.executable, __file__, str(folder), str(steps), str(every), str(pause)]
    with folder.with_name("errors.txt").open("w") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)


def finish(run, folder):
    """Exit status and what it printed since; no traceback."""
    output, _ = run.communicate(timeout=60)
    errors = folder.with_name("errors.txt").read_text()
    assert "Traceback" not in errors, errors
    return run.returncode, output


def assert_right(folder):
    """The newest checkpoint is the state of an uninterrupted run at that step."""
    state, _ = restore(folder, next(noisy_run(2))[0])
    *_, (want, _) = noisy_run(int(state["step"]))
    assert_same(jax.device_get(state), jax.device_get(want))
    return int(state["step"])


def kill_during_saves(folder, kills, seed):
    """Kill a run that does little but save, again and again: the next one starts at the last step that was reported, or a later one."""
    rng, reported = np.random.default_rng(seed), 0
    for _ in range(kills):
        run = start(folder, 10**6, every=2)
        lines = [run.stdout.readline() for _ in range(2)]
        assert int(lines[0].split()[1]) >= reported, "a finished step was lost"
        time.sleep(rng.uniform(0, 0.1))
        run.kill()
        _, output = finish(run, folder)
        reported = max(int(step) for step in re.findall(r"saved (\d+)\n", "".join(lines) + output))
    step = assert_right(folder)
    assert step >= reported
    with Checkpoints(folder):
        pass
    assert [name for name in names(folder) if not name.isdecimal()] in ([], ["lock"])  # no litter, once a writer has been there
    return step


def test_killed_then_asked_to_stop_then_finished(tmp_path):
    """SIGKILL in the middle of saves, SIGTERM in the middle of training, and at the end the state of an uninterrupted run."""
    killed = kill_during_saves(tmp_path, kills=1, seed=0)
    run = start(tmp_path, killed + 60, every=10**6, pause=0.05)
    assert run.stdout.readline() == f"from {killed}\n"
    time.sleep(0.3)
    run.terminate()
    status, output = finish(run, tmp_path)
    assert status == 143
    stopped = int(re.fullmatch(r"saved (\d+)\n", output)[1])
    assert killed < assert_right(tmp_path) == stopped < killed + 60
    run = start(tmp_path, stopped + 10, every=10**6)
    assert finish(run, tmp_path) == (0, f"from {stopped}\nsaved {stopped + 10}\n")
    assert assert_right(tmp_path) == stopped + 10


@pytest.mark.soak
def test_killed_a_hundred_times_during_saves(tmp_path):
    kill_during_saves(tmp_path, kills=100, seed=1)


if __name__ == "__main__":
    child(*sys.argv[1:])

"""Faults on purpose: flipped bits, damaged files, full disks, kills; nothing is lost and nothing is wrong in silence."""

import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmlib.learn.checkpoint as module
from lmlib.errors import IntegrityError, StorageError
from lmlib.learn.checkpoint import Checkpoints, restore
from lmlib.learn.train import fit, stop_on_sigterm
from tests.test_checkpoint import META, assert_same, names, numbered, saved


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


def test_what_a_kill_left_behind_goes_when_the_next_writer_opens(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "00000001").rename(tmp_path / "unfinished-00000001-5")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest is None
        assert not [name for name in names(tmp_path) if name.startswith("unfinished")]


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
    command = [sys.executable, "-m", __name__, str(folder), str(steps), str(every), str(pause)]
    with folder.with_name("errors.txt").open("w") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=Path(__file__).parents[1])


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

"""Checkpoints of a training run: the whole state, sealed.

orbax writes the arrays; alone it restores a file with a flipped bit in silence. So each step is a folder with a seal, a list of the
SHA-256 of every file in it (`sha256sum -c SHA256SUMS` checks it, too), which is verified before anything is restored:

    folder/
      00000200/             one step; its name is given by a rename, once everything in it is on the disk
        SHA256SUMS
        meta.json           {"meta": what the caller handed in, "arrays": {name: [dtype, shape]}}
        arrays/             by orbax
      lock, writer          held while a writer is open: the lock is the operating system's, so it ends with the process that holds it
      unfinished-…          left behind by a process that was killed; removed when the next writer opens
      damaged-…             a step whose seal was broken, put aside by a writer that fell back to an older one

A state is restored into another of the same names, shapes and dtypes; devices and sharding are those of that other one, so a run can move
from one machine to a different one. Saving is synchronous: when `save` returns, the step is safe.
"""

import hashlib
import json
import os
import platform
import shutil
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp

from lmlib.errors import (
    ConfigError,
    IntegrityError,
    LmlibError,
    LockedError,
    MismatchError,
    NonFiniteError,
    StorageError,
    UnavailableError,
    storage_errors,
)

SEAL, META, ARRAYS = "SHA256SUMS", "meta.json", "arrays"


class Checkpoints:
    """The one writer of a folder of checkpoints; only to be had by `with`:

        with Checkpoints(folder) as checkpoints:
            if checkpoints.latest is not None:
                state, _ = checkpoints.restore(like=state, meta=meta)
            for state, metrics in fit(train_step, state, …):
                checkpoints.save(state, meta)

    Each step is saved once, and steps only grow: a run that starts anew in a folder that has checkpoints is an error, never lost silently.

    Args:
      folder: made if it is not there.
      keep: how many of the newest steps to keep; two, so that there is one to fall back to.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 2):
        if keep < 1:
            raise ConfigError(f"keep must be at least 1, got {keep}")
        self.folder, self.keep, self._lock = Path(folder).expanduser().absolute(), keep, None

    def __enter__(self):
        """Take the folder.

        Raises:
          LockedError: another writer, here or in another process, has it.
          StorageError: it cannot be made or written.
        """
        from filelock import FileLock, Timeout

        with _storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                writer = _read_or(self.folder / "writer", "another process")
                raise LockedError(f"{self.folder} is being written by {writer}: wait for it, or choose another folder") from None
            try:
                (self.folder / "writer").write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
                _remove_unfinished(self.folder)
            except BaseException:
                lock.release()
                raise
        self._lock = lock
        return self

    def __exit__(self, *exception):
        lock, self._lock = self._lock, None
        try:
            (self.folder / "writer").unlink(missing_ok=True)
        finally:
            lock.release()

    @property
    def latest(self) -> int | None:
        """The newest step that was saved, or None."""
        return max(_steps(self.folder), default=None)

    def save(self, state: dict, meta: dict) -> None:
        """Save the state as step `state["step"]`; when this returns it is on the disk, and steps beyond `keep` are gone.

        Args:
          state: a tree of arrays, one of them at "step".
          meta: what must be the same when the run goes on (config, digest of the tokenizer, sha256 of the corpus), as JSON values.

        Raises:
          NonFiniteError: a number of the state is not finite. Nothing is written.
          StorageError: the disk is full or cannot be written, or a checkpoint of this step or a later one is there. Nothing that was
            saved before is touched.
        """
        self._check_open()
        step, latest = int(state["step"]), self.latest
        if latest is not None and step <= latest:
            raise StorageError(f"{self.folder} already has step {latest}, so step {step} is not saved: restore it or choose another folder")
        arrays = _named(state)
        _check_finite(arrays)
        text = json.dumps({"meta": _plain(meta), "arrays": _layout(arrays)}, sort_keys=True, indent=1)
        unfinished = self.folder / f"unfinished-{step:08d}-{time.time_ns()}"
        try:
            with _storage_errors(self.folder):
                _remove_unfinished(self.folder)
                _check_space(self.folder, sum(leaf.nbytes for leaf in arrays.values()))
                unfinished.mkdir()
                _write_arrays(unfinished / ARRAYS, arrays)
                _write(unfinished / META, text)
                _write(unfinished / SEAL, _seal(unfinished))
                _sync(unfinished)
                unfinished.rename(self.folder / f"{step:08d}")
                _sync(self.folder)
        except BaseException:
            _remove_unfinished(self.folder)
            raise
        self._prune()

    def restore(self, like: dict, meta: dict | None = None) -> tuple[dict, dict]:
        """The newest sound state, as `lmlib.learn.checkpoint.restore` has it; damaged ones that are newer are put aside."""
        self._check_open()
        return _restore(self.folder, like, meta, put_aside=True)

    def _prune(self):
        """Remove all but the newest steps; first the name, so that a kill in between leaves no half of a step."""
        for step in sorted(_steps(self.folder))[: -self.keep]:
            (self.folder / f"{step:08d}").rename(self.folder / f"unfinished-{step:08d}-{time.time_ns()}")
        _remove_unfinished(self.folder)

    def _check_open(self):
        if self._lock is None:
            raise StorageError("checkpoints are open only inside `with Checkpoints(folder) as checkpoints:`")


def restore(folder: str | os.PathLike, like: dict, meta: dict | None = None) -> tuple[dict, dict]:
    """Read the newest sound state of a folder, without being its writer.

    Args:
      folder: of `Checkpoints`.
      like: a state of the names, shapes and dtypes wanted, e.g. that of `init_train_state`; its arrays say on which devices to restore.
      meta: what must have been saved, entry by entry; entries of the checkpoint that are not named here are not compared.

    Returns:
      The state, and the meta that was saved with it.

    Raises:
      UnavailableError: there is no checkpoint.
      IntegrityError: there is none that is sound.
      MismatchError: names, shapes, dtypes or meta differ; lists every difference.

    A damaged checkpoint that is passed over is a UserWarning.
    """
    return _restore(folder, like, meta, put_aside=False)


def _restore(folder, like, meta, put_aside):
    folder = Path(folder).expanduser().absolute()
    steps = sorted(_steps(folder), reverse=True)
    if not steps:
        raise UnavailableError(f"there is no checkpoint in {folder}")
    broken = []
    for step in steps:
        path = folder / f"{step:08d}"
        if damage := _damage(path):
            broken.append(f"step {step}: {damage}")
            continue
        saved = json.loads((path / META).read_text(encoding="utf-8"))
        arrays = _named(like)
        _check_same(path, saved, _layout(arrays), meta)
        leaves = _read_arrays(path / ARRAYS, arrays)
        if broken:
            for newer in steps[: steps.index(step)] if put_aside else ():
                (folder / f"{newer:08d}").rename(folder / f"damaged-{newer:08d}-{time.time_ns()}")
            warnings.warn(f"damaged checkpoints in {folder} ({'; '.join(broken)}): going on from step {step} instead", stacklevel=3)
        return jax.tree.unflatten(jax.tree.structure(like), leaves), saved["meta"]
    raise IntegrityError(f"no checkpoint in {folder} is sound ({'; '.join(broken)})")


def _steps(folder):
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()] if folder.is_dir() else []


def _remove_unfinished(folder):
    """Remove what kills and failures left behind, as far as possible: after a failure, threads of orbax may write for another moment, and
    what they leave is removed by the next save."""
    for path in folder.glob("unfinished-*"):
        shutil.rmtree(path, ignore_errors=True)


def _named(state):
    """The leaves of a state by name, "params/embed/embedding"; the names are what is compared and written."""
    flat, _ = jax.tree.flatten_with_path(state)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
    for name, leaf in named.items():
        if not hasattr(leaf, "dtype"):
            raise MismatchError(f"{name} of the state is a {type(leaf).__name__}, but all of a state must be arrays")
    if len(named) != len(flat):
        raise MismatchError("two arrays of the state have the same name once their paths are joined by '/'")
    return named


def _layout(arrays):
    return {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in arrays.items()}


def _check_finite(arrays):
    floating = {name: leaf for name, leaf in arrays.items() if jnp.issubdtype(leaf.dtype, jnp.inexact)}
    finite = jax.device_get(jax.jit(lambda tree: jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree))(floating))
    if wrong := [name for name, fine in finite.items() if not fine]:
        raise NonFiniteError(f"not saved, since these are not finite: {', '.join(wrong)}")


def _check_same(path, saved, layout, meta):
    """Raise MismatchError with every difference between a checkpoint and what is to be restored."""
    differences = list(_differences(saved["arrays"], layout, ""))
    if meta is not None:
        meta = _plain(meta)
        differences += _differences({name: value for name, value in saved["meta"].items() if name in meta}, meta, "meta.")
    if differences:
        raise MismatchError(f"{path} does not belong to this run:\n  " + "\n  ".join(differences))


def _differences(saved, wanted, prefix):
    for name in sorted(saved.keys() | wanted.keys()):
        if name not in wanted:
            yield f"{prefix}{name}: only in the checkpoint"
        elif name not in saved:
            yield f"{prefix}{name}: not in the checkpoint"
        elif isinstance(saved[name], dict) and isinstance(wanted[name], dict):
            yield from _differences(saved[name], wanted[name], f"{prefix}{name}.")
        elif saved[name] != wanted[name] or type(saved[name]) is not type(wanted[name]):
            yield f"{prefix}{name}: {saved[name]} in the checkpoint, {wanted[name]} here"


@contextmanager
def _storage_errors(folder):
    """Every failure to write becomes a StorageError; orbax has no error of its own for a full disk."""
    try:
        with storage_errors(folder):
            yield
    except LmlibError:
        raise
    except Exception as error:
        raise StorageError(f"cannot write {folder}: {error}") from error


def _check_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed + 2**20:
        raise StorageError(f"cannot write {folder}: the checkpoint needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free")


def _plain(meta):
    """The meta as JSON has it: tuples are lists, keys are strings."""
    try:
        return json.loads(json.dumps(meta, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"meta must be of JSON values: {error}") from error


def _write_arrays(path, arrays):
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, {name: leaf for name, leaf in arrays.items() if leaf.size})  # orbax does not take arrays of no elements


def _read_arrays(path, like):
    import orbax.checkpoint as ocp

    filled = {name: leaf for name, leaf in like.items() if leaf.size}
    with ocp.PyTreeCheckpointer() as checkpointer:
        read = checkpointer.restore(path, item=filled, restore_args=ocp.checkpoint_utils.construct_restore_args(filled))
    return [read[name] if name in read else jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in like.items()]


def _seal(path):
    """Lines of "sha256  file" for every file under `path` but the seal itself."""
    lines = []
    for file in sorted(path.rglob("*")):
        if file.is_file() and file != path / SEAL:
            with file.open("rb") as stream:
                lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {file.relative_to(path).as_posix()}\n")
    return "".join(lines)


def _damage(path):
    """What is wrong with the seal of a step, or None."""
    try:
        want, have = (path / SEAL).read_bytes(), _seal(path).encode()
    except OSError as error:
        return f"{error.strerror}: {error.filename}"
    if want == have:
        return None
    changed = {line.partition(b"  ")[2] for line in set(want.split(b"\n")) ^ set(have.split(b"\n"))}
    return "SHA-256 differs for " + ", ".join(sorted(name.decode(errors="replace") for name in changed))


def _write(path, text):
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder):
    """Make the names in a folder durable, where the system can (Windows cannot open a folder)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_or(path, otherwise):
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return otherwise

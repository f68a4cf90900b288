"""Every error that lmlib raises on purpose, and the guards that stand where data enters.

JAX answers an index out of range in silence (a clamped row, a row of NaN, a dropped update, by the operation), so ids are checked on the
host, before tracing. A message names the file, line or argument at fault and then the remedy.
"""

import errno
from contextlib import contextmanager
from difflib import get_close_matches

import numpy as np


class LmlibError(Exception):
    """Base of all errors that lmlib raises on purpose."""


class EmptyCorpusError(LmlibError):
    """There is no text, or nothing is left of it after cleaning."""


class EncodingError(LmlibError):
    """Bytes that are not valid UTF-8, or text that cannot be written as UTF-8; names file and byte offset."""


class UnknownNameError(LmlibError):
    """A name that is not in a register (corpus, split, program, benchmark …); suggests the nearest one."""


class UnavailableError(LmlibError):
    """A corpus that is neither at hand nor to be downloaded (names URL, sha256 and where to put the file), or a checkpoint not there."""


class IntegrityError(LmlibError):
    """Bytes that do not have the digest they should have: a damaged download, checkpoint or results file."""


class FormatError(LmlibError):
    """A file that does not follow its format; names file and line."""


class ConfigError(LmlibError):
    """A config with an unknown field or a value of the wrong type or range."""


class VocabularyError(LmlibError):
    """A token id or a word outside the vocabulary."""


class ShapeError(LmlibError):
    """An array whose shape or dtype is not the one that is needed."""


class StorageError(LmlibError):
    """A disk that is full, or a place that cannot be written."""


class LockedError(LmlibError):
    """Another live process is writing to the same folder."""


class MismatchError(LmlibError):
    """A checkpoint that belongs to another model, config, tokenizer or corpus; lists what differs."""


class EstimationError(LmlibError):
    """Counts from which the parameters of an estimator cannot be computed."""


class NonFiniteError(LmlibError):
    """Training met too many non-finite steps in a row to go on, or numbers that must be finite are not."""


def nearest(name, names):
    """'; did you mean "x"?' for the closest of `names`, or an empty string."""
    close = get_close_matches(str(name), [str(n) for n in names], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def as_array(values, name="array"):
    """The values as a numpy array, or ShapeError if they are rows of unequal length."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name} must be an array, or rows of equal length: {error}") from error


def check_ids(ids, vocab_size, name="ids"):
    """Return `ids` as an integer array, or raise if any lies outside 0 … vocab_size - 1.

    Raises:
      ShapeError: the ids are not integers.
      VocabularyError: an id is out of range; names its position and value.
    """
    ids = as_array(ids, name)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ShapeError(f"{name} must be integers, got {ids.dtype}: encode the text with a tokenizer first")
    if ids.size and (ids.min() < 0 or ids.max() >= vocab_size):
        at = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= vocab_size))[0])
        raise VocabularyError(
            f"{name}[{', '.join(map(str, at))}] = {int(ids[at])} is outside the vocabulary 0 … {vocab_size - 1}: "
            "was the text encoded with this model's tokenizer?"
        )
    return ids


def check_shape(array, shape, name="array"):
    """Return `array`, or raise ShapeError unless its shape matches `shape`, where None stands for any size."""
    got = array.shape if hasattr(array, "shape") else as_array(array, name).shape
    if len(got) != len(shape) or any(want is not None and want != have for want, have in zip(shape, got, strict=True)):
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ShapeError(f"{name} has shape {got}, but {wanted} is needed")
    return array


@contextmanager
def storage_errors(path):
    """Turn the operating system's complaints about a place (full, read-only, forbidden, gone …) into one StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "the disk is full: free some space or choose another folder",
            errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
            errno.EROFS: "the disk is read-only: choose another folder",
            errno.EACCES: "permission denied: choose a folder that you may write",
            errno.EPERM: "permission denied: choose a folder that you may write",
            errno.ENOTDIR: "a file stands where a folder is needed: choose another place",
            errno.EEXIST: "a file stands where a folder is needed: choose another place",
            errno.EISDIR: "a folder stands where a file is needed: choose another place",
            errno.ENOENT: "its folder is gone: choose another place",
            errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
            errno.EIO: "the disk reports an error: choose another place",
        }
        if error.errno not in remedies:
            raise
        raise StorageError(f"cannot write {path}: {remedies[error.errno]}") from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise StorageError(f"cannot write {str(path)!r}: no file can have a NUL in its name") from error

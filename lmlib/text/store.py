"""Token stores: an encoded corpus, in memory or memory-mapped from a sealed folder.

A folder holds tokens.bin (ids, little-endian, in the smallest type that the vocabulary needs), offsets.bin (int64: document i is
ids[offsets[i]:offsets[i + 1]]) and meta.json (what they are, with sizes and digests). A folder is written beside its final place and
then renamed, never changed in place: a process that has it mapped goes on reading the old bytes, where a mapped file that is cut
short would kill it.
"""

import contextlib
import glob
import hashlib
import io
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

from lmlib.errors import (
    EmptyCorpusError,
    FormatError,
    IntegrityError,
    LmlibError,
    MismatchError,
    ShapeError,
    StorageError,
    UnavailableError,
    as_array,
    check_ids,
    check_shape,
    storage_errors,
)
from lmlib.text.sealed import read_sealed, write_sealed
from lmlib.text.tokenizer_base import grouped

FORMAT = "lmlib tokens 1"
FILES = {"tokens": "tokens.bin", "offsets": "offsets.bin"}


class TokenStore:
    """Documents as ids. `store[i]` is document i, `len(store)` the number of documents, `store.ids` all of them in one line.

    Attributes:
      ids: (N,) integers, N ≥ 1, read-only; may be memory-mapped.
      offsets: (documents + 1,) int64, from 0 to N, never falling.
      vocab_size: number of ids of the tokenizer.
      meta: dict of what else is known: "tokenizer" (its digest), "before", "after", "source" (see `write_tokens`).
    """

    def __init__(self, ids, offsets, vocab_size, meta=None, *, _checked=False):
        ids = check_shape(as_array(ids, "ids"), (None,), "ids")
        offsets = check_shape(as_array(offsets, "offsets"), (None,), "offsets")
        if ids.size == 0:
            raise EmptyCorpusError("no tokens: the text is empty, or the tokenizer knows none of its words")
        if not _checked:
            check_ids(ids, vocab_size)
        if offsets.dtype != np.int64 or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
            raise ShapeError(f"offsets must be int64, begin with 0, never fall and end with the number of tokens, {len(ids)}")
        self.ids, self.offsets, self.vocab_size, self.meta = ids.view(), offsets.view(), int(vocab_size), dict(meta or {})
        self.ids.flags.writeable = self.offsets.flags.writeable = False

    @classmethod
    def from_sequences(cls, sequences, vocab_size):
        """A store in memory from sequences of ids (lists or 1-D arrays), one a document."""
        arrays = [check_shape(as_array(s, f"sequences[{i}]"), (None,), f"sequences[{i}]") for i, s in enumerate(sequences)]
        for i, array in enumerate(arrays):
            if array.size:  # an empty list becomes an array of floats
                check_ids(array, vocab_size, f"sequences[{i}]")
        ids = np.concatenate([array.astype(np.min_scalar_type(vocab_size - 1)) for array in arrays] or [np.zeros(0, np.int32)])
        return cls(ids, np.cumsum([0, *map(len, arrays)], dtype=np.int64), vocab_size)

    @classmethod
    def open(cls, folder, tokenizer=None):
        """Map the store in a folder, after its sizes and digests are verified.

        Args:
          folder: a folder that `write_tokens` made.
          tokenizer: if given, the store must have been made with an equal one.

        Raises:
          UnavailableError: no store there. FormatError, IntegrityError: a damaged one. MismatchError: another tokenizer's.
        """
        folder = Path(folder)
        meta = read_sealed(folder / "meta.json", FORMAT)
        arrays = {}
        try:
            vocab_size = meta.pop("vocab_size")
            for name, file in FILES.items():
                facts = meta.pop(name)
                largest = vocab_size if name == "tokens" else None
                arrays[name] = _open_array(folder / file, np.dtype(facts["dtype"]), facts["count"], facts["sha256"], largest)
        except (KeyError, TypeError) as error:
            raise FormatError(f"{folder / 'meta.json'}: a field is missing or of the wrong type ({error})") from error
        if tokenizer is not None and meta.get("tokenizer") != tokenizer.digest:
            raise MismatchError(
                f"{folder} was written with another tokenizer (digest {meta.get('tokenizer')}) than the one given ({tokenizer.digest}): "
                "write the tokens anew"
            )
        # The ids were checked as they were read: to look at them again would bring the whole map into memory
        return cls(arrays["tokens"], arrays["offsets"], vocab_size, meta, _checked=True)

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(f"document {i} of {len(self)}")
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    def __repr__(self):
        return f"TokenStore({len(self.ids)} tokens in {len(self)} documents, vocab_size={self.vocab_size})"

    def counts(self):
        """How often each id occurs: (vocab_size,) int64."""
        counts = np.zeros(self.vocab_size, np.int64)
        for start in range(0, len(self.ids), 1 << 22):  # in pieces: bincount makes an int64 copy of what it is given
            counts += np.bincount(self.ids[start : start + (1 << 22)], minlength=self.vocab_size)
        return counts


def _open_array(path, dtype, count, sha256, vocab_size=None):
    """A memory map of a file, once it has the size and the digest that it should have, and ids inside the vocabulary."""
    remedy = "it is damaged: write the tokens anew"
    have, extremes = hashlib.sha256(), np.zeros(2, dtype)
    try:
        size = path.stat().st_size
        if size != count * dtype.itemsize:
            raise IntegrityError(f"{path} has {size} bytes where {count * dtype.itemsize} are needed; {remedy}")
        with open(path, "rb") as file:
            while piece := file.read(1 << 22):
                have.update(piece)
                numbers = np.frombuffer(piece, dtype)
                extremes = np.array([min(extremes[0], numbers.min()), max(extremes[1], numbers.max())])
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing: write the tokens anew") from error
    if have.hexdigest() != sha256:
        raise IntegrityError(f"{path} has SHA-256 {have.hexdigest()} where {sha256} is needed; {remedy}")
    if vocab_size is not None:
        check_ids(extremes, vocab_size, f"smallest and largest id of {path}: ids")
    return np.memmap(path, dtype, "r", shape=(count,))


def write_tokens(documents, tokenizer, folder=None, *, before=None, after=None, source=None):
    """Encode a corpus into a TokenStore, document by document.

    Args:
      documents: iterable of str (a single str is one document); with a folder, the corpus may be larger than memory.
      tokenizer: a tokenizer of `lmlib.text.tokenizers`.
      folder: where to keep the tokens, or None for memory.
      before, after: names of special tokens to put before and after each document, e.g. after="<eos>".
      source: a string that identifies the documents, such as `corpus.sha256`. If the folder already holds a sound store of the same
        source, made by an equal tokenizer with the same specials, it is used as it is; any other store there is replaced. With None
        nothing can be compared, and the store is always written anew.

    Raises:
      EmptyCorpusError: no token comes out. StorageError: the disk is full, or the folder holds something else than a store.
    """
    meta = {"tokenizer": tokenizer.digest, "vocab_size": tokenizer.vocab_size, "before": before, "after": after, "source": source}
    if folder is None:
        files = {name: io.BytesIO() for name in FILES}
        facts = _write_arrays(documents, tokenizer, before, after, files, "memory")
        arrays = [np.frombuffer(files[name].getbuffer(), facts[name]["dtype"]) for name in FILES]
        return TokenStore(*arrays, meta.pop("vocab_size"), meta)

    folder = Path(folder).absolute()
    with _lock(folder):
        if source is not None and (store := _fresh(folder, meta)) is not None:
            return store
        if folder.exists() and not (folder.is_dir() and {file.name for file in folder.iterdir()} <= {"meta.json", *FILES.values()}):
            raise StorageError(f"{folder} is there already and is no token store: choose another folder")
        for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.writing-*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with storage_errors(folder):
            new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.writing-"))
        try:
            with contextlib.ExitStack() as stack:
                with storage_errors(folder):
                    files = {name: open(new / file, "wb") for name, file in FILES.items()}  # noqa: SIM115
                for file in files.values():
                    stack.callback(_close, file, folder)
                facts = _write_arrays(documents, tokenizer, before, after, files, folder)
            write_sealed(new / "meta.json", FORMAT, meta | facts)
            with storage_errors(folder):
                new.chmod(0o755)
                old = new.with_name(new.name + "-old")
                if folder.exists():
                    os.replace(folder, old)
                os.replace(new, folder)
                shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return TokenStore.open(folder, tokenizer)


def _close(file, place):
    with storage_errors(place):  # what is still buffered is written now
        file.close()


@contextlib.contextmanager
def _lock(folder):
    """Only one process at a time writes a folder; another one waits, and then finds the store that the first has written."""
    from filelock import FileLock

    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fresh(folder, meta):
    """The store in `folder` if it is sound and was made from the same source in the same way, or None."""
    if not folder.exists():
        return None
    try:
        store = TokenStore.open(folder)
    except UnavailableError:
        return None
    except LmlibError as error:
        warnings.warn(f"{error} (writing them anew)", stacklevel=3)
        return None
    same = store.vocab_size == meta["vocab_size"] and all(store.meta.get(name) == meta[name] for name in meta if name != "vocab_size")
    return store if same else None


def _write_arrays(documents, tokenizer, before, after, files, place):
    """Encode into two binary files, a few documents at a time, and return what is in them: {name: {"dtype", "count", "sha256"}}."""
    dtypes = {"tokens": tokenizer.dtype.newbyteorder("<"), "offsets": np.dtype("<i8")}
    hashes, counts = {name: hashlib.sha256() for name in FILES}, dict.fromkeys(FILES, 0)

    def append(name, array):
        written = array.astype(dtypes[name], copy=False).tobytes()
        with storage_errors(place):
            files[name].write(written)
            files[name].flush()
        hashes[name].update(written)
        counts[name] += len(array)

    append("offsets", np.zeros(1, np.int64))
    for texts in grouped(documents):
        encoded = tokenizer.encode_batch(texts, before, after)
        append("offsets", counts["tokens"] + np.cumsum([len(ids) for ids in encoded]))
        append("tokens", np.concatenate(encoded))
    if not counts["tokens"]:
        raise EmptyCorpusError("no tokens to write: the corpus is empty, or the tokenizer knows none of its words")
    return {name: {"dtype": dtypes[name].str, "count": counts[name], "sha256": hashes[name].hexdigest()} for name in FILES}

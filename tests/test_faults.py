"""Faults at every door: whatever comes in or fails there ends in one LmlibError that names it, or changes nothing.

What one module alone is responsible for stands in its own tests (bytes and tables in test_corpora, downloads in test_fetch, vector files in
test_vectors_damaged, checkpoints in test_checkpoint_faults); here is what all doors have in common.
"""

import builtins
import contextlib
import errno
import hashlib
import io
import json
import os
import re
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import optax
import pandas as pd
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

from lmlib.cli import main
from lmlib.errors import (
    EmptyCorpusError,
    EncodingError,
    FormatError,
    LmlibError,
    NonFiniteError,
    ShapeError,
    StorageError,
    UnavailableError,
    UnknownNameError,
    VocabularyError,
)
from lmlib.learn.checkpoint import Checkpoints
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fit, init_train_state, make_train_step
from lmlib.measure.perplexity import perplexity
from lmlib.models import windows, word2vec
from lmlib.models.base import split
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.models.vectors import WordVectors
from lmlib.record.runs import finished_run, load_run, open_run, read_metrics, read_record
from lmlib.record.training import train_vectors
from lmlib.text import store
from lmlib.text.batches import PaddedBatches, TokenStore, write_tokens
from lmlib.text.corpora import memory_corpus, open_corpus
from lmlib.text.sealed import write_sealed
from lmlib.text.tokenizers import BytePairTokenizer, CharTokenizer, Tokenizer, WordTokenizer

CHARACTERS = CharTokenizer("abcd", fallback=False)
WORDS = WordTokenizer(["a", "b", "c", "d"], [4, 3, 2, 1], unk=None)
PAIRS = BytePairTokenizer.train(["a b c d " * 9], vocab_size=257)
VECTORS = WordVectors(["a", "b"], [[1.0, 2.0], [3.0, 4.0]])
TEXT = "a b c d\n" * 200
SETTINGS = ["--preset", "tiny", "--dimension", "4", "--epochs", "1", "--min-count", "1"]


def train(corpus, out, *more):
    return main(["train", "word2vec", "--corpus", str(corpus), "--out", str(out), *SETTINGS, *more])


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("lmlib: "), error
    assert error.count("\n") == 1, error
    return error


# Text


def written(folder, content, name="my.txt"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("my.txt", b"", "my.txt has no text"),
        ("my.txt", b"\xef\xbb\xbf \r\n\0\r\n", "no word is left of the text"),
        ("my.txt", TEXT.encode() + b"caf\xe9\n", "my.txt is not valid UTF-8: byte 0xe9 at offset 1603"),
        ("my.txt.gz", b"\x1f\x8b\x08\0", "my.txt.gz is truncated or damaged"),
        ("my.csv", b'text\na\n"b\n', "my.csv line 3 is not valid CSV"),
        ("my.jsonl", b'{"text": "a"}\n{"text": 1' + b"0" * 5000 + b"}\n", "my.jsonl line 2 is not valid JSON"),
        ("my.jsonl", b'{"text": "a"}\n{"txt": "a"}\n', "line 2 has no column 'text'; did you mean 'txt'?"),
        ("my.txt", "天地玄黄\n".encode() * 9, "no word is left of the text with normalisation 'letters-digits'"),
    ],
)
def test_bad_text_on_the_command_line_is_one_line(tmp_path, capsys, name, content, told):
    assert train(written(tmp_path, content, name), tmp_path / "run") == 1
    assert told in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train([TEXT]), WordTokenizer.train([TEXT]), PAIRS], ids=lambda t: t.kind)
def test_how_lines_end_makes_no_difference_and_nothing_else_is_lost(tmp_path, tokenizer):
    """A byte-order mark and Windows' line ends come in no id; NUL, an empty line and a last line without its end stay what they are."""
    plain = "a\0b c\n\nd \u2028 d\nd"
    stores = []
    for name, content in (("plain", plain), ("windows", "\ufeff" + plain.replace("\n", "\r\n"))):
        corpus = open_corpus(written(tmp_path, content.encode(), f"{name}.txt"))
        stores.append(write_tokens(corpus.documents(), tokenizer, tmp_path / name, source=corpus.sha256))
    assert_array_equal(stores[0].ids, stores[1].ids)
    assert_array_equal(stores[0].offsets, stores[1].offsets)
    if tokenizer.lossless:
        assert [tokenizer.decode(ids) for ids in stores[0]] == plain.split("\n")


def test_a_line_of_ten_megabytes(tmp_path):
    """From the file to the ids and back, with every tokenizer, in a time that a quadratic step would not keep."""
    line = "ab cd " * (10_000_000 // 6)
    corpus = open_corpus(written(tmp_path, line.encode()))
    start = time.perf_counter()
    for tokenizer in (CharTokenizer.train(corpus.documents()), WordTokenizer.train(corpus.documents()), PAIRS):
        tokens = write_tokens(corpus.documents(), tokenizer)
        assert len(tokens) == 1
        assert tokenizer.decode(tokens.ids) == (line if tokenizer.lossless else line.strip())
    assert time.perf_counter() - start < 60


def gone(tmp_path, use):
    """A corpus whose file is deleted once it has been opened."""
    path = written(tmp_path, b"a\n")
    corpus = open_corpus(path)
    path.unlink()
    return use(corpus)


NO_TEXT = {
    "a whole text in place of a path": (
        lambda _: open_corpus("to be or not to be " * 500),
        UnknownNameError,
        "'to be or .*…'.*memory_corpus",
    ),
    "an empty name": (lambda _: open_corpus(""), UnknownNameError, "no corpus and no file called ''"),
    "nothing": (lambda _: open_corpus(None), UnknownNameError, "called 'None'"),
    "a NUL in a name": (lambda _: open_corpus("a\0b"), UnknownNameError, r"a\\x00b"),
    "another user's home": (lambda _: open_corpus("~nobody-at-all/text"), UnknownNameError, "~nobody-at-all"),
    "a file that is gone": (lambda tmp: gone(tmp, lambda corpus: list(corpus.documents())), UnavailableError, r"my\.txt: No such file"),
    "a digest of what is gone": (lambda tmp: gone(tmp, lambda corpus: corpus.sha256), UnavailableError, r"my\.txt: No such file"),
    "bytes in memory": (lambda _: memory_corpus(["a", b"b"]), EncodingError, "document 1 of memory must be str, got bytes"),
    "nothing in memory": (lambda _: memory_corpus([]), EmptyCorpusError, "memory has no text"),
    "a name that is too long": (lambda tmp: Tokenizer.load(tmp / ("x" * 500)), UnavailableError, "too long"),
    "a tokenizer of huge numbers": (lambda tmp: Tokenizer.load(written(tmp, b"1" * 5000)), FormatError, r"my\.txt: not JSON"),
    "ragged ids to decode": (lambda _: WORDS.decode([[0], [1, 2]]), ShapeError, "ids must be an array"),
    "ragged ids to store": (lambda _: TokenStore([[0], [1, 2]], [0, 2], 4), ShapeError, "ids must be an array"),
    "numbers in place of sequences": (lambda _: TokenStore.from_sequences([1, 2], 4), ShapeError, r"sequences\[0\] has shape \(\)"),
    "ragged vectors": (lambda _: WordVectors(["a", "b"], [[1.0], [1.0, 2.0]]), ShapeError, "vectors must be an array"),
    "vectors of words": (lambda _: WordVectors(["a"], [["x"]]), ShapeError, "vectors must be real numbers"),
}


@pytest.mark.parametrize("fault", NO_TEXT)
def test_what_is_no_text_or_no_array(tmp_path, fault):
    call, error, says = NO_TEXT[fault]
    with pytest.raises(error, match=says):
        call(tmp_path)


def test_a_single_text_in_memory_is_one_document():
    assert list(memory_corpus("abc").documents()) == ["abc"]


def test_a_terminal_without_unicode(tmp_path, monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert train(written(tmp_path, TEXT.encode(), "naïve.txt"), tmp_path / "run") == 0
    screen.flush()
    assert b"na\\xefve.txt, all" in screen.buffer.getvalue()


# Ids

MODEL = Bigram(BigramConfig(vocab_size=4, bos=0, eos=0), rngs=nnx.Rngs(0))
GOOD = np.array([[0, 1], [2, 3]])


def forged(tmp_path, bad):
    """A store on the disk whose seal is right, written by a program that is wrong."""
    meta = {"vocab_size": 4}
    for name, array in (("tokens", np.array([0, bad], np.int64)), ("offsets", np.array([0, 2], np.int64))):
        (tmp_path / f"{name}.bin").write_bytes(array.tobytes())
        meta[name] = {"dtype": "<i8", "count": 2, "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    write_sealed(tmp_path / "meta.json", store.FORMAT, meta)
    return TokenStore.open(tmp_path)


def with_bad(bad):
    ids = GOOD.copy()
    ids[1, 0] = bad
    return ids


ENTRIES = {
    "CharTokenizer.decode": lambda _, bad: CHARACTERS.decode([0, bad]),
    "WordTokenizer.decode": lambda _, bad: WORDS.decode([0, bad]),
    "BytePairTokenizer.decode": lambda _, bad: PAIRS.decode([0, bad + (bad > 0) * 1000]),
    "TokenStore": lambda _, bad: TokenStore([0, bad], np.array([0, 2]), 4),
    "TokenStore.from_sequences": lambda _, bad: TokenStore.from_sequences([[0], [bad]], 4),
    "TokenStore.open": forged,
    "PaddedBatches": lambda _, bad: PaddedBatches([[0], [bad]], 1, vocab_size=4),
    "perplexity, tokens": lambda _, bad: perplexity(MODEL, [{"tokens": with_bad(bad), "targets": GOOD}]),
    "perplexity, targets": lambda _, bad: perplexity(MODEL, [{"tokens": GOOD, "targets": with_bad(bad)}]),
    "perplexity, sequences": lambda _, bad: perplexity(MODEL, [{"tokens": with_bad(bad), "lengths": np.array([2, 2])}]),
}
BAD = [-1, 4, 1000, 2**31, -(2**31)]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", ENTRIES)
def test_an_id_outside_the_vocabulary_is_refused_at_every_entry(tmp_path, entry, bad):
    with pytest.raises(VocabularyError, match=r"outside the vocabulary 0 … \d+: was the text encoded with this model's tokenizer"):
        ENTRIES[entry](tmp_path, bad)


@pytest.mark.parametrize("kind", ["windows", "sequences", "chunks"])
def test_an_id_outside_the_vocabulary_trains_nothing(kind):
    """Inside a compiled step nothing can be raised: the step is skipped and counted, and too many in a row are an error."""
    if kind == "chunks":
        config = word2vec.SkipGramConfig.tiny(dimension=4)
        step, state = word2vec.make_step(config, WORDS.counts, 20), word2vec.init_state(config, 4, jax.random.key(0))
    else:
        optimizer, (definition, params) = optax.sgd(0.1), split(MODEL)
        step, state = make_train_step(next_token_loss(definition), optimizer), init_train_state(params, optimizer)
    before = jax.device_get(state["params"])
    for bad in (-1, 4, 1000, 2**31 - 1, -(2**31)):
        ids = jnp.array(with_bad(bad), jnp.int32)
        batch = {
            "windows": {"tokens": ids, "targets": jnp.array(GOOD)},
            "sequences": {"tokens": ids, "lengths": jnp.array([2, 2])},
            "chunks": {"ids": ids.ravel(), "document": jnp.zeros(4, jnp.int32), "count": jnp.int32(4)},
        }[kind]
        run = fit(step, state, [batch] * 20, key=jax.random.key(0), steps=20, max_skipped=3)
        for _ in range(3):
            after, _ = next(run)
            jax.tree.map(assert_array_equal, jax.device_get(after["params"]), before)
        with pytest.raises(NonFiniteError, match=r"3 steps in a row \(0 to 2\).*ids outside the vocabulary"):
            next(run)


def test_counts_of_another_vocabulary():
    """The unknown word has an id but no count: with it the counts are one too few."""
    config = word2vec.SkipGramConfig.tiny(dimension=4)
    batch = {"ids": jnp.zeros(4, jnp.int32), "document": jnp.zeros(4, jnp.int32), "count": jnp.int32(4)}
    with pytest.raises(ShapeError, match=r"the counts of the vocabulary has shape \(4,\), but \(5,\) is needed"):
        word2vec.make_step(config, WORDS.counts, 1)(word2vec.init_state(config, 5, jax.random.key(0)), batch, jax.random.key(0))


# Disks


@contextlib.contextmanager
def broken_disk(monkeypatch, folder, code):
    """Nothing below `folder` can be written, as on a disk that is full or read-only; reading goes on."""
    below = os.path.realpath(folder)

    def guarded(function, writes):
        def call(path, *args, **options):
            if isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(below) and writes(*args, **options):
                raise OSError(code, os.strerror(code), os.fspath(path))
            return function(path, *args, **options)

        return call

    def by_mode(mode="r", *_, **__):
        return bool(set(mode) & set("wax+"))

    def by_flags(flags=0, *_, **__):
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    with monkeypatch.context() as patch:
        for module, name, writes in ((builtins, "open", by_mode), (io, "open", by_mode), (os, "open", by_flags)):
            patch.setattr(module, name, guarded(getattr(module, name), writes))
        for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir"):
            patch.setattr(os, name, guarded(getattr(os, name), lambda *_, **__: True))
        yield


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "lock" not in path.name}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training run, its text beside it."""
    folder = tmp_path_factory.mktemp("finished")
    assert train(written(folder, TEXT.encode()), folder / "run") == 0
    return folder


RUN = {"parameters": {"a": 1}, "seeds": [0]}
WRITERS = {
    "Tokenizer.save": lambda folder: WORDS.save(folder / "old.json"),
    "Tokenizer.save, new folder": lambda folder: WORDS.save(folder / "new" / "tokenizer.json"),
    "write_tokens": lambda folder: write_tokens(["a b"], WORDS, folder / "tokens"),
    "WordVectors.save": lambda folder: VECTORS.save(folder / "old.json"),
    "WordVectors.save, new folder": lambda folder: VECTORS.save(folder / "new" / "vectors.txt"),
    "open_run": lambda folder: open_run(folder / "run", **RUN),
    "open_run, replace": lambda folder: open_run(folder / "old run", **RUN, existing="replace"),
    "open_run, resume": lambda folder: open_run(folder / "old run", **RUN, existing="resume"),
    "Checkpoints": lambda folder: Checkpoints(folder / "checkpoints").__enter__(),
}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_cannot_be_written(tmp_path, monkeypatch, writer, code):
    """One error that names the place and the reason; what was there is there, nothing else is; and later the same call works."""
    (tmp_path / "old.json").write_text("old")
    open_run(tmp_path / "old run", **RUN).close()
    before = contents(tmp_path)
    with (
        broken_disk(monkeypatch, tmp_path, code),
        pytest.raises(StorageError, match=f"cannot write {re.escape(str(tmp_path))}.*(disk|read-only)"),
    ):
        WRITERS[writer](tmp_path)
    assert contents(tmp_path) == before
    opened = WRITERS[writer](tmp_path)
    if hasattr(opened, "abandon"):
        opened.abandon()
    if isinstance(opened, Checkpoints):
        opened.__exit__(None, None, None)


OPEN = {
    "log": lambda run: run.log({"step": 1}),
    "rewind": lambda run: run.rewind(0),
    "table": lambda run: run.table("t", pd.DataFrame({"x": [1]})),
    "figure": lambda run: run.figure("f", matplotlib.figure.Figure()),
    "close": lambda run: run.close(),
}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("action", OPEN)
def test_a_disk_that_fills_up_during_a_run(tmp_path, monkeypatch, action, code):
    with open_run(tmp_path, **RUN) as run:
        run.log({"step": 0})
        before = contents(tmp_path)
        with broken_disk(monkeypatch, tmp_path, code), pytest.raises(StorageError, match=re.escape(str(tmp_path))):
            OPEN[action](run)
        assert contents(tmp_path) == before
        OPEN[action](run)
    assert read_metrics(tmp_path)[0] == {"step": 0}
    load_run(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_on_the_command_line(tmp_path, monkeypatch, capsys, finished, code):
    with broken_disk(monkeypatch, tmp_path, code):
        assert train(finished / "my.txt", tmp_path / "run") == 1
    assert str(tmp_path) in one_line(capsys)
    assert train(finished / "my.txt", tmp_path / "run") == 0
    assert (
        contents(tmp_path / "run")[next(p for p in contents(tmp_path / "run") if p.name == "vectors.txt")]
        == (finished / "run" / "vectors.txt").read_bytes()
    )


@pytest.mark.parametrize("out", ["my.txt", "my.txt/run", "x" * 300])
def test_a_folder_that_cannot_be_one(finished, capsys, out):
    assert train(finished / "my.txt", finished / out) == 1
    assert "cannot write" in one_line(capsys)
    assert (finished / "my.txt").read_text() == TEXT


# Records


RECORDS = {
    "empty": (b"", FormatError, r"run\.json is no JSON"),
    "cut": (lambda content: content[: len(content) // 2], FormatError, r"run\.json is no JSON"),
    "bytes": (b"\xff\xfe", FormatError, r"run\.json is no JSON"),
    "brackets": (b"[" * 100_000, FormatError, r"run\.json is no JSON"),
    "a number": (b"3", FormatError, r"run\.json is no record of a run"),
    "another object": (b"{}", FormatError, r"run\.json is no record of a run \(no "),
}


@pytest.mark.parametrize("fault", RECORDS)
def test_a_damaged_record_is_named_by_every_reader(tmp_path, fault):
    content, error, says = RECORDS[fault]
    open_run(tmp_path, **RUN).close()
    path = tmp_path / "run.json"
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    before = contents(tmp_path)
    for read in (
        read_record,
        load_run,
        lambda folder: finished_run(folder, **RUN),
        lambda folder: open_run(folder, **RUN, existing="resume"),
    ):
        with pytest.raises(error, match=says):
            read(tmp_path)
    assert contents(tmp_path) == before


def test_random_damage_of_a_record_raises_named_errors_only(tmp_path):
    open_run(tmp_path, **RUN).close()
    path, rng = tmp_path / "run.json", np.random.default_rng(0)
    content = path.read_bytes()
    for i in range(500):
        at = int(rng.integers(len(content)))
        middle = [bytes([content[at] ^ (1 << int(rng.integers(8)))]), b"", content[at : at + 1] * 2][int(rng.integers(3))]
        path.write_bytes(content[:at] + middle + content[at + 1 :])
        with contextlib.suppress(LmlibError):
            load_run(tmp_path)
        if i < 50:  # it looks at the machine, which takes a while
            with contextlib.suppress(LmlibError):
                finished_run(tmp_path, **RUN)


def test_a_log_of_other_things(tmp_path):
    with open_run(tmp_path, **RUN) as run:
        run.log({"step": 0})
        (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n[1]\n')
        with pytest.raises(FormatError, match=r"metrics\.jsonl, line 2: .*a list, not an object"):
            run.rewind(5)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("metrics.jsonl", "metrics.jsonl is not as its run wrote it"),
        ("tables/vectors.csv", "vectors.csv is not as its run wrote it"),
        ("run.json", "run.json is no JSON"),
    ],
)
def test_a_finished_run_that_was_damaged_is_not_taken_for_sound(finished, capsys, file, told):
    path = finished / "run" / file
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    try:
        assert train(finished / "my.txt", finished / "run") == 1
        assert told in one_line(capsys)
    finally:
        path.write_bytes(content)


def test_training_that_diverges(finished, tmp_path, monkeypatch, capsys):
    """Ten chunks in a row without a finite result end the run; fewer are told, since the vectors then are not what was asked for."""

    def losses_are(loss):
        method = word2vec.METHOD._replace(loss=lambda config, tables, params, *_: loss(params))
        monkeypatch.setattr(word2vec, "make_step", partial(windows.make_step, method, word2vec.sampling_tables))

    losses_are(lambda params: jnp.nan)
    assert train(finished / "my.txt", tmp_path / "long", "--chunk", "50") == 1
    assert "Lower the learning rate" in one_line(capsys)
    with pytest.warns(UserWarning, match="4 of 4 calls were skipped"):
        train_vectors("word2vec", open_corpus(finished / "my.txt"), tmp_path / "short", word2vec.SkipGramConfig.tiny(epochs=1), chunk=200)
    losses_are(lambda params: jnp.where(jnp.any(params["context"] != 0), 8.32, 4.159))  # finite, but twice that of untrained vectors
    with pytest.warns(UserWarning, match=r"training diverged: the loss is 8\.32, that of the first call 4\.159"):
        train_vectors("word2vec", open_corpus(finished / "my.txt"), tmp_path / "worse", word2vec.SkipGramConfig.tiny(epochs=1), chunk=400)


def test_what_is_damaged_in_an_unfinished_run_and_cannot_be_made_again(finished, tmp_path, capsys):
    """All checkpoints are damaged: training from the beginning is for the reader to decide."""
    assert train(finished / "my.txt", tmp_path / "run") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"finished": False}))
    for path in (tmp_path / "run" / "checkpoints").rglob("meta.json"):
        path.write_text("{}")
    assert train(finished / "my.txt", tmp_path / "run") == 1
    assert "no checkpoint in" in one_line(capsys)

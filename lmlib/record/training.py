"""The run of `lmlib train`: from a corpus to word vectors in a run folder, resumable at every point.

    <folder>/
      run.json, metrics.jsonl, tables/     see `lmlib.record.runs`; a record of metrics.jsonl is a call of the compiled step
      tokenizer.json, tokens/              the vocabulary; the corpus as ids, memory-mapped, so that it may be larger than memory
      checkpoints/                         the newest two states
      vectors.txt                          the result (vectors.bin, vectors.glove.txt in other formats)

Each call of the compiled step is a pure function of corpus, settings and seed. So it does not matter to the result when a run is saved,
killed or resumed: vectors and metrics are, bit for bit, those of a run that was never interrupted.
"""

import math
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import jax
import pandas as pd

from lmlib.config import to_dict
from lmlib.errors import ConfigError, LmlibError, StorageError, UnknownNameError, nearest, storage_errors
from lmlib.learn import checkpoint
from lmlib.learn.train import fetch, fit, stop_on_sigterm
from lmlib.measure.categories import SETS as CATEGORY_SETS
from lmlib.measure.categories import categorisation, category_set, classes_of_world
from lmlib.measure.embeddings import METHODS, analogies, covered_rows, similarity
from lmlib.measure.sets import (
    CHINESE_ANALOGY_SETS,
    CHINESE_SIMILARITY_SETS,
    SIMILARITY_SETS,
    analogy_questions,
    language_of,
    similarity_set,
)
from lmlib.models.vectors import WordVectors
from lmlib.record import methods
from lmlib.record.files import digest_of
from lmlib.record.runs import finished_run, open_run, read_metrics
from lmlib.record.show import bar, progress
from lmlib.text.corpora import registry
from lmlib.text.fetch import where
from lmlib.text.phrases import phrase_corpus
from lmlib.text.store import write_tokens
from lmlib.text.tokenizer_base import check_count
from lmlib.text.tokenizers import WordTokenizer

VECTORS = {"word2vec": "vectors.txt", "word2vec-binary": "vectors.bin", "glove": "vectors.glove.txt"}  # format → file
SAVE_SECONDS = 60.0  # at the latest


def train_vectors(
    method: str,
    corpus,
    folder,
    config,
    *,
    words: dict | None = None,
    text: str | None = None,
    phrases: tuple = (),
    seed: int = 1,
    chunk: int = 1 << 20,
    save_every: int | None = None,
    format: str = "word2vec",
    claim: str | None = None,
) -> Path:
    """Train word vectors, or go on where an earlier call with the same arguments stopped; what is going on is printed.

    Args:
      method: a name of `lmlib.record.methods.METHODS`.
      corpus: of `lmlib.text.corpora.open_corpus`.
      folder: the run folder; made if it is not there.
      config: of the method.
      words: arguments of `WordTokenizer.train` (normalisation, segmentation, min_count, max_size); unknown words are dropped.
      text: the column of the corpus that was chosen as its text, so that a run with another column is another run.
      phrases: thresholds, one a pass, if phrases are to be joined to words (`lmlib.text.phrases.phrase_corpus`).
      seed: of everything random.
      chunk: tokens a call of the compiled step.
      save_every: save after so many chunks; by default at the end of each epoch, and once a minute. The result does not depend on it.
      format: of the vectors, see `lmlib.models.vectors`.
      claim: name of the result; its scores are claimed as `<claim>_ws353`, `<claim>_analogy` and so on, and runs that differ in nothing
        but the seed are put together in results/. By default the scores are recorded and not claimed.

    Returns:
      The path of the vectors.

    Raises:
      MismatchError: the folder holds a run with other arguments; lists what differs.
      StorageError: the folder holds other things of the same names, or the disk is full.
      LockedError: the run is going on in another process.
      NonFiniteError: training diverged.
      SystemExit: SIGTERM or Ctrl-C came during training; the state was saved. Its code is 128 + the number of the signal.
    """
    folder, words = Path(folder), {"unk": None} | (words or {})
    check_count("chunk", chunk, 1)
    check_count("save_every", 1 if save_every is None else save_every, 1)
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed must be an integer from 0 to 2**32 - 1, got {seed}")
    if format not in VECTORS:
        raise UnknownNameError(f"unknown format {format!r} of word vectors{nearest(format, VECTORS)} (formats: {', '.join(VECTORS)})")
    settings = {"model": method, "config": config, "words": dict(words), "split": corpus.split, "text": text, "chunk": chunk}
    if phrases:
        settings["phrases"] = list(phrases)
        corpus = phrase_corpus(corpus, phrases, **{name: words.pop(name) for name in ("normalisation", "segmentation") if name in words})
    given = {"parameters": settings, "seeds": [seed], "corpus": corpus}
    path = folder / VECTORS[format]

    known = _known(folder)
    if known and (run := finished_run(folder, **given)):
        recorded = run.table("vectors").set_index("file")["sha256"]
        if not path.exists() or digest_of(path) != recorded.get(path.name):
            tokenizer = WordTokenizer.load(folder / "tokenizer.json")
            training = methods.METHODS[method].begin(config, tokenizer, _tokens(corpus, tokenizer, folder, text), chunk, folder, seed)
            state = training.init(_keys(seed)[0])
            if training.steps:
                state, _ = checkpoint.restore(folder / "checkpoints", state)
            _save(path, format, training, tokenizer, state)
        print(f"{folder}: this run is finished; its vectors are in {path}")
        return path

    # A new corpus is counted before the folder is touched: a fault in text or settings then leaves nothing behind
    tokenizer = None if known else _count_words(corpus, words)
    with open_run(folder, **given, existing="resume") as run:
        tokenizer = tokenizer or _stored_vocabulary(folder) or _count_words(corpus, words)
        tokenizer.save(folder / "tokenizer.json")
        start = time.perf_counter()
        store = _tokens(corpus, tokenizer, folder, text)
        run.time("tokens", time.perf_counter() - start)
        print(f"{corpus.name}, {corpus.split}: {len(store.ids):,} tokens of {len(tokenizer.words):,} words, {len(store):,} documents")
        start, work = time.perf_counter(), time.process_time()
        training = methods.METHODS[method].begin(config, tokenizer, store, chunk, folder, seed)
        run.time("preparation", time.perf_counter() - start)
        meta = {"config": to_dict(config), "seed": seed, "chunk": chunk, "tokenizer": tokenizer.digest, "corpus": corpus.sha256}
        state = _train(run, training, seed, save_every, meta)
        vectors = _save(path, format, training, tokenizer, state)
        run.time("core_seconds", time.process_time() - work)  # from the ids to the vectors, in this process
        _measure(run, corpus, vectors, path, claim)
    print(f"vectors: {path}")
    return path


def _known(folder):
    """Whether the folder holds a run; if not, it must not hold anything of the names that a run writes."""
    with storage_errors(folder):
        if (folder / "run.json").exists():
            return True
        taken = [name for name in ("tokenizer.json", "tokens", "checkpoints", *VECTORS.values()) if (folder / name).exists()]
    if taken:
        raise StorageError(f"{folder} holds {', '.join(taken)}, but no run that made it: choose another folder")
    return False


def _count_words(corpus, words):
    return WordTokenizer.train(progress(corpus.documents(), label="words"), **words)


def _stored_vocabulary(folder):
    """The vocabulary that this run has counted before, or None: counting again is slow, but always right."""
    try:
        return WordTokenizer.load(folder / "tokenizer.json")
    except LmlibError:
        return None


def _tokens(corpus, tokenizer, folder, text):
    documents = progress(corpus.documents(), label="tokens")
    return write_tokens(documents, tokenizer, folder / "tokens", source=f"{corpus.sha256} {corpus.split} {text}")


def _keys(seed):
    """(the key of the first state, the key of the run)"""
    return jax.random.split(jax.random.key(seed))


def _train(run, training, seed, save_every, meta):
    """Train from the newest checkpoint, if there is one, to the end; returns the last state."""
    init_key, key = _keys(seed)
    state = training.init(init_key)
    if not training.steps:  # there is nothing to learn step by step
        return state
    steps, an_epoch = training.steps, training.steps // training.epochs
    save_every, losses = save_every or an_epoch, []
    with stop_on_sigterm(signal.SIGINT) as stop, checkpoint.Checkpoints(run.folder / "checkpoints") as checkpoints:
        if checkpoints.latest is not None:
            state, _ = checkpoints.restore(like=state, meta=meta)
            print(f"going on after {int(state['step']):,} of {steps:,} calls")
        first = int(state["step"])
        run.rewind(first - 1)  # what was logged after the checkpoint is logged again
        start = saved = time.monotonic()
        calls = fit(training.train_step, state, training.batches, key=key, steps=steps)
        with _Speed(training, first) as speed:
            for state, metrics in calls:
                record = {name: value[0] for name, value in fetch([metrics]).items()}
                step = int(record.pop("step"))
                run.log({"step": step, "epoch": step // an_epoch} | record)
                losses.append(float(record["loss"]))
                speed.show(step, int(record[training.unit]), losses[-1])
                done = step + 1
                if stop.is_set() or done == steps or done % save_every == 0 or time.monotonic() - saved > SAVE_SECONDS:
                    _make_durable(run.folder / "metrics.jsonl")
                    checkpoints.save(state, meta)
                    saved = time.monotonic()
                if stop.is_set():
                    print(f"stopped after {done:,} of {steps:,} calls: the same command goes on from there", file=sys.stderr)
                    sys.exit(stop.status)
        run.time("training", time.monotonic() - start)
    if skipped := int(state["skipped"]):
        warnings.warn(f"{skipped} of {steps} calls were skipped, since their result was not finite: lower the learning rate", stacklevel=2)
    logged = [record["loss"] for record in read_metrics(run.folder) if record["loss"] is not None]  # None: not finite
    if logged and losses and losses[-1] > 2 * logged[0]:
        told = f"the loss is {losses[-1]:.4g}, that of untrained vectors {logged[0]:.4g}"
        warnings.warn(f"training diverged: {told}; lower the learning rate", stacklevel=2)
    return state


class _Speed:
    """On a terminal a bar with words (or cells) a second and the loss; elsewhere, as in the log of a cluster, a line an epoch."""

    def __init__(self, training, step):
        self._calls, self._epochs, self._unit = training.steps // training.epochs, training.epochs, training.unit
        done = training.size * step // self._calls
        self._bar = bar(training.epochs * training.size, done, unit=f" {training.unit}")
        self._start, self._items = None, 0  # counted from the end of the first call on, most of whose time is that of compiling

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def show(self, step, items, loss):
        epoch = step // self._calls + 1
        self._bar.set_description(f"epoch {epoch} of {self._epochs}", refresh=False)
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update(items)
        if self._start is None:
            self._start = time.monotonic()
            return
        self._items += items
        if self._bar.disable and (step + 1) % self._calls == 0:
            rate = self._items / (time.monotonic() - self._start)
            print(f"epoch {epoch} of {self._epochs}: loss {loss:.4g}, {rate:,.0f} {self._unit}/s", flush=True)


def _make_durable(path):
    """A checkpoint survives the loss of power; so must the log up to it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _save(path, format, training, tokenizer, state):
    vectors = WordVectors(tokenizer.words, training.vectors(state), tokenizer.counts)
    vectors.save(path, format)
    return vectors


def _measure(run, corpus, vectors, path, claim):
    """Score the vectors by the sets that are at hand, into tables and claims; nothing is downloaded for that.

    How far the score of a trained model may differ elsewhere is known only from several seeds, so scores are told and not compared.
    """
    facts = {"file": path.name, "words": len(vectors), "dimensions": vectors.vectors.shape[1], "sha256": digest_of(path)}
    run.table("vectors", pd.DataFrame([facts]), tolerance={"sha256": None})
    if corpus.name == "world" and corpus.licence is not None:  # the bundled one, which has its own answer key
        from lmlib.text.world import World

        questions, sets, categories = {"world": World().analogies()}, (), {"world": classes_of_world(World())}
    else:
        questions, sets, categories = _sets(language_of(vectors.words, vectors.counts))

    found = {(name, method): analogies(vectors, asked, method) for name, asked in questions.items() for method in METHODS}
    for (name, method), score in found.items():
        told = ("analogy" if len(questions) == 1 else f"analogy_{name}") + ("" if method == "3cosadd" else f"_{method}")
        _state(run, claim, told, score.total.accuracy, "accuracy", score.total.covered, score.total.total)
    if found:
        by_set = {name: _stacked("method", {method: found[name, method].frame() for method in METHODS}) for name in questions}
        run.table("analogies", _stacked("set", by_set), tolerance={"accuracy": None, "correct": None})

    found = {name: similarity(vectors, similarity_set(name)) for name in sets}
    for name, score in found.items():
        _state(run, claim, name, score.spearman, "Spearman ρ", score.covered, score.n)
    if found:
        table = _stacked("set", {name: score.frame() for name, score in found.items()})
        run.table("similarity", table, tolerance={"spearman": None, "pearson": None})

    found = {name: categorisation(vectors, classes) for name, classes in categories.items() if _clusters(vectors, classes)}
    for name, score in found.items():
        _state(run, claim, f"purity_{name}", score.purity, "purity", len(score.words), score.n)
    if found:
        table = _stacked("set", {name: score.frame() for name, score in found.items()})
        run.table("categorisation", table, tolerance={"purity": None, "sd": None, "chance": None})


def _sets(language):
    """The published sets of a language that are at hand: {name: analogy questions}, names of similarity sets, {name: classes of words}."""
    wanted = ("wordsim-zh", "ca8") if language == "zh" else ("analogy-en", "wordsim-en", "weat")
    here = {name for name in wanted if where(name, registry()[name]) in ("LMLIB_DATA", "cache")}
    if missing := [name for name in wanted if name not in here]:
        print(f"not measured with {' and '.join(missing)}: not at hand (`lmlib corpora` tells where corpora are looked for)")
    if language == "zh":
        questions = {name: analogy_questions(name) for name in CHINESE_ANALOGY_SETS} if "ca8" in here else {}
        return questions, CHINESE_SIMILARITY_SETS if "wordsim-zh" in here else (), {}
    questions = {"google": analogy_questions("google")} if "analogy-en" in here else {}
    categories = {name: category_set(name) for name in CATEGORY_SETS} if {"analogy-en", "weat"} <= here else {}
    return questions, SIMILARITY_SETS if "wordsim-en" in here else (), categories


def _clusters(vectors, classes):
    """Whether at least two of the classes have a word with a vector."""
    return sum(bool(covered_rows(vectors, words)) for words in classes.values()) > 1


def _state(run, claim, name, value, unit, covered, n):
    """Print a score, and claim it if that is wanted and there is one: where nothing is covered there is none."""
    print(f"{name}: {unit} {value:.3f} ({covered:,} of {n:,} covered)")
    if claim is not None and not math.isnan(value):
        run.claim(f"{claim}_{name}", value, unit=unit, better="high")


def _stacked(column, frames):
    """Frames below one another, with their names as a first column."""
    return pd.concat([frame.assign(**{column: name})[[column, *frame.columns]] for name, frame in frames.items()], ignore_index=True)

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
import time
from pathlib import Path

import pandas as pd

from lmlib.config import to_dict
from lmlib.errors import LmlibError, UnknownNameError, nearest
from lmlib.learn import checkpoint
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
from lmlib.record.resuming import check_arguments, check_folder, first_state, train
from lmlib.record.runs import finished_run, open_run
from lmlib.record.show import progress
from lmlib.text.corpora import registry
from lmlib.text.fetch import where
from lmlib.text.phrases import phrase_corpus
from lmlib.text.store import write_tokens
from lmlib.text.tokenizer_base import check_count
from lmlib.text.tokenizers import WordTokenizer

VECTORS = {"word2vec": "vectors.txt", "word2vec-binary": "vectors.bin", "glove": "vectors.glove.txt"}  # format → file


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
    check_arguments(seed, save_every)
    if format not in VECTORS:
        raise UnknownNameError(f"unknown format {format!r} of word vectors{nearest(format, VECTORS)} (formats: {', '.join(VECTORS)})")
    settings = {"model": method, "config": config, "words": dict(words), "split": corpus.split, "text": text, "chunk": chunk}
    if phrases:
        settings["phrases"] = list(phrases)
        corpus = phrase_corpus(corpus, phrases, **{name: words.pop(name) for name in ("normalisation", "segmentation") if name in words})
    given = {"parameters": settings, "seeds": [seed], "corpus": corpus}
    path = folder / VECTORS[format]

    known = check_folder(folder, ("tokenizer.json", "tokens", "checkpoints", *VECTORS.values()))
    if known and (run := finished_run(folder, **given)):
        recorded = run.table("vectors").set_index("file")["sha256"]
        if not path.exists() or digest_of(path) != recorded.get(path.name):
            tokenizer = WordTokenizer.load(folder / "tokenizer.json")
            training = methods.METHODS[method].begin(config, tokenizer, _tokens(corpus, tokenizer, folder, text), chunk, folder, seed)
            state = first_state(training, seed)
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
        state = train(run, training, seed, meta, save_every)
        vectors = _save(path, format, training, tokenizer, state)
        if not known:  # the work of a run that was interrupted is not known
            run.time("core_seconds", time.process_time() - work)  # from the ids to the vectors, in this process
        _measure(run, corpus, vectors, path, claim)
    print(f"vectors: {path}")
    return path


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

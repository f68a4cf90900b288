"""The peer's side of the word2vec benchmark: gensim in its fastest mode (`corpus_file`), a worker thread a core. Runs in .venv-peers."""

import logging
import platform
import time
from importlib.metadata import version

import numpy as np
from gensim.models import Word2Vec, word2vec

from tests.benchmarks.worker import serve

WORKERS = 2
ALGORITHMS = {  # method: what it is to gensim
    "skip-gram-ns": {"sg": 1, "hs": 0},
    "cbow-ns": {"sg": 0, "hs": 0, "cbow_mean": 1},
    "skip-gram-hs": {"sg": 1, "hs": 1, "negative": 0},
}


def describe():
    """Versions, and which of gensim's compiled loops is in use (1: BLAS in single precision, 0: the same, read out in double, -1: slow)."""
    packages = {name: version(name) for name in ("gensim", "numpy", "scipy")}
    return {"name": "gensim", "versions": {"python": platform.python_version()} | packages, "compiled_loops": word2vec.FAST_VERSION}


def run(method, corpus, seed, output, epochs, **setting):
    """Train and save vectors in word2vec's binary format, see `train`."""
    return train(Word2Vec(workers=WORKERS, seed=seed, **ALGORITHMS[method], **setting), corpus, output, epochs)


def train(model, corpus, output, epochs):
    """Train a model of gensim that is made but not trained, and save its vectors in word2vec's binary format.

    `seconds` is the time of its `train` alone. gensim counts words in two ways: every word of the corpus, known or not (raw), and the
    words that remain after subsampling (effective), which is the rate that its log shows.
    """
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    model.build_vocab(corpus_file=corpus)
    vocabulary_seconds = time.perf_counter() - start
    start = time.perf_counter()
    effective, raw = model.train(corpus_file=corpus, total_words=model.corpus_total_words, total_examples=model.corpus_count, epochs=epochs)
    seconds = time.perf_counter() - start
    assert np.isfinite(model.wv.vectors).all()
    model.wv.save_word2vec_format(output, binary=True)
    return {
        "seconds": seconds,
        "vocabulary_seconds": vocabulary_seconds,
        "vocabulary": len(model.wv),
        "words": int(sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)),
        "own_count": {"raw": int(raw), "effective": int(effective)},
    }


if __name__ == "__main__":
    serve(describe=describe, run=run)

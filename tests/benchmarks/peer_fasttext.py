"""The peer's side of the fastText benchmark: gensim in its fastest mode (`corpus_file`), a worker thread a core. Runs in .venv-peers.

gensim makes a word's vector from its n-grams anew for every pair and divides their sum by their number without the word's own row, unlike
the authors' program; the vectors that it saves are divided by one more, as the authors' are. Cosines do not see the difference.
"""

import logging
import platform
import time
from importlib.metadata import version

import numpy as np
from gensim.models import FastText, word2vec

from tests.benchmarks.worker import serve

WORKERS = 2


def describe():
    """Versions, and which of gensim's compiled loops is in use (1: BLAS in single precision, 0: the same, read out in double, -1: slow)."""
    packages = {name: version(name) for name in ("gensim", "numpy", "scipy")}
    return {"name": "gensim", "versions": {"python": platform.python_version()} | packages, "compiled_loops": word2vec.FAST_VERSION}


def run(method, corpus, seed, output, epochs, **setting):
    """Train and save vectors in word2vec's binary format; `seconds` is the time of `FastText.train` alone."""
    logging.disable(logging.WARNING)
    model = FastText(sg=1, hs=0, workers=WORKERS, seed=seed, **setting)
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

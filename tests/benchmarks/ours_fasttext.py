"""Our side of the fastText benchmark. Tokens, n-grams and compiled program are made once, by the warm-up, and kept."""

import time
from functools import cache

from lmlib import runtime  # noqa: F401  prepares the process, so it stands before jax

# isort: split
import jax

from lmlib.learn.train import fit
from lmlib.models import fasttext
from lmlib.models.vectors import WordVectors
from lmlib.text.batches import CorpusChunks
from tests.benchmarks.ours_word2vec import CHUNK, compiling, describe, vocabulary
from tests.benchmarks.worker import serve


@cache
def program(corpus, min_count, config):
    """(batches, subwords, train_step, seconds): the same objects for every seed, so that the step is compiled once."""
    tokenizer, store, _ = vocabulary(corpus, min_count)
    batches, start = CorpusChunks(store, CHUNK), time.perf_counter()
    grams = config.subwords(tokenizer.words, tokenizer.counts)
    train_step = fasttext.make_step(config, grams, tokenizer.counts, len(batches))
    return batches, grams, train_step, time.perf_counter() - start


def run(method, corpus, seed, output, epochs, vector_size, window, negative, sample, min_count, **hyper_parameters):
    """Train and save vectors in word2vec's binary format.

    `seconds` runs from the initial values to the finished vectors on the host: making the batches is inside, and compiling too, in the
    first run. Hashing the n-grams counts as building the vocabulary, as it does for the peer.
    """
    tokenizer, _, vocabulary_seconds = vocabulary(corpus, min_count)
    setting = {"dimension": vector_size, "window": window, "negatives": negative, "subsample": sample, "epochs": epochs}
    config = fasttext.FastTextConfig(**setting, **hyper_parameters)
    batches, grams, train_step, subword_seconds = program(corpus, min_count, config)
    init_key, key = jax.random.split(jax.random.key(seed))
    compiling.clear()
    start = time.perf_counter()
    initial = fasttext.init_state(config, grams, init_key)
    for state, _ in fit(train_step, initial, batches, key=key, steps=epochs * len(batches)):  # noqa: B007
        pass
    vectors_VD = fasttext.input_vectors(config, grams, state["params"])
    seconds = time.perf_counter() - start
    WordVectors(tokenizer.words, vectors_VD, tokenizer.counts).save(output, "word2vec-binary")
    return {
        "seconds": seconds,
        "compile_seconds": sum(compiling),
        "vocabulary_seconds": vocabulary_seconds + subword_seconds,
        "vocabulary": len(tokenizer.words),
        "words": int(tokenizer.counts.sum()),
    }


if __name__ == "__main__":
    serve(describe=describe, run=run)

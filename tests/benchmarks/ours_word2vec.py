"""Our side of the word2vec benchmark. Tokens and compiled program are made once, by the warm-up, and kept."""

import time
from functools import cache

from lmlib import runtime
from lmlib.models.vectors import WordVectors
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer
from tests.benchmarks.worker import serve


def describe():
    """The machine as this process sees it, reproducible mode included."""
    return {"name": "lmlib", "machine": runtime.machine()}


@cache
def vocabulary(corpus, min_count):
    """(tokenizer, tokens, seconds) of a prepared corpus, one document a line."""

    def documents():
        with open(corpus, encoding="ascii") as file:
            yield from (line.rstrip("\n") for line in file)

    start = time.perf_counter()
    tokenizer = WordTokenizer.train(documents(), min_count=min_count, unk=None)
    store = write_tokens(documents(), tokenizer)
    return tokenizer, store, time.perf_counter() - start


def run(corpus, seed, output, epochs, vector_size, window, negative, sample, min_count, **hyper_parameters):
    """Train and save vectors in word2vec's binary format; `seconds` runs from the first step to the vectors being on the host."""
    tokenizer, store, vocabulary_seconds = vocabulary(corpus, min_count)
    setting = {"dimensions": vector_size, "window": window, "negatives": negative, "sample": sample, "epochs": epochs}
    vectors_VD, seconds = train_ours(tokenizer, store, seed, **setting, **hyper_parameters)
    WordVectors(tokenizer.words, vectors_VD, tokenizer.counts).save(output, "word2vec-binary")
    return {
        "seconds": seconds,
        "vocabulary_seconds": vocabulary_seconds,
        "vocabulary": len(tokenizer.words),
        "words": int(tokenizer.counts.sum()),
    }


def train_ours(tokenizer, store, seed, *, dimensions, window, negatives, sample, epochs, **hyper_parameters):
    """Train; returns (vectors (V, D), seconds of training)."""
    raise NotImplementedError


if __name__ == "__main__":
    serve(describe=describe, run=run)

"""Our side of the GloVe benchmark. The vocabulary is made once; text is read, counted and laid out anew in every run, as by the peer."""

import time
from functools import cache

from lmlib import runtime  # noqa: F401  prepares the process, so it stands before jax

# isort: split
import jax

from lmlib.learn.train import fit
from lmlib.models import glove
from lmlib.models.vectors import WordVectors
from lmlib.text.cooccurrence import count_cooccurrences
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer
from tests.benchmarks.ours_word2vec import compiling, describe
from tests.benchmarks.worker import serve


def documents(corpus):
    with open(corpus, encoding="ascii") as file:
        yield from (line.rstrip("\n") for line in file)


@cache
def vocabulary(corpus, min_count):
    """(tokenizer, seconds) of a prepared corpus, one document a line."""
    start = time.perf_counter()
    return WordTokenizer.train(documents(corpus), min_count=min_count, unk=None), time.perf_counter() - start


@cache
def program(config):
    """The same function for every seed, so that it is compiled once; the tile is what it must agree on with the batches."""
    return glove.make_step(config)


def run(corpus, seed, output, epochs, vector_size, window, x_max, min_count, **hyper_parameters):
    """Count, train and save vectors in word2vec's binary format.

    `seconds` runs from the text to the finished vectors on the host: `counting_seconds` of it until the counts are there,
    `ordering_seconds` for tiles and groups, the rest training. Compiling is inside in the first run.
    """
    tokenizer, vocabulary_seconds = vocabulary(corpus, min_count)
    config = glove.GloVeConfig(dimension=vector_size, window=window, x_max=x_max, epochs=epochs, **hyper_parameters)
    compiling.clear()
    times = [time.perf_counter()]
    counts = count_cooccurrences(write_tokens(documents(corpus), tokenizer), window)
    times.append(time.perf_counter())
    batches = glove.make_batches(config, counts, seed)
    times.append(time.perf_counter())
    init_key, key = jax.random.split(jax.random.key(seed))
    initial = glove.init_state(config, len(tokenizer.words), init_key)
    for state, _ in fit(program(config), initial, batches, key=key, steps=epochs * len(batches)):  # noqa: B007
        pass
    vectors_VD = glove.word_vectors(config, state["params"], len(tokenizer.words))
    times.append(time.perf_counter())
    WordVectors(tokenizer.words, vectors_VD, tokenizer.counts).save(output, "word2vec-binary")
    return {
        "seconds": times[3] - times[0],
        "counting_seconds": times[1] - times[0],
        "ordering_seconds": times[2] - times[1],
        "training_seconds": times[3] - times[2],
        "compile_seconds": sum(compiling),
        "vocabulary_seconds": vocabulary_seconds,
        "vocabulary": len(tokenizer.words),
        "cells": len(counts),
    }


if __name__ == "__main__":
    serve(describe=describe, run=run)

"""Our side of the word2vec benchmark. Tokens and compiled program are made once, by the warm-up, and kept."""

import importlib
import time
from functools import cache

from lmlib import runtime  # prepares the process, so it stands before jax

# isort: split
import jax
import jax.monitoring

from lmlib.learn.train import fit
from lmlib.models.vectors import WordVectors
from lmlib.text.batches import CorpusChunks
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer
from tests.benchmarks.worker import serve

CHUNK = 1 << 20  # tokens, as in `lmlib train`
MODELS = {  # method: module of lmlib.models, its config and what is fixed in it
    "skip-gram-ns": ("word2vec", "SkipGramConfig", {}),
    "cbow-ns": ("cbow", "CBOWConfig", {}),
    "skip-gram-hs": ("hierarchical", "HierarchicalConfig", {"architecture": "skip-gram"}),
}


def describe():
    """The machine as this process sees it, reproducible mode included."""
    return {"name": "lmlib", "machine": runtime.machine()}


compiling = []  # seconds of every stage of every compilation of this process
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiling.append(seconds) if event.startswith("/jax/core/compile/") else None
)


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


@cache
def program(corpus, min_count, model, config):
    """(batches, train_step): the same objects for every seed, so that the step is compiled once."""
    tokenizer, store, _ = vocabulary(corpus, min_count)
    batches = CorpusChunks(store, CHUNK)
    return batches, model.make_step(config, tokenizer.counts, len(batches))


def run(method, corpus, seed, output, epochs, vector_size, window, sample, min_count, negative=None, **hyper_parameters):
    """Train and save vectors in word2vec's binary format.

    `seconds` runs from the initial values to the finished vectors on the host: making the batches is inside, and compiling too, in the
    first run.
    """
    tokenizer, _, vocabulary_seconds = vocabulary(corpus, min_count)
    name, config_class, fixed = MODELS[method]
    model = importlib.import_module(f"lmlib.models.{name}")
    setting = {"dimension": vector_size, "window": window, "subsample": sample, "epochs": epochs} | fixed
    if negative is not None:
        setting["negatives"] = negative
    config = getattr(model, config_class)(**setting, **hyper_parameters)
    batches, train_step = program(corpus, min_count, model, config)
    init_key, key = jax.random.split(jax.random.key(seed))
    compiling.clear()
    start = time.perf_counter()
    initial = model.init_state(config, len(tokenizer.words), init_key)
    for state, _ in fit(train_step, initial, batches, key=key, steps=epochs * len(batches)):  # noqa: B007
        pass
    vectors_VD = model.input_vectors(config, state["params"])
    seconds = time.perf_counter() - start
    WordVectors(tokenizer.words, vectors_VD, tokenizer.counts).save(output, "word2vec-binary")
    return {
        "seconds": seconds,
        "compile_seconds": sum(compiling),
        "vocabulary_seconds": vocabulary_seconds,
        "vocabulary": len(tokenizer.words),
        "words": int(tokenizer.counts.sum()),
    }


if __name__ == "__main__":
    serve(describe=describe, run=run)

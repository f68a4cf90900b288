"""The methods of `lmlib train`, in one form: from an encoded corpus to batches, a step, a first state, and in the end vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp

from lmlib.models import cbow, fasttext, glove, hierarchical, ppmi, word2vec
from lmlib.record.resuming import Training
from lmlib.text.batches import CorpusChunks
from lmlib.text.cooccurrence import count_cooccurrences


@dataclass(frozen=True)
class Method:
    """A way to make word vectors."""

    config: type  # a frozen dataclass
    begin: Callable  # (config, tokenizer, store, chunk, folder, seed) -> Training


def _by_chunks(module):
    """`begin` of the relatives of word2vec, whose batches are chunks of the corpus."""

    def begin(config, tokenizer, store, chunk, folder, seed):
        batches = CorpusChunks(store, chunk)
        return Training(
            batches,
            config.epochs,
            config.epochs * len(batches),
            module.make_step(config, tokenizer.counts, len(batches)),
            lambda key: module.init_state(config, len(tokenizer.words), key),
            lambda state: module.input_vectors(config, state["params"]),
            size=len(store.ids),
        )

    return begin


def _fasttext(config, tokenizer, store, chunk, folder, seed):
    """`begin` of fastText; when the vectors are made, those of the n-grams are saved beside them, in the folder `subwords`."""
    batches, words = CorpusChunks(store, chunk), tokenizer.words
    grams = config.subwords(words, tokenizer.counts)

    def vectors(state):
        found = fasttext.subword_vectors(config, words, grams, state["params"], tokenizer.counts)
        found.save(folder / "subwords")
        return found.known.vectors

    return Training(
        batches,
        config.epochs,
        config.epochs * len(batches),
        fasttext.make_step(config, grams, tokenizer.counts, len(batches)),
        lambda key: fasttext.init_state(config, grams, key),
        vectors,
        size=len(store.ids),
    )


def _glove(config, tokenizer, store, chunk, folder, seed):
    """`begin` of GloVe, whose batches are cells of the matrix of counts; the counts are made again where a run is resumed."""
    batches = glove.make_batches(config, count_cooccurrences(store, config.window, folder=folder / "cooccurrence"), seed)
    return Training(
        batches,
        config.epochs,
        config.epochs * len(batches),
        glove.make_step(config),
        lambda key: glove.init_state(config, len(tokenizer.words), key),
        lambda state: glove.word_vectors(config, state["params"], len(tokenizer.words)),
        unit="cells",
        size=batches.cells,
    )


def _ppmi(config, tokenizer, store, chunk, folder, seed):
    """`begin` of PPMI and its SVD, which has nothing to learn step by step."""
    counts = count_cooccurrences(store, config.window, folder=folder / "cooccurrence")

    def vectors(state):
        return ppmi.ppmi_vectors(config, tokenizer.words, counts.triplets(), tokenizer.counts).vectors

    return Training((), 0, 0, None, lambda key: {"step": jnp.int32(0)}, vectors)


METHODS = {
    "word2vec": Method(word2vec.SkipGramConfig, _by_chunks(word2vec)),
    "cbow": Method(cbow.CBOWConfig, _by_chunks(cbow)),
    "hierarchical": Method(hierarchical.HierarchicalConfig, _by_chunks(hierarchical)),
    "glove": Method(glove.GloVeConfig, _glove),
    "fasttext": Method(fasttext.FastTextConfig, _fasttext),
    "ppmi": Method(ppmi.PPMIConfig, _ppmi),
}

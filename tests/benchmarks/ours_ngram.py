"""Our side of the n-gram benchmark. What is compiled is compiled by the warm-up and kept."""

import time

from lmlib import runtime  # prepares the process, so it stands before jax

# isort: split
import jax
import jax.monitoring
import numpy as np

from lmlib.models.arpa import read_arpa, write_arpa
from lmlib.models.base import compiled
from lmlib.models.ngram import NgramConfig, running_text, train
from lmlib.text.store import TokenStore, write_tokens
from lmlib.text.tokenizers import WordTokenizer
from tests.benchmarks.worker import serve


def describe():
    """The machine as this process sees it, reproducible mode included."""
    return {"name": "lmlib", "machine": runtime.machine()}


compiling = []  # seconds of every stage of every compilation of this process
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiling.append(seconds) if event.startswith("/jax/core/compile/") else None
)
loaded = {}  # tokenizer and compiled score of the file that `load` read


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def estimate(corpus, output):
    """Write modified KN5 of a corpus, a sentence a line, as an ARPA file."""
    lines = lines_of(corpus)
    tokenizer = WordTokenizer.train(lines, specials=("<s>", "</s>"))
    bos, eos = tokenizer.special("<s>"), tokenizer.special("</s>")
    start = time.perf_counter()
    model = train(NgramConfig.paper(tokenizer.vocab_size, bos=bos, eos=eos), write_tokens(lines, tokenizer, after="</s>"))
    seconds = time.perf_counter() - start
    write_arpa(output, model, tokenizer.tokens)
    return {"seconds": seconds, "ngrams": [len(table.word) for table in model.tables()]}


def load(arpa, corpus):
    """Read an ARPA file, for the tokenizer of the corpus that it was made of."""
    tokenizer = WordTokenizer.train(lines_of(corpus), specials=("<s>", "</s>"))
    start = time.perf_counter()
    model, _ = read_arpa(arpa, tokenizer.tokens)
    loaded.update(tokenizer=tokenizer, eos=model.eos, score=compiled(model, "score"))
    return {"seconds": time.perf_counter() - start}


def score_lines(text):
    """Score a file, a sentence a line. `seconds` runs from the lines as strings to the sum of their log-probabilities,
    `call_seconds` is the compiled call alone."""
    lines = lines_of(text)
    compiling.clear()
    start = time.perf_counter()
    encoded = loaded["tokenizer"].encode_batch(lines, after="</s>")
    store = TokenStore(np.concatenate(encoded), np.cumsum([0, *map(len, encoded)]), loaded["tokenizer"].vocab_size)
    row = running_text(store, loaded["eos"])
    called = time.perf_counter()
    logp = float(np.asarray(loaded["score"](row["tokens"], row["lengths"])).sum(dtype=np.float64))
    end = time.perf_counter()
    seconds = {"seconds": end - start, "call_seconds": end - called, "compile_seconds": sum(compiling)}
    return seconds | {"logp": logp, "tokens": len(store.ids)}


def learn_and_score(corpus, text, order, discount):
    """Interpolated Kneser-Ney of a running text, then the score of another, the first `order` - 1 words of which are only read.

    `seconds` runs from the texts as strings to the sum of the log-probabilities; in the first run, compiling is inside.
    """
    (learnt,), (read,) = lines_of(corpus), lines_of(text)
    compiling.clear()
    start = time.perf_counter()
    tokenizer = WordTokenizer.train([learnt], specials=("<s>", "</s>"))
    bos, eos = tokenizer.special("<s>"), tokenizer.special("</s>")
    discounts = ((0.0,), *((discount,),) * (order - 1))  # NLTK does not discount unigrams
    config = NgramConfig(tokenizer.vocab_size, order, "kneser_ney", bos=bos, eos=eos, discounts=discounts)
    model = train(config, write_tokens([learnt], tokenizer))
    tokens = tokenizer.encode(read).astype(np.int32)[None]
    logp = np.asarray(compiled(model, "score")(tokens, np.array([tokens.size])))[0, order - 1 :]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "compile_seconds": sum(compiling), "logp": float(logp.sum(dtype=np.float64)), "tokens": len(logp)}


def run(task, **arguments):
    return {"learn": learn_and_score, "score": score_lines}[task](**arguments)


if __name__ == "__main__":
    serve(describe=describe, estimate=estimate, load=load, run=run)

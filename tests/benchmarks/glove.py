"""GloVe on a slice of Wikipedia: lmlib and the authors' C program, speed at equal quality.

Cells per second, the same for both sides: the non-zero cells of the matrix of counts times iterations, divided by the seconds from the
text to the vectors with the vocabulary given: reading and counting, bringing the cells into an order, training. The program is found
through the variable PEER_GLOVE, the folder of its compiled vocab_count, cooccur, shuffle and glove; without it ours runs alone. Setting
and quality as in `word2vec.py`; window, x_max and iterations are those of the program's demonstration but for its window of 15.
"""

import json
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from lmlib.errors import LmlibError
from lmlib.models.vectors import WordVectors
from lmlib.text.corpora import open_corpus
from tests.benchmarks import harness, word2vec

EPOCHS = 15
SETTING = {"vector_size": 100, "window": 10, "x_max": 10.0, "min_count": 5}
PROGRAMS = ("vocab_count", "cooccur", "shuffle", "glove")
TUNING = harness.ROOT / "results" / "benchmarks" / "tuning_glove.json"


def workers():
    """The two sides, started; see `word2vec.workers`. The peer is None where PEER_GLOVE is not set."""
    environment = {"LMLIB_REPRODUCIBLE": "1", "LMLIB_JAX_CACHE": "0", "TQDM_DISABLE": "1"}
    folder = os.environ.get("PEER_GLOVE")
    if folder and (missing := [name for name in PROGRAMS if not os.access(Path(folder) / name, os.X_OK)]):
        raise LmlibError(f"PEER_GLOVE={folder} has no program {', '.join(missing)}: compile the GloVe programs there, or unset it")
    ours = harness.Worker("ours", [sys.executable, "-m", "tests.benchmarks.ours_glove"], environment)
    if not folder:
        print("PEER_GLOVE is not set: ours runs alone (set it to the folder of the compiled GloVe programs)", file=sys.stderr)
        return ours, None
    return ours, harness.Worker("peer", [sys.executable, "-m", "tests.benchmarks.peer_glove", Path(folder).resolve()])


def chosen_parameters(sides):
    """{side: the rate that `tune_glove.py` chose for it}."""
    chosen = json.loads(TUNING.read_text(encoding="utf-8"))["chosen"] if TUNING.exists() else {}
    if missing := [side for side in sides if side not in chosen]:
        raise LmlibError(f"the rates of GloVe are not chosen: run `python -m tests.benchmarks.tune_glove {' '.join(missing)}`")
    return chosen


def run(pairs=5):
    """Run the benchmark; returns the result that the harness writes."""
    ours, peer = workers()
    with ours, peer or nullcontext(), tempfile.TemporaryDirectory() as folder:
        chosen = chosen_parameters(["ours", "peer"] if peer else ["ours"])
        text = f"{folder}/corpus.txt"
        corpus = word2vec.prepare(open_corpus(word2vec.CORPUS), text)
        facts = {worker.name: worker.call("describe") for worker in (ours, peer) if worker}
        row = measure(chosen, ours, peer, facts, text, corpus, folder, pairs)
    machine = facts["ours"]["machine"]
    versions = {"ours": machine.pop("versions"), "peer": facts["peer"]["versions"] if peer else None}
    return {"benchmark": "glove", "machine": machine | {"pinned": harness.pinned()}, "versions": versions, "rows": [row]}


def measure(chosen, ours, peer, facts, text, corpus, folder, pairs):
    """Train both sides in turn; returns the row of the result. Arguments as for `word2vec.row`; the peer may be None."""

    def output(side, seed):
        return f"{folder}/{side}-{seed}.bin"

    def arguments(worker, seed):
        epochs = 1 if worker is peer and not seed else EPOCHS  # nothing compiles there: to warm up is to read the files once
        common = {"corpus": text, "seed": seed, "output": output(worker.name, seed), "epochs": epochs}
        return common | SETTING | chosen[worker.name]

    runs = dict(zip(("ours", "peer"), harness.alternate(ours, peer, arguments, pairs=pairs), strict=True))
    runs = {side: of for side, of in runs.items() if of}
    vocabulary = WordVectors.load(output("ours", 1)).words
    scores = {side: [word2vec.quality(output(side, seed), vocabulary) for seed in range(1, pairs + 1)] for side in runs}
    counts = {(r["cells"], r["vocabulary"]) for side in runs.values() for r in side}
    if len(counts) > 1:
        raise LmlibError(f"the two sides did not train on the same counts: (cells, vocabulary) are {sorted(counts)}")
    ((cells, distinct),) = counts
    rates = {side: [cells * EPOCHS / r["seconds"] for r in of[1:]] for side, of in runs.items()}
    parts = ("seconds", "counting_seconds", "ordering_seconds", "training_seconds", "vocabulary_seconds")
    return harness.row(
        f"GloVe with counting, 100 dimensions, window {SETTING['window']}, {EPOCHS} iterations over {word2vec.CORPUS}",
        "cells/s",
        rates["ours"],
        rates.get("peer"),
        peer_name=facts["peer"]["name"] if peer else "the GloVe C program",
        peer_version=facts["peer"]["versions"]["glove"] if peer else None,
        quality={side: {name: harness.over_seeds([s[name] for s in of]) for name in of[0]} for side, of in scores.items()},
        seeds=list(range(1, pairs + 1)),
        beside={
            side: {"hyper_parameters": chosen[side]}
            | {part: harness.spread([r[part] for r in of[1:]]) for part in parts}
            | {key: of[0][key] for key in ("compile_seconds",) if key in of[0]}
            for side, of in runs.items()
        },
        corpus=corpus | {"cells": cells, "vocabulary": distinct},
        setting=SETTING | {"epochs": EPOCHS},
    )

"""word2vec on a slice of Wikipedia, a row for each of its methods: lmlib and gensim, speed at equal quality.

Words per second, the same for both sides: the words of the corpus that are in the vocabulary (before subsampling) times epochs, divided by
the seconds that training takes. Building the vocabulary and compiling are measured too, and stand beside. The quality of both
sides is scored by `lmlib.measure` on the vectors that each side saved. How gensim itself counts words is in `peer_gensim.py`.
"""

import hashlib
import json
import re
import sys
import tempfile

from lmlib.errors import LmlibError
from lmlib.measure.embeddings import analogies, analogy_questions, similarity, similarity_set
from lmlib.models.vectors import WordVectors
from lmlib.text.corpora import open_corpus
from tests.benchmarks import harness

CORPUS = "enwiki-2018-slice"
EPOCHS = 3
SETTING = {"vector_size": 100, "window": 5, "sample": 1e-3, "min_count": 5}
METHODS = {  # what each side makes of a name stands in `ours_word2vec.py` and `peer_gensim.py`
    "skip-gram-ns": ("skip-gram, 5 negatives", {"negative": 5}),
    "cbow-ns": ("CBOW, 5 negatives", {"negative": 5}),
    "skip-gram-hs": ("skip-gram, hierarchical softmax", {}),
}
RESTRICT = 30_000  # analogies: answers are looked for among the most frequent words, as in the papers
TUNING = harness.ROOT / "results" / "benchmarks" / "tuning_word2vec.json"


def prepare(corpus, path):
    """Write a corpus as the benchmark wants it: one document a line, lower case, all but a–z and 0–9 a space.

    Args:
      corpus: an opened Corpus; `<unk>`, where a corpus has it, is a mark and not a word, and goes.
      path: file to write.

    Returns:
      {"name", "documents", "tokens", "sha256"} of the text written.
    """
    documents = tokens = 0
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for document in corpus.documents():
            line = re.sub("[^a-z0-9]+", " ", document.replace("<unk>", " ").lower()).strip()
            if line:
                documents, tokens = documents + 1, tokens + line.count(" ") + 1
                digest.update(data := line.encode() + b"\n")
                file.write(data)
    return {"name": corpus.name, "documents": documents, "tokens": tokens, "sha256": digest.hexdigest()}


def similarities(vectors, names):
    """{name: Spearman correlation} of vectors on word-similarity sets."""
    return {name: similarity(vectors, similarity_set(name)).spearman for name in names}


def quality(path, words):
    """The scores of the bar: WordSim-353 (Spearman) and Google's analogies (3CosAdd, accuracy over the covered questions).

    Args:
      path: saved vectors.
      words: the vocabulary, most frequent first. It puts both sides into one order, since they break ties of frequency differently and
        `restrict` would cut them differently.
    """
    found = WordVectors.load(path)
    vectors = WordVectors(words, found.vectors[[found.row(word) for word in words]])
    return similarities(vectors, ["ws353"]) | {"analogies": analogies(vectors, analogy_questions(), restrict=RESTRICT).total.accuracy}


def workers():
    """The two sides, started: ours in reproducible mode and without a cache of compiled programs, so that compiling shows."""
    if not harness.PEERS.exists():
        raise LmlibError("gensim is not installed: run `make peers` first (`make bench` does)")
    environment = {"LMLIB_REPRODUCIBLE": "1", "LMLIB_JAX_CACHE": "0", "TQDM_DISABLE": "1"}
    ours = harness.Worker("ours", [sys.executable, "-m", "tests.benchmarks.ours_word2vec"], environment)
    return ours, harness.Worker("peer", [harness.PEERS, "-m", "tests.benchmarks.peer_gensim"])


def chosen_parameters(method):
    """{"ours", "peer"}: what `tune_word2vec.py` chose for both sides.

    Raises:
      LmlibError: it was not run for this method.
    """
    tuned = json.loads(TUNING.read_text(encoding="utf-8"))["methods"].get(method, {}).get("chosen", {})
    if missing := {"ours", "peer"} - tuned.keys():
        raise LmlibError(
            f"the rates of {method} are not chosen: run `python -m tests.benchmarks.tune_word2vec {method}` ({', '.join(missing)})"
        )
    return tuned


def run(pairs=5):
    """Run the benchmark; returns the result that the harness writes."""
    chosen = {method: chosen_parameters(method) for method in METHODS}
    ours, peer = workers()
    with ours, peer, tempfile.TemporaryDirectory() as folder:
        text = f"{folder}/corpus.txt"
        corpus = prepare(open_corpus(CORPUS), text)
        facts = {worker.name: worker.call("describe") for worker in (ours, peer)}
        rows = [row(method, chosen[method], ours, peer, facts, text, corpus, folder, pairs) for method in METHODS]
    machine = facts["ours"]["machine"]
    versions = {"ours": machine.pop("versions"), "peer": facts["peer"]["versions"]}
    return {"benchmark": "word2vec", "machine": machine | {"pinned": harness.pinned()}, "versions": versions, "rows": rows}


def row(method, chosen, ours, peer, facts, text, corpus, folder, pairs, methods=None):
    """Train both sides by one method, in turn; returns the row of the result.

    Args:
      method: a name in METHODS.
      chosen: from `chosen_parameters`.
      ours, peer: the workers.
      facts: {"ours", "peer"}: how they describe themselves.
      text, corpus: the path of the prepared corpus, and what `prepare` said of it.
      folder: where the vectors go.
      pairs: how many runs of each side are measured.
      methods: METHODS of another benchmark.
    """
    case, more = (methods or METHODS)[method]
    setting = SETTING | more

    def output(side, seed):
        return f"{folder}/{method}-{side}-{seed}.bin"

    def arguments(worker, seed):
        common = {"method": method, "corpus": text, "seed": seed, "output": output(worker.name, seed), "epochs": EPOCHS}
        return common | setting | chosen[worker.name]

    print(case, flush=True)
    runs = dict(zip(("ours", "peer"), harness.alternate(ours, peer, arguments, pairs=pairs), strict=True))
    vocabulary = WordVectors.load(output("ours", 1)).words
    scores = {side: [quality(output(side, seed), vocabulary) for seed in range(1, pairs + 1)] for side in runs}
    counts = {(r["words"], r["vocabulary"]) for side in runs.values() for r in side}
    if len(counts) > 1:
        raise LmlibError(f"the two sides did not train on the same words: (words, vocabulary) are {sorted(counts)}")
    ((words, distinct),) = counts
    rates = {side: [words * EPOCHS / r["seconds"] for r in results[1:]] for side, results in runs.items()}
    return harness.row(
        f"{case}, 100 dimensions, {EPOCHS} epochs of {CORPUS}",
        "words/s",
        rates["ours"],
        rates["peer"],
        peer_name=facts["peer"]["name"],
        peer_version=facts["peer"]["versions"]["gensim"],
        quality={side: {name: harness.over_seeds([s[name] for s in of]) for name in of[0]} for side, of in scores.items()},
        seeds=list(range(1, pairs + 1)),
        beside={
            side: {
                "hyper_parameters": chosen[side],
                "training_seconds": harness.spread([r["seconds"] for r in results[1:]]),
                "vocabulary_seconds": harness.spread([r["vocabulary_seconds"] for r in results]),
                "first_run_seconds": results[0]["seconds"],
            }
            | {key: results[0][key] for key in ("compile_seconds", "own_count") if key in results[0]}
            for side, results in runs.items()
        },
        corpus=corpus | {"words_in_vocabulary": words, "vocabulary": distinct},
        setting=setting | {"epochs": EPOCHS},
    )

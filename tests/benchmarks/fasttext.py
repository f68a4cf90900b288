"""fastText's word vectors on a slice of Wikipedia: lmlib and gensim, speed at equal quality. Counted and scored as in `word2vec.py`."""

import json
import sys
import tempfile

from lmlib.errors import LmlibError
from lmlib.text.corpora import open_corpus
from tests.benchmarks import harness, word2vec

METHODS = {"fasttext": ("skip-gram over n-grams of 3 to 6 characters in 2 million buckets, 5 negatives", {"negative": 5})}
TUNING = harness.ROOT / "results" / "benchmarks" / "tuning_fasttext.json"


def workers():
    """The two sides, started; see `word2vec.workers`."""
    if not harness.PEERS.exists():
        raise LmlibError("gensim is not installed: run `make peers` first (`make bench` does)")
    environment = {"LMLIB_REPRODUCIBLE": "1", "LMLIB_JAX_CACHE": "0", "TQDM_DISABLE": "1"}
    ours = harness.Worker("ours", [sys.executable, "-m", "tests.benchmarks.ours_fasttext"], environment)
    return ours, harness.Worker("peer", [harness.PEERS, "-m", "tests.benchmarks.peer_fasttext"])


def run(pairs=5):
    """Run the benchmark; returns the result that the harness writes."""
    if not TUNING.exists() or {"ours", "peer"} - (chosen := json.loads(TUNING.read_text(encoding="utf-8"))["chosen"]).keys():
        raise LmlibError("the rates of fastText are not chosen: run `python -m tests.benchmarks.tune_fasttext`")
    ours, peer = workers()
    with ours, peer, tempfile.TemporaryDirectory() as folder:
        text = f"{folder}/corpus.txt"
        corpus = word2vec.prepare(open_corpus(word2vec.CORPUS), text)
        facts = {worker.name: worker.call("describe") for worker in (ours, peer)}
        row = word2vec.row("fasttext", chosen, ours, peer, facts, text, corpus, folder, pairs, METHODS)
    machine = facts["ours"]["machine"]
    versions = {"ours": machine.pop("versions"), "peer": facts["peer"]["versions"]}
    return {"benchmark": "fasttext", "machine": machine | {"pinned": harness.pinned()}, "versions": versions, "rows": [row]}

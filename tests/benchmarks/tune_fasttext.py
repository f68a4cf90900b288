"""Choose the learning rates (and what else is free) of both sides of the fastText benchmark, by the rule of `tune_word2vec.py`.

    python -m tests.benchmarks.tune_fasttext peer ours     # which sides; both where none is named

Text, score and rule are those of `tune_word2vec.py`, with three of its seeds, since both sides are slow. The fastest point of our grid is
the one with the most blocks a step.
"""

import json
import sys

from lmlib.text.corpora import open_corpus
from tests.benchmarks import fasttext, harness, word2vec
from tests.benchmarks.tune_word2vec import SEEDS, choose, search

GRIDS = {
    "fasttext": {
        "peer": [{"alpha": alpha} for alpha in (0.025, 0.05, 0.1)],
        "ours": [
            {"learning_rate": rate, "crowd": crowd, "blocks": blocks, "parts": blocks // 64}
            for blocks in (1024, 2048)
            for crowd, rate in ((4.0, 0.075), (4.0, 0.1), (4.0, 0.15), (8.0, 0.1))
        ],
    }
}


def main(arguments):
    path = fasttext.TUNING
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"grids": {}, "chosen": {}}
    folder = harness.ROOT / "runs" / "tuning_fasttext"
    folder.mkdir(parents=True, exist_ok=True)
    result["corpus"] = word2vec.prepare(open_corpus("wikitext-2", "train"), folder / "corpus.txt")
    result["setting"] = word2vec.SETTING | fasttext.METHODS["fasttext"][1] | {"epochs": word2vec.EPOCHS, "seeds": SEEDS[:3]}
    ours, peer = fasttext.workers()
    with ours, peer:
        for side, worker in (("peer", peer), ("ours", ours)):
            if arguments and side not in arguments:
                continue
            rows = search("fasttext", side, worker, folder / "corpus.txt", folder, GRIDS, fasttext.METHODS, SEEDS[:3])
            result["grids"][side] = rows
            result["chosen"][side] = choose(rows, lambda point: -point.get("blocks", 0))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(harness.rounded(result), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

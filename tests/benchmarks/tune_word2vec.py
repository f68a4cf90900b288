"""Choose the learning rates (and what else is free) of both sides of the word2vec benchmark, on other text and other tests than its own.

    python -m tests.benchmarks.tune_word2vec peer ours

Text: the training part of wikitext-2, prepared as in the benchmark. Score: the Spearman correlations on SimLex-999 and RG-65 pooled as
correlations are (Fisher's z, weighted by covered pairs - 3), averaged over five seeds. `choose` says which point is taken. Rule and
seeds were fixed before any run with them. Vectors are kept in runs/, so that an interrupted search goes on where it was.
"""

import json
import math
import sys

from lmlib.errors import LmlibError
from lmlib.measure.embeddings import similarity, similarity_set
from lmlib.models.vectors import WordVectors
from lmlib.text.corpora import open_corpus
from tests.benchmarks import harness, word2vec

SEEDS = (11, 12, 13, 14, 15)
SETS = ("simlex999", "rg65")
GRIDS = {
    "peer": [{"alpha": alpha} for alpha in (0.025, 0.05, 0.075, 0.1, 0.15, 0.2)],
    "ours": [
        {"learning_rate": rate, "cap": cap, "block": 16, "blocks": 128, "shared_negatives": shared}
        for shared in (24, 32)
        for cap in (8.0, 16.0, 32.0)
        for rate in (0.05, 0.075, 0.1, 0.125, 0.15)
    ],
}


def search(side, worker, text, folder):
    """Score every point of a side's grid; returns the rows, best first, and last the points at which training diverged."""
    rows, diverged = [], []
    for point in GRIDS[side]:
        scores = []
        for seed in SEEDS:
            name = "-".join([side, *(f"{key}{value}" for key, value in point.items()), f"seed{seed}"])
            output = folder / f"{name}.bin"
            if not output.exists():
                part = output.with_suffix(".part")
                try:
                    worker.call("run", corpus=str(text), seed=seed, output=str(part), epochs=word2vec.EPOCHS, **word2vec.SETTING, **point)
                except LmlibError as error:
                    if "NonFiniteError" not in str(error):
                        raise
                    break
                part.replace(output)
            scores.append({name: similarity(WordVectors.load(output), similarity_set(name)) for name in SETS})
        if len(scores) < len(SEEDS):
            diverged.append({"parameters": point, "diverged": True})
            print(side, point, "diverged", flush=True)
            continue
        rows.append(
            {"parameters": point}
            | {name: harness.over_seeds([of[name].spearman for of in scores]) for name in SETS}
            | {"covered": {name: scores[0][name].covered for name in SETS}, "score": harness.over_seeds([pooled(of) for of in scores])}
        )
        print(side, point, {name: round(rows[-1][name]["mean"], 4) for name in (*SETS, "score")}, flush=True)
    return sorted(rows, key=lambda row: -row["score"]["mean"]) + diverged


def pooled(scores):
    """The correlations of one model on several sets as one: the mean of Fisher's z, weighted by its inverse variance, covered pairs - 3."""
    weights = [score.covered - 3 for score in scores.values()]
    return math.tanh(sum(w * math.atanh(score.spearman) for w, score in zip(weights, scores.values(), strict=True)) / sum(weights))


def choose(rows):
    """The parameters taken from a side's grid, by the rule of one standard error (Breiman et al. 1984, section 3.4.3).

    Of the points whose score is within one standard error of the best point's, the fastest: on our side the one with the fewest shared
    negatives; nothing in the peer's grid changes its speed. Among equally fast ones the best.
    """
    rows = [row for row in rows if "score" in row]
    best = max((row["score"] for row in rows), key=lambda score: score["mean"])
    near = [row for row in rows if row["score"]["mean"] >= best["mean"] - best["sd"] / math.sqrt(best["n"])]
    return min(near, key=lambda row: (row["parameters"].get("shared_negatives", 0), -row["score"]["mean"]))["parameters"]


def main(sides):
    path = word2vec.TUNING
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"grids": {}, "chosen": {}}
    folder = harness.ROOT / "runs" / "tuning_word2vec"
    folder.mkdir(parents=True, exist_ok=True)
    result["corpus"] = word2vec.prepare(open_corpus("wikitext-2", "train"), folder / "corpus.txt")
    result["setting"] = word2vec.SETTING | {"epochs": word2vec.EPOCHS, "seeds": SEEDS}
    ours, peer = word2vec.workers()
    with ours, peer:
        for side, worker in (("peer", peer), ("ours", ours)):
            if side in sides:
                result["grids"][side] = search(side, worker, folder / "corpus.txt", folder)
                result["chosen"][side] = choose(result["grids"][side])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(harness.rounded(result), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or list(GRIDS))

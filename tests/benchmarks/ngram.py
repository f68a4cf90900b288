"""n-gram models on Penn Treebank: estimating beside NLTK, and scoring beside KenLM's reader of ARPA files.

Both sides of a row compute the same probabilities, so their quality is one and the same log-likelihood; that it is shows that
the work was the same. KenLM is compiled from source and thus not in the lock of the other peers: without `make kenlm` its row is left out.
"""

import hashlib
import subprocess
import sys
import tempfile
from itertools import chain, islice

from lmlib.errors import LmlibError
from lmlib.text.corpora import open_corpus
from tests.benchmarks import harness

CORPUS = "ptb"
ORDER, DISCOUNT = 5, 0.75
LEARN, HELD_OUT = 50_000, 300  # tokens for NLTK, whose every score goes through all its n-grams


def prepare_running_text(folder):
    """Write the first tokens of the corpus, the ends of lines as words, and those after them; a word that the first have not is <unk>.

    The second file begins with the last ORDER - 1 words of the first, for a context.
    """
    words = (word for line in open_corpus(CORPUS, "train").documents() for word in chain(line.split(), ["<eos>"]))
    learnt, read = list(islice(words, LEARN)), list(islice(words, HELD_OUT))
    known = set(learnt)
    paths = {"corpus": f"{folder}/learn.txt", "text": f"{folder}/read.txt"}
    for path, text in zip(paths.values(), (learnt, learnt[1 - ORDER :] + [w if w in known else "<unk>" for w in read]), strict=True):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(" ".join(text) + "\n")
    return paths


def prepare_lines(split, path):
    """Write a split, a sentence a line, words one space apart; returns its sha256."""
    data = "".join(" ".join(line.split()) + "\n" for line in open_corpus(CORPUS, split).documents()).encode()
    with open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def worker(side, peer=None):
    """A side, started: ours in reproducible mode and without a cache of compiled programs, so that compiling shows."""
    if side == "ours":
        environment = {"LMLIB_REPRODUCIBLE": "1", "LMLIB_JAX_CACHE": "0", "TQDM_DISABLE": "1"}
        return harness.Worker("ours", [sys.executable, "-m", "tests.benchmarks.ours_ngram"], environment)
    return harness.Worker("peer", [harness.PEERS, "-m", "tests.benchmarks.peer_ngram", peer])


def installed(package):
    """Whether the peers' environment has a package."""
    return harness.PEERS.exists() and not subprocess.run([harness.PEERS, "-c", f"import {package}"], capture_output=True).returncode


def same_work(runs):
    """The tokens that both sides scored in every run, and each side's mean log-likelihood a token, to four digits.

    Raises:
      LmlibError: the sides scored other tokens, or found other probabilities.
    """
    tokens = {r["tokens"] for side in runs.values() for r in side}
    means = {side: [r["logp"] / r["tokens"] for r in of] for side, of in runs.items()}
    every = [mean for of in means.values() for mean in of]
    if len(tokens) > 1 or not all(abs(mean - every[0]) <= 1e-4 for mean in every):  # NaN is not, either
        raise LmlibError(f"the two sides did not do the same work: they scored {sorted(tokens)} tokens, with log-likelihoods {means}")
    return tokens.pop(), {side: {"log-likelihood": harness.over_seeds([round(mean, 4) for mean in of[1:]])} for side, of in means.items()}


def beside(runs, **more):
    """What stands beside a row: the seconds of each side's runs, and of its first; of ours also those that compiling took."""
    found = {}
    for side, of in runs.items():
        found[side] = {key: harness.spread([r[key] for r in of[1:]]) for key in ("seconds", "call_seconds") if key in of[0]}
        found[side] |= {"first_run_seconds": of[0]["seconds"]} | {key: value[side] for key, value in more.items()}
        if "compile_seconds" in of[0]:
            found[side]["compile_seconds"] = of[0]["compile_seconds"]
    return found


def beside_nltk(ours, pairs, folder):
    paths = prepare_running_text(folder)
    with worker("peer", "nltk") as peer:
        setting = {"order": ORDER, "discount": DISCOUNT}
        arguments = {"task": "learn", **paths, **setting}
        runs = dict(zip(("ours", "peer"), harness.alternate(ours, peer, lambda *_: arguments, pairs=pairs), strict=True))
        facts = peer.call("describe")
    tokens, quality = same_work(runs)
    row = harness.row(
        f"interpolated Kneser-Ney, order {ORDER}: learn {LEARN:,} tokens of {CORPUS}, score {tokens:,}",
        "s",
        *([r["seconds"] for r in runs[side][1:]] for side in ("ours", "peer")),
        peer_name=facts["name"],
        peer_version=facts["versions"]["nltk"],
        quality=quality,
        better="low",
        beside=beside(runs),
        setting=setting | {"tokens_learnt": LEARN, "tokens_scored": tokens},
    )
    return row, facts["versions"]


def beside_kenlm(ours, pairs, folder):
    corpus, text, arpa = (f"{folder}/{name}" for name in ("train.txt", "test.txt", "kn5.arpa"))
    digests = {"train": prepare_lines("train", corpus), "test": prepare_lines("test", text)}
    made = ours.call("estimate", corpus=corpus, output=arpa)
    with worker("peer", "kenlm") as peer:
        loading = {side.name: side.call("load", arpa=arpa, corpus=corpus)["seconds"] for side in (ours, peer)}
        arguments = {"task": "score", "text": text}
        runs = dict(zip(("ours", "peer"), harness.alternate(ours, peer, lambda *_: arguments, pairs=pairs), strict=True))
        facts = peer.call("describe")
    tokens, quality = same_work(runs)
    row = harness.row(
        f"modified Kneser-Ney, order {ORDER}: score the test split of {CORPUS}, {tokens:,} tokens",
        "tokens/s",
        *([tokens / r["seconds"] for r in runs[side][1:]] for side in ("ours", "peer")),
        peer_name=facts["name"],
        peer_version=facts["versions"]["kenlm"],
        quality=quality,
        beside=beside(runs, read_arpa_seconds=loading),
        ngrams=made["ngrams"],
        estimate_seconds=made["seconds"],
        corpus={"name": CORPUS, "tokens": tokens, "sha256": digests},
    )
    return row, facts["versions"]


def run(pairs=5):
    """Run the benchmark; returns the result that the harness writes."""
    if not installed("nltk"):
        raise LmlibError("NLTK is not installed: run `make peers` first (`make bench` does)")
    peers = [beside_nltk, beside_kenlm]
    if not installed("kenlm"):
        print("KenLM is not installed, its row is left out: `make kenlm` compiles it (needs a C++ compiler and cmake)", file=sys.stderr)
        peers.remove(beside_kenlm)
    with worker("ours") as ours, tempfile.TemporaryDirectory() as folder:
        done = [measure(ours, pairs, folder) for measure in peers]
        machine = ours.call("describe")["machine"]
    versions = {"ours": machine.pop("versions"), "peer": {name: v for _, of in done for name, v in of.items()}}
    return {"benchmark": "ngram", "machine": machine | {"pinned": harness.pinned()}, "versions": versions, "rows": [row for row, _ in done]}

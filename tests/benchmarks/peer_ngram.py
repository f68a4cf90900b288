"""The peers' side of the n-gram benchmark: NLTK, which estimates and scores, and KenLM, which reads an ARPA file and scores. Runs in
.venv-peers."""

import math
import platform
import sys
import time
from importlib.metadata import version

from tests.benchmarks.worker import serve

loaded = {}  # the model of the file that `load` read


def describe():
    name = {"nltk": "NLTK", "kenlm": "KenLM"}[sys.argv[1]]
    return {"name": name, "versions": {"python": platform.python_version(), sys.argv[1]: version(sys.argv[1])}}


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def load(arpa, corpus):
    """Read an ARPA file into KenLM's hash tables, its fastest form."""
    import kenlm

    start = time.perf_counter()
    loaded["model"] = kenlm.Model(arpa)
    return {"seconds": time.perf_counter() - start}


def score_lines(text):
    lines, score = lines_of(text), loaded["model"].score
    start = time.perf_counter()
    logp = sum(score(line, bos=True, eos=True) for line in lines) * math.log(10)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "logp": logp, "tokens": sum(len(line.split()) + 1 for line in lines)}


def learn_and_score(corpus, text, order, discount):
    """NLTK's interpolated Kneser-Ney. The text is fed with one BOS, as on our side, where NLTK's own padding has `order` - 1."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams

    (learnt,), (read,) = lines_of(corpus), lines_of(text)
    start = time.perf_counter()
    words = ["<s>", *learnt.split()]
    model = KneserNeyInterpolated(order, discount=discount)
    model.fit([(gram for gram in everygrams(words, max_len=order) if gram != ("<s>",))], vocabulary_text=words)
    words = read.split()
    logp = [math.log(model.score(words[i], tuple(words[i - order + 1 : i]))) for i in range(order - 1, len(words))]
    return {"seconds": time.perf_counter() - start, "logp": math.fsum(logp), "tokens": len(logp)}


def run(task, **arguments):
    return {"learn": learn_and_score, "score": score_lines}[task](**arguments)


if __name__ == "__main__":
    serve(describe=describe, load=load, run=run)

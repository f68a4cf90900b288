"""The peer's side of the fastText benchmark: gensim in its fastest mode (`corpus_file`), a worker thread a core. Runs in .venv-peers.

gensim makes a word's vector from its n-grams anew for every pair and divides their sum by their number without the word's own row, unlike
the authors' program; the vectors that it saves are divided by one more, as the authors' are. Cosines do not see the difference.
"""

from gensim.models import FastText

from tests.benchmarks.peer_gensim import WORKERS, describe, train
from tests.benchmarks.worker import serve


def run(method, corpus, seed, output, epochs, **setting):
    """Train and save vectors in word2vec's binary format, see `peer_gensim.train`."""
    return train(FastText(sg=1, hs=0, workers=WORKERS, seed=seed, **setting), corpus, output, epochs)


if __name__ == "__main__":
    serve(describe=describe, run=run)

"""The peer's side of the GloVe benchmark: the authors' C programs, with two threads for training (counting knows only one).

python -m tests.benchmarks.peer_glove <folder of vocab_count, cooccur, shuffle and glove>
"""

import hashlib
import platform
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from tests.benchmarks.worker import serve

THREADS = 2
MEMORY = 4.0  # GB, as in the program's demonstration
CELL = 16  # bytes of a cell in the program's files
PROGRAMS = Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def describe():
    """The program has no version of its own: the digest of the compiled one stands for it."""
    digest = hashlib.sha256((PROGRAMS / "glove").read_bytes()).hexdigest()
    return {"name": "the GloVe C program", "versions": {"glove": f"sha256 {digest[:12]}", "python": platform.python_version()}}


def call(program, folder, arguments, stdin=None, stdout=None):
    """Run one of the programs in a folder; returns the seconds that it took."""
    start = time.perf_counter()
    command = [PROGRAMS / program, "-verbose", "0", *(str(part) for pair in arguments.items() for part in pair)]
    with (
        open(stdin or "/dev/null", "rb") as given,
        open(stdout or "/dev/null", "wb") as taken,
    ):
        subprocess.run(command, cwd=folder, stdin=given, stdout=taken, stderr=subprocess.PIPE, check=True)
    return time.perf_counter() - start


@cache
def vocabulary(corpus, min_count):
    """(lines of the program's vocabulary file, seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = call("vocab_count", folder, {"-min-count": min_count}, corpus, f"{folder}/vocab.txt")
        return Path(folder, "vocab.txt").read_text(encoding="ascii"), seconds


def run(corpus, seed, output, epochs, vector_size, window, x_max, min_count, eta):
    """Count, train and save vectors in word2vec's binary format; `seconds` is the time of cooccur, shuffle and glove together."""
    lines, vocabulary_seconds = vocabulary(corpus, min_count)
    words = [line.split()[0] for line in lines.split("\n") if line]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text(lines, encoding="ascii")
        cells, shuffled = f"{folder}/cells.bin", f"{folder}/shuffled.bin"
        counting = call("cooccur", folder, {"-memory": MEMORY, "-window-size": window, "-vocab-file": "vocab.txt"}, corpus, cells)
        ordering = call("shuffle", folder, {"-memory": MEMORY, "-seed": seed + 1}, cells, shuffled)  # 0 would mean the time
        setting = {"-threads": THREADS, "-iter": epochs, "-vector-size": vector_size, "-x-max": x_max, "-eta": eta, "-seed": seed + 1}
        files = {"-input-file": shuffled, "-vocab-file": "vocab.txt", "-save-file": "vectors", "-binary": 1}
        training = call("glove", folder, setting | files)
        rows = np.fromfile(f"{folder}/vectors.bin").reshape(2, len(words), vector_size + 1)  # words, contexts; the bias stands last
        count = Path(cells).stat().st_size // CELL
    vectors = rows[:, :, :-1].sum(axis=0).astype("<f4")
    assert np.isfinite(vectors).all()
    with open(output, "wb") as file:
        file.write(f"{len(words)} {vector_size}\n".encode())
        file.writelines(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, vectors, strict=True))
    return {
        "seconds": counting + ordering + training,
        "counting_seconds": counting,
        "ordering_seconds": ordering,
        "training_seconds": training,
        "vocabulary_seconds": vocabulary_seconds,
        "vocabulary": len(words),
        "cells": count,
    }


if __name__ == "__main__":
    serve(describe=describe, run=run)

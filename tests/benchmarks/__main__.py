"""`python -m tests.benchmarks word2vec`: run a benchmark, print it and write results/benchmarks/<device>/<name>.json."""

import argparse
import importlib
import sys

from lmlib.errors import LmlibError, UnknownNameError, nearest
from tests.benchmarks import harness

NAMES = ("word2vec", "fasttext", "glove", "ngram", "recurrent")  # modules of this folder with a function run(pairs) -> result


def find(name):
    """The module of a benchmark; UnknownNameError lists the names."""
    if name not in NAMES:
        problem = (
            f"no benchmark is called {name!r}{nearest(name, NAMES)}" if name else "name a benchmark, as in `make bench BENCH=word2vec`"
        )
        raise UnknownNameError(f"{problem}; there are: {', '.join(NAMES)}")
    return importlib.import_module(f"tests.benchmarks.{name}")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make bench BENCH=<name>", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help=", ".join(NAMES))
    parser.add_argument("--pairs", type=int, default=5, help="measured runs of each side (default 5)")
    options = parser.parse_args(arguments)
    try:
        result = find(options.name).run(pairs=options.pairs)
        print(harness.table(result))
        print(harness.write(result).relative_to(harness.ROOT))
    except LmlibError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

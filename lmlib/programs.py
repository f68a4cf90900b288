"""The register of compiled programs: every public function that runs on a device, with small arguments to try it on.

A program is registered beside its definition, in one line. `tests/test_programs.py` then lowers it for CPU, CUDA and TPU, looks for
host callbacks and float64, and runs it: a model that is registered is known to run unchanged on all three.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A function under `jax.jit`, and a thunk that makes small example arguments (built only when the program is tried)."""

    name: str
    function: Callable
    example: Callable[[], tuple]


REGISTER: dict[str, Program] = {}


def register(name, function, example):
    """Register a compiled program.

    Args:
      name: "module.function", e.g. "word2vec.train_chunk".
      function: a function wrapped by `jax.jit`.
      example: a function of no arguments that returns the positional arguments of one small call, static ones included.
    """
    REGISTER[name] = Program(name, function, example)

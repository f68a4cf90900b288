"""Every registered program lowers for CPU, CUDA and TPU with no host callback and no float64 inside, and runs here."""

import importlib
import pkgutil

import jax
import pytest

import lmlib
from lmlib.programs import REGISTER

for module in pkgutil.walk_packages(lmlib.__path__, "lmlib."):
    if module.name.split(".")[1] in ("models", "learn", "generate", "beam", "measure"):
        importlib.import_module(module.name)


def test_the_register_is_not_empty():
    assert {"word2vec.train_chunk", "train.run_steps"} <= set(REGISTER)


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_program_lowers_for_three_platforms_and_runs(name):
    program = REGISTER[name]
    lowered = jax.export.export(program.function, platforms=("cpu", "cuda", "tpu"))(*program.example())
    text = lowered.mlir_module()
    assert lowered.platforms == ("cpu", "cuda", "tpu")
    assert "f64" not in text
    assert "callback" not in text
    result = program.function(*program.example())
    leaves = [leaf for leaf in jax.tree.leaves(result) if jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)]
    assert leaves
    assert all(bool(jax.numpy.isfinite(leaf).all()) for leaf in leaves)

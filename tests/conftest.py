"""Strict flags for every test: reproducible mode, ranks that must agree, warnings as errors; real data and soak tests behind markers."""

import os
import signal

os.environ.setdefault("LMLIB_REPRODUCIBLE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import lmlib  # noqa: F401, I001  prepares the process, so it stands before jax
import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)  # for tests/test_mesh.py; all others use the first

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is in a job that a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "data" in item.keywords and not os.environ.get("LMLIB_DATA"):
            item.add_marker(pytest.mark.skip(reason="LMLIB_DATA names no folder of corpora"))
        if "soak" in item.keywords and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="long: run by `make soak`"))


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Every compiled program takes memory maps, of which Linux allows a process 65,530: the whole suite would need more, and die of it."""
    yield
    jax.clear_caches()

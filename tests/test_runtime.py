"""What `import lmlib` sets before jax starts, and what it leaves alone."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lmlib import runtime

SET = ("LMLIB", "NPROC", "XLA", "JAX", *runtime.BLAS)
TELL = """
import json, os, sys
names = ("LMLIB_DATA", "NPROC", "XLA_FLAGS", "JAX_THREEFRY_PARTITIONABLE", "JAX_COMPILATION_CACHE_DIR")
print(json.dumps({name: os.environ.get(name) for name in names}))
"""


def run(code, cwd=None, **variables):
    """Standard output of a fresh process, in which nothing but `variables` is set."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(SET)} | variables
    env["PYTHONPATH"] = str(Path(runtime.__file__).parents[1])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=cwd).stdout


def settings(cwd=None, **variables):
    return json.loads(run(f"import lmlib\n{TELL}", cwd, **variables))


def test_interactive_use_keeps_every_core(tmp_path):
    got = settings(LMLIB_CACHE=str(tmp_path), LMLIB_REPRODUCIBLE="0")
    assert got["NPROC"] is None
    assert got["XLA_FLAGS"] is None
    assert got["JAX_THREEFRY_PARTITIONABLE"] == "True"


def test_reproducible_mode(tmp_path):
    mode = {"LMLIB_CACHE": str(tmp_path), "LMLIB_REPRODUCIBLE": "1"}
    got = settings(**mode, NPROC="2", XLA_FLAGS="--xla_dump_to=x")
    assert got["NPROC"] == runtime.THREADS  # results must not depend on what happened to be set
    told = run("import lmlib, numpy, threadpoolctl; print(*(pool['num_threads'] for pool in threadpoolctl.threadpool_info()))", **mode)
    assert set(told.split()) == {"1"}
    assert got["XLA_FLAGS"] == "--xla_dump_to=x --xla_gpu_deterministic_ops=true"
    chosen = settings(**mode, XLA_FLAGS="--xla_gpu_deterministic_ops=false")
    assert chosen["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=false"


def test_jax_takes_the_settings_whether_it_comes_before_or_after(tmp_path):
    code = """
names = ("threefry_partitionable", "compilation_cache_dir", "persistent_cache_min_compile_time_secs")
print(*(getattr(jax.config, f"jax_{name}") for name in names))
machine = lmlib.runtime.machine()
print(machine["jax_loaded_before_lmlib"], machine["reproducible"])
"""
    variables = {"LMLIB_CACHE": str(tmp_path), "LMLIB_REPRODUCIBLE": "1", "JAX_PLATFORMS": "cpu"}
    before, after = (run(f"{order}{code}", **variables).split("\n") for order in ("import lmlib, jax", "import jax, lmlib"))
    assert before[0].replace("0.0", "0") == after[0].replace("0.0", "0")
    assert before[0].startswith(f"True {tmp_path}")
    assert (before[1], after[1]) == ("False True", "True False")  # too late for the number of threads, and the record says so


def test_the_compilation_cache_is_private_and_can_be_turned_off_or_be_missing(tmp_path):
    folder = Path(settings(LMLIB_CACHE=str(tmp_path / "cache"))["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_relative_to(tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "jaxlib-" in folder.name
    assert settings(LMLIB_CACHE=str(tmp_path / "cache"), LMLIB_JAX_CACHE="0")["JAX_COMPILATION_CACHE_DIR"] is None
    assert settings(LMLIB_CACHE=str(tmp_path / "cache"), JAX_COMPILATION_CACHE_DIR="mine")["JAX_COMPILATION_CACHE_DIR"] == "mine"
    (tmp_path / "file").write_text("in the way")
    assert settings(LMLIB_CACHE=str(tmp_path / "file"))["JAX_COMPILATION_CACHE_DIR"] is None


def test_a_relative_folder_of_data_is_made_absolute_where_it_enters(tmp_path):
    assert settings(tmp_path, LMLIB_DATA="data", LMLIB_CACHE=str(tmp_path))["LMLIB_DATA"] == str(tmp_path / "data")
    assert settings(tmp_path, LMLIB_DATA="~/data", HOME="/some", LMLIB_CACHE=str(tmp_path))["LMLIB_DATA"] == "/some/data"
    assert settings(tmp_path, LMLIB_CACHE=str(tmp_path))["LMLIB_DATA"] is None


@pytest.mark.parametrize(("value", "on"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_switches(monkeypatch, value, on):
    for name, switch in (("LMLIB_REPRODUCIBLE", runtime.reproducible), ("LMLIB_OFFLINE", runtime.offline)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
        assert switch() is on


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("LMLIB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.cache_dir() == tmp_path / "lmlib"
    monkeypatch.setenv("LMLIB_CACHE", "here")
    assert runtime.cache_dir() == Path("here").absolute()


def test_the_machine_is_told_in_plain_values():
    machine = runtime.machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["versions"]["jax"] == __import__("jax").__version__
    assert machine["cores"] >= 1
    assert machine["device"] == runtime.device_name()
    assert "absent" not in machine["versions"].values()

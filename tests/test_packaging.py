"""pyproject.toml, environment.yml, requirements.lock and what is installed agree, and the package holds all of its files."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import lmlib
from lmlib import bootstrap

ROOT = Path(bootstrap.ROOT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
DIRECT = {canonicalize_name(r.name): r for r in [Requirement(line) for line in PROJECT["dependencies"]] + EXTRAS["dev"]}
LOCKS = ["requirements.lock", "tests/benchmarks/peers.lock"]
CONDA_NAMES = {"matplotlib-base": "matplotlib"}  # conda-forge name → PyPI name, where they differ
CONDA_ONLY = {"python", "pip", "jaxlib"}


def read_lock(file):
    """[(Requirement, [hash, …])] of a lock, in its order."""
    entries = (ROOT / file).read_text().replace("\\\n", " ").strip().split("\n")
    parts = [re.split(r"\s+--hash=", entry) for entry in entries]
    return [(Requirement(requirement), hashes) for requirement, *hashes in parts]


def versions(file, name):
    """Every version of `name` that a lock pins, one for each marker."""
    return [next(iter(r.specifier)).version for r, _ in read_lock(file) if canonicalize_name(r.name) == name]


@pytest.mark.parametrize("file", LOCKS)
def test_lock_pins_every_wheel_by_hash_and_names_no_place(file):
    assert "://" not in (ROOT / file).read_text()
    entries = read_lock(file)
    assert len(entries) >= 5
    for requirement, hashes in entries:
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h.strip()) for h in hashes), requirement


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_locked_and_installed_versions_are_inside_the_range(name):
    assert versions("requirements.lock", name)
    for version in [*versions("requirements.lock", name), metadata.version(name)]:
        assert version in DIRECT[name].specifier, f"{name} {version}"


def test_lock_has_one_jax_for_every_python():
    assert len(versions("requirements.lock", "jax")) == len(versions("requirements.lock", "jaxlib")) == 1


@pytest.mark.skipif(not Path(sys.prefix, bootstrap.STAMP).exists(), reason="not the environment that `make setup` made")
def test_lock_holds_exactly_what_is_needed():
    """Follow the requirements of what is installed, from the direct ones on: neither a gap in the lock nor a leftover."""
    pinned = {canonicalize_name(r.name): r for r, _ in read_lock("requirements.lock") if r.marker is None or r.marker.evaluate()}
    waiting, seen = list(DIRECT.values()), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, requirement
        assert metadata.version(name) == next(iter(pinned[name].specifier)).version, f"{name}: run `make setup`"
        assert metadata.version(name) in requirement.specifier, requirement
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = [Requirement(line) for line in metadata.requires(name) or []]
                waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    assert {name for name, _ in seen} == set(pinned)


def test_environment_has_the_ranges_of_the_project():
    lines = [line.partition(" ") for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]]
    conda = {canonicalize_name(CONDA_NAMES.get(name, name)): SpecifierSet(ranges) for name, _, ranges in lines}
    assert {name: ranges for name, ranges in conda.items() if name not in CONDA_ONLY} == {n: r.specifier for n, r in DIRECT.items()}
    assert conda["jaxlib"] == DIRECT["jax"].specifier
    oldest, newest = bootstrap.OLDEST, bootstrap.NEWEST
    assert conda["python"] == SpecifierSet(f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}")
    assert PROJECT["requires-python"] == f">={oldest[0]}.{oldest[1]}"


@pytest.mark.parametrize("extra", ["cuda", "tpu"])
def test_accelerator_extras_have_floor_and_marker(extra):
    """Without a floor inside the extra a resolver walks back to an old jax, and without a marker macOS does."""
    (requirement,) = EXTRAS[extra]
    assert requirement.name == "jax"
    assert requirement.extras
    assert requirement.specifier == DIRECT["jax"].specifier
    assert str(requirement.marker) == 'sys_platform == "linux"'


def test_every_direct_dependency_has_floor_and_cap():
    for requirement in DIRECT.values():
        assert {s.operator for s in requirement.specifier} == {">=", "<"}, requirement


def test_the_library_imports_only_what_it_declares():
    homes = metadata.packages_distributions()
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    for file in sorted((ROOT / "lmlib").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"lmlib"}:
            assert declared & {canonicalize_name(home) for home in homes[name]}, f"{file.name} imports {name}"


def test_one_version_number():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert lmlib.__version__ == PROJECT["version"] == str(citation["version"])
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_wheel_holds_every_file_of_the_library(tmp_path):
    """Built from a copy of what git tracks or would track, so that nothing of the working tree gets in and no folder is left behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "lmlib"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [file for file in listed.stdout.split("\n") if file and (ROOT / file).exists()]
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    for file in [*files, "pyproject.toml", "LICENSE", "README.md"]:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes((ROOT / file).read_bytes() if (ROOT / file).exists() else b"")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w", wheels, source]
    subprocess.run(command, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (scripts,) = (archive.read(name).decode() for name in inside if name.endswith("entry_points.txt"))
    assert {name for name in inside if ".dist-info/" not in name} == set(files)
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert "lmlib = lmlib.cli:main" in scripts

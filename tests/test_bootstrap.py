"""Set-up: one clear line where it cannot work, a stamp that is written last, and two set-ups at once that do not collide."""

import ast
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lmlib import bootstrap

SCRIPT = Path(bootstrap.__file__)


def start(venv, lock, *options):
    command = [sys.executable, "-I", str(SCRIPT), "--venv", str(venv), "--lock", str(lock), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel of one module, and pip told to look nowhere else: nothing here needs the network."""
    path = tmp_path / "wheels" / "tiny-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "answer = 42\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def write_lock(path, digest):
    path.write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    return path


def test_old_pythons_can_read_it():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    imports = [node for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name.split(".")[0] for node in imports for alias in node.names}
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("version", [(3, 8, 10), (3, 10, 14), (3, 15, 0), (2, 7, 18)])
def test_other_pythons_get_one_line_with_the_remedy(version):
    line = bootstrap.python_problem(version, which=lambda name: name == "python3.13")
    assert f"this is {version[0]}.{version[1]}" in line
    assert "make setup PYTHON=python3.13" in line
    assert "\n" not in line
    assert "install one" in bootstrap.python_problem(version, which=lambda name: None)


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_missing_venv_module_gets_one_line_with_the_remedy(missing):
    line = bootstrap.python_problem((3, 12, 1), find_module=lambda name: None if name == missing else object())
    assert "apt install python3.12-venv" in line
    assert "\n" not in line


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 14, 2)])
def test_supported_pythons_have_no_problem(version):
    assert bootstrap.python_problem(version, find_module=lambda name: object()) is None


def test_problem_is_exit_status_one(monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "python_problem", lambda: "no good")
    assert bootstrap.main([]) == 1
    assert capsys.readouterr().err == "set-up: no good\n"


def test_stamp_depends_on_lock_python_and_folder(tmp_path, monkeypatch):
    lock = tmp_path / "a.lock"
    lock.write_text("one\n")
    first = bootstrap.digest(str(lock), "venv")
    assert bootstrap.digest(str(lock), "venv") == first
    assert bootstrap.digest(str(lock), "elsewhere") != first
    lock.write_text("two\n")
    assert bootstrap.digest(str(lock), "venv") != first
    lock.write_text("one\n")
    monkeypatch.setattr(bootstrap.platform, "python_version", lambda: "3.99.0")
    assert bootstrap.digest(str(lock), "venv") != first


def test_two_at_once_then_nothing_to_do_then_half_made(tmp_path, wheel):
    lock = write_lock(tmp_path / "tiny.lock", hashlib.sha256(wheel.read_bytes()).hexdigest())
    venv = tmp_path / "a folder" / "venv"
    venv.parent.mkdir()
    processes = [start(venv, lock) for _ in range(2)]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted("installing" in out for out, _ in outputs) == [False, True]  # one worked, the other waited or came late
    code = "import lmlib, tiny; print(lmlib.__file__, tiny.answer)"
    seen = subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert seen.stdout == f"{SCRIPT.parent / '__init__.py'} 42\n"
    assert (venv / "bin" / "lmlib").stat().st_mode & 0o111

    assert run(venv, lock) == (0, "", "")

    (venv / bootstrap.STAMP).unlink()  # what an interrupted set-up leaves: no stamp, and perhaps a broken file
    (venv / "bin" / "python").unlink()
    status, out, _ = run(venv, lock, "--bare")
    assert status == 0
    assert "installing" in out
    assert (venv / bootstrap.STAMP).exists()
    assert not (venv / "bin" / "lmlib").exists()


def test_a_wrong_hash_is_refused_and_leaves_no_stamp(tmp_path, wheel):
    lock = write_lock(tmp_path / "tiny.lock", "0" * 64)
    status, _, err = run(tmp_path / "venv", lock)
    assert status == 1
    assert "DO NOT MATCH THE HASHES" in err
    assert "run `make setup` again" in err
    assert not (tmp_path / "venv" / bootstrap.STAMP).exists()

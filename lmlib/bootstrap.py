"""Make a virtual environment from a hash-pinned lock: what `make setup` runs, with nothing but Python itself.

    python3 -I lmlib/bootstrap.py                                   # .venv: the lock, this repository, the command `lmlib`
    python3 -I lmlib/bootstrap.py --venv .venv-peers --lock tests/benchmarks/peers.lock --bare

A stamp is written last, so a half-made environment is made again, and a finished one costs a fraction of a second. The file must be
readable by old Pythons (3.8), which then get one clear line instead of a syntax error.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST, NEWEST = (3, 11), (3, 14)  # the lock has wheels for these
STAMP = "lmlib-stamp"


def python_problem(version=sys.version_info, find_module=importlib.util.find_spec, which=shutil.which):
    """Why this Python cannot make the environment, with the remedy, in one line; None if it can."""
    this = f"{version[0]}.{version[1]}"
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        known = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        found = next((name for name in known if which(name)), None)
        remedy = f"run `make setup PYTHON={found}`" if found else "install one of them, say 3.12, and run `make setup PYTHON=python3.12`"
        return f"lmlib needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, this is {this}: {remedy}"
    if os.name != "posix":
        return "make sets up Linux and macOS only: on Windows use WSL, or `pip install .` in an environment of your own"
    if not (find_module("venv") and find_module("ensurepip")):
        return f"Python {this} has no venv module: install it (Debian, Ubuntu: `apt install python{this}-venv`), then run make again"
    return None


def digest(lock, venv):
    """What the environment depends on: the lock, this file, the Python and the folder (scripts and `.pth` hold its path)."""
    content = hashlib.sha256()
    for path in (lock, os.path.abspath(__file__)):
        with open(path, "rb") as file:
            content.update(file.read())
    content.update(repr((platform.python_implementation(), platform.python_version(), os.path.abspath(venv))).encode())
    return content.hexdigest()


def is_ready(venv, stamp):
    """Whether the environment was finished with this stamp."""
    try:
        with open(os.path.join(venv, STAMP)) as file:
            return file.read() == stamp and os.path.exists(os.path.join(venv, "bin", "python"))
    except OSError:
        return False


def install(venv, lock):
    """Install the lock's wheels, each checked against its hash; a counter moves on a terminal, pip's own words go to a log."""
    with open(lock) as file:
        total = sum("==" in line.split(";")[0] for line in file)
    command = [os.path.join(venv, "bin", "python"), "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", lock]  # the lock is whole, so there is nothing to resolve
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0", PYTHONNOUSERSITE="1")
    log, count, terminal = os.path.join(venv, "pip.log"), 0, sys.stdout.isatty()
    with open(log, "w") as file:
        pip = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        for line in pip.stdout:
            file.write(line)
            count += line.startswith("Collecting ")
            if terminal:
                step = "unpacking".ljust(30) if line.startswith("Installing ") else f"fetched {count} of at most {total}"
                print(f"\r  {step}", end="", flush=True)
    if terminal:
        print("\r" + " " * 40, end="\r")
    if pip.wait():
        with open(log) as file:
            print("".join(file.readlines()[-15:]), file=sys.stderr)
        raise SystemExit("set-up: pip failed, see its last lines above (network? disk space?); then run `make setup` again")


def add_repository(venv):
    """Let the environment import this repository, and give it the command `lmlib`."""
    packages = os.path.join(venv, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    with open(os.path.join(packages, "lmlib.pth"), "w") as file:
        file.write(ROOT + "\n")
    command = os.path.join(venv, "bin", "lmlib")
    with open(command, "w") as file:
        file.write('#!/bin/sh\nexec "$(dirname "$0")/python" -m lmlib "$@"\n')
    os.chmod(command, 0o755)


def setup(venv, lock, bare=False):
    """Make the environment unless it is finished already; a second set-up at the same time waits for the first.

    Args:
      venv: folder of the environment; emptied if it is there but not finished.
      lock: requirements file with a hash for every wheel.
      bare: only what the lock names, not this repository.
    """
    import fcntl  # not on Windows, which python_problem() has turned away

    stamp = digest(lock, venv)
    if is_ready(venv, stamp):
        return
    with open(venv + ".lock", "w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"set-up: waiting for another set-up of {venv}", flush=True)
            fcntl.flock(guard, fcntl.LOCK_EX)
        if is_ready(venv, stamp):
            return
        start = time.time()
        hint = "" if bare else " (about 1.2 GB on disk, one to five minutes)"
        print(f"set-up: installing {os.path.basename(lock)} into {os.path.relpath(venv)}{hint}", flush=True)
        # The interpreter beneath an active environment: the environment itself may be the one that is made anew.
        python = getattr(sys, "_base_executable", None) or sys.executable
        subprocess.run([python, "-m", "venv", "--clear", venv], check=True)
        install(venv, lock)
        if not bare:
            add_repository(venv)
        with open(os.path.join(venv, STAMP), "w") as file:
            file.write(stamp)
        print(f"set-up: done in {time.time() - start:.0f} s", flush=True)


def main(arguments=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make a virtual environment from a hash-pinned lock.")
    parser.add_argument("--venv", default=os.path.join(ROOT, ".venv"), help="folder of the environment (default: .venv)")
    parser.add_argument("--lock", default=os.path.join(ROOT, "requirements.lock"), help="requirements with hashes")
    parser.add_argument("--bare", action="store_true", help="install the lock alone, not this repository")
    options = parser.parse_args(arguments)
    problem = python_problem()
    if problem:
        print(f"set-up: {problem}", file=sys.stderr)
        return 1
    try:
        setup(os.path.abspath(options.venv), os.path.abspath(options.lock), options.bare)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the next `make setup` begins anew", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

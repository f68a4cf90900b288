"""The process before jax starts: determinism, caches and folders; and a record of the machine it runs on.

Environment variables that lmlib reads, all optional:

  LMLIB_REPRODUCIBLE=1  results on a CPU no longer depend on the number of cores; deterministic kernels on a GPU
  LMLIB_DATA            folder with corpora already at hand; made absolute here, so that later changes of folder do no harm
  LMLIB_CACHE           where downloads and compiled programs are kept; default ~/.cache/lmlib
  LMLIB_OFFLINE=1       never touch the network
  LMLIB_JAX_CACHE=0     do not keep compiled programs between processes
"""

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "pandas", "tokenizers")
THREADS = "4"  # XLA splits its work by NPROC: any fixed number gives the same sums on one core or many, and four serves laptops
BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # numpy's products, by the library that makes them

_late = False  # True if jax was imported before lmlib, when thread count and XLA flags can no longer be set


def setup():
    """Set determinism and caches; called once by `import lmlib`, cheap, and without importing jax."""
    global _late
    _late = "jax" in sys.modules
    if data := os.environ.get("LMLIB_DATA"):
        os.environ["LMLIB_DATA"] = str(Path(data).expanduser().absolute())
    settings = {"jax_threefry_partitionable": True}
    if (folder := _compilation_cache()) is not None:
        settings |= {
            "jax_compilation_cache_dir": folder,
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
    if _late:
        for name, value in settings.items():
            sys.modules["jax"].config.update(name, value)
        return
    for name, value in settings.items():
        os.environ.setdefault(name.upper(), str(value))
    if reproducible():
        os.environ["NPROC"] = THREADS
        os.environ.update(dict.fromkeys(BLAS, "1"))  # sums of numpy
        if "--xla_gpu_deterministic_ops" not in (flags := os.environ.get("XLA_FLAGS", "")):
            os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def reproducible():
    """Whether this process was asked for results that do not depend on the number of cores."""
    return os.environ.get("LMLIB_REPRODUCIBLE", "0") not in ("", "0")


def offline():
    """Whether the network must not be touched."""
    return os.environ.get("LMLIB_OFFLINE", "0") not in ("", "0")


def cache_dir():
    """Folder for downloads and compiled programs, private to the user."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmlib"
    return Path(os.environ.get("LMLIB_CACHE") or default).expanduser().absolute()


def data_dir():
    """Folder of `LMLIB_DATA`, or None."""
    return Path(data) if (data := os.environ.get("LMLIB_DATA")) else None


def _cpu():
    """Model name and feature flags of the processor, as far as the system tells them."""
    try:
        pairs = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].split("\n")]
        facts = {name.strip(): value.strip() for name, _, value in pairs}
        return facts.get("model name") or platform.machine(), facts.get("flags", "")
    except OSError:
        return platform.processor() or platform.machine(), ""


def _compilation_cache():
    """A folder for compiled programs, keyed by jaxlib and CPU, or None if it is off or cannot be made.

    A compiled program is code that the process will run, so the folder belongs to the user alone; and code compiled for
    another processor may crash, hence the key.
    """
    if os.environ.get("LMLIB_JAX_CACHE", "1") == "0" or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    key = hashlib.sha256("|".join([_version("jaxlib"), platform.machine(), *_cpu()]).encode()).hexdigest()[:16]
    folder = cache_dir() / "xla" / f"jaxlib-{_version('jaxlib')}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError:
        return None
    return str(folder)


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def versions():
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def device_name():
    """Name of the accelerator that jax uses, in a form fit for a folder: 'cpu', 'nvidia-h100-80gb-hbm3', 'tpu-v5-lite'."""
    import jax

    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind.lower().replace(" ", "-")


def machine():
    """What a result may depend on besides code, config and data: device, cores, flags and versions."""
    import jax

    devices = jax.devices()
    return {
        "device": device_name(),
        "device_count": len(devices),
        "processor": _cpu()[0],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "reproducible": reproducible() and not _late,
        "nproc": os.environ.get("NPROC"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "jax_loaded_before_lmlib": _late,
        "versions": versions(),
    }

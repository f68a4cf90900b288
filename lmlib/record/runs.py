"""Run folders: what a run was given, what it measured, and what it left behind.

    <folder>/
      run.json        parameters, seeds, corpora, source hash, commit, machine, claims, and the sha256 of every file below
      metrics.jsonl   one record a line, in the order of logging
      tables/*.csv    numbers to six significant digits; the only files that are compared from run to run
      figures/*.png
      times.json      seconds: they differ every time, so nothing compares or hashes them

What depends on the machine (device, cores, versions, flags) stands in run.json alone, and is never compared: it explains a difference
between tables, it does not make one. A table is compared exactly, cell by cell, unless its run stated a tolerance for a column: where
something is trained, another processor rounds differently and training amplifies it, so the tolerance comes from the spread over seeds.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lmlib import runtime
from lmlib.config import differences
from lmlib.errors import ConfigError, FormatError, IntegrityError, LmlibError, LockedError, MismatchError, storage_errors
from lmlib.record.files import append_line, csv_bytes, delete, digest_of, json_bytes, mend_lines, read_lines, write_bytes, write_json

PROFILES = ("smoke", "quick", "real", "paper")  # from poor to rich
FILES = ("metrics.jsonl", "tables", "figures", "run.json", "times.json")  # all that a run folder may hold of its own
DPI = 100
_RECORDED = {"parameters", "seeds", "corpora", "source", "earlier_sources", "machine", "tables", "claims", "outputs", "finished"}
_PACKAGE = Path(__file__).resolve().parents[1]


def open_run(folder, *, parameters, seeds, corpus=None, notebook=None, profile=None, existing="refuse"):
    """Open a run folder for writing: `with open_run(…) as run`. Without `with`, `run.close()` is what marks the run as finished.

    Args:
      folder: where to write; made if it is not there.
      parameters: a config, or a dict of plain values and configs: whatever the results depend on.
      seeds: the seeds that the run uses; empty where nothing is random.
      corpus: the corpus, or a list of the corpora, that the run reads: anything with `.name` and `.sha256`.
      notebook: path of the notebook whose run this is, if it is one's; its code goes into the source hash.
      profile: one of `PROFILES`, if one was chosen.
      existing: what to do if the folder holds a run already. "refuse"; "replace": delete its results first; "resume": go on logging after
        its last record (see `Run.rewind`), if it was made with the same parameters, seeds and corpora.

    Raises:
      LockedError: another run is being written there.
      MismatchError: the folder holds another run, or one that must not be overwritten.
      ConfigError: something given cannot be written as JSON.
    """
    if existing not in ("refuse", "replace", "resume"):
        raise ConfigError(f'existing must be "refuse", "replace" or "resume", got {existing!r}')
    if profile is not None and profile not in PROFILES:
        raise ConfigError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    return Run(Path(folder), _opening(parameters, seeds, corpus, notebook, profile), existing)


def notebook_run(notebook, profile, *, parameters, seeds, corpus=None):
    """The run of a notebook: `open_run` on `$LMLIB_RESULTS/<profile>/<notebook>`, or below `runs` in the current folder.

    Running the cell again starts the run again, so that a reader may go back and forth.
    """
    folder = (Path(os.environ.get("LMLIB_RESULTS") or "runs") / profile / _name(notebook)).absolute()
    if earlier := _notebook_runs.pop(folder, None):
        earlier.abandon()
    path = Path(f"{notebook}.ipynb")  # a kernel works in the folder of its notebook
    run = open_run(folder, parameters=parameters, seeds=seeds, corpus=corpus, notebook=path, profile=profile, existing="replace")
    return _notebook_runs.setdefault(folder, run)


_notebook_runs = {}


class Run:
    """A run that is being written; made by `open_run` or `notebook_run`. One writer at a time, each file complete once it is written."""

    def __init__(self, folder, record, existing):
        from filelock import FileLock, Timeout

        self.folder = folder.absolute()
        self._record = record
        self._times = {}
        self._start = time.perf_counter()
        with storage_errors(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock", timeout=0)
            try:
                self._lock.acquire()
            except Timeout:
                raise LockedError(f"{folder}: another run is writing here; wait for it or choose another folder") from None
        try:
            self._prepare(existing)
        except BaseException:
            self.abandon()
            raise

    def _prepare(self, existing):
        """Deal with an earlier run in the folder, then state in run.json what this one is, as not finished."""
        if any((self.folder / name).exists() for name in FILES):
            if existing == "refuse":
                raise MismatchError(f'{self.folder} holds a run already: choose another folder, or existing="resume" or "replace"')
            if existing == "resume":
                earlier = _same_run(self.folder, self._record)
                sources = dict.fromkeys(earlier["earlier_sources"] + [earlier["source"]])
                self._record["earlier_sources"] = [source for source in sources if source != self._record["source"]]
                mend_lines(self.folder / "metrics.jsonl")
            # A resumed run keeps its metrics and writes the rest again; run.json is replaced below, so that no kill leaves it missing
            for name in FILES if existing == "replace" else ("tables", "figures", "times.json"):
                delete(self.folder / name)
        write_json(self.folder / "run.json", self._record | {"finished": False})

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.close()
        else:
            self.abandon()

    def log(self, record: dict):
        """Append a record to metrics.jsonl. A number that is not finite becomes null, and `non_finite` says what it was."""
        self._check_open()
        non_finite = {}
        record = {name: _plain(value, name, non_finite) for name, value in record.items()}
        if non_finite:
            record["non_finite"] = non_finite
        append_line(self.folder / "metrics.jsonl", record)

    def rewind(self, step: int):
        """Drop the records of later steps than `step`: what a killed run logged after the checkpoint from which it resumes."""
        self._check_open()
        kept = [record for record in read_metrics(self.folder) if record.get("step", step) <= step]
        write_bytes(self.folder / "metrics.jsonl", b"".join(map(json_bytes, kept)))

    def table(self, name: str, frame, *, tolerance: dict | None = None, corpus=None):
        """Write a DataFrame to tables/<name>.csv, numbers to six significant digits, and return it as it was given.

        Args:
          frame: a DataFrame. A named index becomes columns, the row numbers of an unnamed one are left out.
          tolerance: for a column, the largest absolute difference that a run elsewhere may show, or None if the column is only
            told, never compared (words that trained vectors rank nearest). Columns without one are compared exactly.
          corpus: the corpora that this table depends on, if not all of the run's. If one of them is another text elsewhere, the
            tables are not compared.
        """
        self._check_open()
        given, frame = frame, _flat(name, frame)
        tolerance = {str(column): _tolerance(name, frame, column, value) for column, value in (tolerance or {}).items()}
        corpora = self._record["corpora"] if corpus is None else _corpora(corpus)
        if strange := [c for c in corpora if c not in self._record["corpora"]]:
            raise ConfigError(f"table {name!r} depends on {strange[0]['name']!r}, which was not given to open_run")
        path = self.folder / "tables" / f"{_name(name)}.csv"
        write_bytes(path, csv_bytes(name, frame))
        self._record["tables"][name] = {"tolerance": tolerance, "corpora": [c["name"] for c in corpora]}
        return given

    def figure(self, name: str, figure):
        """Write a matplotlib Figure, or that of an Axes, to figures/<name>.png: the same bytes for the same picture."""
        self._check_open()
        buffer = io.BytesIO()
        figure.get_figure().savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        path = self.folder / "figures" / f"{_name(name)}.png"
        write_bytes(path, buffer.getvalue())

    def claim(self, id: str, values, *, unit: str, better: str, published: float | None = None, source: str | None = None):
        """State a result, one value a seed, for results/claims.csv.

        Args:
          id: what is claimed, the same in every profile, e.g. "word2vec.analogies".
          values: a number for each of the run's seeds, or one number if the seeds play no part.
          unit: e.g. "accuracy", "bits per token", "Spearman ρ".
          better: whether "low" or "high" values are the good ones.
          published: the number in the literature for the same setting, with its `source`.
        """
        self._check_open()
        values = [_plain(value, f"claim {id!r}") for value in np.atleast_1d(np.asarray(values))]
        if len(values) not in (1, len(self._record["seeds"])) or not all(type(value) in (int, float) for value in values):
            raise ConfigError(f"claim {id!r} needs a number for each of the {len(self._record['seeds'])} seeds, or one; got {values}")
        if better not in ("low", "high"):
            raise ConfigError(f'claim {id!r}: better must be "low" or "high", got {better!r}')
        if (published is None) != (source is None):
            raise ConfigError(f"claim {id!r}: a published number and its source go together")
        published = None if published is None else _plain(published, f"claim {id!r}, published")
        self._record["claims"][id] = {"values": values, "unit": unit, "better": better, "published": published, "source": source}

    def time(self, name: str, seconds: float):
        """Note how long something took, in times.json, where it disturbs no comparison."""
        self._check_open()
        self._times[name] = round(float(seconds), 3)

    def close(self):
        """Hash the outputs, mark the run as finished and let others write here."""
        if not self._lock.is_locked:
            return
        paths = [p for p in sorted(self.folder.rglob("*")) if p.relative_to(self.folder).parts[0] in FILES[:3] and p.is_file()]
        self._record["outputs"] = {p.relative_to(self.folder).as_posix(): digest_of(p) for p in paths}
        self._times["all"] = round(time.perf_counter() - self._start, 3)
        write_json(self.folder / "times.json", {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": self._times})
        write_json(self.folder / "run.json", self._record | {"finished": True})
        self.abandon()

    def abandon(self):
        """Let others write here and leave the run as it is: unless it was closed before, not finished."""
        if self._lock.is_locked:
            with suppress(OSError):
                (self.folder / ".lock").unlink()  # while it is still ours; where an open file cannot be deleted, it stays
            self._lock.release()

    def _check_open(self):
        if not self._lock.is_locked:
            raise LmlibError(f"the run in {self.folder} is closed: open it again to write to it")


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that was read by `load_run`: its folder, and the content of run.json in `record`."""

    folder: Path
    record: dict

    def metrics(self):
        """What was logged, as a DataFrame with a row a record."""
        import pandas as pd

        return pd.DataFrame(read_metrics(self.folder))

    def table(self, name: str):
        """A table as a DataFrame; only an empty cell is a missing value, so that words such as "null" stay words."""
        import pandas as pd

        if name not in self.record["tables"]:
            raise FormatError(f"{self.folder} has no table {name!r} (tables: {', '.join(sorted(self.record['tables']))})")
        return pd.read_csv(self.folder / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def load_run(folder) -> FinishedRun:
    """Read a finished run, and check that each of its files is as it was written.

    Raises:
      FormatError: the folder holds no run, or one that did not finish.
      IntegrityError: a file is missing or has been changed since.
    """
    folder = Path(folder)
    record = read_record(folder)
    if not record["finished"]:
        raise FormatError(f"the run in {folder} did not finish: resume it or run it again")
    for name, digest in record["outputs"].items():
        if not (folder / name).is_file() or digest_of(folder / name) != digest:
            state = "is not as its run wrote it" if (folder / name).is_file() else "is missing"
            raise IntegrityError(f"{folder / name} {state}: restore it or run it again")
    return FinishedRun(folder, record)


def finished_run(folder, *, parameters, seeds, corpus=None) -> FinishedRun | None:
    """The run in a folder if it is the one that `open_run` would resume and has finished already, else None.

    Raises:
      MismatchError: the folder holds another run; lists what differs.
    """
    if not (Path(folder) / "run.json").exists():
        return None
    earlier = _same_run(folder, _opening(parameters, seeds, corpus, None, None))
    return load_run(folder) if earlier["finished"] else None


def _same_run(folder, record):
    """What run.json says of the earlier run in a folder, which must have the same parameters, seeds and corpora."""
    earlier = read_record(folder)
    parts = ("parameters", "seeds", "corpora")
    if found := list(differences(*({name: one[name] for name in parts} for one in (earlier, record)))):
        raise MismatchError(f"{folder} holds another run ({'; '.join(found)}): choose another folder")
    return earlier


def read_record(folder) -> dict:
    """The content of run.json, of a finished run or not."""
    path = Path(folder) / "run.json"
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{folder} holds no run: there is no run.json") from None
    except (OSError, RecursionError, ValueError) as error:
        raise FormatError(f"{path} is no JSON ({error}): run it again") from None
    if not isinstance(record, dict) or (missing := _RECORDED - record.keys()):
        raise FormatError(f"{path} is no record of a run{'' if not isinstance(record, dict) else f' (no {min(missing)!r})'}: run it again")
    return record


def read_metrics(folder) -> list[dict]:
    """The records of metrics.jsonl, of a finished run or not. A torn last line, left by a crash, is skipped with a warning."""
    return read_lines(Path(folder) / "metrics.jsonl")


def _opening(parameters, seeds, corpus, notebook, profile):
    """What run.json says from the moment the run is opened."""
    return {
        "notebook": Path(notebook).stem if notebook else None,
        "profile": profile,
        "parameters": _plain(parameters, "parameters"),
        "seeds": _plain(list(seeds), "seeds"),
        "corpora": _corpora(corpus),
        "source": source_digest(notebook),
        "earlier_sources": [],
        "commit": _commit(),
        "machine": runtime.machine(),
        "tables": {},
        "claims": {},
        "outputs": {},
    }


def source_digest(notebook=None) -> str:
    """SHA-256 of the code that makes results: every Python file of lmlib, and the code cells of the notebook."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    if notebook is not None and Path(notebook).exists():
        cells = json.loads(Path(notebook).read_text("utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                digest.update("".join(cell["source"]).encode("utf-8", "backslashreplace") + b"\0")
    return digest.hexdigest()


def _commit():
    """The commit that lmlib stands on, or None if it was installed without its repository."""
    if not (_PACKAGE.parent / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(_PACKAGE.parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _corpora(corpus):
    """Name and sha256 of one corpus, of several, or of none."""
    several = corpus if isinstance(corpus, list | tuple) else [] if corpus is None else [corpus]
    return [{"name": str(c.name), "sha256": c.sha256} for c in several]


def _plain(value, name, non_finite=None):
    """A value as JSON knows it; a float32 in its own shortest digits. A non-finite number is noted in `non_finite`, or else an error."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and not isinstance(value, np.floating):
        if math.isfinite(value):
            return value
        if non_finite is None:
            raise ConfigError(f"{name} must be a finite number, got {value}")
        non_finite[name] = str(value)
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner, f"{name}.{key}", non_finite) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{name}[{i}]", non_finite) for i, inner in enumerate(value)]
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = np.asarray(value)
        if array.ndim:
            return [_plain(inner, f"{name}[{i}]", non_finite) for i, inner in enumerate(array)]
        exact = isinstance(array.item(), int | str)  # a bool is an int
        return _plain(array.item() if exact else float(str(array)), name, non_finite)
    raise ConfigError(f"{name} must be a plain value, a dict, a list, a config or an array, got {type(value).__name__} {value!r}")


def _name(name):
    """A name that is safe as a file name on every system."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ConfigError(f"{name!r} cannot name a table or figure: use lower-case letters, digits, '-', '_' and '.'")
    return name


def _flat(name, frame):
    """The DataFrame with its index as columns (unless it only counts the rows) and its columns as distinct strings."""
    if frame.index.names != [None] or frame.index.dtype.kind not in "iu":
        frame = frame.reset_index()
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    if not frame.columns.is_unique:
        raise ConfigError(f"table {name!r} has two columns of one name: {', '.join(frame.columns)}")
    return frame


def _tolerance(name, frame, column, value):
    if column not in frame.columns:
        raise ConfigError(f"table {name!r} has a tolerance for {column!r}, but no such column (columns: {', '.join(frame.columns)})")
    if value is None:
        return None
    if not (frame[column].dtype.kind in "iuf" and math.isfinite(value) and value >= 0):
        raise ConfigError(f"table {name!r}, column {column!r}: a tolerance is a number ≥ 0 for a column of numbers, or None")
    return float(value)

"""Run the notebooks and compare their tables with the committed results.

    python -m lmlib.record.reproduce --profile quick --notebooks "00 03"
    python -m lmlib.record.reproduce --profile real --notebooks 03 --record    replace what is committed by what these runs make
    python -m lmlib.record.reproduce --collect     write claims.csv and README.md again, after `lmlib train` made a run below results/
    python -m lmlib.record.reproduce --sync        make the notebooks and their twins in .src/ equal; the one changed last wins

A run goes into a fresh folder below runs/, which is kept only if there is something to look at. A notebook that fails does not stop the
others. The report is the last output; the exit status is 1 if a notebook failed or a table is not as committed.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lmlib.errors import LmlibError, UnknownNameError, nearest, storage_errors
from lmlib.record.claims import write_claims
from lmlib.record.compare import BAD, GOOD, OPEN, Verdict, circumstances, compare_runs
from lmlib.record.files import delete, digest_of
from lmlib.record.notebooks import code_cells, read_notebook, recorded_profile, run_notebook, sync, write_notebook
from lmlib.record.runs import FILES, PROFILES, load_run

BEAT_SECONDS = 60.0


@dataclass
class Outcome:
    """What became of one notebook."""

    name: str
    seconds: float = 0.0
    error: str | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def reproduce(root, profile, notebooks="", *, record=False, seconds=None) -> int:
    """Run notebooks, compare, report; the function behind the command above.

    Args:
      root: the repository: `notebooks/` is read there, `results/` compared or written, and `runs/` used.
      profile: one of `PROFILES`.
      notebooks: names or their beginnings, separated by spaces; empty for all.
      record: replace the results of this profile by those of the notebooks that ran, and a notebook's own outputs if they do not
        come from a richer profile.
      seconds: how long a cell may take; default by profile.

    Returns:
      The exit status.
    """
    root = Path(root).resolve()
    if record and profile == PROFILES[0]:
        raise LmlibError(f"the profile {profile} is for tests and is never recorded: choose {', '.join(PROFILES[1:])}")
    paths = _select(root / "notebooks", notebooks)
    with storage_errors(root / "runs"):
        (root / "runs").mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{profile}-", dir=root / "runs"))
    start = time.perf_counter()
    outcomes = [_reproduce_one(root, path, profile, fresh, record, seconds) for path in paths]
    if record:
        try:
            write_claims(root / "results")
        except LmlibError as error:
            outcomes.append(Outcome("claims.csv", error=str(error)))
    print(_report(profile, outcomes, time.perf_counter() - start))
    bad = any(o.error or (not record and any(v.verdict in BAD for v in o.verdicts)) for o in outcomes)
    if bad:
        print(f"The notebooks and results of this run are in {os.path.relpath(fresh)}")
    else:
        delete(fresh)
    return int(bad)


def _select(folder, notebooks):
    """Paths of the notebooks asked for, in the order of the book."""
    paths = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not paths:
        raise LmlibError(f"there are no notebooks in {folder}")
    wanted = set()
    for word in notebooks.replace(",", " ").split():
        matching = [name for name in paths if name.startswith(Path(word).stem)]
        if not matching:
            raise UnknownNameError(f"no notebook begins with {word!r}{nearest(word, paths)} (notebooks: {', '.join(paths)})")
        wanted.update(matching)
    return [path for name, path in paths.items() if not wanted or name in wanted]


def _reproduce_one(root, path, profile, fresh, record, seconds):
    """Run one notebook, compare its tables and, if asked, record it; whatever goes wrong is its own."""
    outcome = Outcome(path.stem)
    print(f"{outcome.name}: running", flush=True)
    start = time.perf_counter()
    try:
        source = digest_of(path)
        with _Heartbeat(path) as beat:
            notebook, error = run_notebook(path, profile=profile, results=fresh, root=root, seconds=seconds, on_cell=beat.at)
        write_notebook(fresh / f"{path.stem}.ipynb", notebook)
        if error is not None:
            outcome.error = f"failed in code cell {error.cell}" if error.cell else "failed before its first cell"
            print(f"\n{path.name}, code cell {error.cell}:\n{error}\n", flush=True)
        else:
            _judge(root, path, profile, fresh, outcome)
            if record:
                _record(root, path, profile, fresh, notebook, source, outcome)
    except LmlibError as error:
        outcome.error = str(error)
    outcome.seconds = time.perf_counter() - start
    print(f"{outcome.name}: {outcome.error or 'ran'}, {outcome.seconds:.0f} s", flush=True)
    return outcome


def _judge(root, path, profile, fresh, outcome):
    """Compare the run that the notebook made, if it made one, with the committed run."""
    made, committed = fresh / profile / path.stem, root / "results" / profile / path.stem
    if not made.exists():
        if committed.exists():
            outcome.verdicts = [Verdict("(all)", "missing", "the notebook made no run")]
        return
    outcome.verdicts = compare_runs(made, committed)
    if any(verdict.verdict in ("different", "missing") for verdict in outcome.verdicts) and (told := circumstances(made, committed)):
        outcome.notes.append(f"committed → here: {told}")


def _record(root, path, profile, fresh, notebook, source, outcome):
    """Replace the committed run by the fresh one, and the notebook's outputs if they are not from a richer profile."""
    made, committed = fresh / profile / path.stem, root / "results" / profile / path.stem
    if made.exists():
        load_run(made)
        # run.json goes first and comes last, so that a folder that holds one is whole; other things in the folder are left alone
        for name in reversed(FILES):
            delete(committed / name)
        with storage_errors(committed):
            committed.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                if (made / name).exists():
                    (made / name).rename(committed / name)
        outcome.notes.append(f"recorded in results/{profile}/{path.stem}")
    shown = recorded_profile(read_notebook(path))
    if shown is not None and PROFILES.index(shown) > PROFILES.index(profile):
        outcome.notes.append(f"the notebook goes on showing its outputs of profile {shown}")
    elif digest_of(path) != source:
        raise LmlibError(f"{path.name} was changed while it ran: its outputs are not recorded; run it again")
    else:
        write_notebook(path, notebook)


def _report(profile, outcomes, seconds):
    """The report: a line a notebook, a line a table, and the sums."""
    lines = ["", f"Profile {profile}, {seconds:.0f} s", ""]
    width = max((len(v.table) for o in outcomes for v in o.verdicts), default=0) + 2
    for outcome in outcomes:
        lines.append(f"{outcome.name}  {outcome.seconds:.0f} s" + (f"  FAILED: {outcome.error}" if outcome.error else ""))
        lines += [f"  {v.table:<{width}}{v.verdict}{f': {v.detail}' if v.detail else ''}" for v in outcome.verdicts]
        lines += [f"  ({note})" for note in outcome.notes]
    counts = Counter(v.verdict for o in outcomes for v in o.verdicts)
    sums = [f"{counts[verdict]} {verdict}" for verdict in GOOD + OPEN + BAD if counts[verdict]]
    failed = sum(outcome.error is not None for outcome in outcomes)
    lines += ["", f"Tables: {', '.join(sums) or 'none'}. Notebooks: {len(outcomes) - failed} ran, {failed} failed."]
    return "\n".join(lines)


class _Heartbeat:
    """Says once a minute which cell is running."""

    def __init__(self, path):
        self._name, self._total, self._cell = path.stem, len(code_cells(read_notebook(path))), 0
        self._stop, self._start = threading.Event(), time.perf_counter()

    def at(self, cell):
        self._cell = cell

    def __enter__(self):
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _beat(self):
        while not self._stop.wait(BEAT_SECONDS):
            print(f"  {self._name}: cell {self._cell} of {self._total}, {time.perf_counter() - self._start:.0f} s", flush=True)


def _root():
    """The repository: where the package lies, or the current folder if the package was installed elsewhere."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / "notebooks").is_dir():
            return folder
    raise LmlibError("there is no folder `notebooks` here: run this command in the root of the repository")


def main(arguments=None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lmlib.record.reproduce", description="Run the notebooks and compare their tables.")
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="how much to run (default: quick)")
    parser.add_argument("--notebooks", default="", help='which, by the beginning of their names, e.g. "00 03" (default: all)')
    parser.add_argument("--record", action="store_true", help="replace the committed results and outputs by those of this run")
    parser.add_argument("--seconds", type=float, help="how long a cell may take (default: by profile)")
    parser.add_argument("--collect", action="store_true", help="only write results/claims.csv and results/README.md again")
    parser.add_argument("--sync", action="store_true", help="only make the notebooks and their twins in .src/ equal")
    options = parser.parse_args(arguments)
    try:
        root = _root()
        if options.sync:
            sync(root / "notebooks")
        if options.collect:
            write_claims(root / "results")
        if options.sync or options.collect:
            return 0
        return reproduce(root, options.profile, options.notebooks, record=options.record, seconds=options.seconds)
    except LmlibError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

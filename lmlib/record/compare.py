"""Is a run elsewhere the same run? Tables are compared cell by cell with those of the committed run, by the tolerances it stated."""

import csv
from dataclasses import dataclass
from pathlib import Path

from lmlib.errors import LmlibError
from lmlib.record.runs import load_run

GOOD = ("identical", "within tolerance")
OPEN = ("not comparable", "not recorded")  # nothing is shown either way
BAD = ("different", "missing", "damaged")


@dataclass(frozen=True)
class Verdict:
    """What became of one table: its verdict, one of GOOD, OPEN or BAD, and why."""

    table: str
    verdict: str
    detail: str = ""


def compare_runs(fresh, committed) -> list[Verdict]:
    """Compare the tables of two finished runs.

    Args:
      fresh: the folder of the run that was just made.
      committed: the folder of the run that stands in results/; its tolerances count.

    Returns:
      A verdict for each table, sorted by name:
        identical: byte for byte, or cell by cell;
        within tolerance: some cells differ, none by more than the committed run allows;
        not comparable: cells differ, but the table depends on a corpus that is another text here;
        not recorded: the committed run, if there is one, has no such table;
        different: with the first cell that differs, its row counted from 1 below the header;
        missing: the fresh run did not make it;
        damaged: the files of the committed run are not those that it wrote.
    """
    fresh = load_run(fresh)
    names = set(fresh.record["tables"])
    if not (Path(committed) / "run.json").exists():
        return [Verdict(name, "not recorded") for name in sorted(names)]
    try:
        committed = load_run(committed)
    except LmlibError as error:
        return [Verdict("(all)", "damaged", str(error))]
    names |= set(committed.record["tables"])
    return [_compare_table(name, fresh, committed) for name in sorted(names)]


def circumstances(fresh, committed) -> str:
    """In what the two runs differ besides their tables, in one line: what a difference may come from."""
    here, there = load_run(fresh).record, load_run(committed).record
    pairs = [("source", there["source"][:12], here["source"][:12]), ("parameters", there["parameters"], here["parameters"])]
    machine_here, machine_there = here["machine"], there["machine"]
    pairs += [(name, machine_there.get(name), machine_here.get(name)) for name in ("device", "processor", "reproducible", "nproc")]
    pairs += [(name, there_version, machine_here["versions"].get(name)) for name, there_version in machine_there["versions"].items()]
    return "; ".join(f"{name} {there} → {here}" for name, there, here in pairs if there != here)


def _compare_table(name, fresh, committed):
    if name not in fresh.record["tables"]:
        return Verdict(name, "missing", "the run made no such table")
    if name not in committed.record["tables"]:
        return Verdict(name, "not recorded")
    recorded = committed.record["tables"][name]
    verdict, detail = _compare_cells(_rows(fresh, name), _rows(committed, name), recorded["tolerance"])
    if verdict == "different":
        here = {corpus["name"]: corpus["sha256"] for corpus in fresh.record["corpora"]}
        there = {corpus["name"]: corpus["sha256"] for corpus in committed.record["corpora"]}
        if changed := [corpus for corpus in recorded["corpora"] if here.get(corpus) != there[corpus]]:
            return Verdict(name, "not comparable", f"the text of {', '.join(changed)} is another one here")
    return Verdict(name, verdict, detail)


def _rows(run, name):
    with open(run.folder / "tables" / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _compare_cells(here, there, tolerance):
    """Verdict and detail for two tables given as rows of text, the first one being the header."""
    (header, *here), (expected, *there) = here, there
    if header != expected:
        return "different", f"columns {', '.join(header)}; committed {', '.join(expected)}"
    if len(here) != len(there):
        return "different", f"{len(here)} rows; committed {len(there)}"
    within = 0
    for number, (row, committed_row) in enumerate(zip(here, there, strict=True), 1):
        for column, cell, committed in zip(header, row, committed_row, strict=True):
            if cell == committed:
                continue
            allowed = tolerance.get(column, 0.0)
            if not (allowed is None or _close(cell, committed, allowed)):
                beyond = f", tolerance {allowed:g}" if allowed else ""
                return "different", f"row {number}, column {column}: {cell or 'nothing'}; committed {committed or 'nothing'}{beyond}"
            within += 1
    return ("within tolerance", f"{within} cell{'s' if within > 1 else ''} not the same") if within else ("identical", "")


def _close(cell, committed, allowed):
    try:
        difference = abs(float(cell) - float(committed))
    except ValueError:
        return False
    return difference <= allowed * (1 + 1e-9)  # both were rounded to the table's digits; a NaN is close to nothing

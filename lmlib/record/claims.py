"""results/claims.csv and results/README.md, written from the run.json files below results/ and from nothing else.

Any finished run counts that lies in a folder below results/quick, real or paper, whether a notebook made it or `lmlib train`.
"""

import json
import math
import statistics
from pathlib import Path

from lmlib.errors import LmlibError, MismatchError
from lmlib.record.files import csv_bytes, write_bytes
from lmlib.record.runs import PROFILES, load_run, read_record

COLUMNS = ("id", "value", "sd", "n", "unit", "better", "published", "source", "run", "notebook")


def mean_sd(values) -> str:
    """Mean ± standard deviation of some seeds, e.g. "0.557 ± 0.012 (n = 3)": the deviation to two digits, the mean to as many places."""
    mean, sd = statistics.fmean(values), _sd(values)
    if sd is None:
        return f"{mean:.4g} (n = 1)"
    if sd == 0:
        return f"{mean:.4g} ± 0 (n = {len(values)})"
    places = max(0, 1 - math.floor(math.log10(float(f"{sd:.2g}"))))  # as rounded: 0.0099999 is 0.010
    return f"{mean:.{places}f} ± {sd:.{places}f} (n = {len(values)})"


def collect(results) -> list[dict]:
    """The claims of all runs below `results`, sorted by profile and id: the rows of claims.csv, and `values` beside.

    Runs of one profile with the same claim are the seeds of one result, one run a seed (long training), and are put together.

    Raises:
      MismatchError: two runs make the same claim, but with the same seed, or in another setting.
      FormatError, IntegrityError: a run is not finished, or not as it was written.
    """
    claims = {}
    for path, run in _runs(results):
        profile = path.split("/")[0]
        for name, claim in run.record["claims"].items():
            claims.setdefault((PROFILES.index(profile), name), []).append((path, run.record, claim))
    return [_together(name, claims[profile, name]) for profile, name in sorted(claims)]


def write_claims(results):
    """Write claims.csv and README.md into `results`."""
    import pandas as pd

    results = Path(results)
    rows = collect(results)
    frame = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in rows], columns=COLUMNS, dtype=object)
    write_bytes(results / "claims.csv", csv_bytes("claims", frame))
    write_bytes(results / "README.md", readme(results, rows).encode())


def benchmark(results, name, case=""):
    """What `results`/benchmarks/<device>/<name>.json say of the cases whose name begins so, as a DataFrame: two rows a case, ours and the
    peer's where it was at hand; empty where it was not run.

    Columns: device, processor, who (with version), the median under the name of its unit, ratio (above 1: ours is better), and each score
    of quality as mean ± sd over seeds.
    """
    import pandas as pd

    rows = []
    for path in sorted((Path(results) / "benchmarks").glob(f"*/{name}.json")):
        result = _read_benchmark(path)
        for row in (row for row in result["rows"] if row["case"].startswith(case)):
            sides = {"ours": "lmlib"} | ({"peer": f"{row['peer']['name']} {row['peer']['version']}"} if "ratio" in row else {})
            for side, who in sides.items():
                where = {"device": path.parent.name, "processor": result["machine"]["processor"], "case": row["case"], "who": who}
                ratio = round(row["ratio"], 2) if len(sides) > 1 and side == "ours" else None
                quality = {score: mean_sd(found["values"]) for score, found in row["quality"][side].items()}
                rows.append(where | {row["unit"]: float(f"{row[side]['median']:.3g}"), "ratio": ratio} | quality)
    return pd.DataFrame(rows)


def claimed(folder, prefix, time=None):
    """What the finished runs below a folder claim as `<prefix>_<method>_<dimensions>_<score>`, in a DataFrame as mean ± sd over seeds.

    Args:
      folder, prefix: where to look, and for what.
      time: a name in the runs' times.json, if a column of that name shall give it, the median over the seeds.

    Returns:
      A row for each `<method>_<dimensions>`, a column for each score; empty where there are none.

    Raises:
      MismatchError: two runs make a claim with the same seed, or in another setting.
      FormatError, IntegrityError: a run is not as it was written.
    """
    import pandas as pd

    table = {}
    for name, made in _finished_claims(folder).items():
        if name.startswith(f"{prefix}_"):
            method, dimensions, score = name.removeprefix(f"{prefix}_").split("_", 2)
            row = table.setdefault(f"{method}_{dimensions}", {})
            row[score] = mean_sd(_together(name, made)["values"])
            noted = [json.loads(Path(folder, run, "times.json").read_text("utf-8"))["seconds"].get(time) for run, *_ in made]
            if time and all(noted):
                row[time] = statistics.median(noted)
    return pd.DataFrame.from_dict(table, orient="index")


def stated(folder, ids) -> dict[str, str]:
    """The claims of these ids that the finished runs below a folder make, as mean ± sd over seeds; "not recorded yet" where none does.

    Raises:
      MismatchError: two runs make a claim with the same seed, or in another setting.
      FormatError, IntegrityError: a run is not as it was written.
    """
    claims = _finished_claims(folder)
    return {name: mean_sd(_together(name, claims[name])["values"]) if name in claims else "not recorded yet" for name in ids}


def _finished_claims(folder):
    """What the finished runs below a folder claim: from each id to (path below the folder, record, claim) of the runs that make it."""
    claims = {}
    for file in sorted(Path(folder).rglob("run.json")):
        if read_record(file.parent)["finished"]:
            run = load_run(file.parent)
            for name, claim in run.record["claims"].items():
                claims.setdefault(name, []).append((file.parent.relative_to(folder).as_posix(), run.record, claim))
    return claims


def readme(results, rows) -> str:
    """The text of results/README.md."""
    results = Path(results)
    lines = [
        "# Results",
        "",
        "Written by `python -m lmlib.record.reproduce --collect` from the run folders beside this file; not to be edited.",
        "A value is the mean over n seeds ± their standard deviation; n = 1 is a single run.",
        "`make reproduce` makes the runs again and compares their tables.",
        "",
    ]
    runs = list(_runs(results))
    for profile in PROFILES:
        here = [(path, run) for path, run in runs if path.split("/")[0] == profile]
        if not here:
            continue
        lines += [f"## {profile}", ""]
        if claims := [row for row in rows if row["run"].split("/")[0] == profile]:
            lines += _table(
                ("claim", "value", "unit", "better", "published", "run", "notebook", "figures"),
                [_claim_cells(row, dict(here)) for row in claims],
            )
        lines += _table(("run", "corpus", "seeds", "device", "jax", "tables", "figures"), [_run_cells(path, run) for path, run in here])
    lines += _benchmarks(results)
    return "\n".join(lines).rstrip("\n") + "\n"


def _runs(results):
    """(path below results, run) of every run, in a fixed order."""
    for profile in PROFILES[1:]:
        for file in sorted((Path(results) / profile).rglob("run.json")):
            yield file.parent.relative_to(results).as_posix(), load_run(file.parent)


def _sd(values):
    return statistics.stdev(values) if len(values) > 1 else None


def _together(name, made):
    """One row from the runs that make the claim: all their seeds, provided that they are seeds of the same thing."""
    path, record, claim = made[0]
    values, seeds = [], []
    for other_path, other, other_claim in made:
        setting = [name for name in ("unit", "better", "published", "source") if other_claim[name] != claim[name]]
        setting += [name for name in ("parameters", "corpora", "notebook") if other[name] != record[name]]
        if setting or set(seeds) & set(other["seeds"]) or (seeds and not other["seeds"]):
            why = f"they differ in {', '.join(setting)}" if setting else "they share seeds"
            raise MismatchError(f"{path} and {other_path} both claim {name!r}, but {why}: give one of them another id")
        values += other_claim["values"]
        seeds += other["seeds"] or [None]
    return {
        "id": name,
        "value": statistics.fmean(values),
        "sd": _sd(values),
        "n": len(values),
        **{key: claim[key] for key in ("unit", "better", "published", "source")},
        "run": " ".join(path for path, _, _ in made),
        "notebook": record["notebook"],
        "values": values,
    }


def _claim_cells(row, runs):
    paths = row["run"].split(" ")
    published = "" if row["published"] is None else f"{row['published']:g} ({row['source']})"
    notebook = f"[{row['notebook']}](../notebooks/{row['notebook']}.ipynb)" if row["notebook"] else ""
    figures = [link for path in paths for link in _links(path, runs[path], "figures/")]
    return (
        row["id"],
        mean_sd(row["values"]),
        row["unit"],
        row["better"],
        published,
        ", ".join(f"[{path}]({path}/run.json)" for path in paths),
        notebook,
        ", ".join(figures),
    )


def _run_cells(path, run):
    record = run.record
    return (
        f"[{path}]({path}/run.json)",
        ", ".join(corpus["name"] for corpus in record["corpora"]),
        ", ".join(map(str, record["seeds"])),
        record["machine"]["device"],
        record["machine"]["versions"]["jax"],
        ", ".join(_links(path, run, "tables/")),
        ", ".join(_links(path, run, "figures/")),
    )


def _links(path, run, kind):
    return [f"[{Path(name).stem}]({path}/{name})" for name in run.record["outputs"] if name.startswith(kind)]


def _benchmarks(results):
    """A table of results/benchmarks/<device>/<name>.json; a ratio above 1 says that ours is better."""
    cells = []
    for path in sorted((results / "benchmarks").glob("*/*.json")):
        link = f"[{path.parent.name}/{path.stem}]({path.relative_to(results).as_posix()})"
        for row in _read_benchmark(path)["rows"]:
            peer = row["peer"]
            beside = ("", f"{peer['name']}: not at hand", "")
            if "ratio" in row:
                beside = (f"{peer['median']:.4g}", f"{peer['name']} {peer['version']}", f"{row['ratio']:.3g}")
            cells.append((link, row["case"], row["unit"], f"{row['ours']['median']:.4g}", *beside))
    return ["## Benchmarks", "", *_table(("benchmark", "case", "unit", "lmlib", "peer", "which", "ratio"), cells)] if cells else []


def _read_benchmark(path):
    try:
        result = json.loads(path.read_text("utf-8"))
        for row in result["rows"]:
            _ = row["case"], row["unit"], row["ours"]["median"], row["peer"]["name"]
            if "missing" not in row["peer"]:
                _ = row["ratio"], row["peer"]["median"], row["peer"]["version"]
        return result
    except (ValueError, KeyError, TypeError) as error:
        raise LmlibError(f"{path} is no benchmark's result ({error!r}): run the benchmark again") from None


def _table(header, rows):
    """The lines of a Markdown table, an empty one after it."""
    text = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *text]] + [""]

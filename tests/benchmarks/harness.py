"""Time two sides in turn and write down what came out.

Each side is a process of its own that keeps its vocabulary and compiled programs; while one works, the other waits for its next line
of input. Both are bound to the same two cores. Order: a warm-up of each, then A B A B …, so that a machine that slows down
slows both.
"""

import json
import os
import shutil
import statistics
import subprocess
from contextlib import suppress
from pathlib import Path

from lmlib import runtime
from lmlib.errors import LmlibError, storage_errors

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
CORES = 2


def pinned(cores=CORES):
    """Command prefix that binds a process to the first `cores` cores that this one may use; empty where there is no taskset."""
    if not (shutil.which("taskset") and hasattr(os, "sched_getaffinity")):
        return []
    return ["taskset", "-c", ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:cores])]


class Worker:
    """A side of a benchmark: a process that runs `worker.serve`; a context manager.

    Args:
      name: 'ours' or 'peer', for messages.
      command: argument list of the process; `pinned()` is put before it.
      environment: variables added to this process's own.
    """

    def __init__(self, name, command, environment=None):
        self.name = name
        self.process = subprocess.Popen(
            [*pinned(), *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # how many threads lmlib gives to numpy, it says in its own process: a peer keeps its own choice
            env={name: value for name, value in os.environ.items() if name not in runtime.BLAS} | (environment or {}),
        )

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error:
            self.process.kill()  # it may be in the middle of a long run
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def call(self, action, **arguments):
        """Have the worker do something and wait for the answer.

        Raises:
          LmlibError: the worker failed, with its traceback, or died.
        """
        try:
            self.process.stdin.write(json.dumps({"action": action, "arguments": arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LmlibError(f"the benchmark's worker {self.name!r} died during {action!r} with exit status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise LmlibError(f"the benchmark's worker {self.name!r} failed during {action!r}:\n{answer['error']}")
        return answer["result"]


def alternate(ours, peer, arguments, *, pairs=5):
    """Run both sides in turn.

    Args:
      ours, peer: workers with an action 'run' whose result has 'seconds'; the peer may be None, then ours runs alone.
      arguments: function (worker, seed) -> keyword arguments of the run; seed 0 is the warm-up, 1 … pairs are measured.
      pairs: how many runs of each side are measured.

    Returns:
      Two lists of results, ours and the peer's; the warm-up stands first in each and belongs in no statistic of time.
    """
    sides = [ours] if peer is None else [ours, peer]
    runs = {worker.name: [] for worker in sides}
    for seed in range(pairs + 1):
        for worker in sides:
            runs[worker.name].append(result := worker.call("run", **arguments(worker, seed)))
            print(f"{f'pair {seed} of {pairs}' if seed else 'warm-up'}: {worker.name} {result['seconds']:.1f} s", flush=True)
    return runs[ours.name], [] if peer is None else runs[peer.name]


def spread(values):
    """{'median', 'min', 'max'} of measured values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def over_seeds(values):
    """{'mean', 'sd', 'n', 'values'} of a score over seeds; sd is that of a sample, None for a single value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "n": len(values), "values": list(values)}


def not_worse(quality):
    """{score: whether our mean reaches the peer's mean minus the peer's standard deviation}; higher scores are better."""
    ours, peer = quality["ours"], quality["peer"]
    return {name: ours[name]["mean"] >= peer[name]["mean"] - (peer[name]["sd"] or 0.0) for name in peer}


def row(case, unit, ours, peer, *, peer_name, peer_version, quality, better="high", **more):
    """One row of a benchmark's result.

    Args:
      case: what was measured, in words.
      unit: unit of the values.
      ours, peer: measured values, at least one each; the peer's may be None where it is not at hand, then there is no ratio.
      peer_name, peer_version: whom we compare with.
      quality: {'ours': {score: over_seeds(…)}, 'peer': …}.
      better: 'high' for rates, 'low' for times. The ratio of medians is turned so that more than 1 always means that ours is better.
      more: further entries, e.g. compile time.
    """
    if better not in ("high", "low"):
        raise LmlibError(f"better must be 'high' or 'low', got {better!r}")
    if peer is None:
        alone = {"ours": spread(ours), "peer": {"name": peer_name, "missing": True}}
        return {"case": case, "unit": unit} | alone | {"quality": {"ours": quality["ours"]}, "quality_not_worse": {}} | more
    sides = {"ours": spread(ours), "peer": {"name": peer_name, "version": peer_version} | spread(peer)}
    ratio = sides["ours"]["median"] / sides["peer"]["median"]
    sides["ratio"] = ratio if better == "high" else 1 / ratio
    return {"case": case, "unit": unit} | sides | {"quality": quality, "quality_not_worse": not_worse(quality)} | more


def write(result, folder=ROOT / "results" / "benchmarks"):
    """Write a result as `<device>/<benchmark>.json`, in one step; returns the path."""
    path = Path(folder) / result["machine"]["device"] / f"{result['benchmark']}.json"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(rounded(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    return path


def rounded(value):
    """The same, with floats to five significant digits: more is noise here."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def table(result):
    """The result in lines for a terminal."""
    lines = []
    for r in result["rows"]:
        missing = f"alone, as {r['peer']['name']} is not at hand"
        beside = f"{r['ratio']:.2f} times {r['peer']['name']} {r['peer']['version']}" if "ratio" in r else missing
        lines.append(f"{r['case']} [{r['unit']}]: {beside}")
        for side in r["quality"]:
            s = r[side]
            lines.append(f"  {side}  median {s['median']:,.4g}  ({s['min']:,.4g} … {s['max']:,.4g})")
            for score, q in r["quality"][side].items():
                sd = "" if q["sd"] is None else f" ± {q['sd']:.4f}"
                lines.append(f"        {score} {q['mean']:.4f}{sd} (n = {q['n']})")
        lines += [f"  quality not reached: {score}" for score, reached in r["quality_not_worse"].items() if not reached]
    return "\n".join(lines)

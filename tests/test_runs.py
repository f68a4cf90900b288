"""Run folders: what is written, what survives a crash, what is refused."""

import dataclasses
import json
import statistics
import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from lmlib.errors import ConfigError, FormatError, IntegrityError, LmlibError, LockedError, MismatchError, StorageError
from lmlib.record import files
from lmlib.record.claims import benchmark, claimed, mean_sd, stated, write_claims
from lmlib.record.compare import compare_runs
from lmlib.record.runs import load_run, notebook_run, open_run, read_metrics, read_record, source_digest

WORLD = SimpleNamespace(name="world", sha256="a" * 64)
MANUAL = SimpleNamespace(name="manual", sha256="b" * 64)


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 8
    rates: tuple[float, ...] = (0.1, 0.2)


def start(folder, **changes):
    return open_run(folder, **{"parameters": {"config": Config()}, "seeds": range(3), "corpus": WORLD} | changes)


def make(folder, frame, tolerance=None, corpus=WORLD, claims=None, **changes):
    """A finished run with one table, `t`."""
    with start(folder, corpus=corpus, **changes) as run:
        run.table("t", frame, tolerance=tolerance)
        for name, claim in (claims or {}).items():
            run.claim(name, **claim)
    return folder


def picture():
    figure = matplotlib.figure.Figure(figsize=(2, 1))
    figure.subplots().plot([1, 3, 2])
    return figure


def test_a_run_tells_what_it_was_given_and_what_it_made(tmp_path):
    with start(tmp_path / "run") as run:
        run.log({"step": 1, "loss": jnp.float32(0.1), "rate": np.float64(0.1), "ids": np.arange(2)})
        run.table("scores", pd.DataFrame({"model": ["a", "b"], "score": [1 / 3, 2e9]}))
        run.figure("loss", picture())
        run.claim("x.accuracy", [0.1, 0.2, 0.3], unit="accuracy", better="high", published=0.5, source="Someone 1999")
        run.time("train", 12.3456)
        assert read_record(run.folder)["finished"] is False
    assert sorted(p.name for p in run.folder.iterdir()) == ["figures", "metrics.jsonl", "run.json", "tables", "times.json"]
    record = load_run(run.folder).record
    assert record["parameters"] == {"config": {"width": 8, "rates": [0.1, 0.2]}}
    assert (record["seeds"], record["corpora"]) == ([0, 1, 2], [{"name": "world", "sha256": "a" * 64}])
    assert record["machine"]["device"] == "cpu"
    assert record["machine"]["versions"]["jax"]
    assert record["source"] == source_digest()
    assert set(record["outputs"]) == {"figures/loss.png", "metrics.jsonl", "tables/scores.csv"}
    # a float32 is written in its own digits, not in those of the double that it becomes
    assert (run.folder / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.1, "rate": 0.1, "ids": [0, 1]}\n'
    assert (run.folder / "tables/scores.csv").read_text() == "model,score\na,0.333333\nb,2e+09\n"
    assert json.loads((run.folder / "times.json").read_text())["seconds"]["train"] == 12.346
    with pytest.raises(LmlibError, match="closed"):
        run.log({})


def test_the_same_run_makes_the_same_bytes(tmp_path):
    def once(name):
        with start(tmp_path / name) as run:
            run.log({"loss": 1.5})
            run.table("t", pd.DataFrame({"x": [0.1]}))
            run.figure("f", picture())
        return {p.name: p.read_bytes() for p in run.folder.rglob("*") if p.is_file() and p.name != "times.json"}

    first, second = once("a"), once("b")
    assert len(first) == 4
    assert first == second
    assert b"matplotlib" not in first["f.png"].lower()  # another version draws, it is hoped, the same picture


def test_a_failure_leaves_the_run_unfinished_and_the_folder_free(tmp_path):
    def fail():
        with start(tmp_path) as run:
            run.log({"step": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(FormatError, match="did not finish"):
        load_run(tmp_path)
    assert read_metrics(tmp_path) == [{"step": 1}]
    start(tmp_path, existing="replace").close()
    assert load_run(tmp_path).record["finished"]


def test_numbers_that_are_not_finite_become_null_with_a_reason(tmp_path):
    with start(tmp_path) as run:
        run.log({"loss": float("nan"), "grad": jnp.float32("inf"), "each": [1.0, np.nan]})
    line = (tmp_path / "metrics.jsonl").read_text()
    record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert record == {"loss": None, "grad": None, "each": [1.0, None], "non_finite": {"loss": "nan", "grad": "inf", "each[1]": "nan"}}


def test_two_writers(tmp_path):
    with start(tmp_path):
        with pytest.raises(LockedError, match="another run"):
            start(tmp_path, existing="replace")
        code = f"""if True:
            from lmlib.errors import LockedError
            from lmlib.record.runs import open_run
            try:
                open_run({str(tmp_path)!r}, parameters={{}}, seeds=[], existing="replace")
            except LockedError:
                print("locked")"""
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "locked\n"
    assert load_run(tmp_path).record["seeds"] == [0, 1, 2]


def test_results_are_not_overwritten_unasked(tmp_path):
    make(tmp_path, pd.DataFrame({"x": [1]}))
    with pytest.raises(MismatchError, match="holds a run already"):
        start(tmp_path)
    with pytest.raises(ConfigError, match="existing"):
        start(tmp_path, existing="reume")
    assert load_run(tmp_path).table("t").to_dict("list") == {"x": [1]}
    (tmp_path / "checkpoints").mkdir()
    start(tmp_path, existing="replace").close()
    assert load_run(tmp_path).record["tables"] == {}
    assert not (tmp_path / "tables").exists()
    assert (tmp_path / "checkpoints").exists()


def test_a_killed_run_resumes(tmp_path):
    run = start(tmp_path)
    for step in (10, 20, 30):
        run.log({"step": step})
    run.abandon()  # as the system frees the lock of a killed process
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 40, "lo')
    with pytest.warns(UserWarning, match="torn"):
        assert [r["step"] for r in read_metrics(tmp_path)] == [10, 20, 30]
    with pytest.raises(MismatchError, match=r"parameters\.config\.width: 8 there, 9 here"):
        start(tmp_path, parameters={"config": Config(width=9)}, existing="resume")
    with start(tmp_path, existing="resume") as run:
        run.rewind(20)  # the checkpoint it goes on from
        run.log({"step": 30, "again": True})
    assert read_metrics(tmp_path) == [{"step": 10}, {"step": 20}, {"step": 30, "again": True}]
    assert (tmp_path / "metrics.jsonl.torn").read_bytes() == b'{"step": 40, "lo\n'
    assert load_run(tmp_path).metrics()["step"].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("torn", "kept"), [(b'{"a": 1}\n{"a": 2}', [1, 2]), (b'{"a": 1}\n{"a', [1]), (b'{"a', []), (b"", []), (b'{"a": 1}\n\xff', [1])]
)
def test_torn_lines_are_mended(tmp_path, torn, kept):
    path = tmp_path / "log"
    path.write_bytes(torn)
    files.mend_lines(path)
    files.append_line(path, {"a": 9})
    assert [record["a"] for record in files.read_lines(path)] == [*kept, 9]


def test_a_bad_line_inside_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"a": 1}\n{"a\n{"a": 3}\n')
    with pytest.raises(FormatError, match=r"metrics\.jsonl, line 2"):
        read_metrics(tmp_path)


def test_a_full_disk_takes_no_half_record(tmp_path, monkeypatch):
    path = tmp_path / "log"
    files.append_line(path, {"a": 1})
    write = files.os.write
    monkeypatch.setattr(files.os, "write", lambda file, line: write(file, line[:5]))
    with pytest.raises(StorageError, match="disk is full"):
        files.append_line(path, {"a": 2})
    monkeypatch.undo()
    assert path.read_bytes() == b'{"a": 1}\n'


def test_changed_outputs_are_found(tmp_path):
    make(tmp_path, pd.DataFrame({"x": [1, 2]}))
    (tmp_path / "tables/t.csv").write_text("x\n1\n3\n")
    with pytest.raises(IntegrityError, match=r"t\.csv is not as"):
        load_run(tmp_path)
    (tmp_path / "tables/t.csv").unlink()
    with pytest.raises(IntegrityError, match=r"t\.csv is missing"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FormatError, match=r"run\.json is no JSON"):
        load_run(tmp_path)


def test_tables_hold_any_word_and_any_number(tmp_path):
    words = ["null", "nan", "NA", 'a "b", c', "two\nlines", "字"]
    frame = pd.DataFrame(
        {"word": words, "x": [1.0, np.nan, np.inf, -0.0, 1e-12, 123456789.0], "n": pd.array([1, None, 3, 4, 5, 6], "Int64")}
    )
    read = load_run(make(tmp_path, frame.assign(mixed=[True, "a", 0.1 + 0.2, np.float32(0.1), 10**20, None]))).table("t")
    assert read["word"].tolist() == words
    np.testing.assert_array_equal(read["x"], [1, np.nan, np.inf, 0, 1e-12, 123457000])
    assert read["n"].isna().tolist() == [False, True, False, False, False, False]
    assert read["mixed"].tolist()[:5] == ["True", "a", "0.3", "0.1", "1" + "0" * 20]
    content = (tmp_path / "tables/t.csv").read_bytes()
    assert b"\r" not in content
    assert b"-0" not in content.replace(b"e-", b"")


def test_a_named_index_is_kept(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index(["a", "b"], name="word"))
    assert load_run(make(tmp_path, frame)).table("t").to_dict("list") == {"word": ["a", "b"], "x": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.table("../t", pd.DataFrame({"x": [1]})), "cannot name a table"),
        (lambda run: run.table("t", pd.DataFrame([[1, 2]], columns=["x", "x"])), "two columns"),
        (lambda run: run.table("t", pd.DataFrame({"x": [[1, 2]]})), "a number or text"),
        (lambda run: run.table("t", pd.DataFrame({"x": [1]}), tolerance={"y": 0.1}), "no such column"),
        (lambda run: run.table("t", pd.DataFrame({"x": ["a"]}), tolerance={"x": 0.1}), "column of numbers"),
        (lambda run: run.table("t", pd.DataFrame({"x": [1.0]}), tolerance={"x": -1}), "column of numbers"),
        (lambda run: run.table("t", pd.DataFrame({"x": [1.0]}), corpus=MANUAL), "'manual'"),
        (lambda run: run.claim("c", [1, 2], unit="x", better="high"), "each of the 3 seeds"),
        (lambda run: run.claim("c", [1, 2, np.nan], unit="x", better="high"), "finite"),
        (lambda run: run.claim("c", [1], unit="x", better="higher"), "better"),
        (lambda run: run.claim("c", [1], unit="x", better="low", published=3), "source"),
        (lambda run: run.log({"x": object()}), "plain value"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, call, message):
    with start(tmp_path) as run, pytest.raises(ConfigError, match=message):
        call(run)


def test_a_notebook_may_start_its_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LMLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    cells = [{"cell_type": "code", "source": ["x = 1\n", "y"]}, {"cell_type": "markdown", "source": ["text"]}]
    (tmp_path / "00_a.ipynb").write_text(json.dumps({"cells": cells}))
    for _ in range(2):
        run = notebook_run("00_a", "smoke", parameters={}, seeds=[])
    run.close()
    record = load_run(tmp_path / "results/smoke/00_a").record
    assert (record["notebook"], record["profile"]) == ("00_a", "smoke")
    cells[1]["source"] = ["other text"]
    (tmp_path / "00_a.ipynb").write_text(json.dumps({"cells": cells}))
    assert source_digest("00_a.ipynb") == record["source"]  # prose makes no results
    cells[0]["source"] = ["x = 2\n", "y"]
    (tmp_path / "00_a.ipynb").write_text(json.dumps({"cells": cells}))
    assert source_digest("00_a.ipynb") != record["source"]
    with pytest.raises(ConfigError, match="profile"):
        notebook_run("00_a", "quik", parameters={}, seeds=[])


TABLE = pd.DataFrame({"model": ["a", "b"], "loss": [1.0, 2.0], "near": ["x", "y"]})


@pytest.mark.parametrize(
    ("fresh", "verdict", "detail"),
    [
        (TABLE, "identical", ""),
        (TABLE.assign(loss=[1.0, 2.05]), "within tolerance", "1 cell not the same"),
        (TABLE.assign(loss=[1.0, 2.1], near=["z", "z"]), "within tolerance", "3 cells not the same"),
        (TABLE.assign(loss=[1.0, 2.11]), "different", "row 2, column loss: 2.11; committed 2, tolerance 0.1"),
        (TABLE.assign(loss=[np.nan, 2.0]), "different", "row 1, column loss: nothing; committed 1, tolerance 0.1"),
        (TABLE.assign(model=["a", "c"]), "different", "row 2, column model: c; committed b"),
        (TABLE[:1], "different", "1 rows; committed 2"),
        (TABLE[["model", "loss"]], "different", "columns model, loss; committed model, loss, near"),
    ],
)
def test_comparison_cell_by_cell(tmp_path, fresh, verdict, detail):
    committed = make(tmp_path / "committed", TABLE, tolerance={"loss": 0.1, "near": None})
    (got,) = compare_runs(make(tmp_path / "fresh", fresh, tolerance={"loss": 9} if "loss" in fresh else None), committed)
    assert (got.verdict, got.detail) == (verdict, detail)


def test_comparison_of_what_is_not_there_or_not_the_same_text(tmp_path):
    def verdicts(fresh, committed):
        return {v.table: v.verdict for v in compare_runs(fresh, committed)}

    both, other_manual = [WORLD, MANUAL], [WORLD, SimpleNamespace(name="manual", sha256="c" * 64)]
    for name, corpora, value in (("committed", both, 1.0), ("fresh", other_manual, 2.0)):
        with start(tmp_path / name, corpus=corpora) as run:
            run.table("of_all", pd.DataFrame({"x": [value]}))
            run.table("of_world", pd.DataFrame({"x": [value]}), corpus=WORLD)
            run.table("same", pd.DataFrame({"x": [1]}))
            run.table(f"only_{name}", pd.DataFrame({"x": [1]}))
    assert verdicts(tmp_path / "fresh", tmp_path / "committed") == {
        "of_all": "not comparable",
        "of_world": "different",
        "same": "identical",
        "only_committed": "missing",
        "only_fresh": "not recorded",
    }
    assert set(verdicts(tmp_path / "fresh", tmp_path / "nowhere").values()) == {"not recorded"}
    (tmp_path / "committed/tables/same.csv").write_text("x\n2\n")
    (damaged,) = compare_runs(tmp_path / "fresh", tmp_path / "committed")
    assert damaged.verdict == "damaged"
    assert "same.csv" in damaged.detail


def test_claims_are_collected(tmp_path):
    def claim(*values, **more):
        return {"values": values, "unit": "accuracy", "better": "high"} | more

    published = {"published": 0.61, "source": "Mikolov et al. 2013"}
    make(tmp_path / "quick/03_word2vec", TABLE, notebook="03_word2vec.ipynb", profile="quick", claims={"b.acc": claim(0.5, 0.6, 0.7)})
    for seed, value in ((0, 0.1), (1, 0.2)):
        make(tmp_path / f"real/train/seed-{seed}", TABLE, seeds=[seed], claims={"b.acc": claim(value, **published), "a|c": claim(seed)})
    make(tmp_path / "smoke/03_word2vec", TABLE, claims={"b.acc": claim(9)})
    write_claims(tmp_path)
    assert (tmp_path / "claims.csv").read_text() == (
        "id,value,sd,n,unit,better,published,source,run,notebook\n"
        "b.acc,0.6,0.1,3,accuracy,high,,,quick/03_word2vec,03_word2vec\n"
        "a|c,0.5,0.707107,2,accuracy,high,,,real/train/seed-0 real/train/seed-1,\n"
        "b.acc,0.15,0.0707107,2,accuracy,high,0.61,Mikolov et al. 2013,real/train/seed-0 real/train/seed-1,\n"
    )
    text = (tmp_path / "README.md").read_text()
    assert "| b.acc | 0.60 ± 0.10 (n = 3) | accuracy | high |  | [quick/03_word2vec](quick/03_word2vec/run.json) |" in text
    assert "| 0.150 ± 0.071 (n = 2) | accuracy | high | 0.61 (Mikolov et al. 2013) |" in text
    assert r"| a\|c |" in text
    assert "smoke" not in text

    make(tmp_path / "real/again", TABLE, seeds=[1], claims={"b.acc": claim(0.2, **published)})
    with pytest.raises(MismatchError, match=r"real/again.*share seeds"):
        write_claims(tmp_path)
    make(tmp_path / "real/again", TABLE, seeds=[2], existing="replace", claims={"b.acc": claim(0.2)})
    with pytest.raises(MismatchError, match="differ in published, source"):
        write_claims(tmp_path)


def test_claims_of_methods_and_sizes_as_a_table(tmp_path):
    claims = {"enwiki_sgns_100_ws353": 0.5, "enwiki_sgns_100_purity_things": 0.4, "other_sgns_100_ws353": 0.9}
    for seed in (1, 2):
        made = {name: {"values": value + seed / 10, "unit": "ρ", "better": "high"} for name, value in claims.items()}
        make(tmp_path / f"sgns_100-{seed}", TABLE, seeds=[seed], claims=made)
    unfinished = start(tmp_path / "glove_300-1", seeds=[1])
    unfinished.claim("enwiki_glove_300_ws353", 0.1, unit="ρ", better="high")
    table = claimed(tmp_path, "enwiki")
    assert table.to_dict("index") == {"sgns_100": {"ws353": "0.650 ± 0.071 (n = 2)", "purity_things": "0.550 ± 0.071 (n = 2)"}}
    unfinished.abandon()
    taken = [json.loads((tmp_path / f"sgns_100-{seed}/times.json").read_text())["seconds"]["all"] for seed in (1, 2)]
    assert claimed(tmp_path, "enwiki", time="all").loc["sgns_100", "all"] == statistics.median(taken)
    assert "work" not in claimed(tmp_path, "enwiki", time="work"), "a time that nobody noted"
    assert claimed(tmp_path / "nothing", "enwiki").empty
    ids = ["other_sgns_100_ws353", "enwiki_glove_300_ws353"]
    assert stated(tmp_path, ids) == {ids[0]: "1.050 ± 0.071 (n = 2)", ids[1]: "not recorded yet"}


def test_benchmarks_are_in_the_readme(tmp_path):
    side = {"median": 4.0, "min": 3.0, "max": 5.0}
    row = {
        "case": "100 d",
        "unit": "M words/s",
        "ours": side,
        "peer": side | {"median": 2.0, "name": "gensim", "version": "4.4"},
        "ratio": 2,
    }
    (tmp_path / "benchmarks/cpu").mkdir(parents=True)
    (tmp_path / "benchmarks/cpu/word2vec.json").write_text(json.dumps({"rows": [row]}))
    write_claims(tmp_path)
    want = "| [cpu/word2vec](benchmarks/cpu/word2vec.json) | 100 d | M words/s | 4 | 2 | gensim 4.4 | 2 |"
    assert want in (tmp_path / "README.md").read_text()


def test_a_benchmark_is_a_table_of_both_sides(tmp_path):
    side = {"median": 4.0, "min": 3.0, "max": 5.0}
    scores = {"ours": {"ws353": {"values": [0.5, 0.6]}}, "peer": {"ws353": {"values": [0.4, 0.4]}}}
    row = {
        "case": "100 d",
        "unit": "words/s",
        "ours": side,
        "peer": side | {"name": "gensim", "version": "4.4"},
        "ratio": 2.0,
        "quality": scores,
    }
    assert benchmark(tmp_path, "word2vec").empty
    (tmp_path / "benchmarks/cpu").mkdir(parents=True)
    path = tmp_path / "benchmarks/cpu/word2vec.json"
    path.write_text(json.dumps({"machine": {"processor": "abacus"}, "rows": [row]}))
    ours, peer = benchmark(tmp_path, "word2vec").to_dict("records")
    assert ours == {
        "device": "cpu",
        "processor": "abacus",
        "case": "100 d",
        "who": "lmlib",
        "words/s": 4,
        "ratio": 2,
        "ws353": "0.550 ± 0.071 (n = 2)",
    }
    assert (peer["who"], peer["ws353"]) == ("gensim 4.4", "0.4 ± 0 (n = 2)")
    assert len(benchmark(tmp_path, "word2vec", "100")) == 2
    assert benchmark(tmp_path, "word2vec", "300").empty
    alone = {name: value for name, value in row.items() if name != "ratio"} | {"peer": {"name": "gensim", "missing": True}}
    path.write_text(json.dumps({"machine": {"processor": "abacus"}, "rows": [alone | {"quality": {"ours": scores["ours"]}}]}))
    assert benchmark(tmp_path, "word2vec")[["who", "words/s"]].to_dict("records") == [{"who": "lmlib", "words/s": 4}]
    write_claims(tmp_path)
    assert "| 100 d | words/s | 4 |  | gensim: not at hand |  |" in (tmp_path / "README.md").read_text()
    path.write_text('{"rows": [{}]}')
    with pytest.raises(LmlibError, match="run the benchmark again"):
        benchmark(tmp_path, "word2vec")


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5], "0.5 (n = 1)"), ([1, 1], "1 ± 0 (n = 2)"), ([0.55, 0.57, 0.56], "0.560 ± 0.010 (n = 3)"), ([100, 150], "125 ± 35 (n = 2)")],
)
def test_mean_sd(values, text):
    assert mean_sd(values) == text

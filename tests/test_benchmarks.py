"""The benchmarks' harness: sides in turn, ratios the right way round, the form of the file. Nothing here asserts a time."""

import hashlib
import json
import os
import sys
from itertools import pairwise

import pytest

from lmlib.errors import LmlibError, UnknownNameError
from tests.benchmarks import __main__ as command
from tests.benchmarks import harness

FAKE_WORD2VEC = """
import sys
import numpy as np
from lmlib.models.vectors import WordVectors
from tests.benchmarks.worker import serve
name, seconds, lost = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

def run(method, corpus, seed, output, epochs, vector_size, min_count, window, sample, rate, negative=None):
    assert (negative is None) == (method == "skip-gram-hs")
    words = ["hot", "cold", "warm", "cool"]
    if name == "peer":
        words.reverse()  # another order, and still the same score
    angle = {"hot": 0.0, "warm": 0.1, "cool": 0.3, "cold": 0.6 if seed == 1 else 0.2}
    vectors = np.array([[np.cos(angle[word]), np.sin(angle[word])] for word in words], np.float32)
    WordVectors(words, vectors).save(output, "word2vec-binary")
    return {"seconds": seconds * seed, "vocabulary_seconds": 0.5, "vocabulary": 4, "words": 40 - lost}

serve(run=run, describe=lambda: {"name": name, "versions": {"gensim": "0"}, "machine": {"device": "cpu", "versions": {"jax": "0"}}})
"""

FAKE = """
import json, os, sys, time
from tests.benchmarks.worker import serve
name, path = sys.argv[1:]

def run(seed, seconds):
    start = time.time()
    print("noise on stdout")
    time.sleep(0.005)
    with open(path, "a") as file:
        file.write(json.dumps([name, seed, start, time.time()]) + "\\n")
    return {"seconds": seconds}

def facts():
    return {"pid": os.getpid(), "cores": len(os.sched_getaffinity(0)), "variable": os.environ.get("SOME_VARIABLE")}

serve(run=run, facts=facts, fail=lambda: 1 / 0, leave=lambda: os._exit(3))
"""


@pytest.fixture
def sides(tmp_path):
    log = tmp_path / "log.jsonl"
    script = tmp_path / "fake.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(harness.ROOT)!r})\n{FAKE}")
    with (
        harness.Worker("ours", [sys.executable, script, "ours", log], {"SOME_VARIABLE": "1"}) as ours,
        harness.Worker("peer", [sys.executable, script, "peer", log]) as peer,
    ):
        yield ours, peer, log


def test_sides_run_in_turn_each_in_its_own_process(sides):
    ours, peer, log = sides
    results = harness.alternate(ours, peer, lambda worker, seed: {"seed": seed, "seconds": 10.0 * seed + (worker is peer)}, pairs=3)
    assert results == ([{"seconds": 10.0 * s} for s in range(4)], [{"seconds": 10.0 * s + 1} for s in range(4)])
    runs = [json.loads(line) for line in log.read_text().strip().split("\n")]
    assert [(name, seed) for name, seed, _, _ in runs] == [(name, seed) for seed in range(4) for name in ("ours", "peer")]
    assert all(end <= start for (*_, end), (_, _, start, _) in pairwise(runs))  # one works, the other waits
    facts = [worker.call("facts") for worker in (ours, peer)]
    assert facts[0]["pid"] != facts[1]["pid"]
    assert [f["variable"] for f in facts] == ["1", None]


@pytest.mark.skipif(not harness.pinned(), reason="no taskset here")
def test_both_sides_are_bound_to_two_cores(sides):
    assert {worker.call("facts")["cores"] for worker in sides[:2]} == {min(harness.CORES, len(os.sched_getaffinity(0)))}


def test_a_worker_that_fails_or_dies_is_one_error(sides):
    ours, peer, _ = sides
    with pytest.raises(LmlibError, match=r"(?s)'ours' failed during 'fail'.*ZeroDivisionError"):
        ours.call("fail")
    assert ours.call("facts")  # still there
    with pytest.raises(LmlibError, match=r"'peer' died during 'leave' with exit status 3"):
        peer.call("leave")
    with pytest.raises(LmlibError, match=r"'peer' died during 'facts'"):
        peer.call("facts")


@pytest.mark.parametrize(("better", "ratio"), [("high", 4.0), ("low", 0.25)])
def test_a_ratio_over_one_means_ours_is_better(better, ratio):
    row = harness.row(
        "c", "u", [8.0, 7.0, 30.0], [2.0, 1.0, 3.0], peer_name="p", peer_version="1", quality={"ours": {}, "peer": {}}, better=better
    )
    assert row["ours"] == {"median": 8.0, "min": 7.0, "max": 30.0}
    assert row["peer"] == {"name": "p", "version": "1", "median": 2.0, "min": 1.0, "max": 3.0}
    assert row["ratio"] == ratio


def test_over_seeds():
    assert harness.over_seeds([1.0, 2.0, 3.0]) == {"mean": 2.0, "sd": 1.0, "n": 3, "values": [1.0, 2.0, 3.0]}
    assert harness.over_seeds([1.0])["sd"] is None


def test_quality_is_reached_within_one_deviation_of_the_peer():
    peer = {"a": harness.over_seeds([0.4, 0.5, 0.6]), "b": harness.over_seeds([0.4, 0.5, 0.6]), "c": harness.over_seeds([0.5])}
    ours = {"a": harness.over_seeds([0.41]), "b": harness.over_seeds([0.39]), "c": harness.over_seeds([0.5])}
    assert harness.not_worse({"ours": ours, "peer": peer}) == {"a": True, "b": False, "c": True}


def test_the_file_has_the_agreed_form(tmp_path):
    quality = {side: {"score": harness.over_seeds([0.5, 0.25])} for side in ("ours", "peer")}
    row = harness.row("case", "words/s", [3.0], [1.0], peer_name="p", peer_version="1.2", quality=quality, corpus={"tokens": 7})
    result = {"benchmark": "b", "machine": {"device": "cpu"}, "versions": {"ours": {}, "peer": {}}, "rows": [row]}
    path = harness.write(result, tmp_path)
    assert path == tmp_path / "cpu" / "b.json"
    read = json.loads(path.read_text())
    assert list(read) == ["benchmark", "machine", "versions", "rows"]
    assert set(read["rows"][0]) == {"case", "unit", "ours", "peer", "ratio", "quality", "quality_not_worse", "corpus"}
    assert set(read["rows"][0]["ours"]) == {"median", "min", "max"}
    assert set(read["rows"][0]["peer"]) == {"name", "version", "median", "min", "max"}
    assert set(read["rows"][0]["quality"]) == {"ours", "peer"}
    assert harness.rounded({"x": [0.123456789, 3]}) == {"x": [0.12346, 3]}
    assert "3.00 times p 1.2" in harness.table(result)
    assert "0.3750 ± 0.1768 (n = 2)" in harness.table(result)


def test_an_unknown_benchmark_lists_the_names(capsys):
    with pytest.raises(UnknownNameError, match=r"'wordvec'; did you mean 'word2vec'\?; there are: word2vec"):
        command.find("wordvec")
    assert command.main([]) == 1
    assert "there are: word2vec" in capsys.readouterr().err


def test_the_corpus_of_the_bar_is_cut_as_it_says(tmp_path):
    from lmlib.text.corpora import memory_corpus
    from tests.benchmarks.word2vec import prepare

    facts = prepare(memory_corpus(["Über-Café, <unk> 3.5 km\n(two  lines)", " -- ", "A"]), tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"ber caf 3 5 km two lines\na\n"
    assert (facts["documents"], facts["tokens"]) == (2, 8)
    assert facts["sha256"] == hashlib.sha256(b"ber caf 3 5 km two lines\na\n").hexdigest()


@pytest.fixture
def small_word2vec(tmp_path, monkeypatch):
    """The word2vec benchmark with four words, three pairs to score and fake sides; call it with what the peer loses of the corpus."""
    from lmlib.text.corpora import memory_corpus
    from tests.benchmarks import word2vec

    script = tmp_path / "fake.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(harness.ROOT)!r})\n{FAKE_WORD2VEC}")
    chosen = {"chosen": {"ours": {"rate": 1}, "peer": {"rate": 2}}}
    (tmp_path / "tuning.json").write_text(json.dumps({"methods": dict.fromkeys(word2vec.METHODS, chosen)}))
    monkeypatch.setattr(word2vec, "TUNING", tmp_path / "tuning.json")
    monkeypatch.setattr(word2vec, "open_corpus", lambda name: memory_corpus(["hot cold warm cool"] * 10))
    monkeypatch.setattr(word2vec, "similarity_set", lambda name: [("hot", "warm", 9), ("hot", "cool", 5), ("hot", "cold", 1)])
    monkeypatch.setattr(word2vec, "analogy_questions", lambda: {"c": [("hot", "warm", "cold", "cool"), ("hot", "x", "cold", "cool")]})

    def run(lost):
        sides = (("ours", 1, 0), ("peer", 4, lost))
        monkeypatch.setattr(word2vec, "workers", lambda: [harness.Worker(n, [sys.executable, script, n, s, x]) for n, s, x in sides])
        return word2vec.run(pairs=3)

    return run


def test_word2vec_counts_the_same_words_for_both_sides_and_scores_saved_vectors(small_word2vec):
    rows = small_word2vec(0)["rows"]
    assert [row["case"].split(", 100")[0] for row in rows] == [
        "skip-gram, 5 negatives",
        "CBOW, 5 negatives",
        "skip-gram, hierarchical softmax",
    ]
    row = rows[0]
    assert row["ours"] == {"median": 40 * 3 / 2, "min": 40 * 3 / 3, "max": 40 * 3 / 1}
    assert (row["peer"]["median"], row["ratio"]) == (40 * 3 / 8, 4.0)
    assert row["quality"]["ours"] == row["quality"]["peer"]
    assert row["quality"]["ours"]["ws353"]["values"] == pytest.approx([1.0, 0.5, 0.5])
    assert row["quality"]["ours"]["analogies"]["values"] == [1.0, 1.0, 1.0]
    assert (row["corpus"]["tokens"], row["corpus"]["words_in_vocabulary"]) == (40, 40)


def test_word2vec_refuses_sides_that_saw_different_words(small_word2vec):
    with pytest.raises(LmlibError, match=r"did not train on the same words.*\(39, 4\), \(40, 4\)"):
        small_word2vec(1)


def test_word2vec_wants_rates_that_were_chosen(small_word2vec, tmp_path):
    (tmp_path / "tuning.json").write_text('{"methods": {"skip-gram-ns": {"chosen": {"ours": {}, "peer": {}}}}}')
    with pytest.raises(LmlibError, match=r"tune_word2vec cbow-ns"):
        small_word2vec(0)


def test_the_rates_chosen_are_the_fastest_within_one_standard_error_of_the_best():
    from tests.benchmarks.tune_word2vec import choose

    def found(shared, score, sd=0.02):
        return {"parameters": {"shared": shared}, "score": {"mean": score, "sd": sd, "n": 4}}

    rows = [
        found(32, 0.5),
        found(16, 0.491),
        found(8, 0.489),
        found(16, 0.495),
        found(4, 0.1),
        {"parameters": {"shared": 1}, "diverged": True},
    ]
    assert choose(rows, lambda point: point["shared"]) == {"shared": 16}
    assert choose(rows, lambda point: 0) == {"shared": 32}


FAKE_GLOVE = """
import sys
import numpy as np
from lmlib.models.vectors import WordVectors
from tests.benchmarks.worker import serve
name, seconds, lost = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

def run(corpus, seed, output, epochs, vector_size, min_count, window, x_max, rate):
    angle = {"hot": 0.0, "warm": 0.1, "cool": 0.3, "cold": 0.6}
    WordVectors(list(angle), np.array([[np.cos(a), np.sin(a)] for a in angle.values()], np.float32)).save(output, "word2vec-binary")
    parts = dict.fromkeys(["counting_seconds", "ordering_seconds", "training_seconds", "vocabulary_seconds"], 0.5)
    return parts | {"seconds": seconds * seed, "vocabulary": 4, "cells": 12 - lost}

serve(run=run, describe=lambda: {"name": name, "versions": {"glove": "0"}, "machine": {"device": "cpu", "versions": {"jax": "0"}}})
"""


@pytest.fixture
def small_glove(tmp_path, monkeypatch):
    """The GloVe benchmark with four words and fake sides; call it with what the peer loses of the cells, None for no peer."""
    from lmlib.text.corpora import memory_corpus
    from tests.benchmarks import glove, word2vec

    script = tmp_path / "fake.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(harness.ROOT)!r})\n{FAKE_GLOVE}")
    (tmp_path / "tuning.json").write_text('{"chosen": {"ours": {"rate": 1}, "peer": {"rate": 2}}}')
    monkeypatch.setattr(glove, "TUNING", tmp_path / "tuning.json")
    monkeypatch.setattr(glove, "open_corpus", lambda name: memory_corpus(["hot cold warm cool"] * 10))
    monkeypatch.setattr(word2vec, "similarity_set", lambda name: [("hot", "warm", 9), ("hot", "cool", 5), ("hot", "cold", 1)])
    monkeypatch.setattr(word2vec, "analogy_questions", lambda: {"c": [("hot", "warm", "cold", "cool")]})

    def run(lost):
        sides = [harness.Worker(n, [sys.executable, script, n, s, x]) for n, s, x in (("ours", 1, 0), ("peer", 4, lost)) if x is not None]
        monkeypatch.setattr(glove, "workers", lambda: (*sides, None)[:2])
        return glove.run(pairs=3)

    return run


def test_glove_counts_the_same_cells_for_both_sides(small_glove):
    (row,) = small_glove(0)["rows"]
    assert row["ours"] == {"median": 12 * 15 / 2, "min": 12 * 15 / 3, "max": 12 * 15 / 1}
    assert (row["peer"]["median"], row["ratio"], row["corpus"]["cells"]) == (12 * 15 / 8, 4.0, 12)
    assert row["quality"]["ours"]["ws353"]["values"] == pytest.approx([1.0] * 3)


def test_glove_refuses_sides_that_saw_different_counts(small_glove):
    with pytest.raises(LmlibError, match=r"did not train on the same counts.*\(11, 4\), \(12, 4\)"):
        small_glove(1)


def test_glove_without_its_peer_gives_ours_alone_and_says_so(small_glove, tmp_path):
    result = small_glove(None)
    (row,) = result["rows"]
    assert "ratio" not in row
    assert row["ours"]["median"] == 12 * 15 / 2
    assert row["peer"] == {"name": "the GloVe C program", "missing": True}
    assert "alone, as the GloVe C program is not at hand" in harness.table(result)
    assert json.loads(harness.write(result, tmp_path).read_text())["rows"][0]["quality"].keys() == {"ours"}


def test_glove_wants_rates_that_were_chosen(small_glove, tmp_path):
    (tmp_path / "tuning.json").write_text('{"chosen": {"ours": {"rate": 1}}}')
    assert "ratio" not in small_glove(None)["rows"][0]
    with pytest.raises(LmlibError, match="tune_glove peer"):
        small_glove(0)


def test_glove_names_the_programs_that_its_folder_has_not(tmp_path, monkeypatch):
    from tests.benchmarks import glove

    (tmp_path / "glove").write_text("")
    (tmp_path / "glove").chmod(0o755)
    monkeypatch.setenv("PEER_GLOVE", str(tmp_path))
    with pytest.raises(LmlibError, match="has no program vocab_count, cooccur, shuffle"):
        glove.workers()

"""The command line: what it trains, that no interruption changes a bit of it, and that what it refuses is one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lmlib.record.reproduce
from lmlib import cli
from lmlib.cli import main
from lmlib.errors import nearest
from lmlib.learn import checkpoint
from lmlib.learn.train import fit
from lmlib.measure.sets import SIMILARITY_SETS
from lmlib.models import word2vec
from lmlib.models.subword_vectors import SubwordVectors
from lmlib.models.vectors import WordVectors
from lmlib.record import resuming, training
from lmlib.record.methods import METHODS
from lmlib.record.runs import load_run, open_run, read_metrics
from lmlib.text.batches import CorpusChunks, write_tokens
from lmlib.text.corpora import names
from lmlib.text.tokenizers import WordTokenizer

CONFIG = word2vec.SkipGramConfig.tiny(dimension=8, epochs=2, blocks=4, learning_rate=0.05)
SETTINGS = ["--preset", "tiny", "--dimension", "8", "--epochs", "2", "--blocks", "4", "--learning-rate", "0.05"]
SETTINGS += ["--chunk", "1024", "--min-count", "3"]
CHUNKS = 2 * 20  # of a run: two epochs of 20,000 words


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A file of 20,000 words, a thousand lines, with the frequencies of a natural text."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("text") / "some.txt"
    words = np.array([f"w{i}" for i in range(300)])[np.minimum(rng.zipf(1.3, (1000, 20)) - 1, 299)]
    path.write_text("\n".join(" ".join(line) for line in words) + "\n")
    return path


def command(text, out, *more):
    return ["train", "word2vec", "--corpus", str(text), "--out", str(out), *SETTINGS, *more]


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(text, out)) == 0
    return out


def start(text, out, *more, cores=None):
    prefix = ["taskset", "-c", cores] if cores else []
    return subprocess.Popen([*prefix, sys.executable, "-m", "lmlib", *command(text, out, *more)], stderr=subprocess.PIPE, text=True)


def finish(process):
    """(exit status, standard error), which never is a traceback."""
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return process.returncode, errors


def wait_for_step(process, out, step):
    """Wait until a run has saved this step, or a later one."""
    for _ in range(6000):
        steps = [int(path.name) for path in (out / "checkpoints").glob("[0-9]*")]
        if max(steps, default=0) >= step:
            return max(steps)
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    raise AssertionError("the run saves nothing")


def assert_same_run(out, whole):
    """Vectors and metrics are those of the uninterrupted run, byte for byte."""
    for name in ("vectors.txt", "metrics.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert load_run(out).record["outputs"] == load_run(whole).record["outputs"]


# Training


def test_the_vectors_are_those_of_the_loop_that_a_reader_would_write(text, whole):
    lines = text.read_text().strip("\n").split("\n")
    tokenizer = WordTokenizer.train(lines, normalisation="letters-digits", min_count=3, unk=None)
    chunks = CorpusChunks(write_tokens(lines, tokenizer), 1024)
    init_key, key = jax.random.split(jax.random.key(1))
    step = word2vec.make_step(CONFIG, tokenizer.counts, len(chunks))
    *_, (state, _) = fit(step, word2vec.init_state(CONFIG, len(tokenizer.words), init_key), chunks, key=key, steps=CHUNKS)
    vectors = WordVectors.load(whole / "vectors.txt")
    assert vectors.words == tuple(tokenizer.words)
    assert_array_equal(vectors.vectors, np.asarray(state["params"]["centre"])[:, :8])


def test_a_run_says_what_it_did(text, whole):
    record = load_run(whole).record
    assert record["corpora"][0]["name"] == text.name
    assert record["seeds"] == [1]
    assert record["parameters"]["config"]["dimension"] == 8
    assert record["parameters"]["words"] == {
        "unk": None,
        "normalisation": "letters-digits",
        "segmentation": "space",
        "min_count": 3,
        "max_size": None,
    }
    metrics = read_metrics(whole)
    assert [m["step"] for m in metrics] == list(range(CHUNKS))
    assert [m["epoch"] for m in metrics] == [0] * 20 + [1] * 20
    assert sum(m["tokens"] for m in metrics[:20]) == WordTokenizer.load(whole / "tokenizer.json").counts.sum()
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert str(text.parent) not in (whole / "run.json").read_text()


def test_killed_then_asked_to_stop_then_finished(text, whole, tmp_path):
    """SIGKILL and SIGTERM in mid-epoch leave no trace in the result; nor does it matter how often a run saves."""
    out = tmp_path / "run"
    process = start(text, out, "--save-every", "3")
    assert wait_for_step(process, out, 3) < CHUNKS
    process.kill()
    finish(process)
    assert not json.loads((out / "run.json").read_text())["finished"]

    process = start(text, out, "--save-every", "1")
    assert wait_for_step(process, out, 7) < CHUNKS - 1
    process.terminate()
    status, errors = finish(process)
    assert status == 143
    assert "the same command goes on from there" in errors
    saved = wait_for_step(process, out, 7)
    assert [m["step"] for m in read_metrics(out)] == list(range(saved))

    process = start(text, out)
    assert finish(process) == (0, "")
    assert_same_run(out, whole)


def test_one_core_or_two(text, whole, tmp_path):
    """In reproducible mode, which the tests set, one core gives the bits of however many `whole` had."""
    if not shutil.which("taskset") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs taskset and two cores")
    first = str(min(os.sched_getaffinity(0)))
    assert finish(start(text, tmp_path / "run", cores=first)) == (0, "")
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_training_saves(text, whole, tmp_path, monkeypatch, number, status):
    """Between any two chunks: here after the sixth."""
    out, log = tmp_path / "run", resuming._Speed.show

    def show(self, step, *more):
        log(self, step, *more)
        if step == 5:
            signal.raise_signal(number)

    monkeypatch.setattr(resuming._Speed, "show", show)
    with pytest.raises(SystemExit) as stopped:
        main(command(text, out))
    assert stopped.value.code == status
    assert checkpoint.Checkpoints(out / "checkpoints").latest == 6
    assert main(command(text, out)) == 0
    assert_same_run(out, whole)
    # the work since the last start is not that of the run, and is not told as if it were
    assert ["core_seconds" in json.loads((run / "times.json").read_text())["seconds"] for run in (whole, out)] == [True, False]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_training_leaves_nothing(text, tmp_path, monkeypatch, number, status, capsys):
    monkeypatch.setattr(training, "_count_words", lambda *_: signal.raise_signal(number))
    try:
        got = main(command(text, tmp_path / "run"))
    except SystemExit as stopped:
        got = stopped.code
    assert got == status
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_or_log_is_made_good(text, whole, tmp_path, monkeypatch):
    """A run that has to go back to an older checkpoint logs again what it logged since."""
    out = tmp_path / "run"
    monkeypatch.setattr(resuming._Speed, "show", lambda self, step, *_: step == 11 and signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        main(command(text, out, "--save-every", "5"))
    monkeypatch.undo()
    (out / "checkpoints" / "00000012" / "meta.json").write_text("{}")
    (out / "tokens" / "tokens.bin").write_bytes(b"")
    (out / "tokenizer.json").write_text("{")
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')
    status, errors = finish(start(text, out))
    assert status == 0, errors
    assert "step 12" in errors  # each repair is told
    assert "tokens.bin" in errors
    assert_same_run(out, whole)


def test_the_same_command_on_a_finished_run(text, whole, tmp_path, capsys):
    out = shutil.copytree(whole, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(command(text, out)) == 0
    assert "is finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main(command(text, out, "--format", "word2vec-binary")) == 0
    (out / "vectors.txt").write_text("damaged")
    assert main(command(text, out)) == 0
    assert_same_run(out, whole)
    for name in ("vectors.txt", "vectors.bin"):
        assert_array_equal(WordVectors.load(out / name).vectors, WordVectors.load(whole / "vectors.txt").vectors)


def test_another_setting_in_the_same_folder(text, whole, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("a b c d e f g " * 10)
    for more, told in (
        (["--window", "3", "--seed", "7"], ["parameters.config.window: 5 there, 3 here", "seeds[0]: 1 there, 7 here"]),
        (["--min-count", "4"], ["parameters.words.min_count: 3 there, 4 here"]),
        (["--chunk", "2048"], ["parameters.chunk: 1024 there, 2048 here"]),
        (["--corpus", str(other)], ['corpora[0].name: "some.txt" there, "other.txt" here', "corpora[0].sha256"]),
    ):
        assert main(command(text, whole, *more)) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert all(part in error for part in told), error


def test_what_fails_before_training_leaves_the_folder_free(text, whole, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(command(text, out, "--min-count", "100000")) == 1
    assert "lower min_count" in capsys.readouterr().err
    assert main(command(text, out)) == 0
    assert_same_run(out, whole)


def test_other_things_in_the_folder_are_left_alone(text, tmp_path, capsys):
    (tmp_path / "vectors.txt").write_text("mine")
    assert main(command(text, tmp_path)) == 1
    assert "holds vectors.txt, but no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.txt"]


def test_two_at_once(text, tmp_path, capsys):
    with open_run(tmp_path, parameters={}, seeds=[]):
        assert main(command(text, tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_world_answers_its_own_analogies(tmp_path):
    arguments = ["--preset", "tiny", "--chunk", "16384", "--min-count", "1", "--claim", "tiny"]
    assert main(["train", "word2vec", "--corpus", "world", "--split", "valid", "--out", str(tmp_path / "run"), *arguments]) == 0
    run = load_run(tmp_path / "run")
    total = run.table("analogies").query("category == 'total' and method == '3cosadd'").iloc[0]
    assert total["covered"] == total["total"] > 1000
    assert 0 < total["accuracy"] == pytest.approx(run.record["claims"]["tiny_analogy"]["values"][0], rel=1e-4)
    purity = run.table("categorisation").iloc[0]
    assert purity["set"] == "world"
    assert purity["covered"] == purity["n"] > 50
    assert purity["chance"] < purity["purity"] == pytest.approx(run.record["claims"]["tiny_purity_world"]["values"][0], rel=1e-4)


@pytest.mark.data
def test_published_sets_are_used_where_they_are_at_hand(text, tmp_path):
    assert main(command(text, tmp_path / "run")) == 0
    run = load_run(tmp_path / "run")
    assert set(run.table("similarity")["set"]) == set(SIMILARITY_SETS)
    assert run.table("analogies").query("category == 'total'")["total"].tolist() == [19544, 19544]
    assert run.record["claims"] == {}  # w0, w1 … are in none of the sets


@pytest.mark.data
def test_chinese_vectors_are_scored_on_the_chinese_sets(tmp_path):
    path, rng = tmp_path / "some.txt", np.random.default_rng(0)
    path.write_text("\n".join("".join(rng.choice(["医生", "责任", "白天", "晚上", "手机"], 8)) for _ in range(500)) + "\n", "utf-8")
    cut = ["--normalisation", "none", "--segmentation", "cjk", "--phrases", "3"]
    assert main(command(path, tmp_path / "run", *cut, "--claim", "some")) == 0
    run = load_run(tmp_path / "run")
    assert run.table("vectors")["words"].tolist() == [5]
    similarity = run.table("similarity").set_index("set")
    assert (similarity.loc["wordsim-240", "n"], similarity.loc["wordsim-240", "covered"]) == (240, 2)  # doctor-duty, day-evening
    assert run.table("analogies").query("category == 'total'").groupby("set")["total"].first().to_dict() == {
        "ca8-morphological": 10177,
        "ca8-semantic": 7636,
    }
    assert run.record["parameters"]["phrases"] == [3.0]
    assert run.record["parameters"]["words"]["segmentation"] == "cjk"
    assert "some_wordsim-240" in run.record["claims"]


def test_sets_that_are_not_at_hand_are_told(text, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LMLIB_DATA", raising=False)
    monkeypatch.setenv("LMLIB_CACHE", str(tmp_path / "cache"))
    assert main(command(text, tmp_path / "run")) == 0
    assert "not measured with analogy-en and wordsim-en and weat" in capsys.readouterr().out
    assert set(load_run(tmp_path / "run").record["tables"]) == {"vectors"}


@pytest.mark.soak
def test_a_corpus_of_a_gigabyte_needs_little_memory(tmp_path):
    """A gigabyte of text, chunk by chunk from the memory map."""
    path, rng = tmp_path / "large.txt", np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(20_000)])
    with path.open("w") as file:
        while file.tell() < 1_000_000_000:
            lines = words[np.minimum(rng.zipf(1.2, (5000, 40)) - 1, len(words) - 1)]
            file.write("\n".join(map(" ".join, lines)) + "\n")
    run = f"from lmlib.cli import main; assert main({command(path, tmp_path / 'run', '--epochs', '1', '--chunk', '262144')!r}) == 0"
    peak = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", f"{run}\n{peak}"], capture_output=True, text=True, check=True)
    assert int(done.stdout.strip().split("\n")[-1]) < 2_000_000  # kB
    assert (tmp_path / "run" / "tokens" / "tokens.bin").stat().st_size > 200_000_000


# The command itself


def test_help_and_corpora_come_without_jax():
    code = """if True:
        import sys
        from lmlib.cli import main
        for arguments in (["--help"], ["train", "--help"], ["corpora", "--help"]):
            try:
                main(arguments)
            except SystemExit as done:
                assert done.code == 0
        assert main(["corpora"]) == 0
        assert not {"jax", "pandas", "matplotlib", "tokenizers", "scipy", "requests"} & sys.modules.keys()"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in names())
    assert "train word vectors (word2vec, " in done.stdout


def test_every_field_of_the_config_is_an_option(capsys):
    with pytest.raises(SystemExit) as done:
        main(["train", "word2vec", "--help"])
    assert done.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, value in vars(word2vec.SkipGramConfig()).items():
        assert f"--{name.replace('_', '-')} {type(value).__name__.upper()}" in told
        assert f"(default: {value:g})" in told
    assert "--window INT largest distance" in told  # the comment beside the field


@pytest.mark.parametrize("method", cli.VECTORS)
def test_every_method_trains_by_the_same_command(method, text, tmp_path, capsys):
    """In its tiny preset; killed runs, resumed runs and the like are tested with one of them."""
    arguments = ["train", method, "--corpus", str(text), "--out", str(tmp_path / "run"), "--preset", "tiny", "--chunk", "4096"]
    assert main(arguments) == 0
    vectors = WordVectors.load(tmp_path / "run" / "vectors.txt")
    assert np.isfinite(vectors.vectors).all()
    metrics = read_metrics(tmp_path / "run")
    assert metrics[-1]["loss"] < metrics[0]["loss"] if method != "ppmi" else not metrics  # which counts, and learns nothing
    before = (tmp_path / "run" / "vectors.txt").read_bytes()
    (tmp_path / "run" / "vectors.txt").unlink()
    assert main(arguments) == 0
    assert "is finished" in capsys.readouterr().out
    assert (tmp_path / "run" / "vectors.txt").read_bytes() == before


def test_words_are_joined_to_phrases(tmp_path, capsys):
    path, out, rng = tmp_path / "some.txt", tmp_path / "run", np.random.default_rng(0)
    fill = [f"w{i}" for i in range(20)]
    path.write_text("\n".join(" ".join([*rng.choice(fill, 3), "New York", *rng.choice(fill, 3)]) for _ in range(300)) + "\n")
    assert main(command(path, out, "--phrases", "5")) == 0
    vectors = WordVectors.load(out / "vectors.txt")
    assert "new_york" in vectors
    assert "york" not in vectors
    before = (out / "vectors.txt").read_bytes()
    (out / "vectors.txt").unlink()
    shutil.rmtree(out / "tokens")  # so that the phrases are looked for again
    assert main(command(path, out, "--phrases", "5")) == 0
    assert (out / "vectors.txt").read_bytes() == before
    assert main(command(path, out)) == 1  # without phrases it is another run
    assert "phrases" in capsys.readouterr().err


def test_fasttext_keeps_its_ngrams_for_words_never_seen(text, tmp_path):
    run = tmp_path / "run"
    assert main(["train", "fasttext", "--corpus", str(text), "--out", str(run), "--preset", "tiny", "--epochs", "1"]) == 0
    found, vectors = SubwordVectors.load(run / "subwords"), WordVectors.load(run / "vectors.txt")
    assert found.known.words == vectors.words
    assert_array_equal(found.known.vectors, vectors.vectors)
    longest = max(vectors.words, key=len)
    assert longest + "s" not in vectors
    assert np.isfinite(found[longest + "s"]).all()


def test_the_methods_of_the_command_line_are_those_that_there_are():
    assert list(cli.VECTORS) == list(METHODS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--windw", "3"], nearest("--windw", ["--window"])),
        (["--window=-3"], "SkipGramConfig.window must be positive, got -3"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number, got nan"),
        (["--chunk", "0"], "chunk must be an integer of at least 1"),
        (["--save-every", "0"], "save_every must be an integer of at least 1"),
        (["--seed", "-1"], "seed must be an integer from 0"),
        (["--min-count", "0"], "min_count must be an integer of at least 1"),
        (["--corpus", "wrld"], nearest("wrld", ["world"])),
        (["--corpus", "world", "--split", "tran"], nearest("tran", ["train"])),
        (["--text", "body"], "has no columns"),
        (["--segmentation", "cjk"], "use 'none' or 'lower' with 'cjk'"),
    ],
)
def test_what_is_refused_is_one_line(text, tmp_path, capsys, arguments, told):
    assert main(command(text, tmp_path / "run", *arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith("lmlib: ")
    assert error.count("\n") == 1
    assert told in error
    assert not (tmp_path / "run").exists()


def test_reproduce_is_passed_on(monkeypatch):
    monkeypatch.setattr(lmlib.record.reproduce, "main", lambda arguments: arguments)
    assert main(["reproduce", "--profile", "quick", "--notebooks", "00 03", "--help"]) == [
        "--profile",
        "quick",
        "--notebooks",
        "00 03",
        "--help",
    ]

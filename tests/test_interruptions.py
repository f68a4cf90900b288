"""Whatever stops a run, and wherever: the same command again ends with the bytes of a run that nothing stopped.

Four families: skip-gram (a chunk of text a call), GloVe (AdaGrad, counts on the disk), fastText (n-grams beside words) and an LSTM
language model (recurrent state carried over, dropout, a rate that depends on validation, the best epoch kept). The short form stops each
in one process, by SIGTERM and by what stands for a kill: an exception after a call and before anything of it is logged or saved. The long
form (`make soak`) kills real processes, ten times each, at any time between the first import and the end.
"""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lmlib.cli import main
from lmlib.record import resuming
from lmlib.record.runs import load_run, read_metrics

VECTORS = ["--preset", "tiny", "--epochs", "2", "--min-count", "3"]
LSTM = ["--preset", "tiny", "--epochs", "3", "--layers", "2", "--dropout", "0.2", "--length", "8", "--batch-size", "4", "--keep", "best"]
LSTM += ["--optimizer", "sgd", "--learning-rate", "0.3", "--clip", "0.5", "--schedule", "plateau", "--factor", "0.25"]
# command, the file that is the result, steps that a record of the log stands for
FAMILIES = {
    "skip-gram": (["word2vec", *VECTORS, "--blocks", "4", "--chunk", "512"], "vectors.txt", 1),
    "GloVe": (["glove", *VECTORS, "--epochs", "12"], "vectors.txt", 1),
    "fastText": (["fasttext", *VECTORS, "--chunk", "512"], "vectors.txt", 1),
    "LSTM": (["lm", *LSTM], "model/weights.safetensors", 20),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """4,000 words in lines of ten, with the frequencies of a natural text."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("text") / "some.txt"
    words = np.array([f"w{i}" for i in range(200)])[np.minimum(rng.zipf(1.3, (400, 10)) - 1, 199)]
    path.write_text("\n".join(" ".join(line) for line in words) + "\n")
    return path


def command(family, text, out, *more):
    return ["train", *FAMILIES[family][0], "--corpus", str(text), "--out", str(out), *more]


@pytest.fixture(scope="module", params=FAMILIES)
def whole(request, text, tmp_path_factory):
    """A family, and the folder of a run of it that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(request.param, text, out)) == 0
    return request.param, out


def assert_same_run(family, out, whole):
    for name in (FAMILIES[family][1], "metrics.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert load_run(out).record["outputs"] == load_run(whole).record["outputs"]


class Killed(BaseException):
    """Stands for a kill: nothing of the run may catch it."""


def stop_at(monkeypatch, number, how):
    """Stop the run at its record of this number, from 0: before the record is logged."""
    show, shown = resuming._Speed.show, []

    def watch(self, *about):
        show(self, *about)
        shown.append(about)
        if len(shown) == number + 1:
            how()

    monkeypatch.setattr(resuming._Speed, "show", watch)


def kill():
    raise Killed


def terminate():
    signal.raise_signal(signal.SIGTERM)


def test_stopped_three_times(whole, text, tmp_path, monkeypatch):
    """Killed in the middle of an epoch, asked to stop as the last call of an epoch ends, killed soon after it went on."""
    family, uninterrupted = whole
    records = read_metrics(uninterrupted)
    ends = [i for i, record in enumerate(records) if record["epoch"] == 0]
    saved, out, more = 0, tmp_path / "run", ("--save-every", str(2 * FAMILIES[family][2]))
    assert len(records) >= 8, "too short to be stopped where this test wants it"
    for number, how, stopped in ((len(ends) // 2, kill, Killed), (None, terminate, SystemExit), (1, kill, Killed)):
        if number is None:  # the number of the call that ends the epoch, counted from where this process begins
            number = len(ends) - 1 - saved
        with monkeypatch.context() as patch:
            stop_at(patch, number, how)
            with pytest.raises(stopped) as error:
                main(command(family, text, out, *more))
        if stopped is SystemExit:
            assert error.value.code == 143
            assert read_metrics(out) == records[: len(ends)]
        saved = sum(record["step"] < newest_step(out) for record in records)
    assert main(command(family, text, out, *more)) == 0
    assert_same_run(family, out, uninterrupted)


@pytest.mark.soak
def test_ten_interruptions_at_any_time(whole, text, tmp_path):
    """Real signals to real processes: kills, SIGTERM and Ctrl-C, the first of them while Python still imports."""
    family, uninterrupted = whole
    steps = read_metrics(uninterrupted)[-1]["step"] + 1
    out, rng, interrupted = tmp_path / "run", np.random.default_rng(0), 0
    for stop in range(10):
        before = newest_step(out)
        arguments = command(family, text, out, "--save-every", "1")
        process = subprocess.Popen([sys.executable, "-m", "lmlib", *arguments], stderr=subprocess.PIPE, text=True)
        if stop:
            wait_for_step(process, out, max(stop * steps // 12, before + 1))
        time.sleep(rng.uniform(0, 0.3) if stop % 2 else 0)
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[stop % 3]
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)
        assert process.returncode in (-number, 128 + number, 0), errors  # -number: during imports; 0: the run was faster
        assert "Traceback" not in errors or process.returncode == -number, errors
        interrupted += process.returncode != 0
    assert interrupted >= 7, "runs too fast to be stopped"
    assert main(command(family, text, out)) == 0
    assert_same_run(family, out, uninterrupted)


def newest_step(out):
    return max((int(path.name) for path in (out / "checkpoints").glob("[0-9]*")), default=0)


def wait_for_step(process, out, step):
    """Wait until a run has saved this step, or a later one, or has ended."""
    while process.poll() is None and newest_step(out) < step:
        time.sleep(0.01)

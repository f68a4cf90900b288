"""The recurrent benchmark: what it gives to both sides, and that our side does what it says. Nothing here asserts a time."""

import json

import numpy as np
import pytest

from lmlib.errors import LmlibError
from lmlib.text.corpora import memory_corpus
from tests.benchmarks import recurrent
from tests.benchmarks.ours_recurrent import run

MODEL = {"vocabulary": 4, "layers": 2, "width": 8, "kind": "gru", "init": None, "optimizer": "adam", "rate": 0.05, "clip": 5.0}


def test_rows_of_a_step_go_on_where_those_before_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(recurrent, "open_corpus", lambda name, split: memory_corpus(["abcdefghij", "klmnopqrstu"]))
    facts = recurrent.cut("tiny-shakespeare", batch=2, length=3, steps=3, path=tmp_path / "d.npy")
    data = np.load(tmp_path / "d.npy")
    assert data.shape == (3, 2, 4)
    assert data.dtype == np.int32
    assert (data[1:, :, 0] == data[:-1, :, -1]).all()  # the last target is the next step's first token
    assert len(np.unique(data)) == 20  # two streams of ten letters, and none in both
    assert facts["vocabulary"] > data.max()
    with pytest.raises(LmlibError, match="21 tokens, too few for 4 steps of 2 × 3"):
        recurrent.cut("tiny-shakespeare", batch=2, length=3, steps=4, path=tmp_path / "d.npy")


def test_penn_treebank_is_words_and_ends_of_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(recurrent, "open_corpus", lambda name, split: memory_corpus(["the <unk> the", "the <unk>"]))
    assert recurrent.cut("ptb", batch=1, length=3, steps=2, path=tmp_path / "d.npy")["vocabulary"] == 3
    the, unk, _, eos = np.load(tmp_path / "d.npy")[0, 0].tolist()
    assert np.load(tmp_path / "d.npy").tolist() == [[[the, unk, the, eos]], [[eos, the, unk, eos]]]


@pytest.mark.parametrize("devices", [1, 2])
def test_our_side_trains_on_what_it_is_given(tmp_path, devices):
    letters = np.tile(np.arange(4, dtype=np.int32), 400)[: 120 * 8 + 1]
    np.save(tmp_path / "d.npy", np.stack([np.stack([letters[i * 8 : i * 8 + 9]] * 2) for i in range(120)]))
    result = run("train", 1, devices, data=tmp_path / "d.npy", **MODEL)
    assert -0.02 < result["log_likelihood"] < 0  # each letter follows from the one before
    assert result["seconds"] > 0
    json.dumps(result)


def test_our_side_generates(tmp_path):
    assert run("generate", 1, 1, vocabulary=4, layers=2, width=8, batch=3, tokens=5)["seconds"] > 0


def test_without_pytorch_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_PYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(LmlibError, match="has no PyTorch: install a build for the CPU"):
        recurrent.peer_python()

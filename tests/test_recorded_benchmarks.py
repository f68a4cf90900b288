"""Records of benchmarks as tables: those of the repository, and files made here."""

import json
from pathlib import Path

import pytest

import lmlib
from lmlib.errors import FormatError
from lmlib.record.benchmarks import recorded

RESULTS = Path(lmlib.__file__).parents[1] / "results"
ROWS = [
    {"case": "train, LSTM", "unit": "tokens/s", "ours": {"median": 3.0}, "peer": {"name": "PyTorch", "median": 2.0}, "ratio": 1.5},
    {"case": "generate, batch 1", "unit": "tokens/s", "ours": {"median": 5.0}, "peer": None, "ratio": None},
]


def written(folder, text, device="cpu"):
    (folder / "benchmarks" / device).mkdir(parents=True)
    (folder / "benchmarks" / device / "made.json").write_text(text)


def test_a_row_a_case_and_device(tmp_path):
    written(tmp_path, json.dumps({"rows": ROWS}))
    written(tmp_path, json.dumps({"rows": ROWS[:1]}), "gpu")
    table = recorded(tmp_path, "made")
    assert table["device"].tolist() == ["cpu", "cpu", "gpu"]
    assert table.iloc[0].tolist() == ["cpu", "train, LSTM", "tokens/s", 3.0, 2.0, "PyTorch", 1.5]
    assert recorded(tmp_path, "made", "generate")["case"].tolist() == ["generate, batch 1"]
    assert recorded(tmp_path, "made", "generate")[["peer", "of", "ratio"]].isna().all(axis=None)


def test_what_is_not_recorded_has_no_rows(tmp_path):
    assert recorded(tmp_path, "made").empty


def test_the_committed_records_can_be_read():
    """Those of word2vec: gensim stands beside."""
    table = recorded(RESULTS, "word2vec")
    assert len(table)
    assert set(table["of"].dropna()) == {"gensim"}


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"case": "x"}]}', "null"])
def test_another_file_is_no_record(tmp_path, text):
    written(tmp_path, text)
    with pytest.raises(FormatError, match=r"made\.json"):
        recorded(tmp_path, "made")

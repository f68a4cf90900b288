"""The runner of the notebooks: the same bytes twice, failures told and survived, verdicts, recording, twins."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import lmlib
from lmlib.errors import FormatError, LmlibError, UnknownNameError
from lmlib.record import reproduce as reproduce_module
from lmlib.record.claims import write_claims
from lmlib.record.notebooks import read_notebook, run_notebook, sync, write_notebook
from lmlib.record.reproduce import main, reproduce
from lmlib.record.runs import load_run

PACKAGE_ROOT = Path(lmlib.__file__).parents[1]
REPOSITORY = PACKAGE_ROOT

PARAMETERS = 'profile = "quick"'
RUN = """
import os
import sys
import matplotlib.pyplot as plt
import pandas as pd
from lmlib.record.runs import notebook_run

with notebook_run("00_good", profile, parameters={"profile": profile}, seeds=[0]) as run:
    run.table("scores", pd.DataFrame({"score": [0.5, float(open("score.txt").read())]}), tolerance={"score": 0.01})
    run.claim("good.score", [0.5], unit="accuracy", better="high")
"""
SHOW = """
import sys
from tqdm import tqdm
fig, ax = plt.subplots(figsize=(2, 1))
ax.plot([1, 2])
for word in tqdm({"hash", "order", "of", "strings"}):
    print(word)
print(profile, os.environ["LMLIB_REPRODUCIBLE"], os.path.basename(os.getcwd()))
"""


def notebook_of(*sources):
    cells = [new_markdown_cell("# A notebook", id="title"), new_code_cell(PARAMETERS, id="p", metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source.strip("\n"), id=f"c{i}") for i, source in enumerate(sources)]
    return new_notebook(cells=cells)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two notebooks, of which the second fails."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/score.txt").write_text("0.7")
    write_notebook(tmp_path / "notebooks/00_good.ipynb", notebook_of(RUN, SHOW))
    write_notebook(tmp_path / "notebooks/01_bad.ipynb", notebook_of("x = 1", "def f():\n    return x / 0\n\nf()", "never = 1"))
    # the kernel is to import the lmlib under test, which does not lie in this repository
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE_ROOT))
    return tmp_path


def test_from_run_to_report(repository, capsys):
    """One story, because a kernel takes seconds to start: run, record, run again, differ."""
    results, good = repository / "results", repository / "notebooks/00_good.ipynb"
    source = good.read_bytes()

    # nothing is recorded yet; one notebook fails, the other runs
    assert reproduce(repository, "quick") == 1
    out = capsys.readouterr().out
    assert "01_bad.ipynb, code cell 3:\n" in out
    assert "ZeroDivisionError: division by zero" in out
    assert "\x1b" not in out
    assert "scores  not recorded" in out
    assert out.rstrip().split("\n")[-2] == "Tables: 1 not recorded. Notebooks: 1 ran, 1 failed."
    (kept,) = (repository / "runs").iterdir()
    assert [cell.get("execution_count") for cell in read_notebook(kept / "01_bad.ipynb").cells] == [None, 1, 2, 3, None]
    assert good.read_bytes() == source
    assert not results.exists()

    # recorded: the outputs of the notebook, its run, the claims
    assert reproduce(repository, "quick", "00", record=True) == 0
    recorded = good.read_bytes()
    notebook = read_notebook(good)
    assert notebook.metadata["lmlib"] == {"profile": "quick"}
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 3]
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in nbformat.reads(source.decode(), 4).cells]
    outputs = notebook.cells[3].outputs
    assert [o.output_type for o in outputs] == ["stream", "display_data"]
    assert "image/png" in outputs[1].data
    assert outputs[0].name == "stdout"
    assert outputs[0].text.endswith("quick 1 notebooks\n")
    assert load_run(results / "quick/00_good").record["notebook"] == "00_good"
    assert (results / "claims.csv").read_text().split("\n")[1] == "good.score,0.5,,1,accuracy,high,,,quick/00_good,00_good"
    assert [path.name for path in (repository / "runs").iterdir()] == [kept.name]  # nothing to look at, nothing kept
    capsys.readouterr()

    # a second recording changes no byte
    table = (results / "quick/00_good/tables/scores.csv").read_bytes()
    (results / "quick/00_good/kept").mkdir()
    assert reproduce(repository, "quick", "00_good.ipynb", record=True) == 0
    assert (good.read_bytes(), (results / "quick/00_good/tables/scores.csv").read_bytes()) == (recorded, table)
    assert (results / "quick/00_good/kept").exists()  # a folder of a long run below it, say
    assert "scores  identical" in capsys.readouterr().out

    # a score beyond the tolerance is an error
    (repository / "notebooks/score.txt").write_text("0.8")
    write_notebook(good, notebook_of(RUN.replace('"profile": profile', '"profile": 1'), SHOW))
    assert reproduce(repository, "quick", "00") == 1
    out = capsys.readouterr().out
    assert "scores  different: row 2, column score: 0.8; committed 0.7, tolerance 0.01" in out
    assert "(committed → here: source " in out
    assert "parameters {'profile': 'quick'} → {'profile': 1}" in out


def test_a_poorer_profile_does_not_replace_the_outputs(repository, capsys):
    path = repository / "notebooks/00_good.ipynb"
    notebook = notebook_of("x = 1")
    notebook.metadata["lmlib"] = {"profile": "real"}
    write_notebook(path, notebook)
    before = path.read_bytes()
    assert reproduce(repository, "quick", "00", record=True) == 0
    assert "goes on showing its outputs of profile real" in capsys.readouterr().out
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("cells", "seconds", "cell", "message"),
    [(["import time\ntime.sleep(60)"], 1, 2, "timed out"), (["x = 1", "import os\nos._exit(7)"], 60, 3, "died")],
)
def test_a_cell_that_hangs_or_dies(repository, cells, seconds, cell, message):
    path = repository / "notebooks/02_worse.ipynb"
    write_notebook(path, notebook_of(*cells))
    _, error = run_notebook(path, profile="smoke", results=repository / "runs", root=PACKAGE_ROOT, seconds=seconds)
    assert error.cell == cell
    assert message in str(error).lower()


def test_ctrl_c_stops_everything(repository):
    write_notebook(repository / "notebooks/00_good.ipynb", notebook_of("import time\nopen('started', 'w').close()\ntime.sleep(60)"))
    code = f"import sys; from lmlib.record.reproduce import reproduce; reproduce({str(repository)!r}, 'smoke')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (repository / "notebooks/started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in out
    assert "01_bad" not in out
    assert process.returncode != 0


def test_what_cannot_be_run(repository, monkeypatch, capsys):
    with pytest.raises(UnknownNameError, match="no notebook begins with '07'"):
        reproduce(repository, "quick", "00 07")
    with pytest.raises(LmlibError, match="never recorded"):
        reproduce(repository, "smoke", record=True)
    path = repository / "notebooks/00_good.ipynb"
    notebook = notebook_of("x = 1")
    notebook.cells.pop(1)
    write_notebook(path, notebook)
    with pytest.raises(FormatError, match="0 cells are tagged"):
        run_notebook(path, profile="smoke", results=repository, root=PACKAGE_ROOT)
    path.write_text("{")
    assert reproduce(repository, "smoke", "00") == 1
    assert "00_good.ipynb is no notebook" in capsys.readouterr().out
    monkeypatch.setattr(reproduce_module, "_root", lambda: repository)
    assert main(["--notebooks", "7"]) == 2
    assert "error: no notebook begins with '7'" in capsys.readouterr().err


def test_twins(repository, monkeypatch):
    folder = repository / "notebooks"
    (folder / "jupytext.toml").write_text((REPOSITORY / "notebooks/jupytext.toml").read_text())
    executed = notebook_of("x = 1\nx", "y = 2")
    executed.cells[2].execution_count = executed.cells[3].execution_count = 2
    executed.metadata["lmlib"] = {"profile": "quick"}
    write_notebook(folder / "00_good.ipynb", executed)
    monkeypatch.setattr(reproduce_module, "_root", lambda: repository)
    assert main(["--sync"]) == 0
    twin = folder / ".src/00_good.py"
    text = twin.read_text()
    assert text == '# %% [markdown]\n# # A notebook\n\n# %% tags=["parameters"]\nprofile = "quick"\n\n# %%\nx = 1\nx\n\n# %%\ny = 2\n'

    # again: nothing changes; the twin changed: the notebook follows, and keeps what belongs to cells that did not change
    state = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sync(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == state
    twin.write_text(text.replace("y = 2", "y = 3"))
    os.utime(twin, (time.time() + 5, time.time() + 5))
    (folder / ".src/02_new.py").write_text("# %%\nz = 1\n")
    sync(folder)
    cells = read_notebook(folder / "00_good.ipynb").cells
    assert [cell.get("execution_count") for cell in cells] == [None, None, 2, None]
    assert cells[3].source == "y = 3"
    assert [cell.id for cell in cells[:3]] == ["title", "p", "c0"]
    assert read_notebook(folder / "00_good.ipynb").metadata["lmlib"] == {"profile": "quick"}
    assert read_notebook(folder / "02_new.ipynb").metadata["kernelspec"]["name"] == "python3"


def test_committed_claims_are_those_of_the_committed_runs(tmp_path):
    results = REPOSITORY / "results"
    if not (results / "claims.csv").exists():
        pytest.skip("nothing is recorded yet")
    for name in ("quick", "real", "paper", "benchmarks"):
        (tmp_path / name).symlink_to(results / name)
    write_claims(tmp_path)
    for name in ("claims.csv", "README.md"):
        got, want = (results / name).read_text(), (tmp_path / name).read_text()
        assert got == want, f"results/{name} is not what the runs say: python -m lmlib.record.reproduce --collect"

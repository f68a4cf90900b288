"""Every notebook: it runs, its twin and its solutions are there, and it keeps to the rules of thumb that can be counted.

`pytest tests/test_notebooks.py -k 03_word2vec` checks one. After an edit of a notebook or of its twin in `.src/`:
`python -m lmlib.record.reproduce --sync`.
"""

import ast
import io
import json
import re
import runpy
import statistics
import tokenize
from pathlib import Path

import jupytext
import pytest

import lmlib
from lmlib.record.notebooks import code_cells, read_notebook, recorded_profile, run_notebook
from lmlib.record.runs import PROFILES, load_run

ROOT = Path(lmlib.__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
FIRST = {"00_start_here", "01_text_to_batches", "03_word2vec", "04_glove"}

# a folder of this machine or of another, but not the path of a URL
ABSOLUTE_PATH = re.compile(rf"{re.escape(str(ROOT))}|(?<![\w.:/~-])/(home|Users|root|tmp|var|usr|opt|mnt|private|content)/\w|\b[A-Z]:\\\w")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
PROGRESS_BAR = re.compile(r"\d+%\|.*\||\d(it|s)/(s|it)\b|\r")

every_notebook = pytest.mark.parametrize("name", NAMES)


def notebook(name):
    return read_notebook(FOLDER / f"{name}.ipynb")


def code_lines(cell):
    """Lines of a code cell that hold code: neither empty nor only a comment; a string over several lines is code."""
    numbers = set()
    for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            numbers.update(range(token.start[0], token.end[0] + 1))
    return len(numbers)


def texts(cell):
    """The text of a cell's outputs, pictures left out."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def test_the_book_begins():
    if not NAMES:
        pytest.skip("there are no notebooks yet")
    assert set(NAMES) >= FIRST


@every_notebook
def test_it_runs_in_smoke(name, tmp_path):
    """All cells, top to bottom, in a fresh kernel; and what it records is whole."""
    done, error = run_notebook(FOLDER / f"{name}.ipynb", profile="smoke", results=tmp_path, root=ROOT)
    assert error is None, f"{name}, code cell {error.cell}:\n{error}"
    problems = output_problems(done)
    assert not problems, "\n".join(problems)
    if (tmp_path / "smoke" / name).exists():
        load_run(tmp_path / "smoke" / name)


@every_notebook
def test_its_twin_is_the_same(name):
    """In every cell's kind, source and tags; the outputs live in the notebook alone."""
    path = FOLDER / ".src" / f"{name}.py"
    assert path.exists(), "no twin: python -m lmlib.record.reproduce --sync"
    mine, twin = ([(c.cell_type, c.source, c.metadata.get("tags", [])) for c in n.cells] for n in (notebook(name), jupytext.read(path)))
    assert mine == twin, "notebook and twin differ: python -m lmlib.record.reproduce --sync"


@every_notebook
def test_it_keeps_to_the_rules_of_thumb(name):
    cells = notebook(name).cells
    sizes = [code_lines(cell) for cell in cells if cell.cell_type == "code"]
    words = sum(len(re.findall(r"\w+", cell.source)) for cell in cells if cell.cell_type == "markdown")
    trees = [node for cell in cells if cell.cell_type == "code" for node in ast.walk(ast.parse(cell.source))]
    definitions = [node.name for node in trees if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    runs = re.findall("c+", "".join(cell.cell_type[0] for cell in cells))
    stars = [node for node in trees if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)]
    assert sum(sizes) <= 250, f"{sum(sizes)} lines of code"
    assert statistics.median(sizes) <= 8, f"the median cell has {statistics.median(sizes)} lines"
    assert max(sizes) <= 30, f"the longest cell has {max(sizes)} lines"
    assert min(sizes) > 0, "a code cell without code"
    assert len(definitions) <= 4, f"definitions: {', '.join(definitions)}"
    assert max(map(len, runs)) <= 2, f"{max(map(len, runs))} code cells without text between them"
    assert words >= 3 * sum(sizes), f"{words} words for {sum(sizes)} lines of code"
    assert not stars, f"a star import: {ast.unparse(stars[0])}"


@every_notebook
def test_its_formulas_are_whole(name):
    """What opens closes, in display and in line; a formula that ends in a space has lost a line."""
    for cell in notebook(name).cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(r"`[^`]*`", "", cell.source)
        parts = text.split("$$")
        assert len(parts) % 2, f"a display formula is not closed: {cell.source}"
        assert not [formula for formula in parts[1::2] if re.search(r"\\q?quad\s*$", formula)], f"an unfinished formula: {cell.source}"
        for paragraph in "\n\n".join(parts[::2]).split("\n\n"):
            assert paragraph.replace(r"\$", "").count("$") % 2 == 0, f"a formula in line is not closed: {paragraph}"


@every_notebook
def test_its_file_is_tidy(name):
    path = FOLDER / f"{name}.ipynb"
    text = path.read_text("utf-8")
    book = notebook(name)
    ids = [cell["id"] for cell in json.loads(text)["cells"]]  # as they are in the file, not as a reader would mend them
    assert len(text) < 1_000_000
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id) for id in ids)
    assert set(book.metadata) <= {"kernelspec", "language_info", "lmlib"}, "no widget state, no settings of an editor"
    assert (book.metadata.kernelspec.name, dict(book.metadata.language_info)) == ("python3", {"name": "python"})
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in book.cells) == 1
    (parameters,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    assert re.search(r'^profile = "(quick|real|paper)"', parameters.source, re.MULTILINE)
    assert not ABSOLUTE_PATH.search("\n".join(cell.source for cell in book.cells))


@every_notebook
def test_its_outputs_are_those_of_a_recorded_run(name):
    book = notebook(name)
    profile = recorded_profile(book)
    assert profile in PROFILES[1:], f"not recorded yet: python -m lmlib.record.reproduce --notebooks {name} --record"
    assert [cell.execution_count for cell in code_cells(book)] == list(range(1, len(code_cells(book)) + 1)), "run and record it again"
    problems = output_problems(book)
    assert not problems, "\n".join(problems)
    opening = "".join(text for cell in code_cells(book)[:4] for text in texts(cell))
    assert f"{profile}" in opening, "the first outputs do not name the profile that they come from"


def output_problems(book):
    """What must not be in the outputs of a committed notebook."""
    problems = []
    for number, cell in enumerate(code_cells(book), 1):
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"cell {number}: {output.ename}: {output.evalue}")
            if output.output_type == "stream" and output.name == "stderr":
                problems.append(f"cell {number} writes to stderr: {output.text[:200]}")
            if any("widget" in kind for kind in output.get("data", {})):
                problems.append(f"cell {number}: a widget, which a page does not show: use lmlib.record.show.explore")
        for kind, pattern in (("an absolute path", ABSOLUTE_PATH), ("a memory address", ADDRESS), ("a progress bar", PROGRESS_BAR)):
            problems += [f"cell {number}: {kind}: {text[:200]!r}" for text in texts(cell) if pattern.search(text)]
    return problems


@every_notebook
def test_its_solutions_pass(name, monkeypatch):
    """notebooks/solutions/<name>.py answers every "Exercise <n>" of the notebook, and running it checks the answers."""
    path = FOLDER / "solutions" / f"{name}.py"
    exercises = {
        n for c in notebook(name).cells if c.cell_type == "markdown" for n in re.findall(r"^#+ Exercise (\d+)", c.source, re.MULTILINE)
    }
    assert exercises, 'a notebook has exercises, each under a heading "Exercise <n>"'
    assert path.exists(), f"no solutions in {path.relative_to(ROOT)}"
    source = path.read_text("utf-8")
    solved = set(re.findall(r"^# #+ Exercise (\d+)", source, re.MULTILINE))
    assert solved == exercises
    monkeypatch.chdir(FOLDER)
    runpy.run_path(str(path), run_name="__main__")


# The rules above are only worth something if they can be broken.


def test_the_patterns_find_what_they_are_for():
    for text in ("saved to /home/me/x", "C:\\Users", '"/opt/x"', "(/Users/me)", f"{ROOT}/x"):
        assert ABSOLUTE_PATH.search(text), text
    for text in ("https://example.org/home/me", "../results/tmp/x", "and/or", "1/2", "~/.cache/lmlib", "a/usr/b"):
        assert not ABSOLUTE_PATH.search(text), text
    for text in (" 50%|█████     | 5/10 [00:01<00:01,  4.2it/s]", "a\rb", "3.1s/it"):
        assert PROGRESS_BAR.search(text), text
    assert not PROGRESS_BAR.search("50% of the words | 3 bits/s")
    assert ADDRESS.search("<matplotlib.legend.Legend at 0x7f2600490f50>")


def test_code_lines_are_counted():
    from nbformat.v4 import new_code_cell

    assert code_lines(new_code_cell('# only\n\nx = 1  # and\ny = """a\n\nb"""\n\nf(\n    x,\n)')) == 7


def test_outputs_are_looked_at():
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    bad = [
        new_output("stream", name="stderr", text="Warning"),
        new_output("stream", name="stdout", text="<X at 0x7f2600490f50>"),
        new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider()"}),
        new_output("error", ename="KeyError", evalue="x", traceback=[]),
    ]
    problems = output_problems(new_notebook(cells=[new_code_cell("x", outputs=bad)]))
    assert len(problems) == 4
    assert not output_problems(new_notebook(cells=[new_code_cell("x", outputs=[new_output("stream", text="fine")])]))

"""What moves leaves one output behind, text is never markup, and figures say what their data say."""

import html.parser
import io

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import ConfigError, ShapeError, UnknownNameError
from lmlib.models.vectors import WordVectors
from lmlib.record import figures, show
from lmlib.record.notebooks import run_notebook, write_notebook
from lmlib.record.reproduce import _root

CELLS = [
    'profile = "quick"',
    """
import time
from lmlib.record.show import LiveCurve, explore, progress, tokens
for _ in progress(range(3), label="<b>train"):
    time.sleep(0.3)
""",
    """
with LiveCurve(optimum=0.5) as live:
    for step in range(4):
        live.add(step, 1 / (1 + step))
        time.sleep(0.6)
""",
    """
def line(slope=2, word="a"):
    from lmlib.record.figures import curve
    return curve(__import__("pandas").DataFrame({"step": [0, 1], "loss": [0, slope]}))

explore(line, slope=(1, 5), word=["a", "b"])
""",
    'tokens(["a", " b"])',
]


@pytest.fixture
def notebook(tmp_path):
    cells = [new_code_cell(source.strip("\n"), id=f"c{i}") for i, source in enumerate(CELLS)]
    cells[0].metadata["tags"] = ["parameters"]
    write_notebook(tmp_path / "n.ipynb", new_notebook(cells=cells))
    return tmp_path / "n.ipynb"


PICTURE = [["image/png", "text/plain"]]


def kinds(cell):
    return [sorted(output.get("data", {output.get("name"): None})) for output in cell.outputs]


def test_for_the_record_only_figures_remain(notebook):
    done, error = run_notebook(notebook, profile="smoke", results=notebook.parent, root=_root())
    assert error is None
    assert [kinds(cell) for cell in done.cells] == [[], [], PICTURE, PICTURE, [["text/html", "text/plain"]]]
    assert done.cells[4].outputs[0].data["text/plain"] == "a|␣b"
    assert "widgets" not in done.metadata


def test_for_someone_who_watches_one_output_moves(notebook, monkeypatch):
    for name in ("LMLIB_REPRODUCIBLE", "TQDM_DISABLE", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(_root()))
    client = NotebookClient(nbformat.read(notebook, 4), timeout=60, kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    done = client.execute()
    assert kinds(done.cells[1]) == [["text/html", "text/plain"]]
    bar = done.cells[1].outputs[0].data["text/html"]
    assert "&lt;b&gt;train 3 of 3" in bar
    assert '<progress value="3" max="3">' in bar
    assert kinds(done.cells[2]) == PICTURE
    (controls,) = done.cells[3].outputs
    assert "application/vnd.jupyter.widget-view+json" in controls.data
    state = done.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert {"IntSliderModel", "DropdownModel"} <= {widget["model_name"] for widget in state}
    (drawn,) = [widget["state"]["outputs"] for widget in state if widget["model_name"] == "OutputModel"]
    assert [sorted(output["data"]) for output in drawn] == PICTURE


@pytest.mark.parametrize(("terminal", "disabled", "silent"), [(True, "0", False), (True, "1", True), (False, "0", True)])
def test_progress_outside_of_notebooks(monkeypatch, terminal, disabled, silent):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TQDM_DISABLE", disabled)
    assert list(show.progress(range(3), label="train")) == [0, 1, 2]
    assert (stream.getvalue() == "") == silent
    assert silent or "train: 100%" in stream.getvalue()
    with show.bar(10, 5, unit=" words", label="epoch") as bar:
        bar.update(5)
    assert silent or "epoch: 100%" in stream.getvalue()
    assert (stream.getvalue() == "") == silent


PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</div></span><b>",
    "<!-- ",
    "&lt;script&gt;",
    "\x1b[31mred",
    "\u202egnp.exe",
    "a\u2028b",
    "\ud800",
    "\x00<b",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_is_never_markup(payload):
    tags, text = [], []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, *sorted(name for name, _ in attributes)))

        def handle_data(self, data):
            text.append(data)

        def handle_comment(self, data):
            pytest.fail(f"a comment: {data}")

    Parser(convert_charrefs=True).feed(show.tokens([payload, payload], values=[0.5, 1])._repr_html_())
    assert tags == [("div", "style"), ("span", "style"), ("span", "style")]
    assert "".join(text) == f"{show.visible(payload)} {show.visible(payload)}"  # all of it, as text
    shown = show.visible(payload)
    shown.encode("utf-8")
    assert not set(shown) & {"\x1b", "\u202e", "\u2028", "\x00"}
    tags.clear()
    Parser(convert_charrefs=True).feed(show._bar(payload, 1, 2, 3))
    assert tags == [("progress", "max", "value")]


def test_a_label_stands_above_the_tokens_and_is_no_markup():
    shown = show.tokens(["a", "b"], label="<b>2 tokens")
    assert repr(shown) == "<b>2 tokens: a|b"
    assert shown._repr_html_().startswith('<div style="line-height: 1.9">&lt;b&gt;2 tokens<br><span')


def test_visible_keeps_what_can_be_seen():
    assert show.visible("naïve 字\n\tΩ") == "naïve␣字↵⇥Ω"


def test_what_cannot_be_shown():
    with pytest.raises(ShapeError, match="1 values for 2 tokens"):
        show.tokens(["a", "b"], [0.1])
    with pytest.raises(ConfigError, match="'slope'"):
        show.explore(lambda slope: None, slope=(1, 5))
    with pytest.raises(ConfigError, match="'slop'"):
        show.explore(lambda slope=1: None, slop=(1, 5))


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


SCORES = pd.DataFrame({"model": ["skip-gram"] * 3 + ["gensim"] * 3, "score": [1.0, 2.0, 3.0, 4.0, 4.5, 5.0]})


def test_panels_share_one_figure_in_the_theme():
    left, right = figures.new_panels(2, 8.0, 3.0)
    assert left.get_figure() is right.get_figure()
    assert left.get_figure().get_size_inches().tolist() == [8.0, 3.0]
    assert not right.spines["top"].get_visible()
    assert plt.rcParams["axes.labelsize"] == figures.THEME["axes.labelsize"]


def test_lines_differ_in_colour_and_in_dashes():
    ax = figures.lines(None, {"a": [1, 2, 4], "b": [4, 2, 1]}, yscale="log", xlabel="step", ylabel="loss")
    first, second = ax.lines
    assert_array_equal(first.get_xdata(), [0, 1, 2])
    assert_array_equal(second.get_ydata(), [4, 2, 1])
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("linear", "log", "step", "loss")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_bars_are_means_with_one_standard_deviation():
    ax = figures.bars(SCORES, "model", "score", ylabel="accuracy")
    assert_allclose([bar.get_height() for bar in ax.patches], [2.0, 4.5])
    error = ax.lines[0].get_ydata()
    assert_allclose([np.nanmin(error), np.nanmax(error)], [1.0, 3.0])
    assert ax.get_ylabel() == "accuracy\n(mean ± sd, 3 seeds)"
    assert [bar.get_facecolor() for bar in ax.patches] == [
        plt.matplotlib.colors.to_rgba(figures.colour(m)) for m in ("skip-gram", "gensim")
    ]
    assert figures.bars(SCORES[::3], "model", "score", ylabel="accuracy").get_ylabel() == "accuracy (1 seed)"


def test_a_curve_is_the_mean_over_seeds():
    data = pd.DataFrame({"step": [0, 0, 1, 1], "loss": [1.0, 3.0, 0.0, 1.0], "model": "bigram"})
    ax = figures.curve(data, hue="model", optimum=0.25, optimum_label="entropy")
    assert_allclose(ax.lines[0].get_ydata(), [2.0, 0.5])
    assert ax.lines[0].get_color() == figures.colour("bigram")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["bigram", "entropy"]
    assert_allclose(ax.lines[-1].get_ydata(), 0.25)


def test_a_model_keeps_its_colour_whoever_stands_beside_it():
    other = pd.DataFrame({"m": ["x", "skip-gram", "y"]})
    palette = figures._palette(other, "m")
    assert palette["skip-gram"] == figures.colour("skip-gram")
    assert len(set(palette.values())) == 3
    with pytest.raises(UnknownNameError, match="did you mean 'skip-gram'"):
        figures.colour("skipgram")


def test_zipfs_law_is_a_straight_line_from_the_first_word():
    data = pd.DataFrame({"rank": [1, 10, 100], "count": [1000, 100, 10]})
    ax = figures.rank_frequency(data)
    assert_allclose(ax.lines[1].get_ydata(), [1000, 10])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_a_heat_map_writes_what_it_is_given():
    text = pd.DataFrame([["the", "cat"], ["a", "dog"]])
    ax = figures.heatmap(pd.DataFrame([[1, 2], [3, 4]]), text=text, xlabel="position", ylabel="row")
    assert [t.get_text() for t in ax.texts] == ["the", "cat", "a", "dog"]
    with pytest.raises(ShapeError, match="shape"):
        figures.heatmap(pd.DataFrame([[1, 2]]), text=text)


def test_the_principal_plane_keeps_most_of_the_variance():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    scores = rng.normal(size=(500, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]
    plane = figures.principal_plane(scores @ basis.T + 7)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(scores.T)))[::-1]
    assert_allclose(plane.var(0, ddof=1), eigenvalues[:2])
    assert_allclose(plane.mean(0), 0, atol=1e-9)
    assert abs(np.corrcoef(plane.T)[0, 1]) < 1e-9


def test_a_word_plane_holds_the_words_that_have_vectors():
    vectors = WordVectors(["a", "b", "c", "d"], np.diag([1.0, 2.0, 3.0, 4.0]))
    plane = figures.word_plane(vectors, {"first": ["a", "zebra", "b"], "second": ["d"]})
    assert plane["word"].tolist() == ["a", "b", "d"]
    assert plane["group"].tolist() == ["first", "first", "second"]
    assert_allclose(plane[["x", "y"]].to_numpy(), figures.principal_plane(np.eye(4)[[0, 1, 3]]), atol=1e-7)


def test_labels_of_a_word_map_do_not_cover_each_other():
    rng = np.random.default_rng(1)
    words = [f"word{i}" for i in range(40)]
    ax = figures.word_map(pd.DataFrame(rng.random((40, 2)), columns=["x", "y"]).assign(word=words), pairs=[("word0", "word1")])
    figure = ax.get_figure()
    figure.draw_without_rendering()
    assert [text.get_text() for text in ax.texts] == words
    boxes = [plt.matplotlib.text.Text.get_window_extent(text) for text in ax.texts]
    covering = sum(a.padded(-1).overlaps(b.padded(-1)) for i, a in enumerate(boxes) for b in boxes[:i])
    assert covering <= 1
    frame = ax.get_window_extent().padded(2)
    assert all(frame.containsx(box.x0) and frame.containsx(box.x1) and frame.containsy(box.y0) for box in boxes)

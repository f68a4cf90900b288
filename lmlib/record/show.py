"""What a notebook shows besides its figures: progress, a live curve, text as HTML, controls.

A notebook is read on a page as well as run. So whatever moves is for a person who watches: where notebooks are run for the record
(reproducible mode, `TQDM_DISABLE=1`), progress is silent, a live curve is drawn once, and of controls only the picture remains that they
would change.

This is the one place that turns text into HTML. Text is data: `escaped` makes sure that none of it is ever read as markup.
"""

import functools
import html
import inspect
import os
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from lmlib import runtime
from lmlib.errors import ConfigError, ShapeError

FRAME_SECONDS = 0.2  # between two updates of something that moves
_TINTS = ("#cfe3f7", "#fbe3c0", "#cdeedd", "#f6d5e5", "#e4e0f5")


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def interactive() -> bool:
    """Whether a person is there to watch a notebook: False where it is run for the record."""
    return in_notebook() and not _quiet() and not runtime.reproducible()


def progress(iterable: Iterable, total: int | None = None, label: str = "") -> Iterator:
    """Go through an iterable and show how far one is.

    In a notebook that someone watches, one line that updates itself; on a terminal, tqdm's bar; silent elsewhere, and where
    TQDM_DISABLE is set.

    Args:
      total: number of items, if the iterable cannot tell.
      label: what is going on.
    """
    if in_notebook():
        return _progress_in_notebook(iterable, total, label) if interactive() else iter(iterable)
    from tqdm import tqdm

    return iter(tqdm(iterable, total=total, desc=label or None, disable=True if _quiet() else None))  # None: unless on a terminal


def bar(total: int, done: int = 0, *, unit: str = "", label: str = ""):
    """tqdm's bar for what is not an iterable, `with bar(total) as shown: shown.update(n)`: on a terminal, silent elsewhere."""
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit=unit, unit_scale=True, desc=label or None, disable=True if _quiet() else None)


def _progress_in_notebook(iterable, total, label):
    from IPython.display import HTML, display

    total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
    start = shown = time.monotonic()
    handle = display(HTML(_bar(label, 0, total, 0)), display_id=True)
    done = 0
    try:
        for item in iterable:
            yield item
            done += 1
            if (now := time.monotonic()) - shown >= FRAME_SECONDS:
                shown = now
                handle.update(HTML(_bar(label, done, total, now - start)))
    finally:
        handle.update(HTML(_bar(label, done, total, time.monotonic() - start)))


def _bar(label, done, total, seconds):
    of = f" of {total:,}" if total else ""
    left = f", {seconds / done * (total - done):.0f} s left" if total and 0 < done < total else ""
    bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
    return f"{bar}{escaped(label)} {done:,}{of}, {seconds:.0f} s{left}"


class LiveCurve:
    """A learning curve that grows while the model learns, and leaves one figure behind: `with LiveCurve(ylabel=…) as live`.

    `live.add(step, loss)` adds a point. The figure is redrawn about once a second, and once at the end; without a person to watch,
    only at the end.

    Args:
      **curve: arguments of `lmlib.record.figures.curve`, such as `optimum` and `ylabel`.
    """

    def __init__(self, **curve):
        self._curve, self._points, self._handle = curve, [], None
        self._shown, self._cost = time.monotonic(), 0.0  # when the figure was last drawn, and how long that took

    def __enter__(self):
        return self

    def add(self, step, loss):
        """Add a point. A loss that the device is still computing is waited for only when the figure is drawn; so take it from the metrics
        that `fit` yields, not from the state, whose arrays are gone by then."""
        self._points.append((step, loss))
        if interactive() and time.monotonic() - self._shown > max(1.0, 5 * self._cost):  # a fifth of the time at most
            self._draw()

    def __exit__(self, *_):
        if self._points and in_notebook():
            self._draw()

    def _draw(self):
        from IPython.display import display

        start = time.monotonic()
        figure = self.figure()
        if self._handle is not None:
            self._handle.update(figure)
        else:
            self._handle = display(figure, display_id=True)
        self._shown = time.monotonic()
        self._cost = self._shown - start

    def figure(self):
        """The curve so far as a matplotlib Figure, which nothing displays by itself."""
        import matplotlib.pyplot as plt
        import pandas as pd

        from lmlib.record.figures import curve

        data = pd.DataFrame([(int(step), float(loss)) for step, loss in self._points], columns=["step", "loss"])
        figure = curve(data, **self._curve).get_figure()
        plt.close(figure)  # else the notebook shows it once more at the end of the cell
        return figure


def explore(function, **controls):
    """Call a function with its default arguments and show what it returns; where someone watches, with controls that call it again.

    Args:
      function: returns an Axes, a Figure, or anything else that a notebook can display. Each control needs a default.
      **controls: for an argument, what ipywidgets takes for it: (low, high) or (low, high, step) for a slider, a list for a menu, True or
        False for a box.

    Raises:
      ConfigError: a control that is no argument of the function, or has no default.
    """
    parameters = inspect.signature(function).parameters
    for name in controls:
        if name not in parameters or parameters[name].default is inspect.Parameter.empty:
            raise ConfigError(
                f"{function.__name__} needs an argument {name!r} with a default value, for readers who cannot move the control"
            )

    @functools.wraps(function)
    def shown(**arguments):
        _display(function(**arguments))

    if interactive():
        import ipywidgets

        ipywidgets.interact(shown, **controls)
    else:
        shown()


def _display(value):
    from IPython.display import display

    if hasattr(value, "get_figure"):
        import matplotlib.pyplot as plt

        value = value.get_figure()
        plt.close(value)
    if value is not None:
        display(value)


class Markup:
    """HTML beside the plain text that says the same, for readers and pages that show no HTML."""

    def __init__(self, html: str, text: str):
        self._html, self._text = html, text

    def _repr_html_(self):
        return self._html

    def __repr__(self):
        return self._text


def tokens(pieces: Sequence[str], values: Sequence[float] | None = None, label: str = "") -> Markup:
    """Tokens side by side on coloured ground, their spaces and line breaks made visible.

    Args:
      values: a number in 0 … 1 for each token, the darker the larger; without them, neighbours have different colours.
      label: what they are, a line above them.
    """
    if values is not None and len(values) != len(pieces):
        raise ShapeError(f"{len(values)} values for {len(pieces)} tokens")
    if values is None:
        grounds = [_TINTS[i % len(_TINTS)] for i in range(len(pieces))]
    else:
        grounds = [f"rgba(1, 115, 178, {min(max(0.75 * float(value), 0.0), 0.75):.3f})" for value in values]
    style = "padding: 1px 3px; border-radius: 3px; color: black; background: {}"
    spans = [f'<span style="{style.format(ground)}">{escaped(visible(p))}</span>' for p, ground in zip(pieces, grounds, strict=True)]
    text = "|".join(map(visible, pieces))
    above, before = (f"{escaped(label)}<br>", f"{label}: ") if label else ("", "")
    return Markup(f'<div style="line-height: 1.9">{above}{" ".join(spans)}</div>', before + text)


def escaped(text) -> str:
    """Text for use inside HTML, in an element or in a quoted attribute."""
    return html.escape(str(text), quote=True)


def visible(text: str) -> str:
    """The text with every character that one cannot see, or that moves others about, shown by a sign or by its code.

    A space becomes ␣, a line break ↵, a tab ⇥; control characters (which steer terminals), marks of writing direction (which
    reorder what follows) and halves of surrogate pairs (which UTF-8 cannot hold) become their code, such as \\u202e.
    """
    signs = {" ": "␣", "\n": "↵", "\t": "⇥"}
    hidden = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
    return "".join(signs.get(c) or (c.encode("unicode_escape").decode() if unicodedata.category(c) in hidden else c) for c in text)


def _quiet():
    return os.environ.get("TQDM_DISABLE", "0") not in ("", "0")

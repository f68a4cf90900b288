"""The figures of the book: a DataFrame in, a matplotlib Axes out; one theme, readable at half a column.

The palette is Okabe and Ito's in seaborn's version ("colorblind"), told apart by readers with any common form of colour blindness. A
model has the same colour in every figure of the book: `COLOURS` names it. The font is the one that comes with matplotlib, so that a figure
has the same bytes on every machine; it has no Chinese characters, which `lmlib.record.show.tokens` shows instead.

Shapes: N points, D dimensions.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lmlib.errors import ShapeError, UnknownNameError, check_shape, nearest

PALETTE = tuple(sns.color_palette("colorblind").as_hex())
GREY = "#6c6c6c"
COLOURS = {
    "bigram": PALETTE[0],
    "skip-gram": PALETTE[1],
    "skip-gram NS": PALETTE[1],
    "skip-gram HS": PALETTE[9],
    "skip-gram softmax": PALETTE[2],
    "CBOW NS": PALETTE[3],
    "CBOW NS, word2vec.c": PALETTE[4],
    "CBOW softmax": PALETTE[5],
    "HMM": PALETTE[4],
    "Kneser-Ney": PALETTE[9],
    "modified Kneser-Ney": PALETTE[2],
    "RNN": PALETTE[1],
    "LSTM": PALETTE[0],
    "GRU": PALETTE[4],
    "GloVe": PALETTE[2],
    "PPMI + SVD": PALETTE[4],
    "averaged and tiled": GREY,
    "gensim": GREY,  # libraries that we compare with
    "published": GREY,
}
THEME = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.title_fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.8,
}


def colour(model: str) -> str:
    """The colour of a model, the same through the whole book.

    Raises:
      UnknownNameError: it has none yet; give it a line in `COLOURS`.
    """
    if model not in COLOURS:
        raise UnknownNameError(f"{model!r} has no colour{nearest(model, COLOURS)}: give it a line in lmlib.record.figures.COLOURS")
    return COLOURS[model]


def new_axes(width=5.0, height=3.2):
    """An empty figure in the book's theme, sizes in inches. Returns its Axes."""
    sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc=THEME)
    return plt.subplots(figsize=(width, height))[1]


def new_panels(columns, width=9.0, height=3.2):
    """Several empty Axes side by side in one figure, in the book's theme; `width` is that of the whole figure, in inches."""
    sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc=THEME)
    return plt.subplots(1, columns, figsize=(width, height))[1]


def curve(data, x="step", y="loss", hue=None, *, optimum=None, optimum_label="best possible", xlabel=None, ylabel=None, ax=None):
    """A learning curve: `y` over `x`, a line for each value of `hue`.

    Several rows with the same x, one a seed, become their mean with a band of one standard deviation.

    Args:
      optimum: the best value that is possible, e.g. the entropy of the source; a dashed line, `optimum_label` in the legend.
    """
    ax = new_axes() if ax is None else ax
    sns.lineplot(data, x=x, y=y, hue=hue, palette=_palette(data, hue), errorbar="sd", color=PALETTE[0], ax=ax)
    if optimum is not None:
        ax.axhline(optimum, color="black", linestyle="--", linewidth=1.2, label=optimum_label)
    return _labelled(ax, x, y, xlabel, ylabel)


MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # told apart without colour
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def lines(x, ys, *, xscale="linear", yscale="linear", marker="", beside=False, xlabel="", ylabel="", ax=None):
    """Several lines over one x, told apart by colour (a model's own, where it has one) and by dashes.

    Args:
      x: positions; None for 0, 1, 2, …
      ys: a mapping from the label of a line to its values.
      xscale, yscale: "linear" or "log".
      marker: of matplotlib, for each value.
      beside: put the legend to the right of the axes, where it covers no line.
    """
    ax = new_axes(6.4 if beside else 5.0) if ax is None else ax
    colours = _palette({"label": ys}, "label")
    for i, (label, y) in enumerate(ys.items()):
        style = {"color": colours[label], "linestyle": _STYLES[i % len(_STYLES)], "marker": marker, "markersize": 4.5}
        ax.plot(np.arange(len(y)) if x is None else x, y, label=label, **style)
    ax.set(xscale=xscale, yscale=yscale)
    if xscale == "linear" and (x is None or np.asarray(x).dtype.kind in "iu"):
        ax.xaxis.get_major_locator().set_params(integer=True)  # no tick between whole numbers
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log" and np.divide(*axis.get_view_interval()[::-1]) < 100:  # a short range: 60, and not 6 × 10¹
            axis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=StrMethodFormatter("{x:g}"), minor_formatter=NullFormatter())
    _labelled(ax, "", "", xlabel, ylabel)
    if beside:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def bars(data, x, y, hue=None, *, xlabel=None, ylabel=None, ax=None):
    """A bar for each value of `x`: the mean over its rows, one a seed, with one standard deviation and each seed as a dot.

    The label of the y axis says how many seeds there are; of a single run there is no deviation to show.
    """
    ax = new_axes() if ax is None else ax
    colours = _palette(data, hue or x)
    own = {"hue": hue or x, "palette": colours, "legend": hue is not None}
    sns.barplot(data, x=x, y=y, errorbar="sd", saturation=1, capsize=0.15, err_kws={"linewidth": 1.4, "color": "black"}, ax=ax, **own)
    counts = data.groupby([x] + ([hue] if hue else []), observed=True).size()
    if counts.max() > 1:
        dots = {"hue": hue, "dodge": True, "palette": dict.fromkeys(colours, "white"), "legend": False} if hue else {"color": "white"}
        sns.stripplot(data, x=x, y=y, size=4, jitter=False, edgecolor="black", linewidth=1, ax=ax, **dots)
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()}–{counts.max()}"
    _labelled(ax, x, y, xlabel, ylabel)
    if hue:
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(colours))
    ax.set_ylabel(f"{ax.get_ylabel()}\n(mean ± sd, {seeds} seeds)" if counts.max() > 1 else f"{ax.get_ylabel()} (1 seed)")
    return ax


def tradeoff(data, x, y, hue, setting, *, xlabel=None, ylabel=None, ax=None):
    """What is gained against what is paid, as a dial is turned: a line for each value of `hue` through the means at its settings, in their
    order, with one standard deviation over the rows, one a seed, to both sides.

    Args:
      setting: the column with the position of the dial.
    """
    ax = new_axes(5.4, 4.0) if ax is None else ax
    colours = _palette(data, hue)
    for marker, (label, group) in zip(MARKERS * len(colours), data.groupby(hue, sort=False), strict=False):
        mean, sd = (group.groupby(setting, sort=False)[[x, y]].agg(how) for how in ("mean", "std"))
        style = {"color": colours[label], "marker": marker, "markersize": 5, "linewidth": 1.4, "elinewidth": 0.8}
        ax.errorbar(mean[x], mean[y], xerr=sd[x], yerr=sd[y], label=label, **style)
    return _labelled(ax, x, y, xlabel, ylabel)


def rank_frequency(data, x="rank", y="count", hue=None, *, xlabel=None, ylabel=None, ax=None):
    """How often each word occurs, by its rank, both axes logarithmic; dashed, Zipf's law: count ∝ 1 / rank from the first word on."""
    ax = new_axes() if ax is None else ax
    sns.lineplot(data, x=x, y=y, hue=hue, palette=_palette(data, hue), color=PALETTE[0], estimator=None, ax=ax)
    ax.set(xscale="log", yscale="log")
    low, high = ax.get_ylim()
    ends = np.array([data[x].min(), data[x].max()], float)
    ax.plot(ends, data[y].max() * ends[0] / ends, color="black", linestyle="--", linewidth=1.2, label="1 / rank")
    ax.set_ylim(low, high)
    return _labelled(ax, x, y, xlabel, ylabel)


def heatmap(frame, *, xlabel=None, ylabel=None, colourbar=None, text=None, ax=None):
    """A table of numbers as colours, from white to dark blue: its index down, its columns across.

    Args:
      colourbar: what the numbers are, with their unit; without it there is no colour bar.
      text: a DataFrame of the same shape with what to write into the cells, e.g. the tokens whose ids are coloured.
    """
    rows, columns = frame.shape
    wide = max(0.34, 0.11 * max((len(str(t)) for t in text.to_numpy().ravel()), default=1)) if text is not None else 0.34
    ax = new_axes(min(9.0, 1.6 + wide * columns + (0.9 if colourbar else 0)), min(7.0, 0.9 + 0.34 * rows)) if ax is None else ax
    words = None if text is None else text.to_numpy()
    if words is not None and words.shape != frame.shape:
        raise ShapeError(f"text has shape {words.shape}, but the table has {frame.shape}")
    bar = {"label": colourbar} if colourbar else None
    sns.heatmap(frame, annot=words, fmt="", cmap="Blues", cbar=bar is not None, cbar_kws=bar, linewidths=0.5, linecolor="white", ax=ax)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel=xlabel or frame.columns.name or "", ylabel=ylabel or frame.index.name or "")
    return ax


def principal_plane(vectors_ND):
    """Coordinates (N, 2) of vectors in the plane of their largest variance: the first two principal components.

    The sign of a component is free; it is chosen such that its largest entry by size is positive.
    """
    vectors_ND = np.asarray(vectors_ND, np.float64)
    check_shape(vectors_ND, (None, None), "vectors")
    centred_ND = vectors_ND - vectors_ND.mean(0)
    _, _, axes_DD = np.linalg.svd(centred_ND, full_matrices=False)
    plane_2D = axes_DD[:2]
    largest = np.abs(plane_2D).argmax(1)
    signs = np.sign(plane_2D[np.arange(len(plane_2D)), largest])
    return centred_ND @ (plane_2D * signs[:, None]).T


def word_plane(vectors, groups, plane=principal_plane):
    """A plane of some words, ready for `word_map`: a DataFrame with columns word, group, x, y.

    Args:
      vectors: WordVectors, of which the directions count (`unit`).
      groups: a mapping from the name of a group to its words; words without a vector are left out.
      plane: a function from vectors (N, D) to coordinates (N, 2); `lmlib.measure.maps.tsne_plane` is another.
    """
    import pandas as pd

    found = [(word, group) for group, words in groups.items() for word in words if word in vectors]
    x, y = plane(vectors.unit[[vectors.row(word) for word, _ in found]]).T
    return pd.DataFrame(found, columns=["word", "group"]).assign(x=x, y=y)


def word_map(data, x="x", y="y", label="word", hue=None, *, pairs=(), xlabel="", ylabel="", ax=None):
    """Words as labelled points of a plane; labels stand where they cover each other and the points least.

    Args:
      data: a DataFrame with a row a word: its coordinates (of `principal_plane`, say), the word, and maybe a group for the colour.
      pairs: pairs of words to join by a thin line, e.g. each country and its capital.
    """
    ax = new_axes(6.0, 4.6) if ax is None else ax
    sns.scatterplot(data, x=x, y=y, hue=hue, palette=_palette(data, hue), color=PALETTE[0], s=28, ax=ax)
    places = {word: (float(a), float(b)) for word, a, b in zip(data[label], data[x], data[y], strict=True)}
    for pair in pairs:
        ax.plot(*zip(*(places[word] for word in pair), strict=True), color=GREY, linewidth=0.8, alpha=0.6, zorder=1)
    ax.grid(False)
    ax.margins(0.12)
    ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)
    _labelled(ax, x, y, xlabel, ylabel)
    if hue:
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, handletextpad=0.1)
    _place_labels(ax, list(places), np.array(list(places.values())))
    return ax


_DIRECTIONS_12_2 = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=1)
_RADII = (6, 13, 22, 34)  # pixels from the point to the label


def _place_labels(ax, words, points_N2):
    """Write each word beside its point, where it covers other words and points least.

    Greedy, and gone over until no label moves: each takes the cheapest of 48 places around its point, given where the others are.
    """
    figure = ax.get_figure()
    figure.draw_without_rendering()  # fixes the layout, and with it where a point lies on the page
    figure.set_layout_engine("none")
    data_N2, points_N2 = points_N2, ax.transData.transform(points_N2)
    texts = [
        ax.annotate(word, point, xytext=(0, 0), textcoords="offset points", fontsize=9) for word, point in zip(words, data_N2, strict=True)
    ]
    sizes_N2 = np.array([text.get_window_extent().size for text in texts])
    frame_4 = np.array(ax.get_window_extent().extents)
    dots_N4 = np.concatenate([points_N2 - 5, points_N2 + 5], axis=1)  # boxes: left, low, right, high
    labels_N4 = np.concatenate([points_N2 + 3, points_N2 + 3 + sizes_N2], axis=1)
    radii = np.repeat(_RADII, len(_DIRECTIONS_12_2))
    directions = np.tile(_DIRECTIONS_12_2, (len(_RADII), 1))
    for _ in range(8):
        before_N4 = labels_N4.copy()
        for i, (point, size) in enumerate(zip(points_N2, sizes_N2, strict=True)):
            low = point + radii[:, None] * directions + size / 2 * (directions - 1)
            boxes = np.concatenate([low, low + size], axis=1)
            others = np.concatenate([np.delete(dots_N4, i, 0), np.delete(labels_N4, i, 0)])
            overlap = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
            covered = np.prod(np.maximum(overlap, 0), axis=2).sum(1)
            outside = np.maximum(frame_4[:2] - boxes[:, :2], 0).sum(1) + np.maximum(boxes[:, 2:] - frame_4[2:], 0).sum(1)
            labels_N4[i] = boxes[np.argmin(covered + 100 * outside + radii)]
        if np.array_equal(before_N4, labels_N4):
            break
    for word, text, data, point, box in zip(words, texts, data_N2, points_N2, labels_N4, strict=True):
        text.remove()
        gap = np.linalg.norm(np.maximum(0, np.maximum(box[:2] - point, point - box[2:])))
        arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3} if gap > 8 else None
        offset = (box[:2] - point) * 72 / figure.dpi
        ax.annotate(word, data, xytext=offset, textcoords="offset points", fontsize=9, va="bottom", arrowprops=arrow)


def _palette(data, hue):
    """Colours for the values of a column: a model's own; the others', in order of appearance, from what is left of the palette."""
    if hue is None:
        return None
    values = list(dict.fromkeys(data[hue]))
    free = iter([c for c in PALETTE if c not in {COLOURS.get(value) for value in values}] * (1 + len(values) // 5))
    return {value: COLOURS[value] if value in COLOURS else next(free) for value in values}


def _labelled(ax, x, y, xlabel, ylabel):
    """Label the axes, after the columns if nothing else is said; a legend, where there is something to tell, without frame or title."""
    ax.set(xlabel=x if xlabel is None else xlabel, ylabel=y if ylabel is None else ylabel)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False)
    return ax

"""GloVe: word vectors whose products, with two biases, approach the logarithms of co-occurrence counts.

Pennington, Socher, Manning 2014, "GloVe: Global Vectors for Word Representation" (EMNLP): the objective (equation 8), the weighting
(equation 9), AdaGrad with an initial rate of 0.05, and w + w~ as the result (section 4.2). AdaGrad is that of Duchi, Hazan, Singer 2011
(JMLR 12): each coordinate moves by rate x gradient / sqrt(sum of its squared gradients, this one included); the sums start at 1, so
that the rate is indeed the initial one. `form="program"` is what the authors' C program (2024) does instead: its sums hold the gradient
already multiplied by the rate, without the one of this step, and biases move at rate 1.

The program moves one cell after the other. Here a step takes many, either as a tile, some words times some contexts, whose products and
gradients are matrix products (the sums of squares too: the square of e_ij w~_j is e_ij^2 w~_j^2, so they are (E o E)(W~ o W~)), or as
groups, one word with some of its contexts; see `lmlib.text.count_batches`. A row then gets the gradients of many cells at once, all
computed where it stood before, and their sum may overshoot although each alone would not. So the rate of a coordinate is at most
`damping` / h, where h = sum over the cells of f |w~_d| sum_d' |w~_d'| bounds the curvature along it (a row sum of the absolute Hessian,
after Gershgorin). For a word with few cells in a step that is no limit, and a word with many takes many steps an epoch. Where a word
stands more than once in a step over groups, its moves add up, each with its own squares.

Shapes: V words, rounded up to whole tiles, D dimension, R length of a row (D + 2, rounded up), P words of a block, N groups a step,
K cells of a group, 2 for the two directions of a pair: i as word with j as context, and the other way round.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.arrays import CACHE_LINE, all_finite, initial_state
from lmlib.errors import ConfigError, check_shape
from lmlib.programs import register
from lmlib.text.count_batches import CellBatches

FORMS = ("paper", "program")
WORD, WORD_SUMS, CONTEXT, CONTEXT_SUMS = range(4)  # the rows that belong to a word, side by side, since they are needed together


@dataclass(frozen=True)
class GloVeConfig:
    """GloVe. x_max and epochs are those of the program's demonstration, for some ten million words; the paper's rate is 0.05."""

    dimension: int = 100  # D, length of a vector
    window: int = 10  # of the counts
    x_max: float = 10.0  # of equation 9: cells with at least this count weigh 1
    alpha: float = 0.75  # of equation 9
    learning_rate: float = 0.3
    epochs: int = 15  # passes over the cells
    form: str = "paper"  # of AdaGrad; "program" for comparison with the C program
    damping: float = 1.0  # how far a step may go, as a share of what its curvature allows; 0 does not look
    tile: int = 16  # P, words of a block
    density: float = 0.05  # a tile with a smaller share of its cells is taken apart into groups
    group: int = 16  # K, cells of a group
    groups: int = 8  # N, groups a step

    def __post_init__(self):
        for name in ("dimension", "window", "x_max", "alpha", "learning_rate", "epochs", "tile", "group", "groups"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"GloVeConfig.{name} must be positive, got {getattr(self, name)}")
        for name in ("damping", "density"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"GloVeConfig.{name} must not be negative, got {getattr(self, name)}")
        if self.form not in FORMS:
            raise ConfigError(f"GloVeConfig.form must be one of {', '.join(FORMS)}, got {self.form!r}")

    @classmethod
    def tiny(cls, **changes):
        """For tests and vocabularies of some hundred words."""
        return cls(**{"dimension": 16, "window": 5, "tile": 8, "groups": 4} | changes)

    @classmethod
    def paper(cls, **changes):
        """300 dimensions, x_max 100, rate 0.05 and 100 iterations, as for the paper's corpora of 1 to 42 billion words."""
        return cls(**{"dimension": 300, "x_max": 100.0, "learning_rate": 0.05, "epochs": 100} | changes)


def weighting(x, x_max=100.0, alpha=0.75):
    """The weight of a cell with count x: min(1, (x / x_max)^alpha), equation 9; 0 where there is no cell."""
    return jnp.minimum(1.0, jnp.exp(alpha * (jnp.log(x) - jnp.log(x_max))))


def objective(word_ND, context_ND, word_bias_N, context_bias_N, x_N, x_max=100.0, alpha=0.75):
    """J of equation 8: the sum over cells of f(x) (w . w~ + b + b~ - log x)^2.

    Args:
      word_ND, context_ND: w of the row and w~ of the column of each of N cells.
      word_bias_N, context_bias_N: their biases.
      x_N: their counts, positive.
      x_max, alpha: of the weighting.

    Returns:
      A scalar. (The program prints J / 2N.)
    """
    difference_N = (word_ND * context_ND).sum(axis=-1) + word_bias_N + context_bias_N - jnp.log(x_N)
    return (weighting(x_N, x_max, alpha) * difference_N**2).sum()


def init_state(config, vocab_size, key):
    """The state of a run before step 0, in the form of `lmlib.learn.train.init_train_state`.

    The parameters are one array (V, 4, R): of each word its row as word, (w, b, 1, 0 …), the sums of squared gradients of that row, its
    row as context, (w~, 1, b~, 0 …), and the sums of that. So w . w~ + b + b~ is the product of two rows, the four arrays that a step
    needs of a word are read at once, and rows are whole cache lines. Vectors and biases are uniform in ±0.5/D, as in the C program.
    """
    D, rows = config.dimension, -(-vocab_size // config.tile) * config.tile
    length = -(-(D + 2) // CACHE_LINE) * CACHE_LINE
    drawn = jax.random.uniform(key, (rows, 2, D + 1), minval=-0.5 / D, maxval=0.5 / D)
    table = jnp.ones((rows, 4, length)).at[:, [WORD, CONTEXT]].set(0.0)
    table = table.at[:, [WORD, CONTEXT], :D].set(drawn[:, :, :D])
    table = table.at[:, WORD, D].set(drawn[:, 0, D]).at[:, CONTEXT, D + 1].set(drawn[:, 1, D])
    table = table.at[:, WORD, D + 1].set(1.0).at[:, CONTEXT, D].set(1.0)
    return initial_state({"rows": table})


def parameters(config, params, vocab_size):
    """{"word", "context"}: (vocab_size, D), {"word_bias", "context_bias"}: (vocab_size,); float32 on the host, from `state["params"]`."""
    table, D = np.asarray(params["rows"][:vocab_size]), config.dimension
    return {
        "word": table[:, WORD, :D],
        "context": table[:, CONTEXT, :D],
        "word_bias": table[:, WORD, D],
        "context_bias": table[:, CONTEXT, D + 1],
    }


def word_vectors(config, params, vocab_size):
    """w + w~, (vocab_size, D) float32 on the host: the paper's word vectors (section 4.2)."""
    found = parameters(config, params, vocab_size)
    return found["word"] + found["context"]


def _errors(config, counts, products):
    """Weights f, weighted errors f (w . w~ + b + b~ - log x), and half their weighted squares summed; all 0 where there is no cell."""
    difference = products - jnp.log(jnp.where(counts > 0, counts, 1))
    weights = weighting(counts, config.x_max, config.alpha)
    errors = weights * difference
    return weights, errors, 0.5 * (errors * difference).sum()


def _trained(config, length):
    """Which coordinates of a word's row and of a context's row are trained, (2, R), and at which rate, (R,)."""
    at, D = np.arange(length), config.dimension
    bias_rate = 1.0 if config.form == "program" else config.learning_rate
    rates = np.where(at < D, config.learning_rate, bias_rate)
    return np.stack([at <= D, (at < D) | (at == D + 1)]).astype(np.float32), rates.astype(np.float32)


def _steps(config, rates, sums, gradient, squares, curvature=None):
    """AdaGrad's steps and what is added to its sums, from gradients and their squares summed over the cells of a step."""
    rates = jnp.broadcast_to(rates, sums.shape)
    if config.form == "program":
        added = squares * rates**2
        scale = rates / jnp.sqrt(jnp.maximum(sums, 1))
    else:
        added = squares
        scale = rates / jnp.sqrt(jnp.maximum(sums + squares, 1))
    if config.damping and curvature is not None:
        scale = jnp.minimum(scale, config.damping / jnp.maximum(curvature, 1e-6))
    return -scale * gradient, added


def _features(rows, trained):
    """What the errors are multiplied with, for gradient, squares and curvature: the rows, their squares, |row_d| sum |row|."""
    size = jnp.abs(rows * trained)
    return rows, rows * rows, size * size.sum(axis=-1, keepdims=True)


def train_tile(config, table, blocks, tile, tile_back):
    """One step on all cells of a tile, both directions of each pair.

    Args:
      config: a GloVeConfig.
      table: (V, 4, R), of `init_state`.
      blocks: (2,) the numbers of the two blocks of words.
      tile: (P, P) counts of the first block's words (rows) with the second's as contexts; 0 where there is no cell.
      tile_back: (P, P) counts of the second's words as rows with the first's as contexts, transposed: same place, same pair.

    Returns:
      The new table, and the sum over the cells of f (…)^2 / 2 before the step.
    """
    P = tile.shape[0]
    at = blocks[:, None] * P + jnp.arange(P)[None]
    rows = table[at]  # (2, P, 4, R)
    trained, rates = _trained(config, table.shape[-1])
    word, context = rows[:, :, WORD], rows[::-1, :, CONTEXT]  # 0: first block as words, 1: second block as words
    counts = jnp.stack([tile, tile_back.T])
    weights, errors, cost = _errors(config, counts, jnp.einsum("xpd,xqd->xpq", word, context))
    by_cell = errors, errors * errors, weights
    word_sums = [jnp.einsum("xpq,xqd->xpd", e, c) for e, c in zip(by_cell, _features(context, trained[0, None, None]), strict=True)]
    context_sums = [jnp.einsum("xpq,xpd->xqd", e, w) for e, w in zip(by_cell, _features(word, trained[1, None, None]), strict=True)]
    moved_word, added_word = _steps(config, rates, rows[:, :, WORD_SUMS], *word_sums)
    moved_context, added_context = _steps(config, rates, rows[::-1, :, CONTEXT_SUMS], *context_sums)
    change = [moved_word * trained[0, None, None], added_word, (moved_context * trained[1, None, None])[::-1], added_context[::-1]]
    return table.at[at].add(jnp.stack(change, axis=2)), cost


def train_groups(config, table, heads_N, tails_NK, counts_NK, counts_back_NK):
    """One step on groups of cells, each a word (head) with some others (tails), both directions of each pair.

    Args:
      config, table: as for `train_tile`.
      heads_N, tails_NK: ids; V where there is none.
      counts_NK: counts of the head with its tails as contexts; 0 where there is no cell.
      counts_back_NK: counts of the tails with the head as their context.

    Returns:
      The new table, and the sum over the cells of f (…)^2 / 2 before the step.
    """
    N, K = tails_NK.shape
    at = jnp.concatenate([heads_N, tails_NK.reshape(-1)])
    rows = table.at[at].get(mode="fill", fill_value=0.0)
    head, tail = rows[:N], rows[N:].reshape(N, K, *table.shape[1:])
    trained, rates = _trained(config, table.shape[-1])
    own = jnp.stack([head[:, WORD], head[:, CONTEXT]])  # (2, N, R)
    others = jnp.stack([tail[:, :, CONTEXT], tail[:, :, WORD]])  # (2, N, K, R)
    counts = jnp.stack([counts_NK, counts_back_NK])
    weights, errors, cost = _errors(config, counts, jnp.einsum("xnd,xnkd->xnk", own, others))
    by_cell = errors, errors * errors, weights
    own_sums = [jnp.einsum("xnk,xnkd->xnd", e, o) for e, o in zip(by_cell, _features(others, trained[:, None, None]), strict=True)]
    gradient = errors[..., None] * own[:, :, None]  # of each tail by itself: one cell needs no damping
    moved_own, added_own = _steps(config, rates, jnp.stack([head[:, WORD_SUMS], head[:, CONTEXT_SUMS]]), *own_sums)
    moved, added = _steps(config, rates, jnp.stack([tail[:, :, CONTEXT_SUMS], tail[:, :, WORD_SUMS]]), gradient, gradient * gradient)
    moved_own, moved = moved_own * trained[:, None], moved * trained[::-1, None, None]
    head_change = jnp.stack([moved_own[0], added_own[0], moved_own[1], added_own[1]], axis=1)
    tail_change = jnp.stack([moved[1], added[1], moved[0], added[0]], axis=2)
    change = jnp.concatenate([head_change, tail_change.reshape(N * K, *table.shape[1:])])
    return table.at[at].add(change, mode="drop"), cost


def train_cells(config, state, batch, key):
    """Train on one batch of cells: its tiles one after the other, then its groups, in loops on the device.

    Args:
      config: a GloVeConfig.
      state: from `init_state`.
      batch: of `lmlib.text.count_batches.CellBatches`.
      key: not used, nothing is drawn.

    Returns:
      The new state, and metrics: the mean over the batch's cells of f (…)^2 / 2, each before it is learnt from ("loss", the cost that the
      C program prints), and the number of cells ("cells"). A batch after which a number is not finite leaves all but `step` and `skipped`
      as it was; so does one with an id outside the table, which JAX would drop in silence.

    Raises:
      ShapeError: the batch's tiles are not those of the config.
    """
    check_shape(batch["tiles"], (None, config.tile, config.tile), "tiles")
    old = state["params"]["rows"]
    tiles, counts = batch["tiles"], batch["counts"]
    if "tiles_back" in batch:
        tiles_back, counts_back = batch["tiles_back"], batch["counts_back"]
    else:  # a word's cell with itself, and a tile on the diagonal, has no other direction
        tiles_back = jnp.where((batch["blocks"][:, 0] == batch["blocks"][:, 1])[:, None, None], 0.0, tiles)
        counts_back = jnp.where(batch["heads"][:, :, None] == batch["tails"], 0.0, counts)

    def one(step):
        def body(carry, part):
            table, more = step(config, carry[0], *part)
            return (table, carry[1] + more), None

        return body

    carry, _ = jax.lax.scan(one(train_tile), (old, jnp.float32(0)), (batch["blocks"], tiles, tiles_back))
    (new, cost), _ = jax.lax.scan(one(train_groups), carry, (batch["heads"], batch["tails"], counts, counts_back))
    V, P = len(old), tiles.shape[1]
    ids = [jnp.where(c > 0, t, 0) for c, t in ((counts, batch["tails"]), (counts, batch["heads"][:, :, None]))]
    known = jnp.all(jnp.stack([jnp.all((i >= 0) & (i < V)) for i in (*ids, batch["blocks"] * P, batch["blocks"] * P + P - 1)]))
    cost = jnp.where(known, cost / jnp.maximum(batch["cells"], 1), jnp.nan)
    sound = all_finite((cost, new))
    table = jnp.where(sound, new, old)
    state = state | {"params": {"rows": table}, "step": state["step"] + 1, "skipped": state["skipped"] + ~sound}
    return state, {"loss": cost, "cells": batch["cells"]}


def make_batches(config, counts, seed=0):
    """The batches of a run, `config.epochs * len(batches)` steps long.

    Args:
      config: a GloVeConfig.
      counts: of `lmlib.text.cooccurrence.count_cooccurrences`, with the config's window.
      seed: of the order of the cells.
    """
    return CellBatches(counts, tile=config.tile, density=config.density, group=config.group, groups=config.groups, seed=seed)


def make_step(config):
    """The step for `lmlib.learn.train.fit`: train_step(state, batch, key) -> (state, metrics), where a batch is of `make_batches`."""
    return partial(train_cells, config)


def _example():
    config, counts = GloVeConfig.tiny(), np.random.default_rng(0).random((2, 8, 8), np.float32)
    batch = {
        "blocks": np.array([[0, 0], [0, 1]], np.int32),
        "tiles": counts,
        "heads": np.array([[1, 16]], np.int32),
        "tails": np.array([[[3, 1], [16, 16]]], np.int32),
        "counts": np.array([[[1, 2], [0, 0]]], np.float32),
        "cells": np.int32(195),
    }
    return config, init_state(config, 16, jax.random.key(0)), batch, jax.random.key(1)


register("glove.train_cells", jax.jit(train_cells, static_argnums=0), _example)

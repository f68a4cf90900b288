"""What all of word2vec's models share: the words that stay, their windows, the noise words, and the loop over a chunk of the corpus.

Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv 1310.4546): subsampling of frequent words (equation 5), the unigram^0.75 noise. What the
paper leaves open follows the authors' C program: the form of the subsampling, the window's radius drawn afresh for each centre (CBOW) or in
place of that its expectation (skip-gram, see `window_weights`), windows made after subsampling, the linear decay of the learning rate.

A chunk of corpus is drawn at once, on the device: which tokens stay, and what else is random about it. Steps then take `blocks` blocks of
`block` neighbouring centres each. The blocks of a step lie far apart in the chunk, so a word that one passage repeats does not meet
itself in a step.

Shapes: V vocabulary, C tokens of a chunk, N blocks a step, B centres a block, S span of a block = B + 2 window.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.arrays import CACHE_LINE, all_finite, initial_state  # noqa: F401  (initial_state: for the models)
from lmlib.errors import ConfigError, EmptyCorpusError, check_shape
from lmlib.text.batches import keep_probability


def check_config(config, *positive):
    """Refuse a config of a model of this family that cannot be trained.

    Args:
      config: a dataclass with the fields that are checked here.
      positive: further fields that must be positive.

    Raises:
      ConfigError: names the field and its value.
    """
    for name in ("dimension", "window", "epochs", "block", "blocks", "learning_rate", *positive):
        if getattr(config, name) <= 0:
            raise ConfigError(f"{type(config).__name__}.{name} must be positive, got {getattr(config, name)}")
    if config.subsample < 0:
        raise ConfigError(f"{type(config).__name__}.subsample must not be negative, got {config.subsample} (0 keeps every word)")


def noise_distribution(counts_V, power=0.75):
    """Distribution of the noise words: counts^power, normalised (section 2.2 of arXiv 1310.4546)."""
    weights_V = np.asarray(counts_V, np.float64) ** power
    return weights_V / weights_V.sum()


def alias_table(p_V):
    """Walker's alias table: draw i uniformly, keep it with probability `keep[i]`, else take `other[i]`; exact, two look-ups a draw."""
    scaled_V = np.asarray(p_V, np.float64) * len(p_V)
    keep_V, other_V = np.ones(len(p_V)), np.arange(len(p_V))
    small, large = [np.flatnonzero(group).tolist() for group in (scaled_V < 1, scaled_V >= 1)]
    while small and large:
        poor, rich = small.pop(), large[-1]
        keep_V[poor], other_V[poor] = scaled_V[poor], rich
        scaled_V[rich] -= 1 - scaled_V[poor]
        if scaled_V[rich] < 1:
            small.append(large.pop())
    return keep_V.astype(np.float32), other_V.astype(np.int32)


def word_tables(config, counts_V):
    """What drawing windows must know of the vocabulary: {"keep": (V,)}, and each word's share of the tokens that stay, (V,) float64.

    Raises:
      EmptyCorpusError: all counts are zero.
    """
    counts_V = np.asarray(counts_V, np.float64)
    if counts_V.sum() <= 0:
        raise EmptyCorpusError("the vocabulary has no counts: word vectors need how often each word occurs")
    keep_V = keep_probability(counts_V, config.subsample)
    return {"keep": jnp.asarray(keep_V, jnp.float32)}, counts_V * keep_V / (counts_V * keep_V).sum()


def noise_tables(counts_V, power):
    """The noise distribution as an alias table, {"noise_keep", "noise_other"}: (V,) each."""
    keep_V, other_V = alias_table(noise_distribution(counts_V, power))
    return {"noise_keep": jnp.asarray(keep_V), "noise_other": jnp.asarray(other_V)}


def draw_noise(tables, shape, key_word, key_alias):
    """Noise words of the given shape, int32."""
    word = jax.random.randint(key_word, shape, 0, tables["noise_keep"].shape[0])
    return jnp.where(jax.random.uniform(key_alias, shape) < tables["noise_keep"][word], word, tables["noise_other"][word])


def draw_windows(config, tables, batch, key_keep, key_radius=None):
    """Draw which tokens of a chunk stay, and each centre's window.

    Args:
      config: has `window`, `block`, `blocks`.
      tables: has "keep", see `word_tables`.
      batch: {"ids": (C,), "document": (C,), "count": ()}: a chunk of the corpus, of which the first `count` tokens are real;
        windows do not cross from one document into the next.
      key_keep, key_radius: random keys. Without `key_radius` every window has the largest radius, for `window_weights`.

    Returns:
      {"ids", "left", "right"} of C + padding tokens each, and "count" (): the tokens that stayed, closed up, after `window` tokens of
      padding (-1); how many tokens to the left and right of each are its context (zero for padding).
    """
    size, width = batch["ids"].shape[0], config.window
    at = jnp.arange(size)

    stays = (jax.random.uniform(key_keep, (size,)) < tables["keep"][batch["ids"]]) & (at < batch["count"])
    place = jnp.where(stays, jnp.cumsum(stays) - 1, size)  # size: out of range, dropped below
    count = stays.sum()
    ids = jnp.full(size, -1, jnp.int32).at[place].set(batch["ids"], mode="drop")
    document = jnp.zeros(size, jnp.int32).at[place].set(batch["document"], mode="drop")

    changes = document[1:] != document[:-1]
    first = jax.lax.cummax(jnp.where(jnp.append(True, changes), at, 0))
    last = jnp.minimum(jax.lax.cummin(jnp.where(jnp.append(changes, True), at, size), reverse=True), count - 1)
    radius = width if key_radius is None else jax.random.randint(key_radius, (size,), 1, width + 1)
    radius = jnp.where(at < count, radius, 0)
    left, right = jnp.minimum(radius, at - first), jnp.clip(last - at, 0, radius)

    # One step more than the chunk holds, so that the last, ragged step reads padding: no word, in no window, so that it moves no row.
    around = (width, config.block * config.blocks + width)
    ids = jnp.pad(ids, around, constant_values=-1)
    return {"ids": ids, "left": jnp.pad(left, around), "right": jnp.pad(right, around), "count": count}


def draw_with_noise(config, tables, batch, key, radius=True):
    """Draw everything random about a chunk where the loss is negative sampling.

    Args:
      config: has `shared_negatives` K too.
      tables: has the tables of `noise_tables` too.
      batch: a chunk of the corpus, see `draw_windows`.
      key: the chunk's random key.
      radius: whether windows have a radius of their own.

    Returns:
      What `draw_windows` returns, and "noise" (blocks, K), the ids of each block's noise words.
    """
    key_keep, key_radius, key_noise, key_alias = jax.random.split(key, 4)
    key_radius = key_radius if radius else None
    noise = draw_noise(tables, (blocks_in(config, batch["ids"].shape[0]), config.shared_negatives), key_noise, key_alias)
    return draw_windows(config, tables, batch, key_keep, key_radius) | {"noise": noise}


def shares(cap, updates):
    """What each row keeps of the learning rate, min(1, cap / updates), by table; `updates` are those that a step is expected to make."""
    return {name: jnp.asarray(np.minimum(1, cap / np.maximum(n, 1e-12)), jnp.float32) for name, n in updates.items()}


def blocks_in(config, size):
    """How many blocks the tokens of a chunk of `size` take at most, the ragged step at its end included."""
    return size // config.block + config.blocks + 1


def steps_in(config, drawn):
    """Number of steps that cover the tokens that stayed."""
    return -(-drawn["count"] // (config.block * config.blocks))


def places(config, drawn, i):
    """Where the blocks of step i of a drawn chunk stand, spread over it: block n starts at token (n steps + i) B.

    Returns:
      n (N,), the numbers of the blocks; at (N, S), the places of their spans in the drawn arrays.
    """
    n = jnp.arange(config.blocks) * steps_in(config, drawn) + i
    return n, n[:, None] * config.block + np.arange(config.block + 2 * config.window)[None, :]


def spans_of(config, drawn, i):
    """The blocks of step i of a drawn chunk, see `places`.

    Returns:
      n (N,), the numbers of the blocks; tokens (N, S), the ids of their spans, whose inner B are the centres; left, right (N, B), how far
      each centre's window reaches.
    """
    n, at = places(config, drawn, i)
    inner = slice(config.window, config.window + config.block)
    return n, drawn["ids"][at], drawn["left"][at[:, inner]], drawn["right"][at[:, inner]]


def band(config, left_NB, right_NB):
    """Which tokens of a span lie in which centre's window: (N, S, B) bool."""
    width, block = config.window, config.block
    distance = (np.arange(block + 2 * width)[:, None] - width - np.arange(block)[None, :])[None]  # (1, S, B), from centre to token
    inside = (distance >= -left_NB[:, None, :]) & (distance <= right_NB[:, None, :])
    return inside & (distance != 0)


def window_weights(config, left_NB, right_NB):
    """How much each pair of a token of a span and a centre weighs where windows have the largest radius: (N, S, B) float32.

    The authors sample distant words less by drawing each window's radius (arXiv 1301.3781, section 3.2): uniformly from 1 … window, so that
    a pair at distance d is taken with chance (window + 1 - d) / window. Where a loss is a sum over pairs, taking
    each with that weight is the expectation of drawing it: the same gradient on average, and less noise in it.
    """
    distance = np.abs(np.arange(config.block + 2 * config.window)[:, None] - config.window - np.arange(config.block)[None, :])
    weight = np.maximum(config.window + 1 - distance, 0) / config.window
    return band(config, left_NB, right_NB) * jnp.asarray(weight[None], jnp.float32)


def repeats_of(tokens_NS):
    """How often each token's word stands in its span, (N, S): where a passage repeats a word, each of its updates is divided by that."""
    return (tokens_NS[:, :, None] == tokens_NS[:, None, :]).sum(axis=2)


def repeats_near(ids, reach):
    """How often each token's word stands among the `reach` tokens before it, itself and the `reach` after it: (C,) int32, once a chunk."""
    padded, size = jnp.pad(ids, reach, constant_values=-1), ids.shape[0]
    return sum((padded[d : d + size] == ids).astype(jnp.int32) for d in range(2 * reach + 1))


def init_table(config, vocab_size, key):
    """Uniform in ±0.5/D, as in the C program: (V, D) with D rounded up to whole cache lines, or zeros where `key` is None.

    The columns added are zero and stay so, since each gradient is a sum of rows of another table; `vectors_of` leaves them out.
    """
    shape, padding = (vocab_size, config.dimension), -config.dimension % CACHE_LINE
    if key is None:
        return jnp.zeros((vocab_size, config.dimension + padding))
    scale = 0.5 / config.dimension
    return jnp.pad(jax.random.uniform(key, shape, minval=-scale, maxval=scale), ((0, 0), (0, padding)))


def vectors_of(config, table):
    """A table without its padding, (V, D) float32 on the host."""
    return np.asarray(table[:, : config.dimension])


def add_rows(table, ids, rows):
    """The table with rows (…, D) added at ids (…); a negative id counts from the end, as always in JAX, so rows of padding must be zero."""
    return table.at[ids.reshape(-1)].add(rows.reshape(-1, table.shape[1]))


def learning_rate(config, progress):
    """Falls linearly with `progress`, the share of the run that is done (0 … 1), down to the final rate."""
    return jnp.maximum(config.learning_rate * (1 - progress), config.final_learning_rate)


class Method(NamedTuple):
    """The functions in which the models of this family differ."""

    table: str  # name of the table, among the parameters, whose rows are the words' vectors
    draw: Callable  # (config, tables, batch, key) -> drawn
    update: Callable  # (config, tables, params, drawn, i, rate) -> params, after step i of the drawn chunk
    loss: Callable  # (config, tables, params, drawn, i) -> mean loss of step i in nats


def train_chunk(method, config, tables, chunks, state, batch, key):
    """Train on one chunk of the corpus: draw all that is random about it, then one step after the other in a loop on the device.

    Args:
      method: a Method.
      config: its config.
      tables: what it knows of the vocabulary.
      chunks: how many chunks the whole run trains on, all epochs together, for the decay of the learning rate.
      state: from `init_state`.
      batch: a chunk, as `draw_windows` wants it.
      key: the random key of this chunk.

    Returns:
      The new state, and metrics: the mean loss of the chunk's first step before it is learnt from, the learning rate at its
      beginning, tokens read and tokens kept. A chunk after which a number is not finite leaves all but `step` and `skipped` as it was;
      so does one with an id outside the vocabulary, in whose place JAX would take another row in silence.

    Raises:
      ShapeError: the tables are those of another vocabulary than the state.
    """
    check_shape(tables["keep"], state["params"][method.table].shape[:1], "the counts of the vocabulary")
    drawn = method.draw(config, tables, batch, key)
    steps = steps_in(config, drawn)
    old, done = state["params"], state["step"]
    known = jnp.all((batch["ids"] >= 0) & (batch["ids"] < len(tables["keep"])))
    loss = jnp.where(known, method.loss(config, tables, old, drawn, 0), jnp.nan)

    def body(i, params):
        return method.update(config, tables, params, drawn, i, learning_rate(config, (done + i / steps) / chunks))

    new = jax.lax.fori_loop(0, steps, body, old)
    sound = all_finite((loss, new))
    params = jax.tree.map(partial(jnp.where, sound), new, old)
    rate = learning_rate(config, done / chunks)
    metrics = {"loss": loss, "learning_rate": rate, "tokens": batch["count"], "kept": drawn["count"]}
    return state | {"params": params, "step": done + 1, "skipped": state["skipped"] + ~sound}, metrics


def make_step(method, sampling_tables, config, counts_V, chunks_per_epoch):
    """The step for `lmlib.learn.train.fit`: train_step(state, batch, key) -> (state, metrics), where a batch is a chunk of the corpus.

    Each model has it as `make_step(config, counts_V, chunks_per_epoch)`.

    Args:
      method, sampling_tables: of the model.
      config: of the model.
      counts_V: how often each word of the vocabulary occurs in the corpus.
      chunks_per_epoch: `len` of the CorpusChunks that feed it; the run is `epochs` times as long.
    """
    return partial(train_chunk, method, config, sampling_tables(config, counts_V), config.epochs * chunks_per_epoch)


def example(config, make_tables, make_state):
    """Small arguments of a model's `train_chunk`, for the register; the functions take (config, counts_V) and (config, key)."""
    at, key = jnp.arange(256, dtype=jnp.int32), jax.random.key(0)
    batch = {"ids": at % 20, "document": at // 50, "count": jnp.int32(250)}
    return config, make_tables(config, np.arange(20, 0, -1)), 12, make_state(config, key), batch, key

"""word2vec: skip-gram with negative sampling, as dense products over blocks of neighbouring words.

Mikolov, Chen, Corrado, Dean 2013, "Efficient Estimation of Word Representations in Vector Space" (arXiv 1301.3781): the skip-gram model.
Mikolov, Sutskever, Chen, Corrado, Dean 2013, "Distributed Representations of Words and Phrases and their Compositionality"
(arXiv 1310.4546): negative sampling (equation 4), subsampling of frequent words (equation 5), the unigram^0.75 noise.
What the papers leave open follows the authors' C program: the form of the subsampling, the window's radius drawn afresh for each centre,
windows made after subsampling, the linear decay of the learning rate, the initial values.

The program updates one pair after the other. Here a step takes `blocks` blocks of `block` neighbouring centres at once, and four
things make that fast and as good:

* The pairs of a block lie in a band of a small matrix, (context words + noise words) x centres, so that all its dot products are one
  matrix product, and both gradients two more. Noise words are drawn once a block and shared by its centres, each weighted by
  positives x `negatives` / `shared_negatives`: the expected gradient is that of equation 4, and many shared draws vary less than a
  few of one's own.
* The blocks of a step lie far apart in the chunk of corpus at hand, so a word that one passage repeats does not meet itself in a step.
* A frequent word still gets hundreds of pair updates in one step, each computed from the same stale row; their sum overshoots. Its
  learning rate is therefore lowered by min(1, `cap` / expected pair updates a step), a constant of the word. Scaling by the updates that
  a step really made looks safer and is worse: it shrinks a row's noise terms, which come in bundles, more than its positive ones.
* A rare word may fill a passage (a list, a refrain) and overshoot in a single block, whatever its frequency in the corpus. Where a word
  stands m times in a block's span, each of its updates is divided by m: it moves by their mean, not by their sum.

Left out on purpose: several passes over one pair, as no common program makes them; own noise words for each pair (set `block` to 1).

Shapes: V vocabulary, D dimension (in the tables rounded up, see `init_params`), C tokens of a chunk, N blocks a step, B centres a block,
S span of a block = B + 2 window, K noise words of a block, O outputs of a block = S + K.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.arrays import all_finite
from lmlib.errors import ConfigError, EmptyCorpusError, check_shape
from lmlib.programs import register
from lmlib.text.batches import keep_probability

CACHE_LINE = 16  # floats


@dataclass(frozen=True)
class SkipGramConfig:
    """Skip-gram with negative sampling. Rates were chosen on WikiText-2; steps are short enough for texts of half a million words."""

    dimension: int = 100  # D, length of a vector
    window: int = 5  # largest radius; each centre draws its own from 1 … window
    negatives: int = 5  # k of equation 4: noise pairs for each positive one
    subsample: float = 1e-3  # t of equation 5; 0 keeps every word
    noise_power: float = 0.75  # of the counts, in the distribution of the noise words
    learning_rate: float = 0.1  # at the beginning; it falls linearly over the run
    final_learning_rate: float = 1e-5  # it falls no lower
    epochs: int = 3  # passes over the corpus
    block: int = 16  # B, neighbouring centres that share their noise words
    blocks: int = 64  # N, blocks a step
    shared_negatives: int = 32  # K, noise words of a block; few of them, at a high rate, make training diverge
    cap: float = 16.0  # pair updates a step that a row may take at the full learning rate

    def __post_init__(self):
        for name in ("dimension", "window", "negatives", "epochs", "block", "blocks", "shared_negatives", "learning_rate", "cap"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"SkipGramConfig.{name} must be positive, got {getattr(self, name)}")
        if self.subsample < 0:
            raise ConfigError(f"SkipGramConfig.subsample must not be negative, got {self.subsample} (0 keeps every word)")

    @classmethod
    def tiny(cls, **changes):
        """For tests and for corpora of some ten thousand words: seconds."""
        return cls(**{"dimension": 16, "block": 8, "blocks": 8, "shared_negatives": 16, "learning_rate": 0.05} | changes)

    @classmethod
    def paper(cls, **changes):
        """300 dimensions and the phrases paper's subsampling; it does not state its window, which is the program's default here."""
        return cls(**{"dimension": 300, "subsample": 1e-5, "epochs": 1} | changes)


def negative_sampling_loss(centre_D, context_D, noise_KD):
    """Loss of one pair: -log s(u_o . v_c) - sum_k log s(-u_k . v_c), the negative of equation 4 (arXiv 1310.4546).

    Args:
      centre_D: v_c, the centre word's vector.
      context_D: u_o, the output vector of a word seen near it.
      noise_KD: output vectors of the K noise words.

    Returns:
      A scalar, in nats.
    """
    return -jax.nn.log_sigmoid(context_D @ centre_D) - jax.nn.log_sigmoid(-(noise_KD @ centre_D)).sum()


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


def sampling_tables(config, counts_V):
    """What a step must know of the vocabulary: chances to keep a token, the noise as an alias table, each row's share of the rate."""
    counts_V = np.asarray(counts_V, np.float64)
    if counts_V.sum() <= 0:
        raise EmptyCorpusError("the vocabulary has no counts: skip-gram needs how often each word occurs")
    keep_V = keep_probability(counts_V, config.subsample)
    kept_V = counts_V * keep_V / (counts_V * keep_V).sum()
    noise_V = noise_distribution(counts_V, config.noise_power)
    pairs = config.block * config.blocks * (config.window + 1)  # positives a step: twice the mean radius for each centre
    updates_V = {"centre": kept_V * (1 + config.negatives), "context": kept_V + config.negatives * noise_V}
    share_V = {name: np.minimum(1, config.cap / (pairs * np.maximum(n_V, 1e-12))) for name, n_V in updates_V.items()}
    noise_keep_V, noise_other_V = alias_table(noise_V)
    return {
        "keep": jnp.asarray(keep_V, jnp.float32),
        "noise_keep": jnp.asarray(noise_keep_V),
        "noise_other": jnp.asarray(noise_other_V),
        "share": {name: jnp.asarray(s_V, jnp.float32) for name, s_V in share_V.items()},
    }


def init_params(config, vocab_size, key):
    """{"centre", "context"}: uniform in ±0.5/D and zero, as in the C program; (V, D) with D rounded up to whole cache lines.

    A row whose length is a multiple of 16 floats is read and written about a fifth faster on a CPU. The columns added are zero and stay
    so, since each gradient is a sum of rows of the other table; `centre_vectors` leaves them out.
    """
    scale, padding = 0.5 / config.dimension, -config.dimension % CACHE_LINE
    centre = jax.random.uniform(key, (vocab_size, config.dimension), minval=-scale, maxval=scale)
    return {"centre": jnp.pad(centre, ((0, 0), (0, padding))), "context": jnp.zeros((vocab_size, config.dimension + padding))}


def centre_vectors(config, params):
    """The centre words' vectors, (V, D) float32 on the host: what is usually called the word vectors."""
    return np.asarray(params["centre"][:, : config.dimension])


def draw(config, tables, batch, key):
    """Draw everything random about a chunk: which tokens stay, each centre's window, each block's noise words.

    Args:
      config: a SkipGramConfig.
      tables: from `sampling_tables`.
      batch: {"ids": (C,), "document": (C,), "count": ()}: a chunk of the corpus, of which the first `count` tokens are real;
        windows do not cross from one document into the next.
      key: the step's random key.

    Returns:
      {"ids", "left", "right"} of C + padding tokens each, "noise" (blocks, K) and "count" (): the tokens that stayed, closed up, after
      `window` tokens of padding (-1); how many tokens to the left and right of each are its context (zero for padding).
    """
    size, width = batch["ids"].shape[0], config.window
    key_keep, key_radius, key_noise, key_alias = jax.random.split(key, 4)
    at = jnp.arange(size)

    stays = (jax.random.uniform(key_keep, (size,)) < tables["keep"][batch["ids"]]) & (at < batch["count"])
    place = jnp.where(stays, jnp.cumsum(stays) - 1, size)  # size: out of range, dropped below
    count = stays.sum()
    ids = jnp.full(size, -1, jnp.int32).at[place].set(batch["ids"], mode="drop")
    document = jnp.zeros(size, jnp.int32).at[place].set(batch["document"], mode="drop")

    changes = document[1:] != document[:-1]
    first = jax.lax.cummax(jnp.where(jnp.append(True, changes), at, 0))
    last = jnp.minimum(jax.lax.cummin(jnp.where(jnp.append(changes, True), at, size), reverse=True), count - 1)
    radius = jnp.where(at < count, jax.random.randint(key_radius, (size,), 1, width + 1), 0)
    left, right = jnp.minimum(radius, at - first), jnp.clip(last - at, 0, radius)

    # One step more than the chunk holds, so that the last, ragged step reads padding: no word, in no window, so that it moves no row.
    around = (width, config.block * config.blocks + width)
    ids = jnp.pad(ids, around, constant_values=-1)
    left, right = jnp.pad(left, around), jnp.pad(right, around)

    shape = (size // config.block + config.blocks + 1, config.shared_negatives)
    word = jax.random.randint(key_noise, shape, 0, tables["noise_keep"].shape[0])
    noise = jnp.where(jax.random.uniform(key_alias, shape) < tables["noise_keep"][word], word, tables["noise_other"][word])
    return {"ids": ids, "left": left, "right": right, "noise": noise, "count": count}


def steps_in(config, drawn):
    """Number of steps that cover the tokens that stayed."""
    return -(-drawn["count"] // (config.block * config.blocks))


def blocks_of(config, drawn, i):
    """The blocks of step i of a drawn chunk, spread over it: block n starts at token (n steps + i) B.

    Returns:
      tokens (N, S), the ids of the spans, whose inner B are the centres; noise (N, K), the ids of the noise words; positive (N, O, B),
      1 where an output (the span's tokens, then the noise words) is in a centre's window; weight (N, O, B), the weight of each pair in
      the loss: 1 for a positive, positives x k / K for noise.
    """
    block, width, span = config.block, config.window, config.block + 2 * config.window
    n = jnp.arange(config.blocks) * steps_in(config, drawn) + i
    at = n[:, None] * block + np.arange(span)[None, :]
    inner = slice(width, width + block)
    tokens, left, right = drawn["ids"][at], drawn["left"][at[:, inner]], drawn["right"][at[:, inner]]

    output = np.arange(span + config.shared_negatives)[:, None]
    distance = (output - width - np.arange(block)[None, :])[None]  # (1, O, B), from centre to output
    candidate = (output < span)[None] & (distance != 0)
    positive = candidate & (distance >= -left[:, None, :]) & (distance <= right[:, None, :])
    share = (left + right)[:, None, :] * (config.negatives / config.shared_negatives)
    weight = jnp.where((output < span)[None], positive, share)
    return tokens, drawn["noise"][n], positive.astype(jnp.float32), weight


def step_update(config, tables, params, drawn, i, rate):
    """One step of gradient descent on the summed loss of the blocks of step i, each row with its own rate (see the top of the file).

    Args:
      config, tables: as for `draw`.
      params: {"centre", "context"}, (V, D) each.
      drawn: from `draw`.
      i: number of the step within the chunk, below `steps_in`.
      rate: the learning rate before it is lowered for frequent and repeated words.

    Returns:
      The new params.
    """
    tokens_NS, noise_NK, positive_NOB, weight_NOB = blocks_of(config, drawn, i)
    inner = slice(config.window, config.window + config.block)
    centre_NB, output_NO = tokens_NS[:, inner], jnp.concatenate([tokens_NS, noise_NK], axis=1)
    v_NBD, u_NOD = params["centre"][centre_NB], params["context"][output_NO]
    repeats_NS = (tokens_NS[:, :, None] == tokens_NS[:, None, :]).sum(axis=2)
    repeats_NO = jnp.concatenate([repeats_NS, jnp.ones_like(noise_NK)], axis=1)
    rate_NB = rate * tables["share"]["centre"][centre_NB] / repeats_NS[:, inner]
    rate_NO = rate * tables["share"]["context"][output_NO] / repeats_NO

    # Outputs before centres: this order of the two small products is the fast one on a CPU, and so is keeping the compiler from folding
    # the transpose into the product (barriers).
    logits_NOB = jnp.einsum("nod,nbd->nob", u_NOD, v_NBD)
    error_NOB = jax.lax.optimization_barrier(positive_NOB - weight_NOB * jax.nn.sigmoid(logits_NOB))
    error_NBO = jax.lax.optimization_barrier(jnp.swapaxes(error_NOB, 1, 2))
    dv_NBD = jnp.einsum("nbo,nod->nbd", error_NBO, u_NOD) * rate_NB[:, :, None]
    du_NOD = jnp.einsum("nob,nbd->nod", error_NOB, v_NBD) * rate_NO[:, :, None]

    def add(table, ids, rows):
        return table.at[ids.reshape(-1)].add(rows.reshape(-1, table.shape[1]))

    return {"centre": add(params["centre"], centre_NB, dv_NBD), "context": add(params["context"], output_NO, du_NOD)}


def step_loss(config, params, drawn, i):
    """Mean loss of a positive pair with its share of noise, in nats, over the blocks of step i."""
    tokens_NS, noise_NK, positive_NOB, weight_NOB = blocks_of(config, drawn, i)
    v_NBD = params["centre"][tokens_NS[:, config.window : config.window + config.block]]
    u_NOD = params["context"][jnp.concatenate([tokens_NS, noise_NK], axis=1)]
    logits_NOB = jnp.einsum("nod,nbd->nob", u_NOD, v_NBD)
    loss = positive_NOB * jax.nn.log_sigmoid(logits_NOB) + (weight_NOB - positive_NOB) * jax.nn.log_sigmoid(-logits_NOB)
    return -loss.sum() / jnp.maximum(positive_NOB.sum(), 1)


def learning_rate(config, progress):
    """Falls linearly with `progress`, the share of the run that is done (0 … 1), down to the final rate."""
    return jnp.maximum(config.learning_rate * (1 - progress), config.final_learning_rate)


def init_state(config, vocab_size, key):
    """The state of a run before step 0, in the form of `lmlib.learn.train.init_train_state`; plain descent has no optimiser's state."""
    counters = {name: jnp.zeros((), jnp.int32) for name in ("step", "skipped")}
    return {"params": init_params(config, vocab_size, key), "opt_state": None, "carry": None, **counters}


def train_chunk(config, tables, chunks, state, batch, key):
    """Train on one chunk of the corpus: draw its windows and noise, then one step after the other in a loop on the device.

    Args:
      config: a SkipGramConfig.
      tables: from `sampling_tables`.
      chunks: how many chunks the whole run trains on, all epochs together, for the decay of the learning rate.
      state: from `init_state`.
      batch: a chunk, as `draw` wants it.
      key: the random key of this chunk.

    Returns:
      The new state, and metrics: the mean loss of the chunk's first step before it is learnt from, the learning rate at its
      beginning, tokens read and tokens kept. A chunk after which a number is not finite leaves all but `step` and `skipped` as it was;
      so does one with an id outside the vocabulary, in whose place JAX would take another row in silence.

    Raises:
      ShapeError: the tables are those of another vocabulary than the state.
    """
    check_shape(tables["keep"], state["params"]["centre"].shape[:1], "the counts of the vocabulary")
    drawn = draw(config, tables, batch, key)
    steps = steps_in(config, drawn)
    old, done = state["params"], state["step"]
    known = jnp.all((batch["ids"] >= 0) & (batch["ids"] < len(tables["keep"])))
    loss = jnp.where(known, step_loss(config, old, drawn, 0), jnp.nan)

    def body(i, params):
        return step_update(config, tables, params, drawn, i, learning_rate(config, (done + i / steps) / chunks))

    new = jax.lax.fori_loop(0, steps, body, old)
    sound = all_finite((loss, new))
    params = jax.tree.map(partial(jnp.where, sound), new, old)
    rate = learning_rate(config, done / chunks)
    metrics = {"loss": loss, "learning_rate": rate, "tokens": batch["count"], "kept": drawn["count"]}
    return state | {"params": params, "step": done + 1, "skipped": state["skipped"] + ~sound}, metrics


def make_step(config, counts_V, chunks_per_epoch):
    """The step for `lmlib.learn.train.fit`: train_step(state, batch, key) -> (state, metrics), where a batch is a chunk of the corpus.

    Args:
      config: a SkipGramConfig.
      counts_V: how often each word of the vocabulary occurs in the corpus.
      chunks_per_epoch: `len` of the CorpusChunks that feed it; the run is `epochs` times as long.
    """
    return partial(train_chunk, config, sampling_tables(config, counts_V), config.epochs * chunks_per_epoch)


def _example():
    config, counts_V, key = SkipGramConfig.tiny(), np.arange(20, 0, -1), jax.random.key(0)
    at = jnp.arange(256, dtype=jnp.int32)
    batch = {"ids": at % 20, "document": at // 50, "count": jnp.int32(250)}
    return config, sampling_tables(config, counts_V), 12, init_state(config, 20, key), batch, key


register("word2vec.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

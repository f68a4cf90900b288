"""word2vec: CBOW (continuous bag of words) with negative sampling, as dense products over blocks of neighbouring words.

Mikolov, Chen, Corrado, Dean 2013, "Efficient Estimation of Word Representations in Vector Space" (arXiv 1301.3781), section 3.1: the mean
of the vectors around a word predicts the word. The centre is what is predicted and never among the inputs; negative sampling in place of
the softmax is that of arXiv 1310.4546, equation 4.

The input of a centre is h = (1/n) sum_j v_j over the n words of its window, so a context word's gradient is that of h divided by n. The
authors' program and gensim leave the division out: n words move n times as far as the loss asks for (Irsoy, Benton, Stratos 2021,
"Corrected CBOW Performs as well as Skip-gram", arXiv 2012.15332). Here the gradient is the true one, and `gradient="word2vec.c"` is the
program's. It needs a rate about twice as high. On WikiText-2, both in blocks of 64 centres with 16 noise words and each at the best rate
and cap of a grid, the two are a standard deviation apart on word similarity, in favour of the true one (five seeds, see
results/benchmarks/tuning_word2vec.json): a tendency, no more.

A step takes `blocks` blocks of `block` neighbouring centres, as in `word2vec`, which says how stale rows, frequent words and words that a
passage repeats are kept from overshooting. Blocks are longer here; so that words which an article repeats do not learn too slowly, the
repeats of a word are counted among the NEAR tokens to each side of it, not in its block. The means of a block are sums over shifted copies
of its span, and so are their gradients. Noise words are shared by the centres of a block. One centre costs few rows, its own and a little
of the span's and the noise's: that is why CBOW is faster than skip-gram.

Shapes: V vocabulary, D dimension (in the tables rounded up, see `windows.init_table`), N blocks a step, B centres a block,
S span of a block = B + 2 window, P = B + 4 window, K noise words of a block, O outputs of a block = B + K.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.errors import ConfigError, nearest
from lmlib.models import windows
from lmlib.programs import register

GRADIENTS = ("true", "word2vec.c")
NEAR = 13  # tokens to each side of a token among which repeats of its word are counted


@dataclass(frozen=True)
class CBOWConfig:
    """CBOW with negative sampling. Rate, cap and blocks were chosen on WikiText-2."""

    dimension: int = 100  # D, length of a vector
    window: int = 5  # largest radius; each centre draws its own from 1 … window
    negatives: int = 5  # k of equation 4: noise words for each centre
    subsample: float = 1e-3  # t of equation 5 of arXiv 1310.4546; 0 keeps every word
    noise_power: float = 0.75  # of the counts, in the distribution of the noise words
    learning_rate: float = 0.3  # at the beginning; it falls linearly over the run
    final_learning_rate: float = 1e-5  # it falls no lower
    epochs: int = 3  # passes over the corpus
    block: int = 64  # B, neighbouring centres that share their noise words
    blocks: int = 32  # N, blocks a step
    shared_negatives: int = 40  # K, noise words of a block; with few of them analogies suffer first
    cap: float = 8.0  # updates a step that a row may take at the full learning rate
    gradient: str = "true"  # of the context words; "word2vec.c" does not divide it by their number

    def __post_init__(self):
        windows.check_config(self, "negatives", "shared_negatives", "cap")
        if self.gradient not in GRADIENTS:
            near = nearest(self.gradient, GRADIENTS)
            raise ConfigError(f"CBOWConfig.gradient must be one of {', '.join(GRADIENTS)}, got {self.gradient!r}{near}")

    @classmethod
    def tiny(cls, **changes):
        """For tests and for corpora of some ten thousand words: seconds."""
        return cls(**{"dimension": 16, "block": 8, "blocks": 8, "learning_rate": 0.05} | changes)


def cbow_loss(context_CD, centre_D, noise_KD):
    """Loss of one centre: -log s(u_o . h) - sum_k log s(-u_k . h), where h is the mean of the context.

    Args:
      context_CD: v_j, the input vectors of the C words of the window.
      centre_D: u_o, the output vector of the word in their midst.
      noise_KD: output vectors of the K noise words.

    Returns:
      A scalar, in nats.
    """
    h_D = context_CD.mean(axis=0)
    return -jax.nn.log_sigmoid(centre_D @ h_D) - jax.nn.log_sigmoid(-(noise_KD @ h_D)).sum()


def sampling_tables(config, counts_V):
    """What a step must know of the vocabulary: chances to keep a token, the noise as an alias table, each row's share of the rate."""
    tables, kept_V = windows.word_tables(config, counts_V)
    noise_V = windows.noise_distribution(counts_V, config.noise_power)
    centres = config.block * config.blocks
    windows_V = kept_V * (1 if config.gradient == "true" else config.window + 1)  # the weights of a window sum to 1, or to its size
    updates_V = {"context": windows_V * (1 + config.negatives), "centre": kept_V + config.negatives * noise_V}
    share = windows.shares(config.cap, {name: centres * n_V for name, n_V in updates_V.items()})
    return tables | windows.noise_tables(counts_V, config.noise_power) | {"share": share}


def init_params(config, vocab_size, key):
    """{"context", "centre"}: uniform in ±0.5/D and zero, as in the C program; (V, D) with D rounded up, see `windows.init_table`."""
    return {"context": windows.init_table(config, vocab_size, key), "centre": windows.init_table(config, vocab_size, None)}


def init_state(config, vocab_size, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`."""
    return windows.initial_state(init_params(config, vocab_size, key))


def input_vectors(config, params):
    """The vectors of words as context, (V, D) float32 on the host: what is usually called the word vectors of CBOW."""
    return windows.vectors_of(config, params["context"])


def draw(config, tables, batch, key):
    """Draw everything random about a chunk, and work out each row's share of the rate, which would take longer step by step.

    Returns:
      What `windows.draw_with_noise` returns, and "share": "context" and "centre" for each of its tokens, already divided by how often
      the token's word stands near it; "noise" (blocks, K) for the noise words.
    """
    drawn = windows.draw_with_noise(config, tables, batch, key)
    share, repeats = tables["share"], windows.repeats_near(drawn["ids"], NEAR)
    by_token = {name: share[name][drawn["ids"]] / repeats for name in ("context", "centre")}
    return drawn | {"share": by_token | {"noise": share["centre"][drawn["noise"]]}}


def blocks_of(config, drawn, i):
    """The blocks of step i of a drawn chunk, see `windows.spans_of`.

    Returns:
      tokens (N, S), the ids of the spans, whose inner B are the centres; noise (N, K), the ids of the noise words; weight (N, W, P), the
      share of a word in the mean of a window, for each of the W distances, see `gather_windows`; size (N, B), the words of each window.
    """
    n, tokens, left, right = windows.spans_of(config, drawn, i)
    distance, size = np.array(distances(config))[None, :, None], left + right
    inside = (distance >= -left[:, None, :]) & (distance <= right[:, None, :])
    mean = inside / jnp.maximum(size, 1)[:, None, :].astype(jnp.float32)
    return tokens, drawn["noise"][n], jnp.pad(mean, ((0, 0), (0, 0), (2 * config.window, 2 * config.window))), size


def distances(config):
    """The W = 2 window distances from a centre to the words around it: -window … window without 0."""
    return [d for d in range(-config.window, config.window + 1) if d != 0]


def gather_windows(config, weight_NWP, x_NSD):
    """For each centre the weighted sum of the rows around it, (N, B, D): h_b = sum_d weight_d,b x_{b + d}.

    A sum over shifted copies reads each row once for each distance, and takes half the time of a product with a band matrix, S / 2W times
    as many multiplications. Rows and weights stand between zeros, P = B + 4 window of them as the adjoint needs it, and behind a barrier:
    the compiler then works them out once, and not again for every distance and column.
    """
    width, block = config.window, config.block
    x_NPD = jax.lax.optimization_barrier(jnp.pad(x_NSD, ((0, 0), (width, width), (0, 0))))
    centres = slice(2 * width, 2 * width + block)
    return sum(weight_NWP[:, j, centres, None] * x_NPD[:, 2 * width + d : 2 * width + d + block] for j, d in enumerate(distances(config)))


def spread_windows(config, weight_NWP, h_NBD):
    """The adjoint of `gather_windows`, (N, S, D): each centre's row, with its weights, added to the rows around it."""
    width, span = config.window, config.block + 2 * config.window
    h_NPD = jnp.pad(h_NBD, ((0, 0), (2 * width, 2 * width), (0, 0)))
    from_ = [(j, slice(width - d, width - d + span)) for j, d in enumerate(distances(config))]
    return sum(weight_NWP[:, j, at, None] * h_NPD[:, at] for j, at in from_)


def step_update(config, tables, params, drawn, i, rate):
    """One step of gradient descent on the summed loss of the blocks of step i, each row with its own rate (see the top of the file).

    Args:
      config, tables: as for `draw`.
      params: {"context", "centre"}, (V, D) each.
      drawn: from `draw`.
      i: number of the step within the chunk, below `windows.steps_in`.
      rate: the learning rate before it is lowered for frequent and repeated words.

    Returns:
      The new params.
    """
    tokens_NS, noise_NK, weight_NWP, size_NB = blocks_of(config, drawn, i)
    inner = slice(config.window, config.window + config.block)
    centre_NB = tokens_NS[:, inner]
    x_NSD, u_NBD, q_NKD = params["context"][tokens_NS], params["centre"][centre_NB], params["centre"][noise_NK]
    n, at_NS = windows.places(config, drawn, i)
    rate_NS, rate_NB = rate * drawn["share"]["context"][at_NS], rate * drawn["share"]["centre"][at_NS[:, inner]]
    rate_NK = rate * drawn["share"]["noise"][n]

    # Barriers: without them the compiler works out a row, or a weight, again wherever it is used.
    weight_NWP = jax.lax.optimization_barrier(weight_NWP)
    h_NBD = jax.lax.optimization_barrier(gather_windows(config, weight_NWP, x_NSD))
    there_NB = size_NB > 0  # a centre without a window has nothing to be predicted from
    weight_NB = there_NB * (config.negatives / config.shared_negatives)
    error_NB = there_NB * jax.nn.sigmoid(-(u_NBD * h_NBD).sum(axis=2))
    # Noise words before centres: the fast order, see `word2vec.ascents`.
    error_NKB = -weight_NB[:, None, :] * jax.nn.sigmoid(jnp.einsum("nkd,nbd->nkb", q_NKD, h_NBD))
    error_NKB = jax.lax.optimization_barrier(error_NKB)
    error_NBK = jax.lax.optimization_barrier(jnp.swapaxes(error_NKB, 1, 2))

    dh_NBD = error_NB[:, :, None] * u_NBD + jnp.einsum("nbk,nkd->nbd", error_NBK, q_NKD)
    if config.gradient == "word2vec.c":
        dh_NBD = dh_NBD * size_NB[:, :, None]
    dx_NSD = spread_windows(config, weight_NWP, jax.lax.optimization_barrier(dh_NBD)) * rate_NS[:, :, None]
    du_NBD = (error_NB * rate_NB)[:, :, None] * h_NBD
    dq_NKD = jnp.einsum("nkb,nbd->nkd", error_NKB, h_NBD) * rate_NK[:, :, None]
    output_NO, do_NOD = jnp.concatenate([centre_NB, noise_NK], axis=1), jnp.concatenate([du_NBD, dq_NKD], axis=1)
    context = windows.add_rows(params["context"], tokens_NS, dx_NSD)
    return {"context": context, "centre": windows.add_rows(params["centre"], output_NO, do_NOD)}


def step_loss(config, tables, params, drawn, i):
    """Mean loss of a centre with its share of noise, in nats, over the blocks of step i."""
    tokens_NS, noise_NK, weight_NWP, size_NB = blocks_of(config, drawn, i)
    h_NBD = gather_windows(config, weight_NWP, params["context"][tokens_NS])
    u_NBD = params["centre"][tokens_NS[:, config.window : config.window + config.block]]
    noise_NB = jax.nn.log_sigmoid(-jnp.einsum("nbd,nkd->nbk", h_NBD, params["centre"][noise_NK])).sum(axis=2)
    loss_NB = jax.nn.log_sigmoid((u_NBD * h_NBD).sum(axis=2)) + config.negatives / config.shared_negatives * noise_NB
    there_NB = size_NB > 0
    return -(there_NB * loss_NB).sum() / jnp.maximum(there_NB.sum(), 1)


METHOD = windows.Method("context", draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)

make_step = partial(windows.make_step, METHOD, sampling_tables)


def _example():
    return windows.example(CBOWConfig.tiny(), sampling_tables, lambda config, key: init_state(config, 20, key))


register("cbow.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

"""word2vec: skip-gram with negative sampling, as dense products over blocks of neighbouring words.

Mikolov, Chen, Corrado, Dean 2013, "Efficient Estimation of Word Representations in Vector Space" (arXiv 1301.3781): the skip-gram model.
Mikolov, Sutskever, Chen, Corrado, Dean 2013, "Distributed Representations of Words and Phrases and their Compositionality"
(arXiv 1310.4546): negative sampling (equation 4), subsampling of frequent words (equation 5), the unigram^0.75 noise.
`windows` holds what it shares with its relatives: which words stay, their windows, the noise, the loop over a chunk of the corpus.

The program updates one pair after the other. Here a step takes `blocks` blocks of `block` neighbouring centres at once, and five
things make that fast and as good:

* The pairs of a block lie in a band of a small matrix, (context words + noise words) x centres, so that all its dot products are one
  matrix product, and both gradients two more. Noise words are drawn once a block and shared by its centres, each weighted by
  positives x `negatives` / `shared_negatives`: the expected gradient is that of equation 4, and many shared draws vary less than a
  few of one's own.
* All pairs of the largest window are in the band already. Each takes part with the weight (window + 1 - distance) / window, the chance
  that the program's random radius would take it: the same expected gradient, from nearly twice as many pairs.
* The blocks of a step lie far apart in the chunk of corpus at hand, so a word that one passage repeats does not meet itself in a step.
* A frequent word still gets hundreds of pair updates in one step, each computed from the same stale row; their sum overshoots. Its
  learning rate is therefore lowered by min(1, `cap` / expected pair updates a step), a constant of the word. Scaling by the updates that
  a step really made looks safer and is worse: it shrinks a row's noise terms, which come in bundles, more than its positive ones.
* A rare word may fill a passage (a list, a refrain) and overshoot in a single block, whatever its frequency in the corpus. Where a word
  stands m times in a block's span, each of its updates is divided by m: it moves by their mean, not by their sum.

Left out on purpose: several passes over one pair, as no common program makes them; own noise words for each pair (set `block` to 1).

Shapes: V vocabulary, D dimension (in the tables rounded up, see `windows.init_table`), N blocks a step, B centres a block,
S span of a block = B + 2 window, K noise words of a block, O outputs of a block = S + K.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.models import windows
from lmlib.models.windows import alias_table, learning_rate, noise_distribution, steps_in  # noqa: F401  (part of what word2vec is)
from lmlib.programs import register


@dataclass(frozen=True)
class SkipGramConfig:
    """Skip-gram with negative sampling. Rates were chosen on WikiText-2; steps are short enough for texts of half a million words."""

    dimension: int = 100  # D, length of a vector
    window: int = 5  # largest distance; a pair at distance d weighs (window + 1 - d) / window
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
        windows.check_config(self, "negatives", "shared_negatives", "cap")

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


def sampling_tables(config, counts_V):
    """What a step must know of the vocabulary: chances to keep a token, the noise as an alias table, each row's share of the rate."""
    tables, kept_V = windows.word_tables(config, counts_V)
    noise_V = noise_distribution(counts_V, config.noise_power)
    pairs = config.block * config.blocks * (config.window + 1)  # positives a step: the weights of a window sum to window + 1
    updates_V = {"centre": kept_V * (1 + config.negatives), "context": kept_V + config.negatives * noise_V}
    share = windows.shares(config.cap, {name: pairs * n_V for name, n_V in updates_V.items()})
    return tables | windows.noise_tables(counts_V, config.noise_power) | {"share": share}


def init_params(config, vocab_size, key):
    """{"centre", "context"}: uniform in ±0.5/D and zero, as in the C program; (V, D) with D rounded up, see `windows.init_table`."""
    return {"centre": windows.init_table(config, vocab_size, key), "context": windows.init_table(config, vocab_size, None)}


def init_state(config, vocab_size, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`."""
    return windows.initial_state(init_params(config, vocab_size, key))


def input_vectors(config, params):
    """The centre words' vectors, (V, D) float32 on the host: what is usually called the word vectors."""
    return windows.vectors_of(config, params["centre"])


draw = partial(windows.draw_with_noise, radius=False)


def blocks_of(config, drawn, i):
    """The blocks of step i of a drawn chunk, see `windows.spans_of`.

    Returns:
      tokens (N, S), the ids of the spans, whose inner B are the centres; noise (N, K), the ids of the noise words; positive (N, O, B),
      the weight of an output (the span's tokens, then the noise words) in a centre's window, 0 outside it and for noise; weight
      (N, O, B), the weight of each pair in the loss: the same for a positive, and for noise the sum of the centre's positives x k / K.
    """
    n, tokens, left, right = windows.spans_of(config, drawn, i)
    positive = jnp.pad(windows.window_weights(config, left, right), ((0, 0), (0, config.shared_negatives), (0, 0)))
    share = positive.sum(axis=1, keepdims=True) * (config.negatives / config.shared_negatives)
    weight = jnp.where(np.arange(positive.shape[1])[None, :, None] < tokens.shape[1], positive, share)
    return tokens, drawn["noise"][n], positive, weight


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
    centre_NB = tokens_NS[:, config.window : config.window + config.block]
    output_NO, rate_NB, rate_NO = outputs_and_rates(config, tables, tokens_NS, noise_NK, rate)
    ascent = ascents(params["centre"][centre_NB], params["context"][output_NO], positive_NOB, weight_NOB)
    centre = windows.add_rows(params["centre"], centre_NB, ascent[0] * rate_NB[:, :, None])
    return {"centre": centre, "context": windows.add_rows(params["context"], output_NO, ascent[1] * rate_NO[:, :, None])}


def outputs_and_rates(config, tables, tokens_NS, noise_NK, rate):
    """The outputs of blocks, (N, O): the span's tokens, then the noise words; and the learning rates of centres (N, B) and outputs."""
    output_NO = jnp.concatenate([tokens_NS, noise_NK], axis=1)
    inner = slice(config.window, config.window + config.block)
    repeats_NS = windows.repeats_of(tokens_NS)
    repeats_NO = jnp.concatenate([repeats_NS, jnp.ones_like(noise_NK)], axis=1)
    rate_NB = rate * tables["share"]["centre"][tokens_NS[:, inner]] / repeats_NS[:, inner]
    return output_NO, rate_NB, rate * tables["share"]["context"][output_NO] / repeats_NO


def ascents(v_NBD, u_NOD, positive_NOB, weight_NOB):
    """Minus the gradient of the blocks' summed loss by the centres' vectors, (N, B, D), and by the outputs', (N, O, D)."""
    # Outputs before centres: this order of the two small products is the fast one on a CPU, and so is keeping the compiler from folding
    # the transpose into the product (barriers).
    logits_NOB = jnp.einsum("nod,nbd->nob", u_NOD, v_NBD)
    error_NOB = jax.lax.optimization_barrier(positive_NOB - weight_NOB * jax.nn.sigmoid(logits_NOB))
    error_NBO = jax.lax.optimization_barrier(jnp.swapaxes(error_NOB, 1, 2))
    return jnp.einsum("nbo,nod->nbd", error_NBO, u_NOD), jnp.einsum("nob,nbd->nod", error_NOB, v_NBD)


def step_loss(config, tables, params, drawn, i):
    """Mean loss of a positive pair with its share of noise, in nats, over the blocks of step i."""
    tokens_NS, noise_NK, positive_NOB, weight_NOB = blocks_of(config, drawn, i)
    v_NBD = params["centre"][tokens_NS[:, config.window : config.window + config.block]]
    u_NOD = params["context"][jnp.concatenate([tokens_NS, noise_NK], axis=1)]
    return mean_loss(v_NBD, u_NOD, positive_NOB, weight_NOB)


def mean_loss(v_NBD, u_NOD, positive_NOB, weight_NOB):
    """Mean loss of a positive pair with its share of noise, in nats, of blocks whose vectors are given."""
    logits_NOB = jnp.einsum("nod,nbd->nob", u_NOD, v_NBD)
    loss = positive_NOB * jax.nn.log_sigmoid(logits_NOB) + (weight_NOB - positive_NOB) * jax.nn.log_sigmoid(-logits_NOB)
    return -loss.sum() / jnp.maximum(positive_NOB.sum(), 1)


METHOD = windows.Method("centre", draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)

make_step = partial(windows.make_step, METHOD, sampling_tables)


def _example():
    return windows.example(SkipGramConfig.tiny(), sampling_tables, lambda config, key: init_state(config, 20, key))


register("word2vec.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

"""Hierarchical softmax: a word is reached by yes-or-no decisions from the root of a Huffman tree, for skip-gram and CBOW.

Morin, Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model"; Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv
1310.4546), section 2.1 and equation 3: with n(w, j) the j-th node on the path from the root to the word w, and code 0 or 1 at each,

  p(w | x) = prod_j s((1 - 2 code_j) u_{n(w, j)} . x) ,

where x is the input: the vector of one context word (skip-gram) or the mean of all of a window (CBOW). The V probabilities sum to 1, and
one costs log V products instead of V. As in the authors' program, the path is that of the centre and the input comes from its context;
over all pairs of a text this is the paper's sum with the two words of a pair exchanged.

Steps over blocks, the words that stay and each row's own rate are those of `word2vec`, explained there. One thing is added. A path of a
large vocabulary has a dozen nodes, and a step's time is that of its rows. With `levels` set, a centre therefore takes that many of the l
nodes of its path, one from each equal part of it, at a place drawn afresh, each weighted by l / `levels`: the expected gradient is that of
the whole path. `levels = 0` takes whole paths.

Shapes: V vocabulary, D dimension (in the tables rounded up), L the longest path, M nodes of a centre = `levels` or L, N blocks a step,
B centres a block, S span of a block = B + 2 window, Q nodes of a block = B M.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.errors import ConfigError
from lmlib.models import windows
from lmlib.models.huffman import huffman_tree
from lmlib.programs import register

ARCHITECTURES = ("skip-gram", "cbow")


@dataclass(frozen=True)
class HierarchicalConfig:
    """Hierarchical softmax over a Huffman tree."""

    architecture: str = "skip-gram"  # or "cbow"
    dimension: int = 100  # D, length of a vector
    window: int = 5  # largest radius; each centre draws its own from 1 … window
    subsample: float = 1e-3  # t of equation 5; 0 keeps every word
    learning_rate: float = 0.05  # at the beginning; it falls linearly over the run
    final_learning_rate: float = 1e-5  # it falls no lower
    epochs: int = 3  # passes over the corpus
    block: int = 8  # B, neighbouring centres whose windows share their rows
    blocks: int = 128  # N, blocks a step
    levels: int = 6  # M, nodes that are drawn from a path; 0: all of them
    cap: float = 16.0  # updates a step that a row may take at the full learning rate

    def __post_init__(self):
        windows.check_config(self, "cap")
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(f"HierarchicalConfig.architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if self.levels < 0:
            raise ConfigError(f"HierarchicalConfig.levels must not be negative, got {self.levels} (0 takes whole paths)")

    @classmethod
    def tiny(cls, **changes):
        """For tests and for corpora of some ten thousand words: seconds."""
        return cls(**{"dimension": 16, "blocks": 8, "learning_rate": 0.05, "levels": 0} | changes)


def hierarchical_softmax_loss(input_D, nodes_LD, codes_L):
    """Loss of one word: -sum_j log s((1 - 2 code_j) u_j . x), the negative log of equation 3 (arXiv 1310.4546).

    Args:
      input_D: x, the input vector.
      nodes_LD: the vectors of the nodes on the word's path, from the root down.
      codes_L: the decision at each node, 0 or 1.

    Returns:
      A scalar, in nats.
    """
    return -jax.nn.log_sigmoid((1 - 2 * codes_L) * (nodes_LD @ input_D)).sum()


def sampling_tables(config, counts_V):
    """What a step must know of the vocabulary: chances to keep a token, each word's path, each row's share of the rate.

    A path is packed into one integer a node, 2 node + code, in a table (V, L).
    """
    tables, kept_V = windows.word_tables(config, counts_V)
    tree = huffman_tree(counts_V)
    lengths_V, nodes_VL, codes_VL = tree["lengths"], tree["nodes"], tree["codes"]
    on_path_VL = np.arange(nodes_VL.shape[1])[None, :] < lengths_V[:, None]
    below = np.zeros(len(counts_V))  # share of the tokens that stay whose path has the node
    np.add.at(below, nodes_VL[on_path_VL], np.broadcast_to(kept_V[:, None], nodes_VL.shape)[on_path_VL])
    pairs = config.block * config.blocks * (config.window + 1 if config.architecture == "skip-gram" else 1)
    inputs = config.block * config.blocks * (config.window + 1)
    updates = {"context": inputs * kept_V * (kept_V @ lengths_V), "nodes": pairs * below}
    return tables | {
        "lengths": jnp.asarray(lengths_V, jnp.int32),
        "paths": jnp.asarray(np.where(on_path_VL, 2 * nodes_VL.astype(np.int64) + codes_VL, 0), jnp.int32),
        "share": windows.shares(config.cap, updates),
    }


def init_params(config, vocab_size, key):
    """{"context", "nodes"}: uniform in ±0.5/D and zero. A tree of V words has V - 1 inner nodes; the last row is that of none."""
    return {"context": windows.init_table(config, vocab_size, key), "nodes": windows.init_table(config, vocab_size, None)}


def init_state(config, vocab_size, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`."""
    return windows.initial_state(init_params(config, vocab_size, key))


def input_vectors(config, params):
    """The words' vectors, (V, D) float32 on the host."""
    return windows.vectors_of(config, params["context"])


def draw(config, tables, batch, key):
    """Draw everything random about a chunk: what `windows.draw_windows` returns, and "offset", in [0, 1), for each token that stayed."""
    key_keep, key_radius, key_offset = jax.random.split(key, 3)
    drawn = windows.draw_windows(config, tables, batch, key_keep, key_radius)
    return drawn | {"offset": jax.random.uniform(key_offset, drawn["ids"].shape)}


def nodes_of(config, tables, ids, offset):
    """The nodes that centres take from their paths.

    Args:
      ids: words (…).
      offset: a number in [0, 1) for each.

    Returns:
      nodes (…, M); label (…, M), 1 - code; weight (…, M), l / M, or 1 and 0 beyond the end where whole paths are taken.
    """
    length = tables["lengths"][ids][..., None]
    at = jnp.arange(config.levels or tables["paths"].shape[1]).reshape((1,) * ids.ndim + (-1,))
    if config.levels:
        level = jnp.minimum(((offset[..., None] + at) * length / config.levels).astype(jnp.int32), length - 1)
        weight = jnp.broadcast_to(length / config.levels, level.shape)
    else:
        level, weight = jnp.broadcast_to(at, (*ids.shape, at.shape[-1])), (at < length).astype(jnp.float32)
    packed = tables["paths"][ids[..., None], level]
    return packed // 2, (1 - packed % 2).astype(jnp.float32), weight


def blocks_of(config, tables, drawn, i):
    """The blocks of step i of a drawn chunk, see `windows.spans_of`.

    Returns:
      tokens (N, S), the ids of the spans, whose inner B are the centres; nodes, label and weight (N, B, M), see `nodes_of`;
      inside (N, S, B), 1 where a token is in a centre's window.
    """
    n, tokens_NS, left_NB, right_NB = windows.spans_of(config, drawn, i)
    inner = slice(config.window, config.window + config.block)
    at_NB = n[:, None] * config.block + config.window + np.arange(config.block)[None, :]
    nodes = nodes_of(config, tables, tokens_NS[:, inner], drawn["offset"][at_NB])
    return tokens_NS, *nodes, windows.band(config, left_NB, right_NB).astype(jnp.float32)


def _means(inside_NSB):
    """The band with columns that sum to 1, or to 0 for a centre without context."""
    return inside_NSB / jnp.maximum(inside_NSB.sum(axis=1, keepdims=True), 1)


def step_update(config, tables, params, drawn, i, rate):
    """One step of gradient descent on the summed loss of the blocks of step i, each row with its own rate.

    Args:
      config, tables: as for `draw`.
      params: {"context", "nodes"}, (V, D) each.
      drawn: from `draw`.
      i: number of the step within the chunk, below `windows.steps_in`.
      rate: the learning rate before it is lowered for frequent and repeated rows.

    Returns:
      The new params.
    """
    tokens_NS, nodes_NBM, label_NBM, weight_NBM, inside_NSB = blocks_of(config, tables, drawn, i)
    blocks, block, taken = nodes_NBM.shape
    x_NSD, u_NQD = params["context"][tokens_NS], params["nodes"][nodes_NBM.reshape(blocks, -1)]
    repeats_NS = windows.repeats_of(tokens_NS)
    repeats_NB = repeats_NS[:, config.window : config.window + block]
    rate_NS = rate * tables["share"]["context"][tokens_NS] / repeats_NS
    rate_NQ = (rate * tables["share"]["nodes"][nodes_NBM] / repeats_NB[:, :, None]).reshape(blocks, -1)

    if config.architecture == "skip-gram":
        logits_NQS = jnp.einsum("nqd,nsd->nqs", u_NQD, x_NSD)
        inside_NQS = jnp.repeat(jnp.swapaxes(inside_NSB, 1, 2), taken, axis=1)
        wrong_NQS = label_NBM.reshape(blocks, -1, 1) - jax.nn.sigmoid(logits_NQS)
        error_NQS = jax.lax.optimization_barrier(inside_NQS * weight_NBM.reshape(blocks, -1, 1) * wrong_NQS)
        error_NSQ = jax.lax.optimization_barrier(jnp.swapaxes(error_NQS, 1, 2))
        du_NQD = jnp.einsum("nqs,nsd->nqd", error_NQS, x_NSD)
        dx_NSD = jnp.einsum("nsq,nqd->nsd", error_NSQ, u_NQD)
    else:
        means_NSB = _means(inside_NSB)
        h_NBD = jnp.einsum("nsb,nsd->nbd", means_NSB, x_NSD)
        u_NBMD = u_NQD.reshape(blocks, block, taken, -1)
        some_NB1 = (inside_NSB.sum(axis=1) > 0)[:, :, None]
        error_NBM = some_NB1 * weight_NBM * (label_NBM - jax.nn.sigmoid(jnp.einsum("nbmd,nbd->nbm", u_NBMD, h_NBD)))
        du_NQD = (error_NBM[..., None] * h_NBD[:, :, None, :]).reshape(u_NQD.shape)
        dx_NSD = jnp.einsum("nsb,nbd->nsd", means_NSB, jnp.einsum("nbm,nbmd->nbd", error_NBM, u_NBMD))
    return {
        "context": windows.add_rows(params["context"], tokens_NS, dx_NSD * rate_NS[:, :, None]),
        "nodes": windows.add_rows(params["nodes"], nodes_NBM, du_NQD * rate_NQ[:, :, None]),
    }


def step_loss(config, tables, params, drawn, i):
    """Mean -log p(centre | input) in nats over the inputs of step i: the pairs of skip-gram, the windows of CBOW."""
    tokens_NS, nodes_NBM, label_NBM, weight_NBM, inside_NSB = blocks_of(config, tables, drawn, i)
    x_NSD, u_NBMD = params["context"][tokens_NS], params["nodes"][nodes_NBM]
    if config.architecture == "skip-gram":
        logits_NBMI, there_NBI = jnp.einsum("nbmd,nsd->nbms", u_NBMD, x_NSD), jnp.swapaxes(inside_NSB, 1, 2)
    else:
        h_NBD = jnp.einsum("nsb,nsd->nbd", _means(inside_NSB), x_NSD)
        logits_NBMI = jnp.einsum("nbmd,nbd->nbm", u_NBMD, h_NBD)[..., None]
        there_NBI = (inside_NSB.sum(axis=1) > 0).astype(jnp.float32)[:, :, None]
    loss_NBMI = -jax.nn.log_sigmoid((2 * label_NBM - 1)[..., None] * logits_NBMI) * weight_NBM[..., None]
    return (loss_NBMI * there_NBI[:, :, None, :]).sum() / jnp.maximum(there_NBI.sum(), 1)


METHOD = windows.Method("context", draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)

make_step = partial(windows.make_step, METHOD, sampling_tables)


def _example():
    return windows.example(HierarchicalConfig.tiny(), sampling_tables, lambda config, key: init_state(config, 20, key))


register("hierarchical.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

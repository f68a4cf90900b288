"""Hierarchical softmax: a word is reached by yes-or-no decisions from the root of a Huffman tree, for skip-gram and CBOW.

Morin, Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model"; Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv
1310.4546), section 2.1 and equation 3: with n(w, j) the j-th node on the path from the root to the word w, and code 0 or 1 at each,

  p(w | x) = prod_j s((1 - 2 code_j) u_{n(w, j)} . x) ,

where x is the input: the vector of one context word (skip-gram) or the mean of all of a window (CBOW). The V probabilities sum to 1, and
one costs log V products instead of V. As in the authors' program, the path is that of the centre and the input comes from its context;
over all pairs of a text this is the paper's sum with the two words of a pair exchanged.

Steps over blocks, the words that stay and each row's own rate are those of `word2vec`, explained there; as in `cbow`, repeats of a word
are counted among the NEAR tokens to each side of it. Two things are added, since a path of a large vocabulary has a dozen nodes, and a
step's time is that of its rows and products:

* The `top` nodes next to the root lie on the paths of nearly all words. They are not fetched for every centre: their products with all
  inputs of a step are one large matrix product, weighted by how often each input meets each node.
* The rest of the paths of a block's centres are laid end to end, l nodes in all. Where l is more than Q = `block` x `levels`, the block
  takes Q of them at equal distances from a random place on (systematic sampling), each weighted by l / Q, one over its chance to be
  taken: the expected gradient is that of the whole paths. Else it takes all of them. Drawn from each path by itself, as many nodes of a
  short path as of a long one, the same Q rows tell less: the few nodes of a frequent word come again and again. `levels = 0` takes whole
  paths always.

Shapes: V vocabulary, D dimension (in the tables rounded up), T nodes at the top, L the longest rest of a path, N blocks a step (for `draw`
and `nodes_of`: of a chunk), B centres a block, S span of a block = B + 2 window, I inputs of a block = S (skip-gram) or B (CBOW), Q nodes
of a block below the top = B `levels` or B L.
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
NEAR = 9  # tokens to each side of a token among which repeats of its word are counted


@dataclass(frozen=True)
class HierarchicalConfig:
    """Hierarchical softmax over a Huffman tree."""

    architecture: str = "skip-gram"  # or "cbow"
    dimension: int = 100  # D, length of a vector
    window: int = 5  # largest distance, see `windows.window_weights`; for CBOW each centre draws its own from 1 … window
    subsample: float = 1e-3  # t of equation 5; 0 keeps every word
    learning_rate: float = 0.035  # at the beginning; it falls linearly over the run
    final_learning_rate: float = 1e-5  # it falls no lower
    epochs: int = 3  # passes over the corpus
    block: int = 8  # B, neighbouring centres whose windows share their rows
    blocks: int = 64  # N, blocks a step
    top: int = 32  # T, nodes next to the root whose products are taken for all inputs at once
    levels: int = 5  # Q / B, nodes that are drawn from the rest of a path, on average over a block; 0: all of them
    cap: float = 8.0  # updates a step that a row may take at the full learning rate

    def __post_init__(self):
        windows.check_config(self, "cap")
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(f"HierarchicalConfig.architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        for name in ("top", "levels"):
            if getattr(self, name) < 0:
                raise ConfigError(f"HierarchicalConfig.{name} must not be negative, got {getattr(self, name)} (levels = 0: whole paths)")

    @classmethod
    def tiny(cls, **changes):
        """For tests and for corpora of some ten thousand words: seconds."""
        return cls(**{"dimension": 16, "blocks": 8, "learning_rate": 0.05, "top": 7, "levels": 0} | changes)


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

    "top" (V, T) int8 tells how a word's path leaves each of the T nodes next to the root: 1 with code 0, -1 with code 1, 0 where it does
    not pass. The rest of the path is packed into one integer a node, 2 node + code, in "paths" (V, L), of which "lengths" (V,) are used.
    """
    tables, kept_V = windows.word_tables(config, counts_V)
    tree = huffman_tree(counts_V)
    # One level more than the longest path, so that there is one even where the only word has no path.
    lengths_V, nodes_VL, codes_VL = tree["lengths"], *(np.pad(tree[name], ((0, 0), (0, 1))) for name in ("nodes", "codes"))
    on_path_VL = np.arange(nodes_VL.shape[1])[None, :] < lengths_V[:, None]
    below = np.zeros(len(counts_V))  # share of the tokens that stay whose path has the node
    np.add.at(below, nodes_VL[on_path_VL], np.broadcast_to(kept_V[:, None], nodes_VL.shape)[on_path_VL])
    pairs = config.block * config.blocks * (config.window + 1 if config.architecture == "skip-gram" else 1)
    inputs = config.block * config.blocks * (config.window + 1)
    updates = {"context": inputs * kept_V * (kept_V @ lengths_V), "nodes": pairs * below}

    first = top_nodes(config, len(counts_V)).start  # nodes are numbered towards the root, so a path's last ones from here on come first
    word, level = np.nonzero(on_path_VL & (nodes_VL >= first))
    top_VT = np.zeros((len(counts_V), len(counts_V) - 1 - first), np.int8)
    top_VT[word, nodes_VL[word, level] - first] = 1 - 2 * codes_VL[word, level]
    above_V = np.abs(top_VT).sum(axis=1, dtype=np.int64)
    rest_V = lengths_V - above_V
    at_VL = np.minimum(above_V[:, None] + np.arange(max(rest_V.max(), 1)), nodes_VL.shape[1] - 1)
    packed_VL = np.take_along_axis(2 * nodes_VL.astype(np.int64) + codes_VL, at_VL, axis=1)
    return tables | {
        "top": jnp.asarray(top_VT),
        "lengths": jnp.asarray(rest_V, jnp.int32),
        "paths": jnp.asarray(np.where(np.arange(at_VL.shape[1]) < rest_V[:, None], packed_VL, 0), jnp.int32),
        "share": windows.shares(config.cap, updates),
    }


def top_nodes(config, vocab_size):
    """The rows of the T nodes next to the root, as a slice: V - 2 is the root, and the numbers fall with the counts below a node."""
    return slice(max(vocab_size - 1 - config.top, 0), vocab_size - 1)


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
    """Draw everything random about a chunk, and work out what would take longer step by step.

    Returns:
      What `windows.draw_windows` returns; "share", for each of its tokens, what the row of its vector keeps of the learning rate, divided
      by how often the word stands near it; "nodes", what each block of the chunk takes below the top: what `nodes_of` returns, and "share"
      (N, Q), as for the tokens, divided by how often the word whose path it is stands near.
    """
    key_keep, key_radius, key_offset = jax.random.split(key, 3)
    drawn = windows.draw_windows(config, tables, batch, key_keep, key_radius if config.architecture == "cbow" else None)
    ids, share = drawn["ids"], tables["share"]
    repeats = windows.repeats_near(ids, NEAR)

    blocks = (len(ids) - 2 * config.window) // config.block
    inner = slice(config.window, config.window + blocks * config.block)
    ids_NB, repeats_NB = (x[inner].reshape(blocks, config.block) for x in (ids, repeats))
    nodes = nodes_of(config, tables, ids_NB, jax.random.uniform(key_offset, (blocks,)))
    share_NQ = share["nodes"][nodes["packed"] // 2] / jnp.take_along_axis(repeats_NB, nodes["centre"], axis=1)
    return drawn | {"share": share["context"][ids] / repeats, "nodes": nodes | {"share": share_NQ}}


def nodes_of(config, tables, ids_NB, offset_N):
    """The nodes below the top that blocks take from the paths of their centres, laid end to end (see the top of the file).

    Args:
      config: has `levels`.
      tables: has "paths" and "lengths", see `sampling_tables`.
      ids_NB: the words of each block; -1, which is none, has no path.
      offset_N: a number in [0, 1) for each block: the first place at which a node is taken, as a share of the distance between two.

    Returns:
      {"packed": (N, Q), 2 node + code; "centre": (N, Q), the place in its block of the word whose path it is; "weight": (N, Q), one over
      the node's chance to be taken, or 0 where the block has fewer than Q nodes: "packed" is then any}.
    """
    block, longest = ids_NB.shape[1], tables["paths"].shape[1]
    taken = block * (config.levels or longest)
    length_NB = jnp.where(ids_NB < 0, 0, tables["lengths"][ids_NB])
    end_NB = jnp.cumsum(length_NB, axis=1)
    total_N1, q_1Q = end_NB[:, -1:], jnp.arange(taken)[None]
    some_N1 = total_N1 > taken
    place_NQ = jnp.where(some_N1, ((offset_N[:, None] + q_1Q) * (total_N1 / taken)).astype(jnp.int32), q_1Q)
    place_NQ = jnp.clip(place_NQ, 0, jnp.maximum(total_N1 - 1, 0))
    weight_NQ = jnp.where(some_N1, total_N1 / taken, (q_1Q < total_N1).astype(jnp.float32))

    passed_NBQ = end_NB[:, :-1, None] <= place_NQ[:, None, :]  # paths that end before the place
    centre_NQ = passed_NBQ.sum(axis=1)
    level_NQ = place_NQ - (passed_NBQ * length_NB[:, :-1, None]).sum(axis=1)
    packed_NQ = tables["paths"][jnp.take_along_axis(ids_NB, centre_NQ, axis=1), level_NQ]
    return {"packed": packed_NQ, "centre": centre_NQ, "weight": weight_NQ}


def blocks_of(config, tables, drawn, i):
    """The blocks of step i of a drawn chunk, see `windows.places`.

    Returns:
      tokens (N, S), the ids of the spans, whose inner B are the centres; share (N, S), what their rows keep of the learning rate; nodes,
      those below the top, as `draw` returns them; top (N, B, T), rows of the table of that name; mix (N, S, B), how the tokens of a span
      make the inputs that predict a centre: the weight of each pair (skip-gram), or the share of each token in the mean of a window
      (CBOW).
    """
    n, tokens_NS, left_NB, right_NB = windows.spans_of(config, drawn, i)
    share_NS = drawn["share"][windows.places(config, drawn, i)[1]]
    top_NBT = tables["top"][tokens_NS[:, config.window : config.window + config.block]].astype(jnp.float32)
    if config.architecture == "skip-gram":
        mix_NSB = windows.window_weights(config, left_NB, right_NB)
    else:
        mix_NSB = windows.band(config, left_NB, right_NB) / jnp.maximum(left_NB + right_NB, 1)[:, None, :]
    return tokens_NS, share_NS, jax.tree.map(lambda x: x[n], drawn["nodes"]), top_NBT, mix_NSB


def inputs_of(config, mix_NSB, v_NSD):
    """The inputs of blocks (N, I, D), and the weight with which each predicts each centre (N, I, B); `v_NSD` are the tokens' vectors."""
    if config.architecture == "skip-gram":
        return v_NSD, mix_NSB
    some_NB = (mix_NSB.sum(axis=1) > 0).astype(jnp.float32)  # a centre without a window has nothing to be predicted from
    return jnp.einsum("nsb,nsd->nbd", mix_NSB, v_NSD), some_NB[:, :, None] * jnp.eye(config.block)[None]


def top_weights(weight_NIB, top_NBT):
    """How often each input meets each node at the top, and how often with code 0: (N, I, T) each."""
    return jnp.einsum("nib,nbt->nit", weight_NIB, jnp.abs(top_NBT)), jnp.einsum("nib,nbt->nit", weight_NIB, jnp.maximum(top_NBT, 0))


def rest_weights(weight_NIB, nodes):
    """How often each input meets each node below the top, weighted, (N, I, Q); `nodes` as from `nodes_of`."""
    belongs_NBQ = nodes["centre"][:, None, :] == jnp.arange(weight_NIB.shape[2])[None, :, None]
    return jnp.einsum("nib,nbq->niq", weight_NIB, belongs_NBQ * nodes["weight"][:, None, :])


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
    tokens_NS, share_NS, nodes, top_NBT, mix_NSB = blocks_of(config, tables, drawn, i)
    top, node_NQ, label_NQ = top_nodes(config, len(tables["lengths"])), nodes["packed"] // 2, 1 - nodes["packed"] % 2
    x_NID, weight_NIB = inputs_of(config, mix_NSB, params["context"][tokens_NS])
    u_TD, u_NQD = params["nodes"][top], params["nodes"][node_NQ]

    # Barriers: see `word2vec.ascents`.
    met_NIT, yes_NIT = top_weights(weight_NIB, top_NBT)
    error_NIT = jax.lax.optimization_barrier(yes_NIT - met_NIT * jax.nn.sigmoid(jnp.einsum("nid,td->nit", x_NID, u_TD)))
    wrong_NIQ = label_NQ[:, None, :] - jax.nn.sigmoid(jnp.einsum("nid,nqd->niq", x_NID, u_NQD))
    error_NIQ = jax.lax.optimization_barrier(rest_weights(weight_NIB, nodes) * wrong_NIQ)
    error_NQI = jax.lax.optimization_barrier(jnp.swapaxes(error_NIQ, 1, 2))

    dx_NID = jnp.einsum("niq,nqd->nid", error_NIQ, u_NQD) + jnp.einsum("nit,td->nid", error_NIT, u_TD)
    dx_NSD = dx_NID if config.architecture == "skip-gram" else jnp.einsum("nsb,nbd->nsd", mix_NSB, dx_NID)
    du_NQD = jnp.einsum("nqi,nid->nqd", error_NQI, x_NID)
    x_ID = x_NID.reshape(-1, x_NID.shape[2])
    du_TD = error_NIT.reshape(len(x_ID), -1).T @ x_ID
    # Both kinds of nodes in one addition: a second one would copy the table.
    node = jnp.concatenate([node_NQ.reshape(-1), jnp.arange(top.start, top.stop)])
    share = jnp.concatenate([nodes["share"].reshape(-1), tables["share"]["nodes"][top]])
    du = jnp.concatenate([du_NQD.reshape(-1, du_TD.shape[1]), du_TD]) * (rate * share)[:, None]
    return {
        "context": windows.add_rows(params["context"], tokens_NS, dx_NSD * (rate * share_NS)[:, :, None]),
        "nodes": windows.add_rows(params["nodes"], node, du),
    }


def step_loss(config, tables, params, drawn, i):
    """Mean -log p(centre | input) in nats over the inputs of step i: the pairs of skip-gram, the windows of CBOW."""
    tokens_NS, _, nodes, top_NBT, mix_NSB = blocks_of(config, tables, drawn, i)
    x_NID, weight_NIB = inputs_of(config, mix_NSB, params["context"][tokens_NS])
    met_NIT, yes_NIT = top_weights(weight_NIB, top_NBT)
    logits_NIT = jnp.einsum("nid,td->nit", x_NID, params["nodes"][top_nodes(config, len(tables["lengths"]))])
    top_loss = -(yes_NIT * jax.nn.log_sigmoid(logits_NIT) + (met_NIT - yes_NIT) * jax.nn.log_sigmoid(-logits_NIT)).sum()
    logits_NIQ = jnp.einsum("nid,nqd->niq", x_NID, params["nodes"][nodes["packed"] // 2])
    rest_loss = -(rest_weights(weight_NIB, nodes) * jax.nn.log_sigmoid((1 - 2 * (nodes["packed"][:, None, :] % 2)) * logits_NIQ)).sum()
    return (top_loss + rest_loss) / jnp.maximum(weight_NIB.sum(), 1)


METHOD = windows.Method("context", draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)

make_step = partial(windows.make_step, METHOD, sampling_tables)


def _example():
    return windows.example(HierarchicalConfig.tiny(), sampling_tables, lambda config, key: init_state(config, 20, key))


register("hierarchical.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

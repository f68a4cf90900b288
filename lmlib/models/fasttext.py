"""fastText's word vectors: skip-gram with negative sampling, in which a word is the mean of its own vector and those of its n-grams.

Bojanowski, Grave, Joulin, Mikolov 2017, "Enriching Word Vectors with Subword Information" (TACL 5, arXiv 1607.04606). Word w has the rows
G_w: one of its own and one for each of its hashed character n-grams (`lmlib.text.subwords`); rare words share what they learn with their
relatives, and a word that was never seen has a vector too. With m = |G_w|,

    h_w = (1/m) sum_{g in G_w} z_g,    loss of a pair: that of `word2vec`, with h_w in place of v_w

and, when the loss asks h_w to move by d, every row of G_w moves by d, as in the authors' program; so h_w moves by d, as it would in
word2vec, and a word that shares s of its m' rows by s d / m'. (The paper has the sum in place of the mean, the true gradient is d / m: both
differ from this in the length of a step only.)

Done pair by pair, each pair reads and writes all m rows (22 for the words of an English vocabulary, 17 for those of its running text).
Here a step takes `parts` steps of word2vec:

1. compose: h_w of the distinct words among its centres, from their rows;
2. `parts` steps of `word2vec` on these h_w (and the context's rows), as if they were its centre words' rows;
3. distribute: what each h_w has moved in all is added to its rows.

In 16,384 centres there are some 6,300 distinct words, so a centre costs 8 rows instead of 17 a pair, six pairs a centre. The price is
that within a step a word does not see what its relatives learn: "nation" and "nationality" may both move what they share as far as each
alone would, together too far. If word w makes n_w updates in a step it goes about min(1, n_w / `cap`) of its way to where they lead, so
the words that share row g go together r_g = sum_{w: g in G_w} min(1, n_w / cap) ways; what is added to the row is therefore multiplied by
min(1, `crowd` / r_g), a constant of the row. With crowd = 1 no vector overshoots more than in word2vec, even if all words that share a row
want the same; more is safe as far as they want different things, and learns common n-grams faster. Rows of one word alone have a factor
of 1 whatever its frequency.

Only buckets that some word of the vocabulary uses have a row: others would stay random and add noise to words never seen, whose n-grams
without a row are left out.

Left out on purpose: CBOW over subwords, which the paper does not have; the program's supervised mode is `text_classifier`.

Shapes: V vocabulary, K n-gram rows, R = V + K + 1 rows (words, n-grams, a row of zeros), D dimension (in the tables rounded up, see
`windows.init_table`), P rows a piece, U distinct words of a step, T words a tile, and those of `word2vec`.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.arrays import CACHE_LINE
from lmlib.errors import ConfigError, check_shape
from lmlib.models import windows, word2vec
from lmlib.models.subword_vectors import SubwordVectors
from lmlib.models.vectors import WordVectors
from lmlib.models.word2vec import SkipGramConfig
from lmlib.programs import register
from lmlib.text.subwords import Subwords, subwords

PIECE = 4  # P: a word's rows are read four at a time, the last piece filled up with the row of zeros
TILE = 512  # T: words in hand at once


@dataclass(frozen=True)
class FastTextConfig(SkipGramConfig):
    """Skip-gram over subwords: the fields of SkipGramConfig, where `blocks` are those of all parts together, and its own."""

    learning_rate: float = 0.1
    smallest: int = 3  # n-grams have at least so many characters, < and > included
    largest: int = 6  # … and at most so many
    buckets: int = 2_000_000  # that n-grams are hashed into
    blocks: int = 1024  # blocks between composing and distributing; fewer are slower and learn a little more from few words
    parts: int = 16  # steps of word2vec that these are taken in
    crowd: float = 8.0  # how far words that share a row may move it together

    def __post_init__(self):
        super().__post_init__()
        windows.check_config(self, "smallest", "largest", "buckets", "parts", "crowd")
        if self.blocks % self.parts:
            raise ConfigError(f"FastTextConfig.blocks must be a multiple of parts, got {self.blocks} and {self.parts}")

    @classmethod
    def tiny(cls, **changes):
        """For tests and for corpora of some ten thousand words: seconds."""
        small = {"dimension": 16, "block": 8, "blocks": 16, "parts": 2, "shared_negatives": 16, "learning_rate": 0.05, "crowd": 2.0}
        return cls(**small | changes)

    @classmethod
    def paper(cls, **changes):
        """Section 4.3 of arXiv 1607.04606: 300 dimensions, subsampling at 1e-4, 2 million buckets; 5 epochs, the program's default."""
        return cls(**{"dimension": 300, "subsample": 1e-4, "epochs": 5} | changes)

    def subwords(self, words, counts=None) -> Subwords:
        """The n-grams of a vocabulary, numbered for this config; see `lmlib.text.subwords.subwords`."""
        return subwords(words, self.smallest, self.largest, self.buckets, counts)


def sampling_tables(config, grams, counts_V):
    """What a step must know of the vocabulary: the tables of `word2vec`, and which rows each word has.

    Args:
      config: a FastTextConfig.
      grams: the Subwords of the vocabulary, of `FastTextConfig.subwords`.
      counts_V: how often each word occurs in the corpus.

    Returns:
      Beside what `word2vec.sampling_tables` has, in "share" also "rows" (R,), what a row takes of a word's change (0 for the row of zeros);
      "start" (V + 1,) and "pieces" (., P): word w has the rows pieces[start[w]:start[w + 1]]; "size" (V,), how many rows it has, filling
      not counted; "rank" (V,), the word's place in the order of falling number of pieces.
    """
    vocab, rows = check_shape(grams.offsets, (len(counts_V) + 1,), "the subwords' offsets").shape[0] - 1, len(grams.buckets)
    part = word2vec.sampling_tables(_part(config), counts_V)
    owner = np.repeat(np.arange(vocab), np.diff(grams.offsets))
    size_V = 1 + np.diff(grams.offsets)
    pieces_V = -(-size_V // PIECE)
    start = np.concatenate([[0], np.cumsum(pieces_V)])
    pieces = np.full((start[-1] + 1) * PIECE, vocab + rows)  # the last piece is all zeros: what words ask for that have no more rows
    pieces[start[:-1] * PIECE] = np.arange(vocab)
    pieces[start[owner] * PIECE + 1 + np.arange(len(owner)) - grams.offsets[owner]] = vocab + grams.ngrams

    _, kept_V = windows.word_tables(config, counts_V)
    updates_V = config.block * config.blocks * (config.window + 1) * (1 + config.negatives) * kept_V
    ways_V = np.minimum(1, updates_V / config.cap)
    ways_R = np.concatenate([ways_V, np.bincount(grams.ngrams, ways_V[owner], rows), [np.inf]])
    share = part.pop("share") | {"rows": jnp.asarray(np.minimum(1, config.crowd / np.maximum(ways_R, 1e-12)), jnp.float32)}
    rank_V = np.empty(vocab, np.int32)
    rank_V[np.argsort(-pieces_V, kind="stable")] = np.arange(vocab)
    lists = {"start": start, "pieces": pieces.reshape(-1, PIECE), "rank": rank_V}
    lists = {name: jnp.asarray(array, jnp.int32) for name, array in lists.items()}
    return part | lists | {"size": jnp.asarray(size_V, jnp.float32), "share": share}


def _part(config):
    """The SkipGramConfig of one part of a step."""
    names = SkipGramConfig.__dataclass_fields__
    return SkipGramConfig(**{name: getattr(config, name) for name in names} | {"blocks": config.blocks // config.parts})


def init_params(config, grams, key):
    """{"rows": (R, D), "context": (V, D)}: uniform in ±1/D and zero, as in the authors' program; the last row is zero and stays so."""
    vocab, padding, scale = len(grams.offsets) - 1, -config.dimension % CACHE_LINE, 1 / config.dimension
    rows = jax.random.uniform(key, (vocab + len(grams.buckets), config.dimension), minval=-scale, maxval=scale)
    return {"rows": jnp.pad(rows, ((0, 1), (0, padding))), "context": windows.init_table(config, vocab, None)}


def init_state(config, grams, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`."""
    return windows.initial_state(init_params(config, grams, key))


def distinct(tables, words_N):
    """The distinct words among some, those of many rows first.

    Args:
      tables: of `sampling_tables`.
      words_N: ids; negative ones are no words.

    Returns:
      slot (N,), the place of each among the distinct words (0 where there is none); these, (U,), with -1 behind their end, U a multiple of
      T that is surely enough; and their number.
    """
    vocab = tables["rank"].shape[0]
    room = min(words_N.shape[0], vocab)
    real_N = words_N >= 0
    rank_N = tables["rank"][words_N]
    seen_V = jnp.zeros(vocab, jnp.int32).at[jnp.where(real_N, rank_N, vocab)].set(1, mode="drop")
    through_V = jnp.cumsum(seen_V)
    slot_N = jnp.where(real_N, through_V[rank_N] - 1, 0)
    words_U = jnp.full(room + -room % TILE, -1, jnp.int32)
    return slot_N, words_U.at[jnp.where(real_N, slot_N, len(words_U))].set(words_N, mode="drop"), through_V[-1]


def _over_tiles(tables, words_U, count, body, carry):
    """body(tile, its words (T,), the most pieces that one of these has, carry), tile after tile as long as there are words."""

    def one(t, carry):
        words_T = jax.lax.dynamic_slice(words_U, (t * TILE,), (TILE,))
        return body(t, words_T, tables["start"][words_T[0] + 1] - tables["start"][words_T[0]], carry)  # the first word has the most

    return jax.lax.fori_loop(0, -(-count // TILE), one, carry)


def _piece(tables, words_T, i):
    """Piece i of each word's rows, (T, P); of a word that has no such piece, the row of zeros."""
    at_T = tables["start"][words_T] + i
    there = (words_T >= 0) & (at_T < tables["start"][words_T + 1])
    return tables["pieces"][jnp.where(there, at_T, tables["pieces"].shape[0] - 1)]


def compose(tables, rows_RD, words_U, count):
    """h of `count` distinct words, in the order of `distinct`: (U, D); zeros behind their end."""

    def body(t, words_T, most, h_UD):
        def add(i, sum_TD):
            piece_TP = _piece(tables, words_T, i)
            return sum_TD + sum(rows_RD[piece_TP[:, j]] for j in range(PIECE))  # four gathers are faster than one and a sum

        sum_TD = jax.lax.fori_loop(0, most, add, jnp.zeros((TILE, rows_RD.shape[1])))
        return jax.lax.dynamic_update_slice(h_UD, sum_TD / tables["size"][words_T][:, None], (t * TILE, 0))

    return _over_tiles(tables, words_U, count, body, jnp.zeros((words_U.shape[0], rows_RD.shape[1])))


def distribute(tables, rows_RD, before_UD, after_UD, words_U, count):
    """The rows after each word's change, after - before, is added to all rows of the word, to each by its share."""

    def body(t, words_T, most, rows_RD):
        shape = (TILE, rows_RD.shape[1])
        change_TD = jax.lax.dynamic_slice(after_UD, (t * TILE, 0), shape) - jax.lax.dynamic_slice(before_UD, (t * TILE, 0), shape)

        def add(i, rows_RD):
            piece_TP = _piece(tables, words_T, i)
            return windows.add_rows(rows_RD, piece_TP, change_TD[:, None, :] * tables["share"]["rows"][piece_TP][:, :, None])

        return jax.lax.fori_loop(0, most, add, rows_RD)

    return _over_tiles(tables, words_U, count, body, rows_RD)


def step_update(config, tables, params, drawn, i, rate):
    """One step: compose, `parts` steps of word2vec, distribute (see the top of the file).

    Args:
      config, tables: as for `sampling_tables`.
      params: {"rows", "context"}.
      drawn: of `word2vec.draw`.
      i: number of the step within the chunk.
      rate: the learning rate before it is lowered for frequent and repeated words.

    Returns:
      The new params.
    """
    tokens_NS, noise_NK, positive_NOB, weight_NOB = word2vec.blocks_of(config, drawn, i)
    centres_N = tokens_NS[:, config.window : config.window + config.block].reshape(-1)
    slot_N, words_U, count = distinct(tables, centres_N)
    before_UD = compose(tables, params["rows"], words_U, count)
    blocks = slot_N.reshape(-1, config.block), tokens_NS, noise_NK, positive_NOB, weight_NOB
    parts = [x.reshape(config.parts, -1, *x.shape[1:]) for x in blocks]

    def part(j, carry):
        h_UD, context_VD = carry
        slot_NB, tokens_NS, noise_NK, positive_NOB, weight_NOB = (x[j] for x in parts)
        output_NO, rate_NB, rate_NO = word2vec.outputs_and_rates(config, tables, tokens_NS, noise_NK, rate)
        dh_NBD, du_NOD = word2vec.ascents(h_UD[slot_NB], context_VD[output_NO], positive_NOB, weight_NOB)
        h_UD = windows.add_rows(h_UD, slot_NB, dh_NBD * rate_NB[:, :, None])
        return h_UD, windows.add_rows(context_VD, output_NO, du_NOD * rate_NO[:, :, None])

    after_UD, context_VD = jax.lax.fori_loop(0, config.parts, part, (before_UD, params["context"]))
    return {"rows": distribute(tables, params["rows"], before_UD, after_UD, words_U, count), "context": context_VD}


def step_loss(config, tables, params, drawn, i):
    """Mean loss of a positive pair with its share of noise, in nats, over the blocks of step i."""
    tokens_NS, noise_NK, positive_NOB, weight_NOB = word2vec.blocks_of(config, drawn, i)
    centre_NB = tokens_NS[:, config.window : config.window + config.block]
    slot_N, words_U, count = distinct(tables, centre_NB.reshape(-1))
    h_NBD = compose(tables, params["rows"], words_U, count)[slot_N.reshape(centre_NB.shape)]
    u_NOD = params["context"][jnp.concatenate([tokens_NS, noise_NK], axis=1)]
    return word2vec.mean_loss(h_NBD, u_NOD, positive_NOB, weight_NOB)


METHOD = windows.Method("context", word2vec.draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)


def make_step(config, grams, counts_V, chunks_per_epoch):
    """The step for `lmlib.learn.train.fit`: train_step(state, batch, key) -> (state, metrics), where a batch is a chunk of the corpus.

    Args:
      config: a FastTextConfig.
      grams: the Subwords of the vocabulary, of `FastTextConfig.subwords`.
      counts_V: how often each word of the vocabulary occurs in the corpus.
      chunks_per_epoch: `len` of the CorpusChunks that feed it; the run is `epochs` times as long.
    """
    return windows.make_step(METHOD, lambda config, counts_V: sampling_tables(config, grams, counts_V), config, counts_V, chunks_per_epoch)


def input_vectors(config, grams, params):
    """h of every word of the vocabulary, (V, D) float32 on the host: the word vectors."""
    vocab, size_V = len(grams.offsets) - 1, 1 + np.diff(grams.offsets)
    rows_RD = windows.vectors_of(config, params["rows"])
    h_VD = rows_RD[:vocab].copy()
    for first in range(0, vocab, 1 << 12):  # a few at a time: all rows of all words would be some gigabytes
        last = min(first + (1 << 12), vocab)
        grams_T = rows_RD[vocab + grams.ngrams[grams.offsets[first] : grams.offsets[last]]]
        owner_T = np.repeat(np.arange(last - first), size_V[first:last] - 1)
        at = np.flatnonzero(np.diff(owner_T, prepend=-1))
        h_VD[first + owner_T[at]] += np.add.reduceat(grams_T, at) if len(at) else 0
    return h_VD / size_V[:, None].astype(np.float32)


def subword_vectors(config, words, grams, params, counts_V=None) -> SubwordVectors:
    """What was learnt, for words of the vocabulary and others.

    Args:
      config: a FastTextConfig.
      words: the V words of the vocabulary.
      grams: their Subwords.
      params: of the trained state.
      counts_V: how often each word occurs, to be kept with the vectors.
    """
    known = WordVectors(words, input_vectors(config, grams, params), counts_V)
    ngrams_KD = windows.vectors_of(config, params["rows"])[len(words) : len(words) + len(grams.buckets)]
    return SubwordVectors(known, grams.buckets, ngrams_KD, config.smallest, config.largest, config.buckets)


def _example():
    config = FastTextConfig.tiny()
    grams = config.subwords([f"word{i}" for i in range(20)])
    return windows.example(config, lambda c, counts_V: sampling_tables(c, grams, counts_V), lambda c, key: init_state(c, grams, key))


register("fasttext.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

"""n-gram language models: the next word from the n - 1 before it, counted and smoothed.

    p(w | h) = p_m(w | h_m) γ(h_{m+1}) … γ(h_{n-1})

h_j are the last j words and h_m w is the longest n-gram in the tables: the form of Katz 1987 and of ARPA files, into which
`lmlib.models.ngram_counts` brings every estimator (equations and references are there).

The tables are a trie laid out in arrays. An n-gram of order m is a place in table m; its continuations are a range of table m + 1, sorted
by word, found by bisection. (10,000 words to the fifth power fit no integer key, hence the trie.) All positions of a text go through
the trie together, an order at a time, so that scoring a corpus is one compiled call on any device.

A text is read as sentences: what follows EOS, like what follows BOS, has BOS alone for its context, whatever stood before. So one row
may hold a whole corpus, as `running_text` makes it.

Shapes: B batch, L time, V vocabulary, N n-grams of one order, C = n - 1 contexts, of 1, 2 … n - 1 words; R = B L.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError, ShapeError
from lmlib.models.base import call, split
from lmlib.models.ngram_counts import MAX_ORDER, NgramConfig, Table, count, estimate

__all__ = ["Ngram", "NgramConfig", "running_text", "train"]

CHUNK = 128  # continuations written at a time where all of a context are listed


class Order(nnx.Module):
    """The n-grams of one order as parameters; the last entry is none of them, so that there is always one to look at.

    word (N + 1,) int32 and prob (N + 1,) float32; where there is a next order, backoff (N + 1,) float32 and start (N + 2,) int32: the
    continuations of n-gram i are the places start[i] … start[i + 1] - 1 of the next.
    """

    def __init__(self, table: Table, longer: Table | None):
        self.word = nnx.Variable(jnp.asarray(np.append(table.word, -1), jnp.int32))
        self.prob = nnx.Variable(jnp.asarray(np.append(table.prob, 0), jnp.float32))
        if longer is not None:
            self.backoff = nnx.Variable(jnp.asarray(np.append(table.backoff, 1), jnp.float32))
            children = np.bincount(longer.parent, minlength=len(table.word) + 1)
            self.start = nnx.Variable(jnp.asarray(np.append(0, np.cumsum(children)), jnp.int32))


class Ngram(nnx.Module):
    """A `LanguageModel` of counted n-grams.

    Its state is where in the trie the context stands: {"context": (B, C) int32}, for each length the place of the last words of the text in
    the table of that order, or -1 where they are in none. Parameters are named "order1", "order2" …
    """

    def __init__(self, tables: list[Table], *, bos: int, eos: int):
        """A model from tables of orders 1, 2, …, e.g. those of `estimate` or of an ARPA file.

        Raises:
          ConfigError: there are none, or more than 6.
        """
        if not 1 <= len(tables) <= MAX_ORDER:
            raise ConfigError(f"an n-gram model has 1 … {MAX_ORDER} orders, got {len(tables)}")
        self.n, self.vocab_size, self.bos, self.eos = len(tables), len(tables[0].word), bos, eos
        for m, (table, longer) in enumerate(zip(tables, [*tables[1:], None], strict=True), 1):
            setattr(self, f"order{m}", Order(table, longer))

    def order(self, m: int) -> Order:
        """The n-grams of m words."""
        return getattr(self, f"order{m}")

    def tables(self) -> list[Table]:
        """The n-grams of each order on the host, as the model was made from them."""
        tables, parent = [], np.zeros(self.vocab_size, np.int32)
        for order in (self.order(m) for m in range(1, self.n + 1)):
            word, prob = (np.asarray(array[...])[:-1] for array in (order.word, order.prob))
            longer = hasattr(order, "backoff")
            tables.append(Table(word, parent, prob, np.asarray(order.backoff[...])[:-1] if longer else None))
            if longer:
                parent = np.repeat(np.arange(len(word), dtype=np.int32), np.diff(np.asarray(order.start[...])[:-1]))
        return tables

    def init_state(self, batch, *, max_len, source=None):
        """The state before the first token: no context."""
        return {"context": jnp.full((batch, self.n - 1), -1, jnp.int32)}

    def step(self, state, token_B):
        """Read one token: the new state and the log-probabilities (B, V) of the next."""
        logits_BLV, state = self.forward(token_B[:, None], state)
        return state, logits_BLV[:, 0]

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        """Log-probabilities (B, L, V) of the next token, each from the context that ends there; -inf where the estimator gives 0."""
        tokens_BL = jnp.asarray(tokens_BL)
        state = self.init_state(len(tokens_BL), max_len=0) if state is None else state
        _, after_BLC = self._walk(tokens_BL, state["context"])
        logits_RV = jnp.log(self._distribution(after_BLC.reshape(tokens_BL.size, self.n - 1)))
        logits_BLV = jnp.where(self._known(tokens_BL)[..., None], logits_RV.reshape(*tokens_BL.shape, self.vocab_size), jnp.nan)
        every_BLC = jnp.concatenate([state["context"][:, None], after_BLC], axis=1)
        last_B = jnp.full(len(tokens_BL), tokens_BL.shape[1]) if lengths is None else jnp.asarray(lengths)
        return logits_BLV, {"context": jnp.take_along_axis(every_BLC, last_B[:, None, None], axis=1)[:, 0]}

    def score(self, tokens_BL, lengths):
        """Log-probability (nats) of each token, (B, L), 0 at and beyond `lengths`. No logits are made: a row may be a whole corpus."""
        tokens_BL = jnp.asarray(tokens_BL)
        context_BC = jnp.full((len(tokens_BL), self.n - 1), -1, jnp.int32).at[:, :1].set(self.bos)
        found, after_BLC = self._walk(tokens_BL, context_BC)
        before_BLC = jnp.concatenate([context_BC[:, None], after_BLC[:, :-1]], axis=1)
        prob_BL = self.order1.prob[found[0]]
        for m, place_BL in enumerate(found[1:], 2):
            context_BL = before_BLC[..., m - 2]
            backed_off_BL = prob_BL * jnp.where(context_BL >= 0, self.order(m - 1).backoff[context_BL], 1.0)
            prob_BL = jnp.where(place_BL >= 0, self.order(m).prob[place_BL], backed_off_BL)
        logp_BL = jnp.where(self._known(tokens_BL), jnp.log(prob_BL), jnp.nan)
        return jnp.where(length_mask(jnp.asarray(lengths), tokens_BL.shape[1]), logp_BL, 0.0)

    def _known(self, tokens_BL):
        """Whether each token is in the vocabulary: what is not must not be taken for another word."""
        return (tokens_BL >= 0) & (tokens_BL < self.vocab_size)

    def _walk(self, tokens_BL, context_BC):
        """Read tokens.

        Returns:
          A list: for m = 1 … n the place (B, L) in table m of the n-gram that ends with each token, or -1; and the contexts after each
          token, (B, L, C).
        """
        ends_BL = (tokens_BL == self.bos) | (tokens_BL == self.eos)
        place_BL = jnp.where(self._known(tokens_BL), tokens_BL, -1)
        found, after = [place_BL], []
        for m in range(1, self.n):
            after.append(jnp.where(ends_BL, self.bos if m == 1 else -1, place_BL))
            before_BL = jnp.concatenate([context_BC[:, m - 1 : m], after[-1][:, :-1]], axis=1)
            found.append(place_BL := self._continue(m, before_BL, tokens_BL))
        return found, jnp.stack(after, axis=-1) if after else jnp.zeros((*tokens_BL.shape, 0), jnp.int32)

    def _range(self, m, place):
        """The continuations of n-grams of order m: first place in table m + 1 and the place after the last; none for place -1."""
        start = self.order(m).start[...]
        first = start[place]
        return first, jnp.where(place >= 0, start[place + 1], first)

    def _continue(self, m, place_BL, word_BL):
        """The place in table m + 1 of each n-gram of order m continued by a word, or -1."""
        words_N = self.order(m + 1).word[...]
        first_BL, end_BL = self._range(m, place_BL)
        at_BL = _bisect(words_N, first_BL, end_BL, word_BL, self.vocab_size.bit_length())  # a range has at most V places
        return jnp.where((at_BL < end_BL) & (words_N[at_BL] == word_BL), at_BL, -1)

    def _distribution(self, context_RC):
        """The probabilities (R, V) after each context: from the unigrams up, weighted, then overwritten by what is listed."""
        prob_RV = jnp.broadcast_to(self.order1.prob[: self.vocab_size], (len(context_RC), self.vocab_size))
        for m in range(1, self.n):
            place_R, longer = context_RC[:, m - 1], self.order(m + 1)
            prob_RV = prob_RV * jnp.where(place_R >= 0, self.order(m).backoff[place_R], 1.0)[:, None]
            prob_RV = _overwrite(prob_RV, longer.word[...], longer.prob[...], *self._range(m, place_R))
        return prob_RV


# Two loops, compiled by themselves, so that a model that is called step by step in a notebook compiles them once


@partial(jax.jit, static_argnums=4)
def _bisect(words_N, first, end, word, halvings):
    """The first place from `first` on whose word is not below `word`, or `end`; words rise within first … end - 1."""

    def halve(_, bounds):
        low, high = bounds
        middle = low + (high - low) // 2
        right = (low < high) & (words_N[middle] < word)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    return jax.lax.fori_loop(0, halvings, halve, (first, end))[0]


@jax.jit
def _overwrite(prob_RV, words_N, prob_N, first_R, end_R):
    """Put the probabilities of the places first … end - 1 of a table where their words stand, row by row."""
    row_R1 = jnp.arange(len(prob_RV))[:, None]

    def write(carry):
        at_R, prob_RV = carry
        at_RK = at_R[:, None] + jnp.arange(CHUNK)[None]
        word_RK = jnp.where(at_RK < end_R[:, None], words_N[at_RK], prob_RV.shape[1])  # outside, and dropped
        return at_R + CHUNK, prob_RV.at[row_R1, word_RK].set(prob_N[at_RK], mode="drop")

    return jax.lax.while_loop(lambda carry: (carry[0] < end_R).any(), write, (first_R, prob_RV))[1]


def train(config: NgramConfig, sequences) -> Ngram:
    """Count a text and estimate a model, on the host.

    Args:
      config: what to estimate.
      sequences: a TokenStore (e.g. `write_tokens(documents, tokenizer, after="</s>")`), or a list of sequences of ids; without BOS, and
        each sentence ended by EOS.

    Raises:
      EstimationError: the text is too small, or too regular, for the estimator.
      ShapeError, VocabularyError, EmptyCorpusError: see `count`.
    """
    return Ngram(estimate(count(sequences, config), config), bos=config.bos, eos=config.eos)


def running_text(store, eos: int) -> dict:
    """A corpus as one row, {"tokens": (1, N), "lengths": (1,)}: what `perplexity` then scores in one compiled call.

    Raises:
      ShapeError: a document does not end with EOS, so that the next would go on in its context.
    """
    ends = np.unique(store.offsets[1:])
    ends = ends[ends > 0]
    if (wrong := store.ids[ends - 1] != eos).any():
        at = int(ends[np.argmax(wrong)]) - 1
        raise ShapeError(f"the document that ends at token {at} does not end with EOS (id {eos}): write the tokens with `after`")
    return {"tokens": np.asarray(store.ids, np.int32)[None], "lengths": np.array([len(store.ids)], np.int32)}


def _example(method, *args):
    definition, params = split(train(NgramConfig.tiny(), [[1, 2, 3, 4, 1, 2, 0]]))
    return definition, method, params, *args


programs.register("ngram.step", call, lambda: _example("step", {"context": jnp.full((2, 2), -1)}, jnp.zeros(2, jnp.int32)))
programs.register("ngram.forward", call, lambda: _example("forward", jnp.zeros((2, 3), jnp.int32)))
programs.register("ngram.score", call, lambda: _example("score", jnp.zeros((2, 3), jnp.int32), jnp.full(2, 3)))

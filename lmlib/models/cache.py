"""Cache: what was said a moment ago is likely to be said again.

    p(w | history) = (1 - λ) p_model(w | history) + λ (times w occurs in the last K words) / (number of those words, at most K)

Kuhn and De Mori 1990, "A cache-based natural language model for speech recognition" (PAMI 12). The model may be any; an n-gram, whose own
memory is a few words long, gains most. The last K words are those of the row at hand and may lie in sentences before (of a corpus in
one row, see `lmlib.models.ngram.running_text`), so where sentences are scored one by one little is gained. BOS is not cached. While
nothing is, the model speaks alone.

Left out on purpose: caches of longer n-grams, or whose entries fade.

Shapes: B batch, L time, V vocabulary, K places of the cache.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError
from lmlib.models.base import LanguageModel, call, split

NOTHING = -1  # a place of the cache that holds no word


class Cache(nnx.Module):
    """A `LanguageModel` mixed with a cache of its text.

    The state is that of the model and the last K tokens: {"model": …, "recent": (B, K) int32, the latest at the end}. The weight λ is a
    parameter, so that trying another one compiles nothing anew.
    """

    def __init__(self, model: LanguageModel, *, size: int = 200, weight: float = 0.1):
        """Args:
        model: any `LanguageModel`.
        size: K.
        weight: λ, to be chosen on validation text.
        """
        if size < 1:
            raise ConfigError(f"Cache: size must be at least 1, got {size}")
        if not 0 <= weight < 1:
            raise ConfigError(f"Cache: weight must be at least 0 and below 1, got {weight}")
        self.vocab_size, self.bos, self.eos, self.size = model.vocab_size, model.bos, model.eos, size
        self.model = model
        self.weight = nnx.Param(jnp.float32(weight))

    def init_state(self, batch, *, max_len, source=None):
        """The model's state and an empty cache."""
        recent_BK = jnp.full((batch, self.size), NOTHING, jnp.int32)
        return {"model": self.model.init_state(batch, max_len=max_len, source=source), "recent": recent_BK}

    def step(self, state, token_B):
        """Read one token: the new state and the log-probabilities (B, V) of the next."""
        inner, logits_BV = self.model.step(state["model"], token_B)
        recent_BK = self._append(state["recent"], token_B[:, None])
        counts_BV = self._count(recent_BK)
        return {"model": inner, "recent": recent_BK}, self._mix(jax.nn.log_softmax(logits_BV), counts_BV, counts_BV.sum(-1, keepdims=True))

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        """Log-probabilities (B, L, V), each from the tokens up to its own."""
        tokens_BL = jnp.asarray(tokens_BL)
        B, L = tokens_BL.shape
        state = self.init_state(B, max_len=L) if state is None else state
        logits_BLV, inner = self.model.forward(tokens_BL, state["model"], lengths, key=key)
        words_BM = self._append(state["recent"], tokens_BL, drop=False)  # M = K + L

        def read(counts_BV, t):  # the window moves on by one: a word enters and another leaves
            row_B = jnp.arange(B)
            for place, change in ((t + self.size, 1.0), (t, -1.0)):
                word_B = words_BM[:, place]
                counts_BV = counts_BV.at[row_B, jnp.where(word_B == NOTHING, self.vocab_size, word_B)].add(change, mode="drop")
            return counts_BV, counts_BV

        _, counts_LBV = jax.lax.scan(read, self._count(state["recent"]), jnp.arange(L))
        counts_BLV = counts_LBV.swapaxes(0, 1)
        last_B = jnp.full(B, L) if lengths is None else jnp.asarray(lengths)
        recent_BK = jnp.take_along_axis(words_BM, last_B[:, None] + jnp.arange(self.size)[None], axis=1)
        logp_BLV = self._mix(jax.nn.log_softmax(logits_BLV), counts_BLV, counts_BLV.sum(-1, keepdims=True))
        return logp_BLV, {"model": inner, "recent": recent_BK}

    def score(self, tokens_BL, lengths):
        """Log-probability (nats) of each token, (B, L), 0 at and beyond `lengths`; the cache begins empty in each row."""
        tokens_BL = jnp.asarray(tokens_BL)
        B, L = tokens_BL.shape
        words_BM = self._append(jnp.full((B, self.size), NOTHING), tokens_BL, drop=False)

        def compare(k, counts):  # with the word k places before, for all t at once
            same_BL, any_BL = counts
            word_BL = jax.lax.dynamic_slice_in_dim(words_BM, self.size - k, L, axis=1)
            return same_BL + (word_BL == tokens_BL), any_BL + (word_BL != NOTHING)

        same_BL, any_BL = jax.lax.fori_loop(1, self.size + 1, compare, (jnp.zeros((B, L)), jnp.zeros((B, L))))
        logp_BL = self._mix(self.model.score(tokens_BL, lengths), same_BL, any_BL)
        return jnp.where(length_mask(jnp.asarray(lengths), L), logp_BL, 0.0)

    def _append(self, recent_BK, tokens_BL, *, drop=True):
        """The cached words with new ones behind them; with `drop` the last K alone."""
        words_BL = jnp.where(tokens_BL == self.bos, NOTHING, tokens_BL)
        words_BM = jnp.concatenate([recent_BK, words_BL], axis=1)
        return words_BM[:, -self.size :] if drop else words_BM

    def _count(self, recent_BK):
        """How often each word is in the cache, (B, V)."""
        row_B1 = jnp.arange(len(recent_BK))[:, None]
        word_BK = jnp.where(recent_BK == NOTHING, self.vocab_size, recent_BK)
        return jnp.zeros((len(recent_BK), self.vocab_size)).at[row_B1, word_BK].add(1.0, mode="drop")

    def _mix(self, logp, counts, total):
        """log((1 - λ) p + λ counts / total), or log p where the cache is empty."""
        weight = jnp.where(total > 0, self.weight[...], 0.0)
        return jnp.logaddexp(jnp.log1p(-weight) + logp, jnp.log(weight * counts / jnp.maximum(total, 1.0)))


def _example(method, *args):
    from lmlib.models.ngram import NgramConfig, train

    definition, params = split(Cache(train(NgramConfig.tiny(), [[1, 2, 3, 4, 1, 2, 0]]), size=3))
    return definition, method, params, *args


def _example_step():
    definition, method, params, token_B = _example("step", jnp.zeros(2, jnp.int32))
    return definition, method, params, {"model": {"context": jnp.full((2, 2), -1)}, "recent": jnp.full((2, 3), NOTHING)}, token_B


programs.register("cache.step", call, _example_step)
programs.register("cache.forward", call, lambda: _example("forward", jnp.zeros((2, 3), jnp.int32)))
programs.register("cache.score", call, lambda: _example("score", jnp.zeros((2, 3), jnp.int32), jnp.full(2, 3)))

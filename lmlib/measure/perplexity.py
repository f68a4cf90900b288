"""Perplexity: how many equally likely tokens a model hesitates between, on average.

    perplexity = exp(-1/N sum_i ln p(x_i | x_<i)) = 2^(bits per token)

Jelinek et al. 1977, "Perplexity: a measure of the difficulty of speech recognition tasks" (JASA 62). N counts tokens, not batches: the mean
of the perplexities of batches is another number, often many times too high, since it gives a short or a hard batch more than its share.
The sums are taken in float64 on the host, so that the result does not depend on how the text was cut into batches.

Perplexities compare only over the same tokens. Two tokenizers are compared over what they both cut: bits a character or a byte of the
text, or perplexity a word, i.e. `nats` over another count (`bits_per`, `perplexity_per`). Where the entropy of the source is known, the
excess over it is the distance from the best model that there can be.

Shapes: B batch, L time, N tokens of a text.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmlib import programs
from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, check_ids, check_shape
from lmlib.models.base import LanguageModel, call, merge, split, token_logp


@dataclass(frozen=True)
class Perplexity:
    """What a text costs a model: the sum and the count, from which the ratios follow; add two of them to pool two texts."""

    nats: float  # -sum ln p
    tokens: int

    def __add__(self, other: "Perplexity") -> "Perplexity":
        return Perplexity(self.nats + other.nats, self.tokens + other.tokens)

    @property
    def bits_per_token(self) -> float:
        return self.nats / self.tokens / math.log(2)

    @property
    def perplexity(self) -> float:
        """Infinite if it is more than a float64 can hold."""
        return self.perplexity_per(self.tokens)

    def bits_per(self, units: int) -> float:
        """Bits a unit, where the text has so many of them: characters, bytes, words. It does not depend on the tokenizer.

        Raises:
          ConfigError: units is less than 1.
        """
        if units < 1:
            raise ConfigError(f"there must be at least one unit to share {self.nats:g} nats among, got {units}")
        return self.nats / units / math.log(2)

    def perplexity_per(self, units: int) -> float:
        """Perplexity a unit, e.g. a word (then the ends of sentences usually count as words); infinite where a float64 cannot hold it."""
        bits = self.bits_per(units)
        return float(np.exp2(np.float64(bits))) if bits < 1024 else math.inf

    def excess_bits(self, entropy_bits: float) -> float:
        """Bits a token above the entropy of the source: the Kullback-Leibler divergence from it, up to the chance of the sample."""
        return self.bits_per_token - entropy_bits


def perplexity(model: LanguageModel, batches: Iterable[dict], state: Any = None) -> Perplexity:
    """Perplexity of a model on batches of text, each token once.

    Args:
      model: any `LanguageModel`.
      batches: finite, of either kind:
        {"tokens": (B, L), "lengths": (B,)}: whole sequences, padded, without BOS; scored after BOS, up to `lengths` (EOS counts as a
        token where a row has it);
        {"tokens": (B, L), "targets": (B, L)}: windows or streams of a corpus, the targets scored.
      state: for streams, `model.init_state(B, max_len=L)`: each batch goes on where the one before ended. None: every window stands alone,
        and its first tokens are scored with little context, so that the perplexity is higher.

    Raises:
      VocabularyError: an id outside the model's vocabulary.
      EmptyCorpusError: there is no token to score.
    """
    definition, params = split(model)
    total, count = 0.0, 0
    for i, batch in enumerate(batches):
        tokens_BL = check_ids(batch["tokens"], model.vocab_size, f"batch {i}: tokens")
        if "targets" in batch:
            targets_BL = check_ids(batch["targets"], model.vocab_size, f"batch {i}: targets")
            check_shape(targets_BL, tokens_BL.shape, f"batch {i}: targets")
            logp_BL, new = score_targets(definition, params, state, tokens_BL, targets_BL)
            state = None if state is None else new
            count += targets_BL.size
        else:
            lengths_B = np.asarray(check_shape(batch["lengths"], tokens_BL.shape[:1], f"batch {i}: lengths"))
            if lengths_B.size and not 0 <= lengths_B.min() <= lengths_B.max() <= tokens_BL.shape[1]:
                raise ShapeError(f"batch {i}: lengths must be 0 … {tokens_BL.shape[1]}, the width of the batch, got {lengths_B.tolist()}")
            logp_BL = call(definition, "score", params, tokens_BL, lengths_B)
            count += int(lengths_B.sum())
        total -= float(np.asarray(logp_BL).sum(dtype=np.float64))
    if not count:
        raise EmptyCorpusError("there is no token to score: perplexity needs at least one")
    return Perplexity(total, count)


@partial(jax.jit, static_argnums=0)
def score_targets(definition, params, state, tokens_BL, targets_BL):
    """Log-probability (nats) of each target after its token and those before, (B, L), and the state after them."""
    logits_BLV, state = merge(definition, params).forward(tokens_BL, state)
    return token_logp(logits_BLV, targets_BL), state


def bigram_entropy(tokens, targets) -> float:
    """Empirical conditional entropy H(target | token) in bits: what no bigram model can beat on the pairs it is counted from.

        H = - sum_ij n_ij / N log2(n_ij / n_i)

    Args:
      tokens: ids, any shape.
      targets: the ids that follow them, same shape.
    """
    tokens, targets = np.asarray(tokens), np.asarray(check_shape(targets, np.shape(tokens), "targets"))
    if not tokens.size:
        raise EmptyCorpusError("there is no pair of tokens to count")
    pairs, n_ij = np.unique(np.stack([tokens.ravel(), targets.ravel()]), axis=1, return_counts=True)
    _, row = np.unique(pairs[0], return_inverse=True)
    n_i = np.bincount(row, weights=n_ij)
    return float(-(n_ij * np.log2(n_ij / n_i[row])).sum() / n_ij.sum())


def _example():
    from flax import nnx

    from lmlib.models.bigram import Bigram, BigramConfig

    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    tokens_BL = jnp.zeros((2, 3), jnp.int32)
    return definition, params, None, tokens_BL, tokens_BL


programs.register("perplexity.score_targets", score_targets, _example)

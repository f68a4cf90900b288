"""Reshaping the distribution of the next token before it is drawn: temperature, truncation, control of repetition.

Each function takes logits and gives logits back. A token that is ruled out gets -inf, a draw from the softmax of what is left never
takes it. At least one token stays (but for `no_repeat_ngram`), and all but `typical` keep the most probable one. Tokens that tie at a
threshold stay or go together, so that no id is preferred for its number: with ties, more than k tokens may stay.

Truncation needs a threshold, not an order, and so nothing is sorted: the threshold is found by bisection of its bits, 32 sums over the
vocabulary. On a CPU that takes a small fraction of XLA's time for a sort or for its own top_k, on small vocabularies and large ones.

* temperature: Ackley, Hinton and Sejnowski 1985, "A Learning Algorithm for Boltzmann Machines".
* top_k: Fan, Lewis and Dauphin 2018, "Hierarchical Neural Story Generation" (arXiv 1805.04833).
* nucleus (top-p): Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (arXiv 1904.09751), equation 2.
* min_p: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling" (arXiv 2407.01082).
* typical: Meister et al. 2023, "Locally Typical Sampling" (arXiv 2202.00666), section 3.
* repetition_penalty: Keskar et al. 2019, "CTRL" (arXiv 1909.05858), section 4.1, in the form that became common (see there).
* no_repeat_ngram: Paulus, Xiong and Socher 2017, "A Deep Reinforced Model for Abstractive Summarization" (arXiv 1705.04304), section 2.5.

Shapes: B batch, V vocabulary, T room for the text of a row.
"""

import jax
import jax.numpy as jnp

from lmlib.arrays import length_mask


def temperature(logits_BV, t):
    """logits / t, for t > 0: below 1 the distribution grows sharper, above 1 flatter.

    The greatest logit is made 0 first, which changes no probability and keeps a tiny t from overflowing.
    """
    return (logits_BV - logits_BV.max(axis=-1, keepdims=True)) / t


def top_k(logits_BV, k):
    """Keep the k most probable tokens (1 ≤ k ≤ V)."""
    return jnp.where(_smallest_set(-logits_BV, jnp.ones_like(logits_BV), k), logits_BV, -jnp.inf)


def nucleus(logits_BV, p):
    """Keep the smallest set of most probable tokens whose probabilities sum to at least p (0 < p ≤ 1)."""
    return jnp.where(_smallest_set(-logits_BV, jax.nn.softmax(logits_BV), p) | (p >= 1), logits_BV, -jnp.inf)


def min_p(logits_BV, p):
    """Keep the tokens that are at least p times as probable as the most probable one (0 ≤ p ≤ 1)."""
    return jnp.where(logits_BV >= logits_BV.max(axis=-1, keepdims=True) + jnp.log(p), logits_BV, -jnp.inf)


def typical(logits_BV, p):
    """Keep the tokens whose surprisal is nearest the entropy: the smallest such set with probabilities that sum to at least p (0 < p ≤ 1).

        ranked by | H + log q(x) |,   H = - sum_x q(x) log q(x)

    This rule may drop the most probable token of a flat distribution; that is its point.
    """
    logq_BV = jax.nn.log_softmax(logits_BV)
    q_BV = jnp.exp(logq_BV)
    H_B1 = -jnp.where(q_BV > 0, q_BV * logq_BV, 0.0).sum(axis=-1, keepdims=True)
    return jnp.where(_smallest_set(jnp.abs(H_B1 + logq_BV), q_BV, p) | (p >= 1), logits_BV, -jnp.inf)


def _smallest_set(cost_BV, weight_BV, least):
    """True for the tokens of least cost whose weights together reach `least`: for all up to some cost, ties included, and at least one.

    A sum that rounds to 1 early cuts off the tail where `least` is 1; whoever calls this keeps everything then.
    """
    bits_BV = jax.lax.bitcast_convert_type(jnp.where(cost_BV == 0, 0.0, cost_BV), jnp.int32)  # of the two zeros, one
    place_BV = bits_BV ^ ((bits_BV >> 31) & 0x7FFFFFFF)  # integers in the order of the floats

    def halve(_, bounds):
        low_B1, high_B1 = bounds
        middle_B1 = (low_B1 & high_B1) + ((low_B1 ^ high_B1) >> 1)  # their mean, rounded down, without overflow
        enough_B1 = jnp.where(place_BV <= middle_B1, weight_BV, 0).sum(axis=-1, keepdims=True) >= least
        return jnp.where(enough_B1, low_B1, middle_B1 + 1), jnp.where(enough_B1, middle_B1, high_B1)

    bounds = place_BV.min(axis=-1, keepdims=True), place_BV.max(axis=-1, keepdims=True)
    return place_BV <= jax.lax.fori_loop(0, 32, halve, bounds)[1]


def repetition_penalty(logits_BV, seen_BV, penalty):
    """Make the tokens that a row has seen less probable (penalty > 1): logit / penalty where it is positive, times it where negative.

    CTRL divides every logit, which would make a token with a negative one *more* probable; the form with two cases, that of Hugging Face's
    `RepetitionPenaltyLogitsProcessor`, is what is meant since. Note that it depends on where the zero of the logits lies.
    """
    punished_BV = jnp.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return jnp.where(seen_BV, punished_BV, logits_BV)


def no_repeat_ngram(logits_BV, text_BT, length_B, n: int):
    """Rule out each token that would complete an n-gram which the row's text already holds.

    Args:
      logits_BV: of the token that comes next.
      text_BT: the text of each row; what stands at and beyond `length_B` is not read.
      length_B: how long each text is.
      n: length of the n-grams; 1 rules out every token that has been used. No tracer.
    """
    B, T = text_BT.shape
    if n > T:
        return logits_BV
    starts = T - n + 1
    last = jnp.maximum(length_B[:, None] + jnp.arange(1 - n, 0)[None, :], 0)  # places of the last n - 1 tokens
    tail = jnp.take_along_axis(text_BT, last, axis=1)
    repeats = length_mask(length_B - (n - 1), starts)  # n-grams that lie in the text
    for i in range(n - 1):
        repeats &= text_BT[:, i : i + starts] == tail[:, i : i + 1]
    rows = jnp.broadcast_to(jnp.arange(B)[:, None], repeats.shape)
    banned_BV = jnp.zeros(logits_BV.shape, bool).at[rows, text_BT[:, n - 1 :]].max(repeats)
    return jnp.where(banned_BV, -jnp.inf, logits_BV)

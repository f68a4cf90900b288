"""Beam search: the most probable continuations, approximately, of any `LanguageModel`.

At each step every one of the K best unfinished hypotheses is continued by every token. Continuations that end in a stop token join the
finished ones, of which the K best are kept; of the others the K most probable go on. Hypotheses of different lengths are compared by

    score(y) = log p(y) / lp(|y|),   lp(n) = ((5 + n) / 6)^alpha

Wu et al. 2016, "Google's Neural Machine Translation System" (arXiv 1609.08144), equation 14; |y| counts the generated tokens, the stop
token too. The search ends when no unfinished hypothesis can overtake the worst finished one: log p only falls, so that its score is at
best log p / lp(N), N being the greatest length. That end is exact. A hypothesis that was cut off at N is an answer only where there are
fewer than K finished ones; it stands after them whatever its score, for it is no complete sequence.

Left out on purpose: GNMT's coverage penalty, which needs attention; diverse and stochastic beams.

Shapes: B prompts, K beams, V vocabulary, N new tokens at most, S stop tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmlib import programs
from lmlib.errors import ConfigError, NonFiniteError
from lmlib.generate import check_prompts, impossible, read_prompts
from lmlib.models.base import LanguageModel, merge, split


@dataclass(frozen=True)
class Hypotheses:
    """The K best continuations of each prompt, best first. Where there are fewer, the rest has length 0 and score -inf."""

    tokens: np.ndarray  # (B, K, N) int32; 0 at and beyond `lengths`
    lengths: np.ndarray  # (B, K) int32; a stop token counts
    logp: np.ndarray  # (B, K, N) float32, nats, of each token; 0 at and beyond `lengths`
    scores: np.ndarray  # (B, K) float32, log p / lp(length)
    finished: np.ndarray  # (B, K) bool: ends in a stop token

    def best(self) -> list[np.ndarray]:
        """The tokens of the best hypothesis of each prompt, the stop token included where there is one."""
        return [tokens[0, : lengths[0]] for tokens, lengths in zip(self.tokens, self.lengths, strict=True)]


def length_penalty(length, alpha):
    """lp(n) = ((5 + n) / 6)^alpha: 1 for alpha = 0; the larger alpha, the longer the answers."""
    return ((5.0 + length) / 6.0) ** alpha


def beam_search(
    model: LanguageModel,
    prompts: Sequence,
    *,
    beams: int,
    max_new_tokens: int,
    alpha: float = 0.0,
    stop: Sequence[int] | None = None,
    source: Any = None,
) -> Hypotheses:
    """The `beams` best continuations that beam search finds for each prompt. One beam without penalty is greedy decoding.

    Args:
      model: any `LanguageModel`; its state is copied and reordered along the leading axis of each leaf.
      prompts, max_new_tokens, stop, source: as for `lmlib.generate.generate`.
      beams: K ≥ 1; may be more than the vocabulary has.
      alpha: strength of the length penalty, ≥ 0; GNMT's best were 0.6 and 0.7 without training for the metric.

    Raises:
      ConfigError, EmptyCorpusError, ShapeError, VocabularyError: an argument that makes no sense; before anything is compiled.
      NonFiniteError: the model gave NaN or infinite logits, or none that is possible.
    """
    if not isinstance(beams, (int, np.integer)) or isinstance(beams, bool) or beams < 1:
        raise ConfigError(f"beams must be a whole number of at least 1, got {beams!r}")
    if not 0 <= alpha < math.inf:
        raise ConfigError(f"alpha, the length penalty, must be a number of at least 0, got {alpha!r}")
    tokens_BP, length_B, stop_S = check_prompts(model, prompts, stop, max_new_tokens)
    definition, params = split(model)
    state, token_B = read_prompts(definition, tokens_BP.shape[1] + max_new_tokens, params, tokens_BP, length_B, source)
    found = search(definition, (int(beams), int(max_new_tokens)), params, state, token_B, stop_S, float(alpha))
    found = {name: np.array(value) for name, value in found.items()}
    if (fault_B := found.pop("fault")).any():
        raise NonFiniteError(
            f"the model gives no distribution on a beam of prompt {int(np.argmax(fault_B))}: its logits are NaN or infinite, or no token "
            "is possible. Has training diverged, or does an unsmoothed model meet a context that it has never seen?"
        )
    real = np.arange(max_new_tokens) < found["lengths"][..., None]
    return Hypotheses(np.where(real, found.pop("tokens"), 0), logp=np.where(real, found.pop("logp"), 0), **found)


@partial(jax.jit, static_argnums=(0, 1))
def search(definition, sizes, params, state, token_B, stop_S, alpha):
    """Beam search from a state and the token that is to be read next.

    Args:
      sizes: (K, N).

    Returns:
      {"tokens", "lengths", "logp", "scores", "finished"} as in `Hypotheses`, and "fault" (B,), True where a step had no distribution.
    """
    model = merge(definition, params)
    (K, N), B, S, V = sizes, token_B.shape[0], stop_S.shape[0], model.vocab_size
    is_stop_V = jnp.zeros(V, bool).at[stop_S].set(True)
    nothing_BKN = {"tokens": jnp.zeros((B, K, N), jnp.int32), "logp": jnp.zeros((B, K, N), jnp.float32)}

    def lead(array):
        return array.reshape(B, K, *array.shape[1:])

    def flat(array):
        return array.reshape(B * K, *array.shape[2:])

    def take(tree, beam_BX):
        """For each prompt, the beams of the given numbers."""
        return jax.tree.map(lambda leaf: leaf[jnp.arange(B)[:, None], beam_BX], tree)

    def put(text, i, token_BX, logp_BX):
        return {"tokens": text["tokens"].at[:, :, i].set(token_BX), "logp": text["logp"].at[:, :, i].set(logp_BX)}

    def body(loop):
        i, c = loop
        state, logits = model.step(jax.tree.map(flat, c["state"]), flat(c["token"]))
        logits_BKV = lead(logits.astype(jnp.float32))
        alive_BK = jnp.isfinite(c["total"])
        fault_B = c["fault"] | (lead(impossible(flat(logits_BKV))) & alive_BK).any(axis=1)
        logp_BKV = jax.nn.log_softmax(logits_BKV)
        total_BKV = jnp.where(alive_BK[..., None], c["total"][..., None] + logp_BKV, -jnp.inf)

        # those that end here join the finished ones
        ended_BX = total_BKV[:, :, stop_S].reshape(B, K * S)
        scores_BX = jnp.concatenate([c["scores"], ended_BX / length_penalty(i + 1, alpha)], axis=1)
        scores_BK, from_BK = jax.lax.top_k(scores_BX, K)
        beam_BX, token_BX = jnp.repeat(jnp.arange(K), S), jnp.tile(stop_S, K)
        beam_BX, token_BX = (jnp.broadcast_to(x[None, :], (B, K * S)) for x in (beam_BX, token_BX))
        ending = put(take(c["text"], beam_BX), i, token_BX, logp_BKV[:, :, stop_S].reshape(B, K * S))
        pool = jax.tree.map(lambda old, new: jnp.concatenate([old, new], axis=1), c["ended"], ending)
        lengths_BX = jnp.concatenate([c["lengths"], jnp.full((B, K * S), i + 1)], axis=1)

        # the others go on
        going_BX = jnp.where(is_stop_V[None, None, :], -jnp.inf, total_BKV).reshape(B, K * V)
        total_BK, choice_BK = jax.lax.top_k(going_BX, K)
        beam_BK, token_BK = choice_BK // V, (choice_BK % V).astype(jnp.int32)
        logp_BK = jnp.take_along_axis(logp_BKV.reshape(B, K * V), choice_BK, axis=1)
        return i + 1, {
            "state": take(jax.tree.map(lead, state), beam_BK),
            "token": token_BK,
            "total": total_BK,
            "text": put(take(c["text"], beam_BK), i, token_BK, logp_BK),
            "ended": take(pool, from_BK),
            "scores": scores_BK,
            "lengths": take(lengths_BX, from_BK),
            "fault": fault_B,
        }

    def goes_on(loop):
        i, c = loop
        best_B = c["total"].max(axis=1) / length_penalty(N, alpha)  # what the best of them may yet reach
        return (i < N) & (~c["fault"] & jnp.isfinite(best_B) & (best_B > c["scores"].min(axis=1))).any()

    first_BK = jnp.arange(K)[None, :] == jnp.zeros((B, 1), jnp.int32)  # one hypothesis to begin with
    carry = {
        "state": jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], K, axis=1), state),
        "token": jnp.repeat(token_B[:, None], K, axis=1),
        "total": jnp.where(first_BK, 0.0, -jnp.inf),
        "text": nothing_BKN,
        "ended": nothing_BKN,
        "scores": jnp.full((B, K), -jnp.inf),
        "lengths": jnp.zeros((B, K), jnp.int32),
        "fault": jnp.zeros(B, bool),
    }
    i, c = jax.lax.while_loop(goes_on, body, (0, carry))

    # the finished ones, then those that are under way
    cut_BK = jnp.where(jnp.isfinite(c["total"]), i, 0)
    scores = jnp.concatenate([c["scores"], c["total"] / length_penalty(i, alpha)], axis=1)
    finished = jnp.concatenate([jnp.isfinite(c["scores"]), jnp.zeros((B, K), bool)], axis=1)
    rank = jnp.where(finished, 0, jnp.where(jnp.isfinite(scores), 1, 2))
    order_BK = jnp.lexsort((-scores, rank), axis=1)[:, :K]
    lengths = jnp.concatenate([c["lengths"], cut_BK], axis=1)
    text = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), c["ended"], c["text"])
    picked = take({**text, "lengths": lengths, "scores": scores, "finished": finished}, order_BK)
    return picked | {"fault": c["fault"]}


def _example():
    from flax import nnx

    from lmlib.models.bigram import Bigram, BigramConfig

    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    return definition, (2, 3), params, {}, jnp.zeros(2, jnp.int32), jnp.array([0]), 0.6


programs.register("beam.search", search, _example)

"""Hidden Markov model: a chain of states that is not seen emits the tokens that are.

    p(x, z) = start[z_1] prod_t>1 transition[z_t-1, z_t] prod_t emission[z_t, x_t]

Rabiner 1989, "A Tutorial on Hidden Markov Models" (Proc. IEEE 77): the forward and backward procedures (equations 18-25), the Viterbi
algorithm (30-35), re-estimation (40). Baum et al. 1970 (Ann. Math. Stat. 41) and Dempster, Laird and Rubin 1977 for why re-estimation
never lowers the likelihood; Viterbi 1967 (IEEE Trans. IT 13). Hassan, Särkkä and García-Fernández 2021, "Temporal Parallelization of
Inference in Hidden Markov Models" (IEEE Trans. SP 69, arXiv 2102.05743) for the form in O(log L) steps.

All sums over paths are taken in log space. What is carried along is normalised at every step, log p(z_t | x_1..t) in place of
log p(z_t, x_1..t), so that float32 keeps its digits however long the sequence. A sequence that the model cannot emit has log-probability
-inf and posteriors of 0; an id outside the vocabulary gives NaN.

**As a language model.** The state of the protocol is log p(z_t+1 | x_1..t). To read BOS is to begin anew, whatever came before. EOS is a
token like others, so whoever trains on complete sequences puts it at their end. All other functions take sequences without BOS.

Left out on purpose: training by gradient (the parameters are probabilities, and re-estimation keeps them so); continuous emissions.

Shapes: B batch, L time, S hidden states, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import logsumexp

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError, check_ids, check_shape
from lmlib.models.base import call, merge, shift_right, split


@dataclass(frozen=True)
class HMMConfig:
    """The model's size, and what is added to every count (add-k) when probabilities are estimated."""

    vocab_size: int  # V
    states: int  # S
    bos: int = 0
    eos: int = 0
    add_transition: float = 0.0  # to each start and each transition; 0 is maximum likelihood
    add_emission: float = 0.0  # to each emission

    def __post_init__(self):
        for name, value in (("vocab_size", self.vocab_size), ("states", self.states)):
            if value < 1:
                raise ConfigError(f"HMMConfig.{name} must be at least 1, got {value}")
        for name, value in (("bos", self.bos), ("eos", self.eos)):
            if not 0 <= value < self.vocab_size:
                raise ConfigError(f"HMMConfig.{name} must be an id of the vocabulary, 0 … {self.vocab_size - 1}, got {value}")
        for name, value in (("add_transition", self.add_transition), ("add_emission", self.add_emission)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"HMMConfig.{name} must be a number of at least 0, got {value}")

    @classmethod
    def tiny(cls, vocab_size=5, **fields):
        """For tests."""
        return cls(vocab_size, **{"states": 3, **fields})

    @classmethod
    def small(cls, vocab_size, **fields):
        """For a laptop: re-estimation on a small text of characters or words in a minute."""
        return cls(vocab_size, **{"states": 32, "add_transition": 1e-3, "add_emission": 1e-3, **fields})


# The recursions. Parameters are probabilities: {"start": (S,), "transition": (S, S), "emission": (S, V)}


def _logs(params):
    return tuple(jnp.log(params[name]) for name in ("start", "transition", "emission"))


def _emissions(log_B, tokens):
    """log p(x | z) of each token, (…, S); NaN for an id outside the vocabulary."""
    tokens = jnp.where(tokens < 0, log_B.shape[1], tokens)  # a negative one would count from the end
    return jnp.take(log_B.T, tokens, axis=0, mode="fill", fill_value=jnp.nan)


def _normalise(joint_BS):
    """log p(z, x) → log p(z | x), and log p(x); where p(x) = 0 both are -inf."""
    logp_B = logsumexp(joint_BS, axis=-1)
    return joint_BS - jnp.where(jnp.isfinite(logp_B), logp_B, 0.0)[..., None], logp_B


def _propagate(log_BS, log_A):
    """log p(z_t | …) → log p(z_t+1 | …): a matrix product in the log semiring, (B, S)."""
    return logsumexp(log_BS[:, :, None] + log_A[None, :, :], axis=1)


def _read(predicted_BS, emit_BS, real_B, log_A):
    """One step of the forward recursion: what was predicted of z_t, and log p(x_t | z_t) → what is predicted of z_t+1.

    Returns:
      log p(z_t+1 | x_1..t), which stays what it was for rows that are not real; log p(z_t | x_1..t); log p(x_t | x_1..t-1).
    """
    filtered_BS, logp_B = _normalise(predicted_BS + emit_BS)
    return jnp.where(real_B[:, None], _propagate(filtered_BS, log_A), predicted_BS), filtered_BS, logp_B


def _forward(log_pi, log_A, emit_LBS, real_LB):
    """Forward variables, normalised (Rabiner's equations 19 and 20): log p(z_t | x_1..t) and log p(x_t | x_1..t-1)."""

    def step(predicted_BS, inputs):
        predicted_BS, *outputs = _read(predicted_BS, *inputs, log_A)
        return predicted_BS, tuple(outputs)

    first_BS = jnp.broadcast_to(log_pi[None, :], emit_LBS.shape[1:])
    return jax.lax.scan(step, first_BS, (emit_LBS, real_LB))[1]


def _backward(log_A, emit_LBS, logp_LB, real_LB):
    """Backward variables (equations 24 and 25), normalised: log p(x_t+1..L | z_t) - log p(x_t+1..L | x_1..t)."""

    def step(beta_BS, inputs):  # from t + 1 to t
        emit_BS, logp_B, real_B = inputs
        before_BS = _propagate(emit_BS + beta_BS, log_A.T) - jnp.where(jnp.isfinite(logp_B), logp_B, 0.0)[:, None]
        return jnp.where(real_B[:, None], before_BS, beta_BS), beta_BS

    return jax.lax.scan(step, jnp.zeros(emit_LBS.shape[1:]), (emit_LBS, logp_LB, real_LB), reverse=True)[1]


def _combine(left_LBSS, right_LBSS):
    """A product of matrices in the log semiring, up to a factor: associative, so that all prefixes take O(log L) steps."""
    product = logsumexp(left_LBSS[..., :, :, None] + right_LBSS[..., None, :, :], axis=-2)
    greatest = product.max(axis=(-2, -1), keepdims=True)
    return product - jnp.where(jnp.isfinite(greatest), greatest, 0.0)


def _in_parallel(log_pi, log_A, emit_LBS, real_LB):
    """What `_forward` and `_backward` compute, by `lax.associative_scan` over the matrices log transition[i, j] emission[j, x_t].

    It does O(L S^3) work where the recursion does O(L S^2): for few states, long sequences and many cores.
    """
    S = log_A.shape[0]
    step_LBSS = log_A[None, None, :, :] + emit_LBS[:, :, None, :]
    nothing_SS = jnp.where(jnp.eye(S, dtype=bool), 0.0, -jnp.inf)
    step_LBSS = jnp.where(real_LB[:, :, None, None], step_LBSS, nothing_SS[None, None, :, :])
    first_BSS = jnp.broadcast_to((log_pi[None, :] + emit_LBS[0])[:, None, :], step_LBSS.shape[1:])
    prefix_LBSS = jax.lax.associative_scan(_combine, step_LBSS.at[0].set(first_BSS))
    suffix_LBSS = jax.lax.associative_scan(lambda a, b: _combine(b, a), step_LBSS, reverse=True)
    filtered_LBS, _ = _normalise(prefix_LBSS[:, :, 0, :])
    B = emit_LBS.shape[1]
    predicted_LBS = _propagate(filtered_LBS[:-1].reshape(-1, S), log_A).reshape(-1, B, S)
    predicted_LBS = jnp.concatenate([jnp.broadcast_to(log_pi[None, None, :], (1, B, S)), predicted_LBS])
    beta_LBS = jnp.concatenate([logsumexp(suffix_LBSS[1:], axis=-1), jnp.zeros((1, B, S))])
    beta_LBS = beta_LBS - _finite(logsumexp(filtered_LBS + beta_LBS, axis=-1, keepdims=True))
    return filtered_LBS, logsumexp(predicted_LBS + emit_LBS, axis=-1), beta_LBS


def _finite(x):
    return jnp.where(jnp.isfinite(x), x, 0.0)


def _smooth(params, tokens_BL, lengths_B, parallel):
    """Everything that is known once a sequence has been read in both directions, time first."""
    log_pi, log_A, log_B = _logs(params)
    emit_LBS, real_LB = _emissions(log_B, tokens_BL.T), length_mask(lengths_B, tokens_BL.shape[1]).T
    if parallel:
        filtered_LBS, logp_LB, beta_LBS = _in_parallel(log_pi, log_A, emit_LBS, real_LB)
    else:
        filtered_LBS, logp_LB = _forward(log_pi, log_A, emit_LBS, real_LB)
        beta_LBS = _backward(log_A, emit_LBS, logp_LB, real_LB)
    posterior_LBS = jnp.where(real_LB[:, :, None], jnp.exp(filtered_LBS + beta_LBS), 0.0)
    # z_t, z_t+1 in pairs: filtered_t + log A + arriving_t+1 is the log of their joint posterior
    arriving_LBS = emit_LBS + beta_LBS - _finite(logp_LB)[:, :, None]
    return log_A, real_LB, filtered_LBS, arriving_LBS, posterior_LBS, jnp.where(real_LB, logp_LB, 0.0)


@partial(jax.jit, static_argnums=3)
def posteriors(params, tokens_BL, lengths_B, parallel=False):
    """Forward-backward: what is known of each state once the whole sequence is.

    Args:
      params: {"start", "transition", "emission"}, probabilities.
      tokens_BL, lengths_B: sequences without BOS.
      parallel: by associative scan, O(log L) steps of O(S^3) work each.

    Returns:
      posterior (B, L, S): p(z_t | x_1..L) (Rabiner's gamma, equation 27), 0 beyond `lengths`; its greatest entry is posterior decoding.
      logp (B, L): log p(x_t | x_1..t-1) in nats, 0 beyond; its sum is the log-likelihood of a sequence.
    """
    *_, posterior_LBS, logp_LB = _smooth(params, tokens_BL, lengths_B, parallel)
    return jnp.swapaxes(posterior_LBS, 0, 1), logp_LB.T


@jax.jit
def viterbi(params, tokens_BL, lengths_B):
    """The single most probable path of states (Rabiner's equations 30-35); of equals, that of the smaller ids from the end on.

    Returns:
      path (B, L) int32, 0 beyond `lengths`; log p(x, path) in nats, (B,), -inf for what the model cannot emit.
    """
    log_pi, log_A, log_B = _logs(params)
    emit_LBS, real_LB = _emissions(log_B, tokens_BL.T), length_mask(lengths_B, tokens_BL.shape[1]).T
    S = emit_LBS.shape[2]

    def step(carry, inputs):
        best_BS, logp_B = carry  # the best path into each state, less that into the best one; that one's log-probability
        emit_BS, real_B = inputs
        through_BSS = best_BS[:, :, None] + log_A[None, :, :]
        new_BS = through_BSS.max(axis=1) + emit_BS
        greatest_B = new_BS.max(axis=1)
        new_BS = jnp.where(real_B[:, None], new_BS - _finite(greatest_B)[:, None], best_BS)
        back_BS = jnp.where(real_B[:, None], through_BSS.argmax(axis=1), jnp.arange(S)[None, :])
        return (new_BS, logp_B + jnp.where(real_B, greatest_B, 0.0)), back_BS

    first_BS = jnp.where(real_LB[0][:, None], log_pi[None, :] + emit_LBS[0], 0.0)
    greatest_B = first_BS.max(axis=1)
    carry, back_LBS = jax.lax.scan(step, (first_BS - _finite(greatest_B)[:, None], greatest_B), (emit_LBS[1:], real_LB[1:]))
    last_B = carry[0].argmax(axis=1)

    def trace(state_B, back_BS):
        before_B = jnp.take_along_axis(back_BS, state_B[:, None], axis=1)[:, 0]
        return before_B, before_B

    _, path_LB = jax.lax.scan(trace, last_B, back_LBS, reverse=True)
    path_LB = jnp.concatenate([path_LB, last_B[None, :]])
    return jnp.where(real_LB, path_LB, 0).T.astype(jnp.int32), carry[1]


# Estimation


@partial(jax.jit, static_argnums=3)
def expected_counts(params, tokens_BL, lengths_B, parallel=False):
    """The E step of Baum-Welch: how often each start, transition and emission is to be expected, given the sequences.

    Returns:
      {"start": (S,), "transition": (S, S), "emission": (S, V)}, and the log-likelihood of each sequence, (B,).
    """
    log_A, real_LB, filtered_LBS, arriving_LBS, posterior_LBS, logp_LB = _smooth(params, tokens_BL, lengths_B, parallel)

    def pairs(total_SS, inputs):  # of z_t and z_t+1 (Rabiner's xi, equation 37)
        filtered_BS, arriving_BS, real_B = inputs
        joint_BSS = jnp.exp(filtered_BS[:, :, None] + log_A[None, :, :] + arriving_BS[:, None, :])
        return total_SS + jnp.where(real_B[:, None, None], joint_BSS, 0.0).sum(axis=0), None

    transition_SS, _ = jax.lax.scan(pairs, jnp.zeros_like(log_A), (filtered_LBS[:-1], arriving_LBS[1:], real_LB[1:]))
    emission_VS = jnp.zeros(params["emission"].T.shape).at[tokens_BL.T].add(posterior_LBS)
    counts = {"start": posterior_LBS[0].sum(axis=0), "transition": transition_SS, "emission": emission_VS.T}
    return counts, logp_LB.sum(axis=0)


def estimate(config: HMMConfig, counts) -> "HMM":
    """The model whose probabilities are counts, with add-k, made to sum to 1 (the M step; equation 40). A row without counts is uniform."""
    params = {}
    for name, count in counts.items():
        count = np.asarray(count, np.float64) + (config.add_emission if name == "emission" else config.add_transition)
        total = count.sum(axis=-1, keepdims=True)
        params[name] = jnp.asarray(np.where(total > 0, count / np.where(total > 0, total, 1), 1 / count.shape[-1]), jnp.float32)
    return merge(split(HMM(config, rngs=nnx.Rngs(0)))[0], params)


def supervised(config: HMMConfig, sequences: Iterable, paths: Iterable) -> "HMM":
    """The model of sequences whose states are known: counting.

    Args:
      sequences, paths: token ids, and state ids of the same length, of each sequence.

    Raises:
      VocabularyError, ShapeError: an id outside the vocabulary or the states, or a path of another length.
      EmptyCorpusError: no sequence has a token.
    """
    S, V = config.states, config.vocab_size
    counts = {"start": np.zeros(S), "transition": np.zeros((S, S)), "emission": np.zeros((S, V))}
    for i, (tokens, states) in enumerate(zip(sequences, paths, strict=True)):
        if not len(tokens) and not len(states):
            continue
        tokens = check_shape(check_ids(tokens, V, f"sequences[{i}]"), (None,), f"sequences[{i}]")
        states = check_shape(check_ids(states, S, f"paths[{i}]"), tokens.shape, f"paths[{i}]")
        counts["start"][states[0]] += 1
        np.add.at(counts["transition"], (states[:-1], states[1:]), 1)
        np.add.at(counts["emission"], (states, tokens), 1)
    if not counts["start"].any():
        raise EmptyCorpusError("no sequence has a token: there is nothing to count")
    return estimate(config, counts)


def baum_welch_step(config: HMMConfig, model: "HMM", batches: Iterable[dict], parallel: bool = False) -> tuple["HMM", float]:
    """One iteration of expectation-maximisation over a whole text; call it until the log-likelihood hardly rises.

    Args:
      config: its `add_transition` and `add_emission` are added to the expected counts; with 0 the likelihood never falls.
      batches: {"tokens": (B, L), "lengths": (B,)}, without BOS; with EOS, if the model is to end sequences. Each is read once.

    Returns:
      The new model, and the log-likelihood in nats of the text under the *old* one.

    Raises:
      EmptyCorpusError: there is no token.
      ShapeError, VocabularyError: a batch that is none.
    """
    params, total, logp, seen = split(model)[1], {}, 0.0, 0
    for i, batch in enumerate(batches):
        tokens_BL, lengths_B = check_sequences(batch["tokens"], batch["lengths"], model.vocab_size, f"batch {i}")
        counts, logp_B = expected_counts(params, tokens_BL, lengths_B, parallel)
        for name, count in counts.items():  # in float64: a count of millions plus a thousandth must not stay what it is
            total[name] = total.get(name, 0.0) + np.asarray(count, np.float64)
        logp += float(np.asarray(logp_B, np.float64).sum())
        seen += int(lengths_B.sum())
    if not seen:
        raise EmptyCorpusError("there is no token to learn from")
    return estimate(config, total), logp


def check_sequences(tokens_BL, lengths_B, vocab_size, name="tokens"):
    """Padded sequences as arrays, or the error that names what is wrong with them."""
    tokens_BL = check_shape(check_ids(tokens_BL, vocab_size, f"{name}: tokens"), (None, None), f"{name}: tokens")
    lengths_B = check_shape(np.asarray(lengths_B), tokens_BL.shape[:1], f"{name}: lengths")
    width = tokens_BL.shape[1]
    if not tokens_BL.size or not 0 <= lengths_B.min() <= lengths_B.max() <= width:
        raise ShapeError(f"{name}: there must be at least one row and column, and lengths 0 … {width}, got {lengths_B.tolist()}")
    return tokens_BL.astype(np.int32), lengths_B.astype(np.int32)


class HMM(nnx.Module):
    """A `LanguageModel` whose state is log p(z_t+1 | x_1..t), (B, S). It begins with random probabilities, uniform on the simplex."""

    def __init__(self, config: HMMConfig, *, rngs: nnx.Rngs):
        self.vocab_size, self.bos, self.eos = config.vocab_size, config.bos, config.eos
        S, V = config.states, config.vocab_size

        def draw(*shape):
            weights = jax.random.exponential(rngs.params(), shape)
            return nnx.Param(weights / weights.sum(axis=-1, keepdims=True))

        self.start, self.transition, self.emission = draw(S), draw(S, S), draw(S, V)

    def _params(self):
        return {name: getattr(self, name)[...] for name in ("start", "transition", "emission")}

    def init_state(self, batch, *, max_len, source=None):
        """log p(z_1)."""
        return jnp.broadcast_to(jnp.log(self.start[...])[None, :], (batch, self.start.shape[0]))

    def step(self, state, token_B):
        """Read one token: the new state and log p(next token), (B, V)."""
        state, _ = self._scan(token_B[:, None], state, None)
        return state, self._logits(state)

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        """log p(next token) after each, (B, L, V)."""
        state, states_BLS = self._scan(tokens_BL, state, lengths)
        return self._logits(states_BLS), state

    def score(self, tokens_BL, lengths):
        """Log-probability (nats) of each token given those before it, (B, L), without dense logits."""
        _, predicted_BLS = self._scan(shift_right(tokens_BL, self.bos), None, lengths)
        logp_BL = logsumexp(predicted_BLS + _emissions(jnp.log(self.emission[...]), tokens_BL), axis=-1)
        return jnp.where(length_mask(lengths, tokens_BL.shape[1]), logp_BL, 0.0)

    def _logits(self, state):
        # a plain product: what underflows here is less probable than 1e-38
        return jnp.log(jnp.matmul(jnp.exp(state), self.emission[...], precision=jax.lax.Precision.HIGHEST))

    def _scan(self, tokens_BL, state, lengths):
        """Read tokens: the state after them, and after each, (B, L, S)."""
        tokens_BL = jnp.asarray(tokens_BL)
        B, L = tokens_BL.shape
        state = self.init_state(B, max_len=L) if state is None else state
        log_pi, log_A, log_B = _logs(self._params())
        real_LB = jnp.ones((L, B), bool) if lengths is None else length_mask(lengths, L).T

        def step(state, inputs):
            token_B, emit_BS, real_B = inputs
            read_BS, _, _ = _read(state, emit_BS, real_B, log_A)
            state = jnp.where((real_B & (token_B == self.bos))[:, None], log_pi[None, :], read_BS)
            return state, state

        state, states_LBS = jax.lax.scan(step, state, (tokens_BL.T, _emissions(log_B, tokens_BL.T), real_LB))
        return state, jnp.swapaxes(states_LBS, 0, 1)


def _example(function, *args):
    definition, params = split(HMM(HMMConfig.tiny(), rngs=nnx.Rngs(0)))
    if isinstance(function, str):
        return definition, function, params, *args
    return params, jnp.zeros((2, 3), jnp.int32), jnp.array([3, 2]), *args


programs.register("hmm.step", call, lambda: _example("step", jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)))
programs.register("hmm.forward", call, lambda: _example("forward", jnp.zeros((2, 3), jnp.int32)))
programs.register("hmm.score", call, lambda: _example("score", jnp.zeros((2, 3), jnp.int32), jnp.full(2, 3)))
programs.register("hmm.posteriors", posteriors, lambda: _example(posteriors, False))
programs.register("hmm.viterbi", viterbi, lambda: _example(viterbi))
programs.register("hmm.expected_counts", expected_counts, lambda: _example(expected_counts, False))
programs.register("hmm.expected_counts in parallel", expected_counts, lambda: _example(expected_counts, True))

"""Generating text: one loop for every `LanguageModel`, counted or trained.

    x_t ~ warp(softmax(logits(x_1 … x_t-1)))

The prompts are read in one call of `forward`; then a compiled loop runs `step`, warps the logits (`lmlib.warpers`), draws, and stops when
every row has met a stop token. `generate` runs the loop to its end; `stream` runs it a block of tokens at a time and hands each over, so
that a notebook shows text as it comes, with no callback from inside the program. Both run one and the same program.

**What a draw depends on.** A token is drawn with fold_in(key of its row, its place in the text), where row i of a call has the key
fold_in(key, i). So a row does not depend on the rows beside it or on the size of the blocks, and a text that is given back as a prompt,
with the key of its row, goes on as if it had not been cut. (The logits of a trained model may differ in their last bits from one batch
size to another, as matrix products do; two tokens must be that close to equal for it to be seen.)

**What is an error.** `jax.random.categorical` answers logits that are all -inf, or NaN, with a token. Here such a step ends its row with a
mark, and the call raises. Temperature 0 means the most probable token (of equals, the smallest id), and no key is needed.

Beam search stands in `lmlib.beam`.

Shapes: B rows, V vocabulary, P longest prompt, N new tokens at most, T = P + N room for a text, K stop tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmlib import programs, warpers
from lmlib.errors import ConfigError, EmptyCorpusError, NonFiniteError, ShapeError, check_ids
from lmlib.models.base import LanguageModel, merge, split

_MODEL_FAULT, _NOTHING_LEFT = 1, 2  # what may be wrong with a step


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from its distribution. The defaults draw from the model as it is; what is None is not applied.

    In order: repetition_penalty, no_repeat_ngram, temperature, top_k, top_p, min_p, typical_p, each on what the one before has left.
    """

    temperature: float = 1.0  # 0 is greedy: always the most probable token
    top_k: int | None = None
    top_p: float | None = None  # nucleus
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None  # above 1, against tokens of the prompt and of what was generated
    no_repeat_ngram: int | None = None

    def __post_init__(self):
        tiny = float(np.finfo(np.float32).tiny)
        if not (self.temperature == 0 or tiny <= self.temperature < math.inf):
            raise ConfigError(f"temperature must be 0 (greedy) or a positive number, got {self.temperature!r}")
        for name in ("top_p", "typical_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"{name} must be a probability above 0 and at most 1, or None, got {value!r}")
        for name in ("top_k", "no_repeat_ngram"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(f"{name} must be a whole number of at least 1, or None, got {value!r}")
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty < math.inf:
            raise ConfigError(f"repetition_penalty must be a positive number (1 changes nothing), or None, got {self.repetition_penalty!r}")

    @classmethod
    def greedy(cls, **fields):
        """Always the most probable token."""
        return cls(**{"temperature": 0.0, **fields})


@dataclass(frozen=True)
class Generated:
    """What was generated, without the prompts."""

    tokens: np.ndarray  # (B, N) int32; 0 at and beyond `lengths`
    lengths: np.ndarray  # (B,) int32; a stop token counts
    logp: np.ndarray  # (B, N) float32: nats under the model itself, before any warping; 0 at and beyond `lengths`

    def rows(self) -> list[np.ndarray]:
        """The tokens of each row, the stop token included where there is one."""
        return [tokens[:length] for tokens, length in zip(self.tokens, self.lengths, strict=True)]


def generate(
    model: LanguageModel,
    prompts: Sequence | None = None,
    sampling: Sampling | None = None,
    *,
    max_new_tokens: int,
    key: jax.Array | None = None,
    stop: Sequence[int] | None = None,
    source: Any = None,
) -> Generated:
    """Continue each prompt, token by token.

    Args:
      model: any `LanguageModel`.
      prompts: a list of sequences of ids, of any lengths, without BOS, which the model is given before each; [] is an empty prompt.
        None: one empty prompt for each key, or a single one.
      sampling: how tokens are chosen; None draws from the model's own distribution.
      max_new_tokens: N, where a row ends that has met no stop token.
      key: `jax.random.key(seed)`, from which row i gets fold_in(key, i), or an array of B keys, one a row. Greedy needs none.
      stop: ids that end a row; None for the model's EOS alone, () for none.
      source: what the model is conditioned on, for models that are.

    Raises:
      EmptyCorpusError: the list of prompts is empty.
      VocabularyError: an id of a prompt or of `stop` is outside the vocabulary.
      ConfigError: a setting out of range, or no key where tokens are drawn.
      NonFiniteError: the model gave NaN or infinite logits, or none that is possible; or warping left nothing to choose from.
    """
    carry, program, start_B = _prepare(model, prompts, sampling, max_new_tokens, key, stop, source)
    carry = program(carry, max_new_tokens)
    _raise_faults(carry)
    return _collect(carry, start_B, start_B, max_new_tokens)


def stream(
    model: LanguageModel,
    prompts: Sequence | None = None,
    sampling: Sampling | None = None,
    *,
    max_new_tokens: int,
    block: int = 16,
    key: jax.Array | None = None,
    stop: Sequence[int] | None = None,
    source: Any = None,
) -> Iterator[Generated]:
    """The same as `generate`, in blocks as they are made: joined row by row, they are what `generate` returns, to the last bit.

    Args:
      block: tokens a block; the first comes when they are made. The other arguments are those of `generate`, and so are its errors.

    Yields:
      A `Generated` of at most `block` new tokens a row, fewer or none for rows that have ended.
    """
    if not isinstance(block, int) or block < 1:
        raise ConfigError(f"block must be a whole number of at least 1, got {block!r}")
    carry, program, start_B = _prepare(model, prompts, sampling, max_new_tokens, key, stop, source)
    return _blocks(carry, program, start_B, max_new_tokens, block)


def _blocks(carry, program, start_B, max_new_tokens, block):
    from_B = start_B
    for made in range(0, max_new_tokens, block):
        carry = program(carry, min(block, max_new_tokens - made))
        _raise_faults(carry)
        piece = _collect(carry, start_B, from_B, block)
        yield piece
        from_B = from_B + piece.lengths
        if np.asarray(carry["done"]).all():
            return


# Before the loop


def check_prompts(model, prompts, stop, max_new_tokens):
    """Prompts as (tokens_BP, lengths_B) and stop tokens as (K,), all checked.

    Raises:
      EmptyCorpusError, ShapeError, VocabularyError, ConfigError: see `generate`.
    """
    if isinstance(prompts, str) or not hasattr(prompts, "__len__"):
        raise ShapeError(f"prompts must be a list of sequences of ids, got {type(prompts).__name__}: encode text with a tokenizer first")
    if not len(prompts):
        raise EmptyCorpusError("the list of prompts is empty: to begin from nothing, give one empty prompt, [[]]")
    if not isinstance(max_new_tokens, (int, np.integer)) or isinstance(max_new_tokens, bool) or max_new_tokens < 1:
        raise ConfigError(f"max_new_tokens must be a whole number of at least 1, got {max_new_tokens!r}")
    rows = []
    for i, prompt in enumerate(prompts):
        if np.ndim(prompt) != 1 or isinstance(prompt, (str, bytes)):
            raise ShapeError(f"prompts[{i}] must be a sequence of ids, got {prompt!r}: prompts are a list of sequences, even of one")
        rows.append(check_ids(prompt, model.vocab_size, f"prompts[{i}]") if len(prompt) else np.zeros(0, np.int32))
    lengths_B = np.array([len(row) for row in rows], np.int32)
    tokens_BP = np.zeros((len(rows), lengths_B.max()), np.int32)
    for tokens_P, row in zip(tokens_BP, rows, strict=True):
        tokens_P[: len(row)] = row
    stop = [model.eos] if stop is None else stop
    if np.ndim(stop) != 1:
        raise ShapeError(f"stop must be a list of ids, () for none, got {stop!r}")
    stop_K = check_ids(stop, model.vocab_size, "stop").astype(np.int32) if len(stop) else np.zeros(0, np.int32)
    return tokens_BP, lengths_B, stop_K


def settings(sampling: Sampling) -> dict[str, float]:
    """The settings in force, as numbers that a program may trace: another temperature is no new program, another set of names is.
    Greedy has temperature 1, since it looks for the greatest and draws nothing."""
    names = ("repetition_penalty", *_WARPERS)
    numbers = {name: float(getattr(sampling, name)) for name in names if getattr(sampling, name) is not None}
    return numbers | ({"temperature": 1.0} if sampling.temperature == 0 else {})


def _row_keys(key, batch):
    """(B,) keys: those given, or fold_in(key, i) for row i."""
    if not (hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ConfigError(f"drawing tokens needs a key, e.g. key=jax.random.key(0), got {key!r}; temperature 0 needs none")
    if key.ndim == 0:
        return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(batch))
    if key.shape != (batch,):
        raise ShapeError(f"key must be one key, or one for each of the {batch} prompts, got keys of shape {key.shape}")
    return key


def _prepare(model, prompts, sampling, max_new_tokens, key, stop, source):
    """Check everything, read the prompts: (carry, program that takes the carry some steps further, length of each prompt)."""
    sampling = Sampling() if sampling is None else sampling
    if not isinstance(sampling, Sampling):
        raise ConfigError(f"sampling must be a Sampling, e.g. Sampling(top_p=0.9), got {sampling!r}")
    if sampling.top_k is not None and sampling.top_k > model.vocab_size:
        raise ConfigError(f"top_k = {sampling.top_k} is more than the vocabulary has, {model.vocab_size}: None keeps every token")
    if prompts is None:
        prompts = [[]] * (key.shape[0] if getattr(key, "ndim", 0) else 1)
    tokens_BP, length_B, stop_K = check_prompts(model, prompts, stop, max_new_tokens)
    B, P = tokens_BP.shape
    greedy = sampling.temperature == 0
    keys_B = jax.random.split(jax.random.key(0), B) if greedy else _row_keys(key, B)  # greedy reads none
    definition, params = split(model)
    state, token_B = read_prompts(definition, P + max_new_tokens, params, tokens_BP, length_B, source)
    text_BT = jnp.pad(tokens_BP, ((0, 0), (0, max_new_tokens)))
    carry = {
        "state": state,
        "token": token_B,
        "text": text_BT,
        "logp": jnp.zeros(text_BT.shape, jnp.float32),
        "length": jnp.asarray(length_B),
        "done": jnp.zeros(B, bool),
        "fault": jnp.zeros(B, jnp.int32),
    }
    if sampling.repetition_penalty is not None:
        seen_BV = np.zeros((B, model.vocab_size), bool)
        for seen_V, tokens_P, length in zip(seen_BV, tokens_BP, length_B, strict=True):
            seen_V[tokens_P[:length]] = True
        carry["seen"] = jnp.asarray(seen_BV)
    fixed, numbers = (greedy, sampling.no_repeat_ngram), settings(sampling)
    return carry, partial(run_block, definition, fixed, params, numbers, keys_B, stop_K), length_B


@partial(jax.jit, static_argnums=(0, 1))
def read_prompts(definition, max_len, params, tokens_BP, length_B, source):
    """Read BOS and all but the last token of each prompt: the state after them, and the token that is to be read next, (B,).

    Args:
      max_len: the longest text there will be, BOS not counted; its last token is not read.
    """
    model = merge(definition, params)
    B, P = tokens_BP.shape
    state = model.init_state(B, max_len=max_len, source=source)
    with_bos = jnp.pad(tokens_BP, ((0, 0), (1, 0)), constant_values=model.bos)
    if P:
        # a row that reads nothing keeps its first state, and no model need handle a length of 0; the logits, large, are never computed
        _, read = model.forward(with_bos[:, :P], state, jnp.maximum(length_B, 1))
        state = jax.tree.map(lambda new, old: jnp.where(length_B.reshape(-1, *[1] * (new.ndim - 1)) > 0, new, old), read, state)
    return state, jnp.take_along_axis(with_bos, length_B[:, None], axis=1)[:, 0]


# The loop


@partial(jax.jit, static_argnums=(0, 1))
def run_block(definition, fixed, params, numbers, keys_B, stop_K, carry, steps):
    """Take every row `steps` tokens further, or to its stop token; the loop ends early when all rows have ended.

    Args:
      fixed: (greedy, no_repeat_ngram).
      numbers: the other settings of `Sampling` that are in force, as numbers.
      carry: what `_prepare` makes.
      steps: how many tokens; traced, so that blocks of all sizes are one program.
    """
    model = merge(definition, params)
    rows = jnp.arange(carry["token"].shape[0])

    def body(loop):
        i, c = loop
        state, logits_BV = model.step(c["state"], c["token"])
        logits_BV = logits_BV.astype(jnp.float32)
        warped_BV = _warp(fixed, numbers, logits_BV, c)
        greedy = fixed[0]
        token_B = warped_BV.argmax(axis=-1) if greedy else jax.vmap(_draw)(keys_B, c["length"], warped_BV)
        token_B = token_B.astype(jnp.int32)
        fault_B = jnp.where(impossible(logits_BV), _MODEL_FAULT, jnp.where(impossible(warped_BV), _NOTHING_LEFT, 0))
        writes_B = ~c["done"] & (fault_B == 0)

        def put(array, value):
            at = jnp.where(writes_B, c["length"], array.shape[1])  # out of bounds is not written
            return array.at[rows, at].set(value, mode="drop")

        logp_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), token_B[:, None], axis=-1)[:, 0]
        new = {
            "state": state,  # that of an ended row is never looked at again
            "token": jnp.where(writes_B, token_B, c["token"]),
            "text": put(c["text"], token_B),
            "logp": put(c["logp"], logp_B),
            "length": c["length"] + writes_B,
            "done": ~writes_B | (token_B[:, None] == stop_K[None, :]).any(axis=-1),
            "fault": jnp.where(c["done"], c["fault"], fault_B),
        }
        if "seen" in c:
            new["seen"] = c["seen"].at[rows, token_B].max(writes_B)
        return i + 1, new

    return jax.lax.while_loop(lambda loop: (loop[0] < steps) & ~loop[1]["done"].all(), body, (0, carry))[1]


def impossible(logits_BV):
    """True for the rows that are no distribution: NaN or +inf somewhere, or -inf everywhere, (B,)."""
    return ~jnp.isfinite(logits_BV.max(axis=-1))  # max takes NaN along


def _draw(key, place, logits_V):
    return jax.random.categorical(jax.random.fold_in(key, place), logits_V)


def _warp(fixed, numbers, logits_BV, c):
    _, n = fixed
    if "repetition_penalty" in numbers:
        logits_BV = warpers.repetition_penalty(logits_BV, c["seen"], numbers["repetition_penalty"])
    if n is not None:
        logits_BV = warpers.no_repeat_ngram(logits_BV, c["text"], c["length"], n)
    return reshape(logits_BV, numbers)


_WARPERS = {  # in the order in which they are applied
    "temperature": warpers.temperature,
    "top_k": warpers.top_k,
    "top_p": warpers.nucleus,
    "min_p": warpers.min_p,
    "typical_p": warpers.typical,
}


def reshape(logits, numbers: dict):
    """Logits (…, V) after temperature and truncation, those of `settings`; what looks at the text, control of repetition, is left out."""
    for name, warp in _WARPERS.items():
        if name in numbers:
            logits = warp(logits, numbers[name])
    return logits


# After it


def _raise_faults(carry):
    fault_B = np.asarray(carry["fault"])
    if not fault_B.any():
        return
    row = int(np.flatnonzero(fault_B)[0])
    place = f"token {int(carry['length'][row])} of row {row} (the prompt counted)"
    if fault_B[row] == _NOTHING_LEFT:
        raise NonFiniteError(f"no token is left to choose from at {place}: no_repeat_ngram rules out every one that is possible; raise it")
    raise NonFiniteError(
        f"the model gives no distribution at {place}: its logits are NaN or infinite, or no token is possible. "
        "Has training diverged, or does an unsmoothed model meet a context that it has never seen?"
    )


def _collect(carry, start_B, from_B, width):
    """The tokens of each row from place `from_B` on, at the left of (B, width) arrays."""
    text_BT, logp_BT, length_B = (np.asarray(carry[name]) for name in ("text", "logp", "length"))
    at = from_B[:, None] + np.arange(width)
    real, at = at < length_B[:, None], np.minimum(at, text_BT.shape[1] - 1)
    tokens, logp = (np.where(real, np.take_along_axis(array, at, axis=1), 0) for array in (text_BT, logp_BT))
    return Generated(tokens, (length_B - from_B).astype(np.int32), logp.astype(np.float32))


def _example():
    from flax import nnx

    from lmlib.models.bigram import Bigram, BigramConfig

    model = Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0))
    sampling = Sampling(0.8, 3, 0.9, 0.01, 0.9, 1.2, 4)
    carry, program, _ = _prepare(model, [[1, 2], []], sampling, 4, jax.random.key(0), None, None)
    return *program.args, carry, 4


def _prompt_example():
    from flax import nnx

    from lmlib.models.hmm import HMM, HMMConfig

    definition, params = split(HMM(HMMConfig.tiny(), rngs=nnx.Rngs(0)))
    return definition, 6, params, jnp.zeros((2, 3), jnp.int32), jnp.array([3, 0]), None


programs.register("generate.run_block", run_block, _example)
programs.register("generate.read_prompts", read_prompts, _prompt_example)

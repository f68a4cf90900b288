"""What every language model can do, and the boundary to flax.

One protocol serves counted and trained models alike, so that `generate`, `perplexity` and the tables that compare models are written once.
A model is an `nnx.Module`: an object that owns its arrays. Compiled programs take it in two parts, a definition (static, hashable) and the
parameters (a plain nested dict of arrays), which `split` and `merge` turn into one another; no other file calls `nnx.split` or `nnx.merge`,
and nothing uses `nnx.jit` or `nnx.Optimizer`. Where a step is measured, this boundary is the fastest that flax offers.

Dropout holds no random numbers, which would put a key among the parameters: it is made as `nnx.Dropout(rate)` and called as
`dropout(x, deterministic=key is None, rngs=key)`. A model that is called without a key is the model without dropout.

Shapes: B batch, L time, V vocabulary.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from lmlib.arrays import length_mask
from lmlib.errors import ShapeError


class LanguageModel(Protocol):
    """The signatures that every language model has, as an `nnx.Module`.

    A sequence is generated, and scored, after `bos` and ends with `eos`. The two are ids of the vocabulary and may be the same one.
    The state is what a model keeps of the tokens it has read: a tree of arrays that all lead with the batch axis, so that beam search
    reorders it with one gather.
    """

    vocab_size: int  # V
    bos: int
    eos: int

    def init_state(self, batch: int, *, max_len: int, source: Any = None) -> Any:
        """The state before the first token.

        Args:
          batch: B.
          max_len: the longest sequence that will be read, BOS included; a model with a cache makes room for it.
          source: what the sequence is conditioned on (e.g. an encoded sentence), for models that are.
        """

    def step(self, state: Any, token_B: jax.Array) -> tuple[Any, jax.Array]:
        """Read one token: the new state and the logits of the next token, (B, V)."""

    def forward(
        self, tokens_BL: jax.Array, state: Any = None, lengths: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """Read L tokens at once: training, reading a prompt, truncated backpropagation through time.

        Args:
          tokens_BL: ids. BOS is not added: where a sequence begins, the caller puts it first.
          state: of `init_state` or of an earlier call; None begins anew.
          lengths: (B,), how many tokens of each row are real; None for all. The state returned is that after `lengths` tokens.
          key: randomness of dropout; None turns dropout off.

        Returns:
          Logits (B, L, V) and the state. The logits at t are those of the token at t + 1 and depend on no token after t.
        """

    def score(self, tokens_BL: jax.Array, lengths: jax.Array) -> jax.Array:
        """Log-probability (nats) of each token given those before it, (B, L); 0 at and beyond `lengths`.

        Rows hold a sequence without BOS. A row that ends with EOS is scored as a complete sequence, any other as a prefix.
        """


@dataclass(frozen=True)
class Definition:
    """A model without its numbers: static under `jax.jit`."""

    graphdef: nnx.GraphDef
    leaves: tuple[tuple[str, tuple[int, ...]], ...]  # name and shape of each parameter


def split(model: nnx.Module) -> tuple[Definition, dict]:
    """A model as (definition, params): the definition is hashable, params a plain nested dict of arrays.

    The dict is named as the attributes are, e.g. {"embed": {"embedding": (V, D)}}; blocks in an `nnx.List` get integers as names.
    """
    graphdef, state = nnx.split(model)
    params = nnx.to_pure_dict(state)
    return Definition(graphdef, _leaves(params)), params


def merge(definition: Definition, params: dict) -> nnx.Module:
    """The model of a definition and its parameters, which may be tracers; the inverse of `split`.

    Raises:
      ShapeError: names or shapes are not those of the definition. (`nnx.merge` alone goes by position and takes any names and shapes.)
    """
    leaves = _leaves(params)
    if leaves != definition.leaves:
        want, have = dict(definition.leaves), dict(leaves)
        wrong = [f"{name}: {have.get(name, 'absent')} for {want.get(name, 'no such parameter')}" for name in want | have]
        wrong = [text for text, name in zip(wrong, want | have, strict=True) if want.get(name) != have.get(name)]
        raise ShapeError(f"these parameters are not the model's: {'; '.join(wrong)}")
    return nnx.merge(definition.graphdef, params)


def _leaves(params):
    flat, _ = jax.tree.flatten_with_path(params)
    return tuple((jax.tree_util.keystr(path, simple=True, separator="/"), tuple(leaf.shape)) for path, leaf in flat)


@partial(jax.jit, static_argnums=(0, 1))
def call(definition, method, params, *args):
    """Compiled `model.method(*args)` for a model in two parts; programs are shared by all models of one definition."""
    return getattr(merge(definition, params), method)(*args)


def compiled(model: nnx.Module, method: str):
    """A method of a model, compiled: `compiled(model, "score")(tokens_BL, lengths_B)`. Later changes to the model are not seen."""
    definition, params = split(model)
    return partial(call, definition, method, params)


def shift_right(tokens_BL, bos: int):
    """What a model reads to predict `tokens_BL`: BOS, then all but the last token."""
    return jnp.pad(tokens_BL[:, :-1], ((0, 0), (1, 0)), constant_values=bos)


def token_logp(logits_BLV, tokens_BL):
    """Log-probability (nats, float32) that softmax(logits) gives to each token, (B, L)."""
    logits_BLV = logits_BLV.astype(jnp.float32)  # a sum over a large vocabulary loses too much in half precision
    logits_BLV = logits_BLV - jax.lax.stop_gradient(logits_BLV.max(axis=-1, keepdims=True))  # else large logits cost digits
    chosen_BL = jnp.take_along_axis(logits_BLV, tokens_BL[..., None], axis=-1)[..., 0]
    return chosen_BL - jnp.log(jnp.exp(logits_BLV).sum(axis=-1))


def score_by_forward(model: LanguageModel, tokens_BL, lengths_B):
    """`score` of any model whose logits fit into memory."""
    logits_BLV, _ = model.forward(shift_right(tokens_BL, model.bos), lengths=lengths_B)
    return jnp.where(length_mask(lengths_B, tokens_BL.shape[1]), token_logp(logits_BLV, tokens_BL), 0.0)

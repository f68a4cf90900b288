"""Neural bigram language model: the next token is predicted from the last one alone.

    p(x_t | x_{t-1}) = softmax(W e(x_{t-1}) + b)

Bengio et al. 2003, "A Neural Probabilistic Language Model" (JMLR 3), equation 1, with a context of one word, no hidden layer (W only,
their direct connections) and biases; Karpathy's makemore begins with the same model. The best that any model of this form can reach on a
text is known: the empirical conditional entropy H(x_t | x_{t-1}) (`lmlib.measure.perplexity.bigram_entropy`), attained, in the limit, as
soon as the rank of the logits does not bind (d_model ≥ V - 1 is always enough). So a reader sees whether training has arrived.

Left out on purpose: longer contexts, which belong to the n-gram and recurrent models.

Shapes: B batch, L time, D embedding, V vocabulary.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx

from lmlib import programs
from lmlib.errors import ConfigError
from lmlib.models.base import call, score_by_forward, split


@dataclass(frozen=True)
class BigramConfig:
    """The model's size. `bos` and `eos` are ids of the vocabulary; one separator may serve as both, as in GPT-2."""

    vocab_size: int  # V
    d_model: int = 64  # D
    bos: int = 0
    eos: int = 0

    def __post_init__(self):
        for name, value in (("vocab_size", self.vocab_size), ("d_model", self.d_model)):
            if value < 1:
                raise ConfigError(f"BigramConfig.{name} must be at least 1, got {value}")
        for name, value in (("bos", self.bos), ("eos", self.eos)):
            if not 0 <= value < self.vocab_size:
                raise ConfigError(f"BigramConfig.{name} must be an id of the vocabulary, 0 … {self.vocab_size - 1}, got {value}")

    @classmethod
    def tiny(cls, vocab_size=5, **fields):
        """For tests."""
        return cls(vocab_size, **{"d_model": 4, **fields})

    @classmethod
    def small(cls, vocab_size, **fields):
        """For a laptop: characters of a small text to near their bigram entropy in seconds."""
        return cls(vocab_size, **{"d_model": 64, **fields})


class Bigram(nnx.Module):
    """A `LanguageModel` whose state is empty, since the token at hand is all it looks at."""

    def __init__(self, config: BigramConfig, *, rngs: nnx.Rngs):
        self.vocab_size, self.bos, self.eos = config.vocab_size, config.bos, config.eos
        self.embed = nnx.Embed(config.vocab_size, config.d_model, rngs=rngs)
        self.out = nnx.Linear(config.d_model, config.vocab_size, rngs=rngs)

    def init_state(self, batch, *, max_len, source=None):
        """An empty state."""
        return {}

    def step(self, state, token_B):
        """Logits (B, V) of the token after `token_B`."""
        return state, self.out(self.embed(token_B))

    def forward(self, tokens_BL, state=None, lengths=None, *, key=None):
        """Logits (B, L, V), each from its own token alone."""
        return self.out(self.embed(tokens_BL)), {} if state is None else state

    def score(self, tokens_BL, lengths):
        """Log-probability (nats) of each token after the one before it, (B, L); the first follows BOS."""
        return score_by_forward(self, tokens_BL, lengths)


def _example(method, *args):
    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    return definition, method, params, *args


programs.register("bigram.step", call, lambda: _example("step", {}, jnp.zeros(2, jnp.int32)))
programs.register("bigram.forward", call, lambda: _example("forward", jnp.zeros((2, 3), jnp.int32)))
programs.register("bigram.score", call, lambda: _example("score", jnp.zeros((2, 3), jnp.int32), jnp.full(2, 3)))

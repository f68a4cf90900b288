"""word2vec with the full softmax: skip-gram and CBOW as they are written, for small vocabularies.

Mikolov, Chen, Corrado, Dean 2013 (arXiv 1301.3781), section 3; Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv 1310.4546), equation 2:

  p(o | x) = exp(u_o . x) / sum_w exp(u_w . x) ,

where x is the vector of the centre and o a word around it (skip-gram), or x the mean of the vectors around and o the centre (CBOW). Every
word of the vocabulary takes part in every prediction: V products where negative sampling takes a few. It is here to be compared with
what replaces it, on a vocabulary of at most some thousand words: a step holds N B V numbers.

Words that stay, windows and blocks are those of `windows`. The gradient is left to JAX.

Shapes: V vocabulary, D dimension (in the tables rounded up, see `windows.init_table`), N blocks a step, B centres a block,
S span of a block = B + 2 window.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from lmlib.errors import ConfigError, nearest
from lmlib.models import windows
from lmlib.programs import register

ARCHITECTURES = ("skip-gram", "cbow")


@dataclass(frozen=True)
class SoftmaxConfig:
    """word2vec with the full softmax; steps are short, for texts of some ten thousand words and more."""

    architecture: str = "skip-gram"  # or "cbow"
    dimension: int = 50  # D, length of a vector
    window: int = 5  # largest distance, see `windows.window_weights`; for CBOW each centre draws its own from 1 … window
    subsample: float = 0.0  # t of equation 5 of arXiv 1310.4546; 0 keeps every word
    learning_rate: float = 0.1  # at the beginning; it falls linearly over the run
    final_learning_rate: float = 1e-5  # it falls no lower
    epochs: int = 5  # passes over the corpus
    block: int = 8  # B, neighbouring centres
    blocks: int = 8  # N, blocks a step
    cap: float = 8.0  # predictions a step that a row may take part in at the full learning rate

    def __post_init__(self):
        windows.check_config(self, "cap")
        if self.architecture not in ARCHITECTURES:
            near = nearest(self.architecture, ARCHITECTURES)
            raise ConfigError(f"SoftmaxConfig.architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}{near}")

    @classmethod
    def tiny(cls, **changes):
        """For tests: seconds."""
        return cls(**{"dimension": 16} | changes)


def softmax_loss(input_D, output_VD, word):
    """Loss of one prediction: -log p(word | x), the negative log of equation 2 (arXiv 1310.4546).

    Args:
      input_D: x, the centre's vector (skip-gram) or the mean of those around it (CBOW).
      output_VD: u, the output vectors of all words.
      word: the id of the word that stands there.

    Returns:
      A scalar, in nats.
    """
    return -jax.nn.log_softmax(output_VD @ input_D)[word]


def sampling_tables(config, counts_V):
    """What a step must know of the vocabulary: chances to keep a token, and each row's share of the rate (see `word2vec`)."""
    tables, kept_V = windows.word_tables(config, counts_V)
    inputs = config.block * config.blocks * (config.window + 1)  # words in windows a step, by their weights
    outputs = inputs if config.architecture == "skip-gram" else config.block * config.blocks
    return tables | {"share": windows.shares(config.cap, {"input": inputs * kept_V, "output": outputs * kept_V})}


def init_params(config, vocab_size, key):
    """{"input", "output"}: uniform in ±0.5/D and zero; (V, D) with D rounded up, see `windows.init_table`."""
    return {"input": windows.init_table(config, vocab_size, key), "output": windows.init_table(config, vocab_size, None)}


def init_state(config, vocab_size, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`."""
    return windows.initial_state(init_params(config, vocab_size, key))


def input_vectors(config, params):
    """The input vectors, (V, D) float32 on the host: what is usually called the word vectors."""
    return windows.vectors_of(config, params["input"])


def draw(config, tables, batch, key):
    """Draw everything random about a chunk, which tokens stay and each centre's window: see `windows.draw_windows`."""
    key_keep, key_radius = jax.random.split(key)
    return windows.draw_windows(config, tables, batch, key_keep, key_radius if config.architecture == "cbow" else None)


def loss_and_count(config, params, drawn, i):
    """The summed loss of step i of a drawn chunk, in nats, and of how many predictions: pairs, by their weight (skip-gram), or centres."""
    _, tokens_NS, left_NB, right_NB = windows.spans_of(config, drawn, i)
    centre_NB = tokens_NS[:, config.window : config.window + config.block]
    if config.architecture == "skip-gram":
        x_NBD, weight_NSB = params["input"][centre_NB], windows.window_weights(config, left_NB, right_NB)
        log_p_NBV = jax.nn.log_softmax(jnp.einsum("nbd,vd->nbv", x_NBD, params["output"]))
        log_p_NBS = jnp.take_along_axis(log_p_NBV, jnp.maximum(tokens_NS, 0)[:, None, :], axis=2)
        return -(jnp.swapaxes(weight_NSB, 1, 2) * log_p_NBS).sum(), weight_NSB.sum()
    inside_NBS, size_NB = jnp.swapaxes(windows.band(config, left_NB, right_NB), 1, 2).astype(jnp.float32), left_NB + right_NB
    x_NBD = jnp.einsum("nbs,nsd->nbd", inside_NBS, params["input"][tokens_NS]) / jnp.maximum(size_NB, 1)[:, :, None]
    log_p_NBV = jax.nn.log_softmax(jnp.einsum("nbd,vd->nbv", x_NBD, params["output"]))
    log_p_NB = jnp.take_along_axis(log_p_NBV, jnp.maximum(centre_NB, 0)[:, :, None], axis=2)[:, :, 0]
    return -((size_NB > 0) * log_p_NB).sum(), (size_NB > 0).sum()


def step_update(config, tables, params, drawn, i, rate):
    """One step of gradient descent on the summed loss of the blocks of step i, each row with its own rate.

    Args:
      config, tables: as for `draw`.
      params: {"input", "output"}, (V, D) each.
      drawn: from `draw`.
      i: number of the step within the chunk, below `windows.steps_in`.
      rate: the learning rate before it is lowered for frequent words.

    Returns:
      The new params.
    """
    gradient = jax.grad(lambda p: loss_and_count(config, p, drawn, i)[0])(params)
    return {name: table - rate * tables["share"][name][:, None] * gradient[name] for name, table in params.items()}


def step_loss(config, tables, params, drawn, i):
    """Mean loss of a prediction, in nats, over the blocks of step i."""
    loss, count = loss_and_count(config, params, drawn, i)
    return loss / jnp.maximum(count, 1)


METHOD = windows.Method("input", draw, step_update, step_loss)
train_chunk = partial(windows.train_chunk, METHOD)

make_step = partial(windows.make_step, METHOD, sampling_tables)


def _example():
    return windows.example(SoftmaxConfig.tiny(), sampling_tables, lambda config, key: init_state(config, 20, key))


register("softmax.train_chunk", jax.jit(train_chunk, static_argnums=(0, 2)), _example)

"""What can a model still say, once its distribution is reshaped for drawing?

A sample shows what a model writes; it does not show what it can no longer write. Cut off the tail of every distribution, and the sentences
get better one by one, while others, as good, become impossible. Sajjadi et al. 2018, "Assessing Generative Models via Precision and Recall"
(arXiv 1806.00035), name the two sides: how much of what is generated could be real, and how much of what is real can be generated. The
first needs a judge of generated text; the second is exact, and measured here: the share of real sequences of which no token is ruled out.

Shapes: B batch, L time, N places of a text, V vocabulary.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmlib import programs
from lmlib.arrays import length_mask
from lmlib.errors import ConfigError, EmptyCorpusError, check_ids, check_shape
from lmlib.generate import Sampling, reshape, settings
from lmlib.models.base import LanguageModel, call, merge, shift_right, split, token_logp
from lmlib.text.batches import pad


@dataclass(frozen=True)
class Reach:
    """Of `sequences` real sequences, how many can be drawn, and of their `tokens`, how many could be drawn where they stand."""

    sequences: int
    reached: int
    tokens: int
    reached_tokens: int

    @property
    def share(self) -> float:
        """Of the sequences: recall."""
        return self.reached / self.sequences

    @property
    def share_of_tokens(self) -> float:
        return self.reached_tokens / self.tokens


def reach(model: LanguageModel, batches: Iterable[dict], sampling: Sampling) -> Reach:
    """Which real sequences could be drawn, given how tokens are chosen.

    Args:
      model: any `LanguageModel`.
      batches: {"tokens": (B, L), "lengths": (B,)}: whole sequences, padded, without BOS; rows of length 0 only fill up a batch.
      sampling: temperature and truncation. Whether a token repeats another is no matter of the distribution, so control of repetition, and
        greedy, which can say one sequence only, are refused.

    Raises:
      ConfigError: the sampling is greedy or controls repetition.
      VocabularyError: an id outside the model's vocabulary.
      EmptyCorpusError: there is no token.
    """
    numbers = _numbers(sampling)
    definition, params = split(model)
    found = np.zeros(4, np.int64)
    for i, batch in enumerate(batches):
        tokens_BL, lengths_B = check_ids(batch["tokens"], model.vocab_size, f"batch {i}: tokens"), np.asarray(batch["lengths"])
        logp_BL = np.asarray(score_reshaped(definition, params, numbers, tokens_BL, lengths_B))
        can_BL = np.isfinite(logp_BL) & (np.arange(tokens_BL.shape[1]) < lengths_B[:, None])
        can_B = can_BL.sum(axis=1)
        found += ((lengths_B > 0).sum(), ((can_B == lengths_B) & (lengths_B > 0)).sum(), lengths_B.sum(), can_B.sum())
    if not found[2]:
        raise EmptyCorpusError("there is no token: which sequences can be drawn needs at least one")
    return Reach(*(int(n) for n in found))


def places(model: LanguageModel, sentences: Iterable[str], tokenizer, next_words):
    """The different places in some sentences, what a model says there, and what is possible there.

    Args:
      model: reads words of the tokenizer.
      sentences: words between single spaces, all of them known to the tokenizer.
      tokenizer: a `WordTokenizer`.
      next_words: a function from the beginning of a sentence to the words that may come next, e.g. `lmlib.text.world.World().next_words`;
        those that the tokenizer does not know (the end of the sentence, if it is none of its tokens) are left out.

    Returns:
      logits_NV, possible_NV (bool): a row for each different beginning of a sentence, the empty one included, in the order of the text.
    """
    texts = [sentence.split(" ") for sentence in sentences]
    beginnings = list(dict.fromkeys(" ".join(text[:t]) for text in texts for t in range(len(text))))
    lengths_N = np.array([1 + len(beginning.split()) for beginning in beginnings])
    tokens_NL, _ = pad([[model.bos, *tokenizer.encode(beginning)] for beginning in beginnings], lengths_N.max())
    definition, params = split(model)
    logits_NLV, _ = call(definition, "forward", params, tokens_NL)
    possible_NV = np.zeros((len(beginnings), model.vocab_size), bool)
    for row_V, beginning in zip(possible_NV, beginnings, strict=True):
        row_V[[tokenizer.index[word] for word in next_words(beginning) if word in tokenizer.index]] = True
    return np.asarray(logits_NLV)[np.arange(len(beginnings)), lengths_N - 1], possible_NV


def kept(logits_NV, possible_NV, ways: Mapping[str, Sampling]):
    """What is left of some distributions, where it is known which tokens are possible.

    Args:
      logits_NV: a model's logits at N places.
      possible_NV: bool, which tokens may really stand there; at least one at each place.
      ways: samplings by name; of each, temperature and truncation.

    Returns:
      A DataFrame with a row for each way and place: way, place, possible (how many tokens are), kept (how many can be drawn), wrong (the
      probability that an impossible one is drawn), lost (how many possible ones are ruled out).

    Raises:
      ConfigError: a sampling is greedy or controls repetition.
    """
    import pandas as pd

    possible_NV = np.asarray(check_shape(possible_NV, np.shape(logits_NV), "possible_NV"), bool)
    frames = []
    for way, sampling in ways.items():
        p_NV = np.asarray(jax.nn.softmax(reshape(jnp.asarray(logits_NV, jnp.float32), _numbers(sampling))), np.float64)
        columns = {"possible": possible_NV.sum(axis=1), "kept": (p_NV > 0).sum(axis=1), "wrong": np.sum(p_NV, axis=1, where=~possible_NV)}
        columns["lost"] = (possible_NV & (p_NV == 0)).sum(axis=1)
        frames.append(pd.DataFrame({"way": way, "place": np.arange(len(p_NV))} | columns))
    return pd.concat(frames, ignore_index=True)


def _numbers(sampling):
    """The settings of a sampling that looks at the distribution alone."""
    if sampling.temperature == 0 or sampling.repetition_penalty is not None or sampling.no_repeat_ngram is not None:
        raise ConfigError(f"only drawing by temperature and truncation leaves a distribution to look at, got {sampling}")
    return settings(sampling)


@partial(jax.jit, static_argnums=0)
def score_reshaped(definition, params, numbers, tokens_BL, lengths_B):
    """Log-probability (nats) of each token under the reshaped distribution, -inf where it is ruled out, 0 at and beyond `lengths`: (B, L).

    Args:
      numbers: of `lmlib.generate.settings`.
    """
    model = merge(definition, params)
    logits_BLV, _ = model.forward(shift_right(tokens_BL, model.bos), lengths=lengths_B)
    logp_BL = token_logp(reshape(logits_BLV.astype(jnp.float32), numbers), tokens_BL)
    return jnp.where(length_mask(lengths_B, tokens_BL.shape[1]), logp_BL, 0.0)


def _example():
    from flax import nnx

    from lmlib.models.bigram import Bigram, BigramConfig

    definition, params = split(Bigram(BigramConfig.tiny(), rngs=nnx.Rngs(0)))
    mild = settings(Sampling(0.8, 1000, 0.9999, 1e-6, 0.9999))  # rules nothing out, so that all is finite
    return definition, params, mild, jnp.zeros((2, 3), jnp.int32), jnp.array([3, 2])


programs.register("writing.score_reshaped", score_reshaped, _example)

"""fastText's classifier: a text is the mean of the vectors of its words and word n-grams, and a linear softmax tells its label.

Joulin, Grave, Bojanowski, Mikolov 2016, "Bag of Tricks for Efficient Text Classification" (EACL 2017, arXiv 1607.01759). For a text with
features x (words, and pairs of neighbours hashed into buckets),

    h = (1/n) sum_i E[x_i],   p(label) = softmax(W h),   loss = -log p(label)

trained by plain gradient descent whose rate falls linearly to zero. As in the authors' program, E starts uniform in ±1/H, W at zero, and
there are no biases; unlike there, a step takes a batch and moves by the sum of its gradients (so rates have the same meaning), and hashed
buckets that no training text uses have no vector, since it would be random: features never seen are left out.

Left out on purpose: the hierarchical softmax, which pays only where there are thousands of labels.

Shapes: B batch, N room for the features of its texts, H hidden size, F features, C labels.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lmlib.arrays import all_finite, initial_state
from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError
from lmlib.programs import register
from lmlib.text.batches import Batches, permutation
from lmlib.text.subwords import ft_hash
from lmlib.text.tokenizers import WordTokenizer

MULTIPLIER = np.uint64(116049371)  # of the authors' program, where it makes one hash of several words
GRAIN = 256  # features; the room of a batch is a multiple of it


@dataclass(frozen=True)
class TextClassifierConfig:
    """fastText's classifier. The defaults are for some thousand short texts."""

    hidden: int = 10  # H, length of a vector
    ngrams: int = 2  # longest word n-gram; 1 takes words alone
    buckets: int = 10_000_000  # that n-grams of two words and more are hashed into
    min_count: int = 1  # drop words that occur less often
    normalisation: str = "lower"  # see `lmlib.text.tokenizers.WordTokenizer`
    segmentation: str = "punctuation"
    learning_rate: float = 0.25  # at the beginning; it falls linearly to zero
    epochs: int = 20  # passes over the texts
    batch_size: int = 16  # B

    def __post_init__(self):
        for name in ("hidden", "ngrams", "buckets", "min_count", "learning_rate", "epochs", "batch_size"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"TextClassifierConfig.{name} must be positive, got {getattr(self, name)}")

    @classmethod
    def tiny(cls, **changes):
        """For tests."""
        return cls(**{"hidden": 4, "epochs": 5, "buckets": 1000} | changes)

    @classmethod
    def paper(cls, **changes):
        """Section 3.1 of arXiv 1607.01759: 10 hidden units, bigrams in 10 M buckets, 5 epochs, a rate chosen from 0.05, 0.1, 0.25, 0.5."""
        return cls(**{"epochs": 5} | changes)


class TextFeatures:
    """What a text is made of: the numbers of its words, then of its hashed word n-grams; fitted to the training texts.

    Attributes:
      tokenizer: the WordTokenizer of the training texts; words that it does not know are dropped before n-grams are made.
      buckets: (K,) uint64, the buckets that the training texts use, rising; number i of them is feature len(tokenizer.words) + i.
      size: F, the number of features.
    """

    def __init__(self, config, texts):
        """Count the words and n-grams of the training texts; EmptyCorpusError if there are none."""
        texts = list(texts)
        self.config = config
        kind = {"normalisation": config.normalisation, "segmentation": config.segmentation}
        self.tokenizer = WordTokenizer.train(texts, min_count=config.min_count, unk=None, **kind)
        self._hash_V = np.array([ft_hash(word) for word in self.tokenizer.words], np.uint32).view(np.int32).astype(np.int64).view(np.uint64)
        hashed = [self._hashed(ids) for ids in self.tokenizer.encode_batch(texts)]
        self.buckets = np.unique(np.concatenate(hashed))
        self.size = len(self.tokenizer.words) + len(self.buckets)

    def encode(self, texts):
        """The features of each text: a list of (n,) int32, among them empty ones where a text has nothing known."""
        found, first = [], len(self.tokenizer.words)
        for ids in self.tokenizer.encode_batch(list(texts)):
            hashed = self._hashed(ids)
            at = np.searchsorted(self.buckets, hashed)
            known = at < len(self.buckets)
            known[known] = self.buckets[at[known]] == hashed[known]
            found.append(np.concatenate([ids, first + at[known]]).astype(np.int32))
        return found

    def _hashed(self, ids):
        """The buckets of the n-grams of two words and more, (n,) uint64."""
        hash_L, grams = self._hash_V[ids], []
        h = hash_L
        for n in range(2, self.config.ngrams + 1):
            h = h[:-1] * MULTIPLIER + hash_L[n - 1 :]
            grams.append(h % np.uint64(self.config.buckets))
        return np.concatenate(grams) if grams else np.zeros(0, np.uint64)


def pack(features, batch_size, room):
    """A batch of texts, which differ much in length: their features one after the other, so that nearly nothing is padding.

    Args:
      features: of `TextFeatures.encode`, of at most B texts.
      batch_size: B.
      room: N, at least as many as there are features.

    Returns:
      {"tokens" (N,), "rows" (N,), "lengths" (B,)}, int32: each feature, the number of its text, and how many features a text has. What is
      left of N has the row B, what is left of B the length 0.
    """
    lengths = np.zeros(batch_size, np.int32)
    lengths[: len(features)] = [len(one) for one in features]
    tokens, rows = np.zeros(room, np.int32), np.full(room, batch_size, np.int32)
    used = lengths.sum()
    tokens[:used] = np.concatenate([*features, np.zeros(0, np.int32)])
    rows[:used] = np.repeat(np.arange(batch_size), lengths)
    return {"tokens": tokens, "rows": rows, "lengths": lengths}


def room_of(lengths, batch_size):
    """N, rounded up so that there are few shapes: room for each batch of texts of these lengths, which come in this order."""
    longest = np.add.reduceat(lengths, np.arange(0, len(lengths), batch_size)).max()
    return -(-int(longest) // GRAIN) * GRAIN


class LabelledBatches(Batches):
    """`batches[step]` is what `pack` makes of B texts, and "labels" (B,): a pure function of features, labels, seed and step.

    Every text comes once an epoch, in a new order. All batches of an epoch are of one shape, so that it is one call; that of another epoch
    may have room for a longer batch.

    Args:
      features: of `TextFeatures.encode`; texts without any are left out, since nothing can be learnt from them.
      labels: whole numbers 0 … C - 1, one a text.
      batch_size: B.
      seed: of the order.
    """

    def __init__(self, features, labels, batch_size, seed=0):
        if len(features) != len(labels):
            raise ShapeError(f"{len(features)} texts have {len(labels)} labels: one label a text is needed")
        kept = [i for i, one in enumerate(features) if len(one)]
        if not kept:
            raise EmptyCorpusError("no text has a known word or n-gram: nothing to train on")
        self.batch_size, self._features = batch_size, [features[i] for i in kept]
        self._labels, self._lengths = np.asarray(labels, np.int32)[kept], np.array([len(one) for one in self._features])
        self._epoch, self._room = None, None
        super().__init__(-(-len(kept) // batch_size), seed)

    def _batch(self, epoch, i):
        order = permutation(len(self._features), self.seed, epoch)
        if self._epoch != epoch:
            self._epoch, self._room = epoch, room_of(self._lengths[order], self.batch_size)
        index = order[i * self.batch_size : (i + 1) * self.batch_size]
        labels = np.pad(self._labels[index], (0, self.batch_size - len(index)))
        return pack([self._features[j] for j in index], self.batch_size, self._room) | {"labels": labels}


def init_state(config, size, labels, steps, key):
    """The state of a run before step 0, for `lmlib.learn.train.fit`.

    Rate and length of the run stand in it ("opt_state"), so that runs that differ in nothing else are one compiled program.

    Args:
      config: a TextClassifierConfig.
      size: F, `TextFeatures.size`.
      labels: C.
      steps: of the whole run, config.epochs * len(batches): the rate falls to zero over them.
      key: a random key.
    """
    embedding_FH = jax.random.uniform(key, (size, config.hidden), minval=-1 / config.hidden, maxval=1 / config.hidden)
    schedule = {"learning_rate": jnp.float32(config.learning_rate), "steps": jnp.int32(steps)}
    return initial_state({"embedding": embedding_FH, "weight": jnp.zeros((config.hidden, labels))}, schedule)


def text_vectors(params, batch):
    """The mean of the features' vectors of each text, (B, H), and the weight of each feature in it, (B, N); zeros for a text without."""
    own_BN = batch["rows"][None, :] == jnp.arange(len(batch["lengths"]))[:, None]
    weight_BN = own_BN / jnp.maximum(batch["lengths"], 1)[:, None]
    return weight_BN @ params["embedding"][batch["tokens"]], weight_BN


@jax.jit
def log_probabilities(params, batch):
    """log p(label | text) in nats, (B, C)."""
    return jax.nn.log_softmax(text_vectors(params, batch)[0] @ params["weight"])


def loss(params, batch):
    """The summed loss of a batch in nats; rows of length 0 have none."""
    logp_BC = log_probabilities(params, batch)
    return -jnp.where(batch["lengths"] > 0, jnp.take_along_axis(logp_BC, batch["labels"][:, None], axis=1)[:, 0], 0).sum()


def train_step(state, batch, key):
    """One step of gradient descent on the summed loss of a batch, written out so that only the rows that it needs are touched.

    Args:
      state, batch, key: as `lmlib.learn.train.fit` hands them over; nothing is random.

    Returns:
      The new state, and metrics: the mean loss of a text in nats and the learning rate. A step whose numbers are not finite, or with a
      feature or label that is not there, changes nothing but `step` and `skipped`.
    """
    params, real_B = state["params"], batch["lengths"] > 0
    size, labels = params["embedding"].shape[0], params["weight"].shape[1]
    rate = state["opt_state"]["learning_rate"] * jnp.maximum(1 - state["step"] / state["opt_state"]["steps"], 0)
    h_BH, weight_BN = text_vectors(params, batch)
    logp_BC = jax.nn.log_softmax(h_BH @ params["weight"])
    chosen_BC = batch["labels"][:, None] == jnp.arange(labels)[None, :]
    error_BC = jnp.where(real_B[:, None], jnp.exp(logp_BC) - chosen_BC, 0)  # gradient by the logits
    dw_HC, dh_BH = h_BH.T @ error_BC, error_BC @ params["weight"].T

    mean_loss = -jnp.sum(logp_BC, where=chosen_BC & real_B[:, None]) / jnp.maximum(real_B.sum(), 1)
    known = jnp.all((batch["tokens"] >= 0) & (batch["tokens"] < size)) & jnp.all((batch["labels"] >= 0) & (batch["labels"] < labels))
    sound = known & all_finite((mean_loss, dw_HC, dh_BH))
    rows_NH = jnp.where(sound, -rate * weight_BN.T @ dh_BH, 0)
    new = {
        "embedding": params["embedding"].at[batch["tokens"]].add(rows_NH),
        "weight": params["weight"] - jnp.where(sound, rate * dw_HC, 0),
    }
    state = state | {"params": new, "step": state["step"] + 1, "skipped": state["skipped"] + ~sound}
    return state, {"loss": jnp.where(known, mean_loss, jnp.nan), "learning_rate": rate}


def predict(params, features, batch_size=256):
    """log p(label | text) of many texts, (texts, C) float32 on the host; a text without features gets the same for every label.

    Args:
      params: of a trained state.
      features: of `TextFeatures.encode`.
      batch_size: texts at once.
    """
    result = np.zeros((len(features), params["weight"].shape[1]), np.float32)
    room = room_of(np.array([len(one) for one in features]), batch_size) if features else 0
    for start in range(0, len(features), batch_size):
        some = features[start : start + batch_size]
        result[start : start + len(some)] = log_probabilities(params, pack(some, batch_size, room))[: len(some)]
    return result


def _example():
    config, key = TextClassifierConfig.tiny(), jax.random.key(0)
    batch = {"tokens": jnp.arange(6), "rows": jnp.array([0, 0, 0, 1, 1, 2]), "lengths": jnp.array([3, 2]), "labels": jnp.array([0, 1])}
    return init_state(config, 6, 2, 10, key), batch, key


def _example_prediction():
    state, batch, _ = _example()
    return state["params"], batch


register("text_classifier.train_step", jax.jit(train_step), _example)
register("text_classifier.log_probabilities", log_probabilities, _example_prediction)

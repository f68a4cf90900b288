"""From text to the tables of an n-gram model: counting, and the estimators that turn counts into probabilities.

The text is a sequence of sentences. Each is read as BOS w1 … wk EOS with a single BOS, the convention of SRILM and KenLM; n-grams do not
reach across sentences, BOS is never predicted, and every n-gram that occurs is kept. All estimators but add-k have one form,

    p(w | h) = (a(hw) - d(hw)) / S(h) + γ(h) p(w | h')     interpolated, or
    p(w | h) = (a(hw) - d(hw)) / S(h)  if hw was seen, else γ(h) p(w | h')     backed off,

where h' is h without its first word, S(h) = Σ_w a(hw), and below the unigrams stands the uniform distribution over what can be predicted.
They differ in the counts a and in the discounts d (with D(r) for a count r, and n_r n-grams of this order seen r times):

  mle                   d = 0; a context seen in the text gives nothing to unseen words, any other hands over to its longest suffix seen
  add_k                 p = (a + k) / (S + kV), Lidstone 1920
  witten_bell           p = (a + T p(w | h')) / (S + T), T(h) words seen after h; Witten and Bell 1991, method C
  absolute              D = n1 / (n1 + 2 n2); Ney, Essen and Kneser 1994
  katz                  D(r) = r (1 - d_r) up to r = `cutoff`, d_r from Good-Turing; always backed off; Katz 1987
  kneser_ney            absolute, but of shorter n-grams a is the number of words seen before them; Kneser and Ney 1995
  modified_kneser_ney   the same with D(1), D(2) and D(3 and more); Chen and Goodman 1999

Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling" (Computer Speech & Language 13), compares them;
the equations are theirs. Left out on purpose: thresholds below which n-grams are dropped, and pruning.

Shapes: N n-grams of one order, C contexts (the n-grams one order below), V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lmlib.errors import ConfigError, EstimationError, ShapeError, VocabularyError, nearest
from lmlib.text.store import TokenStore

Method = Literal["mle", "add_k", "witten_bell", "absolute", "katz", "kneser_ney", "modified_kneser_ney"]
DISCOUNTED = ("absolute", "katz", "kneser_ney", "modified_kneser_ney")
MAX_ORDER = 6
NOTHING = 1e-10  # a probability mass below this is rounding: what words share is orders of magnitude above


@dataclass(frozen=True)
class NgramConfig:
    """How an n-gram model is estimated. `bos` and `eos` are ids of the vocabulary and may be one.

    `discounts` replaces the estimated ones: for each order, unigrams first, D(1), D(2), … for n-grams seen once, twice, …; the last also
    for all larger counts. `fallback` is one such row, for those orders alone that the text cannot estimate, as small or artificial texts
    cannot; KenLM's is (0.5, 1, 1.5). `k` is that of add_k, `cutoff` the largest count that katz discounts. `backoff` asks for the
    backed-off form instead of the interpolated one.
    """

    vocab_size: int  # V
    order: int = 5
    method: Method = "modified_kneser_ney"
    bos: int = 0
    eos: int = 0
    k: float = 1.0
    cutoff: int = 5
    backoff: bool = False
    discounts: tuple[tuple[float, ...], ...] | None = None
    fallback: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.vocab_size < 1:
            raise ConfigError(f"NgramConfig.vocab_size must be at least 1, got {self.vocab_size}")
        if not 1 <= self.order <= MAX_ORDER:
            raise ConfigError(f"NgramConfig.order must be 1 … {MAX_ORDER}, got {self.order}")
        if self.method not in get_args(Method):
            known = get_args(Method)
            raise ConfigError(f"NgramConfig.method must be one of {', '.join(known)}, got {self.method!r}{nearest(self.method, known)}")
        for name, value in (("bos", self.bos), ("eos", self.eos)):
            if not 0 <= value < self.vocab_size:
                raise ConfigError(f"NgramConfig.{name} must be an id of the vocabulary, 0 … {self.vocab_size - 1}, got {value}")
        if not 0 < self.k < np.inf:
            raise ConfigError(f"NgramConfig.k must be positive, got {self.k}")
        if self.cutoff < 1:
            raise ConfigError(f"NgramConfig.cutoff must be at least 1, got {self.cutoff}")
        if self.backoff and self.method in ("mle", "add_k"):
            raise ConfigError(f"NgramConfig.backoff: {self.method} has no backed-off form")
        if self.discounts is not None and len(self.discounts) != self.order:
            raise ConfigError(f"NgramConfig.discounts must be {self.order} tuples, one an order, got {len(self.discounts)}")
        given = {f"discounts[{i}]": row for i, row in enumerate(self.discounts or ())}
        for name, row in (given | ({} if self.fallback is None else {"fallback": self.fallback})).items():
            if self.method not in DISCOUNTED:
                raise ConfigError(f"NgramConfig.{name}: {self.method} has no discounts (those that have: {', '.join(DISCOUNTED)})")
            if not row or not all(0 <= value <= count for count, value in enumerate(row, 1)):
                raise ConfigError(f"NgramConfig.{name} must be one or more numbers with 0 ≤ D(r) ≤ r, got {row}")

    @classmethod
    def tiny(cls, vocab_size=5, **fields):
        """For tests: what any text, however short, can estimate."""
        return cls(vocab_size, **{"order": 3, "method": "witten_bell", **fields})

    @classmethod
    def small(cls, vocab_size, **fields):
        """For a laptop: trigrams, interpolated modified Kneser-Ney."""
        return cls(vocab_size, **{"order": 3, **fields})

    @classmethod
    def paper(cls, vocab_size, **fields):
        """KN5 as published for Penn Treebank: test perplexity 141.2 (Mikolov 2012), seconds on two cores."""
        return cls(vocab_size, **{"order": 5, **fields})


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order m, sorted by (parent, word). Of unigrams there is one for every id, its number the id.

    Attributes:
      word: (N,) int32, the last word.
      parent: (N,) int32, which n-gram of order m - 1 the others are; 0 for unigrams.
      suffix: (N,) int32, which n-gram of order m - 1 is left without the first word; 0 for unigrams.
      count: (N,) int64, how often it occurs; BOS itself does not count.
      initial: (N,) bool, whether it begins with BOS.
    """

    word: np.ndarray
    parent: np.ndarray
    suffix: np.ndarray
    count: np.ndarray
    initial: np.ndarray


@dataclass(frozen=True)
class Table:
    """The n-grams of one order with their numbers: what the model holds.

    Attributes:
      word, parent: as in `Counts`, in the same order.
      prob: (N,) float32, p(word | parent); 0 for what is not predicted, as BOS.
      backoff: (N,) float32, with which an n-gram, as a context, weights p(w | its suffix) for the words that it has not; None in the last.
    """

    word: np.ndarray
    parent: np.ndarray
    prob: np.ndarray
    backoff: np.ndarray | None


def count(sequences, config: NgramConfig) -> list[Counts]:
    """Count the n-grams of orders 1 … `config.order`.

    Args:
      sequences: a TokenStore, or a list of sequences of ids, without BOS. A sequence may hold several sentences, each ended by EOS.

    Raises:
      EmptyCorpusError: there is no token.
      VocabularyError: BOS, where it is not EOS too, stands in the text, or an id is outside the vocabulary.
    """
    store = sequences if isinstance(sequences, TokenStore) else TokenStore.from_sequences(sequences, config.vocab_size)
    if store.vocab_size != config.vocab_size:
        raise VocabularyError(f"the text has a vocabulary of {store.vocab_size}, NgramConfig.vocab_size is {config.vocab_size}")
    text, V = np.asarray(store.ids, np.int64), config.vocab_size
    if len(text) >= 2**30:
        raise ShapeError(f"{len(text)} tokens are more than the 2^30 whose n-grams an int32 can number: take a part of the text")
    if config.bos != config.eos and (text == config.bos).any():
        at = int(np.argmax(text == config.bos))
        raise VocabularyError(f"token {at} of the text is BOS (id {config.bos}), which stands before a sentence and is never predicted")
    first = np.zeros(len(text) + 1, bool)  # where a sentence begins: at a sequence, and after EOS
    first[store.offsets[:-1]] = True
    first[1:] |= text == config.eos
    first = np.flatnonzero(first[:-1])
    text = np.insert(text, first, config.bos)
    read = np.ones(len(text), bool)  # where an n-gram of the order at hand ends; nowhere at a BOS
    read[first + np.arange(len(first))] = False

    zeros, ids = np.zeros(V, np.int32), np.arange(V, dtype=np.int32)
    levels = [Counts(ids, zeros, zeros, np.bincount(text[read], minlength=V), np.zeros(V, bool))]
    shorter = text  # the n-gram of the order below that ends at each place
    ends = np.flatnonzero(read)
    for m in range(2, config.order + 1):
        if m > 2:
            ends = ends[read[ends - 1]]
            read = np.zeros(len(text), bool)
            read[ends] = True
        keys, at, inverse, counts = np.unique(
            shorter[ends - 1] * V + text[ends], return_index=True, return_inverse=True, return_counts=True
        )
        parent, word = (part.astype(np.int32) for part in np.divmod(keys, V))
        initial = parent == config.bos if m == 2 else levels[-1].initial[parent]
        levels.append(Counts(word, parent, shorter[ends[at]].astype(np.int32), counts, initial))
        longer = np.zeros(len(text), np.int64)
        longer[ends] = inverse
        shorter = longer
    return levels


def estimate(levels: list[Counts], config: NgramConfig) -> list[Table]:
    """Probabilities and backoff weights of counted n-grams.

    They are in one form for all estimators, that of an ARPA file: p(w | h) is that of the longest n-gram found, times the weights of the
    contexts that are longer. The interpolated form is one such: γ(h) is its weight, and the n-grams that were seen hold the sum.

    Raises:
      EstimationError: the text is too small, or too regular, for the estimator's discounts.
    """
    uniform = np.ones(config.vocab_size)
    uniform[config.bos] = config.bos == config.eos
    uniform /= max(uniform.sum(), 1)
    contexts, context_is_initial = 1, np.zeros(1, bool)
    probs, backoffs = [], []  # backoffs[m - 1]: of contexts of m - 1 words
    for m, level in enumerate(levels, 1):
        lower = uniform if m == 1 else probs[-1][level.suffix]
        if config.method == "add_k":
            # The equation is that of the whole history, i.e. of n - 1 words or all since BOS; shorter n-grams only stand for 1/V
            whole, whole_context = level.initial | (m == config.order), context_is_initial | (m == config.order)
            total = np.bincount(level.parent, level.count, contexts)
            added = config.k / uniform.max()  # kV
            prob = np.where(whole, (level.count + added * uniform[level.word]) / (total + added)[level.parent], uniform[level.word])
            backoff = np.where(whole_context, added / (total + added), 1.0)
        else:
            a = level.count
            if m < config.order and config.method in ("kneser_ney", "modified_kneser_ney"):
                # Nothing stands before BOS: what begins with it keeps its count
                a = np.where(level.initial, a, np.bincount(levels[m].suffix, minlength=len(a)))
            prob, backoff = _discounted(a, level.parent, lower, contexts, m, config, complete=m == 1 and bool((a[uniform > 0] > 0).all()))
        probs.append(prob)
        backoffs.append(backoff)
        contexts, context_is_initial = len(level.word), level.initial if m > 1 else np.arange(len(level.word)) == config.bos
    weights = [backoff.astype(np.float32) for backoff in backoffs[1:]] + [None]
    return [Table(level.word, level.parent, p.astype(np.float32), w) for level, p, w in zip(levels, probs, weights, strict=True)]


def _discounted(a, parent, lower, contexts, m, config, complete):
    """The numbers of one order: p (N,) of its n-grams and γ (C,) of its contexts, 1 for a context that nothing follows.

    Args:
      a: (N,) counts; 0 only for unigrams.
      lower: (N,) p(w | h').
      complete: whether there is no unseen word that a discount could be for.
    """
    total, types = np.bincount(parent, a, contexts), np.bincount(parent, a > 0, contexts)
    followed = total > 0
    total = np.where(followed, total, 1)  # 1 for any number: nothing is divided by it
    if config.method == "witten_bell":
        alpha, left = a / (total + types)[parent], types / (total + types)
    else:
        if config.method == "mle":
            table = np.zeros(1)
        elif config.discounts is not None:
            table = np.array(config.discounts[m - 1])
        else:
            table = _estimated_discounts(a, m, config, complete)
        d = np.append(0.0, table)[np.minimum(a, len(table))]
        alpha, left = (a - d) / total[parent], np.bincount(parent, d, contexts) / total
    if not (config.backoff or config.method == "katz"):
        return alpha + left[parent] * lower, np.where(followed, left, 1.0)

    seen = a > 0
    unseen = 1 - np.bincount(parent, lower * seen, contexts)  # what h' gives to the words not seen after h
    # Where nothing was taken away, one more count is added, for the unseen (Doug Paul's remedy, as in the CMU toolkit and SRILM)
    none_left = (left < NOTHING) & (unseen > NOTHING)
    alpha, left = alpha * np.where(none_left, total / (total + 1), 1.0)[parent], np.where(none_left, 1 / (total + 1), left)
    # Where no word is unseen, the seen ones share everything
    all_seen = followed & (unseen <= NOTHING)
    alpha = alpha / np.where(all_seen, 1 - left, 1.0)[parent]
    weight = np.where(all_seen, 0.0, left / np.where(unseen > NOTHING, unseen, 1.0))
    return np.where(seen, alpha, weight[parent] * lower), np.where(followed, weight, 1.0)


def _estimated_discounts(a, m, config, complete):
    """D(1), D(2), … from n_r, how many n-grams of order m have the count r."""
    needed = {"absolute": 1, "kneser_ney": 1, "modified_kneser_ney": 3, "katz": config.cutoff}[config.method]
    r = np.arange(1, needed + 2)
    n_r = np.bincount(np.minimum(a, needed + 2), minlength=needed + 3)[r].astype(np.float64)
    if (n_r[:needed] > 0).all():
        if config.method == "katz":
            # d_r = ((r + 1) n_{r+1} / (r n_r) - A) / (1 - A),  A = (k + 1) n_{k+1} / n_1
            beyond = r[-1] * n_r[-1] / n_r[0]
            with np.errstate(divide="ignore", invalid="ignore"):  # 1 - A may be 0: caught below
                discounts = r[:-1] * (1 - (r[1:] * n_r[1:] / (r[:-1] * n_r[:-1]) - beyond) / (1 - beyond))
        else:
            # D(r) = r - (r + 1) Y n_{r+1} / n_r,  Y = n_1 / (n_1 + 2 n_2); for r = 1 that is Y itself
            discounts = r[:-1] - r[1:] * n_r[0] / (n_r[0] + 2 * n_r[1]) * n_r[1:] / n_r[:-1]
        if ((discounts >= 0) & (discounts <= r[:-1])).all():
            return np.append(discounts, 0.0) if config.method == "katz" else discounts
    if complete:  # every word was seen, most of them often: nothing need be put aside
        return np.zeros(1)
    if config.fallback is not None:
        return np.array(config.fallback)
    raise EstimationError(
        f"{config.method} cannot estimate the discounts of order {m}: the numbers of {m}-grams seen 1 … {needed + 1} times are "
        f"{n_r.astype(int).tolist()}, which do not fall as they do in a large text: take more text, a lower order, "
        f"{'a smaller cutoff, ' if config.method == 'katz' else ''}method='witten_bell', or give NgramConfig.fallback, e.g. (0.5, 1.0, 1.5)"
    )

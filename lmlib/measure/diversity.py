"""Do generated texts differ, from one another and within themselves?

* distinct-n: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models" (arXiv 1510.03055), section 5.4. The
  share of different n-grams among all n-grams of all texts. It falls as texts grow, so compare the same number of tokens only.
* self-BLEU: Zhu et al. 2018, "Texygen" (arXiv 1802.01886), section 2.3. Mean BLEU of each text against all others: high is uniform.
  Beside it BLEU against real texts, which is what it is not: a generator that says one real sentence for ever is perfect by that measure.
* repetition: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training" (arXiv 1908.04319), seq-rep-n. Mean share of a text's
  n-grams that it has already had.

A text is a sequence of tokens (ids or words), never a str, whose tokens would be its letters. All measures are blind to sense: noise is as
diverse as can be, so that they stand beside the perplexity of real text, never alone.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError


def ngrams(text: Sequence, n: int) -> list[tuple]:
    """The n-grams of a text, in order."""
    return list(zip(*(text[i:] for i in range(n)), strict=False))


def distinct(texts: Iterable[Sequence], n: int = 2) -> float:
    """Distinct-n: different n-grams / n-grams, over all texts together; NaN where no text has n tokens."""
    found = [gram for text in _checked(texts, n) for gram in ngrams(text, n)]
    return len(set(found)) / len(found) if found else math.nan


def repetition(texts: Iterable[Sequence], n: int = 4) -> float:
    """seq-rep-n: the mean, over texts of at least n tokens, of 1 - different n-grams / n-grams; NaN where there is none."""
    grams = [ngrams(text, n) for text in _checked(texts, n)]
    shares = [1 - len(set(found)) / len(found) for found in grams if found]
    return sum(shares) / len(shares) if shares else math.nan


def self_bleu(texts: Iterable[Sequence], n: int = 4) -> float:
    """Self-BLEU: the mean of BLEU-n of each text with all the others as references.

    BLEU is that of a sentence (Papineni et al. 2002) with equal weights of 1 … n, the reference that is nearest in length (of two, the
    shorter), and 0.1 in place of a count of 0 (NLTK's smoothing method 1), which is what Texygen's program has. Counting is shared by
    all texts, so that the cost grows with their number and not with its square.

    Raises:
      EmptyCorpusError: there are fewer than two texts.
      ConfigError: n is less than 1.
      ShapeError: a text is a str.
    """
    texts = _checked(texts, n)
    if len(texts) < 2:
        raise EmptyCorpusError(f"self-BLEU compares texts with one another: it needs at least two, got {len(texts)}")
    counts = _counts(texts, n)
    best = [_two_greatest(rows) for rows in counts]
    lengths = sorted(map(len, texts))

    def bleu(i):
        def right(k, gram):
            # the most often that any *other* text has the n-gram
            first, owner, second = best[k][gram]
            return first if owner != i else second

        return _bleu([rows[i] for rows in counts], len(texts[i]), right, _nearest_other(lengths, len(texts[i])))

    return sum(map(bleu, range(len(texts)))) / len(texts)


def reference_bleu(texts: Iterable[Sequence], references: Iterable[Sequence], n: int = 4) -> float:
    """The mean of BLEU-n of each text, with all references at once: the BLEU of self-BLEU, against real texts.

    Raises:
      EmptyCorpusError: there is no text, or no reference.
      ConfigError, ShapeError: as for `self_bleu`.
    """
    texts, references = _checked(texts, n), _checked(references, n)
    if not texts or not references:
        raise EmptyCorpusError(f"BLEU compares texts with references: got {len(texts)} and {len(references)}")
    best = [_two_greatest(rows) for rows in _counts(references, n)]
    lengths = sorted(map(len, references))

    def bleu(text):
        counts = [Counter(ngrams(text, k)) for k in range(1, n + 1)]
        return _bleu(counts, len(text), lambda k, gram: best[k].get(gram, (0,))[0], _nearest(lengths, len(text)))

    return sum(map(bleu, texts)) / len(texts)


def _counts(texts, n):
    """For each k of 1 … n, how often each text has each k-gram."""
    return [[Counter(ngrams(text, k)) for text in texts] for k in range(1, n + 1)]


def _bleu(counts, length, right, nearest):
    """BLEU of one text: its n-grams' counts for each k, what may count at most of each, and the nearest length of a reference."""
    if not length:
        return 0.0  # an empty text
    logs = []
    for k, row in enumerate(counts):
        found = sum(min(count, right(k, gram)) for gram, count in row.items())
        if not logs and not found:
            return 0.0  # no word in common: 0, however the rest is smoothed
        logs.append(math.log((found or 0.1) / max(1, row.total())))
    return math.exp(min(0.0, 1 - nearest / length) + sum(logs) / len(counts))


def _two_greatest(rows):
    """{n-gram: (the greatest count in a text, that text, the greatest count in another)}."""
    greatest = {}
    for i, row in enumerate(rows):
        for gram, count in row.items():
            first, owner, second = greatest.get(gram, (0, -1, 0))
            greatest[gram] = (count, i, first) if count > first else (first, owner, max(second, count))
    return greatest


def _nearest_other(lengths, length):
    """The length nearest to that of one text among those of the others, the shorter of two; `lengths` are sorted and hold it once more."""
    at = bisect_left(lengths, length)
    return _nearest(lengths[max(0, at - 1) : at] + lengths[at + 1 : at + 2], length)


def _nearest(lengths, length):
    return min(lengths, key=lambda other: (abs(other - length), other))


def _checked(texts, n):
    if not isinstance(n, int) or n < 1:
        raise ConfigError(f"n must be a whole number of at least 1, got {n!r}")
    if isinstance(texts, str):
        raise ShapeError("texts must be a list of texts, not one text")
    rows = []
    for i, text in enumerate(texts):
        if isinstance(text, str):
            raise ShapeError(f"text {i} is a str: give its tokens, e.g. text.split(), or list(text) for characters")
        rows.append(text.tolist() if hasattr(text, "tolist") else list(text))
    return rows

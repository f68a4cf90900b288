"""Phrases: pairs of words that stand together more often than their counts explain, joined to one word ("new_york").

Mikolov, Sutskever, Chen, Corrado, Dean 2013 (arXiv 1310.4546), section 4 and equation 6, and word2phrase, the program beside word2vec. Each
pass joins two words; a second pass joins what the first has made to longer phrases. The score is that of the program, equation 6 times
the number of words of the text, so that one threshold serves texts of any length:

  score(a, b) = (count(a b) - delta) / (count(a) count(b)) · N

gensim's `Phrases` (scoring "default") has the number of distinct words and pairs in place of N, `min_count` for delta, and no other bound
on counts. The program's single -min-count is both `delta` and `min_count` here.

A document is a list of words: `tokenizer.split(text)`. Counting takes one pass over a stream and 16 bytes a distinct pair.
"""

from functools import cache

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError
from lmlib.text.corpora import Corpus
from lmlib.text.tokenizers import splitter

CHUNK = 1 << 20  # words that are counted at once


def find_phrases(documents, *, threshold=100.0, delta=5, min_count=5):
    """Find the pairs of neighbouring words that one pass joins.

    Args:
      documents: iterable of lists of words; read once. A phrase lies within a document.
      threshold: a pair is a phrase if its score is higher.
      delta: discount of equation 6: keeps pairs out that are rare.
      min_count: words and pairs that occur less often are in no phrase.

    Returns:
      {(a, b): score}, highest score first.

    Raises:
      EmptyCorpusError: there is no word.
      ConfigError: a document is no list of words, or an argument has an impossible value.
    """
    for name, value, least in (("threshold", threshold, 0), ("delta", delta, 0), ("min_count", min_count, 1)):
        if not value >= least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")
    words, counts_V, (pairs_P, together_P) = _count(documents)
    if not words:
        raise EmptyCorpusError("there are no words to make phrases of")
    first_P, second_P = pairs_P >> 32, pairs_P & 0xFFFFFFFF
    rarest_P = np.minimum(together_P, np.minimum(counts_V[first_P], counts_V[second_P]))
    score_P = (together_P - delta) / counts_V[first_P] / counts_V[second_P] * counts_V.sum()
    found = np.flatnonzero((score_P > threshold) & (rarest_P >= min_count))
    phrases = {(words[first_P[i]], words[second_P[i]]): float(score_P[i]) for i in found}
    return dict(sorted(phrases.items(), key=lambda item: (-item[1], item[0])))


def find_phrases_in_passes(read, thresholds=(200.0, 100.0), *, joiner="_", delta=5, min_count=5):
    """Find phrases of more than two words: each pass reads the text with the phrases of the passes before joined.

    Args:
      read: function of no arguments that gives the documents, e.g. `lambda: map(tokenizer.split, corpus.documents())`; called once a pass.
      thresholds: one a pass; the paper makes 2 to 4 passes and lowers the threshold from one to the next.
      joiner: stands between the words of a phrase.
      delta, min_count: see `find_phrases`.

    Returns:
      A list of what `find_phrases` found, one a pass, for `join_phrases`.
    """
    passes = []
    for threshold in thresholds:
        passes.append(find_phrases(join_phrases(read(), *passes, joiner=joiner), threshold=threshold, delta=delta, min_count=min_count))
    return passes


def join_phrases(documents, *passes, joiner="_"):
    """Join the phrases of documents, one document after the other.

    Args:
      documents: iterable of lists of words.
      passes: what `find_phrases` found, in the order of the passes.
      joiner: stands between the words of a phrase.

    Yields:
      Each document as a list of words. Of phrases that overlap, the first one from the left is joined, as in the program.
    """
    for document in documents:
        joined = _checked(document)
        for phrases in passes:
            joined = _join(joined, phrases, joiner)
        yield joined


def phrase_corpus(corpus, thresholds, normalisation="none", segmentation="space"):
    """A corpus with its phrases joined, in documents whose words stand apart: for a tokenizer that cuts at white space.

    With the segmentation "cjk", which cuts at every character, phrases are the words of Chinese, which is written without spaces (as far
    as counts tell them: no dictionary is asked). They are joined without anything between; others by "_".

    Args:
      corpus: of `lmlib.text.corpora.open_corpus`. It is read once a pass, the first time that a document is asked for.
      thresholds: as for `find_phrases_in_passes`.
      normalisation, segmentation: of the words to join, see `lmlib.text.tokenizers.WordTokenizer`.
    """
    split, joiner = splitter(normalisation, segmentation), "" if segmentation == "cjk" else "_"

    def read():
        return map(split, corpus.documents())

    @cache
    def passes():
        return find_phrases_in_passes(read, thresholds, joiner=joiner)

    def records():
        return ({"text": " ".join(words)} for words in join_phrases(read(), *passes(), joiner=joiner))

    return Corpus(corpus.name, corpus.split, corpus.licence, records, lambda: corpus.sha256)


def _join(words, phrases, joiner):
    joined, at = [], 0
    while at < len(words):
        if tuple(words[at : at + 2]) in phrases:
            joined.append(words[at] + joiner + words[at + 1])
            at += 2
        else:
            joined.append(words[at])
            at += 1
    return joined


def _checked(document):
    """The words of a document as a list; a text would be read letter by letter."""
    if isinstance(document, str):
        raise ConfigError("documents must be lists of words, got a text: cut it first, with tokenizer.split or str.split")
    return list(document)


def _count(documents):
    """The distinct words, how often each occurs, and the distinct pairs (first << 32 | second, sorted) with how often each occurs."""
    index, buffer = {}, []
    counts_V, merged, fresh = np.zeros(0, np.int64), _nothing(), [_nothing()]

    def take():
        nonlocal counts_V, merged
        ids = np.array(buffer, np.int64)
        buffer.clear()
        counts_V = np.pad(counts_V, (0, len(index) - len(counts_V))) + np.bincount(ids[ids >= 0], minlength=len(index))
        pairs = (ids[:-1] << 32 | ids[1:])[(ids[:-1] >= 0) & (ids[1:] >= 0)]
        fresh.append(np.unique(pairs, return_counts=True))
        if sum(len(keys) for keys, _ in fresh) > len(merged[0]):  # so that the whole is sorted rarely
            merged = _merge([merged, *fresh])
            fresh.clear()

    for document in documents:
        buffer.extend([index.setdefault(word, len(index)) for word in _checked(document)])
        buffer.append(-1)  # no pair crosses from one document into the next
        if len(buffer) >= CHUNK:
            take()
    take()
    return list(index), counts_V, _merge([merged, *fresh])


def _nothing():
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _merge(parts):
    """Sorted keys and their counts, from several of the kind."""
    keys, counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return keys[first], np.add.reduceat(counts, first) if len(keys) else counts

"""Alignment: are the vectors of two languages, trained apart, the same up to a rotation?

Xing, Wang, Liu and Lin 2015, "Normalized Word Embedding and Orthogonal Transform for Bilingual Word Translation" (NAACL), and Smith,
Turban, Hamblin and Hammerla 2017, "Offline bilingual word vectors, orthogonal transformations and the inverted softmax" (arXiv 1702.03859):
an orthogonal map, learnt from a small dictionary, takes the words of one language to their translations in the other. It preserves
lengths and angles, so it adds nothing to the vectors but their position.

Translations are read off as nearest neighbours, by cosine or by CSLS (Conneau et al. 2018, "Word Translation Without Parallel Data",
arXiv 1710.04087), which lowers the hubs that are near to everything. The dictionary to test on must not be the one that was learnt from.

Left out on purpose: alignment without a dictionary, and whitening.

Shapes: P pairs, D dimensions, Q queries, S source words, T target words.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from lmlib.errors import ConfigError, UnknownNameError, VocabularyError, check_shape, nearest
from lmlib.models.bag_of_words import bag_of_words
from lmlib.models.vectors import WordVectors

RETRIEVALS = ("cosine", "csls")

_COSINES_AT_ONCE = 1 << 24  # 64 MB


# Maps


def procrustes(x_PD, y_PD):
    """The orthogonal matrix W that minimises ‖X W - Y‖_F: W = U Vᵀ with U Σ Vᵀ = SVD(Xᵀ Y) (Schönemann 1966).

    Args:
      x_PD, y_PD: vectors of the pairs, row by row.

    Returns:
      w_DD, float64; rotations and reflections.

    Raises:
      ShapeError: the two are not of one shape.
    """
    from scipy.linalg import orthogonal_procrustes

    x_PD, y_PD = np.asarray(x_PD, np.float64), np.asarray(y_PD, np.float64)
    check_shape(x_PD, (None, None), "x_PD")
    check_shape(y_PD, x_PD.shape, "y_PD")
    return orthogonal_procrustes(x_PD, y_PD)[0]


def align(source: WordVectors, target: WordVectors, pairs) -> WordVectors:
    """The source's words in the target's space: unit vectors (Xing et al.), rotated by `procrustes` on the pairs that both cover.

    Args:
      source, target: word vectors of one dimension.
      pairs: (source word, target word) pairs; those with a word without a vector are left out.

    Returns:
      WordVectors of the source, of length 1, to be compared with `target` by cosine.

    Raises:
      ShapeError: the dimensions differ.
      VocabularyError: no pair is covered.
    """
    covered = [(source.index[a], target.index[b]) for a, b in pairs if a in source and b in target]
    if not covered:
        raise VocabularyError("no pair of the dictionary has vectors on both sides: are the languages in the right order?")
    check_shape(target.unit, (None, source.unit.shape[1]), "the target's vectors")
    rows_P, columns_P = map(list, zip(*covered, strict=True))
    w_DD = procrustes(source.unit[rows_P], target.unit[columns_P])
    return WordVectors(source.words, source.unit @ w_DD.astype(np.float32), source.counts)


# Translations


@dataclass(frozen=True)
class Translation:
    """How often a translation is among the k nearest target words, over the source words that both sides cover."""

    retrieval: str
    precision: dict[int, float]  # k → precision@k; NaN where nothing is covered
    chance: dict[int, float]  # k → the same for words drawn at random
    covered: int  # source words with a vector, of which at least one translation has one too
    n: int  # source words of the dictionary
    queries: tuple[str, ...] = field(repr=False)  # the covered words
    answers: tuple[tuple[str, ...], ...] = field(repr=False)  # the nearest target words of each, nearest first

    def frame(self):
        """A DataFrame with a row for each k: retrieval, k, precision, chance, covered, n."""
        import pandas as pd

        rows = [{"retrieval": self.retrieval, "k": k, "precision": p, "chance": self.chance[k]} for k, p in self.precision.items()]
        return pd.DataFrame(rows).assign(covered=self.covered, n=self.n)


def translation(source: WordVectors, target: WordVectors, pairs, ks=(1, 5, 10), retrieval: str = "csls", hub: int = 10) -> Translation:
    """Precision@k of word translation by nearest neighbours among all target words.

    Args:
      source: from `align`, in the target's space.
      target: word vectors.
      pairs: (source word, target word); a source word that stands in several pairs has several right answers.
      ks: numbers of answers that are looked through.
      retrieval: "cosine", or "csls": 2 cos(x, y) - r_T(x) - r_S(y), with r the mean cosine of a word with its `hub` nearest neighbours
        on the other side, among all words.
      hub: of CSLS; 10 in the paper.

    Raises:
      UnknownNameError: there is no such retrieval.
      ConfigError: a k or `hub` is less than 1, or more than there are words.
      ShapeError: the dimensions differ.
    """
    if retrieval not in RETRIEVALS:
        raise UnknownNameError(f"unknown retrieval {retrieval!r}{nearest(retrieval, RETRIEVALS)} (retrievals: {', '.join(RETRIEVALS)})")
    if not ks or not 1 <= min(ks) <= max(ks) <= len(target):
        raise ConfigError(f"ks must be numbers from 1 to {len(target)}, how many words there are to choose from, got {ks}")
    if not 1 <= hub <= min(len(source), len(target)):
        raise ConfigError(f"hub must be 1 … {min(len(source), len(target))}, the words of the smaller side, got {hub}")
    check_shape(target.unit, (None, source.unit.shape[1]), "the target's vectors")
    right = defaultdict(set)
    for a, b in pairs:
        right[a].add(b)
    queries = [word for word, answers in right.items() if word in source and any(answer in target for answer in answers)]
    penalty_T = _mean_of_nearest(target.unit, source.unit, hub) if retrieval == "csls" and queries else 0
    answers, at_once = [], max(1, _COSINES_AT_ONCE // len(target))
    for start in range(0, len(queries), at_once):
        cosines_QT = source.unit[[source.index[word] for word in queries[start : start + at_once]]] @ target.unit.T
        # r_T(x) is the same for all answers to x, and changes no order
        score_QT = 2 * cosines_QT - penalty_T if retrieval == "csls" else cosines_QT
        best_Qk = np.argsort(-score_QT, axis=1, kind="stable")[:, : max(ks)]
        answers += [tuple(target.words[column] for column in columns) for columns in best_Qk]
    known = [len([answer for answer in right[word] if answer in target]) for word in queries]
    hits = {k: [not right[word].isdisjoint(found[:k]) for word, found in zip(queries, answers, strict=True)] for k in ks}
    precision = {k: float(np.mean(hits[k])) if queries else math.nan for k in ks}
    chance = {k: float(np.mean([_chance(k, m, len(target)) for m in known])) if queries else math.nan for k in ks}
    return Translation(retrieval, precision, chance, len(queries), len(right), tuple(queries), tuple(answers))


def _mean_of_nearest(unit_TD, unit_SD, k):
    """The mean cosine of each row of the first with its k nearest rows of the second, (T,)."""
    mean_T, at_once = np.empty(len(unit_TD), np.float32), max(1, _COSINES_AT_ONCE // len(unit_SD))
    for start in range(0, len(unit_TD), at_once):
        cosines_TS = unit_TD[start : start + at_once] @ unit_SD.T
        mean_T[start : start + at_once] = np.partition(cosines_TS, -k, axis=1)[:, -k:].mean(axis=1)
    return mean_T


def _chance(k, right, words):
    """Probability that k words drawn from `words` without replacement hold one of the `right`: 1 - C(words - right, k) / C(words, k)."""
    return 1 - math.comb(words - right, k) / math.comb(words, k)


# Dictionaries


def dictionary_of_world(world, language: str = "fr") -> list[tuple[str, str]]:
    """The lexicon of the small world as (English word, other word) pairs, true by construction, in alphabetical order.

    Only single words: what French or Chinese says in several, or in forms that agree in gender, gives a pair for each form of one word.
    """
    pairs = set()
    for rows in world.grammar.tables.values():
        for row in rows:
            for cell in row.values():
                other = getattr(cell, language)
                forms = other.rpartition(":")[2].split("/") if language == "fr" else [other]
                pairs.update((cell.en, form) for form in forms if cell.en.isalpha() and " " not in form)
    return sorted(pairs)


def dice_dictionary(source, target, min_count: int = 5, threshold: float = 0.3) -> list[tuple[int, int, float]]:
    """A dictionary read off aligned sentences: pairs of words that are each other's best partner by the Dice coefficient.

      Dice(a, b) = 2 n(a, b) / (n(a) + n(b)), with n the number of sentence pairs that hold a, b, or both (Smadja et al. 1996)

    It is right for most frequent words and wrong for some (of a phrase, it takes one word), so that a precision measured with it is a
    rough lower bound. It knows nothing of word vectors.

    Args:
      source, target: TokenStores of the two sides, sentence by sentence.
      min_count: leave out words that fewer sentences hold.
      threshold: leave out pairs of a lower coefficient.

    Returns:
      (source id, target id, coefficient) triples, the highest coefficient first.

    Raises:
      ShapeError: the sides have different numbers of sentences.
    """
    counts_NS, counts_NT = bag_of_words(source), bag_of_words(target)
    check_shape(counts_NT, (counts_NS.shape[0], None), "the target's sentences")
    for counts in (counts_NS, counts_NT):
        counts.data[:] = 1
    n_S, n_T = (np.asarray(counts.sum(axis=0)) for counts in (counts_NS, counts_NT))
    both_ST = sparse.coo_array(counts_NS.T @ counts_NT)
    rows, columns = both_ST.coords
    dice = 2 * both_ST.data / (n_S[rows] + n_T[columns])
    frequent = (n_S[rows] >= min_count) & (n_T[columns] >= min_count)
    rows, columns, dice = rows[frequent], columns[frequent], dice[frequent]
    best_S, best_T = np.zeros(len(n_S)), np.zeros(len(n_T))
    np.maximum.at(best_S, rows, dice)
    np.maximum.at(best_T, columns, dice)
    mutual = np.flatnonzero((dice == best_S[rows]) & (dice == best_T[columns]) & (dice >= threshold))
    mutual = mutual[np.lexsort((columns[mutual], rows[mutual], -dice[mutual]))]
    return [(int(rows[i]), int(columns[i]), float(dice[i])) for i in mutual]

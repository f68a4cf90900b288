"""What word vectors know: nearest neighbours, agreement with human judgements of similarity, analogies.

Every number stands beside how many items it was computed from, since a score over the few words that a small vocabulary holds says
little. Conventions, for comparison with published numbers (they are those of word2vec's compute-accuracy and of gensim):

- words are matched without regard to case; where a vocabulary holds several spellings ("Apple", "apple"), the most frequent is taken;
- a pair or question with a word outside the vocabulary is left out of the score, and counted as not covered;
- an analogy is answered from the `restrict` most frequent words, never by a word of the question, and a question with a word outside
  those is not covered either.

The published sets of pairs and questions are in `lmlib.measure.sets`.

Shapes: V vocabulary, N candidates for an answer, D dimensions, Q queries, U distinct words of some questions.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from lmlib.errors import ConfigError, ShapeError, UnknownNameError, check_shape, nearest
from lmlib.measure.sets import ANALOGY_SETS, SIMILARITY_SETS, analogy_questions, parse_analogies, parse_similarity, similarity_set
from lmlib.models.vectors import WordVectors

__all__ = [
    "ANALOGY_SETS",
    "METHODS",
    "SIMILARITY_SETS",
    "Analogies",
    "AnalogyScore",
    "Neighbours",
    "Similarity",
    "analogies",
    "analogy_questions",
    "covered_rows",
    "neighbours",
    "parse_analogies",
    "parse_similarity",
    "similarity",
    "similarity_set",
    "three_cos_add",
    "three_cos_mul",
]

_COSINES_AT_ONCE = 1 << 24  # 64 MB
_QUESTIONS_AT_ONCE = 512  # their words' cosines with 30,000 candidates take 184 MB if all differ, in practice a tenth of it
_SCORES_AT_ONCE = 1 << 16  # so many stay in a processor's cache


# Nearest neighbours


@dataclass(frozen=True)
class Neighbours:
    """The k words nearest to each of Q queries, nearest first."""

    queries: tuple[str, ...]  # the words asked for, or "vector 0", "vector 1", …
    words: tuple[tuple[str, ...], ...]  # Q × k
    cosines: np.ndarray = field(repr=False)  # (Q, k)

    def frame(self):
        """A DataFrame with one row a neighbour: query, rank (from 1), word, cosine."""
        import pandas as pd

        Q, k = self.cosines.shape
        return pd.DataFrame(
            {
                "query": np.repeat(np.array(self.queries, dtype=object), k),
                "rank": np.tile(np.arange(1, k + 1), Q),
                "word": [word for words in self.words for word in words],
                "cosine": self.cosines.ravel(),
            }
        )


def neighbours(vectors: WordVectors, queries, k: int = 10) -> Neighbours:
    """The k words of the highest cosine with each query, by comparison with every word; ties go to the earlier row.

    Args:
      vectors: the word vectors.
      queries: a word, several words, a vector (D,) or several (Q, D). A word is not its own neighbour; a vector has no word to leave out.
      k: how many neighbours.

    Raises:
      VocabularyError: a word has no vector.
      ShapeError: a vector does not have D numbers.
      ConfigError: k is less than 1 or more than there are words to choose from.
    """
    if isinstance(queries, str):
        queries = [queries]
    by_word = not isinstance(queries, np.ndarray) and all(isinstance(query, str) for query in queries)
    if by_word:
        names, rows = tuple(queries), [vectors.row(word) for word in queries]
        queries_QD = vectors.unit[rows]
    else:
        queries_QD = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        check_shape(queries_QD, (None, vectors.unit.shape[1]), "a query")
        names, rows = tuple(f"vector {i}" for i in range(len(queries_QD))), [None] * len(queries_QD)
        queries_QD = WordVectors(names, queries_QD).unit
    choice = len(vectors) - by_word
    if not 1 <= k <= choice:
        raise ConfigError(f"k = {k} neighbours were asked for, but there are {choice} words to choose from: k must be 1 … {choice}")

    words, cosines_Qk = [], np.empty((len(rows), k), np.float32)
    at_once = max(1, _COSINES_AT_ONCE // len(vectors))
    for start in range(0, len(rows), at_once):
        cosines_QV = queries_QD[start : start + at_once] @ vectors.unit.T
        for i, cosines_V in enumerate(cosines_QV, start):
            if rows[i] is not None:
                cosines_V[rows[i]] = -np.inf
            best = np.flatnonzero(cosines_V >= np.partition(cosines_V, -k)[-k])  # more than k where some tie
            best = best[np.argsort(-cosines_V[best], kind="stable")][:k]
            words.append(tuple(vectors.words[row] for row in best))
            cosines_Qk[i] = cosines_V[best]
    return Neighbours(names, tuple(words), cosines_Qk)


# Similarity


@dataclass(frozen=True)
class Similarity:
    """How far cosines agree with human judgements of n pairs, computed from those that the vocabulary covers."""

    spearman: float  # correlation of the ranks, ties averaged; NaN where fewer than two pairs are covered or one side is constant
    pearson: float
    n: int
    covered: int
    oov: tuple[str, ...] = field(repr=False)  # the words of the set without a vector

    def frame(self):
        """A DataFrame of one row: spearman, pearson, n, covered, oov (how many words)."""
        import pandas as pd

        values = {"spearman": self.spearman, "pearson": self.pearson, "n": self.n, "covered": self.covered, "oov": len(self.oov)}
        return pd.DataFrame([values])


def similarity(vectors: WordVectors, pairs, *, ignore_case: bool = True) -> Similarity:
    """Correlate the cosines of word pairs with human judgements.

    Args:
      vectors: the word vectors.
      pairs: (word, word, score) triples, e.g. from `similarity_set`. Pairs with a word outside the vocabulary are left out and counted.
      ignore_case: match words without regard to case.
    """
    from scipy.stats import pearsonr, spearmanr

    pairs = list(pairs)
    order_V = _most_frequent(vectors, None)
    spelling, places = _places(vectors, order_V, ignore_case)
    oov = dict.fromkeys(word for a, b, _ in pairs for word in (a, b) if spelling(word) not in places)
    covered = [(places[spelling(a)][0], places[spelling(b)][0], score) for a, b, score in pairs if a not in oov and b not in oov]
    spearman = pearson = math.nan
    if covered:
        left, right, scores = (list(column) for column in zip(*covered, strict=True))
        cosines = np.einsum("pd,pd->p", vectors.unit[order_V[left]], vectors.unit[order_V[right]])
        if len(set(scores)) > 1 and len(set(cosines.tolist())) > 1:
            spearman, pearson = float(spearmanr(scores, cosines).statistic), float(pearsonr(scores, cosines).statistic)
    return Similarity(spearman, pearson, len(pairs), len(covered), tuple(oov))


# Analogies


@dataclass(frozen=True)
class AnalogyScore:
    """The answers to the questions of one category."""

    category: str
    questions: tuple[tuple[str, str, str, str], ...] = field(repr=False)
    answers: tuple[str | None, ...] = field(repr=False)  # the word answered to each question; None where it is not covered
    correct: int
    covered: int

    @property
    def total(self):
        """Number of questions."""
        return len(self.questions)

    @property
    def accuracy(self):
        """Share of the covered questions that were answered correctly; NaN where none is covered."""
        return self.correct / self.covered if self.covered else math.nan

    @property
    def coverage(self):
        """Share of the questions whose words are all among the candidates."""
        return self.covered / self.total if self.total else math.nan


@dataclass(frozen=True)
class Analogies:
    """Scores a category, with the setting they were computed in."""

    method: str
    restrict: int | None
    categories: tuple[AnalogyScore, ...]

    @property
    def total(self):
        """All questions as one category."""
        return self._join("total", self.categories)

    @property
    def semantic(self):
        """The categories of facts (capitals, currencies, family …): in the set of Mikolov et al. all but those named "gram…"."""
        return self._join("semantic", [score for score in self.categories if not score.category.startswith("gram")])

    @property
    def syntactic(self):
        """The categories of grammar, named "gram…" in the set of Mikolov et al."""
        return self._join("syntactic", [score for score in self.categories if score.category.startswith("gram")])

    @staticmethod
    def _join(name, scores):
        questions, answers = (tuple(x for score in scores for x in getattr(score, part)) for part in ("questions", "answers"))
        return AnalogyScore(name, questions, answers, sum(score.correct for score in scores), sum(score.covered for score in scores))

    def frame(self):
        """A DataFrame with a row a category and a last row "total": category, accuracy, correct, covered, total, coverage."""
        import pandas as pd

        columns = ("category", "accuracy", "correct", "covered", "total", "coverage")
        return pd.DataFrame([{name: getattr(score, name) for name in columns} for score in (*self.categories, self.total)])


def three_cos_add(cos_a, cos_b, cos_c):
    """3CosAdd: how well each candidate completes "a is to b as c is to …" by the offset b - a + c (Mikolov et al. 2013; Levy and
    Goldberg 2014, equation 3). The arguments are the candidates' cosines with a, b and c."""
    return cos_b - cos_a + cos_c


def three_cos_mul(cos_a, cos_b, cos_c, epsilon=0.001):
    """3CosMul: the multiplicative form, in which no single large term wins (Levy and Goldberg 2014, equation 4 with its ε = 0.001).
    The cosines are shifted to 0 … 1 first, as the paper has it for vectors with negative values."""
    near_a, near_b, near_c = ((1 + cosine) / 2 for cosine in (cos_a, cos_b, cos_c))
    return near_b * near_c / (near_a + epsilon)


METHODS = {"3cosadd": three_cos_add, "3cosmul": three_cos_mul}


def analogies(
    vectors: WordVectors, questions, method: str = "3cosadd", restrict: int | None = 30_000, *, ignore_case: bool = True
) -> Analogies:
    """Answer analogies "a is to b as c is to d" and score the answers.

    Args:
      vectors: the word vectors.
      questions: a mapping from category to (a, b, c, d) quadruples of words, e.g. from `analogy_questions`.
      method: "3cosadd" or "3cosmul".
      restrict: answer from the most frequent so many words only (by `vectors.counts`, or the first rows where there are none); None for
        all. Published scores use 30,000, 300,000 or all words, and differ much between them.
      ignore_case: match words without regard to case.

    Raises:
      UnknownNameError: there is no such method.
      ConfigError: restrict is less than 1.
      ShapeError: a question does not have four words.
    """
    if method not in METHODS:
        raise UnknownNameError(f"unknown analogy method {method!r}{nearest(method, METHODS)} (methods: {', '.join(METHODS)})")
    if restrict is not None and restrict < 1:
        raise ConfigError(f"restrict must be at least 1 word, got {restrict}")
    order_N = _most_frequent(vectors, restrict)
    spelling, places = _places(vectors, order_N, ignore_case)
    unit_ND = vectors.unit[order_N]
    scores = []
    for category, quadruples in questions.items():
        quadruples = tuple(tuple(question) for question in quadruples)
        if bad := [question for question in quadruples if len(question) != 4]:
            raise ShapeError(f"a question of the category {category!r} does not have four words: {bad[0]!r}")
        spelt = [tuple(map(spelling, question)) for question in quadruples]
        covered = [i for i, question in enumerate(spelt) if all(word in places for word in question)]
        found = _answers([[places[word] for word in spelt[i][:3]] for i in covered], unit_ND, METHODS[method])
        answers = [None] * len(quadruples)
        for i, place in zip(covered, found, strict=True):
            answers[i] = vectors.words[order_N[place]]
        correct = sum(spelling(answers[i]) == spelt[i][3] for i in covered)
        scores.append(AnalogyScore(category, quadruples, tuple(answers), correct, len(covered)))
    return Analogies(method, restrict, tuple(scores))


def _answers(questions, unit_ND, score):
    """The place of the best candidate for each (a, b, c), each given by the places of its spellings, the first of which is its vector."""
    answers = []
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        chunk = questions[start : start + _QUESTIONS_AT_ONCE]
        distinct = sorted({spellings[0] for question in chunk for spellings in question})
        line = {place: i for i, place in enumerate(distinct)}
        cosines_UN = unit_ND[distinct] @ unit_ND.T  # the questions of a category share their words: one product serves them all
        at_once = max(1, _SCORES_AT_ONCE // len(unit_ND))
        for part in (chunk[i : i + at_once] for i in range(0, len(chunk), at_once)):
            score_QN = score(*(cosines_UN[[line[spellings[0]] for spellings in words_Q]] for words_Q in zip(*part, strict=True)))
            asked = [(q, place) for q, question in enumerate(part) for spellings in question for place in spellings]
            score_QN[tuple(zip(*asked, strict=True))] = -np.inf
            answers += np.argmax(score_QN, axis=1).tolist()
    return answers


def _most_frequent(vectors, restrict):
    """Rows of the most frequent words, most frequent first."""
    order_V = np.arange(len(vectors)) if vectors.counts is None else np.argsort(-vectors.counts, kind="stable")
    return order_V[:restrict]


def covered_rows(vectors: WordVectors, words, *, ignore_case: bool = True) -> dict[str, int]:
    """The row of each of some words, in their order and each once; words without a vector are left out.

    Words are matched as everywhere here: without regard to case, the most frequent of several spellings.
    """
    order_V = _most_frequent(vectors, None)
    spelling, places = _places(vectors, order_V, ignore_case)
    return {word: int(order_V[places[spelling(word)][0]]) for word in words if spelling(word) in places}


def _places(vectors, order_N, ignore_case):
    """How words are spelt for comparison, and the places in `order_N` of each such spelling, most frequent first."""
    spelling = str.upper if ignore_case else str  # upper, not casefold: what gensim compares
    places = defaultdict(list)
    for place, row in enumerate(order_N):
        places[spelling(vectors.words[row])].append(place)
    return spelling, dict(places)

"""Bias in word vectors: the word embedding association test (WEAT), and hard debiasing with what it does and does not remove.

WEAT: Caliskan, Bryson and Narayanan 2017, "Semantics derived automatically from language corpora contain human-like biases" (Science 356).
Are the target words X (flowers) nearer to the attributes A (pleasant) than to B (unpleasant), compared with the targets Y (insects)?

Hard debiasing: Bolukbasi, Chang, Zou, Saligrama and Kalai 2016, "Man is to Computer Programmer as Woman is to Homemaker? Debiasing Word
Embeddings" (arXiv 1607.06520): find the direction of gender from pairs such as she, he; take it out of the words that should have none
(neutralise); make pairs differ in nothing else (equalise). It removes what `direct_bias` measures. It does not remove the bias: words that
were of one bias stay each other's neighbours (Gonen and Goldberg 2019, "Lipstick on a Pig", arXiv 1903.03862), so measure both.

Shapes: V vocabulary, D dimensions, n targets, K dimensions of the bias.
"""

import json
import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from lmlib.errors import ConfigError, UnknownNameError, VocabularyError, check_shape, nearest
from lmlib.measure.embeddings import covered_rows
from lmlib.models.vectors import WordVectors
from lmlib.text.corpora import read_text

# The ten tests of Caliskan et al. 2017, table 1: targets X and Y, attributes A and B, as the lists are called in the corpus "weat"
WEAT_TESTS = {
    "flowers-insects": ("flowers", "insects", "pleasant_5", "unpleasant_5a"),
    "instruments-weapons": ("instruments", "weapons", "pleasant_5", "unpleasant_5a"),
    "names-pleasant-5": ("european_american_names_5", "african_american_names_5", "pleasant_5", "unpleasant_5b"),
    "names-pleasant-7": ("european_american_names_7", "african_american_names_7", "pleasant_5", "unpleasant_5b"),
    "names-pleasant-9": ("european_american_names_7", "african_american_names_7", "pleasant_9", "unpleasant_9"),
    "names-career-family": ("male_names", "female_names", "career", "family"),
    "math-arts": ("math", "arts", "male_terms", "female_terms"),
    "science-arts": ("science", "arts_2", "male_terms_2", "female_terms_2"),
    "mental-physical": ("mental_disease", "physical_disease", "temporary", "permanent"),
    "young-old-names": ("young_people_names", "old_people_names", "pleasant_9", "unpleasant_9"),
}

# The ten pairs by which Bolukbasi et al. 2016 define the direction of gender, female first
GENDER_PAIRS = (
    ("woman", "man"),
    ("girl", "boy"),
    ("she", "he"),
    ("mother", "father"),
    ("daughter", "son"),
    ("gal", "guy"),
    ("female", "male"),
    ("her", "his"),
    ("herself", "himself"),
    ("mary", "john"),
)

_EXACT = 200_000  # partitions that are gone through one by one: two lists of ten words have 184,756
_DIGITS = 6  # of an association; below is the rounding of float32 vectors, of which an effect size, being a ratio, would make an effect


# WEAT


@dataclass(frozen=True)
class Weat:
    """Effect size and significance of one association test, from the words that the vocabulary covers."""

    effect: float  # Cohen's d, -2 … 2
    p: float  # one-sided
    exact: bool  # whether p is from all partitions, or from `partitions` random ones
    partitions: int
    covered: tuple[int, int, int, int]  # words of X, Y, A and B that have a vector
    n: tuple[int, int, int, int]
    oov: tuple[str, ...] = field(repr=False)

    def frame(self):
        """A DataFrame of one row: effect, p, exact, partitions, covered, n (words of the four lists together)."""
        import pandas as pd

        row = {"effect": self.effect, "p": self.p, "exact": self.exact, "partitions": self.partitions}
        return pd.DataFrame([row | {"covered": sum(self.covered), "n": sum(self.n)}])


def weat_lists(name: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """The word lists X, Y, A, B of one of WEAT_TESTS, from the corpus "weat".

    Raises:
      UnknownNameError: there is no such test.
      UnavailableError: the corpus is not at hand.
    """
    if name not in WEAT_TESTS:
        raise UnknownNameError(f"unknown test {name!r}{nearest(name, WEAT_TESTS)} (tests: {', '.join(WEAT_TESTS)})")
    lists = json.loads(read_text("weat", "WEAT.json"))
    return tuple(lists[part] for part in WEAT_TESTS[name])


def associations(unit_nD, a_nD, b_nD):
    """s(w, A, B) = mean over a in A of cos(w, a) - mean over b in B of cos(w, b), for n words, (n,).

    Args:
      unit_nD: the words' vectors, a_nD and b_nD those of the attributes, (words, D); all of length 1.
    """
    return unit_nD @ (a_nD.mean(axis=0) - b_nD.mean(axis=0))


def effect_size(s_x, s_y):
    """d = [mean s(x, A, B) - mean s(y, A, B)] / sd over X ∪ Y of s(w, A, B), with a population's standard deviation; NaN if that is 0."""
    sd = np.std(np.concatenate([s_x, s_y]))
    return float((np.mean(s_x) - np.mean(s_y)) / sd) if sd > 0 else math.nan


def permutation_p(s_x, s_y, samples=100_000, seed=0):
    """One-sided p: the share of partitions of X ∪ Y into lists of the same sizes whose statistic is at least that of X and Y.

    The statistic is s(X, Y, A, B) = Σ_x s(x, A, B) - Σ_y s(y, A, B). The partition at hand counts as one of them, so that p is never 0
    (Phipson and Smyth 2010); the paper's ">" leaves it out.

    Args:
      s_x, s_y: associations of the targets.
      samples: random partitions where there are too many (more than 200,000) to go through all.
      seed: of those.

    Returns:
      (p, whether it is exact, number of partitions).
    """
    s_n, m = np.concatenate([s_x, s_y]), len(s_x)
    # With the sizes fixed, the statistic rises with Σ_x s(x) alone. Sums of the same numbers in another order may differ in the last digit.
    threshold = np.sum(s_x) - 1e-9 * np.abs(s_n).sum()
    partitions = math.comb(len(s_n), m)
    if partitions <= _EXACT:
        sums = np.array([s_n[list(chosen)].sum() for chosen in combinations(range(len(s_n)), m)])
        return float(np.mean(sums >= threshold)), True, partitions
    rng, reached = np.random.default_rng(seed), 0
    for start in range(0, samples, 10_000):
        shuffled = rng.permuted(np.tile(s_n, (min(10_000, samples - start), 1)), axis=1)
        reached += int((shuffled[:, :m].sum(axis=1) >= threshold).sum())
    return (1 + reached) / (1 + samples), False, samples


def weat(vectors: WordVectors, x, y, a, b, *, samples: int = 100_000, seed: int = 0, ignore_case: bool = True) -> Weat:
    """The word embedding association test of targets X and Y with attributes A and B.

    Args:
      vectors: the word vectors.
      x, y, a, b: lists of words, e.g. `weat(vectors, *weat_lists("flowers-insects"))`. Words without a vector are left out and counted.
      samples, seed: of the random partitions, where there are too many to go through all: see `permutation_p`.
      ignore_case: match words without regard to case.

    Raises:
      VocabularyError: fewer than two targets or no attribute of a list has a vector.
    """
    lists = [list(dict.fromkeys(words)) for words in (x, y, a, b)]
    known = covered_rows(vectors, [word for words in lists for word in words], ignore_case=ignore_case)
    rows = [[known[word] for word in words if word in known] for words in lists]
    for name, found, words, least in zip("XYAB", rows, lists, (2, 2, 1, 1), strict=True):
        if len(found) < least:
            some = ", ".join(words[:4])
            raise VocabularyError(f"{len(found)} of the {len(words)} words of {name} ({some} …) have a vector: WEAT needs {least}")
    x_nD, y_nD, a_nD, b_nD = (vectors.unit[found].astype(np.float64) for found in rows)
    s_x, s_y = (associations(unit_nD, a_nD, b_nD).round(_DIGITS) for unit_nD in (x_nD, y_nD))
    oov = tuple(word for words in lists for word in words if word not in known)
    p, exact, partitions = permutation_p(s_x, s_y, samples, seed)
    return Weat(effect_size(s_x, s_y), p, exact, partitions, tuple(map(len, rows)), tuple(map(len, lists)), oov)


# Hard debiasing


def bias_subspace(vectors: WordVectors, pairs=GENDER_PAIRS, dimension: int = 1):
    """The first K principal components of the pairs, each about its own mean: section 6, step 1 of Bolukbasi et al.

      C = Σ_i Σ_{w in pair i} (w - μ_i)ᵀ (w - μ_i) / 2 ,  B = the first K rows of SVD(C)

    Args:
      vectors: the word vectors, of which the directions count (`unit`).
      pairs: of words (or sets of more) that differ in what is sought; those with a word without a vector are left out.
      dimension: K.

    Returns:
      basis_KD, orthonormal rows. A row points from the second words of the pairs to the first; and shares (K,), the part of the pairs'
      variance that each explains: if the first is not well above the others, the pairs have no direction in common.

    Raises:
      VocabularyError: no pair is covered.
      ConfigError: K is more than the covered pairs allow.
    """
    covered = _covered_sets(vectors, pairs)
    sets = [vectors.unit[rows].astype(np.float64) for rows in covered]
    centred_nD = np.concatenate([(set_nD - set_nD.mean(axis=0)) / math.sqrt(len(set_nD)) for set_nD in sets])
    _, values, axes_DD = np.linalg.svd(centred_nD, full_matrices=False)
    rank = int((values > 1e-9 * values[0]).sum())
    if not 1 <= dimension <= rank:
        raise ConfigError(f"the {len(sets)} pairs that have vectors span {rank} dimensions, not {dimension}")
    basis_KD = axes_DD[:dimension]
    towards_D = np.sum([set_nD[0] - set_nD[-1] for set_nD in sets], axis=0)
    signs_K = np.where(basis_KD @ towards_D < 0, -1.0, 1.0)
    return basis_KD * signs_K[:, None], values[:dimension] ** 2 / (values**2).sum()


def direct_bias(vectors: WordVectors, words, basis_KD, strictness: float = 1.0) -> float:
    """DirectBias_c = 1/|N| Σ_w |cos(w, g)|^c over words that should be neutral (section 5.2; for several directions, the length of the
    projection).

    Raises:
      VocabularyError: no word has a vector.
    """
    if not (rows := list(covered_rows(vectors, words).values())):
        raise VocabularyError("none of the words has a vector: there is no bias to measure")
    check_shape(basis_KD, (None, vectors.unit.shape[1]), "basis_KD")
    return float(np.mean(np.linalg.norm(vectors.unit[rows] @ np.asarray(basis_KD).T, axis=1) ** strictness))


def hard_debias(vectors: WordVectors, basis_KD, neutral=None, equalise=GENDER_PAIRS) -> WordVectors:
    """Neutralise and equalise: section 6, step 2a of Bolukbasi et al.

    Neutralise, w ← (w - w_B) / ‖w - w_B‖, with w_B the projection of w on the subspace. Equalise a set of words of mean μ,
    ν = μ - μ_B,  w ← ν + sqrt(1 - ‖ν‖²) (w_B - μ_B) / ‖w_B - μ_B‖: they differ in the subspace only, and every neutral word is equally
    near to all of them.

    Args:
      vectors: the word vectors.
      basis_KD: from `bias_subspace`.
      neutral: the words to neutralise; None for all but those of `equalise`. The paper also spares words that are gendered by definition
        (queen, beard …): name the others here. Words without a vector are left out.
      equalise: pairs (or larger sets); those with a word without a vector are left out.

    Returns:
      WordVectors of length 1.

    Raises:
      ConfigError: a word is to be neutralised and equalised, or the words of a set do not differ in the subspace.
    """
    unit_VD, basis_KD = vectors.unit.astype(np.float64), np.asarray(basis_KD, np.float64)
    check_shape(basis_KD, (None, unit_VD.shape[1]), "basis_KD")
    sets = _covered_sets(vectors, equalise) if equalise else []
    equal = {row for rows in sets for row in rows}
    rows = [row for row in range(len(vectors)) if row not in equal] if neutral is None else list(covered_rows(vectors, neutral).values())
    if both := equal.intersection(rows):
        raise ConfigError(f"{vectors.words[min(both)]!r} is to be neutralised and equalised: it can be one of them only")

    result_VD = unit_VD.copy()
    outside_nD = unit_VD[rows] - unit_VD[rows] @ basis_KD.T @ basis_KD
    lengths_n = np.linalg.norm(outside_nD, axis=1, keepdims=True)
    result_VD[rows] = outside_nD / np.where(lengths_n > 0, lengths_n, 1)
    for rows in sets:
        set_nD, inside_nD = unit_VD[rows], unit_VD[rows] @ basis_KD.T @ basis_KD
        nu_D, apart_nD = (set_nD - inside_nD).mean(axis=0), inside_nD - inside_nD.mean(axis=0)
        lengths_n = np.linalg.norm(apart_nD, axis=1, keepdims=True)
        if not (lengths_n > 1e-9).all():
            raise ConfigError(f"{', '.join(vectors.words[row] for row in rows)} do not differ in the subspace: they cannot be equalised")
        result_VD[rows] = nu_D + math.sqrt(max(0, 1 - nu_D @ nu_D)) * apart_nD / lengths_n
    return WordVectors(vectors.words, result_VD, vectors.counts)


def _covered_sets(vectors, sets):
    """The rows of those sets of words that have vectors for all their words."""
    known = covered_rows(vectors, [word for words in sets for word in words])
    covered = [[known[word] for word in words] for words in sets if all(word in known for word in words)]
    covered = [rows for rows in covered if len(set(rows)) > 1]
    if not covered:
        raise VocabularyError(f"none of the {len(sets)} pairs ({'-'.join(sets[0])} …) has vectors for both its words")
    return covered

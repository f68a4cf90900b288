"""Categorisation: do words of one kind lie together, so that a clustering that knows no classes finds them?

The words are clustered into as many groups as there are classes, and the groups are compared with the classes by their purity (Zhao and
Karypis 2001): the share of words that belong to the commonest class of their group,

  purity = 1/n Σ_k max_j |group k ∩ class j| .

Clusters without any meaning are not of purity 0, so the value for chance stands beside it: groups of the same sizes, filled at random.

The sets that the literature clusters (Almuhareb and Poesio 2005, BLESS, Battig; see Baroni, Dinu and Kruszewski 2014) are not among the
registered corpora. The classes here are made of sets that are, so scores can be compared with one another but not with published ones:

- `things`: seven classes of Mikolov et al. 2013, by the place that a word has in a category of their questions (a "currency" is what
  stands second in a currency question …), and four from the word lists of Greenwald, McGhee and Schwartz 1998 in the corpus "weat":
  flowers, insects, instruments, weapons;
- `forms`: eight forms of English words, from the same questions: adverbs, comparatives, past tenses …;
- `classes_of_world`: the columns that the questions of the small world compare: lands, capitals, months, ordinals ….

A word of two classes is in neither (Georgia is a country and a state). The classes are of unequal size, as those of the literature are.

Shapes: n words, D dimensions.
"""

import json
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from lmlib.errors import ConfigError, ShapeError, UnknownNameError, check_shape, nearest
from lmlib.measure.embeddings import covered_rows
from lmlib.measure.sets import analogy_questions
from lmlib.models.vectors import WordVectors
from lmlib.text.corpora import read_text

METHODS = ("k-means", "agglomerative")

# class → where its words stand in the questions of Mikolov et al.: (category, 0 for the first word of a pair or 1 for the second)
_THINGS = {
    "country": [("capital-common-countries", 1), ("capital-world", 1), ("currency", 0)],
    "capital": [("capital-common-countries", 0), ("capital-world", 0)],
    "currency": [("currency", 1)],
    "US city": [("city-in-state", 0)],
    "US state": [("city-in-state", 1)],
    "nationality": [("gram6-nationality-adjective", 1)],
    "family": [("family", 0), ("family", 1)],
}
_FORMS = {
    "adverb": [("gram1-adjective-to-adverb", 1)],
    "opposite": [("gram2-opposite", 1)],
    "comparative": [("gram3-comparative", 1)],
    "superlative": [("gram4-superlative", 1)],
    "present participle": [("gram5-present-participle", 1)],
    "past tense": [("gram7-past-tense", 1)],
    "plural noun": [("gram8-plural", 1)],
    "third person": [("gram9-plural-verbs", 1)],
}
_LISTS = ("flowers", "insects", "instruments", "weapons")
SETS = ("things", "forms")


def category_set(name: str) -> dict[str, list[str]]:
    """The words of some classes: one of SETS, from the corpora "analogy-en" and "weat" (see the top of the file).

    Raises:
      UnknownNameError: there is no such set.
      UnavailableError: a corpus is not at hand.
    """
    if name not in SETS:
        raise UnknownNameError(f"unknown set {name!r}{nearest(name, SETS)} (sets: {', '.join(SETS)})")
    questions = analogy_questions("google")
    classes = classes_of_questions(questions, _THINGS if name == "things" else _FORMS)
    if name == "things":
        lists = json.loads(read_text("weat", "WEAT.json"))
        classes |= {kind: lists[kind] for kind in _LISTS}
    return unambiguous(classes)


def classes_of_questions(questions, places) -> dict[str, list[str]]:
    """Classes of words by their place in analogy questions "a is to b as c is to d", in order of appearance.

    Args:
      questions: a mapping from category to quadruples of words.
      places: a mapping from class to (category, 0 or 1) pairs: 0 for the words a and c of that category, 1 for b and d.
    """
    return {
        kind: list(dict.fromkeys(question[i] for category, at in pairs for question in questions[category] for i in (at, at + 2)))
        for kind, pairs in places.items()
    }


def classes_of_world(world) -> dict[str, list[str]]:
    """The columns of a `World` that its analogies compare, as classes: "country land", "country capital", …, without ambiguous words."""
    columns = dict.fromkeys((table, column) for _, table, *pair in world.grammar.analogies for column in pair)
    tables = world.grammar.tables
    return unambiguous({f"{table} {column}": list(dict.fromkeys(row[column].en for row in tables[table])) for table, column in columns})


def unambiguous(classes) -> dict[str, list[str]]:
    """The classes without the words that stand in two of them, without regard to case."""
    seen = Counter(spelt for words in classes.values() for spelt in {word.upper() for word in words})
    return {kind: [word for word in words if seen[word.upper()] == 1] for kind, words in classes.items()}


def purity(groups, labels) -> float:
    """Share of items that belong to the commonest class of their group.

    Args:
      groups: (n,) the group of each item.
      labels: (n,) the class of each item.

    Raises:
      ShapeError: they are not equally long, or there is nothing.
    """
    table = contingency(groups, labels)
    return float(table.max(axis=1).sum() / table.sum())


def contingency(groups, labels):
    """How many items of each class (columns, in sorted order) are in each group (rows, likewise)."""
    groups, labels = np.asarray(groups), np.asarray(labels)
    check_shape(labels, groups.shape, "labels")
    if groups.ndim != 1 or groups.size == 0:
        raise ShapeError(f"groups must be a line of at least one item, got shape {groups.shape}")
    (kinds, row), (names, column) = (np.unique(x, return_inverse=True) for x in (groups, labels))
    table = np.zeros((len(kinds), len(names)), np.int64)
    np.add.at(table, (row, column), 1)
    return table


@dataclass(frozen=True)
class Categorisation:
    """A clustering of words of known class, once for each seed."""

    method: str
    purities: tuple[float, ...]  # one for each seed; a deterministic method has one
    chance: float  # mean purity of groups as large as those of the first seed, filled at random
    words: tuple[str, ...] = field(repr=False)  # the n words that have a vector
    labels: tuple[str, ...] = field(repr=False)  # their classes
    groups: tuple[int, ...] = field(repr=False)  # their groups, with the first seed
    n: int  # words of all classes, covered or not

    @property
    def purity(self):
        """Mean over the seeds."""
        return float(np.mean(self.purities))

    def frame(self):
        """A DataFrame of one row: method, purity, sd (over seeds of the clustering), seeds, chance, classes, covered, n."""
        import pandas as pd

        sd = float(np.std(self.purities, ddof=1)) if len(self.purities) > 1 else 0.0
        row = {"method": self.method, "purity": self.purity, "sd": sd, "seeds": len(self.purities), "chance": self.chance}
        return pd.DataFrame([row | {"classes": len(set(self.labels)), "covered": len(self.words), "n": self.n}])

    def table(self):
        """A DataFrame with a row a group and a column a class: how many words."""
        import pandas as pd

        columns = pd.Index(sorted(set(self.labels)), name="class")
        return pd.DataFrame(contingency(self.groups, self.labels), columns=columns).rename_axis("group")


def categorisation(vectors: WordVectors, classes, method: str = "k-means", seeds=(0, 1, 2, 3, 4)) -> Categorisation:
    """Cluster the words of some classes, knowing only how many classes there are, and measure the purity.

    Args:
      vectors: the word vectors, of which the directions count (`unit`). Words are matched without regard to case.
      classes: a mapping from class to words, e.g. from `category_set`; words without a vector are left out and counted.
      method: "k-means" (ten starts for each seed, of which the best is kept), or "agglomerative" (average linkage of cosine distances),
        which is deterministic and takes no seed.
      seeds: of k-means.

    Raises:
      UnknownNameError: there is no such method.
      ConfigError: a word is in two classes, fewer than two classes have a word with a vector, or there is no seed.
    """
    if method not in METHODS:
        raise UnknownNameError(f"unknown method {method!r}{nearest(method, METHODS)} (methods: {', '.join(METHODS)})")
    words = [word for listed in classes.values() for word in dict.fromkeys(listed)]
    found = {kind: covered_rows(vectors, listed) for kind, listed in classes.items()}
    label_of = {}
    for kind, rows in found.items():
        for word, row in rows.items():
            if label_of.setdefault(row, kind) != kind:
                raise ConfigError(f"{word!r} is in the classes {label_of[row]!r} and {kind!r}: see `unambiguous`")
    k = len(set(label_of.values()))
    if k < 2:
        raise ConfigError(f"a clustering needs words of at least two classes, but {k} of {len(classes)} have words with a vector")
    if not (seeds := tuple(seeds)):
        raise ConfigError("categorisation needs at least one seed")
    unit_nD = vectors.unit[list(label_of)].astype(np.float64)
    labels, covered = tuple(label_of.values()), tuple(vectors.words[row] for row in label_of)
    runs = [_cluster(unit_nD, k, method, seed) for seed in (seeds if method == "k-means" else (None,))]
    shuffle = np.random.default_rng(0)
    chance = float(np.mean([purity(shuffle.permutation(runs[0]), labels) for _ in range(200)]))
    purities = tuple(purity(run, labels) for run in runs)
    return Categorisation(method, purities, chance, covered, labels, tuple(runs[0].tolist()), len(words))


def _cluster(unit_nD, k, method, seed):
    """The group of each row."""
    from sklearn.cluster import AgglomerativeClustering, KMeans

    if method == "k-means":
        return KMeans(k, n_init=10, random_state=seed).fit_predict(unit_nD)
    # the distances are ours, since scikit-learn's cosine refuses a vector of zeros, which is at distance 1 from all others here
    distance_nn = np.maximum(1 - unit_nD @ unit_nD.T, 0)
    return AgglomerativeClustering(k, metric="precomputed", linkage="average").fit_predict(distance_nn)

"""Neighbours, similarity and analogies against gensim's numbers (fixtures/make_vectors.py), naive loops and vectors with known answers."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, FormatError, NonFiniteError, ShapeError, UnknownNameError, VocabularyError
from lmlib.measure.embeddings import (
    ANALOGY_SETS,
    METHODS,
    SIMILARITY_SETS,
    analogies,
    analogy_questions,
    covered_rows,
    neighbours,
    parse_analogies,
    parse_similarity,
    similarity,
    similarity_set,
    three_cos_add,
    three_cos_mul,
)
from lmlib.measure.sets import CHINESE_ANALOGY_SETS, CHINESE_SIMILARITY_SETS, language_of
from lmlib.models.vectors import WordVectors

FIXTURES = Path(__file__).parent / "fixtures"
CASES = {"ignore case": True, "match case": False}


@pytest.fixture(scope="module")
def world():
    """583 words in 16 dimensions, three noisy relations among them, words in several spellings."""
    with np.load(FIXTURES / "embeddings.npz") as file:
        return WordVectors(file["words"].tolist(), file["vectors"])


@pytest.fixture(scope="module")
def gensim():
    return json.loads((FIXTURES / "embeddings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def questions():
    return parse_analogies((FIXTURES / "embeddings.questions.txt").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pairs():
    return parse_similarity((FIXTURES / "embeddings.pairs.tsv").read_text(encoding="utf-8"))


@pytest.fixture
def square():
    """king - man + woman is queen exactly; the others point elsewhere."""
    words = ["king", "man", "woman", "queen", "apple", "stone"]
    return WordVectors(words, np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1], [0.5, -1, 0.1], [0, -1, 0]]))


# Neighbours


def test_neighbours_equal_gensim(world, gensim):
    got = neighbours(world, list(gensim["neighbours"]))
    for words, cosines, want in zip(got.words, got.cosines, gensim["neighbours"].values(), strict=True):
        assert list(words) == [word for word, _ in want]
        assert_allclose(cosines, [cosine for _, cosine in want], atol=1e-6)


def test_neighbours_equal_a_naive_loop(world):
    """One word, one vector and many vectors at once, against cosines computed pair by pair in float64."""

    def naive(query, exclude, k):
        v = world.vectors.astype(np.float64)
        cosines = [(v[i] @ query / np.linalg.norm(v[i]) / np.linalg.norm(query), w) for i, w in enumerate(world.words) if w != exclude]
        return [word for _, word in sorted(cosines, reverse=True)[:k]]

    word = world.words[7]
    assert list(neighbours(world, word, 5).words[0]) == naive(world[word].astype(np.float64), word, 5)
    queries = np.random.default_rng(0).standard_normal((3, 16)) * 1e3
    assert [list(words) for words in neighbours(world, queries, 4).words] == [naive(query, None, 4) for query in queries]
    assert neighbours(world, world[word], 1).words == ((word,),)  # a vector has no word to leave out


def test_tied_neighbours_come_in_the_order_of_the_rows():
    vectors = WordVectors(["a", "b", "c", "d", "e"], [[1, 0], [0, 1], [0, 2], [0, 3], [1, 1]])
    assert neighbours(vectors, "a", 3).words == (("e", "b", "c"),)
    assert neighbours(vectors, "a", 4).words == (("e", "b", "c", "d"),)


def test_many_queries_are_the_same_as_one_by_one(world, monkeypatch):
    monkeypatch.setattr("lmlib.measure.embeddings._COSINES_AT_ONCE", 40 * len(world))  # so that the seams are tested too
    together = neighbours(world, list(world.words), 3)
    assert together.words[::50] == tuple(neighbours(world, word, 3).words[0] for word in world.words[::50])
    frame = together.frame()
    assert list(frame.columns) == ["query", "rank", "word", "cosine"]
    assert len(frame) == 3 * len(world)
    row = frame.iloc[3 * 17 + 1]
    assert (row["query"], row["rank"], row["word"]) == (world.words[17], 2, together.words[17][1])
    assert row["cosine"] == together.cosines[17, 1]


def test_neighbours_refuse(square):
    with pytest.raises(VocabularyError, match="did you mean 'queen'"):
        neighbours(square, "quen", 2)
    with pytest.raises(ShapeError, match=r"\(1, 2\)"):
        neighbours(square, np.ones(2), 2)
    with pytest.raises(NonFiniteError, match="vector 0"):
        neighbours(square, np.array([1, np.nan, 0]), 2)
    for k in (0, -1, 6):
        with pytest.raises(ConfigError, match=r"1 … 5"):
            neighbours(square, "king", k)
    assert len(neighbours(square, np.ones(3), 6).words[0]) == 6


# Similarity


@pytest.mark.parametrize("case", CASES)
def test_similarity_equals_gensim(world, gensim, pairs, case):
    got, want = similarity(world, pairs, ignore_case=CASES[case]), gensim["pairs"][case]
    assert got.n == len(pairs) == 80
    assert 100 * (got.n - got.covered) / got.n == want["oov percent"]
    assert_allclose(got.spearman, want["spearman"], atol=1e-9)
    assert_allclose(got.pearson, want["pearson"], atol=1e-6)


def test_similarity_by_hand():
    """Cosines 1, 0.6, 0, -1 in the order of the scores but for one swap: ρ = 1 - 6 Σd² / n(n² - 1) = 1 - 12 / 60."""
    vectors = WordVectors(["x", "same", "near", "across", "back"], [[1, 0], [2, 0], [3, 4], [0, 5], [-1, 0]])
    pairs = [("X", "same", 9), ("x", "near", 3), ("x", "across", 4), ("x", "back", 0), ("x", "ghost", 5), ("Ghost", "wraith", 1)]
    got = similarity(vectors, pairs)
    assert_allclose(got.spearman, 0.8, atol=1e-12)
    assert_allclose(got.pearson, np.corrcoef([9, 3, 4, 0], [1, 0.6, 0, -1])[0, 1], atol=1e-6)
    assert (got.n, got.covered, got.oov) == (6, 4, ("ghost", "Ghost", "wraith"))
    assert got.frame().to_dict("records") == [{"spearman": got.spearman, "pearson": got.pearson, "n": 6, "covered": 4, "oov": 3}]


def test_similarity_averages_ties():
    """Scores 1, 2, 2, 3 have ranks 1, 2.5, 2.5, 4: Pearson's correlation of the ranks."""
    vectors = WordVectors(["x", "a", "b", "c", "d"], [[1, 0], [1, 3], [1, 2], [1, 1], [1, 0.5]])
    got = similarity(vectors, [("x", "a", 1), ("x", "b", 2), ("x", "c", 2), ("x", "d", 3)])
    assert_allclose(got.spearman, np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1], atol=1e-12)


def test_similarity_without_enough_pairs_is_nan(square):
    for pairs in ([], [("king", "man", 3)], [("no", "nothing", 1), ("king", "man", 3)], [("king", "man", 3), ("king", "woman", 3)]):
        got = similarity(square, pairs)
        assert math.isnan(got.spearman)
        assert math.isnan(got.pearson)
        assert got.n == len(pairs)


def test_the_most_frequent_spelling_counts():
    """With counts, the most frequent spelling wins wherever it stands; without, the first."""
    words, matrix = ["Apple", "apple", "pear", "stone"], [[0, 1], [1, 0], [1, 0.1], [0, 1]]
    pairs = [("APPLE", "pear", 9), ("APPLE", "stone", 1), ("pear", "stone", 2)]
    frequent, first = (similarity(WordVectors(words, matrix, counts=counts), pairs).pearson for counts in ([1, 9, 5, 5], None))
    assert frequent > 0.9 > 0 > first


# Analogies


def test_scores_by_hand():
    """cos 0.8, 0.5, -0.2 with a, b, c: the sum 0.5 - 0.8 - 0.2 and the product 0.75 × 0.4 / (0.9 + ε)."""
    assert_allclose(three_cos_add(0.8, 0.5, -0.2), -0.5)
    assert_allclose(three_cos_mul(0.8, 0.5, -0.2, epsilon=0), 0.75 * 0.4 / 0.9)
    assert_allclose(three_cos_mul(0.8, 0.5, -0.2), 0.3 / 0.901)
    assert_allclose(three_cos_mul(-1.0, 1.0, 1.0), 1000)


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_king_and_queen(square, method):
    got = analogies(
        square, {"family": [("man", "king", "woman", "queen"), ("Man", "King", "Woman", "apple"), ("man", "x", "y", "z")]}, method
    )
    (family,) = got.categories
    assert family.answers == ("queen", "queen", None)
    assert (family.correct, family.covered, family.total, family.accuracy, family.coverage) == (1, 2, 3, 1 / 2, 2 / 3)


@pytest.mark.parametrize("case", CASES)
def test_3cosadd_equals_gensim(world, gensim, questions, case):
    got = analogies(world, questions, restrict=gensim["restrict"], ignore_case=CASES[case])
    scores = {score.category: [score.correct, score.covered] for score in got.categories} | {
        "Total accuracy": [got.total.correct, got.total.covered]
    }
    assert scores == gensim["3cosadd"][case]
    assert got.total.total == sum(map(len, questions.values()))


@pytest.mark.parametrize("case", CASES)
def test_3cosmul_equals_gensim(world, gensim, questions, case, monkeypatch):
    """Every single answer with gensim's ε of 1e-6; the paper's 1e-3 changes few."""

    def answers(method):
        got = analogies(world, questions, method, gensim["restrict"], ignore_case=CASES[case])
        return {score.category: list(score.answers) for score in got.categories}, got.total.answers

    _, ours = answers("3cosmul")
    monkeypatch.setitem(METHODS, "3cosmul", partial(three_cos_mul, epsilon=1e-6))
    got, theirs = answers("3cosmul")
    assert got == gensim["3cosmul"][case]
    assert sum(x != y for x, y in zip(ours, theirs, strict=True)) <= 3
    assert sum(x != y for x, y in zip(answers("3cosadd")[1], theirs, strict=True)) >= 5  # the fixture tells the methods apart


def test_3cosmul_scores_equal_gensim(world, gensim):
    a, b, c = (world.unit @ world.unit[world.index[word]] for word in gensim["asked"])
    with np.load(FIXTURES / "embeddings.npz") as file:
        assert_allclose(three_cos_mul(a, b, c, epsilon=1e-6), file["cosmul"], rtol=2e-5)


def test_analogies_equal_a_naive_loop(world, questions, monkeypatch):
    """Pure Python over single cosines; in chunks of 7 questions, so that the seams are tested too."""
    monkeypatch.setattr("lmlib.measure.embeddings._QUESTIONS_AT_ONCE", 7)
    unit = [v / np.linalg.norm(v) for v in world.vectors.astype(np.float64)]
    known = {word: i for i, word in reversed(list(enumerate(world.words[:550])))}
    some = questions["capital"][:60]
    got = analogies(world, {"some": some}, restrict=550, ignore_case=False).categories[0]
    for (a, b, c, d), answer in zip(some, got.answers, strict=True):
        if not {a, b, c, d} <= set(known):
            assert answer is None
            continue
        target = unit[known[b]] - unit[known[a]] + unit[known[c]]
        best = max((float(unit[i] @ target), word) for word, i in known.items() if word not in (a, b, c))
        assert answer == best[1]
    assert got.covered == sum(answer is not None for answer in got.answers) > 20


def test_restrict_takes_the_most_frequent(square):
    """Rows in any order: with counts, the words left out are the rare ones, as answers and as questions."""
    question = {"family": [("man", "king", "woman", "queen")]}
    shuffled = WordVectors(square.words, square.vectors, counts=[5, 5, 5, 4, 9, 1])
    assert analogies(shuffled, question, restrict=5).total.correct == 1
    assert analogies(shuffled, question, restrict=4).total.covered == 0
    assert analogies(square, question, restrict=4).total.correct == 1
    assert analogies(square, question, restrict=3).total.covered == 0
    assert analogies(square, question, restrict=None).restrict is None
    assert math.isnan(analogies(square, question, restrict=3).total.accuracy)


def test_other_spellings_of_the_question_are_no_answer():
    """KING stands nearest to the target, but it is a word of the question."""
    words = ["king", "man", "woman", "queen", "KING"]
    vectors = WordVectors(words, [[1, 1, 0], [1, 0, 0], [0, 0, 1], [0.1, 1, 1], [0, 1, 1]])
    question = {"family": [("man", "king", "woman", "queen")]}
    assert analogies(vectors, question).total.answers == ("queen",)
    assert analogies(vectors, question, ignore_case=False).total.answers == ("KING",)


def test_table_of_analogies(world, gensim, questions):
    got = analogies(world, questions, restrict=gensim["restrict"])
    frame = got.frame()
    assert list(frame.columns) == ["category", "accuracy", "correct", "covered", "total", "coverage"]
    assert frame["category"].tolist() == [*questions, "total"]
    assert frame["correct"].iloc[:-1].sum() == frame["correct"].iloc[-1] == got.semantic.correct + got.syntactic.correct
    assert got.semantic.total == len(questions["capital"])
    assert got.total.questions == tuple(q for quadruples in questions.values() for q in quadruples)


def test_analogies_refuse(square):
    question = {"family": [("man", "king", "woman", "queen")]}
    with pytest.raises(UnknownNameError, match="did you mean '3cosadd'"):
        analogies(square, question, "cosadd")
    with pytest.raises(ConfigError, match="restrict"):
        analogies(square, question, restrict=0)
    with pytest.raises(ShapeError, match="family"):
        analogies(square, {"family": [("man", "king", "woman")]})


# The published sets


def test_parse_similarity():
    assert parse_similarity("# a comment\ncar\tauto\t3.92\r\ngem jewel 1e0\n") == [("car", "auto", 3.92), ("gem", "jewel", 1.0)]
    for text, line in [
        ("", 1),
        ("# only\n", 1),
        ("a\tb\t1\n\nc\td\t2", 2),
        ("a b 1\na b\n", 2),
        ("a b c\n", 1),
        ("a b nan\n", 1),
        ("a b 1 2\n", 1),
    ]:
        with pytest.raises(FormatError, match=f"set:{line}"):
            parse_similarity(text, "set")
    for number in ("inf", "1_0", "3,5", ""):
        with pytest.raises(FormatError, match="set:2"):
            parse_similarity(f"a b 1\na b {number}\n", "set")


def test_parse_analogies():
    assert parse_analogies(": one\na b c d\r\n: two words\ne f g h\n") == {
        "one": [("a", "b", "c", "d")],
        "two words": [("e", "f", "g", "h")],
    }
    bad = [("", 1), ("a b c d\n", 1), (": one\na b c\n", 2), (": one\n: two\na b c d\n", 2), (": one\na b c d\n: one\na b c d\n", 3)]
    for text, line in [*bad, (":\na b c d\n", 1), (": one\na b c d\n\n", 3), (": one\na b c d e\n", 2)]:
        with pytest.raises(FormatError, match=f"set:{line}"):
            parse_analogies(text, "set")
    with pytest.raises(FormatError, match="set: the file ends"):
        parse_analogies(": one\na b c d\n: two\n", "set")


def test_the_language_is_that_of_most_of_the_text():
    words = ["的", "手机", "the", "，", "B超"]
    assert language_of(words, [30, 25, 20, 15, 10]) == "zh"  # 55 of 100 are of Chinese characters alone
    assert language_of(words, [30, 15, 20, 25, 10]) == "en"
    assert language_of(["le", "chat", "été"], [3, 2, 1]) == "en"


def test_unknown_sets():
    with pytest.raises(UnknownNameError, match="did you mean 'ws353'"):
        similarity_set("ws-353")
    with pytest.raises(UnknownNameError, match="sets: google"):
        analogy_questions("bats")


@pytest.mark.data
def test_published_similarity_sets():
    """Sizes as published, but for Verb-143, which holds 144 pairs as it is packaged."""
    sizes = {name: len(similarity_set(name)) for name in SIMILARITY_SETS}
    want = {"ws353": 353, "ws353-sim": 203, "ws353-rel": 252, "simlex999": 999, "rg65": 65, "mc30": 30, "rw": 2034, "mturk287": 287}
    assert sizes == want | {"yp130": 130, "verb143": 144}
    assert similarity_set("ws353")[1] == ("tiger", "cat", 7.35)
    assert similarity_set("simlex999")[0] == ("old", "new", 1.58)


@pytest.mark.data
def test_published_analogies():
    """19,544 questions, 8,869 of facts and 10,675 of grammar (Mikolov et al. 2013, section 4.1); 3,218 of phrases."""
    questions = analogy_questions()
    assert (len(questions), sum(map(len, questions.values()))) == (14, 19_544)
    assert sum(len(q) for name, q in questions.items() if name.startswith("gram")) == 10_675
    assert questions["family"][0] == ("boy", "girl", "brother", "sister")
    assert sum(map(len, analogy_questions("google-phrases").values())) == 3218
    assert set(ANALOGY_SETS) == {"google", "google-phrases"}


@pytest.mark.data
def test_published_chinese_sets():
    """240 and 297 pairs; CA8 has 10,177 morphological and 7,636 semantic questions, 17,813 in all (Li et al. 2018, table 2)."""
    assert {name: len(similarity_set(name)) for name in CHINESE_SIMILARITY_SETS} == {"wordsim-240": 240, "wordsim-297": 297}
    assert similarity_set("wordsim-297")[4] == ("钱", "现金", 4.58)
    sizes = {name: {c: len(q) for c, q in analogy_questions(name).items()} for name in CHINESE_ANALOGY_SETS}
    assert sizes["ca8-morphological"] == {"A": 2554, "prefix": 2553, "AB": 2535, "suffix": 2535}
    assert sizes["ca8-semantic"] == {"geography": 3192, "nature": 1370, "history": 1465, "people": 1609}
    assert analogy_questions("ca8-morphological")["A"][0] == ("避", "避一避", "补", "补一补")


def test_covered_rows_are_those_of_the_most_frequent_spelling():
    vectors = WordVectors(["Apple", "apple", "pear"], np.eye(3), counts=[1, 9, 5])
    assert covered_rows(vectors, ["PEAR", "ghost", "Apple", "PEAR"]) == {"PEAR": 2, "Apple": 1}
    assert covered_rows(vectors, ["PEAR", "Apple"], ignore_case=False) == {"Apple": 0}

"""Phrases against gensim, the formula by hand, and a naive count."""

import json
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lmlib.errors import ConfigError, EmptyCorpusError
from lmlib.text import phrases as module
from lmlib.text.corpora import memory_corpus
from lmlib.text.phrases import find_phrases, find_phrases_in_passes, join_phrases, phrase_corpus
from lmlib.text.tokenizers import WordTokenizer

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "phrases.json").read_text(encoding="utf-8"))


def sentences():
    """A stream that can be read once, as from a file."""
    return (sentence.split() for sentence in FIXTURE["sentences"])


def test_scores_equal_gensim():
    """fixtures/phrases.json: Phrases(scoring="default"), made by fixtures/make_phrases.py; it multiplies by another factor than N."""
    want = FIXTURE["passes"][0]
    scale = want["words"] / want["gensim_factor"]
    found = find_phrases(sentences(), threshold=want["threshold"] * scale, delta=want["delta"], min_count=1)
    assert len(want["scores"]) > 3
    assert {pair: score / scale for pair, score in found.items()} == pytest.approx({(a, b): score for a, b, score in want["scores"]})
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_joined_text_equals_gensim_after_one_pass_and_two():
    first, second = FIXTURE["passes"]
    thresholds = [each["threshold"] * each["words"] / each["gensim_factor"] for each in (first, second)]
    passes = find_phrases_in_passes(sentences, thresholds, min_count=1)
    joined = [" ".join(words) for words in join_phrases(sentences(), passes[0])]
    assert joined == first["joined"]
    again = [" ".join(words) for words in join_phrases(sentences(), *passes)]
    assert again == second["joined"]
    assert any("new_york_times" in sentence for sentence in again)


def test_score_by_hand():
    text = [["a", "b", "c", "a", "b"], ["b", "a", "b"]]  # 8 words: a 3, b 4, c 1; a b 3 times, across documents none
    assert find_phrases(text, threshold=0, delta=1, min_count=1) == {("a", "b"): pytest.approx((3 - 1) / (3 * 4) * 8)}
    assert find_phrases(text, threshold=4 / 3, delta=1, min_count=1) == {}, "the score must be higher than the threshold"
    assert find_phrases(text, threshold=0, delta=0, min_count=2).keys() == {("a", "b")}, "c is too rare, and so is b a"
    assert ("b", "b") not in find_phrases(text, threshold=0, delta=0, min_count=1)


def test_counts_in_small_pieces_equal_a_naive_count(monkeypatch):
    """The same whatever the size of the pieces in which a stream is counted."""
    monkeypatch.setattr(module, "CHUNK", 50)
    rng = np.random.default_rng(0)
    documents = [[f"w{i}" for i in rng.integers(0, 30, rng.integers(0, 12))] for _ in range(300)]
    single, pair = Counter(w for d in documents for w in d), Counter(p for d in documents for p in pairwise(d))
    want = {p: (n - 2) / single[p[0]] / single[p[1]] * single.total() for p, n in pair.items() if n > 2}
    assert find_phrases(iter(documents), threshold=0, delta=2, min_count=1) == pytest.approx(want)


def test_of_overlapping_phrases_the_first_is_joined():
    phrases = {("a", "b"): 1.0, ("b", "c"): 9.0, ("a", "a"): 1.0}
    assert list(join_phrases([["a", "b", "c"], [], ["a", "a", "a"], ["b"]], phrases, joiner="+")) == [["a+b", "c"], [], ["a+a", "a"], ["b"]]


def test_a_long_stream_takes_memory_for_its_distinct_pairs_only(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10_000)

    def stream():
        for i in range(300):
            yield [f"w{(i * j) % 50}" for j in range(1000)]

    tracemalloc.start()
    find_phrases(stream(), min_count=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6  # 300,000 words: a list of them takes more


@pytest.mark.parametrize(
    ("documents", "arguments", "error"),
    [
        ([], {}, EmptyCorpusError),
        ([[], []], {}, EmptyCorpusError),
        (["a text"], {}, ConfigError),
        ([["a"]], {"threshold": -1}, ConfigError),
        ([["a"]], {"threshold": float("nan")}, ConfigError),
        ([["a"]], {"min_count": 0}, ConfigError),
    ],
)
def test_what_cannot_be_counted_is_named(documents, arguments, error):
    with pytest.raises(error):
        find_phrases(documents, **arguments)


def test_a_text_in_place_of_words_is_named_when_joining():
    with pytest.raises(ConfigError, match="split"):
        list(join_phrases(["new york"], {}))


def test_a_corpus_with_phrases_is_read_by_a_tokenizer_that_cuts_at_spaces():
    read = []
    corpus = memory_corpus([" ".join(words).title() for words in sentences()])
    corpus.documents, documents = lambda: read.append(1) or documents(), corpus.documents
    joined = phrase_corpus(corpus, (2.0, 1.0), "lower")
    assert not read  # until a document is asked for
    passes = find_phrases_in_passes(sentences, (2.0, 1.0))
    assert passes[0]
    want = [" ".join(words) for words in join_phrases(sentences(), *passes)]
    assert list(joined.documents()) == want
    assert list(joined.documents()) == want
    assert len(read) == 2 + 2  # a pass is made once
    assert (joined.name, joined.split, joined.licence, joined.sha256) == (corpus.name, corpus.split, corpus.licence, corpus.sha256)


def test_phrases_of_characters_are_the_words_of_chinese():
    """Sentences of a few words, written without spaces: the words come back, since no two of them follow each other by habit."""
    rng, words = np.random.default_rng(0), ["天气", "朋友", "喜欢", "城市", "音乐", "图书", "早晨", "看见", "苹果", "电影"]
    cut = [[*rng.choice(words, 6), str(rng.choice(["。", "！", " OK"]))] for _ in range(300)]
    corpus = phrase_corpus(memory_corpus(map("".join, cut)), (10.0,), "none", "cjk")
    assert list(corpus.documents()) == [" ".join(map(str.strip, words)) for words in cut]
    assert set(WordTokenizer.train(corpus.documents()).words) == {*words, "。", "！", "OK"}

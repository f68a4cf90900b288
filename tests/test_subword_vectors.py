"""Vectors of words never seen, and their folder: the round trip, damage, and reading by gensim's format."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import IntegrityError, ShapeError, UnavailableError, VocabularyError
from lmlib.models.subword_vectors import SubwordVectors
from lmlib.models.vectors import WordVectors
from lmlib.text.subwords import ft_hash, ngrams, subwords

WORDS = ["nation", "été", "ananan"]


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    grams = subwords(WORDS, buckets=100_000)
    known = WordVectors(WORDS, rng.normal(size=(3, 5)))
    return SubwordVectors(known, grams.buckets, rng.normal(size=(len(grams.buckets), 5)), 3, 6, 100_000)


def by_hand(vectors, word):
    row = {bucket: i for i, bucket in enumerate(map(int, vectors.grams.words))}
    found = [vectors.grams.vectors[row[ft_hash(g) % 100_000]] for g in ngrams(word) if ft_hash(g) % 100_000 in row]
    return np.mean(found, axis=0)


def test_a_known_word_has_its_own_vector_and_others_the_mean_of_their_ngrams(vectors):
    assert_array_equal(vectors["nation"], vectors.known["nation"])
    for word in ("nations", "étés", "ana"):
        assert word in vectors
        assert_allclose(vectors[word], by_hand(vectors, word), atol=1e-6)
    assert_allclose(vectors.unseen(["nation"])["nation"], by_hand(vectors, "nation"), atol=1e-6)


def test_a_word_without_a_common_ngram_is_named(vectors):
    assert "qq" not in vectors
    with pytest.raises(VocabularyError, match="'qq'"):
        vectors["qq"]


def test_a_saved_folder_reads_back_to_the_same_bits(vectors, tmp_path):
    vectors.save(tmp_path / "a")
    again = SubwordVectors.load(tmp_path / "a")
    assert again.known.words == vectors.known.words
    assert again.setting == vectors.setting
    for one, other in ((again.known, vectors.known), (again.grams, vectors.grams)):
        assert_array_equal(one.vectors.view(np.uint32), other.vectors.view(np.uint32))
    assert_array_equal(again["nations"], vectors["nations"])
    assert_array_equal(WordVectors.load(tmp_path / "a" / "words.bin").vectors, vectors.known.vectors)  # for every other program


def test_damage_is_found(vectors, tmp_path):
    with pytest.raises(UnavailableError):
        SubwordVectors.load(tmp_path / "none")
    vectors.save(tmp_path)
    for name in ("words.bin", "ngrams.bin"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=name):
            SubwordVectors.load(tmp_path)
        (tmp_path / name).write_bytes(content)
    meta = json.loads((tmp_path / "subwords.json").read_text())
    (tmp_path / "subwords.json").write_text(json.dumps(meta | {"buckets": 999}))
    with pytest.raises(IntegrityError):
        SubwordVectors.load(tmp_path)


def test_parts_that_do_not_fit_together_are_an_error(vectors):
    with pytest.raises(ShapeError, match="n-grams"):
        SubwordVectors(vectors.known, [1, 2], np.zeros((2, 4)), 3, 6, 10)

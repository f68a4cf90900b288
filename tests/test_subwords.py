"""Subwords against gensim's n-grams and hashes (fixtures/make_subwords.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmlib.errors import ConfigError, EncodingError
from lmlib.text.subwords import ft_hash, hashed_ngrams, ngrams, subwords

ROWS = json.loads((Path(__file__).parent / "fixtures" / "subwords.json").read_text(encoding="utf-8"))


def test_ngrams_and_hashes_are_gensims():
    assert any(byte > 127 for row in ROWS for byte in row["word"].encode())
    for row in ROWS:
        assert ngrams(row["word"], row["smallest"], row["largest"]) == row["ngrams"]
        assert [ft_hash(gram) for gram in row["ngrams"]] == row["hashes"]


def test_the_hash_is_fnv_1a_where_the_text_is_ascii_and_not_elsewhere():
    assert (ft_hash("a"), ft_hash("foobar")) == (0xE40C292C, 0xBF9CF968)  # published test vectors of FNV-1a
    assert ft_hash("é") == 0x3CFA68C1  # FNV-1a proper is 0x1E9DE8C1


@pytest.mark.parametrize("lengths", [(3, 6), (1, 2), (2, 4)])
def test_many_words_at_once_are_the_words_one_by_one(lengths):
    rows = [row for row in ROWS if (row["smallest"], row["largest"]) == lengths]
    offsets, hashes = hashed_ngrams([row["word"] for row in rows], *lengths, buckets=1000)
    for i, row in enumerate(rows):
        assert hashes[offsets[i] : offsets[i + 1]].tolist() == [h % 1000 for h in row["hashes"]]


def test_the_vocabularys_ngrams_by_number():
    words = ["where", "were", "a", "ananan"]
    grams = subwords(words, buckets=50, counts=[1, 1, 1, 100])
    offsets, hashes = hashed_ngrams(words, buckets=50)
    assert_array_equal(grams.buckets[grams.ngrams], hashes)
    assert_array_equal(grams.offsets, offsets)
    assert len(set(grams.buckets.tolist())) == len(grams.buckets)
    use = np.bincount(grams.ngrams, np.repeat([1, 1, 1, 100], np.diff(offsets)))
    assert (np.diff(use) <= 0).all()


def test_impossible_settings_and_words_are_named():
    with pytest.raises(ConfigError, match="longer"):
        ngrams("a", 4, 3)
    with pytest.raises(ConfigError, match="smallest"):
        hashed_ngrams(["a"], 0, 3)
    with pytest.raises(EncodingError, match=r"words\[1\]"):
        hashed_ngrams(["a", "\ud800"])

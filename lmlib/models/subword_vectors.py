"""Word vectors that know words they have never seen: those of a vocabulary, and those of character n-grams (`fasttext`).

Saved as a folder, since no common format holds n-grams without holding a whole model of one program:

    words.bin      the vocabulary's vectors, in word2vec's binary format, for every other program
    ngrams.bin     the n-grams' vectors in the same format; the "word" of a row is the number of its bucket
    subwords.json  lengths of the n-grams, number of buckets, and the SHA-256 of both files; sealed

Shapes: V vocabulary, K n-gram rows, D dimensions.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from lmlib.errors import FormatError, IntegrityError, UnavailableError, VocabularyError, check_shape
from lmlib.models.vectors import WordVectors
from lmlib.text.sealed import read_sealed, write_sealed
from lmlib.text.subwords import hashed_ngrams

KIND = "lmlib subword vectors 1"
WORDS, NGRAMS, META = "words.bin", "ngrams.bin", "subwords.json"


class SubwordVectors:
    """A WordVectors, and vectors for all other words that share an n-gram with its vocabulary.

    Attributes:
      known: the WordVectors of the vocabulary, for everything that wants WordVectors.
      grams: the WordVectors of the n-grams' buckets, whose words are their numbers.
      setting: {"smallest", "largest", "buckets"}, see `lmlib.text.subwords`.
    """

    def __init__(self, known, buckets, ngram_vectors, smallest, largest, total):
        """Join the parts.

        Args:
          known: a WordVectors.
          buckets: (K,) whole numbers, the bucket of each row.
          ngram_vectors: (K, D).
          smallest, largest: lengths of the n-grams.
          total: how many buckets n-grams are hashed into.
        """
        check_shape(ngram_vectors, (len(buckets), known.vectors.shape[1]), "the n-grams' vectors")
        self.known, self.grams = known, WordVectors([str(bucket) for bucket in buckets], ngram_vectors)
        self.setting = {"smallest": int(smallest), "largest": int(largest), "buckets": int(total)}

    def __repr__(self):
        return f"SubwordVectors({len(self.known):,} words and {len(self.grams):,} n-grams, {self.known.vectors.shape[1]} dimensions)"

    def __contains__(self, word):
        return word in self.known or bool(self._rows([word])[0])

    def __getitem__(self, word):
        """The vector (D,) of a word: its own, or the mean of those of its n-grams. VocabularyError where it has no n-gram in common
        with the vocabulary."""
        return self.known[word] if word in self.known else self.unseen([word]).vectors[0]

    def unseen(self, words) -> WordVectors:
        """Vectors from n-grams alone, for any words: the mean of those of their n-grams that have one.

        Args:
          words: distinct strings; where one is in the vocabulary, its own row there is left out.

        Raises:
          VocabularyError: a word has no n-gram with a vector.
        """
        words, vectors = list(words), []
        for word, rows in zip(words, self._rows(words), strict=True):
            if not rows:
                raise VocabularyError(f"no vector for {word!r}: the vocabulary has none of its n-grams")
            vectors.append(self.grams.vectors[rows].mean(axis=0))
        return WordVectors(words, np.array(vectors))

    def _rows(self, words):
        """The rows of each word's n-grams, as far as they have one; twice where an n-gram stands twice."""
        offsets, hashes = hashed_ngrams(words, **self.setting)
        return [[self._row[h] for h in hashes[offsets[i] : offsets[i + 1]].tolist() if h in self._row] for i in range(len(words))]

    @cached_property
    def _row(self):
        return {int(bucket): row for row, bucket in enumerate(self.grams.words)}

    def save(self, folder):
        """Write the three files of a folder; an interrupted save is found when it is read.

        Raises:
          FormatError, EncodingError, StorageError: as `WordVectors.save`.
        """
        folder = Path(folder)
        self.known.save(folder / WORDS, "word2vec-binary")
        self.grams.save(folder / NGRAMS, "word2vec-binary")
        digests = {name: _digest(folder / name) for name in (WORDS, NGRAMS)}
        write_sealed(folder / META, KIND, self.setting | {"files": digests})

    @classmethod
    def load(cls, folder):
        """Read a folder of `save`.

        Raises:
          UnavailableError: there is none.
          IntegrityError: a file is not the one that was saved.
          FormatError: a file does not follow its format.
        """
        folder = Path(folder)
        meta = read_sealed(folder / META, KIND)
        try:
            digests = {name: meta["files"][name] for name in (WORDS, NGRAMS)}
            setting = [meta[name] for name in ("smallest", "largest", "buckets")]
        except (KeyError, TypeError) as error:
            raise FormatError(f"{folder / META}: a field is missing or of the wrong type ({error})") from error
        for name, stated in digests.items():
            if (have := _digest(folder / name)) != stated:
                raise IntegrityError(f"{folder / name} has SHA-256 {have}, but {META} states {stated}: it was damaged, save it anew")
        known, grams = (WordVectors.load(folder / name, "word2vec-binary") for name in (WORDS, NGRAMS))
        if not all(word.isdecimal() for word in grams.words):
            raise FormatError(f"{folder / NGRAMS}: a row's word is no number of a bucket")
        return cls(known, [int(word) for word in grams.words], grams.vectors, *setting)


def _digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error

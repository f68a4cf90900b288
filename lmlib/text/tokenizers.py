"""Text to integers and back: characters, words and byte pairs behind one interface.

A tokenizer never normalises in secret: what it does to a text is a named setting, stored with it. Text never becomes a special token:
specials such as <eos> have ids of their own, after all ids that text can have, and are asked for by name. Characters and byte pairs give
back any text exactly (`lossless`); words do not.

Ids, in this order: what text can become, then the specials. `vocab_size` counts both.
"""

import re
from collections import Counter
from itertools import pairwise

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, VocabularyError, nearest
from lmlib.text.byte_pairs import BytePairTokenizer
from lmlib.text.tokenizer_base import Tokenizer, check_count, check_text, checked, one_by_one

__all__ = ["BytePairTokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer"]


class CharTokenizer(Tokenizer):
    """One id a character (Unicode code point).

    A character that was not in the training text is written as its UTF-8 bytes, which have 256 ids of their own ("byte fallback", as in
    SentencePiece), so that every text survives. With fallback=False there are no such ids, the vocabulary is the alphabet alone, as in
    published character models, and an unseen character is an error.
    """

    kind = "character"

    def __init__(self, characters, fallback=True, specials=()):
        if not characters or len(set(characters)) < len(characters):
            raise ConfigError("characters must be distinct, and at least one")
        state = {"characters": check_text(characters), "fallback": fallback}
        super().__init__([*characters, *(f"<0x{byte:02X}>" for byte in range(256) if fallback)], specials, state)
        self.characters, self.fallback = characters, fallback
        self._bytes = [c.encode() for c in characters] + [bytes([b]) for b in range(256) if fallback] + [s.encode() for s in self.specials]
        codes = np.frombuffer(characters.encode("utf-32-le"), "<u4")
        self._table = np.full(0x110000, -1, np.int32)  # code point → id
        self._table[codes] = np.arange(len(codes))

    @classmethod
    def train(cls, documents, *, fallback=True, specials=()):
        """Collect the characters of some documents (iterable of str), in the order of their code points."""
        characters = set()
        for document in checked(documents):
            characters.update(document)
        return cls("".join(sorted(characters)), fallback, specials)

    def _encode(self, texts):
        return [self._encode_one(text) for text in texts]

    def _encode_one(self, text):
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        ids = self._table[codes]
        unseen = ids < 0
        if not unseen.any():
            return ids
        if not self.fallback:
            at = int(np.argmax(unseen))
            raise VocabularyError(
                f"character {at} of the text, {text[at]!r} (U+{ord(text[at]):04X}), is not in the alphabet of this tokenizer: "
                "train it on text that has it, or with fallback=True"
            )
        sizes = 1 + sum((unseen & (codes >= first)).astype(np.int64) for first in (0x80, 0x800, 0x10000))  # bytes in UTF-8
        spread, is_byte = np.repeat(ids, sizes), np.repeat(unseen, sizes)
        written = "".join(map(chr, codes[unseen])).encode()
        spread[is_byte] = len(self.characters) + np.frombuffer(written, np.uint8).astype(np.int32)
        return spread

    def _decode(self, ids):
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")


# ASCII letters and digits stay; every other byte, those of non-ASCII characters included, becomes a space
_LETTERS_DIGITS = bytes(byte if byte < 0x80 and chr(byte).isalnum() else 0x20 for byte in range(256))
# Ideographs, their punctuation and the full-width forms of ASCII punctuation
_CJK = "\u3001-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\U00020000-\U0003ffff"
_ACCENTS = "\u0300-\u036f"  # a combining accent belongs to its letter
SEGMENTATIONS = {
    "space": str.split,
    "punctuation": re.compile(f"[\\w{_ACCENTS}]+|[^\\w\\s{_ACCENTS}]").findall,
    "cjk": re.compile(f"[{_CJK}]|[^\\s{_CJK}]+").findall,
}
NORMALISATIONS = {
    "none": lambda text: text,
    "lower": str.lower,
    "letters-digits": lambda text: text.lower().encode().translate(_LETTERS_DIGITS).decode(),
}
_is_cjk = re.compile(f"[{_CJK}]").match


def splitter(normalisation, segmentation):
    """A function from a text to the list of its words; the names are those of `WordTokenizer`."""
    for name, value, known in (("normalisation", normalisation, NORMALISATIONS), ("segmentation", segmentation, SEGMENTATIONS)):
        if value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}{nearest(value, known)}")
    if (normalisation, segmentation) == ("letters-digits", "cjk"):
        raise ConfigError("normalisation 'letters-digits' removes every Chinese character: use 'none' or 'lower' with 'cjk'")
    normalise, cut = NORMALISATIONS[normalisation], SEGMENTATIONS[segmentation]
    return lambda text: cut(normalise(text))


class WordTokenizer(Tokenizer):
    """One id a word; the ids run by falling count (equal counts: by code points), so id 0 is the most frequent word.

    Normalisation, before the text is cut:
      "none": nothing.
      "lower": `str.lower`.
      "letters-digits": lower case, then every run of characters outside a-z and 0-9 becomes one space (the text8 convention, but digits
        are not spelt out).
    Segmentation, where the text is cut:
      "space": at white space, for text whose tokens stand apart already.
      "punctuation": runs of letters and digits, and every other character for itself.
      "cjk": every Chinese character and punctuation mark for itself, all else at white space.

    A word outside the vocabulary becomes `unk`; with unk=None it is dropped, as word2vec does. Where the text itself has the word `unk` (as
    in Penn Treebank and WikiText), it is the same unknown word.

    Attributes:
      words: the list of words; words[i] has id i.
      counts: (len(words),) int64, how often each word occurred in the training text.
      index: {word: id}.
      unk_id: the id of unknown words, or None; it is len(words).
      split: a function from a text to its words, normalised and cut as this tokenizer does it, unknown ones included.
    """

    kind = "word"
    lossless = False

    def __init__(self, words, counts, normalisation="none", segmentation="space", unk="<unk>", specials=()):
        self.split = splitter(normalisation, segmentation)
        self.words, self.counts = list(words), np.array(counts, np.int64)
        self.normalisation, self.segmentation, self.unk = normalisation, segmentation, unk
        self.index = _Index((word, i) for i, word in enumerate(self.words))
        if not self.words or len(self.index) < len(self.words) or unk in self.index or self.counts.shape != (len(self.words),):
            raise ConfigError("words must be distinct, at least one, with a count each, and not hold the name of the unknown word")
        self.unk_id = None if unk is None else len(self.words)
        self.index.unknown = -1 if unk is None else self.unk_id
        tokens = self.words if unk is None else [*self.words, unk]
        state = {"words": self.words, "counts": self.counts.tolist(), "unk": unk}
        super().__init__(tokens, specials, state | {"normalisation": normalisation, "segmentation": segmentation})

    @classmethod
    def train(cls, documents, *, normalisation="none", segmentation="space", min_count=1, max_size=None, unk="<unk>", specials=()):
        """Count the words of some documents.

        Args:
          documents: iterable of str; one pass, so it may be larger than memory.
          normalisation, segmentation: names, see the class.
          min_count: drop words that occur less often.
          max_size: keep at most so many words, the most frequent; `unk` and specials come on top.
          unk: name of the unknown word, or None to drop unknown words.
          specials: names of special tokens.

        Raises:
          EmptyCorpusError: no text, or no word that occurs min_count times.
        """
        check_count("min_count", min_count, 1)
        if max_size is not None:
            check_count("max_size", max_size, 1)
        split, counts = splitter(normalisation, segmentation), Counter()
        for document in checked(documents):
            counts.update(split(document))
        counts.pop(unk, None)
        if not counts:
            raise EmptyCorpusError(f"no word is left of the text with normalisation {normalisation!r}: choose another, or look at the text")
        kept = sorted(((-count, word) for word, count in counts.items() if count >= min_count))[:max_size]
        if not kept:
            raise EmptyCorpusError(f"no word occurs at least {min_count} times: lower min_count, or look at the text")
        return cls([word for _, word in kept], [-count for count, _ in kept], normalisation, segmentation, unk, specials)

    def out_of_vocabulary(self, documents):
        """How much of some text the vocabulary misses: {"words", "unknown", "rate"}; rate = unknown / words."""
        words = unknown = 0
        for document in one_by_one(documents):
            found = self.split(check_text(document))
            words += len(found)
            unknown += sum(word not in self.index for word in found)
        return {"words": words, "unknown": unknown, "rate": unknown / words if words else 0.0}

    def _encode(self, texts):
        split, lookup = self.split, self.index.__getitem__
        encoded = []
        for text in texts:
            words = split(text)
            ids = np.fromiter(map(lookup, words), np.int32, len(words))
            encoded.append(ids if self.unk_id is not None else ids[ids >= 0])
        return encoded

    def _piece(self, i):
        return self.tokens[i]

    def _decode(self, ids):
        words = [self.tokens[i] for i in ids]
        if self.segmentation != "cjk":
            return " ".join(words)
        # Chinese is written without spaces: one stands only where neither neighbour is Chinese
        gaps = ["" if _is_cjk(a) or _is_cjk(b) else " " for a, b in pairwise(words)]
        return "".join(gap + word for gap, word in zip(["", *gaps], words, strict=False))


class _Index(dict):
    """{word: id} that answers `unknown` for a missing word when indexed, and None by `get`, as a dict does."""

    def __missing__(self, word):
        return self.unknown

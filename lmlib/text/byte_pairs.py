"""Byte-level byte pair encoding for use: trained and applied by the `tokenizers` library. `bpe.py` is the one to read."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from lmlib.errors import ConfigError, EncodingError, FormatError, UnavailableError
from lmlib.text.bpe import BYTE_SYMBOLS
from lmlib.text.tokenizer_base import Tokenizer, check_count, check_specials, checked, grouped


class BytePairTokenizer(Tokenizer):
    """Byte-level byte pair encoding, with the word pattern of GPT-2; `lmlib.text.bpe` explains it, the `tokenizers` library does the work.

    Ids 0 … 255 are the bytes in the order of GPT-2's vocabulary, then one id for each merge: the merges alone make the vocabulary.

    Attributes:
      merges: list of pairs of symbols, as in the published merges.txt.
    """

    kind = "byte pair"

    def __init__(self, merges, specials=()):
        vocabulary = {symbol: i for i, symbol in enumerate(BYTE_SYMBOLS.values())}
        for number, (left, right) in enumerate(merges):
            if left not in vocabulary or right not in vocabulary:
                raise FormatError(f"merge {number}, {left!r} with {right!r}, uses a token that no earlier merge makes")
            vocabulary.setdefault(left + right, len(vocabulary))
        super().__init__(vocabulary, specials, {"merges": [f"{left} {right}" for left, right in merges]})
        self.merges = [tuple(pair) for pair in merges]
        self._vocabulary, self._library = vocabulary, None
        byte = {symbol: byte for byte, symbol in BYTE_SYMBOLS.items()}
        self._bytes = [bytes(byte[symbol] for symbol in token) for token in vocabulary] + [s.encode() for s in self.specials]

    @classmethod
    def _from_state(cls, merges, specials):
        pairs = [merge.split(" ") for merge in merges]
        if any(len(pair) != 2 for pair in pairs):
            raise FormatError("a merge must be two symbols with one space between them")
        return cls(pairs, specials)

    @classmethod
    def train(cls, documents, vocab_size, *, min_count=2, specials=()):
        """Learn the merges from some documents (iterable of str).

        Args:
          vocab_size: number of ids, the 256 bytes and the specials included.
          min_count: never merge a pair that is rarer than this.

        Raises:
          ConfigError: the vocabulary is too small for the bytes, or larger than the text supports (names the largest size).
        """
        from tokenizers import trainers

        specials = check_specials(specials)
        check_count("vocab_size", vocab_size, len(BYTE_SYMBOLS) + len(specials))
        check_count("min_count", min_count, 1)
        library = _library(None, None)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(specials),
            min_frequency=min_count,
            initial_alphabet=list(BYTE_SYMBOLS.values()),
            show_progress=False,
        )
        library.train_from_iterator((piece for document in checked(documents) for piece in _pieces(document)), trainer)
        tokenizer = cls([tuple(pair) for pair in json.loads(library.to_str())["model"]["merges"]], specials)
        if tokenizer.vocab_size < vocab_size:
            raise ConfigError(
                f"vocab_size={vocab_size} is more than this text supports: with min_count={min_count} "
                f"it can be at most {tokenizer.vocab_size}"
            )
        return tokenizer

    @classmethod
    def read_merges(cls, path, specials=("<|endoftext|>",)):
        """Read a published merges file (GPT-2's vocab.bpe, merges.txt): a line "#version …", then two symbols a line."""
        try:
            lines = Path(path).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnavailableError(f"{path}: no such file") from error
        except UnicodeDecodeError as error:
            raise EncodingError(f"{path}, byte {error.start}: not UTF-8") from error
        first = 1 if lines[0].startswith("#version") else 0
        pairs = [line.removesuffix("\r").split(" ") for line in lines[first:]]
        for number, pair in enumerate(pairs, first + 1):
            if len(pair) != 2 or not all(pair):
                raise FormatError(f"{path}, line {number}: a merge is two symbols with one space between them")
        return cls(pairs, specials)

    def _encode(self, texts):
        self._library = self._library or _library(self._vocabulary, self.merges)
        ends = [0]  # for each text, where its pieces end

        def pieces():
            for text in texts:
                ends.append(ends[-1])
                for piece in _pieces(text):
                    ends[-1] += 1
                    yield piece

        ids = []
        for group in grouped(pieces()):  # the library's own record of a token takes some 150 bytes: only for a group at a time
            encodings = self._library.encode_batch_fast(group, add_special_tokens=False)
            ids.extend(np.array(encoding.ids, np.int32) for encoding in encodings)
        return [np.concatenate(ids[start:end]) for start, end in pairwise(ends)]

    def _decode(self, ids):
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")


def _library(vocabulary, merges):
    from tokenizers import Tokenizer, models, pre_tokenizers

    library = Tokenizer(models.BPE(vocabulary, merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return library


PIECE = 1 << 16  # characters
# A place where GPT-2's pattern always ends a word: white space after anything else, or a letter or digit after punctuation (the
# apostrophe excepted, which may begin "'s"). Cutting there keeps the work on a long text small and parallel and changes no token.
_BREAK = re.compile(r"\S(?=[ \n\t])|[!-&(-/:-@\[-`{-~，。、！？；：…”）》」』](?=[^\W_])")


def _pieces(text):
    """A text cut into pieces of about PIECE characters; at least one, which may be empty."""
    start = 0
    while len(text) - start > PIECE and (found := _BREAK.search(text, start + PIECE)):
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]

"""What every tokenizer does: encode, decode, special tokens by name, save and load with a digest; and the guards on text."""

from typing import ClassVar

import numpy as np

from lmlib.errors import (
    ConfigError,
    EmptyCorpusError,
    EncodingError,
    FormatError,
    UnknownNameError,
    as_array,
    check_ids,
    check_shape,
    nearest,
)
from lmlib.text.sealed import digest, read_sealed, write_sealed

FORMAT = "lmlib tokenizer 1"


def check_text(text):
    """Return `text`, or raise EncodingError unless it is a str that can be written as UTF-8 (a lone surrogate cannot)."""
    if not isinstance(text, str):
        raise EncodingError(f"text must be str, got {type(text).__name__}: decode bytes first, join lists first")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise EncodingError(
                f"character {error.start} of the text is the lone surrogate U+{code:04X}, which no UTF-8 file can hold: "
                "the text was decoded wrongly; read its source as UTF-8 again"
            ) from error
    return text


def one_by_one(documents):
    """The documents of an iterable; a single str, which would fall into its characters, is one document."""
    return iter([documents] if isinstance(documents, str) else documents)


def checked(documents):
    """The documents one after the other, checked.

    Raises:
      EmptyCorpusError: at the end, if none of them held anything but white space.
    """
    empty = True
    for document in one_by_one(documents):
        empty = empty and not check_text(document).strip()
        yield document
    if empty:
        raise EmptyCorpusError("no document has any text: nothing to train a tokenizer on")


def check_count(name, value, least):
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_specials(specials):
    specials = (specials,) if isinstance(specials, str) else tuple(specials)
    if len(set(specials)) < len(specials) or not all(map(check_text, specials)):
        raise ConfigError(f"specials must be distinct, non-empty names, got {specials!r}")
    return specials


def grouped(texts, characters=1 << 20):
    """Lists of consecutive texts of about so many characters together: large enough for threads, small enough for memory."""
    group, size = [], 0
    for text in one_by_one(texts):
        check_text(text)
        group.append(text)
        size += len(text) + 1  # blank lines count too
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group


class Tokenizer:
    """What the three tokenizers share. `Tokenizer.load(path)` loads any of them.

    Attributes:
      tokens: list of str, a readable name for each id, specials last.
      specials: names of the special tokens.
      lossless: whether decode(encode(s)) == s for every text s.
    """

    kind = ""
    lossless = True
    _kinds: ClassVar[dict] = {}  # kind → class

    def __init_subclass__(cls):
        Tokenizer._kinds[cls.kind] = cls

    def __init__(self, tokens, specials, state):
        self.specials = check_specials(specials)
        self.tokens = [*tokens, *self.specials]
        self._state = {"kind": self.kind, "specials": list(self.specials), **state}
        self._digest = None

    def __repr__(self):
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    @property
    def vocab_size(self):
        """Number of ids, specials included."""
        return len(self.tokens)

    @property
    def dtype(self):
        """The smallest unsigned integer type that holds every id: uint8, uint16 or uint32."""
        return np.min_scalar_type(self.vocab_size - 1)

    @property
    def digest(self):
        """SHA-256 of all that decides which ids a text gets."""
        self._digest = self._digest or digest(self._state)
        return self._digest

    def special(self, name):
        """Id of a special token."""
        if name not in self.specials:
            raise UnknownNameError(
                f"this tokenizer has no special token {name!r}{nearest(name, self.specials)} "
                f"(it has: {', '.join(self.specials) or 'none'}); name it in `specials` when the tokenizer is trained"
            )
        return self.vocab_size - len(self.specials) + self.specials.index(name)

    def encode(self, text, before=None, after=None):
        """Ids of a text, (N,) of `dtype`.

        Args:
          text: any str; nothing in it is read as a special token.
          before: name of a special token to put before it, or None.
          after: name of a special token to put after it, or None.

        Raises:
          EncodingError: the text is no str, or has a lone surrogate.
        """
        return self.encode_batch([text], before, after)[0]

    def encode_batch(self, texts, before=None, after=None):
        """`encode` for a list of texts: a list of arrays."""
        head, tail = ([] if name is None else [self.special(name)] for name in (before, after))
        encoded = self._encode([check_text(text) for text in texts])
        if not head and not tail:
            return [ids.astype(self.dtype, copy=False) for ids in encoded]
        return [np.concatenate([head, ids, tail]).astype(self.dtype) for ids in encoded]

    def decode(self, ids, skip_specials=False):
        """Text of (N,) ids; a special token is written as its name, or left out.

        Bytes that form no character, as a model may draw them, become U+FFFD.

        Raises:
          VocabularyError: an id is outside the vocabulary.
        """
        ids = as_array(ids, "ids")
        if not ids.size:
            return ""
        ids = check_ids(check_shape(ids, (None,), "ids"), self.vocab_size)
        if skip_specials:
            ids = ids[ids < self.vocab_size - len(self.specials)]
        return self._decode(ids.tolist())

    def pieces(self, ids):
        """The text of each of (N,) ids by itself, a list of str, to look at. Bytes that form no character are written as \\xe4."""
        ids = check_ids(check_shape(ids, (None,), "ids"), self.vocab_size) if len(ids) else []
        return [self._piece(int(i)) for i in ids]

    def _piece(self, i):
        return self._bytes[i].decode("utf-8", "backslashreplace")

    def save(self, path):
        """Write the tokenizer as JSON with its digest: the same bytes for the same tokenizer."""
        write_sealed(path, FORMAT, self._state)

    @classmethod
    def load(cls, path):
        """Read a tokenizer that `save` wrote.

        Raises:
          UnavailableError: no such file. FormatError: not a tokenizer, or one of another kind. IntegrityError: a damaged one.
        """
        state = read_sealed(path, FORMAT)
        kind = state.pop("kind", None)
        if kind not in cls._kinds or not issubclass(cls._kinds[kind], cls):
            raise FormatError(f"{path} holds a tokenizer of kind {kind!r}, not {cls.kind or ', '.join(cls._kinds)!r}")
        try:
            return cls._kinds[kind]._from_state(**state)
        except TypeError as error:
            raise FormatError(f"{path}: fields are missing, unknown or of the wrong type ({error})") from error

    @classmethod
    def _from_state(cls, **state):
        return cls(**state)

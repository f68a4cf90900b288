"""Corpora by name, or the reader's own text, through one function: `open_corpus`.

A registered corpus is looked for, in this order, in the package (`world`, `manual`), in the folder of LMLIB_DATA, in the cache, and on
the network (`lmlib.text.fetch`). Its bytes are verified against corpora.json before they are read. Text is streamed, so a corpus may be
larger than memory.
"""

import json
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

from lmlib.errors import EmptyCorpusError, EncodingError, UnknownNameError, nearest
from lmlib.text import fetch, formats, reading, sources

BUNDLED = {
    "world": {
        "task": "a small world of true sentences: language modelling, analogies, translation, labels",
        "language": "en, fr, zh",
        "licence": "Apache-2.0",
        "splits": ("train", "valid", "test"),
    },
    "manual": {
        "task": "language modelling: prose of Python's own documentation",
        "language": "en",
        "licence": "PSF-2.0",
        "splits": ("all", "train", "valid", "test"),
    },
}


class Stream:
    """Something that can be iterated again and again: each time `make(*args)` starts afresh."""

    def __init__(self, make, *args):
        self._make, self._args = make, args

    def __iter__(self):
        return iter(self._make(*self._args))


class Corpus:
    """Documents with a name, a digest and a licence; made by `open_corpus` or `memory_corpus`.

    Attributes:
      name: the registered name, or the name of the file or folder.
      split: name of the split.
      licence: licence of the text, or None where it is the reader's own.
      sha256: digest of the original (decompressed) bytes that are read; for several files, of the lines "sha256  name";
        for a bundled corpus or one in memory, of its documents (`reading.sha256_of_documents`).
    """

    def __init__(self, name, split, licence, records, sha256):
        self.name, self.split, self.licence = name, split, licence
        self._records, self._sha256 = records, sha256

    def __repr__(self):
        return f"Corpus({self.name!r}, split={self.split!r})"

    @cached_property
    def sha256(self):
        return self._sha256() if callable(self._sha256) else self._sha256

    def documents(self):
        """The documents, str by str; can be iterated more than once. One is a line, article, row or file, as fits the corpus."""
        return Stream(lambda: (record["text"] for record in self._records()))

    def records(self):
        """The documents as dicts, with labels, columns or languages beside "text"; can be iterated more than once."""
        return Stream(self._records)

    def text(self):
        """All documents, joined by newlines."""
        return "\n".join(self.documents())


@cache
def registry():
    """The content of corpora.json: name → task, language, licence, notes, how to read it, splits, files."""
    return json.loads(resources.files("lmlib.text").joinpath("corpora.json").read_text(encoding="utf-8"))


def names():
    """Names of all registered corpora, the bundled ones first."""
    return (*BUNDLED, *registry())


def open_corpus(source, split=None, *, text=None, label=None):
    """Open a corpus by its name, or the reader's own text by its path.

    Args:
      source: a registered name (see `names`), or the path of a file, a folder, or a .csv, .tsv or .jsonl table, plain or compressed. A
        registered name comes first: write "./world" for a file of that name.
      split: name of the split; by default the first one of a registered corpus ("train", or "all" where none is customary).
      text: name of the column (field, language) that is the text, where there are several.
      label: name of the column that is the label.

    Returns:
      A Corpus, whose files are at hand and whose first document has been read.

    Raises:
      UnknownNameError: no such corpus, file, split or column; suggests the nearest.
      UnavailableError: the corpus is not at hand and cannot be downloaded.
      EmptyCorpusError: there is no text.
      EncodingError, FormatError, IntegrityError, StorageError: as the bytes and the disk are.
    """
    if str(source) in BUNDLED:
        corpus = _bundled(str(source), split)
    elif str(source) in registry():
        corpus = _registered(str(source), split)
    elif (path := _existing(source)) is not None:
        return _own(path, split, text, label)
    else:
        name = str(source) if len(str(source)) <= 100 else f"{str(source)[:100]}…"
        raise UnknownNameError(
            f"there is no corpus and no file called {name!r}{nearest(name, names())} (`lmlib corpora` lists the corpora; "
            "text in memory is a corpus by `memory_corpus`)"
        )
    return _choose(corpus, text, label)


def _existing(source):
    """The path of a file or folder that is there, or None, also for what could be no path at all (a whole text, for instance)."""
    try:
        path = Path(source).expanduser()
        return path if str(source) and path.exists() else None
    except (OSError, RuntimeError, TypeError, ValueError):
        return None


def memory_corpus(documents, name="memory"):
    """A corpus of documents that are in memory already: a list of str; a single str is one document.

    Raises:
      EmptyCorpusError: no document holds anything but white space.
      EncodingError: a document is not a str.
    """
    documents = (documents,) if isinstance(documents, str) else tuple(documents)
    for i, document in enumerate(documents):
        if not isinstance(document, str):
            raise EncodingError(f"document {i} of {name} must be str, got {type(document).__name__}: decode bytes first")
    if not any(document.strip() for document in documents):
        raise EmptyCorpusError(f"{name} has no text: pass at least one document that is not empty")
    return Corpus(name, "all", None, lambda: ({"text": d} for d in documents), lambda: reading.sha256_of_documents(documents))


def _bundled(name, split):
    if name == "world":
        from lmlib.text import world as module
    else:
        from lmlib.text import manual as module
    facts = BUNDLED[name]
    split = _split_of(name, split, facts["splits"])

    def records():
        if name == "world":
            return ({"text": record["en"]} | record for record in module.records(split))
        return ({"text": document} for document in module.documents(split))

    return Corpus(name, split, facts["licence"], records, lambda: reading.sha256_of_documents(module.documents(split)))


def _registered(name, split):
    entry = registry()[name]
    if not entry["splits"]:
        raise UnknownNameError(
            f"{name} is no corpus of documents: read its files ({', '.join(entry['files'])}) with read_text or read_bytes"
        )
    split = _split_of(name, split, entry["splits"])
    options = entry["read"] | entry["splits"][split]
    parse, encoding, text = formats.FORMATS[options.pop("format")], options.pop("encoding", "utf-8"), options.pop("text", "text")
    files = options.pop("files")
    found = formats.Files({file: fetch.obtain(name, file, entry) for file in files}, encoding)

    def records():
        return ({"text": record[text]} | record for record in parse(found, **options))

    sha256 = reading.sha256_of_many({file: entry["files"][file]["sha256"] for file in files})
    return Corpus(name, split, entry["licence"], records, sha256)


def _own(path, split, text, label):
    """A corpus of the reader's own; its first document with something in it is read at once, so that faults show where it is opened."""
    if split not in (None, "all"):
        raise UnknownNameError(f"{path.name} has no split {split!r}: a file or folder of your own has only 'all'")
    if (text or label) and not sources.is_table(path):
        raise UnknownNameError(f"{path} has no columns: text= and label= are for .csv, .tsv and .jsonl tables")
    files = sources.files_of(path)
    if not any(record["text"].strip() for record in sources.records(path, text, label)):
        raise EmptyCorpusError(f"{path} has no text in it")
    return Corpus(
        path.resolve().name,
        "all",
        None,
        lambda: sources.records(path, text, label),
        lambda: reading.sha256_of_many({name: reading.sha256_of(file) for name, file in files.items()}),
    )


def _choose(corpus, text, label):
    """The same corpus with other columns as text and label."""
    if not text and not label:
        return corpus
    chosen = {key: column for key, column in (("text", text), ("label", label)) if column}
    first = next(iter(corpus.records()))
    for column in chosen.values():
        if column not in first:
            raise UnknownNameError(f"{corpus.name} has no column {column!r}{nearest(column, first)} (columns: {', '.join(first)})")

    def records():
        return (record | {key: record[column] for key, column in chosen.items()} for record in corpus.records())

    return Corpus(corpus.name, corpus.split, corpus.licence, records, lambda: corpus.sha256)


def _split_of(name, split, splits):
    if split is None:
        return next(iter(splits))
    if split not in splits:
        raise UnknownNameError(f"{name} has no split {split!r}{nearest(split, splits)} (splits: {', '.join(splits)})")
    return split


def read_bytes(name, file):
    """The original bytes of one file of a registered corpus, e.g. an .npz; decompressed and verified.

    Raises:
      UnknownNameError: no such corpus or file.
    """
    return reading.read_all(_path(name, file))


def read_text(name, file):
    """The text of one file of a registered corpus, e.g. read_text("analogy-en", "questions-words.txt"); line ends as they are.

    Raises:
      UnknownNameError: no such corpus or file.
    """
    path = _path(name, file)
    return reading.decode(reading.read_all(path), path, registry()[name].get("read", {}).get("encoding", "utf-8"))


def _path(name, file):
    if name not in registry():
        raise UnknownNameError(f"there is no corpus with files called {name!r}{nearest(name, registry())}")
    entry = registry()[name]
    if file not in entry["files"]:
        raise UnknownNameError(f"{name} has no file {file!r}{nearest(file, entry['files'])} (files: {', '.join(entry['files'])})")
    return fetch.obtain(name, file, entry)


def describe():
    """The registered corpora as a table: name, size, language, where they are, licence, task. The text of `lmlib corpora`."""
    rows = [("name", "MB", "language", "at hand", "licence", "task")]
    for name, facts in BUNDLED.items():
        rows.append((name, "", facts["language"], "bundled", facts["licence"], facts["task"]))
    for name, entry in registry().items():
        size = sum(facts["bytes"] for facts in entry["files"].values()) / 1e6
        rows.append((name, f"{size:.2f}", entry["language"], fetch.where(name, entry), entry["licence"], entry["task"]))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    cells = [f"{{:{'>' if i == 1 else ''}{width}}}" for i, width in enumerate(widths)]
    return "\n".join("  ".join([*cells, "{}"]).format(*row) for row in rows)

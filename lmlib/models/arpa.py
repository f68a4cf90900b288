"""ARPA files: the text format in which n-gram models are exchanged (Paul and Baker 1992; SRILM, KenLM, the CMU toolkit).

    \\data\\
    ngram 1=5
    ngram 2=7

    \\1-grams:
    -99	<s>	-0.30103
    -1.5	the	-0.25
    …
    \\end\\

A line is log10 p, the n-gram, and log10 of its backoff weight, which is 1 where there is none. BOS is written <s> and EOS </s>, whatever
the vocabulary calls them. The format cannot say zero: -99 and all below stand for it, as in SRILM. Reading is strict: counts, prefixes
and numbers that do not fit are errors that name the line. Ten digits bring every float32 back to the last bit.

Left out on purpose: KenLM's binary files, and n-grams without their prefix, which some pruned models have.

Shapes: N n-grams of one order, m words each, V vocabulary.
"""

import math
import re
from pathlib import Path

import numpy as np

from lmlib.errors import FormatError, VocabularyError, check_shape, nearest
from lmlib.models.ngram import Ngram
from lmlib.models.ngram_counts import MAX_ORDER, Table
from lmlib.models.vectors import replacing
from lmlib.text import reading

BOS, EOS = "<s>", "</s>"
ZERO = -99.0  # log10 of zero
SEPARATOR = re.compile("[ \t\r\n]")
SPACES = re.compile("[ \t]+")


# Writing


def write_arpa(path, model: Ngram, words):
    """Write a model; the file appears whole or not at all.

    Args:
      path: the file to write or replace.
      model: an n-gram model.
      words: V strings, that of each id, e.g. `tokenizer.tokens`.

    Raises:
      ShapeError: there is not one word for each id.
      FormatError: a word is empty, holds a space, tab or line end, occurs twice, or has the name of BOS or EOS and is not the model's.
      StorageError: the disk is full or cannot be written.
    """
    ends = list(check_shape(np.array(words, object), (model.vocab_size,), "words"))  # what an n-gram ends with …
    ends[model.bos], ends[model.eos] = BOS, EOS
    _check_names(ends)
    begins = [*ends]  # … and what it begins with: the same, but where BOS and EOS are one
    begins[model.bos] = BOS
    tables = model.tables()
    with replacing(Path(path)) as file:
        separator = int(model.bos == model.eos)  # then the unigram of that id is written under both names
        sizes = [len(table.word) + separator * (m == 1) for m, table in enumerate(tables, 1)]
        file.write(("\\data\\\n" + "".join(f"ngram {m}={size}\n" for m, size in enumerate(sizes, 1))).encode())
        grams = []
        for m, table in enumerate(tables, 1):
            file.write(f"\n\\{m}-grams:\n".encode())
            numbers = _log10(table.prob), _log10(np.ones(len(table.word)) if table.backoff is None else table.backoff)
            if m == 1:
                grams = ends
                if separator:
                    file.write(_line(ZERO, BOS, numbers[1][model.bos]).encode())
                    numbers[1][model.bos] = 0.0
            else:
                prefixes = begins if m == 2 else grams
                grams = [f"{prefixes[i]} {ends[j]}" for i, j in zip(table.parent.tolist(), table.word.tolist(), strict=True)]
            file.writelines(map(str.encode, map(_line, numbers[0].tolist(), grams, numbers[1].tolist())))
        file.write(b"\n\\end\\\n")


def _check_names(names):
    seen = {}
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name or SEPARATOR.search(name):
            raise FormatError(f"words[{i}] is {name!r}: a word of an ARPA file is a string without space, tab or line end")
        if seen.setdefault(name, i) != i:
            raise FormatError(f"the word {name!r} is that of the ids {seen[name]} and {i}: an ARPA file tells words apart by name alone")


def _log10(values):
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values.astype(np.float64)), ZERO)


def _line(prob, gram, backoff):
    return f"{prob:.10g}\t{gram}\t{backoff:.10g}\n" if backoff else f"{prob:.10g}\t{gram}\n"


# Reading


def read_arpa(path, words=None, *, bos=BOS, eos=EOS) -> tuple[Ngram, tuple[str, ...]]:
    """Read a model.

    Args:
      path: the file, plain or compressed (.gz, .xz).
      words: the vocabulary whose ids the model shall have, e.g. `tokenizer.tokens`: exactly the words of the file; None takes them in the
        order of the file.
      bos, eos: what `words` calls <s> and </s>; they may be one.

    Returns:
      The model and its words, those given or those found.

    Raises:
      FormatError: the file does not follow its format; names path and line. Among the faults: fewer or more n-grams than stated, an n-gram
        that occurs twice or without its prefix, a probability above 1, NaN, no \\end\\ (the file may have been cut short).
      VocabularyError: the file and `words` differ in a word.
      EncodingError, IntegrityError, StorageError, UnavailableError: it is no UTF-8, damaged, forbidden or not there.
    """
    lines = _Lines(path)
    sizes = _header(lines)
    names, prob_N, backoff_N = _section(lines, 1, sizes[0])
    first = {name: i for i, name in reversed(list(enumerate(names)))}
    lines.refuse(np.array([first[name] for name in names]) < np.arange(len(names)), names, "occurs twice")
    for name in (BOS, EOS):
        if name not in names:
            raise lines.error(f"there is no {name} among the 1-grams")
    if words is None:
        words, bos, eos = tuple(names), BOS, EOS
    index = _index(lines, names, words := tuple(words), {BOS: bos, EOS: eos})
    V, begin, end = len(words), index[BOS], index[EOS]
    prob_V, backoff_V = np.zeros(V, np.float32), np.ones(V, np.float32)
    for name, prob, backoff in zip(names, prob_N, backoff_N, strict=True):
        if name != BOS:  # it is never predicted, though KenLM writes log10 p = 0
            prob_V[index[name]] = prob
        if name != EOS or begin != end:
            backoff_V[index[name]] = backoff
    last = len(sizes) == 1
    tables = [Table(np.arange(V, dtype=np.int32), np.zeros(V, np.int32), prob_V, None if last else backoff_V)]
    keys = []  # of orders 2 …: place of the prefix times V plus the last word, rising
    for m, size in enumerate(sizes[1:], 2):
        grams, prob_N, backoff_N = _section(lines, m, size)
        ids_Nm = np.fromiter((index.get(word, -1) for gram in grams for word in gram.split(" ")), np.int64, size * m).reshape(size, m)
        lines.refuse((ids_Nm < 0).any(axis=1), grams, "has a word that is not among the 1-grams")
        parent_N = ids_Nm[:, 0]
        for j, known in enumerate(keys, 2):
            key_N = parent_N * V + ids_Nm[:, j - 1]
            parent_N = np.searchsorted(known, key_N)
            lines.refuse(known[parent_N] != key_N, grams, f"has no prefix: its first {j} words are not among the {j}-grams")
        key_N = parent_N * V + ids_Nm[:, -1]
        order = np.argsort(key_N, kind="stable")
        repeated = np.zeros(size, bool)
        repeated[order[1:]] = key_N[order[1:]] == key_N[order[:-1]]
        lines.refuse(repeated, grams, "occurs twice")
        keys.append(np.append(key_N[order], np.iinfo(np.int64).max))  # so that a search ends inside
        word_N, parent_N = (ids[order].astype(np.int32) for ids in (ids_Nm[:, -1], parent_N))
        tables.append(Table(word_N, parent_N, prob_N[order], backoff_N[order] if m < len(sizes) else None))
    if (line := lines.skip_blank()) != "\\end\\":
        raise lines.error(f"expected \\end\\ after the {sizes[-1]} {len(sizes)}-grams stated, got {line[:60]!r}")
    return Ngram(tables, bos=begin, eos=end), words


def _index(lines, names, words, called):
    """{name in the file: id}; `called` says what `words` calls <s> and </s>."""
    ids = {word: i for i, word in enumerate(words)}
    if len(ids) < len(words):
        raise VocabularyError("a word occurs twice in `words`")
    index = {name: ids.get(called.get(name, name), -1) for name in names}
    if unknown := [name for name, i in index.items() if i < 0]:
        name = called.get(unknown[0], unknown[0])
        raise VocabularyError(f"{lines.path}: the word {name!r} of the file is not in `words`{nearest(name, words[:20_000])}")
    if missing := set(range(len(words))) - set(index.values()):
        raise VocabularyError(f"{lines.path}: the file has no 1-gram for {words[min(missing)]!r}, id {min(missing)} of `words`")
    return index


class _Lines:
    """The lines of a file, one after the other, with their numbers for messages."""

    def __init__(self, path):
        self.path, self.number, self.first = path, 0, 0
        self._lines = reading.lines(path)

    def next(self):
        self.number += 1
        if (line := next(self._lines, None)) is None:
            raise self.error("the file ends before \\end\\: it was cut short, or is no ARPA file")
        return line

    def skip_blank(self):
        while not (line := self.next().strip()):
            pass
        return line

    def error(self, problem, number=None):
        return FormatError(f"{self.path}:{number or self.number}: {problem}")

    def refuse(self, wrong_N, grams, problem):
        """Raise for the first n-gram of the section at hand that is wrong."""
        if wrong_N.any():
            i = int(np.argmax(wrong_N))
            raise self.error(f"the n-gram {grams[i]!r} {problem}", self.first + i)


def _header(lines):
    """The number of n-grams of each order, as stated; what stands before \\data\\ is a comment."""
    while lines.next().strip() != "\\data\\":
        pass
    sizes, line = [], lines.skip_blank()
    while found := re.fullmatch(r"ngram +([0-9]{1,2}) *= *([0-9]{1,10})", line):
        if int(found[1]) != len(sizes) + 1 or len(sizes) == MAX_ORDER or not (sizes or int(found[2])):
            raise lines.error(f"expected the number of {len(sizes) + 1}-grams, at most {MAX_ORDER} orders, got {line!r}")
        sizes.append(int(found[2]))
        if line := lines.next().strip():
            continue
        break
    if not sizes:
        raise lines.error(f"expected 'ngram 1=' and a number, got {line[:60]!r}")
    return sizes


def _section(lines, m, size):
    """The m-grams of a file: a list of strings, probabilities (N,) and backoff weights (N,), float32."""
    if (line := lines.skip_blank()) != f"\\{m}-grams:":
        raise lines.error(f"expected '\\{m}-grams:' here, as the numbers at the top have it, got {line[:60]!r}")
    lines.first = lines.number + 1
    grams, probs, backoffs = [], [], []
    for _ in range(size):
        line = lines.next()
        fields = line.split("\t")
        if not 2 <= len(fields) <= 3 or fields[1].count(" ") != m - 1:  # some programs write spaces, or end a line with one
            parts = SPACES.split(line.strip(" \t"))
            fields = [parts[0], " ".join(parts[1 : m + 1]), *parts[m + 1 :]]
        try:
            prob, backoff = float(fields[0]), float(fields[2]) if len(fields) == 3 else 0.0
        except ValueError:
            prob = math.nan
        if not (prob <= 0 and backoff < 38 and len(fields) <= 3 and fields[1].count(" ") == m - 1 and fields[1]):
            raise lines.error(f"expected a log10 probability, {m} words and perhaps a log10 weight, one of {size} lines, got {line[:60]!r}")
        grams.append(fields[1])
        probs.append(prob)
        backoffs.append(backoff)
    return grams, *(np.where(logs > ZERO, 10.0**logs, 0).astype(np.float32) for logs in (np.array(probs), np.array(backoffs)))

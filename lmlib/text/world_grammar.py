"""The grammar of the small world: how its facts and its sentences are written down, and how words agree.

A sentence is made in two draws. First a frame, by weight; then, for each table that the frame names, one row, uniformly and
independently. `{country.capital}` is the word in column `capital` of the drawn row of table `country`; all the fields of one
table in one frame speak of the same row, which is why the sentences are true. The three sides of a frame are filled from the
same rows, which is why they are translations. A placeholder may ask for a form of a French word:

    {country.land:le}          with an article or a preposition that agrees: le la l' les (the forms are in FORMS)
    {quality.base:~more}       in the gender of another field of the row; ~m and ~f force one

**Why its analogies are solvable.** A question compares two columns of one table (land : capital, male : female). Heavy frames give
each column companions of its own ("government" for lands, "mayor" for capitals), whatever the row, and give each row favourites
of its own (wine, beer and cheese for France, Paris, French and Pierre), whatever the column. The contexts of a word are thus a
mixture of p(context | column) and p(context | row), which live on different words, up to a few facts. Its row of PMI is then
nearly a sum, column + row, and Paris - France + Japan = (capital - land) + (land + Japan's favourites) = Tokyo. Favourites come from
pools that several tables share, and the other words of a pool are never quite absent. That keeps the counts dense and of low rank;
GloVe, which never looks at a zero, could not tell the rows apart otherwise. Spelling is of little help: few sisters are spelt alike.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations, permutations, product
from typing import NamedTuple

import numpy as np

from lmlib.errors import ConfigError, nearest
from lmlib.text import world_facts as facts
from lmlib.text import world_frames as frames

PLACEHOLDER = re.compile(r"\{(\w+)\.(\w+)(?::([\w~]+))?\}")


class Cell(NamedTuple):
    """A word, or a pattern, in the three languages."""

    en: str
    fr: str
    zh: str


Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Frame:
    """A sentence with holes, its weight (a whole number), its labels and, if it is a question, its answer."""

    topic: str
    weight: int
    text: Cell
    sentiment: str | None = None
    answer: Cell | None = None


@dataclass(frozen=True)
class Grammar:
    """Tables of facts, frames that speak of them, and what else is known about both."""

    tables: Mapping[str, tuple[Row, ...]]
    frames: tuple[Frame, ...]
    analogies: tuple[tuple[str, str, str, str], ...] = ()  # name, table, column, column
    summaries: Mapping[str, Cell] = field(default_factory=dict)  # table -> a sentence that sums up one of its rows
    dialogue: tuple[tuple[Cell, Cell], ...] = ()  # remark and reply about a row of one table; the first pair opens, the last closes

    @property
    def digest(self) -> str:
        """SHA-256 of the grammar in canonical JSON."""
        return hashlib.sha256(json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def read_table(text: str, pools: Mapping[str, str] | None = None) -> tuple[Row, ...]:
    """Read a table in the notation of `world_facts`. A line becomes as many rows as it has choices, a likely choice several rows."""
    header, *lines = [re.split(r" (?=[*+-] )", line) for line in text.strip().split("\n")]
    columns = [name for name in header[0].split() if name[0] not in "*+-"]
    extra = [name for name in header[0].split() if name[0] in "*+-"]
    rows = []
    for cells, *notes in lines:
        choices = [_alternatives(cell) for cell in cells.split()]
        if len(choices) != len(columns) or [note[0] for note in notes] != [name[0] for name in extra]:
            raise ConfigError(f"the row {cells!r} does not have the columns {', '.join(columns + extra)}")
        for name, note in zip(extra, notes, strict=True):
            names = note[1:].split()
            if name[0] == "*":
                pool = [cell for text in (pools or {})[name[1:]].split() for cell in _alternatives(text)]
                choices.append([cell for cell in pool for _ in range(facts.FAVOUR if cell.en in names else 1)])
            else:
                choices.append([cell for text in names for cell in _alternatives(text)])
        keys = [*columns, *(name[1:] for name in extra)]
        rows += [dict(zip(keys, choice, strict=True)) for choice in product(*choices)]
    return tuple(rows)


def _alternatives(text):
    """The cells of an entry, one for every synonym."""
    english, *others = text.replace("_", " ").split("|")
    if len(others) != 2:
        raise ConfigError(f"the entry {text!r} must have the form english|french|chinese")
    return [Cell(word, *others) for word in english.split("=")]


def read_frames(topic: str, text: str) -> tuple[Frame, ...]:
    """Read the frames of one topic in the notation of `world_frames`."""
    found, pattern, weight, sentiment, answer = [], [], 1, None, None
    for line in text.strip().split("\n"):
        if line.startswith("weight "):
            _, number, *note = line.split(" ", 3)
            weight, sentiment, answer = int(number), None, None
            if note[:1] == ["answer"]:
                answer = Cell(*note[1].split("|")) if "|" in note[1] else Cell(*note[1:] * 3)
            elif note:
                sentiment = note[0]
        else:
            pattern.append(line)
        if len(pattern) == 3:
            found.append(Frame(topic, weight, Cell(*pattern), sentiment, answer))
            pattern = []
    if pattern:
        raise ConfigError(f"the frame {pattern[0]!r} does not have three lines")
    return tuple(found)


# What stands before a French word, by its class:
#    masculine  feminine  vowel, m.  vowel, f.  plural  plural, vowel  name  name, vowel
FORMS = {
    "": ("",) * 8,
    "le": ("le", "la", "l'", "l'", "les", "les", "", ""),
    "un": ("un", "une", "un", "une", "des", "des", "", ""),
    "quel": ("quel", "quelle", "quel", "quelle", "quels", "quels", "", ""),
    "ce": ("ce", "cette", "cet", "cette", "ces", "ces", "", ""),
    "son": ("son", "sa", "son", "son", "ses", "ses", "", ""),
    "du": ("du", "de la", "de l'", "de l'", "des", "des", "de", "d'"),
    "de": ("de", "de", "d'", "d'", "de", "d'", "de", "d'"),
    "au": ("au", "à la", "à l'", "à l'", "aux", "aux", "à", "à"),
    "en": ("au", "en", "en", "en", "aux", "aux", "à", "à"),  # in a country, in a city
    "que": ("que", "que", "qu'", "qu'", "que", "qu'", "que", "qu'"),
    "from": ("du", "de", "d'", "d'", "des", "des", "de", "d'"),  # from a country, from a city
}
VOWELS, MUTE_H = "aâeéèêiîoôœu", ("heure", "histoire", "hiver", "homme", "hôtel")


def french(row: Row, name: str, spec: str) -> str:
    """The word `row[name]` in the form that `spec` asks for: "du" gives "de l' espagne" (what is elided is a word of its own).

    Raises:
      ConfigError: an unknown form, or a word of two genders without a gender to agree with.
    """
    form, _, agree = spec.partition("~")
    gender, _, word = row[name].fr.rpartition(":")
    if agree:
        gender = agree if agree in ("m", "f") else row[agree].fr[0]
        word = word.split("/")[gender == "f"]
    if form not in FORMS or "/" in word:
        raise ConfigError(f"no French form {spec!r} of {row[name].fr!r}: the forms are {', '.join(filter(None, FORMS))}, ~field, ~m, ~f")
    vowel = word.startswith(tuple(VOWELS)) or word.startswith(MUTE_H)
    kind = {"m": 0 + 2 * vowel, "f": 1 + 2 * vowel, "mp": 4 + vowel, "fp": 4 + vowel, "": 6 + vowel}[gender]
    return f"{FORMS[form][kind]} {word}".strip()


def fill(pattern: Cell, rows: Mapping[str, Row], language: str) -> str:
    """The pattern of one language with its holes filled from `rows`, a row for each table that it names."""
    return PLACEHOLDER.sub(lambda hole: _word(hole, rows[hole[1]], language), getattr(pattern, language))


def tables_of(pattern: Cell) -> set[str]:
    """The names of the tables that a pattern speaks of."""
    return {hole[1] for side in pattern for hole in PLACEHOLDER.finditer(side)}


def _word(hole, row, language):
    return french(row, hole[2], hole[3] or "") if language == "fr" else getattr(row[hole[2]], language)


class Derivations:
    """All that one frame can say: for each table that it names, the rows that differ in the columns it uses, with their probability.

    Attributes:
      tables: names of the tables, in order of mention.
      weights: for each table, how many of its rows read alike: one whole number for every different reading.
      p: the same as probabilities.
      positions: for each English token, {word: set of rows} and the number of its table; a fixed word has None.
      size: the number of sentences.
    """

    def __init__(self, frame: Frame, tables: Mapping[str, tuple[Row, ...]]):
        self.frame = frame
        patterns = [*frame.text, *(frame.answer or ())]
        holes = [hole for pattern in patterns for hole in PLACEHOLDER.finditer(pattern)]
        self.tables = list(dict.fromkeys(hole[1] for hole in holes))
        self._rows, self.weights = [], []
        for table in self.tables:
            if table not in tables:
                raise ConfigError(f"{frame.text.en!r} names the unknown table {table!r}{nearest(table, tables)}")
            names = dict.fromkeys(hole[2] for hole in holes if hole[1] == table)
            weights = {}
            for row in tables[table]:
                if missing := [name for name in names if name not in row]:
                    raise ConfigError(f"{frame.text.en!r}: table {table!r} has no column {missing[0]!r}{nearest(missing[0], row)}")
                key = tuple(row[name] for name in names)
                weights[key] = weights.get(key, 0) + 1
            self._rows.append([dict(zip(names, key, strict=True)) for key in weights])
            self.weights.append(np.array(list(weights.values()), np.int64))
        self.p = [weights / weights.sum() for weights in self.weights]
        self._text = {language: self._pieces(frame.text, language) for language in Cell._fields}
        self._answer = {language: self._pieces(frame.answer, language) for language in Cell._fields} if frame.answer else None
        self.positions = [self._position(token) for token in frame.text.en.split(" ")]
        self.size = math.prod(map(len, self.p))
        for table, rows in zip(self.tables, self._rows, strict=True):
            columns = [hole[2] for hole in PLACEHOLDER.finditer(frame.text.en) if hole[1] == table]
            if len({tuple(row[column].en for column in columns) for row in rows}) < len(rows):
                raise ConfigError(f"{frame.text.en!r} is ambiguous: different rows of {table!r} read alike in it")

    def __len__(self):
        return len(self.positions)

    def choices(self):
        """Every choice of rows, one number for each table."""
        return product(*(range(len(p)) for p in self.p))

    def text(self, rows, language):
        """The sentence of one derivation, `rows` being the number of a row for each table."""
        return "".join(self.pieces(rows, language))

    def pieces(self, rows, language):
        """The same in pieces: the words from tables, and what stands before, between and after them, which may be nothing."""
        return [piece if v is None else piece[rows[v]] for piece, v in self._text[language]]

    def answer(self, rows, language):
        """The answer to it, None unless it is a question."""
        return self._answer and "".join([piece if v is None else piece[rows[v]] for piece, v in self._answer[language]])

    def alive(self, words):
        """The rows of each table with which a sentence can begin with `words` (None: all rows), or None if it cannot."""
        alive = [None] * len(self.p)
        for word, (column, v) in zip(words, self.positions, strict=False):
            if word not in column:
                return None
            if v is not None:
                alive[v] = column[word] if alive[v] is None else alive[v] & column[word]
        return None if set() in alive else alive

    def prefix_prob(self, words):
        """The probability that a sentence of this frame begins with `words`, which are not more than it has."""
        if (alive := self.alive(words)) is None:
            return 0.0
        return math.prod(sum(p[r] for r in rows) for p, rows in zip(self.p, alive, strict=True) if rows is not None)

    def _pieces(self, pattern, language):
        """A pattern cut at its holes: (text, None) or (the word of each row, number of the table)."""
        pieces, end, side = [], 0, getattr(pattern, language)
        for hole in PLACEHOLDER.finditer(side):
            v = self.tables.index(hole[1])
            pieces += [(side[end : hole.start()], None), ([_word(hole, row, language) for row in self._rows[v]], v)]
            end = hole.end()
        return [*pieces, (side[end:], None)]

    def _position(self, token):
        hole = PLACEHOLDER.fullmatch(token)
        if not hole:
            if not token or "{" in token:
                raise ConfigError(f"{self.frame.text.en!r}: English words and holes must stand between single spaces")
            return {token: {0}}, None
        column, v = {}, self.tables.index(hole[1])
        for r, row in enumerate(self._rows[v]):
            column.setdefault(row[hole[2]].en, set()).add(r)
        return column, v


def _cells(text):
    """The lines of a text three by three."""
    lines = text.strip().split("\n")
    return [Cell(*lines[i : i + 3]) for i in range(0, len(lines), 3)]


def _default():
    names = ("country", "animal", "couple", "quality", "verb", "noun", "number", "person", "day", "job", "item", "praise", "blame")
    pools = {"goods": facts.GOODS, "place": facts.PLACES, "thing": facts.THINGS}
    tables = {name: read_table(getattr(facts, name.upper()), pools) for name in names}
    people = [row["name"] for row in {row["name"]: row for row in tables["person"]}.values()]
    tables["company"] = tuple({"one": one, "other": other} for one, other in permutations(people, 2))
    cardinals = list(dict.fromkeys(row["cardinal"] for row in tables["number"]))
    tables["sum"] = tuple(
        {"one": cardinals[i], "other": cardinals[j], "total": cardinals[i + j + 1]} for i in range(12) for j in range(11 - i)
    )
    times, long = [cell for text in facts.TIME.split() for cell in _alternatives(text)], Cell("long", "long/longue", "长")
    tables["time"] = tuple({"more": more, "less": less, "long": long} for more, less in combinations(times, 2))
    topics = ("geography", "animals", "family", "nature", "daily life", "things", "numbers", "tastes", "opinions", "work")
    summaries = frames.SUMMARIES.strip().split("\n")
    turns = _cells(frames.DIALOGUE)
    return Grammar(
        tables=tables,
        frames=sum((read_frames(topic, getattr(frames, topic.upper().replace(" ", "_"))) for topic in topics), ()),
        analogies=(
            ("capital", "country", "land", "capital"),
            ("language", "country", "land", "language"),
            ("citizen", "country", "land", "citizen"),
            ("young animal", "animal", "adult", "young"),
            ("feminine", "couple", "male", "female"),
            ("comparative", "quality", "base", "comparative"),
            ("superlative", "quality", "base", "superlative"),
            ("past tense", "verb", "base", "past"),
            ("plural", "noun", "one", "many"),
            ("ordinal", "number", "cardinal", "ordinal"),
            ("month", "number", "cardinal", "month"),
        ),
        summaries={summaries[i]: Cell(*summaries[i + 1 : i + 4]) for i in range(0, len(summaries), 4)},
        dialogue=tuple(zip(turns[::2], turns[1::2], strict=True)),
    )


DEFAULT = _default()
WORLD_VERSION = 1

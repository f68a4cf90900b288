"""The small world: sentences of a seeded grammar of which everything is known.

The grammar is ours, so one can state what no corpus on the shelf can tell: the exact probability of a sentence and of its next
word, the entropy of the source (no model scores below it; the distance is the model's own fault), the expected co-occurrence
counts, the true analogies and synonyms, and true translations, labels, answers and summaries.

What the world says stands in `world_facts` (facts and lexicon), `world_frames` (sentences) and `world_grammar` (the notation, and why
the analogies are solvable). Sentences are lower-case words and marks between single spaces, Chinese ones without spaces. Every
draw is a whole number from the raw stream of Philox, so a seed gives the same sentences on every machine.

The vocabulary has some 480 words, so word vectors want settings of their own: skip-gram without subsampling (at 1e-4 hardly a word
would be left) and GloVe with an x_max of about 10 answer nearly all of the analogies from `train` alone.

The splits are independent samples of one source with finitely many sentences, so they share some. What generalisation means
here is how close the cross-entropy of a model on `test` comes to the entropy of the source.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np

from lmlib.errors import ConfigError, UnknownNameError, nearest
from lmlib.text.world_chinese import words_of_piece
from lmlib.text.world_grammar import DEFAULT, WORLD_VERSION, Cell, Derivations, Grammar, fill, tables_of

DIGEST = DEFAULT.digest
LANGUAGES = Cell._fields  # "en", "fr", "zh"
SPLITS = {"train": (0, 60_000), "valid": (1, 3_000), "test": (2, 3_000)}  # seed and number of sentences
END = "</s>"  # the end of a sentence, a token of its own
_PURPOSES = ("sentences", "questions", "summaries", "dialogues", "noise")  # each draws from a stream of its own

__all__ = ["DIGEST", "END", "LANGUAGES", "SPLITS", "WORLD_VERSION", "World", "documents", "records"]


class World:
    """A source of sentences, known exactly.

    Args:
      grammar: the frozen default, or one of the reader's own.

    Raises:
      ConfigError: a frame names an unknown table, column or form, or a sentence has two derivations.
    """

    def __init__(self, grammar: Grammar = DEFAULT):
        _require(grammar.frames, "frames")
        self.grammar = grammar
        self._frames = [Derivations(frame, grammar.tables) for frame in grammar.frames]
        self._check_unambiguous()
        weights = np.array([frame.weight for frame in grammar.frames], np.int64)
        self._p = weights / weights.sum()

    # Samples

    def sample(self, n: int, seed: int = 0, language: str = "en") -> list[str]:
        """`n` independent sentences; a larger `n` begins with the same ones."""
        _check_language(language)
        return [frame.text(rows, language) for frame, rows in self._draw(n, seed, "sentences")]

    def records(self, n: int, seed: int = 0) -> Iterator[dict]:
        """The sentences of `sample` in three languages, with their labels.

        Yields:
          {"en", "fr", "zh", "topic", "sentiment", "answer"}: sentiment is "positive", "negative" or None; answer is None unless
          the sentence is a question that the facts answer.
        """
        for frame, rows in self._draw(n, seed, "sentences"):
            sides = {language: frame.text(rows, language) for language in LANGUAGES}
            yield sides | {"topic": frame.frame.topic, "sentiment": frame.frame.sentiment, "answer": frame.answer(rows, "en")}

    def segmented(self, n: int, seed: int = 0) -> list[list[str]]:
        """The Chinese side of `sample`, cut into words, marks among them: joined, they are the sentence. See `world_chinese`."""
        drawn = self._draw(n, seed, "sentences")
        return [[word for piece in frame.pieces(rows, "zh") for word in words_of_piece(piece)] for frame, rows in drawn]

    def questions(self, n: int, seed: int = 0, language: str = "en") -> list[dict]:
        """`n` questions that the facts answer: {"question", "answer"}."""
        _check_language(language)
        asked = [frame for frame in self._frames if frame.frame.answer]
        _require(asked, "questions")
        drawn = self._draw(n, seed, "questions", asked)
        return [{"question": frame.text(rows, language), "answer": frame.answer(rows, language)} for frame, rows in drawn]

    def summaries(self, n: int, seed: int = 0, language: str = "en", length: int = 5) -> list[dict]:
        """`n` documents of up to `length` sentences about one country, animal or person, and one sentence that sums each up.

        Returns:
          [{"document", "summary"}].
        """
        _check_language(language)
        _require(self.grammar.summaries, "summaries")
        subjects = []
        for table, summary in self.grammar.summaries.items():
            told = [frame.text for frame in self.grammar.frames if not frame.answer and tables_of(frame.text) == {table}]
            subjects.append((table, told, summary))
        found = []
        for which, row, *order in _stream(n, 2 + max(len(told) for _, told, _ in subjects), seed, "summaries"):
            table, told, summary = subjects[which % len(subjects)]
            rows = {table: self.grammar.tables[table][row % len(self.grammar.tables[table])]}
            sentences = [fill(pattern, rows, language) for pattern in _shuffled(told, order)[:length]]
            found.append({"document": ("" if language == "zh" else " ").join(sentences), "summary": fill(summary, rows, language)})
        return found

    def dialogues(self, n: int, seed: int = 0, language: str = "en") -> list[list[str]]:
        """`n` conversations with the citizen of a country: a greeting, two to four questions and replies, a farewell.

        Returns:
          For each conversation its turns, the two speakers in turn.
        """
        _check_language(language)
        _require(self.grammar.dialogue, "dialogue")
        first, *middle, last = self.grammar.dialogue
        (table,) = set().union(*(tables_of(turn) for pair in self.grammar.dialogue for turn in pair))
        people, found = self.grammar.tables[table], []
        for row, size, *order in _stream(n, 2 + len(middle), seed, "dialogues"):
            pairs = [first, *_shuffled(middle, order)[: 2 + size % 3], last]
            found.append([fill(turn, {table: people[row % len(people)]}, language) for pair in pairs for turn in pair])
        return found

    def noisy(self, n: int, seed: int = 0, rate: float = 0.15) -> list[dict]:
        """The English sentences of `sample`, misspelt: {"noisy", "clean"}.

        Each word of three letters or more loses a letter, doubles one, swaps two neighbours or has one replaced, with probability
        `rate` (0 … 1). The number of words stays.
        """
        if not 0 <= rate <= 1:
            raise ConfigError(f"rate is the probability that a word is misspelt, 0 … 1, not {rate}")
        clean = [sentence.split(" ") for sentence in self.sample(n, seed)]
        draws = iter(_stream(sum(map(len, clean)), 4, seed, "noise"))  # four numbers a word, so that a larger n begins alike
        return [{"noisy": " ".join([_misspell(word, *next(draws), rate) for word in words]), "clean": " ".join(words)} for words in clean]

    # Exact quantities

    @cached_property
    def words(self) -> list[str]:
        """The vocabulary in alphabetical order, END not counted."""
        return sorted({word for frame in self._frames for column, _ in frame.positions for word in column})

    @cached_property
    def support(self) -> int:
        """The number of different sentences."""
        return sum(frame.size for frame in self._frames)

    def enumerate(self) -> Iterator[tuple[str, float]]:
        """Every sentence, with its probability."""
        for p, frame in zip(self._p, self._frames, strict=True):
            for rows in frame.choices():
                yield frame.text(rows, "en"), p * math.prod(q[r] for q, r in zip(frame.p, rows, strict=True))

    def log_prob(self, sentence: str) -> float:
        """log p(sentence) in nats, its end included; -inf for what the grammar does not say."""
        words = sentence.split(" ")
        p = sum(p * frame.prefix_prob(words) for p, frame in zip(self._p, self._frames, strict=True) if len(frame) == len(words))
        return math.log(p) if p > 0 else -math.inf

    def next_words(self, prefix: str = "") -> dict[str, float]:
        """p(next word | the sentence so far), the best that any model can know; END stands for the end of the sentence.

        Returns:
          {word: probability}, the most probable first; empty if no sentence begins so.
        """
        words, found = prefix.split(), {}
        for p, frame in zip(self._p, self._frames, strict=True):
            if len(words) <= len(frame) and frame.alive(words) is not None:
                column = frame.positions[len(words)][0] if len(words) < len(frame) else ()
                for word in column or (END,):
                    prob = frame.prefix_prob([*words, word] if column else words)
                    found[word] = found.get(word, 0.0) + p * prob
        total = sum(found.values())
        return {word: float(p / total) for word, p in sorted(found.items(), key=lambda item: (-item[1], item[0])) if p > 0}

    @cached_property
    def entropy(self) -> float:
        """Entropy of a sentence in nats: H(frame) + sum_f p(f) sum_t H(row of table t | f), since every sentence has one derivation."""
        rows = [sum(map(_entropy, frame.p)) for frame in self._frames]
        return float(_entropy(self._p) + self._p @ rows)

    @cached_property
    def mean_length(self) -> float:
        """Expected number of tokens in a sentence: words, marks, and one for its end."""
        return float(self._p @ [len(frame) + 1 for frame in self._frames])

    @property
    def entropy_per_token(self) -> float:
        """entropy / mean_length in nats a token (END counted): the loss of the best model. Divide by ln 2 for bits."""
        return self.entropy / self.mean_length

    def unigram(self) -> np.ndarray:
        """Expected count of each of `words` in a sentence, (V,); END is left out."""
        counts = np.zeros(len(self.words))
        for p, frame in zip(self._p, self._frames, strict=True):
            for ids, _, q in self._columns(frame):
                np.add.at(counts, ids, p * q)
        return counts

    def cooccurrence(self, window: int = 5, weights: Sequence[float] | None = None) -> np.ndarray:
        """Expected number of times in a sentence that word b stands within `window` tokens of word a: counts[a, b], (V, V), symmetric.

        It is computed from the grammar, not from a sample: words of one table occur together row by row, those of different
        tables are independent. No window crosses a sentence.

        Args:
          weights: weight of a pair at distance 1 … window, by default 1. GloVe has 1 / distance; word2vec's window of random
            width has (window + 1 - distance) / window.
        """
        weights = [1.0] * window if weights is None else list(weights)
        if len(weights) != window:
            raise ConfigError(f"weights must have one number for each distance 1 … {window}, not {len(weights)}")
        counts = np.zeros((len(self.words), len(self.words)))
        for p, frame in zip(self._p, self._frames, strict=True):
            columns = self._columns(frame)
            for i, (ids_a, table_a, p_a) in enumerate(columns):
                for weight, (ids_b, table_b, p_b) in zip(weights, columns[i + 1 :], strict=False):
                    if table_a is not None and table_a == table_b:
                        np.add.at(counts, (ids_a, ids_b), weight * p * p_a)
                    else:
                        np.add.at(counts, np.ix_(ids_a, ids_b), weight * p * np.outer(p_a, p_b))
        return counts + counts.T

    # Answer keys

    def analogies(self) -> dict[str, list[tuple[str, str, str, str]]]:
        """The answer key: category -> (a, b, c, d) with a : b = c : d, for every ordered pair of different rows."""
        found = {}
        for name, table, a, b in self.grammar.analogies:
            pairs = list(dict.fromkeys((row[a].en, row[b].en) for row in self.grammar.tables[table]))
            found[name] = [(*x, *y) for x in pairs for y in pairs if x != y]
        return found

    def synonyms(self) -> list[tuple[str, ...]]:
        """Groups of words that may replace one another everywhere: each has the distribution of the others."""
        groups = {}
        for name, rows in self.grammar.tables.items():
            for row in rows:
                for column, cell in row.items():
                    groups.setdefault((name, column, cell.fr, cell.zh), {})[cell.en] = None
        return list(dict.fromkeys(tuple(group) for group in groups.values() if len(group) > 1))

    # Inside

    def _draw(self, n, seed, purpose, frames=None):
        """Yield n times a frame and the numbers of its rows."""
        frames = self._frames if frames is None else frames
        draws = _stream(n, 1 + max(len(frame.p) for frame in frames), seed, purpose)
        chosen = _choose(draws[:, 0], [frame.frame.weight for frame in frames])
        rows = np.zeros((n, draws.shape[1] - 1), np.int64)
        for f, frame in enumerate(frames):
            here = chosen == f
            for v, weights in enumerate(frame.weights):
                rows[here, v] = _choose(draws[here, 1 + v], weights)
        return ((frames[f], row) for f, row in zip(chosen.tolist(), rows.tolist(), strict=True))

    def _columns(self, frame):
        """For each position of a frame: the ids of what may stand there, row by row, the table they are from, their probabilities."""
        columns = []
        for column, v in frame.positions:
            ids = np.zeros(1 if v is None else len(frame.p[v]), np.int64)
            for word, rows in column.items():
                ids[list(rows)] = self._ids[word]
            columns.append((ids, v, np.ones(1) if v is None else frame.p[v]))
        return columns

    @cached_property
    def _ids(self):
        return {word: i for i, word in enumerate(self.words)}

    def _check_unambiguous(self):
        """Raise if a sentence has two derivations, for the entropy takes it for granted that none has."""
        for f, frame in enumerate(self._frames):
            for other in self._frames[:f]:
                if len(frame) == len(other) and all(map(_meet, frame.positions, other.positions)):
                    few, many = sorted((frame, other), key=lambda x: x.size)
                    for rows in few.choices():
                        if many.prefix_prob((sentence := few.text(rows, "en")).split(" ")) > 0:
                            raise ConfigError(f"{sentence!r} follows from {other.frame.text.en!r} and from {frame.frame.text.en!r}")


def documents(split: str = "train") -> Iterator[str]:
    """The English sentences of a split of the default world."""
    seed, n = _split(split)
    return iter(_default_world().sample(n, seed))


def records(split: str = "train") -> Iterator[dict]:
    """The same sentences in three languages, with labels: see `World.records`."""
    seed, n = _split(split)
    return _default_world().records(n, seed)


@lru_cache(maxsize=1)
def _default_world():
    return World()


def _split(name):
    if name not in SPLITS:
        raise UnknownNameError(f"the world has the splits {', '.join(SPLITS)}, not {name!r}{nearest(name, SPLITS)}")
    return SPLITS[name]


def _check_language(language):
    if language not in LANGUAGES:
        raise UnknownNameError(f"the world speaks {', '.join(LANGUAGES)}, not {language!r}{nearest(language, LANGUAGES)}")


def _require(part, name):
    if not part:
        raise ConfigError(f"this grammar has no {name}: give it some, or use the default grammar")


def _stream(n, width, seed, purpose):
    """n rows of `width` random 64-bit numbers, (n, width): whole numbers only, since those of Philox are the same on every machine."""
    if n < 0 or not 0 <= seed < 2**64:
        raise ConfigError(f"the number of samples must not be negative and the seed must be 0 … 2**64 - 1, not n={n}, seed={seed}")
    key = np.array([seed, _PURPOSES.index(purpose)], np.uint64)
    return np.random.Philox(key=key).random_raw(n * width).reshape(n, width)


def _choose(draws, weights):
    """Turn 64-bit numbers into indices with probability weights / total (the remainder's bias is below total / 2**64)."""
    ends = np.cumsum(weights).astype(np.uint64)
    return np.searchsorted(ends, draws % ends[-1], side="right")


def _shuffled(items, order):
    """The items in the order of the random numbers."""
    return [item for _, item in sorted(zip(order, items, strict=False), key=lambda pair: pair[0])]


def _misspell(word, chance, kind, at, letter, rate):
    if len(word) < 3 or chance >= rate * 2**64:
        return word
    i = at % (len(word) - 1)
    lost, doubled, swapped = word[:i] + word[i + 1 :], word[: i + 1] + word[i:], word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    edited = (lost, doubled, swapped, word[:i] + chr(97 + letter % 26) + word[i + 1 :])[kind % 4]
    return edited if edited != word else lost  # a swap of two equal letters, say, would not be seen


def _meet(position, other):
    """Whether two positions have a word in common."""
    return not position[0].keys().isdisjoint(other[0])


def _entropy(p):
    return float(-(p * np.log(p)).sum())

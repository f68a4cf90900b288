"""The published sets that word vectors are scored on: judgements of similarity, and analogies, in English and Chinese.

English similarity (corpus "wordsim-en"): WordSim-353 (Finkelstein et al. 2002; split into similarity and relatedness by Agirre et al.
2009), SimLex-999 (Hill, Reichart and Korhonen 2015: similarity proper, so "coast, shore" is high and "coffee, cup" low), RG-65
(Rubenstein and Goodenough 1965), MC-30 (Miller and Charles 1991), rare words (Luong, Socher and Manning 2013), MTurk-287 (Radinsky et
al. 2011), YP-130 (Yang and Powers 2006), Verb-143 (Baker, Reichart and Korhonen 2014). English analogies ("analogy-en"): Mikolov et al.
2013 (arXiv 1301.3781).

Chinese similarity ("wordsim-zh"): wordsim-240 and wordsim-297, the form in which Chen et al. 2015 ("Joint Learning of Character and Word
Embeddings") published them; the second is WordSim-353 in Chinese (Jin and Wu 2012), called 296 where one pair is left out. Chinese
analogies ("ca8"): CA8 (Li et al. 2018, "Analogical Reasoning on Chinese Morphological and Semantic Relations"). Its morphological
questions ask for a reduplication (categories "A" and "AB": 避 is to 避一避 as 补 is to 补一补) or a derivation ("prefix", "suffix"), its
semantic ones for facts (geography, history, nature, people). The words are longer than a character: their vectors must have been trained
on text cut into words.
"""

import math
import re

import numpy as np

from lmlib.errors import FormatError, UnknownNameError, nearest
from lmlib.text.corpora import read_text

SIMILARITY_SETS = {
    "ws353": "EN-WS-353-ALL.txt",
    "ws353-sim": "EN-WS-353-SIM.txt",
    "ws353-rel": "EN-WS-353-REL.txt",
    "simlex999": "EN-SIMLEX-999.txt",
    "rg65": "EN-RG-65.txt",
    "mc30": "EN-MC-30.txt",
    "rw": "EN-RW-STANFORD.txt",
    "mturk287": "EN-MTurk-287.txt",
    "yp130": "EN-YP-130.txt",
    "verb143": "EN-VERB-143.txt",
}
ANALOGY_SETS = {"google": "questions-words.txt", "google-phrases": "questions-phrases.txt"}
CHINESE_SIMILARITY_SETS = {"wordsim-240": "240.txt", "wordsim-297": "297.txt"}
CHINESE_ANALOGY_SETS = {"ca8-morphological": "morphological.txt", "ca8-semantic": "semantic.txt"}
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+").fullmatch


def language_of(words, counts) -> str:
    """Which sets a vocabulary is scored on: "zh" if more than half of its words, by how often they occur, are of Chinese characters."""
    counts = np.asarray(counts, np.float64)
    chinese = np.array([bool(_CHINESE(word)) for word in words])
    return "zh" if counts[chinese].sum() > counts.sum() / 2 else "en"


def similarity_set(name: str) -> list[tuple[str, str, float]]:
    """The (word, word, score) triples of a published set: one of SIMILARITY_SETS or CHINESE_SIMILARITY_SETS. Scales differ from set to set.

    Raises:
      UnknownNameError: there is no such set.
      UnavailableError: the corpus is not at hand.
      FormatError: the file is damaged; names the line.
    """
    return parse_similarity(*_read_set(name, {"wordsim-en": SIMILARITY_SETS, "wordsim-zh": CHINESE_SIMILARITY_SETS}))


def analogy_questions(name: str = "google") -> dict[str, list[tuple[str, str, str, str]]]:
    """The questions of a published set by category: one of ANALOGY_SETS or CHINESE_ANALOGY_SETS.

    Raises: as `similarity_set`.
    """
    return parse_analogies(*_read_set(name, {"analogy-en": ANALOGY_SETS, "ca8": CHINESE_ANALOGY_SETS}))


def _read_set(name, corpora):
    """Text and source of a set, looked for by name in {corpus: {set: file}}."""
    for corpus, files in corpora.items():
        if name in files:
            return read_text(corpus, files[name]), f"{corpus}/{files[name]}"
    names = [name for files in corpora.values() for name in files]
    raise UnknownNameError(f"unknown set {name!r}{nearest(name, names)} (sets: {', '.join(names)})")


def parse_similarity(text: str, source: str = "text") -> list[tuple[str, str, float]]:
    """Read lines of two words and a score, parted by tabs or spaces; a line that begins with # is a comment.

    Raises:
      FormatError: a line has other than three columns, or a score that is not a finite number; names `source` and line.
    """
    pairs = []
    for number, line in _lines(text):
        if line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 3:
            raise FormatError(f"{source}:{number}: expected two words and a score, got {len(fields)} columns: {line[:80]!r}")
        try:
            score = float(fields[2]) if "_" not in fields[2] else math.nan  # Python would read 1_0 as ten
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise FormatError(f"{source}:{number}: the score {fields[2]!r} is not a finite number")
        pairs.append((fields[0], fields[1], score))
    if not pairs:
        raise FormatError(f"{source}:1: there is no pair of words")
    return pairs


def parse_analogies(text: str, source: str = "text") -> dict[str, list[tuple[str, str, str, str]]]:
    """Read the format of word2vec's questions-words.txt: ": category" lines, each followed by lines of four words.

    Raises:
      FormatError: a line has other than four words, or a category has no name, no question or comes twice; names `source` and line.
    """
    questions, category = {}, None
    for number, line in _lines(text):
        where = f"{source}:{number}"
        if line.startswith(":"):
            if category is not None and not questions[category]:
                raise FormatError(f"{where}: the category {category!r} before this line has no question")
            category = line[1:].strip()
            if not category or category in questions:
                raise FormatError(f"{where}: the category {category!r} comes twice" if category else f"{where}: a category without a name")
            questions[category] = []
            continue
        words = tuple(line.split())
        if category is None:
            raise FormatError(f"{where}: expected ': category' before the first question, got {line[:80]!r}")
        if len(words) != 4:
            raise FormatError(f"{where}: expected four words, got {len(words)}: {line[:80]!r}")
        questions[category].append(words)
    if category is None or not questions[category]:
        raise FormatError(f"{source}: the file ends without a question")
    return questions


def _lines(text):
    """(number from 1, line) without the one newline that may end the text."""
    return enumerate((line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")), 1)

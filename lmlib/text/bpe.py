"""Byte pair encoding, short enough to read: how the merges of a byte-level tokenizer are learnt and applied.

Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units" (arXiv 1508.07909), algorithm 1; over bytes
and inside words as GPT-2 splits them (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2, and the
program published with it). `BytePairTokenizer` has the `tokenizers` library do this work for speed; a test holds that the library learns
the same merges in the same order. Left out on purpose: a heap of pairs, so that one very long word takes quadratic time here.
"""

import re
import sys
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise


def _byte_symbols():
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {byte: chr(byte) for byte in printing} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


# A printable character for each byte, itself where it prints, so that a token can be read: a space is Ġ. In the order of GPT-2's ids.
BYTE_SYMBOLS = _byte_symbols()


@cache
def word_pattern():
    """The pattern by which GPT-2 cuts text into words, a word taking the space before it along.

    Published as `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`. The standard library's `re` has no
    \\p{L} (letters) and \\p{N} (numbers) and a wider \\s, so the three classes are spelt out from the Unicode database of this Python.
    """
    kinds = "".join(unicodedata.category(chr(code))[0] for code in range(sys.maxunicode + 1))

    def ranges(kind):
        return "".join(rf"\U{run.start():08x}-\U{run.end() - 1:08x}" for run in re.finditer(f"{kind}+", kinds))

    letter, number = ranges("L"), ranges("N")
    space = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    return re.compile(
        rf"'(?:s|t|re|ve|m|ll|d)| ?[{letter}]+| ?[{number}]+| ?[^{space}{letter}{number}]+|[{space}]+(?![^{space}])|[{space}]+"
    )


def split_words(text):
    """Text as words, each a string of byte symbols: "a dé" → ["a", "ĠdÃ©"]."""
    return ["".join(BYTE_SYMBOLS[byte] for byte in word.encode()) for word in word_pattern().findall(text)]


def merge_pair(symbols, pair):
    """A list of symbols in which every occurrence of `pair`, from the left, has become one symbol."""
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def learn_merges(documents, vocab_size, min_count=2):
    """Learn merges: again and again, the most frequent pair of neighbouring symbols becomes a symbol of its own.

    Args:
      documents: iterable of str.
      vocab_size: number of symbols at which to stop, the 256 bytes included.
      min_count: stop before a pair that is rarer than this.

    Returns:
      A list of pairs of symbols in the order in which they were merged. Of equally frequent pairs, the one with the lower ids.
    """
    ids = {symbol: i for i, symbol in enumerate(BYTE_SYMBOLS.values())}
    counts = Counter(word for text in documents for word in split_words(text))
    words = [(list(word), count) for word, count in counts.items()]
    pair_counts, found_in = Counter(), defaultdict(set)
    for w, (symbols, count) in enumerate(words):
        for pair in pairwise(symbols):
            pair_counts[pair] += count
            found_in[pair].add(w)
    merges = []
    while len(ids) < vocab_size:
        highest = max(pair_counts.values(), default=0)
        if highest < max(min_count, 1):
            break
        pair = min((p for p, count in pair_counts.items() if count == highest), key=lambda p: (ids[p[0]], ids[p[1]]))
        merges.append(pair)
        ids.setdefault(pair[0] + pair[1], len(ids))
        for w in found_in.pop(pair):  # only the words that hold the pair change
            symbols, count = words[w]
            merged = merge_pair(symbols, pair)
            for old in pairwise(symbols):
                pair_counts[old] -= count
            for new in pairwise(merged):
                pair_counts[new] += count
                found_in[new].add(w)
            words[w] = merged, count
    return merges


def apply_merges(word, ranks):
    """Cut one word into tokens: the pair that was learnt first is merged first.

    Args:
      word: a string of byte symbols, one of `split_words`.
      ranks: {pair: rank}, e.g. {pair: i for i, pair in enumerate(merges)}.
    """
    symbols = list(word)
    while len(symbols) > 1:
        pair = min(pairwise(symbols), key=lambda p: ranks.get(p, len(ranks)))
        if pair not in ranks:
            break
        symbols = merge_pair(symbols, pair)
    return symbols

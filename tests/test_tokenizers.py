"""Tokenizers: any text comes back, the readable byte pair encoding equals the library's, and nothing damaged is loaded in silence."""

import json
import lzma
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmlib.errors import (
    ConfigError,
    EmptyCorpusError,
    EncodingError,
    FormatError,
    IntegrityError,
    ShapeError,
    StorageError,
    UnavailableError,
    UnknownNameError,
    VocabularyError,
)
from lmlib.text import bpe, byte_pairs
from lmlib.text.tokenizers import BytePairTokenizer, CharTokenizer, Tokenizer, WordTokenizer

ENGLISH = (
    "The library lends books to everyone in the town. I'll bring them back on Monday, she said, and they'll lend me others; "
    "we've 12 days for each, and 30 for the atlas of 1,024 maps. It's the oldest of the town's libraries, isn't it?\n\n"
    "    def lend(book):  # four spaces before\n        return book\n"
)
FRENCH = (
    "L’été, les élèves de l'école lisent à l'ombre des chênes. Où est-ce qu’ils ont laissé leurs cahiers ? Peut-être près de la "
    "fenêtre, à côté du cœur gravé en 1987… Ça n'est pas grave : nous les retrouverons dès qu'il fera jour, c'est promis !\n"
)
CHINESE = "我是一个学生。你也是学生吗？是的，我是中国的学生。他们在学校里学习中文，每天学习三个小时。中国人说中文，学生们也说中文。\n"
CORPORA = {"english": ENGLISH, "french": FRENCH, "chinese": CHINESE, "all": ENGLISH + FRENCH + CHINESE}

TRICKY = [
    "",
    " ",
    "\n",
    "\0",
    "a\0b",
    "".join(map(chr, range(33))),
    "\ufeffmark",
    "line\r\nline\rline",
    "\x1c\x1d\x1e\x1f\x85\u2028\u2029\u3000\xa0",
    "<|endoftext|>",
    "<unk> <eos> <0x41>",
    "caf\u00e9",
    "cafe\u0301",
    "\U0001f469\u200d\U0001f680 and \U0001f1eb\U0001f1f7",
    "\uffff\U0010ffff\ufdd0",
    "\u202eabc\u202c",
    "  two  spaces \t tab  ",
    "I'll they've 's 'S ''s don't",
    "१२३ ²Ⅻ½ 一二三",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "日本語テキスト、ひらがな。",
    "עברית ‏ العربية",
    "a" * 1000,
]


def random_text(rng):
    """A text of up to 20 characters from all over Unicode, those without meaning included, surrogates excepted."""
    ranges = [(0, 0x20), (0x20, 0x7F), (0x80, 0x250), (0x300, 0x370), (0x2000, 0x2070), (0x4E00, 0x9FFF), (0xE000, 0x10000)]
    ranges += [(0x1F300, 0x1FAFF), (0x10000, 0x110000), (0x20, 0x7F)]
    return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(21)))


@pytest.fixture(scope="module")
def lossless():
    return [
        CharTokenizer.train([ENGLISH, FRENCH], specials=("<eos>",)),
        CharTokenizer.train(["a"]),
        BytePairTokenizer.train(list(CORPORA.values()), 400, specials=("<|endoftext|>", "<eos>")),
        BytePairTokenizer([]),
    ]


# Round trips


def test_any_text_comes_back_and_none_of_it_is_special(lossless):
    """10,000 random strings and the tricky ones, through two character and two byte pair tokenizers."""
    rng = random.Random(0)
    texts = TRICKY + [random_text(rng) for _ in range(10_000)]
    for tokenizer in lossless:
        first_special = tokenizer.vocab_size - len(tokenizer.specials)
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
            assert tokenizer.decode(ids) == text
            assert (ids < first_special).all()
            assert ids.dtype == tokenizer.dtype
        assert tokenizer.lossless


def test_composed_and_decomposed_letters_stay_what_they_are(lossless):
    composed = [chr(c) for c in range(0xC0, 0x250) if len(unicodedata.normalize("NFD", chr(c))) > 1]
    assert len(composed) >= 20
    for letter in composed:
        other = unicodedata.normalize("NFD", letter)
        for tokenizer in lossless:
            assert tokenizer.decode(tokenizer.encode(letter)) == letter
            assert tokenizer.decode(tokenizer.encode(other)) == other
            assert not np.array_equal(tokenizer.encode(letter), tokenizer.encode(other))


def test_characters_by_hand():
    tokenizer = CharTokenizer.train(["cab", "b"], specials=("<eos>",))
    assert tokenizer.tokens[:3] == ["a", "b", "c"]
    assert_array_equal(tokenizer.encode("abc", after="<eos>"), [0, 1, 2, 3 + 256])
    assert_array_equal(tokenizer.encode("aé€"), [0, 3 + 0xC3, 3 + 0xA9, 3 + 0xE2, 3 + 0x82, 3 + 0xAC])  # UTF-8 of é and €
    assert tokenizer.vocab_size == 3 + 256 + 1
    assert tokenizer.tokens[3 + 0xC3] == "<0xC3>"


def test_alphabet_alone():
    tokenizer = CharTokenizer.train(["cab"], fallback=False)
    assert tokenizer.vocab_size == 3
    assert tokenizer.decode(tokenizer.encode("abba")) == "abba"
    with pytest.raises(VocabularyError, match=r"character 2 of the text, 'd' \(U\+0064\)"):
        tokenizer.encode("abd")


def test_bytes_that_form_no_character_are_shown_as_such():
    """A model may draw any ids."""
    tokenizer = CharTokenizer.train(["a"])
    assert tokenizer.decode([0, 1 + 0xC3, 0]) == "a\ufffda"
    pairs = BytePairTokenizer([])
    assert pairs.decode([pairs.tokens.index("Ã"), pairs.tokens.index("!")]) == "\ufffd!"  # the byte 0xC3 alone


# Words


def test_pieces_are_the_tokens_one_by_one():
    characters, words = CharTokenizer.train(["ab"]), WordTokenizer.train(["a b"], specials="<eos>")
    assert characters.pieces(characters.encode("aé")) == ["a", r"\xc3", r"\xa9"]
    assert words.pieces(words.encode("a c", after="<eos>")) == ["a", "<unk>", "<eos>"]
    pairs = BytePairTokenizer.train(["low lower"] * 3, 256 + 3)
    assert pairs.pieces(pairs.encode("low lower é")) == ["low", " ", "low", "er", " ", r"\xc3", r"\xa9"]
    assert pairs.pieces([]) == []
    with pytest.raises(VocabularyError):
        words.pieces([words.vocab_size])


def test_words_run_by_falling_count_and_unknown_ones_are_counted():
    tokenizer = WordTokenizer.train(["b a b c", "d b a"], min_count=1, max_size=3)
    assert tokenizer.words == ["b", "a", "c"]  # c and d are equally frequent
    assert_array_equal(tokenizer.counts, [3, 2, 1])
    assert tokenizer.counts.dtype == np.int64
    assert tokenizer.unk_id == 3
    assert_array_equal(tokenizer.encode("a d b d"), [1, 3, 0, 3])
    assert tokenizer.decode([1, 3, 0]) == "a <unk> b"
    assert tokenizer.out_of_vocabulary(["a d b", "d"]) == {"words": 4, "unknown": 2, "rate": 0.5}
    assert not tokenizer.lossless


def test_without_unk_unknown_words_are_dropped():
    tokenizer = WordTokenizer.train(["b a b c c b"], min_count=2, unk=None)
    assert tokenizer.words == ["b", "c"]
    assert_array_equal(tokenizer.encode("a b x c"), [0, 1])
    assert (tokenizer.vocab_size, tokenizer.unk_id) == (2, None)


def test_the_unknown_word_of_a_corpus_is_the_unknown_word():
    tokenizer = WordTokenizer.train(["the <unk> of the <unk>"], specials=("<eos>",))
    assert tokenizer.words == ["the", "of"]
    assert_array_equal(tokenizer.encode("<unk> of zebra"), [2, 1, 2])


def test_a_word_that_looks_like_a_special_is_a_word():
    tokenizer = WordTokenizer.train(["a <eos> a"], specials=("<eos>",))
    assert tokenizer.index["<eos>"] != tokenizer.special("<eos>")
    assert_array_equal(tokenizer.encode("<eos>", after="<eos>"), [tokenizer.index["<eos>"], tokenizer.special("<eos>")])


@pytest.mark.parametrize(
    ("normalisation", "segmentation", "text", "words"),
    [
        ("none", "space", "The cat, it's\u3000here\u2028now", ["The", "cat,", "it's", "here", "now"]),
        ("lower", "space", "The CAT Été", ["the", "cat", "été"]),
        ("letters-digits", "space", "The «Café»-bar, No. 7_8\n\0x", ["the", "caf", "bar", "no", "7", "8", "x"]),
        ("none", "punctuation", "It's (1.5) cafe\u0301.", ["It", "'", "s", "(", "1", ".", "5", ")", "cafe\u0301", "."]),
        ("lower", "cjk", "我用 GAN 写诗，“好”！", ["我", "用", "gan", "写", "诗", "，", "“", "好", "”", "！"]),
    ],
)
def test_normalisation_and_segmentation(normalisation, segmentation, text, words):
    assert WordTokenizer(["-"], [1], normalisation, segmentation).split(text) == words


def test_letters_digits_is_the_regular_expression_it_states():
    split = WordTokenizer(["-"], [1], "letters-digits").split
    rng = random.Random(1)
    for text in TRICKY + [random_text(rng) for _ in range(500)] + list(CORPORA.values()):
        assert split(text) == re.sub("[^a-z0-9]+", " ", text.lower()).split()


def test_chinese_is_written_without_spaces():
    tokenizer = WordTokenizer.train(["我是学生。 a big cat"], segmentation="cjk")
    assert tokenizer.decode(tokenizer.encode("我是学生。")) == "我是学生。"
    assert tokenizer.decode(tokenizer.encode("a big cat 是 a big 学")) == "a big cat是a big学"


@pytest.mark.parametrize(
    "arguments",
    [
        {"normalisation": "lowr"},
        {"segmentation": "words"},
        {"normalisation": "letters-digits", "segmentation": "cjk"},
        {"min_count": 0},
        {"max_size": 0},
        {"specials": ("<eos>", "<eos>")},
        {"specials": ("",)},
    ],
)
def test_unknown_settings_are_refused(arguments):
    with pytest.raises(ConfigError):
        WordTokenizer.train(["a b c"], **arguments)


# Byte pairs


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("min_count", [1, 2])
def test_the_readable_encoder_learns_the_merges_of_the_library(name, min_count):
    """The same merges in the same order, to the last one that the text supports, and the same cut of every word."""
    documents = CORPORA[name].split("\n") * 2 + [CORPORA[name]]
    ours = bpe.learn_merges(documents, 10_000, min_count)
    most = len(BytePairTokenizer(ours).tokens)
    library = BytePairTokenizer.train(documents, most, min_count=min_count)
    assert library.merges == ours
    ranks = {pair: i for i, pair in enumerate(ours)}
    for text in [*CORPORA.values(), *TRICKY]:
        cut = [symbol for word in bpe.split_words(text) for symbol in bpe.apply_merges(word, ranks)]
        assert [library.tokens[i] for i in library.encode(text)] == cut


def test_the_readable_encoder_learns_the_merges_of_the_library_on_noise():
    """Many ties and overlaps: words of two or three letters, drawn at random."""
    rng = random.Random(2)
    for _ in range(40):
        letters = rng.choice(["ab", "abc", "aab "])
        documents = ["".join(rng.choice(letters) for _ in range(rng.randrange(1, 60))) for _ in range(rng.randrange(1, 8))] + ["aa"]
        ours = bpe.learn_merges(documents, 256 + rng.randrange(1, 40), min_count=1)
        assert BytePairTokenizer.train(documents, BytePairTokenizer(ours).vocab_size, min_count=1).merges == ours


def test_the_first_merge_by_hand():
    """In "aaab aab", a-a comes three times (overlapping twice in the first word) and a-b twice; after the merge of a-a, in "aa a b" and
    "Ġ aa b", every pair comes once, and a-b has the lowest ids."""
    assert bpe.learn_merges(["aaab", "aab"], 258, min_count=1) == [("a", "a"), ("a", "b")]
    assert bpe.merge_pair(list("aaaab"), ("a", "a")) == ["aa", "aa", "b"]


def test_words_are_cut_as_the_library_cuts_them():
    from tokenizers.pre_tokenizers import ByteLevel

    library = ByteLevel(add_prefix_space=False, use_regex=True)
    rng = random.Random(3)
    texts = TRICKY + list(CORPORA.values()) + [random_text(rng) for _ in range(3000)]
    for text in texts:
        known = "".join(c for c in text if unicodedata.category(c) != "Cn")  # later versions of Unicode may assign what is unassigned
        assert bpe.split_words(known) == [word for word, _ in library.pre_tokenize_str(known)]


def test_long_texts_are_cut_into_pieces_without_a_trace(monkeypatch):
    """Pieces of 1, 7 and 64 characters give the ids of the whole text."""
    tokenizer = BytePairTokenizer.train(list(CORPORA.values()), 500)
    rng = random.Random(4)
    soup = "".join(
        rng.choice(["'s", "'", " ", "  ", "\n", "a", "é", "7", "²", ".", "，", "学", "\x1c", "\u3000", "_"]) for _ in range(3000)
    )
    for text in [*CORPORA.values(), *TRICKY, soup]:
        whole = tokenizer.encode(text)
        for size in (1, 7, 64):
            monkeypatch.setattr(byte_pairs, "PIECE", size)
            assert "".join(byte_pairs._pieces(text)) == text
            assert_array_equal(tokenizer.encode(text), whole)
        monkeypatch.undo()
    monkeypatch.setattr(byte_pairs, "PIECE", 64)
    assert max(map(len, byte_pairs._pieces(ENGLISH * 10))) < 100
    assert max(map(len, byte_pairs._pieces(CHINESE * 10))) < 100


def test_a_vocabulary_that_the_text_cannot_support_is_refused():
    with pytest.raises(ConfigError, match="it can be at most 258"):
        BytePairTokenizer.train(["abab abab"], 5000, min_count=2)
    with pytest.raises(ConfigError, match="at least 257"):
        BytePairTokenizer.train(["abab"], 256, specials=("<eos>",))
    assert BytePairTokenizer.train(["abab abab"], 258, min_count=2).vocab_size == 258


@pytest.mark.data
def test_the_published_tokens_of_gpt2():
    """The published merges alone give the published ids, by the library and by the readable encoder."""
    folder = Path(os.environ["LMLIB_DATA"]) / "tokenizers"
    tokenizer = BytePairTokenizer.read_merges(folder / "gpt2_vocab.bpe")
    published = json.loads(lzma.decompress((folder / "gpt2_encoder.json.xz").read_bytes()))
    assert dict(zip(tokenizer.tokens, range(tokenizer.vocab_size), strict=True)) == published
    assert_array_equal(tokenizer.encode("Hello world", after="<|endoftext|>"), [15496, 995, 50256])
    ranks = {pair: i for i, pair in enumerate(tokenizer.merges)}
    for text in [*CORPORA.values(), *TRICKY]:
        by_hand = [published[symbol] for word in bpe.split_words(text) for symbol in bpe.apply_merges(word, ranks)]
        assert_array_equal(tokenizer.encode(text), by_hand)
        assert tokenizer.decode(by_hand) == text


# Ids and specials


@pytest.mark.parametrize("size", [255, 256, 257, 65_535, 65_536, 65_537, 70_000])
def test_the_id_type_grows_with_the_vocabulary(size):
    words = [f"w{i}" for i in range(size)]
    tokenizer = WordTokenizer(words, [1] * size, unk=None)
    assert tokenizer.dtype == ("uint8" if size <= 256 else "uint16" if size <= 65_536 else "uint32")
    ids = tokenizer.encode(" ".join(words))
    assert ids.dtype == tokenizer.dtype
    assert_array_equal(ids.astype(np.int64), np.arange(size))


def test_specials_are_asked_for_by_name(lossless):
    tokenizer = lossless[2]
    assert tokenizer.special("<eos>") == 399
    ids = tokenizer.encode("a<eos>", before="<|endoftext|>", after="<eos>")
    assert ids[0] == 398
    assert ids[-1] == 399
    assert tokenizer.decode(ids) == "<|endoftext|>a<eos><eos>"
    assert tokenizer.decode(ids, skip_specials=True) == "a<eos>"
    with pytest.raises(UnknownNameError, match="did you mean '<eos>'"):
        tokenizer.encode("a", after="<eoz>")


def all_kinds():
    return [
        CharTokenizer.train([ENGLISH, FRENCH], specials=("<eos>",)),
        WordTokenizer.train([ENGLISH, CHINESE], normalisation="lower", segmentation="cjk", specials=("<eos>", "<pad>")),
        WordTokenizer.train([ENGLISH], unk=None, min_count=2),
        BytePairTokenizer.train([ENGLISH, FRENCH], 320, specials=("<eos>",)),
    ]


def test_ids_outside_the_vocabulary_are_refused():
    for tokenizer in all_kinds():
        assert tokenizer.decode([]) == ""
        for bad in (-1, tokenizer.vocab_size, 2**31, 2**32 + 3, -100):
            with pytest.raises(VocabularyError, match=r"ids\[1\]"):
                tokenizer.decode([0, bad])
        for bad in ([0.5], [[0]], ["a"]):
            with pytest.raises(ShapeError):
                tokenizer.decode(bad)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80\ud800", b"bytes", None])
def test_text_that_is_no_text_is_refused_everywhere(text):
    word, char, pair = WordTokenizer(["a"], [1]), CharTokenizer("a"), BytePairTokenizer([])
    attempts = [lambda t=t: t.encode(text) for t in (word, char, pair)]
    attempts += [lambda t=t: t.encode_batch(["fine", text]) for t in (word, char, pair)]
    attempts += [lambda: WordTokenizer.train([text]), lambda: CharTokenizer.train([text]), lambda: BytePairTokenizer.train([text], 300)]
    attempts += [lambda: word.out_of_vocabulary([text])]
    for attempt in attempts:
        with pytest.raises(EncodingError):
            attempt()
    if isinstance(text, str):
        with pytest.raises(EncodingError, match=r"character \d of the text is the lone surrogate U\+D"):
            char.encode(text)


@pytest.mark.parametrize("documents", [[], "", [""], ["\n", " \n\n"]])
def test_no_text_trains_no_tokenizer(documents):
    for train in (CharTokenizer.train, WordTokenizer.train, lambda d: BytePairTokenizer.train(d, 300)):
        with pytest.raises(EmptyCorpusError):
            train(documents)
    with pytest.raises(EmptyCorpusError, match="at least 5 times"):
        WordTokenizer.train(["a b c"], min_count=5)


def test_a_single_text_is_one_document():
    assert WordTokenizer.train("the cat").words == ["cat", "the"]
    assert BytePairTokenizer.train("abab abab", 258).merges == BytePairTokenizer.train(["abab abab"], 258).merges


# Saving


def test_saved_and_loaded_byte_for_byte(tmp_path):
    for i, tokenizer in enumerate(all_kinds()):
        first, second = tmp_path / f"{i}.json", tmp_path / f"{i}-again.json"
        tokenizer.save(first)
        loaded = Tokenizer.load(first)
        loaded.save(second)
        assert first.read_bytes() == second.read_bytes()
        assert type(loaded) is type(tokenizer)
        assert (loaded.digest, loaded.tokens, loaded.specials) == (tokenizer.digest, tokenizer.tokens, tokenizer.specials)
        for text in [*CORPORA.values(), *TRICKY]:
            assert_array_equal(loaded.encode(text), tokenizer.encode(text))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{i}{s}.json" for i in range(4) for s in ("", "-again"))
    with pytest.raises(FormatError, match="kind 'character'"):
        WordTokenizer.load(tmp_path / "0.json")


def test_the_digest_knows_every_setting():
    variants = [
        WordTokenizer(["a"], [1]),
        WordTokenizer(["a"], [2]),
        WordTokenizer(["b"], [1]),
        WordTokenizer(["a"], [1], "lower"),
        WordTokenizer(["a"], [1], segmentation="cjk"),
        WordTokenizer(["a"], [1], unk=None),
        WordTokenizer(["a"], [1], specials=("<eos>",)),
        CharTokenizer("a"),
        CharTokenizer("a", fallback=False),
        BytePairTokenizer([]),
    ]
    assert len({tokenizer.digest for tokenizer in variants}) == len(variants)
    assert WordTokenizer(["a"], [1]).digest == variants[0].digest


def test_damage_is_found(tmp_path):
    """Every byte of a small tokenizer flipped in turn, and every truncation: an error that names the file, never a tokenizer."""
    path = tmp_path / "damaged.json"
    WordTokenizer(["the", "été"], [3, 1], specials=("<eos>",)).save(path)
    sound = path.read_bytes()
    faults = [sound[:at] + bytes([sound[at] ^ (1 << at % 8)]) + sound[at + 1 :] for at in range(len(sound))]
    faults += [sound[:at] for at in range(len(sound) - 1)]
    for fault in faults:
        path.write_bytes(fault)
        with pytest.raises((FormatError, IntegrityError), match=re.escape(str(path))):
            Tokenizer.load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000, b'{"format": "lmlib tokenizer 1"}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises((FormatError, IntegrityError), match=r"other\.json"):
        Tokenizer.load(path)


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(UnavailableError):
        Tokenizer.load(tmp_path / "nothing.json")
    with pytest.raises(FormatError):
        Tokenizer.load(tmp_path)
    with pytest.raises(UnavailableError):
        BytePairTokenizer.read_merges(tmp_path / "nothing.bpe")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        CharTokenizer("a").save(tmp_path / "file" / "tokenizer.json")


def test_malformed_merges_name_their_line(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\na b\nc\n", encoding="utf-8")
    with pytest.raises(FormatError, match="line 3"):
        BytePairTokenizer.read_merges(path)
    path.write_text("#version: 0.2\na b\nabc d\n", encoding="utf-8")
    with pytest.raises(FormatError, match="no earlier merge"):
        BytePairTokenizer.read_merges(path)
    path.write_bytes(b"a b\n\xff c\n")
    with pytest.raises(EncodingError, match="byte 4"):
        BytePairTokenizer.read_merges(path)


PROGRAM = """
import sys
from lmlib.text.tokenizers import BytePairTokenizer, WordTokenizer
documents = open(sys.argv[1], encoding="utf-8", newline="").read().split("\\n")
BytePairTokenizer.train(documents, 420, min_count=1).save(sys.argv[2])
WordTokenizer.train(set(documents), segmentation="punctuation").save(sys.argv[3])
"""


def train_elsewhere(folder, seed, threads):
    files = [folder / "corpus.txt", folder / "bpe.json", folder / "words.json"]
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(threads), "LMLIB_JAX_CACHE": "0"}
    subprocess.run([sys.executable, "-c", PROGRAM, *map(str, files)], env=environment, check=True, timeout=60)
    return files[1].read_bytes(), files[2].read_bytes()


def check_training_is_the_same_everywhere(folder, settings):
    (folder / "corpus.txt").write_text("\n".join(CORPORA.values()) * 5, encoding="utf-8", newline="")
    results = {train_elsewhere(folder, seed, threads) for seed, threads in settings}
    assert len(results) == 1


def test_training_is_the_same_for_any_hash_seed_and_thread_count(tmp_path):
    check_training_is_the_same_everywhere(tmp_path, [(0, 1), (1, 2), (2, 4)])


@pytest.mark.soak
def test_training_is_the_same_for_every_hash_seed_and_thread_count(tmp_path):
    check_training_is_the_same_everywhere(tmp_path, [(seed, threads) for seed in range(5) for threads in (1, 2, 4)])


@pytest.mark.soak
def test_a_run_of_one_character_takes_linear_time():
    """Ten times the text takes nowhere near a hundred times as long, from 10^5 to 10^7 characters: 30, so that noise does not count."""

    def best(tokenizer, text, tries):
        times = []
        for _ in range(tries):
            start = time.perf_counter()
            assert len(tokenizer.decode(tokenizer.encode(text))) == len(text)
            times.append(time.perf_counter() - start)
        return min(times)

    for tokenizer in (CharTokenizer("b"), BytePairTokenizer.train(["aaaaaaaa aaaa"], 258)):
        for character in "a 。":
            small, middle, large = (best(tokenizer, character * 10**power, tries) for power, tries in ((5, 5), (6, 3), (7, 1)))
            assert middle <= 30 * small
            assert large <= 30 * middle


def test_importing_is_light():
    """No jax and none of the large libraries, until they are needed."""
    program = (
        "import sys; from lmlib.text import batches, tokenizers\n"
        "print([name for name in ('jax', 'tokenizers', 'pandas', 'scipy') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"

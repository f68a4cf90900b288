"""ARPA files: what is written comes back to the last bit, KenLM reads the same probabilities, and damage is found and named."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.errors import FormatError, LmlibError, ShapeError, StorageError, UnavailableError, VocabularyError
from lmlib.models.arpa import read_arpa, write_arpa
from lmlib.models.base import compiled
from lmlib.models.ngram import NgramConfig, train
from lmlib.text.batches import pad
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer

FIXTURES = Path(__file__).parent / "fixtures"
FIXTURE = json.loads((FIXTURES / "ngram.json").read_text("utf-8"))
TOKENIZER = WordTokenizer.train(FIXTURE["training"], specials=("<s>", "</s>"))


def assert_same(ours, theirs):
    for a, b in zip(ours.tables(), theirs.tables(), strict=True):
        for name in ("word", "parent", "prob", "backoff"):
            assert_array_equal(getattr(a, name), getattr(b, name))


def test_kenlm_scores_our_file_as_we_do():
    model, words = read_arpa(FIXTURES / "ngram.arpa", TOKENIZER.tokens)
    assert words == tuple(TOKENIZER.tokens)
    tokens, lengths = pad(TOKENIZER.encode_batch(FIXTURE["known"] + FIXTURE["unknown"], after="</s>"), 40)
    got = np.asarray(compiled(model, "score")(tokens, lengths))
    assert TOKENIZER.unk_id in tokens  # KenLM takes what it does not know for <unk>, too
    for row, length, want in zip(got, lengths, FIXTURE["kenlm: log10 p of the words"], strict=True):
        assert_allclose(row[:length] / np.log(10), want, atol=3e-6)


def test_the_file_that_kenlm_read_is_the_one_we_write(tmp_path):
    bos, eos = TOKENIZER.special("<s>"), TOKENIZER.special("</s>")
    config = NgramConfig(TOKENIZER.vocab_size, FIXTURE["order"], "absolute", bos=bos, eos=eos)
    model = train(config, write_tokens(FIXTURE["training"], TOKENIZER, after="</s>"))
    read, _ = read_arpa(FIXTURES / "ngram.arpa", TOKENIZER.tokens)
    for a, b in zip(model.tables(), read.tables(), strict=True):
        assert_array_equal(a.word, b.word)
        assert_allclose(a.prob, b.prob, rtol=1e-6)
    write_arpa(tmp_path / "again.arpa", read, TOKENIZER.tokens)
    assert (tmp_path / "again.arpa").read_bytes() == (FIXTURES / "ngram.arpa").read_bytes()


WORDS = ["·", "a", "b", "ç", "</s>?", "."]


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "katz", "discounts": ((0.5, 0.0),) * 3},
        {"method": "mle"},
        {"method": "add_k", "order": 4},
        {"method": "kneser_ney", "order": 6, "discounts": ((0.5,),) * 6, "backoff": True},
        {"order": 1},
        {"order": 5},
    ],
)
@pytest.mark.parametrize("separators", [(0, 0), (0, 5), (5, 2)])
def test_written_and_read_again_to_the_last_bit(tmp_path, fields, separators):
    bos, eos = separators
    letters = [i for i in range(6) if i not in separators]
    rng = np.random.default_rng(0)
    model = train(NgramConfig.tiny(6, bos=bos, eos=eos, **fields), [[*rng.choice(letters, n), eos] for n in rng.integers(0, 9, 20)])
    write_arpa(tmp_path / "a.arpa", model, WORDS)
    names = list(WORDS)
    if bos != eos:  # the file calls them <s> and </s>
        names[bos], names[eos] = "<s>", "</s>"
        assert_same(read_arpa(tmp_path / "a.arpa", names)[0], model)
    read, words = read_arpa(tmp_path / "a.arpa", WORDS, bos=WORDS[bos], eos=WORDS[eos])
    assert words == tuple(WORDS)
    assert (read.bos, read.eos) == separators
    assert_same(read, model)
    assert [path.name for path in tmp_path.iterdir()] == ["a.arpa"]


SMALL = """a comment
\\data\\
ngram 1=4
ngram 2=3
ngram 3=1

\\1-grams:
0\t<s>\t-0.5
-0.5\ta\t-0.25
-99\tb
-0.75\t</s>

\\2-grams:
-0.125\ta b\t0.25
-0.25\t<s> a\t-inf
-0.5\ta a

\\3-grams:
-0.0625\t<s> a b

\\end\\
"""


def test_a_small_file_by_hand(tmp_path):
    (tmp_path / "a.arpa").write_text(SMALL)
    with gzip.open(tmp_path / "b.arpa.gz", "wt", newline="") as file:  # blanks for tabs, Windows' ends of lines
        file.write(SMALL.replace("\t", "  ").replace("\n", " \r\n"))
    for path in tmp_path.iterdir():
        model, words = read_arpa(path)
        assert words == ("<s>", "a", "b", "</s>")
        got = np.asarray(model.score(np.array([[1, 2, 3], [1, 1, 3], [3, 0, 0], [2, 1, 1]]), np.array([3, 3, 1, 3]))) / np.log(10)
        assert_allclose(got[0], [-0.25, -0.0625, 0.25 - 0.75], atol=1e-6)  # </s> after "a b", whose weight is above 1
        assert_allclose(got[1], [-0.25, -np.inf, -0.25 - 0.75], atol=1e-6)  # -inf, the weight of "<s> a", is zero
        assert_allclose(got[2, 0], -0.5 - 0.75, atol=1e-6)
        assert_allclose(got[3], [-np.inf, -0.5, -0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SMALL, "", ":1: the file ends"),
        (SMALL, "text\n", ":2: the file ends"),
        ("ngram 1=4\n", "", ":3: expected the number of 1-grams"),
        ("ngram 1=4\nngram 2=3\nngram 3=1\n\n", "", ":3: expected 'ngram 1='"),
        ("ngram 3=1\n", "ngram 4=1\n", ":5: expected the number of 3-grams"),
        ("ngram 1=4", "ngram 1=5", r":12: expected a log10 probability, 1 words"),
        ("ngram 1=4", "ngram 1=9999999999", ":12: expected a log10 probability"),
        ("ngram 2=3", "ngram 2=2", r":16: expected '\\3-grams:'"),
        ("ngram 3=1", "ngram 3=0", r":19: expected \\end\\"),
        ("\\2-grams:", "\\3-grams:", ":13: expected"),
        ("\ta b\t", "\ta c\t", ":14: the n-gram 'a c' has a word that is not among the 1-grams"),
        ("-0.5\ta a", "-0.5\ta b", ":16: the n-gram 'a b' occurs twice"),
        ("-99\tb", "-99\ta", ":10: the n-gram 'a' occurs twice"),
        ("\t<s> a b", "\tb a b", ":19: the n-gram 'b a b' has no prefix: its first 2 words"),
        ("-0.125", "0.125", ":14: expected a log10 probability"),
        ("-0.125", "nan", ":14: expected a log10 probability"),
        ("-0.125", "x", ":14: expected a log10 probability"),
        ("\t0.25", "\tnan", ":14: expected a log10 probability"),
        ("\t0.25", "\t39", ":14: expected a log10 probability"),
        ("\ta b\t", "\ta\t", ":14: the n-gram 'a 0.25' has a word that is not among"),
        ("\ta b\t", "\ta b b\t", ":14: expected a log10 probability, 2 words"),
        ("\t</s>", "\t<e>", "there is no </s> among the 1-grams"),
        ("\\end\\\n", "", ":21: the file ends before"),
        ("\\end\\\n", "\\4-grams:\n", r":21: expected \\end\\ after the 1 3-grams"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, old, new, message):
    assert old in SMALL
    (tmp_path / "a.arpa").write_text(SMALL.replace(old, new, 1))
    with pytest.raises(FormatError, match=r"a\.arpa.*" + message):
        read_arpa(tmp_path / "a.arpa")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data = SMALL.encode()
    for cut in range(0, len(data) - 2):
        (tmp_path / "a.arpa").write_bytes(data[:cut])
        with pytest.raises(LmlibError, match=r"a\.arpa"):
            read_arpa(tmp_path / "a.arpa")


def test_a_vocabulary_that_is_not_the_files_is_an_error(tmp_path):
    (tmp_path / "a.arpa").write_text(SMALL)
    for words, message in [
        (["<s>", "</s>", "a"], "'b' of the file is not in `words`"),
        (["<s>", "</s>", "a", "b", "c"], "no 1-gram for 'c', id 4"),
        (["<s>", "</s>", "a", "b", "a"], "twice"),
        (["<bos>", "</s>", "a", "b"], "'<s>' of the file"),
    ]:
        with pytest.raises(VocabularyError, match=message):
            read_arpa(tmp_path / "a.arpa", words)
    with pytest.raises(UnavailableError):
        read_arpa(tmp_path / "nothing.arpa")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    model = train(NgramConfig.tiny(4, bos=0, eos=1), [[2, 3, 1]])
    (tmp_path / "a.arpa").write_text("old")
    for words, error, message in [
        (["<s>", "</s>", "a"], ShapeError, "words"),
        (["<s>", "</s>", "a", "a"], FormatError, "ids 2 and 3"),
        (["<s>", "</s>", "a", "<s>"], FormatError, "ids 0 and 3"),
        (["<s>", "</s>", "a", "a b"], FormatError, r"words\[3\]"),
        (["<s>", "</s>", "a", ""], FormatError, r"words\[3\]"),
        (["<s>", "</s>", "a", None], FormatError, r"words\[3\]"),
    ]:
        with pytest.raises(error, match=message):
            write_arpa(tmp_path / "a.arpa", model, words)
    with pytest.raises(StorageError):
        write_arpa(tmp_path, model, ["<s>", "</s>", "a", "b"])
    assert (tmp_path / "a.arpa").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1

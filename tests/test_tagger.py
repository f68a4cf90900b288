"""Taggers: what counting and Viterbi must give on small texts, and what they reach on ATIS and on the small world's Chinese."""

from itertools import islice, product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmlib.errors import ConfigError, EmptyCorpusError, ShapeError
from lmlib.measure.tagging import chunk_score, label_accuracy, segmentation_score
from lmlib.models.base import split
from lmlib.models.tagger import Tagger, bmes, most_frequent_labels, words_of
from lmlib.text.corpora import open_corpus
from lmlib.text.world import SPLITS, World

SENTENCES = ["the dog barks", "the old dog sleeps", "the old sleep", "a bark", "dogs bark", "the dogs sleep", "old dogs bark"]
LABELS = ["D N V", "D A N V", "D N V", "D N", "N V", "D N V", "A N V"]


def tagger(**settings):
    return Tagger.train([s.split() for s in SENTENCES], [row.split() for row in LABELS], **{"min_count": 1, **settings})


@pytest.mark.parametrize("method", ["viterbi", "posterior"])
def test_labels_are_the_best_of_all_paths(method):
    """Every path of labels and the end, enumerated, with probabilities as the tagger's own tables have them."""
    t = tagger()
    params = {name: np.asarray(value, np.float64) for name, value in split(t.model)[1].items()}
    for sentence in ("the old dog barks", "bark", "the cat sleeps", "old old", ""):
        ids = t.encode(sentence.split())
        p = {}
        for path in product(range(len(t.labels)), repeat=len(ids)):
            p[path] = params["start"][path[0]] * params["emission"][path[0], ids[0]]
            for a, b, x in zip(path, path[1:], ids[1:], strict=False):
                p[path] *= params["transition"][a, b] * params["emission"][b, x]
        if method == "viterbi":
            best = max(p, key=p.get)
        else:
            marginal = np.zeros((len(ids), len(t.labels)))
            for path, q in p.items():
                marginal[range(len(ids)), path] += q
            best = marginal.argmax(1)
        assert t.tag([sentence.split()], method) == [[t.labels[z] for z in best[:-1]]]


def test_the_end_is_learnt_and_is_no_word():
    t = tagger()
    emission, (end, word) = np.asarray(split(t.model)[1]["emission"]), (t.labels.index("</s>"), t.words["</s>"])
    assert emission[end, word] == 1
    assert emission[:, word].sum() == 1
    assert_allclose(emission.sum(1), 1, rtol=1e-6)
    assert t.model.bos == t.model.eos == word
    # no adjective ends a sentence, so an unseen last word is a noun or a verb even after an adjective
    assert t.tag([["the", "old", "zebra"]])[0][-1] in "NV"


def test_rare_words_teach_what_unseen_words_are():
    rows = [["go", f"Name{i}"] for i in range(20)] + [["see", "it"]] * 5
    t = Tagger.train(rows, [["V", "NAME"]] * 20 + [["V", "P"]] * 5)
    assert t.tag([["go", "Nobody"]]) == [["V", "NAME"]]


def test_sentences_keep_their_order_and_batches_do_not_matter():
    t, rng = tagger(), np.random.default_rng(0)
    words = [word for word in t.words if word[0] != "<"]
    rows = [[str(word) for word in rng.choice(words, rng.integers(0, 12))] for _ in range(30)]
    found = t.tag(rows)
    assert [len(row) for row in found] == [len(row) for row in rows]
    assert found == t.tag(rows, batch_size=7) == [t.tag([row])[0] for row in rows]
    assert t.tag([]) == []


def test_words_are_labelled_by_themselves():
    """old is an adjective twice and a noun once, bark a noun once and a verb twice. Of all labels, N is the most frequent."""
    found = most_frequent_labels([s.split() for s in SENTENCES], [row.split() for row in LABELS], [["old", "sleep", "zebra"], ["bark"], []])
    assert found == [["A", "V", "N"], ["V"], []]
    with pytest.raises(ShapeError, match="sentence 0"):
        most_frequent_labels([["a", "b"]], [["x"]], [])
    with pytest.raises(EmptyCorpusError):
        most_frequent_labels([[]], [[]], [["a"]])


def test_bmes_goes_there_and_back():
    words = ["阿斯特丽德", "住", "在", "奥斯陆", "。", "他们"]
    characters, labels = bmes(words)
    assert "".join(labels) == "BMMMESSBMESBE"
    assert words_of(characters, labels) == words
    # labels that contradict one another still cut the text, and lose nothing of it
    for labels in product("BMES", repeat=4):
        assert "".join(words_of("甲乙丙丁", labels)) == "甲乙丙丁"
    assert words_of("甲乙丙丁", "MBBE") == ["甲", "乙", "丙丁"]
    assert words_of("甲乙丙丁", "BMSE") == ["甲乙", "丙", "丁"]


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(ShapeError, match="sentence 1"):
        Tagger.train([["a"], ["b", "c"]], [["x"], ["y"]])
    with pytest.raises(ShapeError, match="rows of labels"):
        Tagger.train([["a"], ["b"]], [["x"]])
    with pytest.raises(EmptyCorpusError):
        Tagger.train([[]], [[]])
    with pytest.raises(ConfigError, match="</s>"):
        Tagger.train([["</s>"]], [["x"]])
    with pytest.raises(ConfigError, match="method"):
        tagger().tag([["a"]], "greedy")


def test_it_segments_the_small_worlds_chinese():
    """From 1,000 sentences; most words of `test` have occurred in them. A segmenter that cuts everywhere would have 0.48."""
    seed, _ = SPLITS["test"]
    train, test = World().segmented(1000, SPLITS["train"][0]), World().segmented(300, seed)
    rows = [bmes(words) for words in train]
    t = Tagger.train([characters for characters, _ in rows], [labels for _, labels in rows], min_count=1)
    texts = [list("".join(words)) for words in test]
    found = [words_of(text, labels) for text, labels in zip(texts, t.tag(texts), strict=True)]
    assert segmentation_score(test, found).f1 > 0.95
    assert segmentation_score(test, texts).f1 < 0.5


@pytest.mark.parametrize("method", ["viterbi", "posterior"])
def test_states_of_their_own_remember_what_a_label_forgets(method):
    """Where a town is left and where it is reached: the word before tells, and both words are O."""
    towns = ["rome", "oslo", "cairo"]
    pairs = [(a, b) for a in towns for b in towns if a != b]
    sentences = [["from", a, "to", b] for a, b in pairs] + [["to", b, "from", a] for a, b in pairs]
    labels = [["O", "F", "O", "T"]] * len(pairs) + [["O", "T", "O", "F"]] * len(pairs)
    lexical = Tagger.train(sentences, labels, outside="O", outside_count=3)
    assert lexical.tag(sentences, method) == labels
    plain = Tagger.train(sentences, labels).tag(sentences, method)
    assert label_accuracy(labels, plain) <= 0.75


@pytest.mark.data
def test_it_finds_the_slots_of_atis():
    """The first 200 sentences of the test part; all of it gives 0.91."""
    train = list(open_corpus("atis", "train").records())
    test = list(islice(open_corpus("atis", "test").records(), 200))
    t = Tagger.train([record["text"].split() for record in train], [record["slots"] for record in train], outside="O")
    found = t.tag([record["text"].split() for record in test])
    assert chunk_score([record["slots"] for record in test], found).f1 > 0.85

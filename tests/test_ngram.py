"""n-gram models against a naive count with dictionaries, NLTK, and the published perplexity; they sum to one for every context."""

import itertools
import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.config import from_dict, to_dict
from lmlib.errors import ConfigError, EmptyCorpusError, EstimationError, ShapeError, VocabularyError
from lmlib.measure.perplexity import perplexity
from lmlib.models.base import compiled, merge, shift_right, split
from lmlib.models.ngram import CHUNK, NgramConfig, running_text, train
from lmlib.models.ngram_counts import count
from lmlib.text.batches import pad
from lmlib.text.corpora import open_corpus
from lmlib.text.store import TokenStore, write_tokens
from lmlib.text.tokenizers import WordTokenizer

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "ngram.json").read_text("utf-8"))


# An independent implementation: one word and one context at a time, from the equations of Chen and Goodman 1999


class Naive:
    """p(w | h) by recursion over dictionaries; sentences are lists of ids that end with EOS."""

    def __init__(self, sentences, config):
        self.config, self.n = config, config.order
        self.words = [w for w in range(config.vocab_size) if w != config.bos or config.bos == config.eos]
        self.counts = Counter()
        for sentence in sentences:
            text = (config.bos, *sentence)
            self.counts.update(text[i - m : i] for i in range(2, len(text) + 1) for m in range(1, min(self.n, i) + 1))
        self.before, self.after = Counter(), {}
        for gram in self.counts:
            self.before[gram[1:]] += 1  # words seen before it
            self.after.setdefault(gram[:-1], []).append(gram[-1])

    def a(self, gram):
        kneser_ney = self.config.method.endswith("kneser_ney")
        if kneser_ney and len(gram) < self.n and not (len(gram) > 1 and gram[0] == self.config.bos):
            return self.before[gram]
        return self.counts[gram]

    @cache  # noqa: B019
    def discounts(self, m):
        if self.config.discounts:
            return self.config.discounts[m - 1]
        n = Counter(self.a(gram) for gram in self.counts if len(gram) == m)
        if self.config.method in ("absolute", "kneser_ney"):
            return (n[1] / (n[1] + 2 * n[2]),)
        if self.config.method == "modified_kneser_ney":
            y = n[1] / (n[1] + 2 * n[2])
            return 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        k = self.config.cutoff
        share = (k + 1) * n[k + 1] / n[1]
        d = [((r + 1) * n[r + 1] / (r * n[r]) - share) / (1 - share) for r in range(1, k + 1)]
        return *(r * (1 - d[r - 1]) for r in range(1, k + 1)), 0.0

    def p(self, w, h):
        config, h = self.config, h[len(h) - self.n + 1 :] if len(h) >= self.n else h
        uniform = 1 / len(self.words)
        followers = self.after.get(h, [])
        if config.method == "add_k":
            whole = h if len(h) == self.n - 1 or h[:1] == (config.bos,) else None
            seen, total = (self.counts[(*h, w)], sum(self.counts[(*h, v)] for v in followers)) if whole is not None else (0, 0)
            return (seen + config.k) / (total + config.k * len(self.words))
        lower = self.p(w, h[1:]) if h else uniform
        if not followers:
            return lower
        a, total = self.a((*h, w)), sum(self.a((*h, v)) for v in followers)
        if config.method == "mle":
            return a / total
        if config.method == "witten_bell":
            left = len(followers) / (total + len(followers))
            alpha = a / (total + len(followers))
        else:
            table = self.discounts(len(h) + 1)
            d = {v: table[min(self.a((*h, v)), len(table)) - 1] for v in followers}
            left = sum(d.values()) / total
            alpha = (a - d[w]) / total if w in d else 0.0
        if not (config.backoff or config.method == "katz"):
            return alpha + left * lower
        unseen = 1 - sum(self.p(v, h[1:]) if h else uniform for v in followers)
        if unseen < 1e-10:
            return alpha / (1 - left)
        if left < 1e-10:
            alpha, left = alpha * total / (total + 1), 1 / (total + 1)
        return alpha if w in followers else left / unseen * lower


METHODS = {
    "mle": {"method": "mle"},
    "add-k": {"method": "add_k", "k": 0.3},
    "Witten-Bell": {"method": "witten_bell"},
    "Witten-Bell, backed off": {"method": "witten_bell", "backoff": True},
    "absolute": {"method": "absolute"},
    "absolute, backed off": {"method": "absolute", "backoff": True},
    "Katz": {"method": "katz", "cutoff": 3},
    "Kneser-Ney": {"method": "kneser_ney"},
    "Kneser-Ney, backed off": {"method": "kneser_ney", "backoff": True},
    "modified Kneser-Ney": {"method": "modified_kneser_ney"},
    "modified Kneser-Ney, backed off": {"method": "modified_kneser_ney", "backoff": True},
}


@cache
def zipf_text(words=400, sentences=900):
    """Sentences over a vocabulary of `words`, BOS 0 and EOS 1, whose counts of counts fall as those of a language do."""
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, words - 20) ** 1.1  # the last words never occur
    follow = rng.permuted(np.tile(np.arange(2, 2 + len(p)), (7, 1)), axis=1)  # which word is which, by class of the word before
    text = []
    for _ in range(sentences):
        sentence = [1]
        for rank in rng.choice(len(p), rng.integers(1, 9), p=p / p.sum()):
            sentence.append(int(follow[sentence[-1] % 7, rank]))
        text.append([*sentence[1:], 1])
    return text


def distributions(model, contexts):
    """p(. | h) for each of some contexts (tuples of ids): (contexts, V) float64."""
    length = max(1, *map(len, contexts))
    rows = np.array([h + (0,) * (length - len(h)) for h in contexts], np.int32)
    lengths = np.array([len(h) for h in contexts])
    logits = np.asarray(compiled(model, "forward")(rows)[0], np.float64)
    return np.exp(logits[np.arange(len(rows)), lengths - 1])


@pytest.mark.parametrize("name", METHODS)
def test_every_estimator_equals_the_naive_count(name):
    text = zipf_text()
    config = NgramConfig(400, 3, bos=0, eos=1, **METHODS[name])
    model, naive = train(config, text), Naive(text, config)
    some = [tuple([0, *s][max(0, i - 2) : i]) for s in text[:60] for i in range(1, len(s) + 1)]
    rng = np.random.default_rng(1)
    contexts = list(dict.fromkeys([(0,), *some[:60], *map(tuple, rng.integers(2, 390, (10, 2)).tolist()), (5,), (399, 398)]))
    assert len(naive.after[(0,)]) > CHUNK  # more continuations than are written at a time
    got = distributions(model, contexts)
    naive_p = cache(naive.p)
    naive.p = naive_p
    for h, row in zip(contexts, got, strict=True):
        assert_allclose(row, [0.0 if w == 0 else naive_p(w, h) for w in range(400)], rtol=2e-5, atol=1e-9)


ALPHABET = 5


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("separators", [(0, 0), (1, 3)])
def test_probabilities_sum_to_one_for_every_context(name, order, separators):
    discounts = {"absolute": (0.7,), "katz": (0.6, 0.3, 0.0), "kneser_ney": (0.7,), "modified_kneser_ney": (0.5, 0.9, 1.3)}
    bos, eos = separators
    fields = METHODS[name] | ({"discounts": (discounts[METHODS[name]["method"]],) * order} if METHODS[name]["method"] in discounts else {})
    config = NgramConfig(ALPHABET, order, bos=bos, eos=eos, **fields)
    rng = np.random.default_rng(order)
    letters = [i for i in range(ALPHABET) if i not in separators]
    text = [[*rng.choice(letters, rng.integers(1, 12), p=p), eos] for p in rng.dirichlet(np.full(len(letters), 0.6), 25)]
    length = max(1, order - 1)
    every = np.array(list(itertools.product(range(ALPHABET), repeat=length)), np.int32)
    logits = np.asarray(compiled(train(config, text), "forward")(every)[0], np.float64)  # contexts of 1 … order - 1 words
    assert_allclose(np.exp(logits).sum(axis=-1), 1, atol=2e-6)
    if bos != eos:
        assert (logits[..., bos] == -np.inf).all()


@pytest.mark.parametrize("name", ["Katz", "modified Kneser-Ney", "add-k", "Witten-Bell, backed off"])
def test_score_without_logits_equals_the_logits(name):
    text = zipf_text()
    model = train(NgramConfig(400, 4, bos=0, eos=1, **METHODS[name]), text)
    store = TokenStore.from_sequences([*text[:20], [7, 300, 399, 12, 1]], 400)
    row = running_text(store, 1)
    logp = np.asarray(compiled(model, "score")(row["tokens"], row["lengths"]))[0]
    sentences, lengths = pad([store[i] for i in range(len(store))], 10)
    logits = np.asarray(compiled(model, "forward")(shift_right(sentences, 0))[0])
    want = np.take_along_axis(logits, sentences[..., None], axis=-1)[..., 0]
    assert_allclose(logp, np.concatenate([row[:n] for row, n in zip(want, lengths, strict=True)]), atol=2e-6)  # a corpus is its sentences
    assert_allclose(perplexity(model, [row]).nats, -logp.sum(dtype=np.float64))


def test_kneser_ney_equals_nltk():
    tokenizer = WordTokenizer.train(FIXTURE["training"], specials=("<s>", "</s>"))
    order, discount = FIXTURE["order"], FIXTURE["discount"]
    bos, eos = tokenizer.special("<s>"), tokenizer.special("</s>")
    discounts = ((0.0,), *((discount,),) * (order - 1))  # NLTK does not discount unigrams
    config = NgramConfig(tokenizer.vocab_size, order, "kneser_ney", bos=bos, eos=eos, discounts=discounts)
    model = train(config, write_tokens(FIXTURE["training"], tokenizer, after="</s>"))
    tokens, lengths = pad(tokenizer.encode_batch(FIXTURE["known"], after="</s>"), 40)
    got = np.asarray(compiled(model, "score")(tokens, lengths))
    for row, length, want in zip(got, lengths, FIXTURE["nltk: p of the words with complete context"], strict=True):
        assert_allclose(row[order - 2 : length], np.log(want), atol=1e-5)


@pytest.mark.parametrize("separators", [(0, 0), (4, 0)])
def test_counts_are_those_of_a_dictionary(separators):
    bos, eos = separators
    rng = np.random.default_rng(0)
    text = [[*rng.integers(1, 4, n), eos] for n in rng.integers(0, 9, 30)]
    levels = count(text, NgramConfig(5, 4, bos=bos, eos=eos))
    want = Counter()
    for sentence in text:
        whole = (bos, *map(int, sentence))
        want.update(whole[i - m + 1 : i + 1] for i in range(1, len(whole)) for m in range(1, 5) if m <= i + 1)
    grams = [()]
    for m, level in enumerate(levels, 1):
        shorter, grams = grams, [(*grams[p], int(w)) for p, w in zip(level.parent, level.word, strict=True)]
        assert grams == sorted(set(grams))
        assert {g: c for g, c in zip(grams, level.count, strict=True) if c} == {g: c for g, c in want.items() if len(g) == m}
        if m > 1:
            assert [shorter[i] for i in level.suffix] == [gram[1:] for gram in grams]
            assert_array_equal(level.initial, [gram[0] == bos for gram in grams])


def test_sentences_in_one_sequence_are_sentences():
    text = [[2, 3, 1], [1], [3, 3, 2, 1]]
    config = NgramConfig(4, 3, "witten_bell", bos=0, eos=1)
    apart, together = (train(config, sequences).tables() for sequences in (text, [[word for sentence in text for word in sentence]]))
    for a, b in zip(apart, together, strict=True):
        assert_array_equal(a.prob, b.prob)


def test_tables_pass_through_the_parameters():
    model = train(NgramConfig.tiny(6), [[2, 3, 4, 0], [2, 5, 0]])
    definition, params = split(model)
    assert set(params) == {"order1", "order2", "order3"}
    for a, b in zip(merge(definition, params).tables(), model.tables(), strict=True):
        for name in ("word", "parent", "prob", "backoff"):
            assert_array_equal(getattr(a, name), getattr(b, name))


def test_an_id_outside_the_vocabulary_is_nan_never_another_word():
    model = train(NgramConfig.tiny(6), [[2, 3, 4, 0], [2, 5, 0]])
    for bad in (-1, 6, 2**31 - 1):
        tokens = np.array([[2, bad, 3]], np.int32)
        assert np.isnan(model.score(tokens, np.array([3]))).tolist() == [[False, True, False]]
        assert np.isnan(model.forward(tokens)[0]).all(axis=-1).tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 5, "order": 7}, "1 … 6"),
        ({"vocab_size": 5, "order": 0}, "1 … 6"),
        ({"vocab_size": 5, "method": "kneser_nay"}, "method must be one of"),
        ({"vocab_size": 5, "eos": 5}, "eos"),
        ({"vocab_size": 5, "k": 0.0}, "k must"),
        ({"vocab_size": 5, "cutoff": 0}, "cutoff"),
        ({"vocab_size": 5, "method": "mle", "backoff": True}, "no backed-off form"),
        ({"vocab_size": 5, "order": 1, "method": "add_k", "discounts": [[0.5]]}, "has no discounts"),
        ({"vocab_size": 5, "order": 2, "discounts": [[0.5]]}, "2 tuples"),
        ({"vocab_size": 5, "order": 1, "discounts": [[0.5, 2.5]]}, r"discounts\[0\] must"),
        ({"vocab_size": 5, "order": 1, "discounts": [[]]}, r"discounts\[0\] must"),
        ({"vocab_size": 5, "order": 1, "discounts": [[float("nan")]]}, r"discounts\[0\] must"),
        ({"vocab_size": 5, "fallback": [1.5]}, "fallback must"),
        ({"vocab_size": 5, "fallback": [0.5], "method": "witten_bell"}, "fallback: witten_bell has no discounts"),
    ],
)
def test_config_refuses_what_makes_no_model(fields, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(NgramConfig, fields)


def test_presets_and_json():
    assert NgramConfig.paper(100, bos=1) == NgramConfig(100, 5, "modified_kneser_ney", bos=1)
    assert NgramConfig.small(100).order == NgramConfig.tiny().order == 3
    config = NgramConfig(9, 2, "katz", discounts=((0.5, 0.0), (0.75,)))
    assert from_dict(NgramConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("method", ["absolute", "katz", "kneser_ney", "modified_kneser_ney"])
def test_a_text_too_small_for_an_estimator_is_an_error(method):
    with pytest.raises(EstimationError, match=r"order 2.*give NgramConfig.fallback"):
        train(NgramConfig(4, 2, method, bos=0, eos=1), [[2, 3, 1]] * 3)
    given, fallen_back = (
        train(NgramConfig(4, 2, method, bos=0, eos=1, **fields), [[2, 3, 1]] * 3).tables()
        for fields in ({"discounts": ((0.0,), (0.5,))}, {"fallback": (0.5,)})  # every word was seen: unigrams need no discount
    )
    for a, b in zip(given, fallen_back, strict=True):
        assert_array_equal(a.prob, b.prob)


def test_what_is_no_text_is_an_error():
    config = NgramConfig(4, 2, "mle", bos=0, eos=1)
    with pytest.raises(EmptyCorpusError):
        train(config, [])
    with pytest.raises(VocabularyError, match="token 3 of the text is BOS"):
        train(config, [[2, 3, 1], [0, 2, 1]])
    with pytest.raises(VocabularyError):
        train(config, [[4]])
    with pytest.raises(VocabularyError, match="vocabulary of 5"):
        train(config, TokenStore.from_sequences([[1]], 5))
    with pytest.raises(ShapeError, match="ends at token 2 does not end with EOS"):
        running_text(TokenStore.from_sequences([[2, 1], [2], [3, 1]], 4), 1)


@pytest.mark.data
def test_penn_treebank_reaches_the_published_perplexity():
    documents = list(open_corpus("ptb", "train").documents())
    tokenizer = WordTokenizer.train(documents, specials=("<s>", "</s>"))
    bos, eos = tokenizer.special("<s>"), tokenizer.special("</s>")
    model = train(NgramConfig.paper(tokenizer.vocab_size, bos=bos, eos=eos), write_tokens(documents, tokenizer, after="</s>"))
    test = write_tokens(open_corpus("ptb", "test").documents(), tokenizer, after="</s>")
    found = perplexity(model, [running_text(test, eos)])
    assert found.tokens == 82430
    assert 140.5 < found.perplexity < 142  # published: 141.2

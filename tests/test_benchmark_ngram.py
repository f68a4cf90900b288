"""The n-gram benchmark: what it gives to both sides, and that our side scores what it says. Nothing here asserts a time."""

import json
from pathlib import Path

import pytest

from lmlib.errors import LmlibError
from lmlib.measure.perplexity import perplexity
from lmlib.models.arpa import read_arpa
from lmlib.models.ngram import running_text
from lmlib.text.corpora import memory_corpus
from lmlib.text.store import write_tokens
from lmlib.text.tokenizers import WordTokenizer
from tests.benchmarks import ngram
from tests.benchmarks.ours_ngram import estimate, learn_and_score, load, run

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "ngram.json").read_text("utf-8"))


def test_the_text_held_out_follows_the_text_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr(ngram, "open_corpus", lambda name, split: memory_corpus(["a b c", "d a", "b z c a"]))
    monkeypatch.setattr(ngram, "LEARN", 7)
    monkeypatch.setattr(ngram, "HELD_OUT", 3)
    paths = ngram.prepare_running_text(tmp_path)
    assert Path(paths["corpus"]).read_text() == "a b c <eos> d a <eos>\n"
    assert Path(paths["text"]).read_text() == "<eos> d a <eos> b <unk> c\n"  # four words of context and three to score


def test_sides_that_did_other_work_are_refused():
    def side(logp, tokens=10):
        return [{"logp": logp, "tokens": tokens}] * 3

    tokens, quality = ngram.same_work({"ours": side(-50.0001), "peer": side(-50.0002)})
    assert tokens == 10
    assert quality["ours"] == quality["peer"]
    for ours, peer in ((side(-50.0), side(-50.01)), (side(-50.0), side(-50.0, 11)), (side(-50.0), side(float("nan")))):
        with pytest.raises(LmlibError, match="same work"):
            ngram.same_work({"ours": ours, "peer": peer})


def test_our_side_scores_the_lines_it_is_given(tmp_path):
    corpus, text, arpa = (tmp_path / name for name in ("corpus", "text", "arpa"))
    lines = FIXTURE["training"] * 2 + FIXTURE["known"] + FIXTURE["unknown"]
    corpus.write_text("\n".join(lines) + "\n")
    text.write_text("\n".join(FIXTURE["known"]) + "\n")
    estimate(str(corpus), str(arpa))
    load(str(arpa), str(corpus))
    got = run("score", text=str(text))
    tokenizer = WordTokenizer.train(lines, specials=("<s>", "</s>"))
    model, _ = read_arpa(arpa, tokenizer.tokens)
    want = perplexity(model, [running_text(write_tokens(FIXTURE["known"], tokenizer, after="</s>"), model.eos)])
    assert got["logp"] == pytest.approx(-want.nats)
    assert got["tokens"] == want.tokens


def test_our_side_learns_and_scores_a_running_text(tmp_path):
    (tmp_path / "corpus").write_text("a b a b a b a c\n")
    (tmp_path / "text").write_text("a c\n")
    got = learn_and_score(str(tmp_path / "corpus"), str(tmp_path / "text"), 2, 0.5)
    # a is followed by b thrice and by c once; c ends one of the four bigrams (BOS a, a b, b a, a c)
    assert got["tokens"] == 1
    assert 2.718281828 ** got["logp"] == pytest.approx((1 - 0.5) / 4 + 2 * 0.5 / 4 * 1 / 4, rel=1e-5)

# %% [markdown]
# # 02 · Counting
#
# How far does one come with nothing but counting? This notebook builds the two families of language models that ruled the field
# until about 2010: **n-grams**, which count which word follows which, and **hidden Markov models**, which count what they cannot
# see. Both can be worked out with a pencil, and both are harder to beat than they look: a five-gram is the first number in many a
# paper's table, and the paper is about the number that comes below it.
#
# At the end you can turn counts into probabilities in seven ways, and say what each of them takes from the words that were seen
# and gives to those that were not; tell a perplexity from a number that looks like one; compare models that cut the same text
# into different pieces; and compute, decode and learn what a hidden Markov model hides.
#
# **How to read.** The next cell holds what you may change. Profile `smoke` takes seconds and is for tests; `quick` takes text that
# comes with the library; `real` takes the Penn Treebank, on which n-grams have published numbers, and the flight requests of
# ATIS. `corpus` replaces the natural text by your own.
#
# Letters at the end of a name are its shape: V vocabulary, B sequences, L tokens, S hidden states.

# %% tags=["parameters"]
profile = "quick"
# Natural text: a name that `lmlib corpora` lists, or the path of your own text; None leaves it to the profile.
corpus = None

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

print(f"profile {profile}, on {runtime.device_name()}")

# %% [markdown]
# What several sections need is imported here; the rest where it is first used.

# %%
import math
import time
from itertools import pairwise, product
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.measure.perplexity import perplexity
from lmlib.models import ngram, ngram_counts
from lmlib.models.base import compiled, split
from lmlib.record import figures, show
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.text.batches import PaddedBatches, write_tokens
from lmlib.text.corpora import open_corpus
from lmlib.text.tokenizers import CharTokenizer, WordTokenizer
from lmlib.text.world import World

# %% [markdown]
# Two texts accompany us: the *small world*, of which the entropy is known, and a *natural* text, of which nobody knows it. Each
# comes in three parts: models are counted on `train`, choices are made on `valid`, and `test` is for the numbers that we report.
# (Of your own text, we take eight, one and one of ten documents.) Each document, a sentence of the world, a line of the Treebank or
# a paragraph of the manual, is read as one sentence: `<s>`, which is never predicted, the words, and `</s>`, which is. The Treebank
# comes cut into words, with rare ones replaced by `<unk>`. Other natural text is made lower case and cut at spaces and around
# punctuation; a word that occurs once becomes `<unk>`.


# %%
def prepare(parts, words=None, **style):
    """A text as token ids, part by part; its vocabulary is `words`, or else made from the training part."""
    words = words or WordTokenizer.train(parts["train"], specials=("<s>", "</s>"), **style)
    tokens = {part: write_tokens(documents, words, after="</s>") for part, documents in parts.items()}
    return SimpleNamespace(parts=parts, words=words, tokens=tokens, bos=words.special("<s>"), eos=words.special("</s>"))


parts, rich, few = ("train", "valid", "test"), profile in ("real", "paper"), 2_000 if profile == "smoke" else None
name = corpus or ("ptb" if rich else "manual")
worlds = [open_corpus("world", part) for part in parts]
naturals = [open_corpus(corpus)] if corpus else [open_corpus(name, part) for part in parts]
atis = [open_corpus("atis", part) for part in ("train", "test")] if rich else []
whole = [list(opened.documents())[:few] for opened in naturals]
whole = [[text for i, text in enumerate(whole[0]) if i % 10 < 8], whole[0][8::10], whole[0][9::10]] if corpus else whole

# %%
style = {} if name == "ptb" else {"normalisation": "lower", "segmentation": "punctuation", "min_count": 2}
natural = prepare(dict(zip(parts, whole, strict=True)), **style)
world = prepare({opened.split: list(opened.documents())[:few] for opened in worlds}, unk=None)
print(naturals[0].name, {"vocabulary": natural.words.vocab_size} | {part: len(natural.tokens[part].ids) for part in parts})

# %% [markdown]
# What is measured goes into a run folder. Counting has no seed; seeds are for what is drawn, sentences and first guesses.

# %%
orders, seeds, drawn = range(1, 6), (1, 2, 3), 60 if few else 200
settings = {"few": few, "drawn": drawn, "states": (2, 16 if rich else 8), "iterations": {"smoke": 3, "quick": 30}.get(profile, 120)}
run = notebook_run("02_counting", profile, parameters=settings, seeds=seeds, corpus=[*worlds, *naturals, *atis])


def keep(name, frame, tolerance, corpus, digits=2):
    """Write a table into the run folder and show it; its numbers may differ elsewhere by a tolerance, in columns of fractions."""
    run.table(name, frame, tolerance=dict.fromkeys(frame.select_dtypes("float"), tolerance), corpus=corpus)
    return frame.round(digits)


# %% [markdown]
# ## 1 · What is a sentence worth?
#
# By the chain rule, the probability of a sentence is the product of the probabilities of its words, each given all that stand
# before it. An **n-gram** model looks back no further than $n - 1$ words (Markov 1913, on the letters of *Eugene Onegin*; Shannon
# 1948, on English), and estimates what it then needs by counting and dividing:
#
# $$p(w_1 \dots w_T) \approx \prod_{t=1}^{T} p(w_t \mid h_t), \qquad h_t = w_{t-n+1} \dots w_{t-1}, \qquad
# p(w \mid h) = \frac{c(hw)}{\sum_{v} c(hv)} .$$
#
# $c(hw)$ is how often the words $h$ and then $w$ occur in the training text. Of all estimates, this one makes the training text
# most probable, hence its name, **maximum likelihood** (MLE). By hand on three sentences, for $n = 2$; the sentence that we ask
# about is a fourth one:


# %%
def counted(text, method, order, **settings):
    """The n-gram model of the training part of a text."""
    return ngram.train(ngram.NgramConfig(text.words.vocab_size, order, method, text.bos, text.eos, **settings), text.tokens["train"])


toy = prepare({"train": ["the king drinks tea", "the queen drinks tea", "the queen drinks wine"]}, unk=None)
pairs = [pair for sentence in toy.parts["train"] for pair in pairwise(["<s>", *sentence.split(), "</s>"])]
firsts = [first for first, _ in pairs]
by_hand = [pairs.count(pair) / firsts.count(pair[0]) for pair in pairwise(["<s>", "the", "king", "drinks", "wine", "</s>"])]
toy_mle, ids = counted(toy, "mle", 2), [*toy.words.encode("the king drinks wine"), toy.eos]
assert_allclose(by_hand, np.exp(toy_mle.score([ids], [5])[0]), rtol=1e-6)
print(" · ".join(f"{p:.3f}" for p in by_hand), "=", f"{math.prod(by_hand):.3f}")

# %% [markdown]
# **What to notice.** The model gives a ninth of everything to a sentence that is not in its text. It cuts sentences apart and
# joins them again where words fit, two by two: that is all its imagination. What it has not seen side by side, it holds to be
# impossible: *the wine* has probability 0, and so has each sentence that contains it. How often does that happen?

# %%
zeros, axes = {}, {"marker": "o", "xlabel": "order n"}
for title, text in (("world", world), (naturals[0].name, natural)):
    test = ngram.running_text(text.tokens["test"], text.eos).values()
    scores = [compiled(counted(text, "mle", n), "score")(*test) for n in orders]
    zeros[title] = [100 * np.isneginf(logp_1L).mean() for logp_1L in scores]
run.figure("zeros", figures.lines(orders, zeros, ylabel="test tokens held\nto be impossible (%)", **axes))

# %% [markdown]
# **What to notice.** A single zero makes the probability of the whole text zero, and in natural text there are thousands. (In the
# world, whose sentences resemble one another, they are few, and still too many.) All of *smoothing*, sections 3 to 5, is about
# taking a little from what was seen and giving it to what was not.
#
# ### Exercise 1
#
# What does the toy model give to the sentence *the queen drinks wine*, one of the three that it has seen?

# %%
probability = None  # your answer
check(probability, (lambda p: np.isclose(p, 2 / 9), "five factors, of which two are not 1."))

# %% [markdown]
# ## 2 · How surprised is a model?
#
# The measure of a language model is what an unseen text of $N$ tokens costs it, in bits a token. The **perplexity** is the same
# number as a count: between how many equally likely tokens does it hesitate? (Jelinek et al. 1977)
#
# $$H = -\frac{1}{N} \sum_{i=1}^{N} \log_2 p(w_i \mid h_i), \qquad
# \text{perplexity} = 2^H .$$
#
# By hand on *the queen drinks tea*, whose factors are 1, 2/3, 1, 2/3 and 1:


# %%
def cost(model, text, part="test"):
    """What a part of a text costs a model, scored in one compiled call."""
    return perplexity(model, [ngram.running_text(text.tokens[part], model.eos)])


one = cost(toy_mle, prepare({"train": ["the queen drinks tea"]}, toy.words), "train")
assert_allclose([(2 / 3 * 2 / 3) ** (-1 / 5), -2 * math.log2(2 / 3) / 5], [one.perplexity, one.bits_per_token], rtol=1e-6)

# %% [markdown]
# No model can cost less than the entropy of the source, and of the world we know it. So here we see the whole range. One more line is
# drawn. Before models were counted they were written down: *rules* came first (Chomsky 1957; ELIZA 1966), counting became the rule
# later, and networks later still, though the first two are sometimes printed in the other order. The grammar of the world, without its
# probabilities, is such a set of rules: it says which words may come next, and no more. (The smoothing is Kneser-Ney's, of section 4.)

# %%
small_world, test, rows = World(), world.parts["test"], []
source = -sum(map(small_world.log_prob, test)) / math.log(2) / (N := len(world.tokens["test"].ids))
prefixes = [" ".join(sentence.split()[:t]) for sentence in test[:300] for t in range(len(sentence.split()) + 1)]
rules = np.mean([math.log2(len(small_world.next_words(prefix))) for prefix in prefixes])  # all that may come next, equally likely
for size, n in product((300, 2_000) if few else (1_000, 10_000, 60_000) if rich else (1_000, 60_000), range(1, 7)):
    text = prepare({"train": small_world.sample(size), "test": test}, world.words)
    ids, model = np.asarray(text.tokens["train"].ids, np.int32), counted(text, "kneser_ney", n, fallback=(0.75,))
    own = perplexity(model, [{"tokens": np.resize(ids, (1, N)), "lengths": [min(N, len(ids))]}])
    rows.append((size, n, cost(model, text).bits_per_token, own.bits_per_token, cost(model, text).excess_bits(source)))
floor = pd.DataFrame(rows, columns=["sentences", "order", "test text", "its own text", "excess"])
keep("floor", floor, 1e-3, worlds).pivot(index="order", columns="sentences")

# %%
(left, right), least = figures.new_panels(2, 9.4, 3.6), floor[floor["sentences"] == floor["sentences"].min()]
for title, value, dashes in (("rules alone", rules, ":"), ("the source", source, "--")):
    left.axhline(value, color="black", linewidth=1.2, linestyle=dashes, label=f"{title}: {value:.2f}")
figures.lines(range(1, 7), least[["test text", "its own text"]], ylabel="bits a token", ax=left, **axes)
by_size = {f"{size:,} sentences": list(rows) for size, rows in floor.groupby("sentences")["excess"]}
figures.lines(range(1, 7), by_size, yscale="log", ylabel="excess bits a token (test text)", ax=right, **axes)
run.figure("floor", left)

# %% [markdown]
# **What to notice.** On the left (1,000 sentences), what the model says of its own text falls *below* the source. Nobody can
# honestly do better than the source: this is learning by heart, and only unseen text tells how good a model is. Rules alone do better
# than the counted bigram, which knows probabilities and forgets all but one word. On the right, more text hardly moves the lowest
# order: its excess is the fault of its form. The further a model looks back, the more text it can use.
#
# **Three numbers that look like a perplexity.** First, *the target is the input*. A training loop that compares the output at
# place $t$ with the word at place $t$, in place of $t + 1$, shows an excellent loss. Here are both, counted on the same halves of two
# texts, in bits a token: the world, and random numbers, of which nothing can be known but that there are $V$, so that no model has less
# than $\log_2 V$ bits.

# %%
V, rows = world.words.vocab_size, []
texts = {"world": np.asarray(world.tokens["train"].ids), f"random, {math.log2(V):.2f}": np.random.default_rng(0).integers(V, size=500_000)}
for (title, ids), (target, ahead) in product(texts.items(), (("the next token", 1), ("the input itself", 0))):
    own, unseen = np.array_split(ids, 2)
    counts_VV = np.full((V, V), 0.01)  # add 0.01, so that nothing is impossible
    np.add.at(counts_VV, (own, np.roll(own, -ahead)), 1)
    bits_VV = -np.log2(counts_VV / counts_VV.sum(axis=1, keepdims=True))
    losses = [bits_VV[half, np.roll(half, -shift)].mean() for half, shift in ((own, ahead), (unseen, ahead), (unseen, 1))]
    rows.append((title, target, *losses))
keep("targets", pd.DataFrame(rows, columns=["text", "target", "own text", "unseen text", "next token, unseen"]), 1e-3, worlds)

# %% [markdown]
# **What to notice.** With its input for a target, the model is perfect on any text, seen or not, random or not: it has learnt to repeat
# what it reads. Asked for what comes next, it is worse than a die. And random numbers show what a loss on one's own text is worth: on
# unseen ones it stays above $\log_2 V$.
#
# Second, the *error rate*: how often is the most probable word not the one that comes? It moves in steps and has no gradient, so
# no training can be driven by it. And third, the *mean of the perplexities* of batches. Three models of the world that differ in
# nothing but smoothing:

# %%
rows, ids = [], np.asarray(world.tokens["test"].ids, np.int32)
for title, options in {"mle": {}, "add_k": {}, "kneser_ney": {"fallback": (0.75,)}}.items():
    model = counted(world, title, 3, **options)
    guess = np.asarray(compiled(model, "forward")(ids[None])[0][0].argmax(axis=-1))
    of_batches = [perplexity(model, [batch]).perplexity for batch in PaddedBatches(world.tokens["test"], batch_size=200)]
    rows.append((title, 100 * np.mean(guess[:-1] != ids[1:]), cost(model, world).perplexity, np.mean(of_batches)))
keep("measures", pd.DataFrame(rows, columns=["trigrams", "errors (%)", "perplexity", "mean of perplexities"]), 0.02, worlds)

# %% [markdown]
# **What to notice.** By the error rate the three are alike, and one of them holds the text to be impossible. The mean of perplexities
# is another number than the perplexity, and a higher one, though model and text are the same. Sum the logarithms over
# all tokens, divide once, take the power last.
#
# ### Exercise 2
#
# A model gives the three tokens of a text the probabilities 1/2, 1/4 and 1/32. What is its perplexity?

# %%
answer = None  # your answer
check(answer, (lambda pp: np.isclose(pp, 2 ** (8 / 3)), "they cost 1, 2 and 5 bits: take the mean first, then the power."))

# %% [markdown]
# ## 3 · Where does the probability of the unseen come from?
#
# From the seen. The estimators differ in how much they take, and in whom they ask about the unseen. With $h'$ the context $h$ without
# its first word, $N(h) = \sum_w c(hw)$, and $T(h)$ the number of *different* words seen after $h$:
#
# $$\begin{aligned}
# \text{add-}k: \quad & p(w \mid h) = \frac{c(hw) + k}{N(h) + k V} \\
# \text{Witten and Bell (1991)}: \quad & p(w \mid h) = \frac{c(hw) + T(h)\, p(w \mid h')}{N(h) + T(h)} \\
# \text{absolute}: \quad & p(w \mid h) = \frac{\max(c(hw) - D, 0)}{N(h)} + \frac{D\, T(h)}{N(h)}\, p(w \mid h')
# \end{aligned}$$
#
# Add-$k$ gives the same to every unseen word. The others ask the *shorter context*, and that one a shorter one, down to no
# words at all and then to $1/V$: this is **interpolation**. By hand in the toy text, with seven words that can be predicted and
# fifteen tokens: $p(\textit{tea} \mid \textit{drinks})$, seen, and $p(\textit{wine} \mid \textit{king})$, not seen. (For Witten and
# Bell's, $p(\textit{tea}) = (2 + 7/7) / (15 + 7) = 3/22$ with seven different words after no context at all, and
# $p(\textit{wine}) = 2/22$.)

# %%
tea, wine, drinks, king = (toy.words.index[word] for word in ("tea", "wine", "drinks", "king"))
D, whole = 0.75, {"discounts": ((0.0,), (0.75,))}  # nothing is taken from single words, since all were seen
by_hand = [("add_k", {}, (2 + 1) / (3 + 7), (0 + 1) / (1 + 7))]
by_hand += [("witten_bell", {}, (2 + 2 * 3 / 22) / (3 + 2), (0 + 1 * 2 / 22) / (1 + 1))]
by_hand += [("absolute", whole, (2 - D) / 3 + D * 2 / 3 * 2 / 15, D * 1 / 1 * 1 / 15)]
for method, options, *expected in by_hand:
    logp_B1V, _ = counted(toy, method, 2, **options).forward(np.array([[drinks], [king]]))
    assert_allclose(expected, np.exp([logp_B1V[0, 0, tea], logp_B1V[1, 0, wine]]), rtol=1e-5)

# %% [markdown]
# How much *should* be taken? Ask the text. Cut it in two, look for all pairs of words that occur $r$ times in the first half, and count how
# often they occur in the second, on average: that is what a count of $r$ is worth, and the rest should be taken from it (Church and
# Gale 1991). Good, with Turing, found how to tell it without a second half (1953): if $n_r$ pairs occur $r$ times,
#
# $$r^* = (r + 1)\, \frac{n_{r+1}}{n_r} .$$
#
# Katz (1987) discounts small counts that way and **backs off**: what was taken goes to words unseen after $h$ alone. Every estimator can
# be put to this test: what it makes of a count is its probability times $N(h)$.

# %%
from lmlib.measure.smoothing import worth_of_counts

halves = prepare({"train": natural.parts["train"][::2], "second": natural.parts["train"][1::2]}, natural.words)
named = {"add 1": "add_k", "Witten-Bell": "witten_bell", "absolute": "absolute", "modified Kneser-Ney": "modified_kneser_ney"}
bigrams = {title: ngram.NgramConfig(natural.words.vocab_size, 2, method, natural.bos, natural.eos) for title, method in named.items()}
worth = worth_of_counts(halves.tokens["train"], halves.tokens["second"], bigrams)
keep("discounts", taken := worth.rsub(worth.index.to_series(), axis=0), 1e-3, naturals)
ax = figures.lines(taken.index, taken, marker="o", beside=True, xlabel="count r of a pair", ylabel="taken from it")
ax.set_ylim(-0.3, 2.3)
run.figure("discounts", ax)

# %% [markdown]
# **What to notice.** The second text takes more than half of a pair that was seen once, and somewhere near one from every larger
# count, small or not: that is the observation behind *absolute discounting*. (Its own line falls because the shorter context gives
# something back to what was seen, and Kneser-Ney's other shorter context gives less.) Good and Turing's formula foretells the first
# points, where $n_r$ is large, and is noise after that. Add-one takes nearly all, and its line leaves the picture: with thousands of
# words in the vocabulary, those that were never seen after $h$ claim thousands of ones.

# %% [markdown]
# ## 4 · Which words keep company?
#
# *Francisco* may be a frequent word. But it follows *San* and hardly anything else, so after a word that is unknown it is a bad guess.
# What counts there is not how often a word occurs but after how many *different* words. That is the idea of **Kneser and Ney** (1995,
# "Improved backing-off for m-gram language modeling"): in all orders below the highest, they count contexts in place of occurrences,
#
# $$p(w) = \frac{T(\cdot\, w)}{\sum_{w'} T(\cdot\, w')}, \qquad T(\cdot\, w) = \#\{v : c(vw) > 0\} .$$
#
# **Modified** Kneser-Ney (Chen and Goodman 1999) has three discounts, for n-grams seen once, twice, and more often. By hand: in the
# toy text there are nine different pairs, and *tea* and *wine* each follow one word only, *drinks*.

# %%
toy_kn = counted(toy, "kneser_ney", 2, **whole)
logp_B1V, _ = toy_kn.forward(np.array([[drinks], [king]]))
assert_allclose([(2 - D) / 3 + D * 2 / 3 * 1 / 9, D * 1 / 1 * 1 / 9], np.exp([logp_B1V[0, 0, tea], logp_B1V[1, 0, wine]]), rtol=1e-5)

singles, doubles = ngram_counts.count(natural.tokens["train"], bigrams["add 1"])
company = pd.DataFrame({"word": natural.words.tokens, "n": singles.count, "after": np.bincount(doubles.word, minlength=len(singles.word))})
company = company[company.n >= (20 if few else 60)].assign(share=company.after / company.n).sort_values("share", kind="stable")
for title, table in (("keep to few words", company.head(7)), ("come after many", company.tail(7))):
    print(f"{title}: " + ", ".join(f"{row.word} ({row.n} times, after {row.after})" for row in table.itertuples()))

# %% [markdown]
# ## 5 · Which estimator is best?
#
# All of them, on all orders; nothing but the order and the name of the method changes.

# %%
named = {"add 1": "add_k", "add 0.01": "add_k", "Katz": "katz", "Kneser-Ney": "kneser_ney"} | named
scores = pd.DataFrame(index=pd.Index(orders, name="order"))
for title, method in named.items():
    scores[title] = [cost(counted(natural, method, n, k=0.01 if "0.01" in title else 1.0), natural).perplexity for n in orders]
ax = figures.lines(orders, scores, beside=True, yscale="log", ylabel=f"perplexity ({naturals[0].name}, test)", **axes)
ax.set_ylim(0.9 * scores.min().min(), 1.5 * scores.iloc[0].max())
run.figure("estimators", ax)
keep("estimators", scores, 0.02, naturals, digits=1)

# %% [markdown]
# **What to notice.** With add-$k$, a longer context makes it *worse*: what is taken for the unseen grows with the number of contexts.
# The others fall back on what the shorter context knows. Witten-Bell's and Katz's stop gaining after three or four words;
# Kneser-Ney's, in both forms, gain with each, and stand apart by nothing but what they count in the orders below. (On the Treebank,
# Mikolov 2012 has 148.3 for order 3 and 141.2 for order 5, modified Kneser-Ney both. His Good-Turing of order 5, 162.3, is from a
# toolkit that can drop rare n-grams; our Katz keeps them all.)
#
# And the model of the literature against the clock, from the text to the perplexity: cut into tokens, count, estimate, compile,
# score. (The seconds are in the run folder's `times.json`.)

# %%
jax.clear_caches()  # so that compiling counts, too
start = time.perf_counter()
fresh = prepare(natural.parts, **style)
kn5 = cost(counted(fresh, "modified_kneser_ney", 5), fresh)
run.time("modified Kneser-Ney of order 5, from text to perplexity", time.perf_counter() - start)
if name == "ptb":
    run.claim("ptb_kn5_test_ppl", kn5.perplexity, unit="perplexity", better="low", published=141.2, source="Mikolov 2012, table 4.1")
print(f"{naturals[0].name}: {kn5.tokens:,} tokens, perplexity {kn5.perplexity:.2f}")

# %% [markdown]
# **A perplexity without probabilities.** To back off takes weights, so that the words after $h$ sum to 1: in an ARPA file,
# $p(w \mid h) = \gamma(h)\, p(w \mid h')$ for what is not listed. Leave them out, and the perplexity *improves*:

# %%
from dataclasses import replace

proper, rows = counted(natural, "modified_kneser_ney", 3), []
tables = [table if table.backoff is None else replace(table, backoff=np.ones_like(table.backoff)) for table in proper.tables()]
for title, model in (("with weights", proper), ("without", ngram.Ngram(tables, bos=natural.bos, eos=natural.eos))):
    logp_1LV, _ = compiled(model, "forward")(np.asarray(natural.tokens["test"].ids, np.int32)[None, :200])
    rows.append((title, cost(model, natural).perplexity, float(np.exp(logp_1LV).sum(axis=-1).mean())))
keep("weights", pd.DataFrame(rows, columns=["trigrams", "perplexity", "sum over all words"]), 0.02, naturals)

# %% [markdown]
# **What to notice.** The wrong model gives out more than there is. Add up the probabilities after some contexts before you believe
# a good number. (As *scores*, to choose among translations, such numbers may serve: Brants et al. 2007 call it stupid backoff.)
#
# **What was just said is said again.** A **cache** (Kuhn and De Mori 1990) mixes the model with the share of each word in the last $K$
# words, $p = (1 - \lambda)\, p_{\text{n-gram}} + \lambda\, c_K(w) / K$. The weight is chosen on the validation part:

# %%
from lmlib.models.cache import Cache

weights, order5 = [0.0, 0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2], counted(natural, "modified_kneser_ney", 5)
valid = [cost(Cache(order5, size=200, weight=weight), natural, "valid").perplexity for weight in weights]
cached = Cache(order5, size=200, weight=weights[int(np.argmin(valid))])
print(f"λ = {cached.weight[...]:.2f}: test {cost(cached, natural).perplexity:.2f}, without a cache {kn5.perplexity:.2f}")
keep("cache", pd.DataFrame({"λ": weights, "valid": valid}), 0.02, naturals).transpose()

# %% [markdown]
# ## 6 · Can models with different tokens be compared?
#
# Not by perplexity, which is a number *a token*. Not even where both read words, but one knows fewer of them:

# %%
rows = []
for least in (2, 5, 20, 100):
    text = prepare(natural.parts, **style | {"min_count": least})
    unknown = 100 * np.mean(text.tokens["test"].ids == text.words.unk_id)
    rows.append((least, text.words.vocab_size, unknown, cost(counted(text, "kneser_ney", 3, fallback=(0.75,)), text).perplexity))
keep("vocabularies", pd.DataFrame(rows, columns=["least count", "vocabulary", "<unk> in test (%)", "perplexity"]), 0.02, naturals)

# %% [markdown]
# **What to notice.** Forget words, and the perplexity becomes as low as you like: `<unk>` is easily guessed and says nothing. What two
# models have in common is the text, so share the bits among its $C$ characters, no matter into how many tokens $N$ it was cut:
#
# $$\text{bits a character} = -\frac{1}{C} \sum_{i=1}^{N} \log_2 p(w_i \mid h_i) .$$
#
# That is fair only if no word is lost on the way. In the world none is, and how many bits the source itself has is known:

# %%
letters, rows = CharTokenizer.train(world.parts["train"], fallback=False, specials=("<s>", "</s>")), []
spelt = prepare({"train": world.parts["train"][: 60_000 if rich else 10_000], "test": test}, letters)
C = len(spelt.tokens["test"].ids)
for title, text, n in (*(("character", spelt, n) for n in (1, 2, 4, 6)), *(("word", world, n) for n in (1, 2, 5))):
    found = cost(counted(text, "kneser_ney", n, fallback=(0.75,)), text)
    rows.append((title, n, found.perplexity, found.bits_per(C), found.bits_per(C) - source * N / C))
keep("units", pd.DataFrame(rows, columns=["token", "order", "perplexity", "bits a character", "excess bits"]), 0.01, worlds, digits=3)

# %% [markdown]
# **What to notice.** By perplexity, the bigram of words loses against four characters; over the same characters, it needs half their
# bits. And of all these the five words come close to the source: six characters back is hardly more than a word back.
#
# ### Exercise 3
#
# Model A reads words, with a perplexity of 100; a word has six characters, its space included. Model B reads characters, with a perplexity
# of 2.2. Which is better, "A" or "B"?

# %%
better = None  # your answer
check(better, (lambda model: model == "A", f"A needs log2(100) / 6 = {math.log2(100) / 6:.3f} bits a character."))

# %% [markdown]
# ## 7 · What does an n-gram write?
#
# What gives a probability to the next word can write: draw a word, take it into the context, go on until `</s>`. `generate` does it for
# every model of this book. By order, from 1 to 5:

# %%
from lmlib.generate import generate

for n in orders:
    made = generate(counted(natural, "kneser_ney", n), max_new_tokens=25, key=jax.random.key(n))
    print(f"{n}: {natural.words.decode(made.rows()[0])}")

# %% [markdown]
# The higher the order, the more it sounds like its text. But is it better writing, or better copying? In the world one can tell which
# sentences are possible at all, and which stand in the training text, here of 6,000 sentences:

# %%
brief, rows = prepare({"train": world.parts["train"][:6_000]}, world.words), []
kinds = {"possible": lambda text: small_world.log_prob(text) > -math.inf, "copied": set(brief.parts["train"]).__contains__}
for n, seed in product(orders, seeds):
    model = counted(brief, "kneser_ney", n, fallback=(0.75,))
    made = generate(model, [[]] * drawn, max_new_tokens=25, key=jax.random.key(seed)).rows()
    texts = [world.words.decode(ids[ids != world.eos]) for ids in made]
    rows += [(str(n), seed, title, 100 * np.mean(list(map(kind, texts)))) for title, kind in kinds.items()]
keep("written", written := pd.DataFrame(rows, columns=["order", "seed", "which", "share"]), 10, worlds)
axes = {"optimum": 100 * np.mean(list(map(kinds["copied"], test))), "optimum_label": "copied, of the source's own"}
axes |= {"xlabel": "order n", "ylabel": f"sentences (%)\n(mean ± sd, {len(seeds)} seeds of {drawn})"}
run.figure("written", figures.curve(written, "order", "share", "which", ax=figures.new_axes(6.4, 3.4), **axes))

# %% [markdown]
# **What to notice.** Both lines rise together: most of what a high order gets right, it has read. Above the lower line lies all that is
# both possible and new. The dashed line says how many of the source's own sentences happen to stand in the same text: of the rest, which
# the source can say as well, the n-grams reach a part. Longer contexts write better, and by copying more.
#
# ## 8 · Can other programs read it?
#
# An n-gram model is a list of n-grams with two numbers each: $\log_{10} p(w \mid h)$, and $\log_{10} \gamma$ of the n-gram as a
# context. ARPA's format for this is read and written by SRILM and KenLM. The toy model, first part, and the round trip of a real one:

# %%
import tempfile
from pathlib import Path

from lmlib.models.arpa import read_arpa, write_arpa

with tempfile.TemporaryDirectory() as folder:
    for title, model, text in (("natural", proper, natural), ("toy", toy_kn, toy)):
        write_arpa(file := Path(folder, f"{title}.arpa"), model, text.words.tokens)
        assert all(map(np.array_equal, *(jax.tree.leaves(split(m)[1]) for m in (model, read_arpa(file, text.words.tokens)[0]))))
    print(file.read_text().partition("\\2-grams")[0].strip())

# %% [markdown]
# ## 9 · What if what matters is not seen?
#
# A **hidden Markov model** has a chain of states $z_1, z_2, \dots$, which nobody sees; each emits a token, which is all that one sees
# (Rabiner 1989):
#
# $$p(x, z) = \pi_{z_1} \prod_{t=2}^{L} A_{z_{t-1} z_t} \prod_{t=1}^{L} B_{z_t x_t}, \qquad
# p(x) = \sum_z p(x, z) .$$
#
# Three questions: how probable is $x$, whatever the path? Which path is most probable (Viterbi)? And what is known of each $z_t$ alone (the
# posterior)? There are $S^L$ paths. By hand, with two states and three tokens, we go through all eight:

# %%
from lmlib.models import hmm

params = {"start": [0.6, 0.4], "transition": [[0.7, 0.3], [0.4, 0.6]], "emission": [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]}
params, x, p = {name: np.array(table, np.float32) for name, table in params.items()}, [2, 1, 0], {}
for z in product(range(2), repeat=3):
    p[z] = params["start"][z[0]] * math.prod(params["transition"][z[:-1], z[1:]]) * math.prod(params["emission"][z, x])
posterior_LS = [[sum(p[z] for z in p if z[t] == state) / sum(p.values()) for state in range(2)] for t in range(3)]

found_BLS, logp_BL = hmm.posteriors(params, np.array([x]), np.array([3]))
path_BL, logp_path_B = hmm.viterbi(params, np.array([x]), np.array([3]))
assert_allclose(np.log([sum(p.values()), max(p.values())]), [logp_BL.sum(), logp_path_B[0]], rtol=1e-5)
assert_allclose(posterior_LS, found_BLS[0], rtol=1e-5)
assert_array_equal(max(p, key=p.get), path_BL[0])

# %% [markdown]
# The library does not go through the paths. Given $z_t$, what comes after does not depend on what came before; so one pass
# forward and one backward suffice, with work $L S^2$ in place of $S^L$. It normalises at each step and adds logarithms, because in
# `float32` the product of a few hundred such factors is 0.
#
# ### Exercise 4
#
# The most probable path need not go through the states that are most probable one by one. Give three tokens (each 0, 1 or 2) for which,
# in this model, Viterbi's path and the largest posteriors disagree.

# %%
tokens = None  # your answer: three numbers
viterbi, posteriors = (lambda x, f=f: f(params, np.array([x]), np.array([3]))[0][0] for f in (hmm.viterbi, hmm.posteriors))
check(tokens, (lambda x: len(x) == 3, "three tokens."), (lambda x: (viterbi(x) != posteriors(x).argmax(axis=1)).any(), "they agree."))

# %% [markdown]
# ## 10 · Can states be learnt that nobody has named?
#
# **Baum-Welch** (1970) begins with random numbers and asks how often each start, step and emission is to be *expected*, given the
# text; then it takes the expected counts for counts, divides, and begins anew. With $\gamma_t(i) = p(z_t = i \mid x)$ and
# $\xi_t(i, j) = p(z_t = i, z_{t+1} = j \mid x)$, both from the two passes:
#
# $$\pi_i \leftarrow \gamma_1(i), \qquad A_{ij} \leftarrow \frac{\sum_t \xi_t(i, j)}{\sum_t \gamma_t(i)}, \qquad
# B_{iv} \leftarrow \frac{\sum_{t : x_t = v} \gamma_t(i)}{\sum_t \gamma_t(i)} .$$
#
# The likelihood never falls. We give it the letters of some sentences of the world, and a number of states; it is told nothing else.

# %%
from flax import nnx

learnt, history, chains = prepare({"train": world.parts["train"][: 1_500 if rich else 600]}, letters).tokens["train"], [], {}
batches = list(PaddedBatches(learnt, batch_size=300))
for S, seed in product(settings["states"], seeds):
    chains[S, seed] = hmm.HMM(config := hmm.HMMConfig(letters.vocab_size, S, spelt.bos, spelt.eos), rngs=nnx.Rngs(seed))
    for step in range(settings["iterations"]):
        chains[S, seed], logp = hmm.baum_welch_step(config, chains[S, seed], batches)
        history.append({"model": f"{S} states", "seed": seed, "step": step, "bits": -logp / math.log(2) / len(learnt.ids)})

# %%
left, right = figures.new_panels(2, 9.4, 3.4)
axes = {"xlabel": "iteration", "ylabel": "bits a character\n(mean ± sd, 3 seeds)", "optimum_label": "the source"}
figures.curve(pd.DataFrame(history), y="bits", hue="model", optimum=source * N / C, ax=left, **axes)
expected, _ = hmm.expected_counts(split(chains[2, 1])[1], batches[0]["tokens"], batches[0]["lengths"])
shares = pd.DataFrame(np.asarray(expected["emission"]), columns=letters.tokens)[list("abcdefghiklmnoprstuvwy")]
shares = (shares / shares.sum()).sort_values("a")
right.bar(shares.columns, shares.iloc[1], color=figures.colour("HMM"))
right.set(xlabel="letter", ylabel="share of the state of a\n(of two, seed 1)")
run.figure("letters", left)

# %% [markdown]
# **What to notice.** On the right, nobody told the model what a vowel is, and one of its two states has nearly all of *a*, *e*, *i* and
# *o*, and little of most consonants: letters that stand in like places get a state of their own. (Not *u*: read the bars, not the rule.)
# Markov counted by hand, in 1913, how vowels and consonants follow one another; here even that there are two kinds is found. On the left,
# the likelihood never falls, and soon hardly rises. More states come nearer to the source, and stay far from it: of all it has read, a
# chain can remember no more than in which of its states it is.
#
# ## 11 · What are hidden states good for?
#
# Labels are states that somebody has named. Where there is a text with labels, the model is simply counted, and Viterbi's path labels
# other text. *Chinese* is written without spaces: a character begins a word (B), is inside one (M), ends it (E), or is a word by itself
# (S). In `real` come the slots of *ATIS*: from which town, to which, on what day? There, "words in O" means that the label O,
# outside, has a state of its own for each of its frequent words, so that *from* and *to* are not forgotten at once. The baseline gives each
# token the label that it bears most often. F1 counts words, or slots, that were found as a whole.

# %%
from lmlib.measure.tagging import chunk_score, segmentation_score
from lmlib.models.tagger import Tagger, bmes, most_frequent_labels, words_of

cut = [[bmes(words) for words in small_world.segmented(n, seed)] for n, seed in ((100 if few else 1_000, 0), (300, 2))]
tasks = {"Chinese words": (cut, {"min_count": 1}, lambda x, a, b: segmentation_score(map(words_of, x, a), map(words_of, x, b)))}
if rich:
    flights = [[(record["text"].split(), record["slots"]) for record in opened.records()] for opened in atis]
    tasks |= {title: (flights, o, lambda x, a, b: chunk_score(a, b)) for title, o in (("ATIS", {}), ("ATIS, words in O", {"outside": "O"}))}
rows = []
for task, ((train, unseen), options, score) in tasks.items():
    (x, truth), (seen, labels) = zip(*unseen, strict=True), zip(*train, strict=True)
    tagger, alone = Tagger.train(seen, labels, **options), most_frequent_labels(seen, labels, x)
    found = {"each by itself": alone, "Viterbi": tagger.tag(x), "posterior": tagger.tag(x, "posterior")}
    rows += [(task, len(x), way, score(x, truth, labels).f1) for way, labels in found.items()]
keep("tagged", pd.DataFrame(rows, columns=["task", "sentences", "labels", "F1"]), 0.005, [*worlds, *atis], digits=3)

# %% [markdown]
# And a sentence of the test part, cut by the model:

# %%
show.tokens(words_of(cut[1][0][0], Tagger.train(*zip(*cut[0], strict=True), min_count=1).tag([cut[1][0][0]])[0]))

# %% [markdown]
# **What to notice.** The neighbours help: a character by itself says less than its place in a path. Viterbi and the posteriors differ in
# hardly a label. Where a label forgets too much, it helps to let it remember (in `real`): the model is no better than its states.
#
# ## Summary
#
# - An n-gram model counts and divides. What it has not seen is impossible to it, so something must be taken from what was seen: about
#   the same from every count, and given to where shorter contexts point. Kneser-Ney asks them *after how many words* a word comes.
# - Perplexity is a power of the mean cost of a token. It compares models over the same tokens, on text that none of them has seen, if
#   their probabilities sum to 1. Where tokens differ, compare bits a character; where the source is known, excess bits.
# - The next token is the target. A model that is asked for its input learns to repeat it, and has a perfect loss.
# - Longer contexts need more text, and write better, mostly by copying more.
# - A hidden Markov model sums over all paths in one pass forward and one backward; Viterbi finds the best path, Baum-Welch learns
#   from text alone. Its memory is its state.
#
# ## References
#
# - Markov 1913, *An example of statistical investigation of the text Eugene Onegin*; Shannon 1948, *A mathematical theory of
#   communication*, Bell System Technical Journal 27.
# - Good 1953, *The population frequencies of species and the estimation of population parameters*, Biometrika 40; Katz 1987, IEEE
#   Trans. ASSP 35; Witten and Bell 1991, IEEE Trans. Information Theory 37.
# - Church and Gale 1991, *A comparison of the enhanced Good-Turing and deleted estimation methods*, Computer Speech and Language 5.
# - Ney, Essen and Kneser 1994, Computer Speech and Language 8; Kneser and Ney 1995, *Improved backing-off for m-gram language modeling*,
#   ICASSP; Chen and Goodman 1999, *An empirical study of smoothing techniques for language modeling*, Computer Speech and Language 13.
# - Kuhn and De Mori 1990, *A cache-based natural language model for speech recognition*, PAMI 12; Brants et al. 2007, *Large language
#   models in machine translation*, EMNLP.
# - Jelinek, Mercer, Bahl and Baker 1977, *Perplexity: a measure of the difficulty of speech recognition tasks*, JASA 62.
# - Mikolov 2012, *Statistical language models based on neural networks*, PhD thesis, Brno: table 4.1 has the numbers on the Treebank.
# - Baum et al. 1970, Ann. Math. Stat. 41; Viterbi 1967, IEEE Trans. Information Theory 13; Rabiner 1989, *A tutorial on hidden Markov
#   models*, Proc. IEEE 77; Xue 2003, *Chinese word segmentation as character tagging*, CLCLP 8.
#
# This page was made with:

# %%
run.close()
{name: value for name, value in runtime.machine().items() if name in ("device", "processor", "reproducible", "versions")}

# %% [markdown]
# # 06 · Generating text
#
# A language model gives a probability to every next token. To write with it, somebody has to choose one, again and again, and the
# choice matters as much as the model: the same network writes the same line for ever, or nonsense, or a page that one might take for
# a person's. How should one choose, and how does one know that one way of choosing is better than another?
#
# At the end you can draw from any model of this book with one function, and reproduce its draw by hand; say what temperature, top-k,
# nucleus, min-p and typical sampling keep of a distribution, and when each fails; search with a beam, and know why the most probable
# text is not the best one; and measure a generator from all the sides that it takes, since each measure alone can be fooled.
#
# **How to read.** The next cell holds what you may change. Profile `smoke` takes seconds and is for tests; `quick` takes text that
# comes with the library; `real` trains larger nets, and one on the characters of Shakespeare.
#
# Letters at the end of a name are its shape: V vocabulary, B texts, L tokens.

# %% tags=["parameters"]
profile = "quick"
corpus = None  # the natural text: a name that `lmlib corpora` lists, or the path of your own; None leaves it to the profile

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

print(f"profile {profile}, on {runtime.device_name()}")

# %% [markdown]
# What several sections need is imported here; the rest where it is first used.

# %%
import math
from dataclasses import replace
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib import warpers
from lmlib.generate import Sampling, generate, reshape, settings
from lmlib.learn.optim import OptimConfig
from lmlib.measure.diversity import distinct, reference_bleu, repetition, self_bleu
from lmlib.measure.perplexity import perplexity
from lmlib.models import hmm, ngram
from lmlib.models.base import compiled, merge, split
from lmlib.models.recurrent import RecurrentConfig
from lmlib.record import figures, show
from lmlib.record.claims import mean_sd
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.text.batches import BPTTStreams, PaddedBatches, pad, write_tokens
from lmlib.text.corpora import open_corpus
from lmlib.text.tokenizers import CharTokenizer, WordTokenizer
from lmlib.text.world import World

# %% [markdown]
# Two texts, as before. The *small world* is a grammar of which we know which sentences are possible, and how probable each is: there,
# quality is not a matter of taste. The *natural* text is the manual of Python, or in `real` all of Shakespeare that there is, character
# by character. Models learn from a part of the world's `train`; the rest is for a judge, and `test` for measuring.

# %%
smoke, rich = profile == "smoke", profile in ("real", "paper")
seeds, drawn, size = (1, 2, 3), 60 if smoke else 200, 1_000 if smoke else 20_000 if rich else 8_000
net = {"d_embed": 96 if rich else 64, "d_hidden": 96 if rich else 64, "layers": 1, "tied": True}
adam, epochs = OptimConfig(learning_rate=0.01, schedule="linear", clip=1.0), 3
world, test = open_corpus("world"), open_corpus("world", "test")
natural = open_corpus(corpus or ("tiny-shakespeare" if rich else "manual"), None if corpus else "train")
unseen = natural if corpus else open_corpus(natural.name, "test" if natural.name == "manual" else "valid")
given = {"sentences": size, "net": net, "optim": adam, "epochs": epochs, "drawn": drawn}
run = notebook_run("06_generating_text", profile, parameters=given, seeds=seeds, corpus=[world, test, natural, unseen])

# %%
sentences, small_world = list(world.documents()), World()
words = WordTokenizer.train(sentences, specials=("<s>", "</s>"), unk=None)
marks = {"bos": words.special("<s>"), "eos": words.special("</s>")}
read, for_judge, real = (write_tokens(part, words, after="</s>") for part in (sentences[:size], sentences[30_000:], test.documents()))
V, source = words.vocab_size, -sum(map(small_world.log_prob, test.documents())) / math.log(2) / len(real.ids)
print(f"{size:,} sentences of {V} words to learn from; the source has {source:.3f} bits a token")

# %% [markdown]
# ## 1 · How does one draw a text?
#
# Token by token. The chain rule says that a text is as probable as its tokens are, each given those before it; so whoever draws each
# token from its distribution, and hands it back to the model, has drawn a text from the model's distribution:
#
# $$x_t \sim p(\,\cdot \mid x_1 \dots x_{t-1}) = \mathrm{softmax}(\ell_t), \qquad \ell_t \in \mathbb{R}^V .$$
#
# To draw from a softmax one need not even normalise. Add to each logit a random number of its own, $g = -\log(-\log u)$ with $u$ uniform
# (Gumbel's distribution), and take the largest: token $v$ wins with probability $\mathrm{softmax}(\ell)_v$. By hand we draw three tokens of
# a chain whose probabilities we write down: 0 ends a text, 1, 2 and 3 are *tea*, *and*, *wine*. (A hidden Markov model in which each
# state shows itself is such a chain.) Row $i$ of a call to `generate` has the key `fold_in(key, i)`, and its token at place $t$ that of
# `fold_in(key of the row, t)`.


# %%
def chain(first_V, next_VV):
    """A language model of given probabilities: of the first token, and of each token after each other; token 0 ends a text."""
    definition, _ = split(hmm.HMM(hmm.HMMConfig(len(first_V), len(first_V)), rngs=nnx.Rngs(0)))
    tables = {"start": first_V, "transition": next_VV, "emission": np.eye(len(first_V))}
    return merge(definition, {name: jnp.asarray(table, jnp.float32) for name, table in tables.items()})


first_V, next_VV = [0.0, 0.6, 0.0, 0.4], np.array([[0, 0.6, 0, 0.4], [0.5, 0, 0.5, 0], [0, 0.3, 0, 0.7], [0.6, 0, 0.4, 0]])
tea_and_wine, key, by_hand = chain(first_V, next_VV), jax.random.key(7), []
for place in range(3):
    p_V = next_VV[by_hand[-1]] if place else first_V
    gumbel_V = jax.random.gumbel(jax.random.fold_in(jax.random.fold_in(key, 0), place), (4,))
    by_hand.append(int(jnp.argmax(jnp.log(jnp.asarray(p_V, jnp.float32)) + gumbel_V)))
assert_array_equal(by_hand, generate(tea_and_wine, max_new_tokens=3, key=key, stop=()).tokens[0])
assert_allclose((generate(tea_and_wine, [[]] * 10_000, max_new_tokens=1, key=key).tokens == 1).mean(), 0.6, atol=0.02)

# %% [markdown]
# What does not go without saying: a token depends on its row and its place only, not on the rows beside it, so a text can be drawn
# again alone. And what is impossible is an error. A program that is often printed begins with the id $V$, which is no token, ignores the
# prompt that it is given, and turns ids into letters by counting from *a*, whatever the vocabulary was. JAX would accept the id without
# a word (an index out of range is clamped), so `generate` looks first:

# %%
from lmlib.errors import LmlibError

for prompt, temperature in ((4, 1.0), (1, -1.0)):
    try:
        generate(tea_and_wine, [[prompt]], Sampling(temperature), max_new_tokens=3, key=key)
    except LmlibError as error:
        print(f"{type(error).__name__}: {error}")
print("ids as letters from a on:", "".join(chr(ord("a") + i) for i in words.encode(sentences[0])))

# %% [markdown]
# ## 2 · What do the models of this book write?
#
# All of them learn from the same sentences: n-grams of orders 2 and 5 (notebook 02), a hidden Markov model of 32 states, and the three
# recurrent nets of notebook 05, each with three seeds.

# %%
longest, models = int(np.diff(read.offsets).max()), {}
for title, order in (("bigram", 2), ("Kneser-Ney", 5)):  # nothing is drawn here: their seeds are those of what they write
    model = ngram.train(ngram.NgramConfig(V, order, "kneser_ney", fallback=(0.75,), **marks), read)
    models |= {(title, seed): model for seed in seeds}
states = hmm.HMMConfig(V, 32, add_emission=1e-4, **marks)
for seed in seeds:
    model, batches = hmm.HMM(states, rngs=nnx.Rngs(seed)), list(PaddedBatches(read, 1_000, boundaries=(longest,)))
    for _ in range(3 if smoke else 10):
        model, _ = hmm.baum_welch_step(states, model, batches[: 30 if rich else 3])
    models["HMM", seed] = model

# %% [markdown]
# The nets learn as in notebook 05, sentence by sentence:

# %%
from lmlib.learn.recurrent import train_recurrent
from lmlib.models.cells import GRU, LSTM, RNN

cells = {"LSTM": LSTM} if smoke else {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
for (title, cell), seed in product(cells.items(), seeds):
    batches = PaddedBatches(read, 50, seed, boundaries=(longest,))
    models[title, seed] = train_recurrent(RecurrentConfig(V, cell=cell, **net, **marks), batches, epochs=epochs, optim=adam, seed=seed)

# %% [markdown]
# One call serves them all. What is generated is then held against four questions. Is the sentence **possible** in the world? If so,
# is it **new**, or was it read? How many bits a token does it cost a **judge**, a five-gram that counted other sentences: that is what
# one does where there is no grammar to ask? And how **diverse** are the sentences: distinct-2, the share of different pairs of words
# among all pairs (Li et al. 2016); and self-BLEU, how well each is matched by pieces of the others (Zhu et al. 2018)?

# %%
judge, known = ngram.train(ngram.NgramConfig(V, 5, "kneser_ney", fallback=(0.75,), **marks), for_judge), set(sentences[:size])


def judged(rows):
    """What we ask about generated sentences, given as ids."""
    texts = [words.decode(ids[ids != marks["eos"]]) for ids in rows]
    possible = np.array([small_world.log_prob(text) > -math.inf for text in texts])
    new, cost = [text not in known for text in texts], perplexity(judge, [dict(zip(("tokens", "lengths"), pad(rows, 40), strict=True))])
    found = {"possible (%)": 100 * possible.mean(), "possible and new (%)": 100 * (possible & new).mean()}
    return found | {"judge (bits)": cost.bits_per_token, "distinct-2": distinct(rows), "self-BLEU": self_bleu(rows)}


rows, prompts = [], [[]] * drawn
for (title, seed), model in models.items():
    cost = perplexity(model, PaddedBatches(real, 500, boundaries=(longest + 5,)))
    made = generate(model, prompts, max_new_tokens=40, key=jax.random.key(seed)).rows()
    rows.append({"model": title, "seed": seed, "excess (bits)": cost.excess_bits(source)} | judged(made))
    if seed == 1:
        print(f"{title}: {words.decode(made[0])} {words.decode(made[1])}")

# %%
table = pd.DataFrame(rows)
tolerance = dict(zip(table.columns[3:], (15, 15, 0.5, 0.06, 0.1), strict=True))
run.table("models", table, tolerance=tolerance | {"excess (bits)": 0.1}, corpus=[world, test])
shares = table.melt(["model", "seed"], ["possible (%)", "possible and new (%)"], "which", "share")
ax = figures.bars(shares, "model", "share", "which", xlabel="", ylabel="sentences (%)", ax=figures.new_axes(7.4, 3.4))
run.figure("models", ax)
table.drop(columns="seed").groupby("model", sort=False).agg(lambda scores: mean_sd(scores).partition(" (")[0])

# %% [markdown]
# **What to notice.** (Mean ± sd over three seeds.) The first column is what notebook 02 measured: bits a token above the source, on
# sentences that nobody has read. It goes with the second, but not one for one: a sentence is possible only if *every* word of it is. By
# both, the five-gram and the GRU are about equal, and yet they write differently: of what the five-gram says right, most is what it has
# read; the GRU says several times as much that is new. (Both were trained on the same sentences; of the source's own, the last table of
# section 5 says how many are new.) The hidden Markov model forgets within a word or two what it was about, and says nothing that is
# possible at all; that it is the most diverse of all says what diversity alone is worth. The judge ranks them much as the grammar does.
#
# ## 3 · What does temperature do?
#
# It divides the logits before the softmax (Ackley, Hinton and Sejnowski 1985):
#
# $$p_T(v) = \frac{\exp(\ell_v / T)}{\sum_{u} \exp(\ell_u / T)} \;\propto\; p(v)^{1/T} .$$
#
# Below 1 the probable grows more probable, above 1 all draw nearer to each other. At $T \to 0$ all is on the most probable token:
# *greedy* decoding, which draws nothing. (A negative temperature would prefer the improbable; that is refused, as seen above.) By hand
# on five tokens:

# %%
p_V = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
logits_1V = jnp.log(jnp.asarray(p_V[None]))
for T in (0.5, 1.0, 2.0):
    by_hand = p_V ** (1 / T) / (p_V ** (1 / T)).sum()
    assert_allclose(by_hand, jax.nn.softmax(warpers.temperature(logits_1V, T))[0], rtol=1e-5)
    print(f"T = {T}:", by_hand.round(3))
assert generate(tea_and_wine, [[1]], Sampling(temperature=0), max_new_tokens=1).tokens == next_VV[1].argmax()

# %% [markdown]
# And on the LSTM. What comes after *the city of*? The source knows: one of sixteen capitals. Where you run this yourself, sliders set
# temperature and nucleus (section 4); on a page you see one position of them, and below it the whole range.


# %%
def next_word(temperature=1.0, top_p=1.0, after="the city of"):
    """The most probable next words, as bars; black where the grammar allows the word, with the probability that the source gives it."""
    logits_1LV, _ = compiled(models["LSTM", 1], "forward")(np.array([[marks["bos"], *words.encode(after)]]))
    p_V = np.asarray(jax.nn.softmax(reshape(logits_1LV[:, -1], settings(Sampling(temperature, top_p=top_p))))[0])
    true, top = small_world.next_words(after), np.argsort(-logits_1LV[0, -1])[:24]
    labels, ax = [words.tokens[i] for i in top], figures.new_axes(9.0, 3.0)
    ax.bar(labels, p_V[top], color=figures.colour("LSTM"), label=f"LSTM, T = {temperature:g}, nucleus {top_p:g}")
    ax.scatter([w for w in labels if w in true], [true[w] for w in labels if w in true], color="black", s=18, zorder=3, label="the source")
    ax.tick_params(axis="x", rotation=60)
    ax.set(ylabel="probability", title=f"{after} …")
    ax.legend(frameon=False)
    return ax


show.explore(next_word, temperature=(0.1, 3.0, 0.1), top_p=(0.05, 1.0, 0.05), after=["the city of", "the", "in", "what is the"])

# %%
rows = {"the source": {words.index[word]: p for word, p in small_world.next_words("the city of").items()}}
logits_1LV, _ = compiled(models["LSTM", 1], "forward")(np.array([[marks["bos"], *words.encode("the city of")]]))
rules = {"top-k 10": Sampling(top_k=10), "nucleus 0.9": Sampling(top_p=0.9), "min-p 0.1": Sampling(min_p=0.1)}
rules |= {"typical 0.8": Sampling(typical_p=0.8)}
for title, way in ({f"T = {T}": Sampling(T) for T in (0.3, 0.7, 1.0, 1.5)} | rules).items():
    rows[title] = dict(enumerate(np.asarray(jax.nn.softmax(reshape(logits_1LV[0, -1:], settings(way)))[0])))
shown = pd.DataFrame(rows).fillna(0).T[np.argsort(-np.asarray(logits_1LV[0, -1]))[:18].tolist()]
shown.columns = [words.tokens[i] for i in shown]
percent = (100 * shown).round().astype(int).astype(str).where(shown > 0, "")
run.figure("strategies", figures.heatmap(100 * shown, text=percent, colourbar="probability (%)"))

# %% [markdown]
# **What to notice.** Down to the capitals, the model and the source agree, more or less. What it adds at the end of the list is its own
# fault: little each, but it goes on for hundreds of words, and a fault that has been drawn is read as if it were right. Low temperatures
# starve it, with the rarer capitals; high ones feed it. Where a cell is empty, the word is ruled out: that is the subject of the next
# section.
#
# ### Exercise 1
#
# Two tokens have probabilities 0.6 and 0.3. At which temperature is the first four times as probable as the second?

# %%
T = None  # your answer
check(T, (lambda T: np.isclose(2 ** (1 / T), 4), "their ratio is 2, and at temperature T it is 2 to the power of 1 / T."))

# %% [markdown]
# ## 4 · Where does the tail begin?
#
# A model that has learnt well still gives a little to every wrong word, and over a sentence that adds up. So one cuts off the tail
# before drawing. Everything depends on where:
#
# $$\begin{aligned}
# \text{top-}k: \quad & \text{the } k \text{ most probable} && \text{Fan et al. 2018} \\
# \text{nucleus (top-}p): \quad & \text{the fewest, most probable first, that sum to at least } p && \text{Holtzman et al. 2020} \\
# \text{min-}p: \quad & p(v) \ge p_{\min} \cdot \max_u p(u) && \text{Nguyen et al. 2024} \\
# \text{typical}: \quad & \text{the fewest that sum to at least } p, \text{ smallest } \bigl|H + \log p(v)\bigr| \text{ first} &&
# \text{Meister et al. 2023}
# \end{aligned}$$
#
# The last orders tokens not by their probability but by how near their surprisal, $-\log p(v)$, is to what is to be expected, the entropy
# $H$. What is left is normalised by the softmax. By hand on the five tokens:

# %%
H = -(p_V * np.log(p_V)).sum()
order = np.argsort(np.abs(H + np.log(p_V)))
nearest = order[: np.searchsorted(np.cumsum(p_V[order]), 0.6) + 1]
kept = {"top_k": (2, p_V >= np.sort(p_V)[-2]), "nucleus": (0.8, np.cumsum(p_V) - p_V < 0.8)}
kept |= {"min_p": (0.3, p_V >= 0.3 * p_V.max()), "typical": (0.6, np.isin(np.arange(5), nearest))}
for title, (setting, by_hand) in kept.items():
    assert_array_equal(by_hand, np.isfinite(getattr(warpers, title)(logits_1V, setting))[0])
    print(f"{title} {setting}: keeps", by_hand.nonzero()[0])

# %% [markdown]
# So much for one distribution. How many tokens *should* be kept? In the world that is known at every place: as many as the grammar
# allows. At some places it is one, at others a hundred. Here are the places of some test sentences, by the number of words that may
# come next, and how many each rule keeps of the LSTM's:

# %%
from lmlib.measure.writing import kept, places

at = list(test.documents())[: 30 if smoke else 150]
found = kept(*places(models["LSTM", 1], at, words, small_world.next_words), {"T = 1": Sampling()} | rules)
found["places"] = np.digitize(found["possible"], (2, 6, 15, 40, 120))
groups = found.pivot_table(["possible", "kept"], "places", "way")
ours = {"as many as are possible": groups["possible", "T = 1"]} | {way: groups["kept", way] for way in rules}
axes = {"xlabel": "next words that are possible (mean of a group of places)", "ylabel": "words kept (mean)", "beside": True}
run.figure("kept", figures.lines(groups["possible", "T = 1"], ours, xscale="log", yscale="log", marker="o", **axes))
table = found.groupby("way", sort=False)[["possible", "kept", "wrong", "lost"]].mean()
run.table("kept", table, tolerance={"kept": 60, "wrong": 0.04, "lost": 6}, corpus=[world, test]).round(3)

# %% [markdown]
# (Means over all places: how many words are *possible* and how many are *kept*; *wrong* is the probability that an impossible one is drawn,
# *lost* how many possible ones are ruled out.)
#
# **What to notice.** A fixed $k$ is wrong at nearly every place: where one word is possible it keeps ten, and where a hundred
# are it keeps ten. The others follow the distribution. But nothing is free: each rule that rules out the impossible rules out what is
# possible and rare, and no rule sees more than the model's numbers.
#
# ### Exercise 2
#
# Give three probabilities of which typical sampling with $p = 0.5$ rules out the *largest*.

# %%
three = None  # your answer: three numbers that sum to 1
dropped = lambda p: np.isneginf(warpers.typical(jnp.log(jnp.array([p])), 0.5)[0, np.argmax(p)])  # noqa: E731
hint = "the two others must be nearer the entropy, and sum to at least a half: try one a little above 0.4 and two equal ones."
check(three, (lambda p: len(p) == 3 and np.isclose(sum(p), 1), "three that sum to 1."), (dropped, hint))

# %% [markdown]
# ## 5 · Better sentences, or more of them?
#
# Each rule has a dial, and turning it trades quality for diversity. A rule is judged by the whole curve, not by one setting. We draw
# from the three LSTMs at each setting; quality is the share of possible sentences, diversity is 1 − self-BLEU. Diversity has a second
# side that no sample shows: how much of what the *source* says can the generator still say? That is exact: a test sentence is **within
# reach** if none of its words is ruled out where it stands.

# %%
from lmlib.measure.writing import reach

dials = {"temperature": (0.3, 0.5, 0.75, 1.0, 1.3), "top_k": (1, 3, 10, 40), "top_p": (0.3, 0.6, 0.85, 0.95)}
dials |= {"min_p": (0.5, 0.2, 0.06, 0.015), "typical_p": (0.3, 0.6, 0.85, 0.95)}
rows, some = [], dict(zip(("tokens", "lengths"), pad([real.ids[a:b] for a, b in pairwise(real.offsets[:501])], longest + 5), strict=True))
for (name, value), seed in product(((rule, at) for rule in dials for at in dials[rule][:: 3 if smoke else 1]), seeds):
    sampling, model = Sampling(**{name: value}), models["LSTM", seed]
    found = judged(generate(model, prompts, sampling, max_new_tokens=40, key=jax.random.key(seed)).rows())
    within = 1.0 if name == "temperature" else reach(model, [some], sampling).share
    rows.append({"rule": name, "setting": value, "seed": seed, "within reach (%)": 100 * within} | found)
dialled = run.table("dials", pd.DataFrame(rows), tolerance=tolerance | {"within reach (%)": 15}, corpus=[world, test])

# %%
left, right = figures.new_panels(2, 10.4, 4.0)
pool = [np.append(words.encode(text), marks["eos"]) for text in small_world.sample(drawn, seed=9)]
ideal, dialled["diversity"] = judged(pool), 1 - dialled["self-BLEU"]
left.scatter(1 - ideal["self-BLEU"], ideal["possible (%)"], marker="*", s=160, color="black", zorder=3, label="the source itself")
axes = {"y": "possible (%)", "hue": "rule", "setting": "setting", "ylabel": "possible sentences (%)\n(mean ± sd, 3 seeds)"}
figures.tradeoff(dialled, "diversity", xlabel="1 − self-BLEU: more diverse →", ax=left, **axes)
dialled.loc[dialled["rule"] == "temperature", "within reach (%)"] = np.nan  # it rules out nothing
figures.tradeoff(dialled, "within reach (%)", xlabel="test sentences within reach (%)", ax=right, **axes).get_legend().remove()
run.figure("dials", left)

# %% [markdown]
# **What to notice.** Left: what one gains in quality one pays in diversity, by whichever dial. Top-$k$ pays more than the others, and
# turned to its end ($k = 1$, greedy) it says one sentence. The source itself stands where no dial leads: beyond the curves; to get
# there one needs a better model. Right: at the same quality, the nucleus leaves several times as many of the source's sentences within
# reach as top-$k$. A small typical set is no good bargain: it gives up the most probable words first. (Temperature, which rules out
# nothing, is not in that picture.)
#
# **What does each measure not see?** Here are five generators that nobody wants, and the LSTM. BLEU against real sentences is said in
# many a text to measure "quality and diversity":

# %%
references = [real.ids[a:b] for a, b in pairwise(real.offsets[:1_001])]
heard = [read.ids[a:b] for a, b in pairwise(read.offsets[: drawn + 1])]
noise = np.random.default_rng(0).choice(read.ids[read.ids != marks["eos"]], size=(drawn, 8))
drew, greedy = (generate(models["LSTM", 1], prompts, s, max_new_tokens=40, key=key).rows() for s in (Sampling(), Sampling.greedy()))
writers = {"the source": pool, "LSTM": drew, "LSTM, greedy": greedy, "copies of what was read": heard}
writers |= {"one sentence for ever": references[:1] * drawn, "words by frequency": list(noise)}
fooled = pd.DataFrame({title: judged(made) | {"BLEU": reference_bleu(made, references)} for title, made in writers.items()}).T
run.table("fooled", fooled.rename_axis("writer"), tolerance=tolerance | {"BLEU": 0.1}, corpus=[world, test]).round(3)

# %% [markdown]
# **What to notice.** One real sentence for ever has perfect grammar, a better mark from the judge than the source itself, and the best
# BLEU that there is, for BLEU is overlap with references and never compares the texts with one another. Words drawn by frequency are the
# most diverse. A copy machine passes every test but one, whether it says anything new. So quality, diversity and novelty are measured
# beside each other, and a number for one of them alone says nothing.
#
# ## 6 · Why not simply the most probable text?
#
# Greedy decoding takes the most probable token at each step; that is not the most probable text. **Beam search** keeps the $K$ best
# beginnings, continues each by every token, and keeps the $K$ best again. Longer texts are less probable, whatever they say, so finished
# ones of length $n$ are compared by $\log p / \mathrm{lp}(n)$ (Wu et al. 2016):
#
# $$\hat y = \operatorname*{arg\,max}_y \frac{\log p(y)}{\mathrm{lp}(|y|)}, \qquad \mathrm{lp}(n) = \Bigl(\frac{5 + n}{6}\Bigr)^{\alpha} .$$
#
# By hand on a chain, through all texts of at most three tokens. Greedy begins with *tea*, the more probable word, after which nothing is
# sure:

# %%
from lmlib.beam import beam_search

first_V, next_VV = [0.0, 0.55, 0.0, 0.45], np.array([[0, 1, 0, 0], [0.4, 0, 0.3, 0.3], [0.5, 0.25, 0, 0.25], [0.9, 0, 0.1, 0]])
uncertain, p = chain(first_V, next_VV), {}
for text in ((*text, 0) for n in (1, 2) for text in product((1, 2, 3), repeat=n)):
    p[text] = first_V[text[0]] * math.prod(next_VV[a, b] for a, b in pairwise(text))
by_hand, greedy = max(p, key=p.get), generate(uncertain, [[]], Sampling.greedy(), max_new_tokens=3).rows()[0]
found = beam_search(uncertain, [[]], beams=2, max_new_tokens=3, alpha=0.6)
assert by_hand == tuple(found.best()[0].tolist()) != tuple(greedy.tolist())
assert_allclose(math.log(p[by_hand]) / ((5 + len(by_hand)) / 6) ** 0.6, found.scores[0, 0], rtol=1e-5)

# %% [markdown]
# ### Exercise 3
#
# Two finished texts: one of 2 tokens with $\log p = -4$, one of 6 tokens with $\log p = -6$. From which $\alpha$ on does the longer one
# win?

# %%
alpha = None  # your answer
check(alpha, (lambda a: abs(a - math.log(1.5) / math.log(11 / 7)) < 0.01, "it wins where (11/7)^α, the ratio of the two lp, is above 6/4."))

# %% [markdown]
# Now on natural text, character by character. The first two thirds of it are for the writer, the last third is for the judge, an
# n-gram of six characters. (The writer is a six-gram, too, in `quick`; in `real`, an LSTM of two layers.) Passages of unseen text are
# cut in two: a prompt, and what really comes next.

# %%
text, other, n, P, L = "\n".join(natural.documents()), "\n".join(unseen.documents()), 4 if smoke else 20, 60, 60 if smoke else 200
letters, cut = CharTokenizer.train([text], specials=("<s>",)), 2 * len(text) // 3
ends = {"bos": letters.special("<s>"), "eos": letters.special("<s>")}
pieces = [write_tokens([part[: 30_000 if smoke else None]], letters, after="<s>") for part in (text[:cut], text[cut:])]
six = ngram.NgramConfig(letters.vocab_size, 6, "kneser_ney", fallback=(0.75,), **ends)
writer, expert = (ngram.train(six, part) for part in pieces)
if rich:
    shakespeare, batches = RecurrentConfig.shakespeare(letters.vocab_size, **ends), BPTTStreams(pieces[0], 50, 50)
    writer = train_recurrent(shakespeare, batches, epochs=12, optim=replace(adam, learning_rate=4e-3), seed=1, streams=50)
starts = np.linspace(0, len(other) - P - L, n).astype(int)
openings, human = zip(*((x[:P], x[P : P + L]) for x in (letters.encode(other[s : s + P + L]) for s in starts)), strict=True)

# %% [markdown]
# Each way of choosing continues the same prompts by as many characters; those that draw, with three seeds. (A setting at its end, such as a
# nucleus of 1, rules out nothing; so one compiled program serves all that draw.)

# %%
every, greedy = Sampling(1.0, letters.vocab_size, 1.0, 1e-9, 1.0), Sampling.greedy()
ways = {"T = 1": every, "T = 0.6": replace(every, temperature=0.6), "top-k 5": replace(every, top_k=5), "greedy": greedy}
ways |= {"nucleus 0.9": replace(every, top_p=0.9), "min-p 0.1": replace(every, min_p=0.1), "typical 0.9": replace(every, typical_p=0.9)}
ways |= {"greedy, penalty 1.3": replace(greedy, repetition_penalty=1.3), "greedy, no 12 again": replace(greedy, no_repeat_ngram=12)}
written = {("what a person wrote", 1): np.array(human)}
written["beam 5", 1] = beam_search(writer, openings, beams=5, max_new_tokens=L, stop=()).tokens[:, 0]
for title, seed in ((title, seed) for title, way in ways.items() for seed in (seeds if way.temperature else seeds[:1])):
    made = generate(writer, openings, ways[title], max_new_tokens=L, key=jax.random.key(seed), stop=())
    written[title, seed] = made.tokens

# %%
rows, bits, lengths = [], {}, np.full(n, P + L)
for (title, seed), made in written.items():
    both = np.hstack([openings, made])
    own, judged_by = (-np.asarray(compiled(model, "score")(both, lengths))[:, P:] / math.log(2) for model in (writer, expert))
    bits.setdefault(title, own.mean(axis=0))
    plain = [letters.decode(row).split() for row in made]
    rows.append((title, seed, judged_by.mean(), 100 * repetition(plain, 3), distinct(plain), self_bleu(plain, 3)))
columns = ["how", "seed", "judge (bits a character)", "repeated (%)", "distinct-2", "self-BLEU"]
limits = dict(zip(columns[2:], (0.3, 15, 0.1, 0.1), strict=True))
table = run.table("natural", pd.DataFrame(rows, columns=columns), tolerance=limits, corpus=[natural, unseen])
table.drop(columns="seed").groupby("how", sort=False).agg(lambda scores: mean_sd(scores).partition(" (")[0])

# %% [markdown]
# Here, "repeated" is the share of a text's triples of words that it has had before (Welleck et al. 2020). And here is how surprised the
# writer is, place by place, by what a person wrote and by what it wrote itself, after the prompt:

# %%
shown = ("what a person wrote", "T = 1", "nucleus 0.9", "greedy", "beam 5")
smooth = {name: np.convolve(bits[name], np.ones(15) / 15, mode="valid") for name in shown}
axes = {"xlabel": "characters after the prompt", "ylabel": f"bits a character\n(mean of {n} texts)", "beside": True}
run.figure("surprise", figures.lines(None, smooth, **axes))
for name in (*shown, "greedy, penalty 1.3", "greedy, no 12 again"):
    print(f"{name}: …{letters.decode(openings[1])[-20:]}|{letters.decode(written[name, 1][1])[:150]}".replace("\n", "↵"))

# %% [markdown]
# **What to notice.** What a person writes surprises the model all the time, and more than what it draws itself: nobody says what the
# listener could have said. Greedy decoding and beam search look for what surprises least, and go round in circles. A six-gram that comes
# back to five characters that it has seen must go on as before; a net with a longer memory does it because what was said once makes
# itself more probable (Holtzman et al. 2020). By the judge's bits the beam's is by far the best text of all. The better a search, the
# worse the text: what is wrong is not the search but the question.
#
# **Against repetition**, two rules look at the text. The *penalty* $\theta$ (Keskar et al. 2019) makes each token that was used before less
# probable; the other rules out each token that would complete an $n$-gram which the text already has (Paulus et al. 2017). The paper
# divides every logit by $\theta$, which makes a token with a *negative* logit more probable; what everybody uses since multiplies those:

# %%
logits_1V, seen_1V = jnp.array([[2.0, -1.0, 0.5]]), jnp.array([[True, True, False]])
assert_allclose(warpers.repetition_penalty(logits_1V, seen_1V, 1.3), [[2 / 1.3, -1 * 1.3, 0.5]], rtol=1e-6)
assert_array_equal(warpers.no_repeat_ngram(logits_1V, jnp.array([[1, 2, 1]]), jnp.array([3]), 2), [[2.0, -1.0, -jnp.inf]])  # 1 2 1, not 2

# %% [markdown]
# On characters the penalty does little: after a few words all letters have been used, all are punished alike, and the loop goes on. On
# words it may help, but it punishes *the* with the others. Both rules treat the symptom.
#
# ### Exercise 4
#
# A logit of −1 and one of 1, both of tokens that were used. The penalty is 2. What are they after it?

# %%
after = None  # your answer: two numbers
check(after, (lambda pair: np.allclose(pair, (-2, 0.5)), "both tokens must become less probable."))

# %% [markdown]
# ## 7 · Several prompts at once, and text as it comes
#
# Prompts of different lengths make one batch; each row is what it would be alone. And nobody waits for the end of a text: `stream`
# hands over blocks as they are made, which joined are the whole, to the last bit. (The program runs a block at a time; nothing calls
# back from inside it.)

# %%
from lmlib.generate import stream

beginnings, model = [words.encode(opening) for opening in ("the city of", "yesterday", "on monday", "is the")], models["Kneser-Ney", 1]
keys = jax.random.split(jax.random.key(5), len(beginnings))
made = generate(model, beginnings, max_new_tokens=20, key=keys).rows()
assert_array_equal(made[1], generate(model, beginnings[1:2], max_new_tokens=20, key=keys[1:2]).rows()[0])
print("\n".join(f"{words.decode(opening)} → {words.decode(row)}" for opening, row in zip(beginnings, made, strict=True)))
same = {"max_new_tokens": 60, "key": key, "stop": ()}
blocks = [piece.rows()[0] for piece in stream(writer, openings[:1], ways["nucleus 0.9"], block=12, **same)]
assert_array_equal(np.concatenate(blocks), generate(writer, openings[:1], ways["nucleus 0.9"], **same).rows()[0])
show.tokens([letters.decode(block) for block in blocks], label="block by block")

# %% [markdown]
# **How fast?** What a cell measures on a machine that does other things is no claim, so times are read from the benchmarks, where both
# sides run in turn on a machine that does nothing else (`make bench BENCH=recurrent`; the peer is a loop over PyTorch's steps):

# %%
from lmlib.record.claims import benchmark

benchmark("../results", "recurrent", "generate")  # an empty table where it was not run

# %% [markdown]
# **What to notice.** For one row there is little to multiply, and the compiled loop is far ahead of a loop in Python. For 64 rows there is
# 64 times as much (seven tenths of our time, by a profile), and the two are nearly level.
#
# ## Summary
#
# - To draw each token from its distribution is to draw a text from the model's. One function does it for every model of this book; a
#   row depends on its key and its places alone.
# - Temperature sharpens or flattens; top-$k$, nucleus, min-$p$ and typical sampling cut off a tail. A fixed $k$ is wrong nearly
#   everywhere; the others follow the distribution, and all give up what is rare and right with what is wrong.
# - All dials run along one curve from quality to diversity. Beyond it leads only a better model.
# - The most probable text is not a good one. Beam search finds it better than greedy decoding, and it loops the sooner.
# - No measure stands alone: overlap with references and a judge's bits do not see one sentence said for ever, diversity does not see
#   nonsense, and neither sees copying.
#
# ## References
#
# - Ackley, Hinton and Sejnowski 1985, *A Learning Algorithm for Boltzmann Machines*, Cognitive Science 9: temperature. Gumbel 1954:
#   the distribution that makes a maximum a draw.
# - Fan, Lewis and Dauphin 2018, [arXiv 1805.04833](https://arxiv.org/abs/1805.04833): top-k; Holtzman et al. 2020,
#   [arXiv 1904.09751](https://arxiv.org/abs/1904.09751): nucleus, and why text degenerates; Meister et al. 2023,
#   [arXiv 2202.00666](https://arxiv.org/abs/2202.00666): typical; Nguyen et al. 2024,
#   [arXiv 2407.01082](https://arxiv.org/abs/2407.01082): min-p.
# - Keskar et al. 2019, [arXiv 1909.05858](https://arxiv.org/abs/1909.05858): the penalty; Paulus, Xiong and Socher 2017,
#   [arXiv 1705.04304](https://arxiv.org/abs/1705.04304): no n-gram twice.
# - Wu et al. 2016, [arXiv 1609.08144](https://arxiv.org/abs/1609.08144): the length penalty of beam search.
# - Li et al. 2016, [arXiv 1510.03055](https://arxiv.org/abs/1510.03055): distinct-n; Zhu et al. 2018,
#   [arXiv 1802.01886](https://arxiv.org/abs/1802.01886): self-BLEU; Welleck et al. 2020,
#   [arXiv 1908.04319](https://arxiv.org/abs/1908.04319): repetition; Sajjadi et al. 2018,
#   [arXiv 1806.00035](https://arxiv.org/abs/1806.00035): precision and recall of generators.
# - Graves 2013, [arXiv 1308.0850](https://arxiv.org/abs/1308.0850): *Generating sequences with recurrent neural networks*.
#
# This page was made with:

# %%
run.close()
{name: value for name, value in runtime.machine().items() if name in ("device", "processor", "reproducible", "versions")}

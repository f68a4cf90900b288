# %% [markdown]
# # 03 · word2vec
#
# How can a machine find out, from nothing but text, that *Paris* is to *France* as *Tokyo* is to *Japan*? This notebook builds
# **skip-gram with negative sampling** from its equation, pair by pair, turns it into a program that is fast on any processor,
# and measures what the vectors know: first on a small world whose right answers are known, then on natural text. The model's
# sister CBOW and the other two losses (full softmax, hierarchical softmax) come later.
#
# At the end you can derive the loss and its gradient; say what subsampling, the dynamic window and the noise distribution each
# do; explain why many pairs can be learnt from at once, and what goes wrong if one does so carelessly; train vectors on your
# own text; and doubt a pretty map.
#
# **How to read.** The next cell holds what you may change. Profile `smoke` takes seconds and is for tests; `quick` trains on
# text that comes with the library; `real` trains on a slice of Wikipedia and scores the vectors against human judgements.
# `corpus` replaces the natural text by your own.
#
# Letters at the end of a name are its shape: V vocabulary, D dimension, N blocks, B centres of a block, S the span of text
# around them, K noise words of a block, O outputs of a block = S + K.

# %% tags=["parameters"]
profile = "quick"
# Natural text: a name that `lmlib corpora` lists, or the path of your own text; None leaves it to the profile.
corpus = None

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

print(f"profile {profile}, on {runtime.device_name()}")

# %% [markdown]
# What every section needs is imported here; the rest where it is first used.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from IPython.display import display
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit as sigmoid

from lmlib.models import word2vec
from lmlib.models.vectors import WordVectors
from lmlib.models.word2vec import SkipGramConfig
from lmlib.record import figures, show
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.text.batches import CorpusChunks, SkipGramPairs, context_windows, keep_probability, write_tokens
from lmlib.text.corpora import open_corpus
from lmlib.text.tokenizers import WordTokenizer

# %% [markdown]
# Two texts accompany us. `world` is a small grammar of true sentences about countries, animals and people, of which we know
# every analogy that holds. The natural text is the manual of Python in `quick` and a slice of Wikipedia in `real`. Both are
# made lower case, and everything but letters and digits becomes a space; a word that occurs fewer than five times is dropped,
# as in the authors' program, since little can be learnt from so few examples.


# %%
def prepare(source):
    """A corpus, its words with their counts, and its tokens."""
    opened = open_corpus(source)
    documents = list(opened.documents())[: 6_000 if profile == "smoke" else None]
    tokenizer = WordTokenizer.train(documents, normalisation="letters-digits", min_count=5, unk=None)
    print(f"{opened.name}: {tokenizer.counts.sum():,} tokens, {len(tokenizer.words):,} words, the first {' '.join(tokenizer.words[:5])}")
    return opened, tokenizer, write_tokens(documents, tokenizer)


world, world_words, world_tokens = prepare("world")
natural, words, tokens = prepare(corpus or ("enwiki-2018-slice" if profile in ("real", "paper") else "manual"))

# %% [markdown]
# Everything that the results depend on is stated once, at the beginning: the configurations, the seeds, the texts. The run
# folder keeps them beside the tables and figures.

# %%
# A short text is read in short steps: fewer centres each, so that there are enough of them.
seeds, short = (1, 2, 3), {"learning_rate": 0.1, "block": 16, "blocks": 64, "cap": 16.0}
world_config = SkipGramConfig(epochs=1 if profile == "smoke" else 5, **short)
config = SkipGramConfig() if profile in ("real", "paper") else SkipGramConfig(epochs=1 if profile == "smoke" else 20, **short)
# Tokens that one compiled call takes.
world_chunk, chunk = 1 << 17, 1 << (20 if profile in ("real", "paper") else 15)
run = notebook_run("03_word2vec", profile, parameters={"world": world_config, "natural": config}, seeds=seeds, corpus=[world, natural])

# %% [markdown]
# ## 1 · How does a word become something to calculate with?
#
# As it stands, a word is a number in a list, and the numbers mean nothing: word 7 is not more than word 6. Written as a
# *one-hot* vector $e_w \in \{0, 1\}^V$ (a single 1, at place $w$), all words are equally far from each other. The step that
# matters is to multiply by a matrix of learnt numbers:
#
# $$v_w = e_w^\top W, \qquad W \in \mathbb{R}^{V \times D},\quad v_w \in \mathbb{R}^D .$$
#
# One-hot times a matrix *is* a row of the matrix, so nobody multiplies: one looks the row up. How near two words are is then
# the *cosine* of the angle between their vectors, $\cos(v, w) = v^\top w \,/\, (\lVert v\rVert\,\lVert w\rVert)$, from −1 to 1.
# By hand with three words and two dimensions:

# %%
from lmlib.measure.embeddings import analogies, analogy_questions, neighbours, similarity, similarity_set

three = ["king", "queen", "bread"]
W_VD = np.array([[3.0, 0.8], [1.2, 1.0], [-1.0, 2.0]])
queen_D = np.array([0.0, 1.0, 0.0]) @ W_VD  # one-hot times matrix
cosines_V = W_VD @ queen_D / np.sqrt((W_VD**2).sum(axis=1) * (queen_D**2).sum())

vectors = WordVectors(three, W_VD)
assert_allclose(queen_D, vectors["queen"], rtol=1e-6)
assert_allclose(cosines_V[[0, 2]], neighbours(vectors, "queen", k=2).cosines[0], rtol=1e-6)

# %%
ax = figures.new_axes(5.0, 2.9)
ax.quiver([0] * 3, [0] * 3, *W_VD.T, color=figures.PALETTE[:3], angles="xy", scale_units="xy", scale=1, width=0.012)
for word, place, cosine in zip(three, W_VD, cosines_V, strict=True):
    ax.annotate(f"{word}: {cosine:.2f}", place, xytext=(6, 2), textcoords="offset points")
ax.set(xlim=(-1.6, 4.3), ylim=(-0.2, 2.5), xlabel="dimension 1", ylabel="dimension 2", aspect="equal", title="cosine with queen")
run.figure("cosine", ax)

# %% [markdown]
# **What to notice.** *king* is about twice as long as *queen*, and still its cosine is close to 1: only the direction
# counts. Length tells something else (in trained vectors, how often and how consistently a word was moved), and that is why
# neighbours are ranked by cosine.
#
# word2vec has **two such tables**: $v_w$ for a word at the centre of a window, $u_w$ for a word seen around it. With one table,
# $v_w^\top v_w = \lVert v_w \rVert^2$ would be large for every word, as if each word liked to stand next to itself; the
# opposite is true. Some texts print the model as $\mathrm{softmax}(Wx)$ with a single table: then nothing is left that tells
# centre from context. When training is over, the centre vectors are kept.

# %%
{name: table.shape for name, table in word2vec.init_params(SkipGramConfig(dimension=32), len(three), jax.random.key(0)).items()}

# %% [markdown]
# ### Exercise 1
#
# Give *bread* a vector of length 1 that has nothing to do with *queen*: cosine 0.

# %%
bread_D = None  # your answer: two numbers
check(bread_D, (lambda d: abs(d @ queen_D) < 1e-6, "no right angle."), (lambda d: np.isclose(np.dot(d, d), 1), "not of length 1."))

# %% [markdown]
# ## 2 · Which words belong together?
#
# Skip-gram goes through the text $w_1, \dots, w_T$ and makes each word predict the words around it. It maximises
#
# $$\frac{1}{T} \sum_{t=1}^{T} \; \sum_{\substack{-R_t \le j \le R_t \\ j \ne 0}} \log p(w_{t+j} \mid w_t),
# \qquad R_t \sim \mathrm{Uniform}\{1, \dots, c\} .$$
#
# The radius $R_t$ is drawn afresh for each centre (the *dynamic window*), so that near words are used more often than far ones.
# Note what goes in and what comes out: the input is the centre word, the output is *one of the words around it*. Texts that
# call the output "the vector of the centre word" have it backwards.
#
# By hand for `kings drink tea`, with radii 1, 2 and 1; then on a sentence of the small world:

# %%
by_hand = [(0, 1), (1, 0), (1, 2), (2, 1)]  # (centre, context) as positions
contexts, real = context_windows(np.arange(3), document=np.zeros(3, int), radii=[1, 2, 1], window=2)
assert_array_equal([(centre, context) for centre in range(3) for context in contexts[centre][real[centre]]], by_hand)

batch = SkipGramPairs(world_tokens, span=len(world_tokens[0]), window=3, seed=1)[0]
print(world_words.decode(world_tokens[0]), "…")
print("  ".join(f"{world_words.words[a]}→{world_words.words[b]}" for a, b, m in zip(*batch.values(), strict=True) if m))

# %% [markdown]
# **Subsampling.** Nearly every pair has *the* or *of* in it and says little. So before the windows are made, each occurrence of
# a word is kept only with a probability that falls with the word's share $f$ of all tokens. With a threshold $t$, the paper
# (Mikolov et al. 2013b, equation 5) and the program that its authors published do not agree:
#
# $$p_{\text{paper}} = \min\Bigl(1, \sqrt{t/f}\Bigr), \qquad p_{\text{word2vec.c}} = \min\Bigl(1, \sqrt{t/f} + t/f\Bigr) .$$
#
# The authors' vectors were made with the program's form, and so are ours. (The paper's equation 5 gives $1 - \sqrt{t/f}$, the
# probability to *drop* a word.)

# %%
counts_V, t = np.array([9_000, 900, 100]), 1e-2
ratio_V = t / (counts_V / counts_V.sum())
assert_allclose(keep_probability(counts_V, t, form="paper"), np.minimum(1, np.sqrt(ratio_V)))
assert_allclose(keep_probability(counts_V, t), np.minimum(1, np.sqrt(ratio_V) + ratio_V))

# %%
share_V, t = words.counts / words.counts.sum(), config.subsample
keep = {form: keep_probability(words.counts, t, form) for form in ("word2vec.c", "paper")}
labels = {f"{form} ({keep_V @ share_V:.0%} stay)": keep_V for form, keep_V in keep.items()}
ax = figures.lines(share_V, labels, xscale="log", beside=True, xlabel=f"share f of tokens ({natural.name})", ylabel="chance to be kept")
for i in (0, 4, 40):
    ax.annotate(f"•{words.words[i]}", (share_V[i], keep["word2vec.c"][i]), xytext=(-3, -4), textcoords="offset points")
ax.axvline(t, color=figures.GREY, linewidth=1)
run.figure("subsampling", ax)

# %% [markdown]
# **What to notice.** Only the few words to the right of the grey line ($f = t$) lose anything at all. Since the words that stay
# close up, the windows then reach *across* the words that were dropped: subsampling not only saves time, it also lets each word
# see farther.
#
# ### Exercise 2
#
# The window is $c = 5$. With what probability is a word three places from the centre used at all?

# %%
probability = None  # your answer
check(probability, (lambda p: np.isclose(p, np.mean(np.arange(1, 6) >= 3)), "which of the five radii reach so far?"))

# %% [markdown]
# ## 3 · What does a pair of words cost?
#
# The obvious model of the word $o$ around the centre $c$ is a softmax over the whole vocabulary (equation 2 of the paper):
#
# $$p(o \mid c) = \frac{\exp(u_o^\top v_c)}{\sum_{w=1}^{V} \exp(u_w^\top v_c)} .$$
#
# Its sum needs all $V$ words for each single pair. Negative sampling (equation 4) asks a cheaper question: *is this pair from
# the text, or did I make it up?* The pair from the text should get a high $\sigma(u^\top v) = 1/(1 + e^{-u^\top v})$, and each
# of $k$ pairs with a noise word $n_i$, drawn from a distribution $q$, a low one:
#
# $$\ell = -\log \sigma(u_o^\top v_c) - \sum_{i=1}^{k} \log \sigma(-u_{n_i}^\top v_c), \qquad v_c, u_o, u_{n_i} \in \mathbb{R}^D .$$
#
# The derivative by a product $x = u^\top v$ is $\sigma(x) - 1$ for the pair from the text and $\sigma(x)$ for noise: the
# probability that was given, minus the right answer. By hand, for *queen* at the centre, *king* beside it and one noise word,
# *tea*:

# %%
queen_D, king_D, tea_D = np.array([1.0, -0.5]), np.array([0.8, 0.2]), np.array([0.5, 1.2])
loss = -np.log(sigmoid(king_D @ queen_D)) - np.log(sigmoid(-tea_D @ queen_D))
error_king, error_tea = sigmoid(king_D @ queen_D) - 1, sigmoid(tea_D @ queen_D)
gradient_D = error_king * king_D + error_tea * tea_D

assert_allclose(loss, word2vec.negative_sampling_loss(queen_D, king_D, tea_D[None]), rtol=1e-5)
assert_allclose(gradient_D, jax.grad(word2vec.negative_sampling_loss)(queen_D, king_D, tea_D[None]), rtol=1e-5)
print(f"loss {loss:.3f} nats; a step against the gradient moves queen by a multiple of {-gradient_D.round(3)}")

# %% [markdown]
# **Why not the full softmax?** A pair costs $V$ products of length $D$ with it, and $1 + k$ with negative sampling. The figure
# shows what a pair of each kind is told.

# %%
print(f"{len(words.words):,} against {1 + config.negatives} products: {len(words.words) / (1 + config.negatives):,.0f} times cheaper")
x = np.linspace(-6, 6, 200)
left, right = figures.new_panels(2, 9.0, 3.0)
losses, slopes = (-np.log(sigmoid(x)), -np.log(sigmoid(-x))), (sigmoid(x) - 1, sigmoid(x))
for ax, y, ylabel in ((left, losses, "loss (nats)"), (right, slopes, "derivative of the loss by x")):
    figures.lines(x, {"pair from the text": y[0], "noise pair": y[1]}, xlabel="product x = uᵀv", ylabel=ylabel, ax=ax)
run.figure("loss_of_a_pair", left)

# %% [markdown]
# **What to notice.** A pair that is already told right (text far to the right, noise far to the left) has a derivative near 0
# and moves nothing any more: the vectors are moved by what they get wrong.
#
# **What is learnt in the end?** If a pair $(c, o)$ occurs $N$ times in the text and $M$ times as noise, its total loss
# $-N \log \sigma(x) - M \log \sigma(-x)$ is least at $x = \log(N / M)$. With $M = k \, N_c \, q_o$ this is the *pointwise
# mutual information* of the two words less $\log k$, as far as $q$ is the unigram distribution (Levy and Goldberg 2014). There
# is no recurrence and no hidden layer in any of this: texts that write $h_t = \sigma(Wv + b\,h_{t-1})$ for word2vec describe
# another model, a recurrent network.
#
# ### Exercise 3
#
# By hand again: the gradient of the same loss by *king*'s vector, $\partial \ell / \partial u_o$.

# %%
king_gradient_D = None  # your answer: two numbers, from error_king, error_tea and the three vectors
wanted_D = jax.grad(word2vec.negative_sampling_loss, argnums=1)(queen_D, king_D, tea_D[None])
check(king_gradient_D, (lambda g: np.allclose(g, wanted_D, atol=1e-5), "u_o is in king's own product with queen alone."))

# %% [markdown]
# ## 4 · Where do the wrong answers come from?
#
# Noise words are drawn in proportion to their count to the power of 3/4:
#
# $$q_w = \frac{n_w^{3/4}}{\sum_{w'} n_{w'}^{3/4}}, \qquad n_w \text{ the count of } w,\quad q \in \mathbb{R}^V .$$
#
# By hand for three words with convenient counts, and for all words of the natural text:

# %%
assert_allclose(np.array([27, 8, 1]) / 36, word2vec.noise_distribution([81, 16, 1]))  # 81^(3/4) = 27, 16^(3/4) = 8

# %%
noise = {f"power {alpha:g}": word2vec.noise_distribution(words.counts, alpha) for alpha in (1.0, config.noise_power, 0.0)}
axes = {"xlabel": f"rank of the word in {natural.name}", "ylabel": "probability as noise", "xscale": "log", "yscale": "log"}
run.figure("noise", figures.lines(np.arange(1, len(share_V) + 1), noise, **axes))

# %% [markdown]
# **What to notice.** The power turns the line about its middle: frequent words are drawn less often than they occur, rare ones
# more. With power 1 much of the noise would be *the*, of which the model soon knows enough; with power 0 it would be words so
# rare that any real word is easily told from them. 3/4 was found by trying (section 2.2 of the paper), not derived. (A draw
# takes two look-ups, whatever the size of the vocabulary: Walker's method, `word2vec.alias_table`.)
#
# ### Exercise 4
#
# With counts 81, 16 and 1: for which power is the first word exactly nine times as likely to be drawn as the last?

# %%
power = None  # your answer
check(power, (lambda p: np.isclose(81.0**p, 9), f"the first word would be {81.0 ** (power or 0):.3g} times as likely as the last."))

# %% [markdown]
# ## 5 · How can many pairs be learnt from at once?
#
# The authors' program takes one pair after the other: a handful of dot products, then a handful of additions. A processor made
# for large matrix products is idle nearly all of the time. This section turns pairs into products of matrices and looks at the
# price of each step.
#
# ### 5.1 Pairs of neighbours are a band
#
# Take $B$ neighbouring centres. Their contexts lie among the $S = B + 2c$ words around them, so *all* their dot products with
# their contexts are in one product of an $S \times D$ and a $D \times B$ matrix; those that are no pair get weight 0. Let the
# $B$ centres share $K$ noise words, and these are $K$ more rows. Here is such a block, small enough to see:

# %%
small = SkipGramConfig(dimension=4, window=3, negatives=2, subsample=0, block=10, blocks=2, shared_negatives=4, cap=2.0)
tables = word2vec.sampling_tables(small, world_words.counts)
drawn = word2vec.draw(small, tables, CorpusChunks(world_tokens, 96)[0], jax.random.key(3))
tokens_NS, noise_NK, positive_NOB, weight_NOB = jax.device_get(word2vec.blocks_of(small, drawn, 2))

names = [world_words.words[i] for i in tokens_NS[0]]
outputs = names + [f"noise: {world_words.words[i]}" for i in noise_NK[0]]
block = pd.DataFrame(weight_NOB[0], index=outputs, columns=names[small.window : -small.window])
signs = pd.DataFrame(np.where(positive_NOB[0] > 0, "+", np.where(weight_NOB[0] > 0, "–", "")))
run.figure("band", figures.heatmap(block, text=signs, xlabel="centre", ylabel="output", colourbar="weight of the pair in the loss"))

# %% [markdown]
# **What to notice.** The pairs from the text (+, weight 1) lie in a band about the diagonal, of uneven width because each
# centre drew its own radius, and broken where a sentence ends: *windows do not cross from one document into the next*. Each
# noise word (–) serves all centres, with a weight of its own for each: a centre with $P$ positive pairs has a claim to $P\,k$
# noise words; it gets $K$, so each counts $P\,k/K$.
#
# ### 5.2 May noise be shared?
#
# The expectation is the same. With own draws, a centre's noise gradient is a sum over $P k$ words; with shared ones, over $K$
# words of weight $P k / K$:
#
# $$\mathbb{E}\Bigl[\sum_{i=1}^{Pk} \sigma(u_{n_i}^\top v)\,u_{n_i}\Bigr] = P k \sum_w q_w\, \sigma(u_w^\top v)\, u_w
# = \mathbb{E}\Bigl[\sum_{i=1}^{K} \frac{Pk}{K}\, \sigma(u_{n_i}^\top v)\, u_{n_i}\Bigr] .$$
#
# What changes is the spread around it. To measure it we need vectors in the middle of training. Here is a training run in the
# form that all models of this book share (a step, a state, `fit`, which yields after each chunk of text); we take its state
# after six chunks.


# %%
from lmlib.learn.train import fetch, fit


def training(step, config, batches, seed):
    """A run of skip-gram: yields (state, metrics) after each chunk of the text."""
    init_key, key = jax.random.split(jax.random.key(seed))
    state = word2vec.init_state(config, batches.store.vocab_size, init_key)
    return fit(step, state, batches, key=key, steps=config.epochs * len(batches))


world_batches = CorpusChunks(world_tokens, world_chunk)
world_step = word2vec.make_step(world_config, world_words.counts, len(world_batches))
for _, (state, _) in zip(range(6), training(world_step, world_config, world_batches, seed=0), strict=False):
    params = jax.device_get(state["params"])

# %% [markdown]
# Now the noise of one block of text is drawn some hundred times, with own words for each pair and shared by the block, for
# several $K$. Both are the same function with another matrix of weights.

# %%
noise_V = word2vec.noise_distribution(world_words.counts)
v_BD = params["centre"][world_tokens.ids[: world_config.block]]
# P k for each of these neighbouring centres: as many noise words as it has a claim to
claim_B = 2 * np.random.default_rng(0).integers(1, config.window + 1, len(v_BD)) * config.negatives


def noise_gradient(ids_O, weight_OB):
    """Gradient of the loss of some noise words by the centres, (B, D), and by the context table, (V, D)."""
    u_OD = jnp.asarray(params["context"])[ids_O]
    error_OB = weight_OB * jax.nn.sigmoid(u_OD @ v_BD.T)
    return error_OB.T @ u_OD, jnp.zeros_like(params["context"]).at[ids_O].add(error_OB @ v_BD)


# The expectation: every word once, weighted by its probability
exact = noise_gradient(jnp.arange(len(noise_V)), noise_V[:, None] * claim_B)

# %%
parts, rng, means, variances = ("centre table", "context table"), np.random.default_rng(1), {}, {}
weights = {K: np.tile(claim_B / K, (K, 1)) for K in (8, 16, 32, 64, 128)} | {"own": np.repeat(np.eye(len(v_BD)), claim_B, axis=0)}
for name, weight_OB in weights.items():
    draws = rng.choice(len(noise_V), (50 if profile == "smoke" else 500, len(weight_OB)), p=noise_V)
    found = jax.lax.map(lambda ids_O, w=weight_OB: noise_gradient(ids_O, w), draws, batch_size=50)
    along = [(g * g_exact).sum(axis=(1, 2)) / (g_exact**2).sum() for g, g_exact in zip(found, exact, strict=True)]
    means[name] = [f"{a.mean():.3f} ± {a.std() / len(a) ** 0.5:.3f}" for a in along]
    variances[name] = [g.var(axis=0).sum() for g in found]
pd.DataFrame(means, index=parts).T.rename_axis("K")

# %% [markdown]
# Each draw's gradient was projected on the exact one; the table gives the mean (± its standard error), so that 1 is right.
# The variance, in units of that with own words:

# %%
shared = list(weights)[:-1]
ratios = {part: [float(variances[K][i] / variances["own"][i]) for K in shared] for i, part in enumerate(parts)}
ax = figures.lines(shared, ratios, yscale="log", marker="o", xlabel=f"noise words K that {len(v_BD)} centres share")
ax.axhline(1, color="black", linewidth=1)
ax.set(xscale="log", xticks=shared, xticklabels=shared, ylabel="variance of the noise gradient\n(own words = 1)")
run.figure("shared_noise", ax)

# %% [markdown]
# **What to notice.** Sharing is unbiased, whatever $K$, and its variance falls as $1/K$. For the centres it is level with own words
# once $K$ is about the $Pk$ words that a centre had a claim to. For the context table the price is higher: a noise word that is
# drawn once is now pushed by all centres of the block together. That is bearable while few centres share. If all centres of a step
# of thousands shared a handful of words, those few rows would take every push at once.
#
# ### 5.3 What is the price of a stale row?
#
# In one step a frequent word gets $n$ pair updates, each computed from the *same* row as it was before the step. Their sum
# overshoots. The smallest example: a single number $u$ that meets $v = 1$ in $n$ pairs, half from the text, half noise. Each
# pair pulls by $\sigma(u) - 1$ or by $\sigma(u)$, on average $\sigma(u) - \tfrac12$, so the best $u$ is 0. We start at 2:

# %%
rate, n, cap = 0.1, 200, 16
paths = {}
for label, together, updates in (("one pair after the other", 1, n), ("all at once", n, 1), (f"all at once, rate × {cap}/{n}", cap, 1)):
    u = [2.0]
    for _ in range(8 * updates):
        u.append(u[-1] - rate * together * (sigmoid(u[-1]) - 0.5))
    paths[label] = u[::updates]
run.figure("stale_row", figures.lines(None, paths, marker="o", beside=True, xlabel=f"steps of {n} pairs", ylabel="u (best: 0)"))

# %% [markdown]
# **What to notice.** One pair after the other arrives and stays. All at once jumps to the other side, and back, for ever. The
# loss of $n$ pairs has curvature up to $n \lVert v \rVert^2 / 4$ in the direction of $v$, and gradient descent is stable only
# while rate × curvature < 2. So the rate of a row must fall like $1/n$ once $n$ is large. `lmlib` lowers the rate of each word
# by $\min(1, \mathrm{cap}/n)$, with $n$ its *expected* number of pair updates a step, a constant of the word that its frequency
# gives. By hand for the centre row of the most frequent word, and then the same training run under several caps:

# %%
kept_V = world_words.counts * keep_probability(world_words.counts, world_config.subsample)
# Pairs of a step (twice the mean radius for each centre), times the share of them with this word at the centre, each with its noise
n = world_config.block * world_config.blocks * (world_config.window + 1) * kept_V[0] / kept_V.sum() * (1 + world_config.negatives)
assert_allclose(word2vec.sampling_tables(world_config, world_words.counts)["share"]["centre"][0], min(1, world_config.cap / n), rtol=1e-5)
print(f"{world_words.words[0]!r}: {n:,.0f} pair updates expected a step, so its rate is multiplied by {min(1, world_config.cap / n):.3f}")

# %%
losses = {}
for cap in (world_config.cap * factor for factor in (0.25, 1, 16)):
    step = word2vec.make_step(SkipGramConfig(**short | {"cap": cap}), world_words.counts, len(world_batches))
    chunks = zip(range(6), training(step, world_config, world_batches, seed=1), strict=False)
    losses[f"cap {cap:g}"] = fetch([metrics for _, (_, metrics) in chunks])["loss"]
ax = figures.lines(None, losses, yscale="log", marker="o", beside=True, xlabel="chunks learnt from", ylabel="loss a pair (nats)")
ax.set_ylim(0.8, 300)
run.figure("cap", ax)

# %% [markdown]
# **What to notice.** A line that leaves the frame, or ends, has diverged: summed updates do not merely learn less well, they
# blow the vectors up. A cap too low wastes pairs. (One more case: a rare word may fill a passage, such as a list, and overshoot
# within a single block. Where a word stands $m$ times in a block's span, each of its updates is divided by $m$.)
#
# ### 5.4 Is the fast program the same as the loop?
#
# It must be, to the rounding. Here is the step on the blocks of 5.1 as a plain loop over pairs, with cap and repeats, against
# the compiled one:

# %%
rng, width, rate = np.random.default_rng(0), small.window, 0.3
old = {name: rng.normal(size=(len(world_words.words), small.dimension)) for name in ("centre", "context")}
new, outputs_NO = {name: table.copy() for name, table in old.items()}, np.concatenate([tokens_NS, noise_NK], axis=1)
for i, o, b in zip(*np.nonzero(weight_NOB), strict=True):
    span, c, w = tokens_NS[i], tokens_NS[i, width + b], outputs_NO[i, o]
    error = positive_NOB[i, o, b] - weight_NOB[i, o, b] * sigmoid(old["context"][w] @ old["centre"][c])
    rate_c = rate * tables["share"]["centre"][c] / (span == c).sum()
    rate_w = rate * tables["share"]["context"][w] / ((span == w).sum() if o < len(span) else 1)
    new["centre"][c] += rate_c * error * old["context"][w]
    new["context"][w] += rate_w * error * old["centre"][c]
got = word2vec.step_update(small, tables, {name: jnp.asarray(table, jnp.float32) for name, table in old.items()}, drawn, 2, rate)
assert_allclose([got[name] for name in new], list(new.values()), atol=1e-5)

# %% [markdown]
# ### Exercise 5
#
# In the small example of 5.3 (rate 0.1, $v = 1$): what is the largest number of pairs that may be summed in one update before
# $u$, started close to 0, moves *away* from 0?

# %%
pairs_at_once = None  # your answer: a whole number
check(pairs_at_once, (lambda n: n == 80, f"u = 0.1 would become {0.1 - 0.1 * (pairs_at_once or 0) * (sigmoid(0.1) - 0.5):.4f}."))

# %% [markdown]
# ## 6 · Does it find what is true in the small world?
#
# Three runs that differ in nothing but the seed. Two lines tell how good a score is. A loss of $(1 + k) \log 2$ is that of
# knowing nothing (all products 0). And since we can count how often each pair is drawn from this text, we know the *best
# possible* loss: that of a table with the ideal number $x_{co} = \log(N_{co} / M_{co})$ of section 3 for every pair. For
# analogies *a is to b as c is to ?* the answer is the word nearest to $v_b - v_a + v_c$ (3CosAdd); chance is one in all the
# words that may be answered.

# %%
from lmlib.measure.pairs import loss_of_knowing_nothing, negative_sampling_loss, pair_counts
from lmlib.text.world import World

questions, history, trained = World().analogies(), [], {}
for seed in seeds:
    for state, metrics in training(world_step, world_config, world_batches, seed):
        trained[seed] = WordVectors(world_words.words, word2vec.input_vectors(world_config, state["params"]), world_words.counts)
        record = {"text": "world", "seed": seed, "step": int(state["step"]), "loss": float(metrics["loss"][0])}
        history.append(record | {"accuracy": analogies(trained[seed], questions).total.accuracy})
        run.log(history[-1])

# %%
pairs = SkipGramPairs(world_tokens, 1 << 16, world_config.window, sample=world_config.subsample)
about = (pair_counts(pairs, len(world_words.words), epochs=5), noise_V, world_config.negatives)
best, reached = (negative_sampling_loss(*about, x) for x in (None, state["params"]["centre"] @ state["params"]["context"].T))
print(f"best possible {best:.3f} nats a pair; reached, over all pairs, {reached:.3f}; knowing nothing {loss_of_knowing_nothing(5):.3f}")

# %% [markdown]
# The loss of a chunk is measured at its beginning, before it is learnt from, and on one step's pairs only, so it is noisy; the
# number above is over all pairs.

# %%
curves = pd.DataFrame(history).assign(before=lambda table: table["step"] - 1)
left, right = figures.new_panels(2, 9.0, 3.4)
xlabel, over = f"chunks of {world_chunk:,} tokens learnt from", f"(mean ± sd, {len(seeds)} seeds)"
figures.curve(curves, x="before", y="loss", optimum=best, xlabel=xlabel, ylabel=f"loss a pair in nats\n{over}", ax=left)
chance = {"optimum": 1 / (len(world_words.words) - 3), "optimum_label": "chance"}
figures.curve(curves, x="step", y="accuracy", xlabel=xlabel, ylabel=f"share of analogies answered\n{over}", ax=right, **chance)
run.figure("world_training", left)

# %% [markdown]
# **What to notice.** The loss comes down to just above the best that is possible at all, and the analogies come with it; from one
# seed to the next hardly anything changes. By category, over the seeds:

# %%
from lmlib.record.seeds import score_tables

frames = {seed: analogies(vectors, questions).frame() for seed, vectors in trained.items()}
table = score_tables(run, "world_analogies", frames, "category", "accuracy", beside=["covered", "total"], corpus=world)
run.claim("world_sgns_analogy", [frame["accuracy"].iloc[-1] for frame in frames.values()], unit="accuracy", better="high")
table.round(3)

# %% [markdown]
# Nearest neighbours show what kind of likeness the vectors have. Where you run this yourself, a menu lets you choose word and
# number; on a page you see one example.

# %%
near = neighbours(trained[1], ["paris", "king", "bigger", "swam", "wonderful"], k=6).frame()
run.table("world_neighbours", near, tolerance={"word": None, "cosine": None}, corpus=world)
near.pivot(index="query", columns="rank", values="word")

# %%
show.explore(lambda word="tokyo", k=8: neighbours(trained[1], word, k).frame().round(3), word=sorted(world_words.words), k=(1, 20))

# %% [markdown]
# **What to notice.** The neighbours of a word are those that could stand in its place: other capitals, not *france*, although
# *paris* and *france* meet in one sentence after another. Being alike and going together are two things.
#
# Why does subtracting work? If *paris* = *capital* + *french things* and *france* = *country* + *french things*, the difference
# is *capital* − *country*, the same for all. On a map, the lines from each country to its capital should be parallel:

# %%
lands, capitals = zip(*dict.fromkeys(question[:2] for question in questions["capital"]), strict=True)
plane = figures.word_plane(trained[1], {"country": lands, "capital": capitals})
plane_axes = {"hue": "group", "xlabel": "first principal component", "ylabel": "second principal component"}
run.figure("world_map", figures.word_map(plane, pairs=list(zip(lands, capitals, strict=True)), **plane_axes))

# %%
from lmlib.record.claims import benchmark, mean_sd

for label, shift in (("each country and its capital", 0), ("each country and the capital of the next one", 1)):
    ends = [[vectors.vectors[[vectors.row(w) for w in side]] for side in (lands, np.roll(capitals, shift))] for vectors in trained.values()]
    units = [(b - a) / np.linalg.norm(b - a, axis=1, keepdims=True) for a, b in ends]
    print(f"{label}: mean cosine of two offsets {mean_sd([((u @ u.T).sum() - len(u)) / (len(u) * (len(u) - 1)) for u in units])}")

# %% [markdown]
# **What to notice.** A map keeps two of a hundred dimensions, and chosen as those in which these words differ most: it shows
# the step from countries to capitals, and would look nearly as parallel with wrong capitals. The second line of numbers says
# how much of the parallelism is due to that alone. The score is the evidence, the map only an illustration.
#
# ### Exercise 6
#
# Without `analogies`: make the vector whose nearest neighbour should answer *king is to queen as man is to ?*

# %%
answer_D = None  # your answer: a vector, from trained[1]["king"] and so on
found = set() if answer_D is None else set(neighbours(trained[1], np.asarray(answer_D), 4).words[0]) - {"king", "queen", "man"}
check(answer_D, (lambda d: "woman" in found, f"besides the words of the question, its nearest neighbours are {sorted(found)}."))

# %% [markdown]
# ## 7 · What can it not do?
#
# **Opposites look alike.** Words that fill the same places get the same vectors, whether they mean the same or the contrary.
# **Order is lost.** A window knows no left and right: a sentence and its mirror image give the same pairs. **One vector a
# word.** The *bank* of a river and the *bank* that lends share a row, somewhere between their uses. And the vectors say what
# the text *says*, its prejudices included: they know nothing else.

# %%
for a, b in (("wonderful", "marvellous"), ("wonderful", "horrible"), ("good", "bad")):
    print(f"cosine of {a} and {b}: {mean_sd([float(np.dot(*v.unit[[v.row(a), v.row(b)]])) for v in trained.values()])}")

# %% [markdown]
# ## 8 · And on natural text?
#
# The same program; only the size of a step and the number of epochs differ (see the beginning). Nothing is known here but what
# people say: in `real`, the vectors are compared with human judgements of how similar two words are (WordSim-353, SimLex-999, RG-65;
# Spearman's correlation of the ranks) and answer the analogies of Mikolov et al., from the 30,000 most frequent words. Words that
# the vocabulary lacks are counted: a score says nothing without the share that it covers.

# %%
from time import perf_counter

final, history, batches = {}, [], CorpusChunks(tokens, chunk)
step = word2vec.make_step(config, words.counts, len(batches))
for seed in seeds:
    start = perf_counter()
    for state, metrics in training(step, config, batches, seed):
        history.append({"text": natural.name, "seed": seed, "step": int(state["step"]), "loss": float(metrics["loss"][0])})
        run.log(history[-1])
    run.time(f"training, {config.epochs} epochs of {len(tokens.ids)} tokens, seed {seed}", perf_counter() - start)
    final[seed] = WordVectors(words.words, word2vec.input_vectors(config, state["params"]), words.counts)
run.figure("natural_training", figures.curve(pd.DataFrame(history), xlabel=f"chunks of {chunk:,} tokens", ylabel=f"loss (nats)\n{over}"))

# %%
if natural.name == "enwiki-2018-slice":
    sets = {name: similarity_set(name) for name in ("ws353", "simlex999", "rg65")}
    judged = {seed: pd.concat([similarity(v, sets[s]).frame().assign(set=s) for s in sets]) for seed, v in final.items()}
    answered = {seed: analogies(v, analogy_questions()).frame() for seed, v in final.items()}
    display(score_tables(run, "similarity", judged, "set", "spearman", beside=["covered", "n"]).round(3))
    display(score_tables(run, "analogies", answered, "category", "accuracy", beside=["covered", "total"]).round(3))
    run.claim("enwiki_sgns_100_ws353", [f["spearman"].iloc[0] for f in judged.values()], unit="Spearman ρ", better="high")
    run.claim("enwiki_sgns_100_analogy", [f["accuracy"].iloc[-1] for f in answered.values()], unit="accuracy", better="high")
else:
    print(f"There is no answer key for {natural.name}: profile 'real' scores vectors of Wikipedia.")

# %% [markdown]
# **What to notice.** `covered` says how many items the score is from. Natural text gives lower scores than the small world, and
# no line of best possible values is known: people themselves agree only so far.
#
# Neighbours in natural text, of some frequent words; and how far one may trust such a list: the share of the ten nearest that the
# vectors of two seeds have in common. The rest hangs on the seed.

# %%
choices = {
    "manual": "file read write stream open|server socket port host connection|error exception warning|second minute hour day",
    "enwiki-2018-slice": "france paris germany berlin japan tokyo|physics chemistry biology|guitar piano violin|bank river|may june july",
}
groups = {f"{group.split()[0]} …": group.split() for group in choices.get(natural.name, " ".join(words.words[100:130])).split("|")}
near = neighbours(final[1], [group[0] for group in groups.values() if group[0] in final[1]], k=8).frame()
run.table("natural_neighbours", near, tolerance={"word": None, "cosine": None}, corpus=natural)
near.pivot(index="query", columns="rank", values="word")

# %%
lists = [neighbours(vectors, words.words[50:550], k=10).words for vectors in final.values()]
both = [np.mean([len({*a} & {*b}) / 10 for a, b in zip(*two, strict=True)]) for two in zip(lists, lists[1:] + lists[:1], strict=True)]
print(f"share of ten neighbours that two seeds have in common, over the words of rank 51 to 550: {mean_sd(both)}")

# %% [markdown]
# A map, with words that were chosen by hand because they are likely to form groups: that is what most printed maps are.

# %%
run.figure("natural_map", figures.word_map(figures.word_plane(final[1], groups), **plane_axes))

# %% [markdown]
# **Beside gensim.** `make bench BENCH=word2vec` trains this program and gensim in turn on the same text, the same cores and
# three seeds or more, and writes what came out:

# %%
benchmark("../results", "word2vec")  # an empty table where it was not run

# %% [markdown]
# ## Summary
#
# - A word is a row of a table, and nearness is a cosine. word2vec has two tables, one for centres, one for contexts.
# - Skip-gram predicts the words around a centre. Radii are drawn, frequent words are thinned out *before* the windows are made.
# - Negative sampling turns a softmax over the vocabulary into a few yes-or-no questions. Left to itself, it fits the pointwise
#   mutual information of words, less log k.
# - Pairs of neighbours are a band, and a band is a matrix product. Sharing noise is unbiased and changes only the variance;
#   summing many updates of one stale row overshoots, unless its rate falls with their number.
# - Where the truth is known, the vectors find it. Elsewhere a score needs its coverage, its seeds and its chance level beside it,
#   and a map is no evidence.
#
# ## References
#
# - Mikolov, Chen, Corrado, Dean 2013a, *Efficient Estimation of Word Representations in Vector Space*,
#   [arXiv 1301.3781](https://arxiv.org/abs/1301.3781): skip-gram, CBOW, the analogies.
# - Mikolov, Sutskever, Chen, Corrado, Dean 2013b, *Distributed Representations of Words and Phrases and their Compositionality*,
#   [arXiv 1310.4546](https://arxiv.org/abs/1310.4546): negative sampling, subsampling, the noise distribution.
# - Levy, Goldberg 2014, *Neural Word Embedding as Implicit Matrix Factorization* (NIPS): what negative sampling fits.
# - Levy, Goldberg 2014, *Linguistic Regularities in Sparse and Explicit Word Representations* (CoNLL): 3CosAdd and 3CosMul.
# - Finkelstein et al. 2002 (WordSim-353); Hill, Reichart, Korhonen 2015 (SimLex-999); Rubenstein, Goodenough 1965 (RG-65).
#
# This page was made with:

# %%
run.close()
{name: value for name, value in runtime.machine().items() if name in ("device", "processor", "reproducible", "versions")}

# %% [markdown]
# # 03 · word2vec
#
# How can a machine find out, from nothing but text, that *Paris* is to *France* as *Tokyo* is to *Japan*? This notebook builds
# the two models of **word2vec** from their equations: **skip-gram**, in which a word predicts its neighbours, and **CBOW**, in
# which the neighbours predict the word; each with the three ways to pay for a prediction, the **full softmax**, **negative
# sampling** and **hierarchical softmax**. It measures what the vectors know, first on a small world whose right answers are
# known, then on natural text, and trains what some texts print as word2vec beside what it is.
#
# At the end you can derive each loss and its gradient; say what subsampling, the dynamic window and the noise distribution each
# do; explain why many pairs can be learnt from at once, and what goes wrong if one does so carelessly; train vectors on your
# own text; and doubt a pretty map, and a low loss.
#
# **How to read.** The next cell holds what you may change. Profile `smoke` takes seconds and is for tests; `quick` trains on
# text that comes with the library; `real` trains on a slice of Wikipedia and scores the vectors against human judgements.
# `corpus` replaces the natural text by your own.
#
# Letters at the end of a name are its shape: V vocabulary, D dimension, N blocks, B centres of a block, S the span of text
# around them, K noise words of a block, O outputs of a block = S + K, L the longest path of a tree.

# %% tags=["parameters"]
profile = "quick"
corpus = None  # the natural text: a name that `lmlib corpora` lists, or the path of your own; None leaves it to the profile

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

print(f"profile {profile}, on {runtime.device_name()}")

# %% [markdown]
# What every section needs is imported here; the rest where it is first used.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from IPython.display import display
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit as sigmoid

from lmlib.models import cbow, hierarchical, softmax, windows, word2vec
from lmlib.models.vectors import WordVectors
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
# Everything that the results depend on is stated once, at the beginning: the models with their settings, the seeds, the texts.
# The run folder keeps them beside the tables and figures. On the small world, steps are short, so that there are enough of
# them, and learning rates are the best of a few that were tried with one seed. (NS is negative sampling, HS hierarchical softmax.)

# %%
seeds, epochs, rich = (1, 2, 3), 1 if profile == "smoke" else 5, profile in ("real", "paper")
short, full = {"dimension": 48, "epochs": epochs, "block": 16}, {"dimension": 48, "epochs": min(2, epochs), "block": 16, "blocks": 8}
methods = {
    "skip-gram NS": (word2vec, word2vec.SkipGramConfig(**short)),
    "skip-gram HS": (hierarchical, hierarchical.HierarchicalConfig(**short, learning_rate=0.1, blocks=16, levels=0, cap=32.0)),
    "skip-gram softmax": (softmax, softmax.SoftmaxConfig(**full, subsample=1e-3, cap=16.0)),
    "CBOW NS": (cbow, cbow.CBOWConfig(**short, blocks=64, cap=16.0)),
    "CBOW NS, word2vec.c": (cbow, cbow.CBOWConfig(**short, learning_rate=0.15, blocks=64, cap=16.0, gradient="word2vec.c")),
    "CBOW softmax": (softmax, softmax.SoftmaxConfig(**full, architecture="cbow", learning_rate=0.3, subsample=1e-3, cap=16.0)),
}
natural_config = word2vec.SkipGramConfig(**{} if rich else {"epochs": 1 if profile == "smoke" else 20})
settings = {name: config for name, (_, config) in methods.items()} | {"natural": natural_config}
run = notebook_run("03_word2vec", profile, parameters=settings, seeds=seeds, corpus=[world, natural])

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
assert_allclose(queen_D, WordVectors(three, W_VD)["queen"], rtol=1e-6)
assert_allclose(cosines_V[[0, 2]], neighbours(WordVectors(three, W_VD), "queen", k=2).cosines[0], rtol=1e-6)

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
# word2vec has **two such tables**: $v_w$ for a word that predicts, $u_w$ for a word that is predicted. With one table,
# $v_w^\top v_w = \lVert v_w \rVert^2$ would be large for every word, as if each word liked to stand next to itself; the
# opposite is true. (Section 9 tries it.) When training is over, the vectors of the words that predict are kept.
#
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
share_V, t = words.counts / words.counts.sum(), natural_config.subsample
keep = {form: keep_probability(words.counts, t, form) for form in ("word2vec.c", "paper")}
assert_allclose(keep["paper"], np.minimum(1, np.sqrt(t / share_V)))
assert_allclose(keep["word2vec.c"], np.minimum(1, np.sqrt(t / share_V) + t / share_V))

labels = {f"{form} ({keep_V @ share_V:.0%} stay)": keep_V for form, keep_V in keep.items()}
ax = figures.lines(share_V, labels, xscale="log", beside=True, xlabel=f"share f of tokens ({natural.name})", ylabel="chance to be kept")
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
# $$p(o \mid c) = \frac{\exp(u_o^\top v_c)}{\sum_{w=1}^{V} \exp(u_w^\top v_c)}, \qquad v_c, u_w \in \mathbb{R}^D .$$
#
# Its sum needs all $V$ words for each single pair. Negative sampling (equation 4) asks a cheaper question: *is this pair from
# the text, or did I make it up?* The pair from the text should get a high $\sigma(u^\top v) = 1/(1 + e^{-u^\top v})$, and each
# of $k$ pairs with a noise word $n_i$, drawn from a distribution $q$, a low one:
#
# $$\ell = -\log \sigma(u_o^\top v_c) - \sum_{i=1}^{k} \log \sigma(-u_{n_i}^\top v_c), \qquad v_c, u_o, u_{n_i} \in \mathbb{R}^D .$$
#
# The derivative by a product $x = u^\top v$ is $\sigma(x) - 1$ for the pair from the text and $\sigma(x)$ for noise: the
# probability that was given, minus the right answer. By hand, for *queen* at the centre and *king* beside it: first the softmax
# over three words, then negative sampling with one noise word, *tea*:

# %%
queen_D, king_D, tea_D = np.array([1.0, -0.5]), np.array([0.8, 0.2]), np.array([0.5, 1.2])
u_VD = np.stack([king_D, tea_D, -king_D])
p_V = np.exp(u_VD @ queen_D) / np.exp(u_VD @ queen_D).sum()
assert_allclose(-np.log(p_V[0]), softmax.softmax_loss(queen_D, u_VD, word=0), rtol=1e-5)

loss = -np.log(sigmoid(king_D @ queen_D)) - np.log(sigmoid(-tea_D @ queen_D))
error_king, error_tea = sigmoid(king_D @ queen_D) - 1, sigmoid(tea_D @ queen_D)
assert_allclose(loss, word2vec.negative_sampling_loss(queen_D, king_D, tea_D[None]), rtol=1e-5)
assert_allclose(error_king * king_D + error_tea * tea_D, jax.grad(word2vec.negative_sampling_loss)(queen_D, king_D, tea_D[None]), rtol=1e-5)

# %% [markdown]
# A pair costs $V$ products of length $D$ with the full softmax, and $1 + k$ with negative sampling. The figure shows what a pair
# of each kind is told.

# %%
x, (left, right) = np.linspace(-6, 6, 200), figures.new_panels(2, 9.0, 3.0)
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
# mutual information* of the two words less $\log k$, as far as $q$ is the unigram distribution (Levy and Goldberg 2014).
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
# By hand for three words with convenient counts ($81^{3/4} = 27$, $16^{3/4} = 8$), and for all words of the natural text:

# %%
assert_allclose(np.array([27, 8, 1]) / 36, word2vec.noise_distribution([81, 16, 1]))
noise = {f"power {alpha:g}": word2vec.noise_distribution(words.counts, alpha) for alpha in (1.0, natural_config.noise_power, 0.0)}
axes = {"xlabel": f"rank of the word in {natural.name}", "ylabel": "probability as noise", "xscale": "log", "yscale": "log"}
run.figure("noise", figures.lines(np.arange(1, len(share_V) + 1), noise, **axes))

# %% [markdown]
# **What to notice.** The power turns the line about its middle: frequent words are drawn less often than they occur, rare ones
# more. With power 1 much of the noise would be *the*, of which the model soon knows enough; with power 0 it would be words so
# rare that any real word is easily told from them. 3/4 was found by trying (section 2.2 of the paper), not derived. (A draw
# takes two look-ups, whatever the size of the vocabulary: Walker's method, `word2vec.alias_table`.)
#
# ## 5 · What if the neighbours predict the word?
#
# That is CBOW, the *continuous bag of words*: the mean of the vectors around a place predicts the word that stands there.
# With $n$ words $c_1, \dots, c_n$ in the window of the word $o$:
#
# $$h = \frac{1}{n} \sum_{j=1}^{n} v_{c_j}, \qquad \ell = -\log \sigma(u_o^\top h) - \sum_{i=1}^{k} \log \sigma(-u_{n_i}^\top h),
# \qquad h, v_{c_j}, u_o, u_{n_i} \in \mathbb{R}^D .$$
#
# The word in the middle is what is predicted; it is never among the inputs. One prediction for a whole window instead of one
# for each pair makes CBOW several times cheaper. Since each context word is in $h$ with a share of $1/n$, the chain rule gives it
# a gradient with the same share:
#
# $$\frac{\partial \ell}{\partial v_{c_j}} = \frac{1}{n}\,\frac{\partial \ell}{\partial h} .$$
#
# The authors' program, and gensim after it, **leave out the $1/n$**: its context words move $n$ times as far as the loss asks
# for, and farther in wide windows than in narrow ones (İrsoy, Benton and Stratos 2021). By hand for `kings drink tea`, with *bread*
# as the noise word:

# %%
kings_D, tea_D, drink_D, bread_D = np.array([0.8, 0.2]), np.array([0.5, 1.2]), np.array([0.3, 0.9]), np.array([-0.4, 0.7])
h_D = (kings_D + tea_D) / 2
loss = -np.log(sigmoid(drink_D @ h_D)) - np.log(sigmoid(-bread_D @ h_D))
h_gradient_D = (sigmoid(drink_D @ h_D) - 1) * drink_D + sigmoid(bread_D @ h_D) * bread_D
context = np.stack([kings_D, tea_D]), drink_D, bread_D[None]
assert_allclose(loss, cbow.cbow_loss(*context), rtol=1e-5)
assert_allclose([h_gradient_D / 2, h_gradient_D / 2], jax.grad(cbow.cbow_loss)(*context), rtol=1e-5)

# %% [markdown]
# **What to notice.** Both words of the window get the same gradient: CBOW cannot tell which of them was the telling one. If all
# windows had one size, the missing $1/n$ would be no more than another learning rate; they have not. `lmlib` takes the
# true gradient, and the program's with `gradient="word2vec.c"`; section 8 trains both.
#
# ## 6 · Can a probability over all words be cheap?
#
# Yes, if a word is found by asking yes-or-no questions, as in a dictionary that is opened in the middle. *Hierarchical softmax*
# puts the words at the leaves of a binary tree. At each inner node $m$ on the way from the root to the word $w$, a vector $u_m$
# decides between the two branches; $b_m = 0$ or $1$ says which one leads to $w$ (its *code*). With $x$ the input, $v$ of a word or
# $h$ of a window (equation 3 of the paper):
#
# $$p(w \mid x) = \prod_{m \,\in\, \mathrm{path}(w)} \sigma\bigl((1 - 2 b_m)\, u_m^\top x\bigr), \qquad x, u_m \in \mathbb{R}^D .$$
#
# At every node the two branches share the probability, $\sigma(z) + \sigma(-z) = 1$, so over all words it sums to 1, exactly,
# though nobody ever summed. Any tree would do; *Huffman's* tree makes the paths short that are walked often: join the two
# rarest nodes to one, and again, until one is left. By hand for counts of 9, 4, 2 and 1, where the rarer branch is 0: *tea* (1) and
# *drinks* (2) make a node of 3; with *queen* (4) it makes one of 7; with *the* (9) the root.

# %%
from lmlib.models.huffman import huffman_tree

tree, rng = huffman_tree(np.array([9, 4, 2, 1])), np.random.default_rng(0)  # the, queen, drinks, tea
codes = [code[:length] for code, length in zip(tree["codes"], tree["lengths"], strict=True)]
assert ["".join(map(str, code)) for code in codes] == ["1", "01", "001", "000"]

x_D, u_MD = rng.normal(size=2), rng.normal(size=(3, 2))  # the inner nodes in the order in which they were joined: the root is the last
drinks = sigmoid(u_MD[2] @ x_D) * sigmoid(u_MD[1] @ x_D) * sigmoid(-u_MD[0] @ x_D)
paths = [u_MD[nodes[:length]] for nodes, length in zip(tree["nodes"], tree["lengths"], strict=True)]
p_V = np.exp([-hierarchical.hierarchical_softmax_loss(x_D, path_LD, code) for path_LD, code in zip(paths, codes, strict=True)])
assert_allclose([p_V[2], p_V.sum()], [drinks, 1], rtol=1e-5)

# %% [markdown]
# The paths of the natural text's words, beside the length that no code can beat on average, $\log_2(1/f)$ for a word with share $f$:

# %%
lengths_V = huffman_tree(words.counts)["lengths"]
ideal = {"path in Huffman's tree": lengths_V, "log₂(1/f)": -np.log2(share_V)}
axes = {"xlabel": f"share f of tokens ({natural.name})", "ylabel": "questions (bits)"}
run.figure("code_length", figures.lines(share_V, ideal, xscale="log", **axes))
print(f"questions a token: {lengths_V @ share_V:.2f}, at best {-share_V @ np.log2(share_V):.2f}; the vocabulary: {len(words.words):,}")

# %% [markdown]
# **What to notice.** The path follows the ideal, in whole steps: a frequent word costs a few questions, a rare one a dozen and
# more. What the tree does not know is meaning: words of like frequency share a branch, whether they have anything to do with each
# other or not, and each question must sort such a crowd. (A path through a large vocabulary is a dozen random reads of memory. So `lmlib`
# takes the `top` nodes next to the root, which lie on nearly all paths, for all inputs of a step in one product; and of the rest of a
# path `levels` nodes, drawn evenly and weighted so that the expected gradient is that of the whole path. `levels=0`, as in section 8,
# takes them all.)
#
# ### Exercise 4
#
# Give counts of four words for which all four codes have length 2.

# %%
counts_V = None  # your answer: four whole numbers
check(counts_V, (lambda n: set(huffman_tree(np.array(n))["lengths"]) == {2}, "one count outweighs the two rarest together."))

# %% [markdown]
# ## 7 · How can many pairs be learnt from at once?
#
# The authors' program takes one pair after the other: a handful of dot products, then a handful of additions. A processor made
# for large matrix products is idle nearly all of the time. Here is how pairs become products of matrices, and the price of it.
#
# **Pairs of neighbours are a band.** Take $B$ neighbouring centres. Their contexts lie among the $S = B + 2c$ words around them,
# so *all* their dot products with their contexts are in one product of an $S \times D$ and a $D \times B$ matrix; those that are
# no pair get weight 0. Let the $B$ centres share $K$ noise words, and these are $K$ more rows. Such a block, small enough to see:

# %%
small = word2vec.SkipGramConfig(dimension=4, window=3, negatives=2, subsample=0, block=10, blocks=2, shared_negatives=4, cap=2.0)
of_vocabulary, compiled = word2vec.sampling_tables(small, world_words.counts), jax.jit(word2vec.draw, static_argnums=0)
drawn = compiled(small, of_vocabulary, CorpusChunks(world_tokens, 96)[0], jax.random.key(3))
tokens_NS, noise_NK, positive_NOB, weight_NOB = jax.device_get(word2vec.blocks_of(small, drawn, 2))

names = [world_words.words[i] for i in tokens_NS[0]]
outputs = names + [f"noise: {world_words.words[i]}" for i in noise_NK[0]]
block = pd.DataFrame(weight_NOB[0], index=outputs, columns=names[small.window : -small.window])
signs = pd.DataFrame(np.where(positive_NOB[0] > 0, "+", np.where(weight_NOB[0] > 0, "–", "")))
run.figure("band", figures.heatmap(block, text=signs, xlabel="centre", ylabel="output", colourbar="weight of the pair in the loss"))

# %% [markdown]
# **What to notice.** The pairs from the text (+) lie in a band about the diagonal, broken where a sentence ends: *windows do not
# cross from one document into the next*. The band fades with the distance, and no radius was drawn: as the product works out every
# pair of the largest window anyhow, each takes part with the chance that a drawn radius would reach it, $(c + 1 - d)/c$ at distance
# $d$. The expected gradient is that of section 2, and there is less chance in it. (CBOW still draws: the mean over a window is no sum
# over pairs.) Each noise word (–) serves all centres, with a weight of its own for each: a centre whose positive pairs weigh $P$
# together has a claim to $P\,k$ noise words; it gets $K$, so each counts $P\,k/K$.
#
# **May noise be shared?** The expected gradient is the same, with own draws or with shared ones:
#
# $$\mathbb{E}\Bigl[\sum_{i=1}^{Pk} \sigma(u_{n_i}^\top v)\,u_{n_i}\Bigr] = P k \sum_w q_w\, \sigma(u_w^\top v)\, u_w
# = \mathbb{E}\Bigl[\sum_{i=1}^{K} \frac{Pk}{K}\, \sigma(u_{n_i}^\top v)\, u_{n_i}\Bigr] .$$
#
# What changes is the spread around it, which falls as $1/K$: bearable while few centres share. If all centres of a step
# of thousands shared a handful of words, those few rows would take every push at once.
#
# **What is the price of a stale row?** In one step a frequent word gets $n$ pair updates, each computed from the *same* row as it
# was before the step. Their sum overshoots. The smallest example: a single number $u$ that meets $v = 1$ in $n$ pairs, half from
# the text, half noise. Each pair pulls by $\sigma(u) - 1$ or by $\sigma(u)$, on average $\sigma(u) - \tfrac12$, so the best $u$ is
# 0. We start at 2:

# %%
from itertools import accumulate

rate, n, cap, paths = 0.1, 200, 16, {}
for label, together, updates in (("one pair after the other", 1, n), ("all at once", n, 1), (f"all at once, rate × {cap}/{n}", cap, 1)):
    paths[label] = [*accumulate(range(8 * updates), lambda u, _, r=rate * together: u - r * (sigmoid(u) - 0.5), initial=2.0)][::updates]
run.figure("stale_row", figures.lines(None, paths, marker="o", beside=True, xlabel=f"steps of {n} pairs", ylabel="u (best: 0)"))

# %% [markdown]
# **What to notice.** One pair after the other arrives and stays. All at once jumps to the other side, and back, for ever. The
# loss of $n$ pairs has curvature up to $n \lVert v \rVert^2 / 4$ in the direction of $v$, and gradient descent is stable only
# while rate × curvature < 2. So the rate of a row must fall like $1/n$ once $n$ is large. `lmlib` lowers the rate of each word
# by $\min(1, \mathrm{cap}/n)$, with $n$ its *expected* number of pair updates a step, a constant of the word that its frequency
# gives. (One more case: a rare word may fill a passage, such as a list, and overshoot within a single block. Where a word stands
# $m$ times in a block's span, each of its updates is divided by $m$.) That the compiled step equals a plain loop over pairs,
# noise, caps and repeats included, is checked for each model in `tests/`.
#
# ### Exercise 5
#
# In the small example (rate 0.1, $v = 1$): what is the largest number of pairs that may be summed in one update before
# $u$, started close to 0, moves *away* from 0?

# %%
pairs_at_once = None  # your answer: a whole number
check(pairs_at_once, (lambda n: n == 80, f"u = 0.1 would become {0.1 - 0.1 * (pairs_at_once or 0) * (sigmoid(0.1) - 0.5):.4f}."))

# %% [markdown]
# ## 8 · Who finds what is true in the small world?
#
# Three runs of each model that differ in nothing but the seed. For analogies *a is to b as c is to ?* the answer is the word whose
# vector is nearest to $v_b - v_a + v_c$ (all of length 1: 3CosAdd), and no word of the question; chance is one in all the words
# that may be answered. A training run has the form that all models of this book share: a step, a state, and `fit`, which yields
# after each chunk of text.

# %%
from lmlib.learn.train import fit
from lmlib.text.world import World

world_batches, questions, history, ends, trained = CorpusChunks(world_tokens, 1 << 18), World().analogies(), [], {}, {}


def train(method, config, step, init, vectors_of):
    """Train on the world, seed by seed; after each chunk of its text, note how many analogies are answered."""
    for seed in seeds:
        init_key, key = jax.random.split(jax.random.key(seed))
        for state, metrics in fit(step, init(init_key), world_batches, key=key, steps=config.epochs * len(world_batches)):
            vectors = WordVectors(world_words.words, vectors_of(config, state["params"]), world_words.counts)
            record = {"method": method, "seed": seed, "passes": int(state["step"]) / len(world_batches), "loss": float(metrics["loss"][0])}
            history.append(record | {"accuracy": analogies(vectors, questions).total.accuracy})
            run.log(history[-1])
        trained[method, seed], ends[method, seed] = vectors, jax.device_get(state["params"])


for method, (module, config) in methods.items():
    step = module.make_step(config, world_words.counts, len(world_batches))
    train(method, config, step, partial(module.init_state, config, len(world_words.words)), module.input_vectors)

# %% [markdown]
# How good is a loss? For negative sampling two lines tell. $(1 + k) \log 2$ is the loss of knowing nothing (all products 0). And since
# we can count how often each pair is drawn from this text, we know the *best possible* loss: that of a table with the ideal
# number $x_{co} = \log(N_{co} / M_{co})$ of section 3 for every pair.

# %%
from lmlib.measure.pairs import loss_of_knowing_nothing, negative_sampling_loss, pair_counts

pairs = SkipGramPairs(world_tokens, 1 << 16, window=5, sample=1e-3)
about = pair_counts(pairs, len(world_words.words), epochs=5), word2vec.noise_distribution(world_words.counts), 5
products_VV = ends["skip-gram NS", 1]["centre"] @ ends["skip-gram NS", 1]["context"].T
best, reached = (negative_sampling_loss(*about, x) for x in (None, products_VV))
print(f"best possible {best:.3f} nats a pair; reached, over all pairs, {reached:.3f}; knowing nothing {loss_of_knowing_nothing(5):.3f}")

# %%
curves, over = pd.DataFrame(history), f"(mean ± sd, {len(seeds)} seeds)"
left, right = figures.new_panels(2, 9.0, 3.8)
skip_gram = curves[curves["method"] == "skip-gram NS"].assign(passes=lambda table: table["passes"] - 1 / len(world_batches))
figures.curve(skip_gram, x="passes", hue="method", optimum=best, xlabel="passes over the text", ylabel=f"loss (nats)\n{over}", ax=left)
figures.curve(curves, x="passes", y="accuracy", hue="method", xlabel="passes over the text", ylabel=f"analogies answered\n{over}", ax=right)
run.figure("world_training", left)

# %% [markdown]
# **What to notice.** The loss comes down to just above the best that is possible at all, and the analogies come with it. (It is
# measured at the beginning of a chunk, before that is learnt from, and on one step's pairs only, so it is noisy.) The losses of
# different models say nothing about each other: they answer different questions. What they are for is the same, so here is
# what they reach, and how many products of vectors one prediction takes:

# %%
from lmlib.record.seeds import score_tables

path = float(huffman_tree(world_words.counts)["lengths"] @ world_words.counts / world_words.counts.sum())
products = {word2vec: 6, cbow: 6, hierarchical: path, softmax: len(world_words.words)}
last = curves.groupby(["method", "seed"], sort=False).tail(1).assign(products=lambda t: [products[methods[m][0]] for m in t["method"]])
frames = {seed: rows.drop(columns="seed") for seed, rows in last.groupby("seed")}
run.claim("world_sgns_analogy", last["accuracy"][last["method"] == "skip-gram NS"], unit="accuracy", better="high")
score_tables(run, "world_methods", frames, "method", "accuracy", beside=["passes", "products"], corpus=world).round(3)

# %% [markdown]
# **What to notice.** The full softmax needs the fewest passes, but each prediction costs the whole vocabulary: this world has a few
# hundred words, a language has a million. Negative sampling gets as far with six products. CBOW is level with skip-gram, with
# the true gradient and with the program's, once each has a learning rate of its own (the program's, half as high). Hierarchical
# softmax gives a true probability of every word for little more, and pays with analogies; its curve has gone flat, so it is not for want
# of passes. Its vectors are never compared with those of words, only with those of nodes: of crowds that have nothing in common but
# their frequency.
#
# Two explorers. Where you run this yourself, menus let you choose words and model; on a page you see one example of each. First
# the nearest neighbours of a word:

# %%
menu, v = sorted(world_words.words), {method: WordVectors(world_words.words, trained[method, 1].unit) for method in methods}
show.explore(lambda word="paris", model="skip-gram NS": neighbours(v[model], word, 8).frame().round(3), word=menu, model=list(v))

# %% [markdown]
# **What to notice.** The neighbours of a word are those that could stand in its place: other capitals, not *france*, although
# *paris* and *france* meet in one sentence after another. Being alike and going together are two things.
#
# Then the words nearest to $v_b - v_a + v_c$, where *a* is to *b* as *c* is to the answer:

# %%
show.explore(
    lambda a="france", b="paris", c="japan", by="skip-gram NS": neighbours(v[by], v[by][b] - v[by][a] + v[by][c], 6).frame().round(3),
    **dict.fromkeys("abc", menu) | {"by": list(v)},
)

# %% [markdown]
# **What to notice.** The words of the question may be among the nearest, which is why they are never taken as an answer. Why does
# subtracting work at all? If *paris* = *capital* + *french things* and *france* = *country* + *french things*, the difference is
# *capital* − *country*, the same for all. On a map, the lines from each country to its capital should be parallel:

# %%
lands, capitals = zip(*dict.fromkeys(question[:2] for question in questions["capital"]), strict=True)
plane = figures.word_plane(trained["skip-gram NS", 1], {"country": lands, "capital": capitals})
plane_axes = {"hue": "group", "xlabel": "first principal component", "ylabel": "second principal component"}
run.figure("world_map", figures.word_map(plane, pairs=list(zip(lands, capitals, strict=True)), **plane_axes))

# %% [markdown]
# **What to notice.** A map keeps two of some dozen dimensions, and chosen as those in which these words differ most, which is the
# step from countries to capitals. Would a wrong pairing look any different? Put `np.roll(capitals, 1)` in place of `capitals`, and
# look again. The score is the evidence, the map only an illustration.
#
# ## 9 · What do the wrong forms do?
#
# word2vec is often printed as something else. Three such forms are trained here as they stand: on the same text, with the same
# seeds, each with the settings of a right form beside it.
#
# **CBOW and the centre.** Some texts say that CBOW is given "a centre word and its context", and puts out the centre word. Then
# the answer stands in the question:
#
# $$h = \frac{1}{n + 1} \Bigl(v_o + \sum_{j=1}^{n} v_{c_j}\Bigr), \qquad p(o \mid h) = \mathrm{softmax}(U h)_o, \qquad
# h \in \mathbb{R}^D,\ U \in \mathbb{R}^{V \times D} .$$
#
# **One table.** Others write $\mathrm{softmax}(W x)$ with $x$ "the word vector", and no other table: the rows of $W$ are then
# the vectors of both sides, $p(o \mid c) \propto \exp(v_o^\top v_c)$.
#
# **A recurrence.** Others again give word2vec a hidden state. That is a recurrent network (Elman's; notebook 05), which predicts the
# next word from those before it, here up to the beginning of the sentence:
#
# $$h_t = \sigma(v_{w_t} + B\, h_{t-1}), \qquad p(w_{t+1} \mid h_t) = \mathrm{softmax}(U h_t)_{w_{t+1}}, \qquad
# h_t \in \mathbb{R}^D,\ B \in \mathbb{R}^{D \times D} .$$
#
# word2vec has no recurrence and no hidden layer: its input meets its output in a product, and that is all. The three losses, in one
# function, for the blocks of section 7, and the descent on them:


# %%
def wrong_loss(form, config, tables, params, drawn, i, mean=True):
    """-log p of the words of a block's span that are targets, from each centre's input x, at step i of a drawn chunk."""
    _, tokens_NS, left_NB, right_NB = windows.spans_of(config, drawn, i)
    inside_NSB, inner = windows.band(config, left_NB, right_NB), slice(config.window, -config.window)
    centre_SB, next_SB = (np.eye(*inside_NSB.shape[1:], -config.window - ahead, dtype=bool) for ahead in (0, 1))
    v_NSD, u_VD = params["input"][tokens_NS], params["output"]
    if form == "CBOW and centre":
        given_NSB, target_NSB = inside_NSB | centre_SB, centre_SB & inside_NSB.any(axis=1, keepdims=True)
        x_NBD = jnp.einsum("nsb,nsd->nbd", given_NSB, v_NSD) / given_NSB.sum(axis=1)[:, :, None]
    elif form == "one table":
        x_NBD, target_NSB, u_VD = v_NSD[:, inner], windows.window_weights(config, left_NB, right_NB), params["input"]
    else:  # along the block; where nothing stands to the left, a sentence begins, and with it h = 0
        target_NSB, start_ND = next_SB & (right_NB > 0)[:, None], jnp.zeros_like(v_NSD[:, 0])
        along = jnp.swapaxes(v_NSD[:, inner], 0, 1), jnp.swapaxes(left_NB > 0, 0, 1)[:, :, None]
        _, h_BND = jax.lax.scan(lambda h, at: ((new := jax.nn.sigmoid(at[0] + at[1] * h @ params["b"])), new), start_ND, along)
        x_NBD = jnp.swapaxes(h_BND, 0, 1)
    log_p_NBS = jnp.take_along_axis(jax.nn.log_softmax(x_NBD @ u_VD.T), jnp.maximum(tokens_NS, 0)[:, None], axis=2)
    return -(jnp.swapaxes(target_NSB, 1, 2) * log_p_NBS).sum() / (jnp.maximum(target_NSB.sum(), 1) if mean else 1)


# %%
def wrong_update(form, config, tables, params, drawn, i, rate):
    """Descent with the rates of the right form; the matrix of the recurrence moves by the mean over the words of a step."""
    gradient = jax.grad(lambda p: wrong_loss(form, config, tables, p, drawn, i, mean=False))(params)
    share = tables["share"] | {"b": jnp.full(config.dimension, 1 / (config.block * config.blocks))}
    return {name: table - rate * share[name][:, None] * gradient[name] for name, table in params.items()}


twins = {"CBOW and centre": "CBOW softmax", "one table": "skip-gram softmax", "recurrence": "CBOW softmax"}
for form, twin in twins.items():
    config, counts = methods[twin][1], world_words.counts
    method = windows.Method("input", softmax.draw, partial(wrong_update, form), partial(wrong_loss, form))
    step = partial(windows.train_chunk, method, config, softmax.sampling_tables(config, counts), config.epochs * len(world_batches))
    init = partial(softmax.init_params, config, len(counts))
    train(form, config, step, lambda key, init=init: windows.initial_state(init(key) | {"b": jnp.zeros((48, 48))}), softmax.input_vectors)

# %% [markdown]
# Beside the share of analogies stands what the model says of a word when it is given nothing but that word: how likely is it that the
# word stands *beside itself* (in its own place, that is, for the two that are CBOW's)? In a text, it hardly ever does.

# %%
from lmlib.record.claims import benchmark, mean_sd

curves = pd.DataFrame(history)[lambda table: table["method"].isin([*twins, *twins.values()])]
last = curves.groupby(["method", "seed"], sort=False).tail(1).reset_index(drop=True)
for row, name, seed in last[["method", "seed"]].itertuples():
    x_VD, u_VD = (ends[name, seed][table] for table in ("input", "input" if name == "one table" else "output"))
    last.loc[row, "itself"] = float(jax.nn.softmax((sigmoid(x_VD) if name == "recurrence" else x_VD) @ u_VD.T).diagonal().mean())
score_tables(run, "wrong_forms", {s: rows.drop(columns="seed") for s, rows in last.groupby("seed")}, "method", "accuracy", corpus=world)
last.groupby("method", sort=False)[["loss", "itself", "accuracy"]].agg(mean_sd)

# %%
axes = {"x": "passes", "y": "accuracy", "hue": "method", "xlabel": "passes over the text", "ylabel": f"analogies answered\n{over}"}
run.figure("wrong_forms", figures.curve(curves, ax=figures.new_axes(6.4, 3.4), **axes))

# %% [markdown]
# **What to notice.** *CBOW and the centre* has learnt to copy: given a word, it names that word with near certainty. Its loss is
# lower than that of CBOW, which does not know the answer, and its vectors are worth little: a pair that is already told right
# moves nothing any more (section 3), so the neighbours have nothing left to say. A low loss is no evidence where the answer stands
# in the question.
#
# *One table* learns later and gets nearly as far, so this score alone would not give it away. The loss does, and what it says of a word
# beside itself: $v_w^\top v_w$ is a square, and a model that must have it positive puts words next to themselves where the text does not.
#
# *The recurrence* is a sound model of something else. It learns what comes next, so words are alike if the same words *follow* them;
# what stands before a word, which is half of what skip-gram learns from, leaves little trace in its vector. (Its curve still rises, and
# longer training would raise it further. Losses may be compared within a pair of forms that predict the same thing, not with that of
# the recurrence; they are of one step's words, hence the spread.)
# More such forms, and what each does, are in notebook 19.
#
# ## 10 · What can it not do?
#
# **Opposites look alike.** Words that fill the same places get the same vectors, whether they mean the same or the contrary.
# **Order is lost.** A window knows no left and right: a sentence and its mirror image give the same pairs. **One vector a
# word.** The *bank* of a river and the *bank* that lends share a row, somewhere between their uses. And the vectors say what
# the text *says*, its prejudices included: they know nothing else.

# %%
for a, b in (("wonderful", "marvellous"), ("wonderful", "horrible"), ("good", "bad")):
    both = [trained["skip-gram NS", seed].unit[[world_words.index[a], world_words.index[b]]] for seed in seeds]
    print(f"cosine of {a} and {b}: {mean_sd([float(np.dot(*pair)) for pair in both])}")

# %% [markdown]
# **A word is not a meaning.** *New York* is no *york* that is *new*. Before training, pairs of words that stand together more often
# than their counts explain may be joined to one word (`new_york`); a second pass joins longer ones. The score of word2phrase, the
# program beside word2vec, for a text of $N$ words, with a discount $\delta$ that keeps rare pairs out:
#
# $$\mathrm{score}(a, b) = \frac{n_{ab} - \delta}{n_a\, n_b}\, N .$$
#
# By hand on a text of eight letters, then on the natural text, for pairs that occur at least 25 times, those of the highest score first:

# %%
from lmlib.text.phrases import find_phrases

assert_allclose(find_phrases([list("abxabyab")], threshold=0, delta=1, min_count=2)["a", "b"], (3 - 1) / (3 * 3) * 8)
phrases = find_phrases(map(words.split, list(natural.documents())[: 6_000 if profile == "smoke" else None]), min_count=25)
print(f"{len(phrases):,} phrases:", ", ".join("_".join(pair) for pair in list(phrases)[:24]))

# %% [markdown]
# ## 11 · And on natural text?
#
# The same program for skip-gram with negative sampling. Nothing is known here but what people say: in `real`, the vectors are
# compared with human judgements of how similar two words are (WordSim-353, SimLex-999, RG-65; Spearman's correlation of the
# ranks) and answer the analogies of Mikolov et al., from the 30,000 most frequent words. Words that the vocabulary lacks are
# counted: a score says nothing without the share that it covers. (Elsewhere there is nothing to score, so one seed is trained.) These
# are the numbers of this notebook's own runs, as many as the column `seeds` says; all methods of the family side by side, in 100 and 300
# dimensions, are in notebook 04 and in `results/`.

# %%
final, batches, wikipedia = {}, CorpusChunks(tokens, 1 << (20 if rich else 15)), natural.name == "enwiki-2018-slice"
step, steps = word2vec.make_step(natural_config, words.counts, len(batches)), natural_config.epochs * len(batches)
for seed in seeds if rich else seeds[:1]:
    init_key, key = jax.random.split(jax.random.key(seed))
    for state, metrics in fit(step, word2vec.init_state(natural_config, len(words.words), init_key), batches, key=key, steps=steps):
        run.log({"text": natural.name, "seed": seed, "step": int(state["step"]), "loss": float(metrics["loss"][0])})
    final[seed] = WordVectors(words.words, word2vec.input_vectors(natural_config, state["params"]), words.counts)

# %%
if wikipedia:
    sets = {name: similarity_set(name) for name in ("ws353", "simlex999", "rg65")}
    judged = {seed: pd.concat([similarity(v, sets[s]).frame().assign(set=s) for s in sets]) for seed, v in final.items()}
    answered = {seed: analogies(v, analogy_questions()).frame() for seed, v in final.items()}
    display(score_tables(run, "similarity", judged, "set", "spearman", beside=["covered", "n"]).round(3))
    display(score_tables(run, "analogies", answered, "category", "accuracy", beside=["covered", "total"]).round(3))

# %% [markdown]
# **What to notice.** `covered` says how many items the score is from. Natural text gives lower scores than the small world, and
# no line of best possible values is known: people themselves agree only so far.
#
# The neighbours of words that nobody chose for their beauty, those of rank 301, 351 and so on:

# %%
near = neighbours(final[1], words.words[300:700:50], k=6).frame()
run.table("natural_neighbours", near, tolerance={"word": None, "cosine": None}, corpus=natural)
near.pivot(index="query", columns="rank", values="word")

# %% [markdown]
# A map. On Wikipedia, its words were chosen by hand because they are likely to form groups: that is what most printed maps are. On
# any other text nobody chose: they are the words of rank 101 to 130, and form the groups that they form.

# %%
by_hand = "france paris germany berlin japan tokyo|physics chemistry biology|guitar piano violin|may june july"
groups = {f"{g.split()[0]} …": g.split() for g in by_hand.split("|")} if wikipedia else {"rank 101 to 130": words.words[100:130]}
run.figure("natural_map", figures.word_map(figures.word_plane(final[1], groups), **plane_axes))

# %% [markdown]
# **Beside gensim.** `make bench BENCH=word2vec` trains these programs and gensim in turn on the same text, the same cores and
# three seeds or more, and writes what came out:

# %%
benchmark("../results", "word2vec")  # an empty table where it was not run

# %% [markdown]
# ## Summary
#
# - A word is a row of a table, and nearness is a cosine. word2vec has two tables, one for words that predict, one for words that are
#   predicted.
# - Skip-gram predicts the words around a centre, CBOW the centre from the mean of the words around it, and never from itself. Near
#   words count more than far ones, by a radius that is drawn or by its expectation; frequent words are thinned out *before* the
#   windows are made.
# - A prediction may cost the whole vocabulary (full softmax), a dozen questions of a tree (hierarchical softmax), or a few yes-or-no
#   questions about words that were made up (negative sampling). Left to itself, the last fits the pointwise mutual
#   information of words, less log k.
# - Pairs of neighbours are a band, and a band is a matrix product. Sharing noise is unbiased; summing many updates of one stale
#   row overshoots, unless its rate falls with their number.
# - A low loss proves nothing if the answer stands in the question. Where the truth is known, the vectors find it. Elsewhere a score
#   needs its coverage, its seeds and its chance level beside it, and a map is no evidence.
#
# ## References
#
# - Mikolov, Chen, Corrado, Dean 2013a, *Efficient Estimation of Word Representations in Vector Space*,
#   [arXiv 1301.3781](https://arxiv.org/abs/1301.3781): skip-gram, CBOW, the analogies.
# - Mikolov, Sutskever, Chen, Corrado, Dean 2013b, *Distributed Representations of Words and Phrases and their Compositionality*,
#   [arXiv 1310.4546](https://arxiv.org/abs/1310.4546): negative sampling, hierarchical softmax, subsampling, phrases.
# - Morin, Bengio 2005, *Hierarchical Probabilistic Neural Network Language Model* (AISTATS); Huffman 1952, *A Method for the
#   Construction of Minimum-Redundancy Codes*.
# - İrsoy, Benton, Stratos 2021, *Corrected CBOW Performs as well as Skip-gram*,
#   [arXiv 2012.15332](https://arxiv.org/abs/2012.15332): the missing 1/n.
# - Levy, Goldberg 2014, *Neural Word Embedding as Implicit Matrix Factorization* (NIPS): what negative sampling fits.
# - Levy, Goldberg 2014, *Linguistic Regularities in Sparse and Explicit Word Representations* (CoNLL): 3CosAdd and 3CosMul.
# - Finkelstein et al. 2002 (WordSim-353); Hill, Reichart, Korhonen 2015 (SimLex-999); Rubenstein, Goodenough 1965 (RG-65).
#
# This page was made with:

# %%
run.close()
{name: value for name, value in runtime.machine().items() if name in ("device", "processor", "reproducible", "versions")}

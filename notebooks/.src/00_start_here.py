# %% [markdown]
# # 00 · Start here
#
# This book builds the classics of language modelling in [JAX](https://docs.jax.dev), from counting words to Transformers, and
# measures each of them against the truth. This first notebook hands you the five things that all the others take for granted:
# which **device** you are on, pure functions and **jit**, random **keys**, array names that carry their **shape**, and a
# **training run** that can be stopped and goes on as if nothing had happened. They come together in a first language model. It
# trains in seconds, on a text about which everything is known, so that we can say exactly how far it is from the best model that
# there can be.
#
# **How to read.** A section asks a question and answers it four times: as an equation, by hand on a few numbers, by the library
# (with an assertion that both agree), and as a figure or a table. You can read the page as it stands; to run and change it, type
# `make lab` in the folder of the project. Exercises check your answer and say what is wrong with it; solutions are in
# `notebooks/solutions/`.
#
# The next cell holds what you may change. Profile `quick` made this page; `smoke` takes seconds and is for tests; `real` trains
# ten times as long, with more seeds.

# %% tags=["parameters"]
profile = "quick"

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

machine = runtime.machine()
print(f"profile {profile}, device {machine['device']}, reproducible mode {machine['reproducible']}")

# %% [markdown]
# Other things are imported where they are first used, except for what every section needs. And what this notebook measures goes
# into a *run folder*, together with its settings and seeds, so that somebody else can run it again and compare.

# %%
import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from lmlib.record import figures, show
from lmlib.record.claims import mean_sd
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.text.corpora import open_corpus

# %%
steps = {"smoke": 40, "quick": 400}.get(profile, 4000)
seeds = range(3 if steps < 4000 else 5)
settings = {"steps": steps, "d_model": 32, "learning_rate": 0.02, "batch_size": 64, "length": 32}
train, test = open_corpus("world"), open_corpus("world", "test")
run = notebook_run("00_start_here", profile, parameters=settings, seeds=seeds, corpus=[train, test])

# %% [markdown]
# ## 1 · Which machine am I on?
#
# JAX runs the same program on a CPU, a GPU or a TPU, and takes the best that it finds. No line of this book asks which one it is.
# What differs between machines is the last digits of a result, because on a computer the order of a sum counts: on paper $(a + b)
# + c = a + (b + c)$, but every floating-point sum is rounded. With three numbers:

# %%
a, b, c = np.float32([1e8, -1e8, 1.0])
print(f"(a + b) + c = {(a + b) + c}    a + (b + c) = {a + (b + c)}")

# %% [markdown]
# **What to notice.** One answer is wrong, and nobody made a mistake: next to 10⁸ a `float32` has no room for the 1. A processor
# with eight cores cuts a long sum into other pieces than one with two, so the same program may give other digits on another
# machine, and training amplifies them. In *reproducible mode* the pieces are the same whatever the number of cores. `make
# reproduce` turns it on (`LMLIB_REPRODUCIBLE=1`), as does everything whose numbers are recorded. In your own session you may
# leave it off and let jax use the cores as it likes.

# %% [markdown]
# ## 2 · What does `jit` do to a function?
#
# A language model ends in a distribution over its vocabulary of $V$ words. It is made of $V$ arbitrary numbers $z \in
# \mathbb{R}^V$, the *logits*, by the softmax:
#
# $$p_i = \frac{e^{z_i}}{\sum_{j=1}^{V} e^{z_j}}, \qquad p \in \mathbb{R}^V, \quad p_i > 0, \quad \sum_{i=1}^{V} p_i = 1.$$
#
# By hand on three tokens, and by the library, which gives the logarithm of $p_i$ for the tokens one asks for:

# %%
from lmlib.models.base import token_logp

z_V = np.array([2.0, 1.0, 0.0])
by_hand_V = np.exp(z_V) / np.exp(z_V).sum()
log_p_BL = token_logp(jnp.tile(z_V, (1, 3, 1)), jnp.array([[0, 1, 2]]))
assert_allclose(by_hand_V, np.exp(log_p_BL[0]), rtol=1e-6)
print(by_hand_V.round(3))

# %% [markdown]
# `jax.jit` compiles a function. At the first call jax runs the Python code once, with placeholders that have a shape but no
# numbers (this is called *tracing*), notes what is to be computed, and compiles that for the device. Python is not asked again
# until an array of another shape or type comes along. A `print` inside the function gives it away:


# %%
@jax.jit
def softmax(z_V):
    print("   Python runs, for an array of shape", z_V.shape)
    return jnp.exp(z_V) / jnp.exp(z_V).sum()


for z in ([2.0, 1.0, 0.0], [0.0, 1.0, 5.0], [2.0, 1.0, 0.0, 0.0]):
    print("softmax of", z)
    softmax(jnp.array(z))

# %% [markdown]
# **What to notice.** The second call ran no Python at all. The third did, because four numbers need another program than three.
# Two rules follow. Keep the number of different shapes small: this is why notebook 01 pads sentences to a few fixed lengths. And
# write *pure* functions, whose result depends on their arguments alone: what else they read, they read once, while tracing, and
# it is frozen into the program.
#
# ### Exercise 1
#
# `temperature` is a global variable. What will the two lines print? Then give `cool`, a compiled function that does depend on the
# temperature.

# %%
temperature = 1.0
frozen = jax.jit(lambda z: z / temperature)
print("temperature 1:", frozen(6.0))
temperature = 2.0
print("temperature 2:", frozen(6.0))

cool = None  # your answer: a function of z and temperature
check(
    cool,
    (lambda f: hasattr(f, "lower"), "wrap it in jax.jit"),
    (lambda f: (f(6.0, 1.0), f(6.0, 2.0)) == (6, 3), "make the temperature an argument"),
)

# %% [markdown]
# ## 3 · Where does chance come from?
#
# A function that draws another number at each call is not pure. So in JAX chance is an argument, a *key*: one key always gives
# the same numbers, and new numbers take a new key. A training run has a single key $k$, and step $t$ uses one that is made from
# the two:
#
# $$k_t = \mathrm{fold}(k, t), \qquad u_t \sim \mathrm{Uniform}(0, 1 \mid k_t).$$
#
# In jax the function is called `fold_in`. What a step draws then depends on its number alone, not on how the run came there. Our
# toy run has eight steps, each of which draws one number $u_t$. The first row of the figure goes straight through. The second is
# stopped after step 3 and resumed, knowing nothing but $k$ and the number 4. The third has another seed, and the fourth makes the
# classic mistake.

# %%
draw_at = jax.vmap(lambda k, t: jax.random.uniform(jax.random.fold_in(k, t)), in_axes=(None, 0))
k, t = jax.random.key(0), np.arange(8)
rows = {
    "straight through": draw_at(k, t),
    "stopped, resumed": np.concatenate([draw_at(k, t[:4]), draw_at(k, t[4:])]),
    "another seed": draw_at(jax.random.key(1), t),
    "without fold_in": np.repeat(jax.random.uniform(k), 8),
}
assert_allclose(rows["straight through"], rows["stopped, resumed"], rtol=0)
drawn = pd.DataFrame(rows).T
ax = figures.heatmap(drawn, xlabel="step $t$", colourbar="$u_t$", text=drawn.map("{:.2f}".format))
run.figure("keys", ax)

# %% [markdown]
# **What to notice.** The first two rows are equal to the last bit: the run that was stopped draws what it would have drawn. The
# last row uses the run's own key, eight times over. Each of its numbers looks fine, and they are all one number: dropout with
# such a key would switch off the same units at every step.
#
# ### Exercise 2
#
# A step needs two draws, one for dropout and one for noise. Give `two`, a function of a key and a step that returns two
# *different* uniform numbers, the same ones whenever it is called with the same arguments. (`jax.random.split(key)` makes two
# keys of one.)

# %%
two = None  # your answer
check(
    two,
    (lambda f: len(set(map(float, f(k, 0)))) == 2, "the two are equal: one key was used twice"),
    (lambda f: f(k, 0)[0] != f(k, 1)[0], "steps 0 and 1 draw the same number: fold the step in"),
    (lambda f: f(k, 5)[0] == f(k, 5)[0], "two calls with the same arguments differ"),
)

# %% [markdown]
# ## 4 · What does the name of an array say?
#
# Most errors in a model are errors of shape, and many of them raise nothing, because arrays of different shapes *broadcast*. So
# our names carry their axes: `x_BLD` has three, $B$ sequences in the batch, $L$ tokens in each, $D$ numbers for a token. The
# first model of the book reads
#
# $$p(x_t \mid x_{t-1}) = \mathrm{softmax}\big(e_{x_{t-1}} W + b\big),
# \qquad E \in \mathbb{R}^{V \times D}, \quad W \in \mathbb{R}^{D \times V}, \quad b \in \mathbb{R}^V.$$
#
# Each word $x$ owns a vector $e_x \in \mathbb{R}^D$, a row of $E$, and the next word is guessed from the vector of the last one
# alone. This is a neural *bigram* model, the smallest case of the one with which Bengio et al. (2003) began. By hand, on two
# sentences of three tokens, with a vocabulary of three words:

# %%
from flax import nnx

from lmlib.models.bigram import Bigram, BigramConfig

tiny = Bigram(BigramConfig(vocab_size=3, d_model=2), rngs=nnx.Rngs(0))
E_VD, W_DV = np.asarray(tiny.embed.embedding[...]), np.asarray(tiny.out.kernel[...])
b_V = np.asarray(tiny.out.bias[...])
x_BL = np.array([[0, 1, 2], [2, 2, 1]])
by_hand_BLV = np.zeros((2, 3, 3))
for i in range(2):
    for j in range(3):
        e_D = E_VD[x_BL[i, j]]
        by_hand_BLV[i, j] = e_D @ W_DV + b_V
logits_BLV, _ = tiny.forward(x_BL)
assert_allclose(by_hand_BLV, logits_BLV, atol=1e-6)

# %% [markdown]
# **What to notice.** Both loops are one product, `E_VD[x_BL] @ W_DV + b_V`. Its letters can be read like units in physics: the
# ids of `BL` pick rows of width `D`, which makes `BLD`; the product turns `D` into `V`. A line like `e_D @ E_VD` would be wrong
# on sight.
#
# One habit of jax must be known here. On a device an index out of range is no error: jax takes another row, in silence. That is
# why every door of this library checks the ids that come in:

# %%
from lmlib.errors import VocabularyError, check_ids

print("row 7 of an array of three:", jnp.array([10, 20, 30])[7])
try:
    check_ids(np.array([[0, 7]]), vocab_size=3, name="x_BL")
except VocabularyError as error:
    print("VocabularyError:", error)

# %% [markdown]
# ## 5 · How good can a model be?
#
# Of most texts nobody knows. So this book has one of its own, the *small world*: sentences of a grammar whose probabilities are
# known exactly (notebook 01 looks inside). What the grammar can say, it can also weigh:

# %%
from lmlib.text.world import END, World

world = World()
for sentence in world.sample(5):
    print(f"{sentence:44} 1 in {math.exp(-world.log_prob(sentence)):>7,.0f}")
print(f"{world.support:,} different sentences of {len(world.words)} words")

# %% [markdown]
# The *cross-entropy* of a model is the number of bits that it spends on a token of the source, on average. No model spends less
# than the *entropy* of the source. And no **bigram** spends less than the entropy of a word given the word before it,
#
# $$H(x_t \mid x_{t-1}) = - \sum_{i=1}^{V} \sum_{j=1}^{V} p_{ij} \log_2 \frac{p_{ij}}{p_i},
# \qquad p_i = \sum_{j=1}^{V} p_{ij}, \qquad P = (p_{ij}) \in \mathbb{R}^{V \times V},$$
#
# where $p_{ij}$ is the share of the places at which word $j$ follows word $i$. By hand, on the text *a b a a c*, which has four
# such places:

# %%
from collections import Counter
from itertools import pairwise

from lmlib.measure.perplexity import bigram_entropy

text = ["a", "b", "a", "a", "c"]
pairs, firsts = Counter(pairwise(text)), Counter(text[:-1])
by_hand = -sum(n / 4 * math.log2(n / firsts[first]) for (first, _), n in pairs.items())
ids = np.array([ord(letter) for letter in text])
assert_allclose(by_hand, bigram_entropy(ids[:-1], ids[1:]))
print(f"{by_hand:.3f} bits: log2(3) at the three places after a, 0 at the one after b")

# %% [markdown]
# Now for the world. It has so few sentences that we can go through all of them, each with its probability, and so get $P$ itself
# instead of an estimate. The token `</s>` marks the end of a sentence (and, since sentences follow one another, the beginning of
# the next); it counts as a word.

# %%
from lmlib.text.tokenizers import WordTokenizer

tokenizer = WordTokenizer.train(train.documents(), unk=None, specials=(END,))
index = {word: i for i, word in enumerate(tokenizer.tokens)}
V = tokenizer.vocab_size
P_VV = np.zeros((V, V))
for sentence, p in world.enumerate():
    for first, second in pairwise([END, *sentence.split(), END]):
        P_VV[index[first], index[second]] += p / world.mean_length
p_V = P_VV.sum(1)
best_VV = np.log2(P_VV / p_V[:, None], out=np.full((V, V), -np.inf), where=P_VV > 0)

# %%
limits = {
    "nothing: all words are equally likely": math.log2(V),
    "how frequent each word is": -p_V @ np.log2(p_V),
    "the last word (the best bigram)": -(P_VV[P_VV > 0] @ best_VV[P_VV > 0]),
    "everything (the source itself)": world.entropy_per_token / math.log(2),
}
limits = pd.DataFrame({"what a model knows": limits.keys(), "bits per token": limits.values()})
run.table("limits", limits)
limits.round(3)

# %% [markdown]
# **What to notice.** Nothing has been trained, and we know the marks by which every model of this book will be judged. A bigram
# that learns well arrives at the third number. To the fourth no bigram comes: what lies between is the worth of looking further
# back than one word, and the subject of most of this book.

# %% [markdown]
# ## 6 · How does a model learn?
#
# It takes a batch of text, looks how much each word surprises it, and moves its parameters $\theta = (E, W, b)$ so that the
# surprise becomes a little smaller:
#
# $$\mathcal{L}(\theta) = - \frac{1}{BL} \sum_{i=1}^{B} \sum_{t=1}^{L} \ln q_\theta(y_{it} \mid x_{it}),
# \qquad \theta \leftarrow \theta - \eta \, \nabla_\theta \mathcal{L}, \qquad x, y \in \{0, \dots, V-1\}^{B \times L},$$
#
# where $y_{it}$, the target, is the word after $x_{it}$, and $\eta$ is the learning rate. For the tiny model of section 4 we can
# do a part of it by hand. The gradient of $b$ is what the model expects less what came: the mean of $q$, less the share of each
# word among the targets. jax derives the same from the loss alone.

# %%
from lmlib.learn.losses import next_token_loss
from lmlib.models.base import compiled, merge, split

y_BL = np.array([[1, 2, 0], [2, 1, 0]])
q_BLV = np.exp(by_hand_BLV) / np.exp(by_hand_BLV).sum(-1, keepdims=True)
by_hand_V = (q_BLV - np.eye(3)[y_BL]).mean((0, 1))
definition, params = split(tiny)
slope = jax.grad(next_token_loss(definition), has_aux=True)
gradient, _ = slope(params, None, {"tokens": x_BL, "targets": y_BL}, k)
assert_allclose(by_hand_V, gradient["out"]["bias"], atol=1e-6)

# %% [markdown]
# `split` cuts a model in two: its definition, which never changes, and its parameters, a plain dict of arrays; `merge` puts them
# together again. What happens to the parameters is up to pure functions. `train_step(state, batch, key)` makes a step of Adam, a
# refinement of the rule above, and `fit` makes many, twenty in each compiled call here, and hands us the state after each call.
# What we do with it is our business: here, we compute the **exact** cross-entropy of the model on the source, $-\sum_{ij} p_{ij}
# \log_2 q_{ij}$. Usually it has to be estimated on some test text. We know $P$, and so there is no luck in these numbers.

# %%
import optax

from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.text.batches import LanguageModelWindows, PaddedBatches, write_tokens

config = BigramConfig(V, settings["d_model"], bos=index[END], eos=index[END])
definition, _ = split(Bigram(config, rngs=nnx.Rngs(0)))
optimizer = optax.adam(optax.linear_schedule(settings["learning_rate"], 0, steps))
train_step = make_train_step(next_token_loss(definition), optimizer)
store = write_tokens(train.documents(), tokenizer, after=END)  # all sentences in one line of ids


# %%
def cross_entropy(model, P_VV):
    """Bits per token of a bigram on a text in which P_VV are the shares of pairs."""
    logits_1VV, _ = model.forward(jnp.arange(model.vocab_size)[None])
    return -float((P_VV * jax.nn.log_softmax(logits_1VV[0])).sum()) / math.log(2)


points, models = [], {}
for seed in seeds:
    models[seed] = Bigram(config, rngs=nnx.Rngs(seed))
    batches = LanguageModelWindows(store, settings["batch_size"], settings["length"], seed)
    start = init_train_state(split(models[seed])[1], optimizer)
    points.append({"seed": seed, "step": 0, "bits": cross_entropy(models[seed], P_VV)})
    for state, _ in fit(train_step, start, batches, key=k, steps=steps, steps_per_call=20):
        models[seed] = merge(definition, jax.device_get(state["params"]))
        bits = cross_entropy(models[seed], P_VV)
        points.append({"seed": seed, "step": int(state["step"]), "bits": bits})
        run.log(points[-1])

# %% [markdown]
# How does the loss fall, and where does it stop?

# %%
best, source = limits["bits per token"][2:]
points = pd.DataFrame(points).assign(model="bigram")
ax = figures.curve(points, y="bits", optimum=source, optimum_label="entropy of the source", hue="model")
ax.axhline(best, color="black", linestyle=":", label="best bigram")
ax.set(ylim=(0, None), ylabel=f"bits per token (mean of {len(seeds)} seeds)")
ax.legend(frameon=False)
run.figure("learning-curve", ax)

# %% [markdown]
# **What to notice.** The curve falls to the dotted line, and no further: no training, no data and no size would bring a bigram to
# the dashed line. (A band shows one standard deviation over the seeds. It is narrower than the line.)
#
# How near is near? A *test text* should tell, one that the model has not seen. Two perfect models beside it tell what the test
# itself is worth: the best bigram, read off $P$, and the source.

# %%
from lmlib.measure.perplexity import perplexity

unseen = write_tokens(test.documents(), tokenizer, after=END)
padded, rows = list(PaddedBatches(unseen, batch_size=500)), []
for seed, model in models.items():
    tested = perplexity(model, padded)
    rows.append(("bigram", seed, cross_entropy(model, P_VV), tested.bits_per_token))
best_tested = -best_VV[np.r_[index[END], unseen.ids[:-1]], unseen.ids].mean()
source_tested = -sum(map(world.log_prob, test.documents())) / math.log(2) / tested.tokens
rows += [("best bigram", None, best, best_tested), ("source itself", None, source, source_tested)]
scores = pd.DataFrame(rows, columns=["model", "seed", "exact", "test text"])
by_model = scores.drop(columns="seed").groupby("model", sort=False)
by_model.agg(lambda x: mean_sd(x) if len(x) > 1 else f"{x.iloc[0]:.4f}")

# %% [markdown]
# **What to notice.** On the test text every model, even the source itself, needs fewer bits than it does on the source: this
# sample happens to be a little easier than the average. A test score by itself cannot tell luck from skill. Set against the exact
# limit, it would make our bigram look better than it is. The difference between two models on one and the same text has no such
# fault, and is nearly the same in both columns. So our measure from here on is the distance from the best model that there can
# be, the **excess bits**:

# %%
excess = scores.exact[scores.model == "bigram"] - best
tolerance = dict.fromkeys(("exact", "test text"), max(0.005, 4 * float(excess.std())))
run.table("scores", scores, tolerance=tolerance)
run.claim("bigram.excess-bits", excess, unit="excess bits per token", better="low")
print(f"our bigram is {mean_sd(excess)} bits per token above the best bigram,")
print(f"and the best bigram is {best - source:.3f} bits per token above the source")

# %%
points = points.assign(excess=points.bits - best)
ax = figures.curve(points, y="excess", hue="model", ylabel="excess bits per token")
ax.set_yscale("log")
run.figure("excess", ax)

# %% [markdown]
# **What to notice.** On a logarithmic axis the flat part of the curve is not flat at all. Most of the steps went into the last
# tenth of a bit. And the training ended because we ended it, by a learning rate that falls to zero, not because the limit was
# reached. Which picture is the right one depends on the question: the first shows how far a bigram is from the source, the second
# how far ours is from a perfect bigram.
#
# ### Exercise 3
#
# A word is described by $D = 32$ numbers here, though there are many more words. How many does this world need? Train with
# `d_model` 1, 2, 4, … and give the smallest of these with an excess below 0.2 bits per token.

# %%
smallest = None  # your answer
check(
    smallest,
    (lambda d: d >= 8, "with so few numbers for a word, the excess stays above 0.2 bits"),
    (lambda d: d <= 8, "half as many will do, too"),
)

# %% [markdown]
# ## 7 · What has it learnt?
#
# A bigram is a table: for each word, a distribution over the next one. We know the true table, so that the two can stand side by
# side.


# %%
def next_word(word="is"):
    """The most probable words after `word`: what the models say, and what is true."""
    truth_V = 2 ** best_VV[index[word]]
    top = np.argsort(-truth_V, kind="stable")[:9]
    logits = [model.step({}, jnp.array([index[word]]))[1][0] for model in models.values()]
    rows = [(tokenizer.tokens[i], float(jax.nn.softmax(z_V)[i])) for i in top for z_V in logits]
    data = pd.DataFrame(rows, columns=[f"word after “{word}”", "probability"]).assign(model="bigram")
    ax = figures.bars(data, *data.columns, ax=figures.new_axes(6, 3.4))
    ax.plot(range(9), truth_V[top], "_k", markersize=26, label="truth")
    ax.legend(frameon=False)
    ax.tick_params(axis="x", rotation=40)
    return ax


run.figure("next-word", next_word())

# %% [markdown]
# In a live notebook the next cell has a menu of words. On a page it shows the words with which a sentence begins.

# %%
show.explore(lambda word=END: next_word(word), word=[END, "is", "the", "of", "in", "and"])

# %% [markdown]
# **What to notice.** The bars come close to the black marks: not only the average came out right, the single probabilities did as
# well. The white dots are the seeds. How far they scatter says how little to make of the remaining differences.
#
# A sentence is drawn from that table word by word, from one `</s>` to the next. `step` is a method that every model of this book
# has: state and token in, new state and logits of the next token out. (The state of a bigram is empty.)


# %%
def draw(step, tokenizer, n, key, longest=20):
    """n texts, token by token after END until END comes again, or `longest` tokens."""
    end = tokenizer.special(END)
    state, token_B, drawn = {}, jnp.full(n, end), []
    for t in range(longest):
        state, logits_BV = step(state, token_B)
        token_B = jax.random.categorical(jax.random.fold_in(key, t), logits_BV)
        drawn.append(np.asarray(token_B))
    texts = [ids[: [*ids, end].index(end)] for ids in np.stack(drawn, 1)]
    return [tokenizer.decode(ids) for ids in texts]


for sentence in draw(compiled(models[0], "step"), tokenizer, 8, k):
    print("possible  " if world.log_prob(sentence) > -math.inf else "impossible", sentence)

# %% [markdown]
# Every pair of neighbours sounds right, and most sentences do not: halfway through, the model has forgotten how it began. Is it
# the fault of training? The best bigram, which draws from the true table, is the judge:

# %%
true_VV = jnp.asarray(best_VV * math.log(2), jnp.float32)
true_step = jax.jit(lambda state, token_B: (state, true_VV[token_B]))
n, rows = 100 if profile == "smoke" else 2000, []
for seed, model in models.items():
    for name, step in (("bigram", compiled(model, "step")), ("best bigram", true_step)):
        sentences = draw(step, tokenizer, n, jax.random.key(seed))
        share = np.mean([world.log_prob(sentence) > -math.inf for sentence in sentences])
        rows.append((name, seed, 100 * share))
possible = pd.DataFrame(rows, columns=["model", "seed", "possible"])
shares = possible.groupby("model", sort=False).possible
run.table("sentences", possible, tolerance={"possible": 3 * shares.std().max()})
shares.agg(mean_sd).rename("possible sentences, %").to_frame()

# %% [markdown]
# **What to notice.** Of the perfect bigram's sentences hardly more are possible than of ours. So it is not the training that
# fails, it is the form of the model: one can be as good as one's form allows, and no use as a writer. The notebooks to come
# change the form.

# %% [markdown]
# ## 8 · Can a run be stopped?
#
# Everything that training needs to go on is in the state: parameters, the optimiser's own memory, the number of the step. Step
# $t$ takes batch $t$ and the key made of $k$ and $t$, and both follow from the number $t$. So there is one test for a checkpoint
# that is worth its name: a run that is stopped, saved, read and resumed has to end, **bit for bit**, where an uninterrupted one
# ends.

# %%
import tempfile

from lmlib.config import to_dict
from lmlib.learn.checkpoint import Checkpoints

batches = LanguageModelWindows(store, settings["batch_size"], settings["length"], seed=0)
start = init_train_state(split(Bigram(config, rngs=nnx.Rngs(0)))[1], optimizer)
meta = {"config": to_dict(config), "tokenizer": tokenizer.digest, "corpus": train.sha256}
with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
    *_, (half, _) = fit(train_step, start, batches, key=k, steps=30, steps_per_call=10)
    checkpoints.save(half, meta)
    restored, _ = checkpoints.restore(like=start, meta=meta)  # an error if meta differs

# %% [markdown]
# Three runs to step 60: one that never stopped, one that resumes, and one that has kept its parameters and lost the memory of its
# optimiser.

# %%
forgetful = init_train_state(restored["params"], optimizer) | {"step": restored["step"]}
begin = {"never stopped": start, "resumed": restored, "resumed, optimiser lost": forgetful}
ends, losses = {}, {}
for name, state in begin.items():
    run_on = fit(train_step, state, batches, key=k, steps=60, steps_per_call=10)
    history = [metrics for ends[name], metrics in run_on]
    losses[name] = fetch(history)["loss"][-30:] / math.log(2)
same = jax.tree.map(np.array_equal, ends["never stopped"], ends["resumed"])
assert all(jax.tree.leaves(same))

# %%
whole = losses.pop("never stopped")
gaps = {name: loss - whole for name, loss in losses.items()}
label = "loss minus that of the run\nnever stopped (bits per token)"
ax = figures.lines(np.arange(30, 60), gaps, xlabel="step", ylabel=label)
ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
run.figure("resumed", ax)

# %% [markdown]
# **What to notice.** The resumed run lies on zero: not near it, on it, at every step, and the assertion above holds for every
# array of the state. The run that lost its optimiser's memory is no worse a model; here it is even ahead for a while. But it is
# another run, and nobody can say any more, digit by digit, what the experiment did.

# %% [markdown]
# ## Summary
#
# | you met | keep of it |
# |:---|:---|
# | device | the same program everywhere; the order of a sum counts, and reproducible mode fixes it |
# | `jit` | Python runs once for each shape; write pure functions |
# | keys | the same key, the same numbers; a step's key is `fold_in(key, step)` |
# | `x_BLD` | a name carries its axes; ids are checked at the door |
# | entropy | the source has one, and each form of model its own limit; report the excess, on one and the same text |
# | `fit` | a step is a function of state, batch and key; the state is all there is to save |
#
# Next: [01 · Text to batches](01_text_to_batches.ipynb) looks inside the small world, and shows how a text becomes `x_BL`.
#
# ## References
#
# - Bengio, Ducharme, Vincent and Jauvin (2003), [A neural probabilistic language
# model](https://www.jmlr.org/papers/v3/bengio03a.html), JMLR 3. Our model is its equation 1 for a context of one word.
# - Shannon (1951), Prediction and entropy of printed English, Bell System Technical Journal 30. The first measurement of what
# nobody knows.
# - Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC'11. Why a random number can be a function
# of a key and a step.
# - Kingma and Ba (2015), [Adam: a method for stochastic optimization](https://arxiv.org/abs/1412.6980), ICLR.

# %%
run.close()
print(f"profile {profile}, device {machine['device']}, seeds {[*seeds]}")
print(" · ".join(f"{name} {version}" for name, version in machine["versions"].items()))

# %% [markdown]
# # 05 · Recurrent cells
#
# An n-gram looks back over a few words, and no further. A **recurrent network** reads a text word by word and keeps one vector in mind,
# its *state*, in which something of every word so far may be left. What a cell does with its state at each word is all that tells one
# recurrent network from another. This notebook builds the three that count, Elman's network, the LSTM and the GRU, from their equations;
# it derives by hand how they learn, shows *why* the first of them forgets, and lets all three compete: on tasks with a known answer, and
# on a text of which the entropy is known.
#
# At the end you can write each cell in a few lines of numpy and know that they are right; derive backpropagation through time; say how
# far back a gradient reaches, and what a gate has to do with it; tell what a truncated gradient loses from what a carried state keeps; and
# recognise seven misprints of these equations by what they do to training.
#
# **How to read.** The next cell holds what you may change. Profile `smoke` takes seconds and is for tests; `quick` trains for a minute on
# text that comes with the library; `real` trains for longer, with more to remember.
#
# Letters at the end of a name are its shape: L steps in time, B rows of a batch, D input, H hidden units, V vocabulary. The columns of the
# gates stand side by side in one matrix, as in PyTorch: input, forget, candidate, output for the LSTM; reset, update, candidate for the
# GRU.

# %% tags=["parameters"]
profile = "quick"

# %%
from lmlib import runtime  # first, for it sets what must be set before jax starts

print(f"profile {profile}, on {runtime.device_name()}")

# %% [markdown]
# What every section needs is imported here; the rest where it is first used.

# %%
import math
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from IPython.display import display
from numpy.testing import assert_allclose

from lmlib.learn.optim import OptimConfig
from lmlib.measure.curves import learning_curves
from lmlib.measure.perplexity import bigram_entropy, perplexity
from lmlib.measure.recurrence import gate_values, reach
from lmlib.models.base import merge, split, token_logp
from lmlib.models.cells import GRU, LSTM, RNN, Cell, gru_step, lstm_step, rnn_step, shapes
from lmlib.models.misprints import MISPRINTS, misprinted_lm
from lmlib.models.recurrent import LayersConfig, RecurrentConfig, RecurrentLayers, RecurrentLM
from lmlib.models.scans import scan
from lmlib.record import figures, show
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.record.seeds import score_tables
from lmlib.text.batches import BPTTStreams, write_tokens
from lmlib.text.corpora import open_corpus
from lmlib.text.synthetic import AddingTask, CopyTask
from lmlib.text.tokenizers import WordTokenizer
from lmlib.text.world import World

# %% [markdown]
# The text is the *small world*, whose entropy is known: sentences one after the other, each with `</s>` behind it.

# %%
smoke, rich, seeds = profile == "smoke", profile in ("real", "paper"), (1, 2, 3)
cells = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
world = {part: open_corpus("world", part) for part in ("train", "test")}
texts = {part: list(opened.documents()) for part, opened in world.items()}
words = WordTokenizer.train(texts["train"], unk=None, specials=("</s>",))
tokens = {part: write_tokens(documents, words, after="</s>") for part, documents in texts.items()}
source = -sum(map(World().log_prob, texts["test"])) / math.log(2) / len(tokens["test"].ids)
settings = {"language model": 2000, "hidden": 64, "adding": 2500, "lag": 60, "copying": 4000, "copied": 10}
quick = {"language model": 400, "hidden": 48, "adding": 1200, "lag": 40, "copying": 800, "copied": 3}
quick |= dict.fromkeys(("language model", "adding", "copying"), 20) if smoke else {}
settings = settings if rich else quick
print(f"{len(tokens['train'].ids):,} tokens of {words.vocab_size} words; the source has {source:.3f} bits a token")
run = notebook_run("05_recurrent_cells", profile, parameters=settings, seeds=seeds, corpus=[*world.values()])

# %% [markdown]
# ## 1 · How can a network remember what it has read?
#
# By reading, at each step, what it had in mind at the step before. **Elman's network** (1990), often just called RNN, has a state
# $h_t \in \mathbb{R}^H$ and sees one input $x_t \in \mathbb{R}^D$ at a time:
#
# $$h_t = \varphi(x_t W_{xh} + h_{t-1} W_{hh} + b), \qquad W_{xh} \in \mathbb{R}^{D \times H}, \quad W_{hh} \in \mathbb{R}^{H \times H},
# \quad b \in \mathbb{R}^H, \quad \varphi = \tanh \text{ or ReLU} .$$
#
# The same three arrays serve every step. From the state, $p(w_{t+1} \mid w_1 \dots w_t) = \mathrm{softmax}(h_t W_{hy} + b_y)$ predicts the
# next word (Mikolov et al. 2010). By hand on three tokens:

# %%
rng, zeros_1H = np.random.default_rng(0), jnp.zeros((1, 4))
weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes(RNN, 3, 4).items()}
x_LD, h_H, by_hand = rng.normal(size=(3, 3)).astype(np.float32), np.zeros(4), []
for x_D in x_LD:
    h_H = np.tanh(x_D @ weights["w_xh"] + h_H @ weights["w_hh"] + weights["b"])
    by_hand.append(h_H)
h_L1H, _ = scan(RNN, weights, (zeros_1H,), x_LD[:, None])
assert_allclose(by_hand, h_L1H[:, 0], rtol=1e-5)

# %% [markdown]
# Some texts print $h_t = \mathrm{ReLU}(W x_t + b)$: the state before has been lost, and with it the memory. One works it through with
# $x = 1, 2, 3$, $W = (1, 2; 3, 4)$ and $b = (1, 2)$. Its shapes do not fit; read with the first column of $W$ as $W_{xh}$, which is what
# its arithmetic does, and with $W$ as the recurrent matrix, the example becomes:

# %%
example = {"w_xh": jnp.array([[1.0, 3.0]]), "w_hh": jnp.array([[1.0, 3.0], [2.0, 4.0]]), "b": jnp.array([1.0, 2.0])}
relu, x_311 = Cell("rnn", activation="relu"), jnp.array([1.0, 2.0, 3.0])[:, None, None]
with_h, _ = scan(relu, example, (jnp.zeros((1, 2)),), x_311)
rows = zip((1, 2, 3), np.maximum(x_311 @ example["w_xh"] + example["b"], 0)[:, 0].tolist(), with_h[:, 0].tolist(), strict=True)
pd.DataFrame(rows, columns=["x", "printed: without h", "with h of the step before"])

# %% [markdown]
# **What to notice.** Without the state, each step answers its own input. With it, the second step already knows the first; and the numbers
# *explode*: this matrix stretches what it is given more than fivefold, and ReLU lets it. Section 3 is about that.
#
# ### Exercise 1
#
# Build a memory by hand. Give weights `(w_xh, w_hh, b)`, three numbers, with which one ReLU unit *counts the ones* that it has read.

# %%
counter, read, one = None, jnp.array([1.0, 0, 1, 1, 0])[:, None, None], jnp.zeros((1, 1))  # your answer in place of None
named = lambda w: {k: jnp.full(s, float(v)) for (k, s), v in zip(shapes(relu, 1, 1).items(), w, strict=True)}  # noqa: E731
check(
    counter,
    (lambda w: len(w) == 3, "three numbers."),
    (lambda w: np.allclose(scan(relu, named(w), (one,), read)[0].ravel(), [1, 1, 2, 3, 3]), "1 0 1 1 0 must give 1 1 2 3 3."),
)

# %% [markdown]
# ## 2 · How does it learn?
#
# Unrolled in time, the network is a deep one whose layers share their weights, and the chain rule does the rest: **backpropagation
# through time** (Werbos 1990). The loss is $\mathcal L = -\sum_t \log p(w_{t+1})$, and its gradient at the logits of step $t$ is
# $e_t = \mathrm{softmax}(h_t W_{hy}) - \mathrm{onehot}(w_{t+1})$. The gradient $\delta_t$ at the sum $a_t$ inside $\varphi$ has two
# sources, the loss of its own step and all that comes later:
#
# $$\delta_t = \bigl(e_t W_{hy}^\top + \delta_{t+1} W_{hh}^\top\bigr) \odot \varphi'(a_t), \qquad
# \frac{\partial \mathcal L}{\partial W_{xh}} = \sum_t x_t^\top \delta_t, \qquad
# \frac{\partial \mathcal L}{\partial W_{hh}} = \sum_t h_{t-1}^\top \delta_t, \qquad
# \frac{\partial \mathcal L}{\partial b} = \sum_t \delta_t ,$$
#
# with $\tanh' = 1 - h_t^2$. ($\odot$ multiplies number by number, the *Hadamard* product; it is not the dot product, as one can read.) By
# hand, from the last step to the first:

# %%
h_LH, before_LH = np.array(by_hand), np.array([np.zeros(4), *by_hand[:-1]])
w_hy, targets = rng.normal(0, 0.5, (4, 5)).astype(np.float32), np.array([2, 0, 4])
e_LV = np.exp(h_LH @ w_hy) / np.exp(h_LH @ w_hy).sum(axis=1, keepdims=True) - np.eye(5)[targets]
delta_LH, later_H = np.zeros((3, 4)), np.zeros(4)
for t in (2, 1, 0):
    delta_LH[t] = (e_LV[t] @ w_hy.T + later_H) * (1 - h_LH[t] ** 2)
    later_H = delta_LH[t] @ weights["w_hh"].T
derived = {"w_xh": x_LD.T @ delta_LH, "w_hh": before_LH.T @ delta_LH, "b": delta_LH.sum(axis=0)}

# %% [markdown]
# Against it, two gradients of the same loss: JAX's own, of a plain loop over steps; and that of the library's `scan`, which is derived by
# hand as here: it finds the $\delta_t$ one after the other, and makes each sum over time in one product. The third, `cut`, is for the
# paragraph below: it takes the state after the first token as a given.

# %%
states_of = {"loop": lambda w, h=zeros_1H: jnp.concatenate([h := rnn_step(w, h, x_D[None]) for x_D in x_LD])}
states_of["scan"] = lambda w, start=zeros_1H, x=x_LD: scan(RNN, w, (start,), x[:, None])[0][:, 0]
states_of["cut"] = lambda w: jnp.concatenate(
    [first := states_of["scan"](w, x=x_LD[:1]), states_of["scan"](w, jax.lax.stop_gradient(first), x_LD[1:])]
)
value_and_gradient = {}
for name, states in states_of.items():
    loss = jax.value_and_grad(lambda w, states=states: -token_logp((states(w) @ w_hy)[None], targets[None]).sum())
    value_and_gradient[name] = loss(weights)
for name in ("loop", "scan"):
    jax.tree.map(lambda mine, theirs: assert_allclose(mine, theirs, atol=1e-6), derived, value_and_gradient[name][1])

# %% [markdown]
# Some texts print $\Delta W = \alpha\, \Delta h\, x^\top$ and $\Delta b = \alpha\, \Delta h$ with $\Delta h = \partial \mathcal L /
# \partial h$, and no more. Three things are lost: the slope $\varphi'$; the way through time; and $W_{hh}$, which is never updated.
# Section 8 tries what that costs.
#
# **A long text** cannot be unrolled as a whole. *Truncated* backpropagation cuts it into pieces; the state is **carried** from piece to
# piece, so that nothing read is lost, but it is taken as a given: no gradient flows across the cut. Cut after the first token, the loss is
# that of the whole, and the first $\delta$ no longer knows what came later:

# %%
cut_LH = np.concatenate([e_LV[:1] @ w_hy.T * (1 - h_LH[:1] ** 2), delta_LH[1:]])
assert_allclose(value_and_gradient["cut"][0], value_and_gradient["scan"][0], rtol=1e-6)
assert_allclose(x_LD.T @ cut_LH, value_and_gradient["cut"][1]["w_xh"], atol=1e-6)

# %% [markdown]
# ## 3 · How far back does a gradient reach?
#
# On its way back over $k$ steps, the gradient of a loss at step $t$ is multiplied by $k$ Jacobians (Bengio et al. 1994; Pascanu et al.
# 2013), so that its length is bounded by a power of $k$:
#
# $$\frac{\partial \mathcal L_t}{\partial h_{t-k}} = \frac{\partial \mathcal L_t}{\partial h_t} \prod_{j=0}^{k-1}
# \mathrm{diag}\bigl(\varphi'(a_{t-j})\bigr)\, W_{hh}^\top, \qquad
# \Bigl\lVert \frac{\partial \mathcal L_t}{\partial h_{t-k}} \Bigr\rVert
# \le \bigl(\sigma_{\max}(W_{hh}) \cdot \max \varphi'\bigr)^k \, \Bigl\lVert \frac{\partial \mathcal L_t}{\partial h_t} \Bigr\rVert .$$
#
# With $\tanh' \le 1$, a largest singular value below 1 is *sure* to make it vanish, as a power of $k$. Above 1 it may explode; against that
# it helps to clip it (`OptimConfig(clip=1.0)`, as all nets here are trained), but what has vanished cannot be clipped back. So when one
# reads that recurrent networks capture "long-range dependencies", this must be read with it. We give the network a matrix all of whose
# singular values are $\rho$, a random rotation times $\rho$, and small random inputs; and measure how much a random direction of the last
# state depends on the state $k$ steps before:

# %%
found = []
for rho, seed in product((0.7, 0.9, 1.0, 1.1), seeds):
    turn_HH, x_LBD = (jax.random.normal(jax.random.key(seed), shape) for shape in ((32, 32), (60, 8, 32)))
    weights = {"w_xh": 0.01 * jnp.eye(32), "w_hh": rho * jnp.linalg.qr(turn_HH)[0], "b": jnp.zeros(32)}
    found.append(reach(RNN, weights, x_LBD, seed).assign(model=f"ρ = {rho}"))
reaches = {"x": "lag", "y": "log10", "hue": "model", "xlabel": "lag k (steps back)"}
reaches |= {"ylabel": "log₁₀ of the gradient's length\n(mean ± sd, 3 seeds)"}
run.figure("spectrum", figures.curve(pd.concat(found), **reaches))

# %% [markdown]
# **What to notice.** The lines are straight: powers of $k$. At $\rho = 0.7$, what happened 60 steps ago has about a billionth of the say of
# what happened now; no learning rate mends that, for the same rate serves the near past. At $\rho = 1.1$ the far past has more say than the
# present. (That line is flat at first, because the state has grown, too, until the slope of $\tanh$ holds it in the last steps.) Between
# the two there is a way as narrow as a number, $\rho = 1$, and training leaves it at its first step.
#
# ## 4 · How can a cell decide what to keep?
#
# **Long short-term memory** (Hochreiter and Schmidhuber 1997) keeps a second vector, its *content* $c_t$, which is not multiplied by a
# matrix from step to step. Gates, numbers between 0 and 1 that are computed from the input and the state, say what comes in, what stays and
# what is shown:
#
# $$i, f, o = \sigma(x_t W + h_{t-1} U + b), \qquad g = \tanh(x_t W + h_{t-1} U + b), \qquad
# c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \tanh(c_t) ,$$
#
# each of $i, f, o, g \in \mathbb{R}^H$ with its own $W \in \mathbb{R}^{D \times H}$, $U \in \mathbb{R}^{H \times H}$ and $b$. In 1997 there
# was no **forget gate**: $f = 1$, and nothing could be given up; the cell that everybody calls LSTM is that of Gers, Schmidhuber and
# Cummins (2000). **Peepholes** (Gers and Schmidhuber 2000) let the gates see the content: $p_i \odot c_{t-1}$ and $p_f \odot c_{t-1}$ are
# added inside $i$ and $f$, and $p_o \odot c_t$ inside $o$. All three by hand:

# %%
sigmoid, normal = jax.nn.sigmoid, lambda cell: {k: rng.normal(0, 0.5, s).astype(np.float32) for k, s in shapes(cell, 3, 4).items()}
for cell in (LSTM, Cell("lstm", forget_gate=False), Cell("lstm", peephole=True)):
    w = normal(cell)
    p_i, p_f, p_o = w.get("peephole", np.zeros((3, 4)))
    h_H, c_H = np.zeros(4), np.zeros(4)
    for x_D in x_LD:
        i, *f, g, o = np.split(x_D @ w["w_xh"] + h_H @ w["w_hh"] + w["b"], cell.gates)
        kept_H = sigmoid(f[0] + p_f * c_H) * c_H if f else c_H
        c_H = kept_H + sigmoid(i + p_i * c_H) * np.tanh(g)
        h_H = sigmoid(o + p_o * c_H) * np.tanh(c_H)
    _, carry = scan(cell, w, (zeros_1H, zeros_1H), x_LD[:, None])
    assert_allclose([h_H, c_H], [part[0] for part in carry], rtol=1e-4, atol=1e-6)

# %% [markdown]
# What does that do to the gradient? From $c_t$ to $c_{t-1}$ it is multiplied by $f$, number by number; no matrix, no slope. With $f$ near
# 1, it stays. But nothing makes $f$ be near 1 in the beginning: with biases around 0 it is about ½, and half of the gradient is lost at
# each step. Hence an old piece of advice: begin with a positive bias of the forget gate (Gers et al. 2000; Józefowicz et al. 2015).
#
# ### Exercise 2
#
# Let the forget gate read nothing but its bias $b$. For which $b$ is half of the content left after 100 steps?

# %%
bias = None  # your answer
check(bias, (lambda b: b > 0, "a positive one."), (lambda b: np.isclose(sigmoid(b) ** 100, 0.5, atol=0.01), "solve σ(b)^100 = ½."))

# %% [markdown]
# ## 5 · Do two gates do?
#
# The **gated recurrent unit** (Cho et al. 2014) has no second vector: its state is its content. One gate, $r$, says how much of the state
# the candidate sees; one, $z$, how much of the old state is kept:
#
# $$r, z = \sigma(x_t W + h_{t-1} U + b), \qquad \tilde h = \tanh\bigl(x_t W + (r \odot h_{t-1}) U + b\bigr), \qquad
# h_t = z \odot h_{t-1} + (1 - z) \odot \tilde h .$$
#
# Two conventions are about, and both matter when weights travel from one library to another. Cho's $z$ *keeps* (PyTorch agrees); in Chung
# et al. (2014) it *replaces*, $h_t = (1 - z) \odot h_{t-1} + z \odot \tilde h$. And the papers reset the state *before* the product with
# $U$, while cuDNN and PyTorch reset *after* it, $r \odot (h_{t-1} U + b')$, so that one product serves all gates. All four by hand:

# %%
for cell in (Cell("gru", update=update, reset=reset) for update, reset in product(("cho", "chung"), ("before", "after"))):
    w, h_H = normal(cell), np.zeros(4)
    for x_D in x_LD:
        a = x_D @ w["w_xh"] + w["b"]
        r, z = np.split(sigmoid(a[:8] + h_H @ w["w_hh"][:, :8]), 2)
        U = w["w_hh"][:, 8:]
        candidate = np.tanh(a[8:] + ((r * h_H) @ U if cell.reset == "before" else r * (h_H @ U + w["b_hh"])))
        z = z if cell.update == "cho" else 1 - z
        h_H = z * h_H + (1 - z) * candidate
    assert_allclose(h_H, scan(cell, w, (zeros_1H,), x_LD[:, None])[1][0][0], rtol=1e-4, atol=1e-6)

# %% [markdown]
# Two worked examples of these cells are in print; in both, every sum inside a gate is $(1, 2)$ and the state is 0. What their own numbers
# give:

# %%
start_12, x_11, b_2 = jnp.zeros((1, 2)), jnp.zeros((1, 1)), jnp.array([1.0, 2.0])
alike = {cell: {k: jnp.tile(b_2, s[0] // 2) if k == "b" else jnp.zeros(s) for k, s in shapes(cell, 1, 2).items()} for cell in (LSTM, GRU)}
h_12, c_12 = lstm_step(alike[LSTM], (start_12, start_12), x_11)
right_12 = gru_step(alike[GRU], start_12, x_11, Cell("gru", update="chung"))
squashed_12, _ = MISPRINTS["state squashed twice"].step(alike[GRU], (start_12, start_12), x_11)
rows = [("LSTM", "σ(1, 2)", "0.7311 0.7311", sigmoid(b_2)), ("LSTM", "tanh(1, 2)", "0.7616 0.7616", jnp.tanh(b_2))]
rows += [("LSTM", "c = i ⊙ g", "0.5591 0.5591", c_12[0]), ("LSTM", "h = o ⊙ tanh(c)", "0.4107 0.4107", h_12[0])]
rows += [("GRU", "1 − z", "0.7311 0.7311", 1 - sigmoid(b_2)), ("GRU", "h = tanh(c), as printed", "0.5591 0.5591", squashed_12[0])]
rows += [("GRU", "h = z ⊙ h̃, the right form", "", right_12[0])]
table = pd.DataFrame(
    [(*row, " ".join(f"{v:.4f}" for v in right)) for *row, right in rows], columns=["cell", "what", "printed", "recomputed"]
)
run.table("worked", table)

# %% [markdown]
# **What to notice.** The second number of each pair was copied from the first; the last $\tanh$ was left out; $1 - z$ is $z$; and the input
# takes part in none of them, as it is multiplied by 0. A worked example is worth nothing until a program has worked it.
#
# ## 6 · What can each of them keep in mind?
#
# Two tasks whose answers are known (Hochreiter and Schmidhuber 1997; in the form of Arjovsky et al. 2016). **Adding**: a row of random
# numbers, two of which are marked; at the end, say the sum of the two. Who has no memory says 1 and is wrong by $1/6 = 0.167$ in the mean
# square. **Copying**: read $n$ of 8 symbols, wait for $T$ steps, say them again. Who has no memory but knows when to speak pays
#
# $$\frac{n \log 8}{T + 2n} \text{ nats a step} \qquad \Bigl(n = 10: \; \frac{10 \log 8}{T + 20}\Bigr) .$$
#
# One function trains everything in this notebook, `learning_curves`: each seed with its own initial numbers, the same steps and the same
# optimiser, Adam, for all. First, adding; the answer is read off the last state:


# %%
def squared_error(definition, params, carry, batch, key):
    """Of the answers to `AddingTask`: the last state of the layers, times weights, plus a bias."""
    h_BLH, _ = merge(definition, params["layers"])(batch["inputs"])
    return jnp.mean((h_BLH[:, -1] @ params["output"][:-1] + params["output"][-1] - batch["targets"]) ** 2), (carry, {})


# %%
slow = OptimConfig(learning_rate=0.01, schedule="linear", clip=1.0)
adders, adders_before, curves = {}, {}, []
for name, cell in cells.items():
    layers = {seed: split(RecurrentLayers(LayersConfig(2, 32, cell=cell), rngs=nnx.Rngs(seed))) for seed in seeds}
    starts = {seed: (definition, {"layers": params, "output": jnp.zeros(33)}) for seed, (definition, params) in layers.items()}
    tasks = {seed: AddingTask(32, settings["lag"], seed) for seed in seeds}
    adders[name], curve = learning_curves(name, starts, tasks, slow, steps=settings["adding"], loss=lambda d: partial(squared_error, d))
    adders_before[name], curves = layers, [*curves, curve]
added = pd.concat(curves, ignore_index=True)

# %% [markdown]
# And copying, with a language model of ten tokens, the 8 symbols, the blank and the mark that asks for the answer:

# %%
curves, n = [], settings["copied"]
for name, cell in cells.items():
    config = RecurrentConfig(10, d_embed=16, d_hidden=settings["hidden"], layers=1, cell=cell)
    starts = {seed: split(RecurrentLM(config, rngs=nnx.Rngs(seed))) for seed in seeds}
    tasks = {seed: CopyTask(32, 10, seed, copied=n) for seed in seeds}
    curves.append(learning_curves(name, starts, tasks, slow, steps=settings["copying"])[1])
copied, symbols = pd.concat(curves, ignore_index=True), tasks[1]

# %% [markdown]
# Both, beside what can be reached without a memory:

# %%
(left, right), tasks = figures.new_panels(2, 9.4, 3.6), {"adding": added, "copying": copied}
axes = {"hue": "model", "optimum_label": "without memory", "xlabel": "step"}
figures.curve(added, **axes, optimum=AddingTask.baseline, ylabel="squared error\n(mean ± sd, 3 seeds)", ax=left)
figures.curve(copied, **axes, optimum=symbols.baseline, ylabel="nats a step\n(mean ± sd, 3 seeds)", ax=right)
left.set(title=f"adding, {settings['lag']} steps", ylim=(0, 0.3))
right.set(title=f"copying {n} symbols after 10 steps", ylim=(0, 1.6 * symbols.baseline))
run.figure("tasks", left)
last = pd.concat(rows[rows["step"] == rows["step"].max()].assign(task=f"{task}, " + rows["model"]) for task, rows in tasks.items())
score_tables(run, "tasks", {seed: rows.drop(columns="seed") for seed, rows in last.groupby("seed")}, "task", "loss").round(4)

# %% [markdown]
# **What to notice.** For a long time nothing seems to happen: each has found the answer that needs no memory, the dashed line, and sits on
# it. Then those with gates find what has to be kept, and fall; the GRU first. In copying, the simple network does not leave the line at
# all. A wide band says that seeds disagree: one has found the marks, another has not yet; with one seed, one would have told the story of
# that seed.
#
# ## 7 · Is it the gradient?
#
# Section 3's measurement, of the nets of section 6: before they were trained, and after they have learnt to add (or not). Of the LSTM also
# with a bias of 3 at its forget gate, untrained.

# %%
left, right = figures.new_panels(2, 9.6, 3.6)
inputs, untrained, trained = AddingTask(16, 40, seed=9)[0]["inputs"].swapaxes(0, 1), [], []
for (name, cell), seed in product(cells.items(), seeds):
    weights = adders_before[name][seed][1]["cells"][0]
    untrained.append(reach(cell, weights, inputs, seed).assign(model=name))
    trained.append(reach(cell, adders[name][seed]["layers"]["cells"][0], inputs, seed).assign(model=name))
    if cell == LSTM:
        open_gate = weights | {"b": weights["b"].at[32:64].set(3.0)}
        untrained.append(reach(cell, open_gate, inputs, seed).assign(model="LSTM, forget bias 3"))
for ax, title, rows in ((left, "before", untrained), (right, "after learning to add", trained)):
    figures.curve(pd.concat(rows), **reaches, ax=ax).set(title=title, ylim=(-9, 1.5))
run.figure("reach", left)

# %% [markdown]
# **What to notice.** On the left, gates alone bring little. Untrained, they stand at ½, and the gradients of LSTM and GRU shrink at each
# step nearly as fast as the simple network's; a bias of 3 changes everything. On the right, the nets that have learnt the task have *opened
# their gates*: their gradients reach back over all steps, at a tenth of their length or so. Where a net has not learnt it, the simple one
# or one of three seeds, they vanish as before. What a gate gives is not a gradient that never vanishes, but one that can be learnt not to.
#
# ## 8 · Who predicts best, and what do misprints do?
#
# Now a language model each, of the same size, on the small world: streams of text, pieces of 20 steps, the state carried. How far is each
# from the source, in **excess bits** a token on test text? Beside them stands the best bigram that there can be, whose entropy can be
# counted: what no model reaches that sees one word only.
#
# And seven forms that are in print, which begin with the same numbers, from the same seed, and read the same text:
#
# | misprint | what it says | what is wrong |
# |---|---|---|
# | RNN, no recurrence | $h_t = \varphi(x_t W + b)$ | the state is not read |
# | RNN, a bias for a matrix | $h_t = \sigma(x_t W + b \odot h_{t-1})$ | each unit sees itself alone, and nothing is negative |
# | RNN, printed updates | $\Delta W = \alpha\, \Delta h\, x^\top$ | no slope, no way through time, nothing for $W_{hh}$ |
# | LSTM, gates without state | $i, f, o, g = \sigma(x_t W + b), \; h_t = o \odot \sigma(c_t)$ | gates see the input alone |
# | LSTM, gates plus state | $i = \sigma(a_i + h_{t-1}), \; g = \sigma(a_g + i \odot h_{t-1}), \; o = \sigma(a_o + c_t)$ | no matrices $U$ |
# | GRU, state squashed twice | $c_t = (1 - z) \odot c_{t-1} + z \odot \tilde h, \; h_t = \tanh(c_t)$ | a GRU has no cell beside its state |
# | GRU, state without matrix | $z = \sigma(a_z + h_{t-1}), \; \tilde h = \sigma(a + r \odot h_{t-1})$ | no matrices $U$ |
#
# ($a = x_t W + b$, for each gate its own. Where a matrix is missing, in both LSTMs and in the second and the last row, the candidate has
# $\sigma$ in place of $\tanh$, too: nothing in these cells is ever negative.)

# %%
sizes = dict.fromkeys(("d_embed", "d_hidden"), settings["hidden"]) | dict.fromkeys(("bos", "eos"), words.special("</s>")) | {"layers": 1}
streams, test = BPTTStreams(tokens["train"], 32, 20), BPTTStreams(tokens["test"], 4, 50)
models, curves, excess = {}, [], {seed: [] for seed in seeds}
fast = OptimConfig(learning_rate=0.02, schedule="linear", clip=1.0)
forms = cells | {f"{m.cell.kind.upper()}, {form}": m.cell for form, m in list(MISPRINTS.items())[: 2 if smoke else None]}
for name, cell in forms.items():
    config, form = RecurrentConfig(words.vocab_size, **sizes, cell=cell), name.partition(", ")[2]
    made = {seed: misprinted_lm(form, config, rngs=nnx.Rngs(seed)) if form else RecurrentLM(config, rngs=nnx.Rngs(seed)) for seed in seeds}
    starts = {seed: split(model) for seed, model in made.items()}
    models[name], curve = learning_curves(name, starts, dict.fromkeys(seeds, streams), fast, steps=settings["language model"])
    curves.append(curve.assign(loss=curve["loss"] / math.log(2) - source))
    for seed, (definition, _) in starts.items():
        model = merge(definition, models[name][seed])
        bits = perplexity(model, test, model.init_state(4, max_len=50)).excess_bits(source)
        excess[seed].append({"model": name, "excess": bits})

# %%
bigram = bigram_entropy(tokens["train"].ids[:-1], tokens["train"].ids[1:]) - source
axes = {"hue": "model", "xlabel": "step", "ylabel": "excess bits a token\n(training text, mean ± sd, 3 seeds)"}
ax = figures.curve(pd.concat(curves[:3]), **axes, optimum=bigram, optimum_label="best bigram", ax=figures.new_axes(5.6, 3.4))
ax.set_ylim(0, 3)
run.figure("learning", ax)
excess = {seed: pd.DataFrame(rows) for seed, rows in excess.items()}
every = pd.concat(excess)
for name in cells:
    run.claim(f"world_{name.lower()}_excess_bits", every[every["model"] == name]["excess"], unit="excess bits per token", better="low")
score_tables(run, "world", excess, "model", "excess").round(3)

# %% [markdown]
# **What to notice.** Each of the three is soon below the line that no model of one word can cross. And on *this* text the simple network is
# as good as the LSTM, and the GRU a little better than both: a sentence has some seven words, and what stood before `</s>` is of no use, so
# that a memory of forty steps is not asked for. Which cell is best is a question about the text.
#
# And the misprints, in paler colours, beside the cells that they were printed for:

# %%
shown = every.assign(model=every["model"].str.replace(r" (?=\w{3})", "\n", regex=True))
ax = figures.bars(shown, "model", "excess", xlabel="", ylabel="excess bits a token", ax=figures.new_axes(9.6, 4.2))
for bar, name in zip(ax.patches, forms, strict=True):
    bar.set(facecolor=figures.colour(name.partition(",")[0]), alpha=0.45 if "," in name else 1)
ax.axhline(bigram, color="black", linestyle="--", linewidth=1.2, label="best bigram")
ax.legend(frameon=False)
run.figure("misprints", ax)

# %% [markdown]
# **What to notice.** *No recurrence* is a bigram, and its bar ends at the line: however long it is trained, one word is all it can see. The
# others have some way from word to word, and so they get better the longer they are trained; in `quick`, the *bias* in place of the matrix
# and the LSTM whose *gates* see no *state* end at the line as well, in `real` they are past it, and far behind. The *printed updates* have
# the right network, and its state, but what the state should hold is never learnt. Only the state that is *squashed twice* comes near its
# right form: it is no GRU, but all its paths are there. None of these nets crashes, diverges or has a loss that looks odd, which is why
# misprints live long: without the right form beside them, one would take them for slow learners.
#
# ## 9 · What do the gates do with a sentence?
#
# The gates of a trained cell at each word: a row a unit, those twelve that vary most. Both gates shown here say what is *kept*: the LSTM's
# forget gate (which forgets where it is shut) and the GRU's update gate. Where you run this yourself, menus choose gate and sentence.


# %%
def gate_map(gate="LSTM forget", sentence="the queen and her crown are here ."):
    """How far a gate is open at each word of a sentence, in a model of seed 1."""
    name, kind = gate.split()
    params, ids = models[name][1], [words.special("</s>"), *words.encode(sentence)]
    carry = (jnp.zeros((1, sizes["d_hidden"])),) * cells[name].carried
    gates = gate_values(cells[name], params["layers"]["cells"][0], carry, params["embedding"][np.array(ids)][:, None])
    values = pd.DataFrame(np.asarray(gates[kind])[:, 0].T, columns=["</s>", *sentence.split()])
    most = values.std(axis=1).sort_values(ascending=False, kind="stable").index[:12]
    return figures.heatmap(
        values.loc[sorted(most)], ylabel="unit", colourbar=f"{kind} gate, 0 shut … 1 open", ax=figures.new_axes(6.4, 3.8)
    )


run.figure("gates", gate_map("GRU update"))
gates = ["LSTM input", "LSTM forget", "LSTM output", "GRU reset", "GRU update"]
show.explore(gate_map, gate=gates, sentence=["the queen and her crown are here .", *sorted(texts["test"], key=len)[-12:]])

# %% [markdown]
# **What to notice.** Each unit has words of its own at which it keeps what it has, and words at which it lets go. At the full stop nearly
# all of the GRU's let go, since nothing of a sentence is of use for the next; the LSTM's need not, for its output gate can hide what the
# content still holds. In *the queen and her crown are here*, "her" must agree with a word two places back, and "are" with two of them:
# that is what a state is for.
#
# ### Exercise 3
#
# A GRU in Cho's convention shall hand its state on unchanged, whatever it reads. Which of its numbers do you set, and to what? Give a
# function from the weights (`w_xh`, `w_hh`, `b`, `b_hh`; H = 4, gates in the order reset, update, candidate) to such weights.

# %%
closed = None  # your answer, a function
some, h_14 = normal(GRU), jnp.array([[0.5, -0.2, 0.8, 0.1]])
held = lambda change: scan(GRU, change(some), (h_14,), 3 * jnp.ones((10, 1, 3)))[0][:, 0]  # noqa: E731
moved = lambda change: np.flatnonzero(np.abs(held(change) - h_14).max(axis=1) > 1e-3)  # noqa: E731
check(closed, (lambda change: len(moved(change)) == 0, "the state moves: the update gate, columns 4 to 7, must be open at every step."))

# %% [markdown]
# ## 10 · How are cells put together?
#
# **Stacked**: the states of one layer are the inputs of the next. **In both directions** (Schuster and Paliwal 1997): a second layer reads
# from the end, and the two states of each step stand side by side; for texts that are there as a whole, since a language model must not see
# what it is to predict. By hand, two layers in both directions:

# %%
stack = RecurrentLayers(LayersConfig(3, 4, layers=2, cell=GRU, bidirectional=True), rngs=nnx.Rngs(0))
below_LBD = x_LD[:, None]
for layer in (0, 1):
    forward, backward = (stack.cells[2 * layer + direction].as_dict() for direction in (0, 1))
    read = [scan(GRU, forward, (zeros_1H,), below_LBD)[0], scan(GRU, backward, (zeros_1H,), below_LBD, reverse=True)[0]]
    below_LBD = jnp.concatenate(read, axis=-1)
assert_allclose(below_LBD[:, 0], stack(x_LD[None])[0][0], atol=1e-6)

# %% [markdown]
# **Rows of different lengths** are filled up. Many programs fill them up behind the text and take the last state, which the cell has then
# computed of the filling. With `lengths`, a step that does not happen hands the state on. Three tokens, filled up to ten:

# %%
filled_1LD, one = np.zeros((1, 10, 3), np.float32), RecurrentLayers(LayersConfig(3, 4, cell=LSTM), rngs=nnx.Rngs(0))
filled_1LD[0, :3] = x_LD
last = {"three tokens alone": one(x_LD[None]), "filled up, with lengths": one(filled_1LD, lengths=np.array([3]))}
last = {how: state[0][0][0] for how, (_, state) in (last | {"filled up, last state": one(filled_1LD)}).items()}
assert_allclose(*list(last.values())[:2], atol=1e-6)
filled = pd.DataFrame(last).T.rename(columns="unit {}".format)
run.table("filled", filled, tolerance=dict.fromkeys(filled, 1e-4)).round(3)

# %% [markdown]
# **What to notice.** Seven steps of nothing have moved every unit: the longer the filling, the more the state says of the filling, and the
# less of the text. What that does to a classifier is in notebook 11.
#
# ## 11 · What does a gate cost?
#
# One can read that gates keep an LSTM's "computational complexity low". A cell with $G$ blocks has $G\,(DH + H^2 + H)$ parameters, and as
# many multiplications a step, give or take the biases: an LSTM has four times those of a simple network of the same width.

# %%
count = {name: sum(math.prod(shape) for shape in shapes(cell, 128, 128).values()) for name, cell in cells.items()}
rows = [(name, cell.gates, count[name], count[name] / count["RNN"]) for name, cell in cells.items()]
run.table("cost", pd.DataFrame(rows, columns=["cell", "blocks G", "parameters, D = H = 128", "times an RNN"])).round(3)

# %% [markdown]
# Time is another matter, because a step waits for the step before. It is measured on a quiet machine by `make bench BENCH=recurrent`,
# beside PyTorch on the same machine; here is what has been recorded of that so far:

# %%
from lmlib.record.claims import benchmark, stated

speed = benchmark("../results", "recurrent")
display(speed if len(speed) else "No benchmark of recurrent nets has been recorded yet.")

# %% [markdown]
# **What to notice.** Over letters an LSTM has four times the products of a simple network and takes some three times as long; a GRU has
# three times the products and takes longer still, here as in PyTorch. The count of gates does not decide, but how well the step is made:
# here the LSTM's way back is written out by hand, and the GRU's is what JAX derives; PyTorch's LSTM is nearly as fast as its simple
# network. The products over letters are small, and XLA gives a second core little of them to do; so there the CPU counts as two devices,
# each of which reads half of the rows of a batch (`lmlib.learn.mesh`).
#
# ## 12 · And on natural text?
#
# Long trainings are made by `lmlib train lm`, one seed at a time. Recorded so far, beside what is published for the same setting:

# %%
runs = {"ptb_lstm_small_test_ppl": ("Penn Treebank, 2 × 200: test perplexity", "114.5 (Zaremba et al. 2014)")}
runs["wikitext2_lstm_test_ppl"] = ("WikiText-2, 2 × 200: test perplexity", "")
runs["shakespeare_lstm_val_nats"] = ("Shakespeare's letters, 2 × 128: validation nats", "")
pd.DataFrame(runs, index=["model", "published"]).T.assign(recorded=stated("../results/real", runs)).reset_index(drop=True)

# %% [markdown]
# (On the Treebank, modified Kneser-Ney has 141.2: notebook 02. On WikiText-2 a user of PyTorch's example, whose net and training these are,
# reports 142.07 after six epochs: [issue 415 of pytorch/examples](https://github.com/pytorch/examples/issues/415).) What such nets write is
# in notebook 06.
#
# ## Summary
#
# - A recurrent cell reads its input and its own state; without the state in the equation, it is a bigram.
# - Backpropagation through time is the chain rule with shared weights: $\delta_t$ from the last step to the first, and one product over
#   time for each matrix. Truncated, it keeps the state and loses the gradient across the cut.
# - A gradient is multiplied by one Jacobian a step, and so it vanishes or explodes as a power. Clipping helps against the one only.
# - A gate multiplies by a number that the net may *learn* to be 1. The LSTM gates a content beside its state, the GRU its state itself.
# - A loss curve does not show a misprint. The same seed, the same text and the right form beside it do; so does a line that must not be
#   crossed, such as the best bigram, or the answer without memory.
#
# That is how language models were made from about 2010 to 2017. Nearly all since then are Transformers, which look back at every word
# instead of keeping one state: notebooks 08 and 09.
#
# ## References
#
# - Elman 1990, *Finding Structure in Time* (Cognitive Science 14); Werbos 1990, *Backpropagation Through Time* (Proceedings of the IEEE
#   78); Mikolov et al. 2010, *Recurrent neural network based language model* (Interspeech).
# - Bengio, Simard, Frasconi 1994, *Learning Long-Term Dependencies with Gradient Descent is Difficult* (IEEE Transactions on Neural
#   Networks 5); Pascanu, Mikolov, Bengio 2013, [arXiv 1211.5063](https://arxiv.org/abs/1211.5063).
# - Hochreiter, Schmidhuber 1997, *Long Short-Term Memory* (Neural Computation 9); Gers, Schmidhuber, Cummins 2000, *Learning to Forget*
#   (Neural Computation 12); Gers, Schmidhuber 2000, *Recurrent Nets that Time and Count* (IJCNN).
# - Cho et al. 2014, [arXiv 1406.1078](https://arxiv.org/abs/1406.1078); Chung et al. 2014, [arXiv
#   1412.3555](https://arxiv.org/abs/1412.3555); Józefowicz, Zaremba, Sutskever 2015, *An Empirical Exploration of Recurrent Network
#   Architectures* (ICML).
# - Arjovsky, Shah, Bengio 2016, [arXiv 1511.06464](https://arxiv.org/abs/1511.06464): the two tasks; Schuster, Paliwal 1997, *Bidirectional
#   Recurrent Neural Networks* (IEEE Transactions on Signal Processing 45).
# - Zaremba, Sutskever, Vinyals 2014, [arXiv 1409.2329](https://arxiv.org/abs/1409.2329): the LSTM of the Penn Treebank.
#
# This page was made with:

# %%
run.close()
{name: value for name, value in runtime.machine().items() if name in ("device", "processor", "reproducible", "versions")}

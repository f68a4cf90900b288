# %% [markdown]
# # 01 · Text to batches
#
# A model reads numbers. This notebook follows a text on its way there: it is **opened** by its name, **weighed** (how much does a
# sentence surprise, how much must it, at best?), cut into **tokens**, by characters, words or byte pairs, in English, French and
# Chinese, and arranged in **batches**, of which each kind of model wants another kind. No model is trained here, and nothing is
# left to chance twice: a batch is a function of the number of its step.
#
# **How to read.** The next cell holds what you may change. Profile `quick` made this page, on text that comes with the library;
# `smoke` takes seconds and is for tests; `real` takes its natural text from Wikipedia. With `corpus` you can put a text of your
# own in its place.

# %% tags=["parameters"]
profile = "quick"
corpus = None  # natural text: a name from `lmlib corpora`, or a path, "my.txt"

# %%
import math
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from numpy.testing import assert_allclose, assert_array_equal

from lmlib import runtime
from lmlib.errors import UnknownNameError
from lmlib.record import figures, show
from lmlib.record.claims import mean_sd
from lmlib.record.exercises import check
from lmlib.record.runs import notebook_run
from lmlib.text.corpora import names, open_corpus

# %% [markdown]
# What this notebook measures goes into a *run folder*, with its settings, seeds and texts, so that somebody else can run it again
# and compare.

# %%
sentences = 2000 if profile == "smoke" else 10_000
seeds, settings = range(3), {"sentences": sentences, "batch_size": 32}
natural = open_corpus(corpus or {"real": "wikitext-2"}.get(profile, "manual"))
train = open_corpus("world")
texts = [train, natural]
run = notebook_run("01_text_to_batches", profile, parameters=settings, seeds=seeds, corpus=texts)
print(f"profile {profile}: {train!r} and {natural!r}")

# %% [markdown]
# ## 1 · Where does the text come from?
#
# A corpus is a sequence of documents (sentences, lines, articles), with a licence and with the SHA-256 of its bytes, so that a
# result can say which text it was made of. `open_corpus` takes a registered name and gets the text from the package, from a
# folder of data or from the network. Or it takes the path of a file of yours: text, a folder of texts, CSV or JSON lines,
# compressed or not. What it does not find it does not replace by something else.

# %%
print(f"{len(names())} corpora have a name: {', '.join(names()[:5])} …")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "mine.txt").write_text("A line of mine.\nAnother.\n")
    mine = open_corpus(Path(folder, "mine.txt"))
    for opened in (train, natural, mine):
        print(f"{opened.name}: licence {opened.licence}, SHA-256 {opened.sha256[:8]}…")
        print("   begins:", next(iter(opened.documents()))[:70])
try:
    open_corpus("wrold")
except UnknownNameError as error:
    print(error)

# %% [markdown]
# Two texts accompany us. The *natural text* is prose: in `quick`, Python's own manual, which is on every machine. The other is
# the *small world*, made by a grammar whose probabilities are known; we look inside now.
#
# ## 2 · How probable is a sentence?
#
# A grammar makes a sentence $s$ in two draws: a *frame* $f$ with holes, then, for each of the tables that the frame speaks of, a
# row $r$ that fills its holes. Nothing else is random, so
#
# $$p(s) = p(f) \prod_{k=1}^{K_f} p(r_k \mid f), \qquad K_f \text{ the number of tables in the frame.}$$
#
# By hand, for a frame with one table, the countries:

# %%
from lmlib.text.world import END, World

world, sentence = World(), "the capital of france is paris ."
frames = world.grammar.frames
(frame,) = [f for f in frames if f.text.en.startswith("the capital of {")]
print(*frame.text, sep="\n")
total = sum(f.weight for f in frames)
countries = len({row["land"] for row in world.grammar.tables["country"]})
p = frame.weight / total * 1 / countries
assert_allclose(math.log(p), world.log_prob(sentence))
print(f"p = {frame.weight}/{total} · 1/{countries} = {p:.6f}")

# %% [markdown]
# The three patterns of the frame are filled from the same rows, which makes them translations of one another:

# %%
records = pd.DataFrame(world.records(6))
records[["en", "fr", "zh", "topic"]]

# %% [markdown]
# A reader meets the sentence word by word. By the chain rule, $p(s) = \prod_t p(w_t \mid w_1 \dots w_{t-1})$, and $-\log_2 p(w_t
# \mid w_1 \dots w_{t-1})$ is the *surprise* of word $t$, in bits. The grammar knows the distribution of the next word, too:

# %%
words = [*sentence.split(), END]
nexts = [world.next_words(" ".join(words[:t])) for t in range(len(words))]
bits = np.abs([math.log2(nexts[t][word]) for t, word in enumerate(words)])
assert_allclose(bits.sum(), -world.log_prob(sentence) / math.log(2))
ax = figures.new_axes(5.6, 2.8)
ax.bar(range(len(words)), bits)
ax.set(xticks=range(len(words)), xticklabels=words, ylabel="surprise (bits)")
ax.grid(visible=False, axis="x")
run.figure("surprise", ax)

# %% [markdown]
# **What to notice.** Three words surprise, the others cost nothing: how the sentence begins, what it is about, and which country.
# Whoever knows the facts of the world gets *paris* for nothing. A model that does not know them pays for it at every such
# sentence, and that is how its knowledge will be measured.
#
# ### Exercise 1
#
# Find a sentence of this world that is rarer than one in a million. (`world.next_words("on monday")` tells how a sentence can go
# on.)

# %%
rare = None  # your sentence
check(
    rare,
    (lambda s: world.log_prob(s) > -math.inf, "the grammar cannot say that"),
    (lambda s: world.log_prob(s) < math.log(1e-6), "that is more frequent"),
)

# %% [markdown]
# ## 3 · How much must a sentence surprise?
#
# The *entropy* of a source is the surprise of its sentences on average, and the number below which no model can come. Since a
# sentence of this grammar has exactly one derivation, it follows from the weights; and as for any source, it can be estimated
# from a sample $s_1, \dots, s_n$:
#
# $$H = H(f) + \sum_f p(f) \sum_{k=1}^{K_f} H(r_k \mid f), \qquad \hat H_n = -\frac{1}{n} \sum_{i=1}^{n} \log_2 p(s_i).$$
#
# By hand on a world of three sentences: 1 bit for one that comes every second time, 2 bits for each of the others.

# %%
from lmlib.text.world_grammar import Cell, Frame, Grammar

weather = {"it rains": 2, "it snows": 1, "the sun shines": 1}
frames = tuple(Frame("weather", weight, Cell(s, s, s)) for s, weight in weather.items())
by_hand = 2 / 4 * math.log2(4 / 2) + 1 / 4 * math.log2(4 / 1) + 1 / 4 * math.log2(4 / 1)
assert_allclose(by_hand, World(Grammar(tables={}, frames=frames)).entropy / math.log(2))
print(f"{by_hand} bits per sentence")

# %%
n, rows = np.unique(np.geomspace(10, 3 * sentences, 60).astype(int)), []
exact = world.entropy / math.log(2)
for seed in seeds:
    nats = [-world.log_prob(sentence) for sentence in world.sample(n[-1], seed=10 + seed)]
    means = np.cumsum(nats)[n - 1] / n / math.log(2)
    rows.append(pd.DataFrame({"seed": seed, "n": n, "bits": means, "exact": exact}))
estimates, error = pd.concat(rows), np.std(nats) / math.log(2) / np.sqrt(n)
ax = figures.curve(estimates, "n", "bits", optimum=exact, optimum_label="exact entropy")
ax.plot(n, exact + error, "k:", linewidth=1.2, label="exact ± 1 standard error")
ax.plot(n, exact - error, "k:", linewidth=1.2)
ax.set(xscale="log", xlabel="sentences in the sample, $n$", ylabel="bits per sentence")
ax.legend(frameon=False)
run.figure("entropy", ax)
run.table("entropy", estimates[estimates.n == n[-1]], corpus=[train])

# %% [markdown]
# **What to notice.** The estimates (line: mean of three seeds, band: one standard deviation) close in on the number that the
# grammar states, as slowly as samples always do: the standard error shrinks like $1/\sqrt{n}$, so that each further digit costs a
# hundred times as many sentences. In the other notebooks the entropy is given per token, the end of a sentence counted as one.
#
# ## 4 · How often does a word occur?
#
# Sort the words by frequency: the first has rank 1. Zipf's law says that in natural text the frequency of the word of rank $r$ is
# about
#
# $$\mathrm{count}(r) \approx \frac{C}{r}, \qquad r = 1, \dots, V.$$
#
# By hand, and by the tokenizer that counts words:

# %%
from lmlib.text.tokenizers import BytePairTokenizer, CharTokenizer, WordTokenizer

by_hand = Counter(["a", "rose", "is", "a", "rose"]).most_common()
counted = WordTokenizer.train(["a rose is a rose"], unk=None)
assert by_hand == list(zip(counted.words, counted.counts, strict=True))

# %%
tables = []
for opened in (natural, train):
    n = WordTokenizer.train(opened.documents(), normalisation="letters-digits").counts
    tables.append(pd.DataFrame({"rank": 1 + np.arange(len(n)), "share": 1e6 * n / n.sum()}))
    print(f"{opened.name}: {len(n):,} words, {np.mean(n == 1):.0%} of them occur only once")
table = pd.concat(tables, keys=[natural.name, train.name], names=["text"]).reset_index("text")
ax = figures.rank_frequency(table, y="share", hue="text", ylabel="occurrences\nper million words")
run.figure("zipf", ax)

# %% [markdown]
# **What to notice.** The natural text follows the dashed line up to a rank of about a thousand, and then falls below it, down to
# the many words that occur once: of most of its vocabulary a model sees little. The small world has no such tail. Its grammar
# draws from short lists, whose words are about equally frequent, and then it ends. What this book finds out about rare words it
# therefore checks on natural text.
#
# ## 5 · What is a token?
#
# A tokenizer maps a text to ids and back:
#
# $$\mathrm{encode}: \text{text} \to \{0, \dots, V-1\}^N, \qquad \mathrm{decode}: \{0, \dots, V-1\}^N \to \text{text}.$$
#
# There are three schools. *Characters* need few ids and make long sequences. *Words* make short ones, but there is always a word
# that the training text did not have. *Byte pairs* lie between, and section 6 builds them. Here they are on one sentence, each
# trained on the English side of the world:

# %%
sides = pd.DataFrame(world.records(sentences))
english = {
    "characters": CharTokenizer.train(sides.en),
    "words": WordTokenizer.train(sides.en),
    "byte pairs": BytePairTokenizer.train(sides.en, 600),
}
for name, tokenizer in english.items():
    ids = tokenizer.encode("the kitten plays beside the zebra .")
    label = f"{name}: {len(ids)} tokens, decoded: {tokenizer.decode(ids)}"
    display(show.tokens(tokenizer.pieces(ids), label=label))

# %% [markdown]
# **What to notice.** There is no zebra in the small world. To the word tokenizer it is `<unk>`, the unknown word, and gone for
# good; the others spell it. Hence a promise that can be tested: for characters and byte pairs, `decode(encode(s)) == s` for
# *every* text, even one that nobody trained on. And text never turns into a special token by accident: whoever types `</s>` gets
# its characters, not the end of a sentence.

# %%
strange = "Zebra\n\t 你好 🦓 </s> <unk> \x00"
for name in ("characters", "byte pairs"):
    assert english[name].decode(english[name].encode(strange)) == strange
ended = WordTokenizer.train(sides.en, specials=(END,))
assert ended.special(END) not in ended.encode("it is </s> over")
assert_array_equal(ended.encode("it is", after=END)[-1], ended.special(END))

# %% [markdown]
# How much does a word tokenizer lose on natural text? We count its words in nine documents of ten and look for unknown ones in
# the tenth.

# %%
documents = list(natural.documents())
kept = [document for i, document in enumerate(documents) if i % 10]
rows = []
for size in (100, 1000, 5000, None):
    tokenizer = WordTokenizer.train(kept, segmentation="punctuation", max_size=size)
    missed = tokenizer.out_of_vocabulary(documents[::10])
    rows.append((len(tokenizer.words), 100 * missed["rate"]))
unknown = pd.DataFrame(rows, columns=["words in the vocabulary", "unknown words (%)"])
run.table("unknown-words", unknown, corpus=[natural])
unknown.round(1)

# %% [markdown]
# **What to notice.** Even with every word that occurs in the nine, the tenth has new ones: there is no end to the tail of section
# 4. A larger vocabulary makes the loss smaller, never zero.

# %% [markdown]
# ## 6 · How are byte pairs learnt?
#
# Begin with bytes as symbols. Count, over all words, how often each two symbols stand side by side, and make the most frequent
# pair a symbol of its own; repeat until the vocabulary is full (Sennrich et al. 2016):
#
# $$(a, b)^* = \arg\max_{(a, b)} \sum_{w} n_w \cdot \#\{i : w_i = a,\ w_{i+1} = b\}, \qquad \text{then } V \leftarrow V + 1,$$
#
# with $n_w$ the count of word $w$, a sequence of symbols. Of two pairs with equal counts the one with the lower ids comes first.
# By hand on four words, the authors' example:

# %%
from lmlib.text.bpe import learn_merges, merge_pair

counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
words = {tuple(word): n for word, n in counts.items()}
ids, merges = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}, []
for _ in range(7):
    pairs = Counter()
    for symbols, n in words.items():
        for pair in pairwise(symbols):
            pairs[pair] += n
    best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
    words = {tuple(merge_pair(list(symbols), best)): n for symbols, n in words.items()}
    ids["".join(best)] = len(ids)
    merges.append(best)
    print(f"{pairs[best]} × {' + '.join(best):10} →", " | ".join(map(" ".join, words)))

# %% [markdown]
# The library has the same loop in readable form, `learn_merges`, and for daily use a fast one, which is the `tokenizers` package.
# All three agree:

# %%
texts = [word for word, n in counts.items() for _ in range(n)]
assert merges == learn_merges(texts, vocab_size=256 + 7)
assert merges == BytePairTokenizer.train(texts, vocab_size=256 + 7).merges

# %% [markdown]
# **What to notice.** *est* becomes one symbol early on, since two words share it, and *low* becomes one for itself and its
# comparative. Nobody said that these are an ending and a stem. That is why byte pairs can spell a word that they have never seen
# in few pieces.
#
# ### Exercise 2
#
# `lowest` does not occur in the training text. Into which tokens do the seven merges cut it?

# %%
pieces = None  # your answer: a list of strings
check(
    pieces,
    (lambda p: list(p) == ["low", "est"], "apply the merges in the order of learning"),
)

# %% [markdown]
# ## 7 · How long do the sequences get?
#
# The price of a small vocabulary is a long sequence. The records of the world say one thing in three languages, so that the
# lengths can be compared. Merges are nested (the first hundred of a thousand are the merges of a smaller vocabulary), so one
# training gives all sizes.

# %%
rows, sizes = [], (256, 300, 400, 600, 1000)
for seed in seeds:
    learn = pd.DataFrame(world.records(sentences, seed=seed))
    unseen = pd.DataFrame(world.records(2000, seed=100 + seed))
    for language in ("en", "fr", "zh"):
        full = BytePairTokenizer.train(learn[language], sizes[-1])
        readers = [("byte pairs", BytePairTokenizer(full.merges[: V - 256])) for V in sizes]
        readers.append(("characters", CharTokenizer.train(learn[language], fallback=False)))
        if language != "zh":  # which does not mark where a word ends
            readers.append(("words", WordTokenizer.train(learn[language])))
        for kind, tokenizer in readers:
            length = np.mean(list(map(len, tokenizer.encode_batch(unseen[language]))))
            rows.append((kind, language, seed, tokenizer.vocab_size, length))
lengths = pd.DataFrame(rows, columns=["tokenizer", "language", "seed", "vocabulary", "tokens"])
run.table("sequence-length", lengths, corpus=[train])

# %%
pairs = lengths[lengths.tokenizer == "byte pairs"]
ax = figures.curve(pairs, "vocabulary", "tokens", "language", ylabel="tokens per sentence")
for kind, marker in (("characters", "o"), ("words", "s")):
    ax.plot([], [], marker, color=figures.GREY, label=kind)
    means = lengths[lengths.tokenizer == kind].groupby("language")
    at = means.vocabulary.mean(), means.tokens.mean()
    ax.scatter(*at, c=figures.PALETTE[: len(means)], marker=marker, s=45, zorder=3)
ax.set(ylim=(0, None), xlabel="vocabulary (tokens)")
ax.legend(frameon=False, ncols=2)
run.figure("sequence-length", ax)

# %% [markdown]
# The same as numbers, for the largest of the vocabularies of byte pairs: tokens per sentence, mean ± standard deviation over
# seeds.

# %%
last = lengths[(lengths.tokenizer != "byte pairs") | (lengths.vocabulary == sizes[-1])]
last.groupby(["tokenizer", "language"]).tokens.agg(mean_sd).unstack().fillna("")

# %% [markdown]
# **What to notice.** The lines are byte pairs, from bare bytes on the left (the band of one standard deviation is narrower than
# the line). A Chinese character takes three bytes, so that in bytes the shortest of the three languages is nearly as long as
# English; with a thousand tokens it is the shortest again. By then byte pairs need few tokens more than words do, with no word
# unknown to them; and in Chinese, where no space ends a word, they run on to pieces longer than a character. The small world has
# few words, so its curves fall fast.
#
# And what becomes of a Chinese sentence in a tokenizer that was not made for it?

# %%
readers = {f"{name} learnt from English": tokenizer for name, tokenizer in english.items()}
readers["characters as words"] = WordTokenizer.train(sides.zh, segmentation="cjk")
readers["byte pairs learnt from Chinese"] = BytePairTokenizer.train(sides.zh, 1000)
for name, tokenizer in readers.items():
    ids = tokenizer.encode(records.zh[3])
    display(show.tokens(tokenizer.pieces(ids), label=f"{name}, tokens: {len(ids)}"))

# %% [markdown]
# **What to notice.** Learnt from English, characters and byte pairs fall back to bytes, written here as `\xe4`, three to a
# character. Nothing is lost, but the sentence is three times as long as it has characters, and a model that remembers a given
# number of tokens remembers a third of the text. The word tokenizer, waiting for spaces that Chinese does not write, sees a
# single unknown word. A tokenizer speaks the languages that it was shown.
#
# Try your own: in a live notebook the next cell has a field for a text and a menu of tokenizers.


# %%
def cut(text="She reads 30 newspapers, naïvely.", tokenizer="byte pairs"):
    ids = english[tokenizer].encode(text)
    return show.tokens(english[tokenizer].pieces(ids), label=f"{tokenizer}: {len(ids)} tokens")


show.explore(cut, text="She reads 30 newspapers, naïvely.", tokenizer=[*english])

# %% [markdown]
# ## 8 · Which text goes into which row?
#
# Let the corpus be one line of ids $c_0, c_1, \dots, c_{N-1}$. A language model gets $x, y \in \{0, \dots, V-1\}^{B \times L}$,
# where $y$ is one place further on: $x_{it} = c_{a_i + t}$ and $y_{it} = c_{a_i + t + 1}$. What differs is where row $i$ begins
# at step $\tau$:
#
# $$\text{streams: } a_i(\tau) = i \, S + \tau L, \quad S = \lfloor (N - 1) / B \rfloor; \qquad
# \text{windows: } a_i(\tau) = a_0 + \pi(\tau B + i) \, L,$$
#
# with $\pi$ a random order of the windows and $a_0$ a random offset. By hand on thirteen tokens, whose ids are simply their
# places, with $B = 2$ and $L = 3$:

# %%
from lmlib.text.batches import BPTTStreams, LanguageModelWindows, TokenStore, write_tokens

places = TokenStore.from_sequences([range(13)], vocab_size=13)
streams = np.arange(12).reshape(2, 6)  # S = 6
for step in range(2):
    by_hand_BL = streams[:, 3 * step : 3 * step + 3]
    batch = BPTTStreams(places, batch_size=2, length=3)[step]
    assert_array_equal(by_hand_BL, batch["tokens"])
    assert_array_equal(by_hand_BL + 1, batch["targets"])

# %%
text = TokenStore.from_sequences([range(61)], vocab_size=61)
kinds = {"streams": BPTTStreams(text, 2, 6), "windows": LanguageModelWindows(text, 2, 6, seed=3)}
for name, batches in kinds.items():
    at = [(i, step) for i in range(2) for step in range(4)]
    rows = {f"row {i}, step {step}": batches[step]["tokens"][i] for i, step in at}
    frame = pd.DataFrame(rows).T
    ax = figures.heatmap(frame, colourbar="place in the corpus", text=frame)
    ax.set(title=name, xlabel="place in the row")
    run.figure(name, ax)

# %% [markdown]
# **What to notice.** Colour is the place in the corpus. In *streams* each row reads on from step to step: row 0 from the
# beginning of the text, row 1 from its middle. A recurrent model can hand its state from one step to the next. In *windows* every
# row begins somewhere else. That makes the rows of a batch independent, and a state handed on would be wrong.
#
# ## 9 · Who is whose neighbour?
#
# Word vectors are learnt from pairs: a word, the *centre*, and one of the words around it. How far around is drawn for each
# centre, $R \sim \mathrm{Uniform}\{1, \dots, W\}$, so that a neighbour at distance $d$ is used with probability
#
# $$P(d \le R) = \frac{W + 1 - d}{W}, \qquad 1 \le d \le W.$$
#
# By hand for $W = 3$: the radii 1, 2, 3 are equally likely, and we count which distances each reaches. Then a sentence of the
# world with $W = 4$, drawn 500 times:

# %%
from lmlib.text.batches import CBOWBlocks

W, d = 3, np.array([1, 2, 3])
by_hand = np.mean([d <= 1, d <= 2, d <= 3], axis=0)
assert_allclose(by_hand, (W + 1 - d) / W)

# %%
words = ["the", "mayor", "of", "paris", "praises", "wine", "."]
one = TokenStore.from_sequences([range(len(words))], vocab_size=len(words))
blocks = CBOWBlocks(one, span=len(words), window=4)
used = np.zeros((len(words), len(words)))
for block in (blocks[step] for step in range(500)):
    centre, which = np.nonzero(block["mask"])
    used[block["centres"][centre], block["contexts"][centre, which]] += 1 / 500
used = pd.DataFrame(used, words, words)
ax = figures.heatmap(used, colourbar="share of draws", text=used.map("{:.2f}".format))
ax.set(xlabel="neighbour", ylabel="centre")
run.figure("windows-of-words", ax)

# %% [markdown]
# **What to notice.** Along the diagonal next neighbours are always used, then the share falls by steps of a quarter: near words
# weigh more, without any weight in the program. The shares scatter about 0.75, 0.50 and 0.25, since they were drawn. (The
# diagonal itself is empty: no word is its own neighbour.)
#
# ### Exercise 3
#
# With $W = 5$, how many neighbours does a word in the middle of a long text have on average?

# %%
neighbours = None  # your answer
check(
    neighbours,
    (lambda x: x != 10, "ten is the most that there can be; R is drawn"),
    (lambda x: abs(x - 6) < 1e-9, "sum P(d ≤ R) over d = 1 … 5, on both sides"),
)

# %% [markdown]
# ## 10 · What does padding cost?
#
# Sequences of unequal length become a rectangle by *padding*: row $i$ has $\ell_i$ real tokens, and the rest of its $L$ cells is
# filled up. What is computed for nothing is
#
# $$\text{waste} = 1 - \frac{\sum_i \ell_i}{\sum_{\text{batches}} B L}.$$
#
# By hand, lengths 2, 3 and 7 in a batch make 21 cells for 12 tokens.

# %%
from lmlib.text.batches import PaddedBatches, pad, permutation

tokens_BL, lengths_B = pad([[1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11, 12]], length=7)
by_hand = 1 - (2 + 3 + 7) / (3 * 7)
assert_allclose(by_hand, 1 - lengths_B.sum() / tokens_BL.size)
print(tokens_BL, f"waste {by_hand:.0%}", sep="\n")

# %% [markdown]
# Three ways to batch the paragraphs of the natural text: in random order, each batch padded to the longest of its own; by
# *buckets*, where a paragraph joins others of its size class (8, 16, 32, …); and by finer buckets. Every different $L$ is another
# program to compile (notebook 00), so we count these as well.

# %%
tokenizer = WordTokenizer.train(documents, segmentation="punctuation")
paragraphs, size, rows = write_tokens(documents, tokenizer), settings["batch_size"], []
length = np.diff(paragraphs.offsets)
fine = [*range(8, 128, 8), *(2**k for k in range(7, 2 + int(math.log2(length.max()))))]
for seed in seeds:
    drawn = length[permutation(len(length), seed, epoch=0)]
    parts = [drawn[i : i + size] for i in range(0, len(drawn), size)]
    kinds = {"random": [(size, part.max()) for part in parts]}
    for name, boundaries in (("buckets", None), ("fine buckets", fine)):
        batches = PaddedBatches(paragraphs, size, seed, boundaries)
        kinds[name] = [batch["tokens"].shape for batch in batches]
    for name, cells in kinds.items():
        waste = 100 * (1 - length.sum() / np.prod(cells, axis=1).sum())
        rows.append((name, seed, waste, len(set(cells))))
waste = pd.DataFrame(rows, columns=["batches", "seed", "padding, % of cells", "shapes"])
run.table("padding", waste, corpus=[natural])

# %%
run.figure("padding", figures.bars(waste, "batches", "padding, % of cells", xlabel=""))
waste.groupby("batches", sort=False)[["padding, % of cells", "shapes"]].agg(mean_sd)

# %% [markdown]
# **What to notice.** In random order most of the work is done for nothing, since one long paragraph makes its whole batch wide.
# Buckets save more than half of that, and need a handful of programs instead of one for nearly every width. Finer buckets save
# more and need more programs: which is cheaper depends on how long the training is. (Buckets have no spread over seeds: into
# which one a paragraph goes depends on its length alone.)
#
# ## 11 · What is batch number 1,000,003?
#
# A generator of batches has a past: to reach batch $\tau$ it has to make all those before. Here a batch is a *function* of its
# number, $\mathrm{batch} = F(\text{corpus}, \text{seed}, \tau)$, made of the raw output of a generator whose stream can be
# entered anywhere. A step beyond the end of the corpus belongs to a later epoch, with another order:

# %%
batches = LanguageModelWindows(text, batch_size=2, length=6, seed=1)
starts = [int(batches[step]["tokens"][0, 0]) for step in range(10)]
print(f"row 0 begins, in two epochs of {len(batches)} steps, at", starts)
resumed = LanguageModelWindows(text, batch_size=2, length=6, seed=1)  # tomorrow, elsewhere
for step in (7, 8, 1_000_003):
    assert_array_equal(batches[step]["tokens"], resumed[step]["tokens"])

# %% [markdown]
# **What to notice.** Nothing has to be saved or replayed to resume a run in the middle of an epoch, and on several machines each
# can make its own part. The same step gives the same batch, today, tomorrow and elsewhere.
#
# ## Summary
#
# | question | answer to keep |
# |:---|:---|
# | which text? | a name, a split and a SHA-256; your own file works wherever a name does |
# | how good can a model be? | the small world knows: $p(s)$ of each sentence, and the entropy of the source |
# | which tokens? | characters: long sequences; words: short ones, and unknown words; byte pairs: between, and nothing unknown |
# | which language? | a tokenizer speaks those that it was shown |
# | which batches? | streams for a state that is carried, windows for everything else, pairs for word vectors, buckets for whole sequences |
# | which batch is it? | a function of corpus, seed and step, and of nothing else |
#
# Next: [03 · word2vec](03_word2vec.ipynb) learns from the pairs of section 9.
#
# ## References
#
# - Sennrich, Haddow and Birch (2016), [Neural machine translation of rare words with subword units](https://arxiv.org/abs/1508.07909),
# ACL. Byte pair encoding; the four words of section 6 are theirs.
# - Radford et al. (2019), Language models are unsupervised multitask learners. Byte pairs over bytes, inside of words.
# - Shannon (1948), A mathematical theory of communication, Bell System Technical Journal 27. Entropy.
# - Zipf (1949), Human behavior and the principle of least effort, Addison-Wesley.
# - Mikolov, Chen, Corrado and Dean (2013), [Efficient estimation of word representations in vector
# space](https://arxiv.org/abs/1301.3781). The window that is drawn.
# - Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC'11. Random numbers that can be entered anywhere.

# %%
run.close()
print(f"profile {profile}, seeds {[*seeds]}, {natural.name} {natural.sha256[:12]}…")
print(" · ".join(f"{name} {version}" for name, version in runtime.versions().items()))

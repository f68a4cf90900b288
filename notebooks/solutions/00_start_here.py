# %% [markdown]
# # Solutions to 00 · Start here
#
# Each answer stands with the check of its exercise; run the file to see that they pass.

# %%
import lmlib  # noqa: F401  before jax, for it sets what must be set before jax starts

# isort: split
import jax
import optax
from flax import nnx

from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fit, init_train_state, make_train_step
from lmlib.measure.perplexity import perplexity
from lmlib.models.base import merge, split
from lmlib.models.bigram import Bigram, BigramConfig
from lmlib.record.exercises import check
from lmlib.text.batches import LanguageModelWindows, PaddedBatches, write_tokens
from lmlib.text.corpora import open_corpus
from lmlib.text.tokenizers import WordTokenizer
from lmlib.text.world import END

# %% [markdown]
# ### Exercise 1
#
# Both lines print 6: the temperature was read once, when the function was traced. As an argument it is read at every call.

# %%
cool = jax.jit(lambda z, temperature: z / temperature)
check(
    cool,
    (lambda f: hasattr(f, "lower"), "wrap it in jax.jit"),
    (lambda f: (f(6.0, 1.0), f(6.0, 2.0)) == (6, 3), "make the temperature an argument"),
    strict=True,
)

# %% [markdown]
# ### Exercise 2
#
# First the key of the step, then two keys of it. A key that was split is not used again.


# %%
def two(key, step):
    dropout, noise = jax.random.split(jax.random.fold_in(key, step))
    return jax.random.uniform(dropout), jax.random.uniform(noise)


k = jax.random.key(0)
check(
    two,
    (lambda f: len(set(map(float, f(k, 0)))) == 2, "the two are equal: one key was used twice"),
    (lambda f: f(k, 0)[0] != f(k, 1)[0], "steps 0 and 1 draw the same number: fold the step in"),
    (lambda f: f(k, 5)[0] == f(k, 5)[0], "two calls with the same arguments differ"),
    strict=True,
)

# %% [markdown]
# ### Exercise 3
#
# Eight numbers a word will do; four leave about half a bit. The table of pairs has as many rows as there are words, but most rows
# are mixtures of a few distributions: after "the", after a number, after the name of a person. Half the steps of the notebook are
# enough to see it. The excess is the one on the test text: the best bigram needs 2.475 bits there (section 6).

# %%
train, test = open_corpus("world"), open_corpus("world", "test")
tokenizer = WordTokenizer.train(train.documents(), unk=None, specials=(END,))
store = write_tokens(train.documents(), tokenizer, after=END)
padded = list(PaddedBatches(write_tokens(test.documents(), tokenizer, after=END), batch_size=500))
end, excess = tokenizer.special(END), {}
for d_model in (4, 8):
    definition, params = split(Bigram(BigramConfig(tokenizer.vocab_size, d_model, end, end), rngs=nnx.Rngs(0)))
    optimizer = optax.adam(optax.linear_schedule(5e-2, 0, 200))
    train_step = make_train_step(next_token_loss(definition), optimizer)
    start = init_train_state(params, optimizer)
    *_, (state, _) = fit(train_step, start, LanguageModelWindows(store, 64, 32), key=k, steps=200, steps_per_call=20)
    excess[d_model] = perplexity(merge(definition, state["params"]), padded).bits_per_token - 2.475
print({d: round(bits, 2) for d, bits in excess.items()})
check(
    min(d for d, bits in excess.items() if bits < 0.2),
    (lambda d: d in (1, 2, 4, 8, 16, 32), "it has to be one of 1, 2, 4, …"),
    (lambda d: d >= 8, "with so few numbers for a word, the excess stays above 0.2 bits"),
    (lambda d: d <= 8, "half as many will do, too"),
    strict=True,
)

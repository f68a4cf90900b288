# %% [markdown]
# # Solutions to 04 · GloVe
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import numpy as np

from lmlib.measure.bias import effect_size
from lmlib.models.glove import weighting
from lmlib.text.cooccurrence import count_cooccurrences
from lmlib.text.store import TokenStore

# %% [markdown]
# ## Exercise 1
#
# The two are three places apart. The first has the second in its window and the second has the first: $\tfrac13 + \tfrac13$.

# %%
the_the = 2 / 3
counted = count_cooccurrences(TokenStore.from_sequences([[0, 1, 2, 0, 3]], 4), window=5)
assert (counted.rows[0], counted.columns[0]) == (0, 0)
assert np.isclose(the_the, counted.counts[0])

# %% [markdown]
# ## Exercise 2
#
# $(x / 100)^{3/4} = \tfrac12$ has the solution $x = 100 \cdot (\tfrac12)^{4/3}$: a count of 40 already has half the say of one of 100.

# %%
half = 100 * 0.5 ** (4 / 3)
assert np.isclose(weighting(half, 100.0), 0.5)

# %% [markdown]
# ## Exercise 3
#
# PMI is 0 where the pair is as frequent as chance makes it, $X_{ij} = X_i X_j / \sum X$.

# %%
no_news = 20 * 30 / 600
assert np.isclose(np.log(no_news * 600 / (20 * 30)), 0)

# %% [markdown]
# ## Exercise 4
#
# Any two numbers will do, the larger one for both words of $X$ and the other for both of $Y$: their difference is then twice the standard
# deviation of the four.

# %%
extreme = [1.0, 1.0], [-1.0, -1.0]
assert np.isclose(effect_size(*map(np.array, extreme)), 2)

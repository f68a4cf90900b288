# %% [markdown]
# # Solutions to 11 · Classification
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import numpy as np

from lmlib.measure.classification import classification, wilson_interval

# %% [markdown]
# ## Exercise 1
#
# Precision is 30/40, recall 30/60, and their harmonic mean 2 · 30 / (40 + 60). How much ham there was plays no part.

# %%
f_1 = 0.6
true, said = ["spam"] * 60 + ["ham"] * 200, ["spam"] * 30 + ["ham"] * 30 + ["spam"] * 10 + ["ham"] * 190
table = classification(true, said).frame().set_index("label")
assert np.isclose(table.loc["spam", "f1"], f_1)

# %% [markdown]
# ## Exercise 2
#
# Two products of matrices are one, here of 1,024 × 2 numbers, and the two vectors of biases become one of 2. The two layers have
# 1,024² + 1,024 + 2,048 + 2 = 1,051,650 parameters, and can say no more.

# %%
parameters = 1_024 * 2 + 2
W_1, b_1, W_2, b_2 = (np.random.default_rng(0).normal(size=shape) for shape in ((8, 8), 8, (8, 2), 2))
x = np.ones((1, 8))
assert np.allclose((x @ W_1 + b_1) @ W_2 + b_2, x @ (W_1 @ W_2) + (b_1 @ W_2 + b_2))

# %% [markdown]
# ## Exercise 3
#
# With 100 messages the intervals overlap widely; with 10,000 they are ten times narrower and lie apart.

# %%
overlap = (True, False)
for n, answer in zip((100, 10_000), overlap, strict=True):
    assert (wilson_interval(95 * n // 100, n)[1] > wilson_interval(97 * n // 100, n)[0]) == answer

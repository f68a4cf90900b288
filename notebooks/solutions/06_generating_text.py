# %% [markdown]
# # Solutions to 06 · Generating text
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import math

import jax
import jax.numpy as jnp
import numpy as np

from lmlib import warpers
from lmlib.beam import length_penalty

# %% [markdown]
# ## Exercise 1
#
# At temperature T their ratio, 2, becomes 2 to the power of 1 / T; 4 is its square.

# %%
T = 0.5
p = jax.nn.softmax(warpers.temperature(jnp.log(jnp.array([[0.6, 0.3, 0.1]])), T))[0]
assert np.isclose(p[0] / p[1], 4)

# %% [markdown]
# ## Exercise 2
#
# The entropy of 0.45, 0.275, 0.275 is 1.07 nats. The surprisal of 0.275, 1.29, is nearer to it than that of 0.45, 0.80; and the two
# together have more than a half, so the third is not needed.

# %%
three = (0.45, 0.275, 0.275)
surprisal = -np.log(three)
entropy = (three * surprisal).sum()
assert np.abs(surprisal - entropy).argmax() == 0
assert np.isneginf(warpers.typical(jnp.log(jnp.array([three])), 0.5)[0, 0])

# %% [markdown]
# ## Exercise 3
#
# −6 / (11/6)^α is above −4 / (7/6)^α where (11/7)^α is above 6/4, that is from log 1.5 / log (11/7) on, about 0.9.

# %%
alpha = math.log(1.5) / math.log(11 / 7)
for a, longer_wins in ((alpha - 0.01, False), (alpha + 0.01, True)):
    assert (-6 / length_penalty(6, a) > -4 / length_penalty(2, a)) == longer_wins

# %% [markdown]
# ## Exercise 4
#
# The negative one is multiplied, the positive one divided: both become less probable.

# %%
after = (-2.0, 0.5)
assert np.allclose(warpers.repetition_penalty(jnp.array([[-1.0, 1.0]]), jnp.array([[True, True]]), 2.0), after)

# %% [markdown]
# # Solutions to 03 · word2vec
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import jax
import numpy as np
from scipy.special import expit as sigmoid

from lmlib.models import word2vec
from lmlib.models.huffman import huffman_tree

# %% [markdown]
# ## Exercise 1
#
# Turn queen by a right angle, $(x, y) \to (-y, x)$, and divide by the length. The opposite direction is right, too.

# %%
queen_D = np.array([1.2, 1.0])
bread_D = np.array([-queen_D[1], queen_D[0]]) / np.linalg.norm(queen_D)
assert abs(bread_D @ queen_D) < 1e-12
assert np.isclose(np.linalg.norm(bread_D), 1)

# %% [markdown]
# ## Exercise 2
#
# The radii 3, 4 and 5 of the five reach a word at distance 3: in general $(c + 1 - d)/c$.

# %%
probability = (5 + 1 - 3) / 5
assert np.isclose(probability, np.mean(np.arange(1, 6) >= 3))

# %% [markdown]
# ## Exercise 3
#
# Only the first term of the loss holds $u_o$: $\partial \ell / \partial u_o = (\sigma(u_o^\top v_c) - 1)\, v_c$.

# %%
queen_D, king_D, tea_D = np.array([1.0, -0.5]), np.array([0.8, 0.2]), np.array([0.5, 1.2])
king_gradient_D = (sigmoid(king_D @ queen_D) - 1) * queen_D
wanted_D = jax.grad(word2vec.negative_sampling_loss, argnums=1)(queen_D, king_D, tea_D[None])
assert np.allclose(king_gradient_D, wanted_D, atol=1e-5)

# %% [markdown]
# ## Exercise 4
#
# The two rarest together must outweigh each of the others, so that the others are joined next and not to them.

# %%
counts_V = [3, 3, 2, 2]
assert set(huffman_tree(np.array(counts_V))["lengths"]) == {2}

# %% [markdown]
# ## Exercise 5
#
# Near 0, $\sigma(u) - \tfrac12 \approx u/4$, so an update takes $u$ to $(1 - 0.1\, n / 4)\, u$. Its size grows once $0.1\, n / 4 > 2$.

# %%
pairs_at_once = 80


def after(u, n):
    """u after one update with n pairs."""
    return u - 0.1 * n * (sigmoid(u) - 0.5)


assert abs(after(0.01, pairs_at_once)) <= 0.01
assert abs(after(0.01, pairs_at_once + 1)) > 0.01

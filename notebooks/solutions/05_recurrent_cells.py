# %% [markdown]
# # Solutions to 05 · Recurrent cells
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import jax
import jax.numpy as jnp
import numpy as np

from lmlib.models.cells import GRU, Cell, shapes
from lmlib.models.scans import scan

# %% [markdown]
# ## Exercise 1
#
# The input is added to the state, and nothing else happens: $h_t = \mathrm{ReLU}(1 \cdot x_t + 1 \cdot h_{t-1} + 0)$. A singular value of
# exactly 1 keeps what it has counted, for ever.

# %%
counter = (1, 1, 0)
relu = Cell("rnn", activation="relu")
weights = {name: jnp.full(shape, float(v)) for (name, shape), v in zip(shapes(relu, 1, 1).items(), counter, strict=True)}
read_L11 = jnp.array([1.0, 0, 1, 1, 0])[:, None, None]
assert scan(relu, weights, (jnp.zeros((1, 1)),), read_L11)[0].ravel().tolist() == [1, 1, 2, 3, 3]

# %% [markdown]
# ## Exercise 2
#
# $\sigma(b)^{100} = \frac12$ gives $\sigma(b) = 2^{-1/100} = 0.9931$, and $b = \log \frac{0.9931}{1 - 0.9931} = 4.97$.

# %%
gate = 2 ** (-1 / 100)
bias = np.log(gate / (1 - gate))
assert np.isclose((1 / (1 + np.exp(-bias))) ** 100, 0.5)
assert np.isclose(bias, 4.97, atol=0.01)

# %% [markdown]
# ## Exercise 3
#
# The update gate keeps where it is open. Its bias stands in columns 4 to 7 of `b`; with 50, σ is 1 to all digits of a `float32`, whatever
# the rest of the sum is. (In Chung's convention it would be −50.)


# %%
def closed(weights):
    return weights | {"b": jnp.asarray(weights["b"]).at[4:8].set(50.0)}


keys = iter(jax.random.split(jax.random.key(0), 4))
some = {name: 0.5 * jax.random.normal(next(keys), shape) for name, shape in shapes(GRU, 3, 4).items()}
start_14 = jnp.array([[0.5, -0.2, 0.8, 0.1]])
h_L14, _ = scan(GRU, closed(some), (start_14,), 3 * jnp.ones((10, 1, 3)))
assert np.abs(h_L14 - start_14[None]).max() < 1e-3
assert np.abs(scan(GRU, some, (start_14,), 3 * jnp.ones((10, 1, 3)))[0] - start_14[None]).max() > 1e-3

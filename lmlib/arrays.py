"""Small things that every model needs of arrays.

Shapes: B batch, L time.
"""

import jax
import jax.numpy as jnp

CACHE_LINE = 16  # floats; rows of tables are filled up to whole ones, since a CPU then reads and writes them about a fifth faster


def length_mask(lengths_B, max_length):
    """True where a token is real: (B, max_length) with position < length."""
    return jnp.arange(max_length)[None, :] < lengths_B[:, None]


def all_finite(tree):
    """A scalar that is True if every number of every array in the tree is finite."""
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack(finite)) if finite else jnp.array(True)


def initial_state(params, opt_state=None, carry=None):
    """The state of a training run before step 0, see `lmlib.learn.train`; plain gradient descent has no optimiser's state."""
    counters = {name: jnp.zeros((), jnp.int32) for name in ("step", "skipped")}
    return {"params": params, "opt_state": opt_state, "carry": carry, **counters}

"""Small things that every model needs of arrays.

Shapes: B batch, L time.
"""

import jax
import jax.numpy as jnp


def length_mask(lengths_B, max_length):
    """True where a token is real: (B, max_length) with position < length."""
    return jnp.arange(max_length)[None, :] < lengths_B[:, None]


def all_finite(tree):
    """A scalar that is True if every number of every array in the tree is finite."""
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack(finite)) if finite else jnp.array(True)

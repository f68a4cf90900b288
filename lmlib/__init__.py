"""lmlib: the classics of language modelling in JAX, small enough to read and fast enough to use.

Importing it is instant: it only prepares the process (`lmlib.runtime.setup`), before jax starts, and loads nothing heavy.
Import what you need by its full name, e.g. `from lmlib.models.word2vec import SkipGramConfig`.
"""

from lmlib import runtime

__version__ = "0.1.0"

runtime.setup()

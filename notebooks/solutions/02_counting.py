# %% [markdown]
# # Solutions to 02 · Counting
#
# Run the file: it stops at an answer that is wrong.

# %%
from lmlib import runtime  # noqa: F401  first, for it sets what must be set before jax starts

# isort: split
import math

import numpy as np

from lmlib.models import hmm, ngram

# %% [markdown]
# ## Exercise 1
#
# After *the*, two of three; after *drinks*, one of three. At the other three places only one word was ever seen.

# %%
probability = 1 * 2 / 3 * 1 * 1 / 3 * 1
the, king, queen, drinks, tea, wine, end = range(7)
text = [[the, king, drinks, tea, end], [the, queen, drinks, tea, end], [the, queen, drinks, wine, end]]
model = ngram.train(ngram.NgramConfig(7, 2, "mle", bos=end, eos=end), text)
assert np.isclose(probability, np.exp(model.score([text[2]], [5]).sum()))

# %% [markdown]
# ## Exercise 2
#
# The three cost 1, 2 and 5 bits, 8/3 on average. (The mean of 2, 4 and 32, or the power of the mean of the probabilities, is
# something else.)

# %%
answer = 2 ** ((1 + 2 + 5) / 3)
assert np.isclose(answer, (1 / 2 * 1 / 4 * 1 / 32) ** (-1 / 3))

# %% [markdown]
# ## Exercise 3
#
# A pays $\log_2 100 / 6 = 1.107$ bits a character, B $\log_2 2.2 = 1.138$.

# %%
better = "A" if math.log2(100) / 6 < math.log2(2.2) else "B"
assert better == "A"

# %% [markdown]
# ## Exercise 4
#
# After 2, 0 and then 1, the last state is more likely 0 than 1, counting all paths; but the best single path ends in 1, where the token
# in the middle has most probably put the chain.

# %%
tokens = [2, 0, 1]
params = {"start": [0.6, 0.4], "transition": [[0.7, 0.3], [0.4, 0.6]], "emission": [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]}
params = {name: np.array(table, np.float32) for name, table in params.items()}
path_1L, _ = hmm.viterbi(params, np.array([tokens]), np.array([3]))
posterior_1LS, _ = hmm.posteriors(params, np.array([tokens]), np.array([3]))
assert path_1L[0].tolist() == [0, 1, 1]
assert posterior_1LS[0].argmax(axis=1).tolist() == [0, 1, 0]

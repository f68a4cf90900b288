# %% [markdown]
# # Solutions to 01 · Text to batches
#
# Each answer stands with the check of its exercise; run the file to see that they pass.

# %%
import math

from lmlib.record.exercises import check
from lmlib.text.bpe import apply_merges, learn_merges
from lmlib.text.world import World

# %% [markdown]
# ### Exercise 1
#
# Rare is what takes many choices, each among many. This frame speaks of a day, a person, a verb, a place and another person.

# %%
world = World()
check(
    "on monday anna ate near the garden with tom .",
    (lambda s: world.log_prob(s) > -math.inf, "the grammar cannot say that"),
    (lambda s: world.log_prob(s) < math.log(1e-6), "that is more frequent"),
    strict=True,
)

# %% [markdown]
# ### Exercise 2
#
# e + s, es + t, l + o and lo + w fit, in this order; then `low` and `est` stand side by side, a pair that was never merged.

# %%
counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
merges = learn_merges([word for word, n in counts.items() for _ in range(n)], vocab_size=256 + 7)
check(
    apply_merges("lowest", {pair: rank for rank, pair in enumerate(merges)}),
    (lambda p: list(p) == ["low", "est"], "apply the merges in the order of learning"),
    strict=True,
)

# %% [markdown]
# ### Exercise 3
#
# On each side as many neighbours as the radius is long, and the radius is 3 on average, so 6.
# By distances it is the same: 2 · (5/5 + 4/5 + 3/5 + 2/5 + 1/5).

# %%
check(
    2 * sum((5 + 1 - d) / 5 for d in range(1, 6)),
    (lambda x: x != 10, "ten is the most that there can be; R is drawn"),
    (lambda x: abs(x - 6) < 1e-9, "sum P(d ≤ R) over d = 1 … 5, on both sides"),
    strict=True,
)

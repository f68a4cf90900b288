"""Early stopping: which state is the best so far, and for how long there has been none better.

Prechelt 1998, "Early Stopping – But When?" (LNCS 1524). The score is one on validation data, which nothing else is chosen or reported on:

    best = Best()
    for epoch in range(epochs):
        …                                                    # train an epoch
        best = best.watch(validation_loss, state["params"], epoch)
        if best.waited >= patience:
            break
    params = best.value
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Best:
    """The best of what was evaluated; never changed, `watch` makes the next one."""

    score: float = math.nan  # of `value`; NaN before there is one
    value: Any = None  # what was kept, on the host
    at: int | None = None  # when it was evaluated
    waited: int = 0  # evaluations since then that were not better

    def watch(self, score, value, at: int, *, higher: bool = False) -> "Best":
        """The best after one more evaluation.

        Args:
          score: of the evaluation; NaN is never the best. One that is equal to the best is not better.
          value: what to keep, a tree of arrays. It is copied to the host if it is the best, so the arrays may be donated to the next step.
          at: when, e.g. the epoch.
          higher: whether a higher score is better, as accuracy is; else a lower one, as loss is.
        """
        score = float(score)
        better = score > self.score if higher else score < self.score
        if better or (math.isnan(self.score) and not math.isnan(score)):
            return Best(score, jax.tree.map(np.array, value), at, 0)  # a true copy: on a CPU device_get gives the array's own memory
        return Best(self.score, self.value, self.at, self.waited + 1)

"""Which optimiser, at which rate: names of optax, so that a run can be told by its config.

Learning rates as a function of the step, of `steps` in all: constant; linear, to zero; cosine, half a cosine to zero (Loshchilov & Hutter
2017, arXiv 1608.03983); "step": constant for a while, then multiplied by a factor every so many steps, as Zaremba et al. 2014
(arXiv 1409.2329) do; or "plateau": multiplied by a factor when the caller, who sees how validation goes, says so (`lower_rate`). Each may
begin with a linear warm-up from zero. The gradient is clipped by its norm first (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lmlib.errors import ConfigError

OPTIMISERS = ("sgd", "adadelta", "adam", "adamw")
SCHEDULES = ("constant", "linear", "cosine", "step", "plateau")


@dataclass(frozen=True)
class OptimConfig:
    """An optimiser and its learning rate."""

    name: Literal["sgd", "adadelta", "adam", "adamw"] = "adam"
    learning_rate: float = 1e-3  # after the warm-up
    schedule: Literal["constant", "linear", "cosine", "step", "plateau"] = "constant"
    warmup: int = 0  # steps in which the rate rises from zero
    hold: int = 0  # schedule "step": steps before the first fall, those of the warm-up included
    every: int = 0  # schedule "step": steps between two falls
    factor: float = 0.5  # schedules "step" and "plateau": by which the rate is multiplied
    weight_decay: float = 0.0  # of "adamw"
    clip: float | None = None  # largest norm of the gradient; None does not clip

    def __post_init__(self):
        for name, values in (("name", OPTIMISERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in values:
                raise ConfigError(f"OptimConfig.{name} must be one of {', '.join(map(repr, values))}, got {getattr(self, name)!r}")
        for name in ("learning_rate", "factor", "clip"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ConfigError(f"OptimConfig.{name} must be positive, got {getattr(self, name)}")
        for name in ("warmup", "hold", "every", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"OptimConfig.{name} must not be negative, got {getattr(self, name)}")
        if self.schedule == "step" and not (self.every and self.hold > self.warmup):
            raise ConfigError(
                "OptimConfig.schedule 'step' needs every > 0 and a hold longer than the warm-up that is part of it, "
                f"got {self.every}, {self.hold} and {self.warmup}"
            )
        if self.schedule != "step" and (self.hold or self.every):
            raise ConfigError(f"OptimConfig.hold and every are options of schedule='step', not of {self.schedule!r}")
        if self.weight_decay and self.name != "adamw":
            raise ConfigError(f"OptimConfig.weight_decay is an option of 'adamw', not of {self.name!r}")


def make_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step, counted from 0.

    Args:
      config: which.
      steps: of the whole run, the warm-up included; "linear" and "cosine" end there.

    Raises:
      ConfigError: the warm-up takes the whole run.
    """
    if steps <= config.warmup:
        raise ConfigError(f"a warm-up of {config.warmup} steps leaves nothing of a run of {steps}")
    rate, left = config.learning_rate, steps - config.warmup
    if config.schedule == "linear":
        schedule = optax.linear_schedule(rate, 0.0, left)
    elif config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(rate, left)
    elif config.schedule == "step":
        falls = range(config.hold - config.warmup, left, config.every)
        schedule = optax.piecewise_constant_schedule(rate, dict.fromkeys(falls, config.factor))
    else:
        schedule = optax.constant_schedule(rate)
    if not config.warmup:
        return schedule
    return optax.join_schedules([optax.linear_schedule(0.0, rate, config.warmup), schedule], [config.warmup])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """The optimiser of a config, for `lmlib.learn.train.make_train_step`.

    Args:
      config: which.
      steps: as for `make_schedule`.
    """
    schedule = make_schedule(config, steps)
    chosen = {
        "sgd": lambda: optax.sgd(schedule),
        "adadelta": lambda: optax.adadelta(schedule),
        "adam": lambda: optax.adam(schedule),
        "adamw": lambda: optax.adamw(schedule, weight_decay=config.weight_decay),
    }[config.name]()
    if config.schedule == "plateau":
        chosen = optax.chain(chosen, _scale_by_held_rate())
    return chosen if config.clip is None else optax.chain(optax.clip_by_global_norm(config.clip), chosen)


class HeldRate(NamedTuple):
    """The optimiser's state of the schedule "plateau": by what the rate of the config is multiplied now."""

    scale: jax.Array  # ()


def _scale_by_held_rate():
    def update(updates, state, params=None):
        return jax.tree.map(lambda u: u * state.scale, updates), state

    return optax.GradientTransformation(lambda params: HeldRate(jnp.ones(())), update)


def lower_rate(opt_state, factor: float):
    """The state of an optimiser with the schedule "plateau" once its rate has been multiplied by `factor`.

    Raises:
      ConfigError: the optimiser has another schedule.
    """

    def held(leaf):
        return isinstance(leaf, HeldRate)

    if not any(map(held, jax.tree.leaves(opt_state, is_leaf=held))):
        raise ConfigError("the rate of this optimiser is not held: lower_rate is for OptimConfig.schedule='plateau'")
    return jax.tree.map(lambda leaf: HeldRate(leaf.scale * factor) if held(leaf) else leaf, opt_state, is_leaf=held)

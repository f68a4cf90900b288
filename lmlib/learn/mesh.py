"""Several devices: each works on its share of the rows of a batch, all of them take the same step.

The weights stand on every device, the rows are shared out, and the sums over devices are those of `jax.lax.psum`: with N_d the tokens or
texts that the loss L_d of device d counts, L = Σ_d N_d L_d / Σ_d N_d, which is the loss of the whole batch, and so is its gradient.

    mesh = row_mesh()
    train_step = make_train_step(share_out(next_token_loss(definition), mesh), optimizer)
    state = place(init_train_state(params, optimizer, carry), mesh)

A CPU can be several devices, too, with JAX_NUM_CPU_DEVICES=2 set before jax starts. It pays where a step is a loop of small products, as
in recurrent layers, of which XLA gives a second core little or nothing to do.
"""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lmlib.errors import ConfigError, ShapeError
from lmlib.learn.train import counted

ROWS = "rows"  # the one axis of the mesh


def row_mesh(count: int | None = None) -> Mesh:
    """The first `count` devices in a line; None for all there are.

    Raises:
      ConfigError: there are fewer.
    """
    devices = jax.devices()
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ConfigError(
            f"{count} devices were asked for, and there are {len(devices)}; a CPU becomes several with the environment variable "
            "JAX_NUM_CPU_DEVICES, set before Python starts"
        )
    return jax.make_mesh((count,), (ROWS,), devices=devices[:count], axis_types=(jax.sharding.AxisType.Auto,))


def place(state: dict, mesh: Mesh) -> dict:
    """A training state on the devices of a mesh: the rows of the carry shared out, everything else on each of them.

    Raises:
      ShapeError: the rows of the carry cannot be shared out evenly.
    """
    _check_rows(state["carry"], mesh)
    everywhere = jax.device_put({name: part for name, part in state.items() if name != "carry"}, NamedSharding(mesh, P()))
    return everywhere | {"carry": jax.device_put(state["carry"], NamedSharding(mesh, P(ROWS)))}


def share_out(loss, mesh: Mesh):
    """A loss for `lmlib.learn.train.make_train_step`, worked out by the devices of a mesh together.

    Args:
      loss: loss(params, carry, batch, key) -> (value, (carry, metrics)), its value a mean over the tokens or texts that its metrics count
        ("tokens" or "texts"; where they count neither, every device weighs the same). Every metric must be a count.
      mesh: of `row_mesh`.

    Returns:
      The same function of the whole batch, up to rounding (and dropout, which each device draws for itself).

    Raises:
      ShapeError: (when it is traced) the rows of a batch cannot be shared out evenly.
    """

    def mine(params, carry, batch, key):
        value, (carry, counts) = loss(params, carry, batch, jax.random.fold_in(key, jax.lax.axis_index(ROWS)))
        weight = counted(counts)
        total, counts = jax.lax.psum((weight, counts), ROWS)
        return jax.lax.psum(value * (weight / jnp.maximum(total, 1)), ROWS), (carry, counts)

    shares = P(), P(ROWS), P(ROWS), P()
    together = jax.shard_map(mine, mesh=mesh, in_specs=shares, out_specs=(P(), (P(ROWS), P())), check_vma=False)

    def shared(params, carry, batch, key):
        _check_rows((carry, batch), mesh)
        return together(params, carry, batch, key)

    return shared


def _check_rows(tree, mesh):
    for leaf in jax.tree.leaves(tree):
        if len(leaf) % mesh.size:
            raise ShapeError(f"a batch of {len(leaf)} rows cannot be shared out among {mesh.size} devices evenly")

"""What training minimises, as `make_train_step` takes it: loss(params, carry, batch, key) -> (value, (carry, metrics)).

Shapes: B batch, L time, V vocabulary, C classes.
"""

import jax
import jax.numpy as jnp

from lmlib.arrays import length_mask
from lmlib.models.base import Definition, merge, shift_right, token_logp


def next_token_loss(definition: Definition):
    """Cross-entropy of the next token (nats a token), for every `LanguageModel`.

    The function returned takes batches of either kind:

      {"tokens": (B, L), "targets": (B, L)}: windows and streams of a corpus; the logits after tokens[:, t] predict targets[:, t].
        With truncated backpropagation through time the state is carried from batch to batch: `init_train_state(…, carry=init_state(B))`.
        Rows marked in "reset" (B,), if the batch has it, begin anew; `BPTTStreams` marks the first step of an epoch.
      {"tokens": (B, L), "lengths": (B,)}: whole sequences, padded, without BOS; row b is predicted after BOS up to lengths[b].
        What stands beyond must be ids, too (0, say), but has no influence.

    The loss is the sum over real tokens by their number, so that a long sequence weighs more than a short one, as in perplexity. It is
    NaN, and so the step is skipped and counted, if an id lies outside the vocabulary: JAX itself would take another row in silence.
    """

    def loss(params, carry, batch, key):
        model = merge(definition, params)
        if "targets" in batch:
            inputs_BL, targets_BL, lengths_B = batch["tokens"], batch["targets"], None
            real_BL = jnp.ones(targets_BL.shape, bool)
        else:
            inputs_BL, targets_BL, lengths_B = shift_right(batch["tokens"], model.bos), batch["tokens"], batch["lengths"]
            real_BL = length_mask(lengths_B, targets_BL.shape[1])
        if carry is not None and "reset" in batch:
            carry = _begin_anew(batch["reset"], model.init_state(*inputs_BL.shape[:1], max_len=inputs_BL.shape[1]), carry)
        logits_BLV, state = model.forward(inputs_BL, carry, lengths_B, key=key)
        count = real_BL.sum()
        value = -jnp.sum(token_logp(logits_BLV, targets_BL), where=real_BL) / jnp.maximum(count, 1)
        ids_2BL = jnp.stack([inputs_BL, targets_BL])
        known = jnp.all((ids_2BL >= 0) & (ids_2BL < model.vocab_size))
        return jnp.where(known, value, jnp.nan), (None if carry is None else state, {"tokens": count})

    return loss


def label_loss(definition: Definition):
    """Cross-entropy of the label of a text (nats a text), for classifiers: modules with `forward(tokens_BL, lengths_B, key=) -> logits_BC`.

    The function returned takes batches {"tokens": (B, L), "lengths": (B,), "labels": (B,), "index": (B,)}, of which rows with a negative
    index only fill up the batch; it is the mean over the others, of which it also counts the texts ("texts") and those whose label is the
    most probable one ("right"). It is NaN, and so the step is skipped and counted, if an id is outside the vocabulary or a label is none.
    """

    def loss(params, carry, batch, key):
        model = merge(definition, params)
        labels_B, real_B = batch["labels"], batch["index"] >= 0
        logits_BC = model.forward(batch["tokens"], batch["lengths"], key=key)
        count = real_B.sum()
        value = -jnp.sum(token_logp(logits_BC, labels_B), where=real_B) / jnp.maximum(count, 1)
        right = jnp.sum(logits_BC.argmax(axis=-1) == labels_B, where=real_B)
        known = jnp.all((batch["tokens"] >= 0) & (batch["tokens"] < model.vocab_size))
        known &= jnp.all((labels_B >= 0) & (labels_B < model.classes))
        return jnp.where(known, value, jnp.nan), (carry, {"texts": count, "right": right})

    return loss


def _begin_anew(reset_B, fresh, carry):
    """The carry, but the fresh one in the rows marked."""
    return jax.tree.map(lambda new, old: jnp.where(reset_B.reshape((-1,) + (1,) * (old.ndim - 1)), new, old), fresh, carry)

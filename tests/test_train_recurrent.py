"""`train_recurrent` against the loop written out, and against a text that can be learnt by heart."""

import jax
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

from lmlib.learn.losses import next_token_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.recurrent import train_recurrent
from lmlib.learn.train import init_train_state, make_train_step, run_steps
from lmlib.measure.perplexity import perplexity
from lmlib.models.base import split
from lmlib.models.cells import GRU
from lmlib.models.recurrent import RecurrentConfig, RecurrentLM
from lmlib.text.batches import BPTTStreams, PaddedBatches
from lmlib.text.store import TokenStore

CONFIG = RecurrentConfig.tiny(6, cell=GRU, eos=5)
OPTIM = OptimConfig(learning_rate=0.03)
SENTENCES = [[1, 2, 3, 5], [2, 3, 5], [4, 5]] * 8


def sentences(seed=0):
    return PaddedBatches(SENTENCES, 6, seed, boundaries=(4,), vocab_size=6)


@pytest.mark.parametrize("streams", [None, 4])
def test_it_is_the_loop_written_out(streams):
    """With streams, the state goes from batch to batch: other numbers than without."""
    text = TokenStore.from_sequences([np.random.default_rng(0).integers(0, 6, 60)], 6)
    batches, model = BPTTStreams(text, 4, 3) if streams else sentences(), RecurrentLM(CONFIG, rngs=nnx.Rngs(2))
    definition, params = split(model)
    optimizer = make_optimizer(OPTIM, 2 * len(batches))
    carry = model.init_state(4, max_len=3) if streams else None
    step, state = make_train_step(next_token_loss(definition), optimizer), init_train_state(params, optimizer, carry)
    for epoch in range(2):
        several = [batches[epoch * len(batches) + i] for i in range(len(batches))]
        state, _ = run_steps(step, state, jax.tree.map(lambda *rows: np.stack(rows), *several), jax.random.key(2))
    got = split(train_recurrent(CONFIG, batches, epochs=2, optim=OPTIM, seed=2, streams=streams))[1]
    jax.tree.map(assert_array_equal, got, state["params"])
    if streams:
        alone = split(train_recurrent(CONFIG, batches, epochs=2, optim=OPTIM, seed=2))[1]
        assert not np.array_equal(alone["bias"], got["bias"])


def test_it_learns_sentences_by_heart():
    """A third of the sentences each: ln 3 nats for the first word, nothing for the others."""
    batches = sentences()
    model = train_recurrent(RecurrentConfig.tiny(6, d_hidden=16, eos=5), batches, epochs=150, optim=OPTIM, seed=1)
    found = perplexity(model, [batches[0]])
    assert found.nats / 6 < np.log(3) + 0.25
    other = train_recurrent(RecurrentConfig.tiny(6, d_hidden=16, eos=5), batches, epochs=150, optim=OPTIM, seed=2)
    assert not np.array_equal(split(model)[1]["bias"], split(other)[1]["bias"])

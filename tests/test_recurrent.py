"""Recurrent cells, scans, layers and language model, against PyTorch, ONNX, plain automatic differentiation and worked numbers.

fixtures/recurrent.npz is made by fixtures/make_recurrent.py.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.config import digest, from_dict, to_dict
from lmlib.errors import ConfigError, ShapeError
from lmlib.learn.losses import next_token_loss
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.models.base import merge, split
from lmlib.models.cells import GRU, LSTM, RNN, Cell, advance, gru_step, lstm_step, project, recurrent_matrices, rnn_step, shapes
from lmlib.models.recurrent import LayersConfig, RecurrentConfig, RecurrentLayers, RecurrentLM, fastest_kernel
from lmlib.models.scans import scan

CELLS = {
    "rnn": RNN,
    "relu": Cell("rnn", activation="relu"),
    "lstm": LSTM,
    "gru": GRU,
    "lstm peephole": Cell("lstm", peephole=True),
    "lstm 1997": Cell("lstm", forget_gate=False),
    "lstm layer_norm": Cell("lstm", layer_norm=True),
    "rnn layer_norm": Cell("rnn", layer_norm=True),
} | {
    f"gru {update} {reset}{' layer_norm' * norm}": Cell("gru", update=update, reset=reset, layer_norm=norm)
    for update in ("cho", "chung")
    for reset in ("before", "after")
    for norm in (False, True)
}


def load():
    """{case: {name: array}} of the fixture, and the lengths."""
    with np.load(Path(__file__).parent / "fixtures" / "recurrent.npz") as file:
        data, lengths, index = file["data"], file["lengths"], json.loads(str(file["index"]))
    cases, at = {}, 0
    for case, shapes_of in index.items():
        cases[case] = {}
        for name, shape in shapes_of.items():
            cases[case][name] = data[at : at + (size := int(np.prod(shape)))].reshape(shape)
            at += size
    assert at == len(data)
    return cases, lengths


CASES, LENGTHS = load()


def cell_of(case):
    return CELLS[case.replace(" stacked", "").replace(" bidirectional lengths", "")]


@pytest.mark.parametrize("case", CASES)
def test_layers_equal_an_independent_implementation_forward_and_gradient(case):
    """torch.nn for rnn, lstm and gru: one layer, two, and two in both directions over rows of different lengths; the other cells
    written out gate by gate."""
    ref, cell = CASES[case], cell_of(case)
    names = [name.split("/") for name in ref if name.startswith("in/params/")]
    params = {"cells": {}}
    for _, _, i, name in names:
        params["cells"].setdefault(int(i), {})[name] = jnp.asarray(ref[f"in/params/{i}/{name}"])
    count, both = len(params["cells"]), "bidirectional" in case
    config = LayersConfig(3, 4, count // (1 + both), cell, bidirectional=both)
    definition, initial = split(RecurrentLayers(config, rngs=nnx.Rngs(0)))
    assert jax.tree.structure(initial) == jax.tree.structure(params)
    first = tuple(tuple(jnp.asarray(ref[f"in/first/{k}"][i]) for k in range(cell.carried)) for i in range(count))

    @jax.jit
    def loss(params, first, x):
        outputs, last = merge(definition, params)(x, first, jnp.asarray(LENGTHS) if both else None)
        sums = [(carry[k] * ref[f"in/s/{k}"][i]).sum() for i, carry in enumerate(last) for k in range(cell.carried)]
        return (outputs * ref["in/y"]).sum() + sum(sums), (outputs, last)

    (_, (outputs, last)), gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, first, jnp.asarray(ref["in/x"]))
    real = np.arange(5)[None, :, None] < LENGTHS[:, None, None] if both else True
    assert_allclose(np.where(real, outputs, 0), ref["out/outputs"], atol=1e-5)
    for i, carry in enumerate(last):
        for k, part in enumerate(carry):
            assert_allclose(part, ref[f"out/last/{k}"][i], atol=1e-5)
            assert_allclose(gradient[1][i][k], ref[f"out/grad/first/{k}"][i], atol=1e-5)
    assert_allclose(gradient[2], ref["out/grad/x"], atol=1e-5)
    for _, _, i, name in names:
        assert_allclose(gradient[0]["cells"][int(i)][name], ref[f"out/grad/params/{i}/{name}"], atol=1e-5, err_msg=name)


D, H, B, L = 3, 4, 3, 5


def random_cell(cell, seed=0):
    """Parameters, carry and inputs (L, B, D)."""
    keys = iter(jax.random.split(jax.random.key(seed), 20))
    params = {name: 0.5 * jax.random.normal(next(keys), shape) for name, shape in shapes(cell, D, H).items()}
    return params, tuple(jax.random.normal(next(keys), (B, H)) for _ in range(cell.carried)), jax.random.normal(next(keys), (L, B, D))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "lstm layer_norm"])
def test_a_table_of_inputs_gives_what_its_rows_give(name):
    """Forward and gradient, whether the table has fewer rows than the text has tokens, and is projected instead of them, or more."""
    config = LayersConfig(D, H, 2, CELLS[name], bidirectional=name == "gru")
    definition, params = split(RecurrentLayers(config, rngs=nnx.Rngs(0)))
    ids_BL = jax.random.randint(jax.random.key(1), (B, L), 0, 4)
    for rows in (4, 40):
        table_VD = jax.random.normal(jax.random.key(2), (rows, D))

        def summed(params, table_VD, given):
            layers = merge(definition, params)
            h_BLO, _ = layers(ids_BL, table_VD=table_VD) if given else layers(table_VD[ids_BL])
            return jnp.sin(h_BLO).sum(), h_BLO

        (found, wanted) = (jax.value_and_grad(summed, (0, 1), has_aux=True)(params, table_VD, given) for given in (True, False))
        jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), found, wanted)


def test_few_characters_are_projected_once_each():
    model = RecurrentLM(RecurrentConfig.tiny(vocab_size=5, layers=1), rngs=nnx.Rngs(0))
    program = str(jax.make_jaxpr(model.forward)(jnp.zeros((3, 4), jnp.int32)))
    assert "f32[5,16] = dot_general" in program  # five characters, not twelve of them; four gates of four
    assert "f32[12,16] = dot_general" not in program


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["relu", "lstm", "lstm peephole", "gru", "gru chung before", "lstm layer_norm"])
def test_gradients_over_time_equal_plain_differentiation_of_every_step(name, reverse):
    """With masks and a dropped state, which the fixtures do not have: a loop over steps, differentiated by JAX as it stands."""
    cell = CELLS[name]
    params, carry, x_LBD = random_cell(cell)
    real_LB, keep_BH = jnp.arange(L)[:, None] < jnp.array([5, 2, 4])[None], jax.random.normal(jax.random.key(9), (B, H))

    def plain(params, carry, x_LBD):
        matrices = recurrent_matrices(cell, params)

        def one(carry, inputs):
            def product(name, a, plus=None):
                return (a * keep_BH) @ matrices[name] + (0 if plus is None else plus)

            x_BD, real_B = inputs
            new = advance(cell, params, carry, project(cell, params, x_BD), product)
            carry = tuple(jnp.where(real_B[:, None], n, o) for n, o in zip(new, carry, strict=True))
            return carry, carry[0]

        carry, h_LBH = jax.lax.scan(one, carry, (x_LBD, real_LB), reverse=reverse)
        return h_LBH, carry

    def ours(params, carry, x_LBD):
        return scan(cell, params, carry, x_LBD, real_LB=real_LB, keep_BH=keep_BH, reverse=reverse)

    def both(of):
        def loss(*args):
            h_LBH, last = result = of(*args)
            return jnp.sum(jnp.sin(h_LBH)) + sum(jnp.sum(part**2) for part in last), result

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, carry, x_LBD)

    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=2e-5, rtol=1e-5), both(ours), both(plain))


def dots_in_scans(jaxpr):
    """How many matrix products stand inside the scans of a program, one number a scan, and how many outside."""
    scans, outside = [], 0
    for equation in jaxpr.eqns:
        inner = [sub for value in equation.params.values() for sub in jax.tree.leaves(value, is_leaf=lambda v: hasattr(v, "jaxpr"))]
        inner = [getattr(sub, "jaxpr", sub) for sub in inner if hasattr(getattr(sub, "jaxpr", sub), "eqns")]
        if equation.primitive.name == "dot_general":
            outside += 1
        for sub in inner:
            below, here = dots_in_scans(sub)
            if equation.primitive.name == "scan":
                scans.append(here + sum(below))
            else:
                scans, outside = scans + below, outside + here
    return scans, outside


@pytest.mark.parametrize(("name", "inside"), [("rnn", 1), ("lstm", 1), ("lstm peephole", 1), ("gru", 1), ("gru cho before", 2)])
def test_only_the_recurrent_products_stand_inside_the_scans(name, inside):
    """One product a step forward and one back (two where the candidate waits for the reset gate); projections and gradients of weights are
    made outside, each in one product."""
    cell = CELLS[name]
    params, carry, x_LBD = random_cell(cell)
    program = jax.make_jaxpr(jax.grad(lambda params, x: scan(cell, params, carry, x)[0].sum(), (0, 1)))(params, x_LBD)
    scans, outside = dots_in_scans(program.jaxpr)
    assert scans == [inside, inside]
    assert outside == 3 + inside  # x W_xh; the gradients of W_xh, of x, and of each recurrent matrix


# ---- worked numbers and limits ----


def test_the_articles_rnn_by_hand():
    """x = 1, 2, 3 one number a step, W_xh = [1 3], W_hh = [[1 2], [3 4]]ᵀ, b = [1 2], ReLU: h = [2 5], [15 34], [87 192]."""
    params = {"w_xh": jnp.array([[1.0, 3.0]]), "w_hh": jnp.array([[1.0, 3.0], [2.0, 4.0]]), "b": jnp.array([1.0, 2.0])}
    h_BH, seen = jnp.zeros((1, 2)), []
    for x in (1.0, 2.0, 3.0):
        h_BH = rnn_step(params, h_BH, jnp.array([[x]]), Cell("rnn", activation="relu"))
        seen.append(h_BH[0])
    assert_array_equal(seen, [[2, 5], [15, 34], [87, 192]])


def test_the_articles_lstm_by_hand():
    """Every pre-activation is (1, 2), the state is 0: i = [0.7311 0.8808], c~ = [0.7616 0.9640], c = i ⊙ c~, h = o ⊙ tanh(c)."""
    params = {"w_xh": jnp.zeros((1, 8)), "w_hh": jnp.zeros((2, 8)), "b": jnp.tile(jnp.array([1.0, 2.0]), 4)}
    h_BH, c_BH = lstm_step(params, (jnp.zeros((1, 2)), jnp.zeros((1, 2))), jnp.zeros((1, 1)))
    assert_allclose(c_BH, [[0.5568, 0.8491]], atol=5e-5)
    assert_allclose(h_BH, [[0.3696, 0.6083]], atol=5e-5)


def test_the_articles_gru_by_hand():
    """Every pre-activation is (1, 2), the state is 0: 1 - z = [0.2689 0.1192]; h = z ⊙ h~ = [0.5568 0.8491] where z lets in the new."""
    params = {"w_xh": jnp.zeros((1, 6)), "w_hh": jnp.zeros((2, 6)), "b": jnp.tile(jnp.array([1.0, 2.0]), 3), "b_hh": jnp.zeros(2)}
    h_BH, x_BD = jnp.zeros((1, 2)), jnp.zeros((1, 1))
    assert_allclose(gru_step(params, h_BH, x_BD, Cell("gru", update="chung")), [[0.5568, 0.8491]], atol=5e-5)
    assert_allclose(gru_step(params, h_BH, x_BD), np.array([[0.2689 * 0.7616, 0.1192 * 0.9640]]), atol=5e-5)


def test_gru_with_forced_gates_is_the_plain_rnn():
    """Reset gate at 1 and the old state shut out leave tanh(x W + b + h U)."""
    params, (h_BH,), x_LBD = random_cell(GRU)
    forced = params | {"b": params["b"].at[:H].set(1e4).at[H : 2 * H].set(-1e4), "b_hh": jnp.zeros(H)}
    plain = {"w_xh": params["w_xh"][:, 2 * H :], "w_hh": params["w_hh"][:, 2 * H :], "b": params["b"][2 * H :]}
    assert_allclose(gru_step(forced, h_BH, x_LBD[0]), rnn_step(plain, h_BH, x_LBD[0]), atol=1e-6)


def test_lstm_with_input_gate_shut_and_forget_gate_open_keeps_its_content():
    params, carry, x_LBD = random_cell(LSTM)
    closed = params | {"b": params["b"].at[:H].set(-1e4).at[H : 2 * H].set(1e4)}
    _, (_, c_BH) = scan(LSTM, closed, carry, x_LBD)
    assert_array_equal(c_BH, carry[1])


def test_an_lstm_costs_four_times_a_simple_network():
    """Error 31 of the articles: 4 (DH + H² + H) parameters."""
    sizes = {cell.kind: sum(int(np.prod(s)) for s in shapes(cell, 7, 11).values()) for cell in (RNN, LSTM)}
    assert sizes["lstm"] == 4 * sizes["rnn"] == 4 * (7 * 11 + 11 * 11 + 11)


# ---- layers and dropout ----


def layers(seed=0, **fields):
    return RecurrentLayers(LayersConfig(**{"d_input": D, "d_hidden": H, "layers": 2, **fields}), rngs=nnx.Rngs(seed))


X_BLD = np.random.default_rng(3).standard_normal((B, L, D)).astype(np.float32)


def test_dropout_is_off_without_a_key_and_a_function_of_the_key_with_one():
    model, dropped = layers(), layers(dropout=0.5, state_dropout=0.5, weight_dropout=0.5)
    assert_array_equal(model(X_BLD)[0], dropped(X_BLD)[0])
    assert_array_equal(dropped(X_BLD, key=jax.random.key(1))[0], dropped(X_BLD, key=jax.random.key(1))[0])
    assert (dropped(X_BLD, key=jax.random.key(1))[0] != dropped(X_BLD, key=jax.random.key(2))[0]).any()
    assert_array_equal(model(X_BLD, key=jax.random.key(1))[0], model(X_BLD)[0])  # a key alone drops nothing


@pytest.mark.parametrize(("mask", "alike"), [("step", False), ("sequence", True)])
def test_dropout_masks_are_drawn_for_each_step_or_for_the_whole_sequence(mask, alike):
    """Seen in the outputs, which are dropped last: the zeros of one step are those of all others, or not."""
    model = layers(d_hidden=20, dropout=0.5, dropout_mask=mask)
    zero_BLH = np.asarray(model(X_BLD, key=jax.random.key(0))[0]) == 0
    assert 0.3 < zero_BLH.mean() < 0.7
    assert (zero_BLH == zero_BLH[:, :1]).all() == alike
    assert not (zero_BLH == zero_BLH[:1]).all()  # and never alike in all rows


def test_dropout_between_layers_leaves_the_way_from_state_to_state_alone():
    """Zaremba et al.: without inputs (their weights are 0) the state goes on as if nothing were dropped."""
    model = layers(layers=1, dropout=0.9)
    definition, params = split(model)
    params["cells"][0]["w_xh"] = jnp.zeros_like(params["cells"][0]["w_xh"])
    model = merge(definition, params)
    state = ((jnp.ones((B, H)), jnp.ones((B, H))),)
    jax.tree.map(assert_array_equal, model(X_BLD, state, key=jax.random.key(0))[1], model(X_BLD, state)[1])


def test_state_and_weight_dropout_are_on_average_no_dropout():
    """One step of a linear cell (relu, all positive): the mean over masks is the value without any. And a mask holds for all steps."""
    for fields in ({"state_dropout": 0.4}, {"weight_dropout": 0.4}):
        model = layers(layers=1, cell=Cell("rnn", activation="relu"), **fields)
        definition, params = split(model)
        model = merge(definition, jax.tree.map(jnp.abs, params))
        x_BLD, state = np.abs(X_BLD[:, :1]), ((jnp.ones((B, H)),),)
        draws = jax.vmap(lambda key, model=model, x=x_BLD, state=state: model(x, state, key=key)[0])(
            jax.random.split(jax.random.key(0), 4000)
        )
        assert_allclose(draws.mean(0), model(x_BLD, state)[0], rtol=0.05)
        assert np.unique(np.asarray(draws[:, 0, 0, 0]).round(4)).size > 5


def test_outputs_do_not_depend_on_what_stands_beyond_the_lengths():
    model, lengths_B = layers(bidirectional=True), np.array([5, 2, 3])
    changed = X_BLD.copy()
    changed[1, 2:], changed[2, 3:] = 7, -7
    (a, last_a), (b, last_b) = model(X_BLD, lengths=lengths_B), model(changed, lengths=lengths_B)
    real_BL = np.arange(L) < lengths_B[:, None]
    assert_array_equal(np.asarray(a)[real_BL], np.asarray(b)[real_BL])
    jax.tree.map(assert_array_equal, last_a, last_b)
    assert a.shape == (B, L, 2 * H)


def test_layers_say_what_is_wrong():
    with pytest.raises(ConfigError, match="both directions cannot step"):
        layers(bidirectional=True).step(layers(bidirectional=True).init_state(B), X_BLD[:, 0])
    with pytest.raises(ShapeError, match=r"x_BLD has shape \(3, 5, 2\)"):
        layers()(X_BLD[..., :2])
    with pytest.raises(ConfigError, match="kernel must be"):
        RecurrentLayers(LayersConfig(D, H), rngs=nnx.Rngs(0), kernel="fast")


# ---- the language model ----


def tiny(seed=0, **fields):
    return RecurrentLM(RecurrentConfig.tiny(**fields), rngs=nnx.Rngs(seed))


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(split(model)[1]))


def test_presets_have_the_published_sizes():
    """Zaremba et al.: 200 units in each of two layers, 10,000 words. The example of PyTorch: `model.py` with its defaults has 13.3 M words
    and 0.64 M weights in layers, less the second bias of each."""
    cell = 200 * 800 * 2 + 800
    assert count(RecurrentLM(RecurrentConfig.ptb_small(), rngs=nnx.Rngs(0))) == 10_000 * 200 * 2 + 10_000 + 2 * cell
    config = RecurrentConfig.wikitext2_small(33_278)
    assert (config.dropout, config.d_embed, config.d_hidden, config.layers) == (0.2, 200, 200, 2)
    assert RecurrentConfig.shakespeare().vocab_size == 65
    _, params = split(RecurrentLM(RecurrentConfig.ptb_small(50), rngs=nnx.Rngs(0)))
    assert all(0.09 < abs(leaf).max() <= 0.1 for path, leaf in jax.tree.leaves_with_path(params) if path[-1].key != "bias")


def test_tied_words_are_one_matrix():
    tied, free = tiny(tied=True, d_embed=4), tiny(d_embed=4)
    assert count(free) - count(tied) == 5 * 4
    tokens_BL = np.array([[1, 2, 3]])
    logits, _ = tied.forward(tokens_BL)
    h, _ = tied.layers(tied.embedding[...][tokens_BL])
    assert_allclose(logits, h @ tied.embedding[...].T + tied.bias[...][None, None], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 5, "d_hidden": 0}, "d_hidden"),
        ({"vocab_size": 5, "eos": 5}, "eos"),
        ({"vocab_size": 5, "tied": True, "d_embed": 3, "d_hidden": 4}, "tied"),
        ({"vocab_size": 5, "dropout": 1.0}, "dropout"),
        ({"vocab_size": 5, "state_dropout": -0.1}, "state_dropout"),
        ({"vocab_size": 5, "init_scale": 0.0}, "init_scale"),
        ({"vocab_size": 5, "init_embed": 0.0}, "init_embed"),
        ({"vocab_size": 5, "dropout_mask": "word"}, "dropout_mask"),
        ({"vocab_size": 5, "cell": {"kind": "gru", "peephole": True}}, r"Cell.peephole is an option of kind='lstm', not of 'gru'"),
        ({"vocab_size": 5, "cell": {"kind": "jordan"}}, "kind"),
    ],
)
def test_config_refuses_what_makes_no_model(fields, what):
    with pytest.raises(ConfigError, match=what):
        from_dict(RecurrentConfig, fields)


def test_cell_refuses_what_is_no_option():
    with pytest.raises(ConfigError, match=r"Cell.reset must be one of 'before', 'after', got 'never'"):
        Cell("gru", reset="never")


def test_config_survives_json():
    config = RecurrentConfig.tiny(cell=Cell("gru", update="chung"), dropout=0.1)
    assert from_dict(RecurrentConfig, to_dict(config)) == config
    assert digest(config) != digest(RecurrentConfig.tiny(dropout=0.1))


def test_no_gradient_flows_across_a_state_that_is_carried_over():
    """The gradient of the second half, begun with the state of the first, is that of the second half alone; its value is the whole's."""
    definition, params = split(tiny())
    tokens_BL = np.random.default_rng(0).integers(0, 5, (2, 9), dtype=np.int32)
    loss = next_token_loss(definition)
    first = {"tokens": tokens_BL[:, :4], "targets": tokens_BL[:, 1:5]}
    second = {"tokens": tokens_BL[:, 4:8], "targets": tokens_BL[:, 5:9]}
    whole = {"tokens": tokens_BL[:, :8], "targets": tokens_BL[:, 1:9]}
    start = merge(definition, params).init_state(2, max_len=8)
    value_1, (carry, _) = loss(params, start, first, None)
    value_2, (end, _) = loss(params, carry, second, None)
    value, (end_whole, _) = loss(params, start, whole, None)
    assert_allclose((value_1 + value_2) / 2, value, rtol=1e-6)
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), end, end_whole)


def test_rows_that_are_reset_begin_anew():
    definition, params = split(tiny())
    loss, model = next_token_loss(definition), merge(definition, params)
    batch = {"tokens": np.array([[1, 2], [3, 4]], np.int32), "targets": np.array([[2, 3], [4, 0]], np.int32)}
    carry = jax.tree.map(lambda leaf: leaf + 0.7, model.init_state(2, max_len=2))
    _, (after, _) = loss(params, carry, batch | {"reset": np.array([False, True])}, None)
    _, (carried, _) = loss(params, carry, batch, None)
    _, (fresh, _) = loss(params, model.init_state(2, max_len=2), batch, None)
    jax.tree.map(lambda a, c, f: assert_array_equal(a, jnp.stack([c[0], f[1]])), after, carried, fresh)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=lambda cell: cell.kind)
def test_training_remembers_over_a_gap(cell):
    """A mark, three letters of noise, then the first of them again; truncated BPTT over streams. What is left of the loss is the entropy of
    the noise, log 3 at three places of five: no model without a memory of three steps gets there."""
    rng = np.random.default_rng(0)
    letters = rng.integers(1, 4, (16, 100, 3), dtype=np.int32)
    text = np.concatenate([np.zeros((16, 100, 1), np.int32), letters, letters[..., :1]], axis=-1).reshape(16, 500)
    batches = [{"tokens": text[:, i : i + 20], "targets": text[:, i + 1 : i + 21]} for i in range(0, 480, 20)] * 13
    model = tiny(cell=cell, vocab_size=4, d_embed=8, d_hidden=24, layers=1)
    definition, params = split(model)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    state = init_train_state(params, optimizer, carry=model.init_state(16, max_len=20))
    step = make_train_step(next_token_loss(definition), optimizer)
    history = [metrics for _, metrics in fit(step, state, batches, key=jax.random.key(0), steps=312, steps_per_call=104)]
    losses = fetch(history)["loss"]
    assert losses[0] > 1.2
    assert losses[-24:].mean() < 3 * np.log(3) / 5 + 0.05


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm peephole"])
def test_training_lowers_for_three_platforms(name):
    """The way back, too, has nothing in it that only a CPU can do."""
    definition, params = split(tiny(cell=CELLS[name]))
    loss = next_token_loss(definition)
    batch = {"tokens": np.zeros((2, 3), np.int32), "lengths": np.array([3, 1])}
    gradient = jax.jit(jax.grad(lambda params: loss(params, None, batch, None)[0]))
    text = jax.export.export(gradient, platforms=("cpu", "cuda", "tpu"))(params).mlir_module()
    assert "f64" not in text
    assert "callback" not in text


@pytest.mark.skipif(fastest_kernel(LSTM) != "cudnn", reason="no NVIDIA GPU here")
def test_cudnn_equals_the_portable_form():
    """Forward and gradient of the language model, with the state carried over."""
    config = RecurrentConfig(50, d_embed=24, d_hidden=32)
    models = [RecurrentLM(config, rngs=nnx.Rngs(0), kernel=kernel) for kernel in ("portable", "cudnn")]
    tokens_BL = np.random.default_rng(0).integers(0, 50, (4, 12), dtype=np.int32)
    batch = {"tokens": tokens_BL[:, :-1], "targets": tokens_BL[:, 1:]}
    found = []
    with jax.default_matmul_precision("highest"):
        for model in models:
            definition, params = split(model)
            carry = jax.tree.map(lambda leaf: leaf + 0.5, model.init_state(4, max_len=12))
            found.append(jax.jit(jax.value_and_grad(next_token_loss(definition), has_aux=True))(params, carry, batch, None))
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), *found)


def test_weights_are_packed_as_cudnn_wants_them(monkeypatch):
    """Without a GPU: jax's own reference of cuDNN's LSTM in its place, on the weights as jax unpacks them."""
    from jax.experimental import rnn

    def reference(x, h, c, weights, lengths, *sizes):
        return rnn.lstm_ref(x, h, c, *rnn.unpack_lstm_weights(weights, *sizes[:3], sizes[4]), lengths, *sizes)

    monkeypatch.setattr(rnn, "lstm", reference)
    params, carry, x_LBD = random_cell(LSTM)
    with jax.numpy_rank_promotion("allow"):
        cudnn = scan(LSTM, params, carry, x_LBD, kernel="cudnn")
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-6), cudnn, scan(LSTM, params, carry, x_LBD))


def test_the_kernel_is_cudnn_only_where_it_can_be():
    assert fastest_kernel(GRU) == "portable"
    assert fastest_kernel(Cell("lstm", peephole=True)) == "portable"
    if jax.default_backend() == "cpu":
        assert fastest_kernel(LSTM) == "portable"

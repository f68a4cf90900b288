"""Neural classifiers against a loop in numpy over words and windows, finite differences, padding, and small tasks of known difficulty."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

from lmlib.config import from_dict, to_dict
from lmlib.errors import ConfigError, ShapeError, VocabularyError
from lmlib.learn.losses import label_loss
from lmlib.learn.optim import OptimConfig, make_optimizer
from lmlib.learn.train import fetch, fit, init_train_state, make_train_step
from lmlib.models.base import call, merge, split
from lmlib.models.cells import GRU, LSTM, RNN, Cell
from lmlib.models.classifier import ClassifierConfig, LabelledSequences, TextNet, convolve, pool, predict, quantile_boundaries

TEXTS = [[1, 4, 2, 6, 3], [5], [2, 2, 0, 1]]
NETS = {
    "rnn last": {"cell": RNN},
    "lstm mean": {"cell": LSTM, "pooling": "mean"},
    "lstm last, both ways": {"cell": LSTM, "hidden": (4, 3), "bidirectional": True, "dense": 5},
    "lstm max, both ways": {"cell": LSTM, "bidirectional": True, "pooling": "max"},
    "gru before max": {"cell": Cell("gru", reset="before", update="chung"), "pooling": "max"},
    "gru mean": {"cell": GRU, "pooling": "mean"},
    "cnn": {"encoder": "cnn", "widths": (1, 2, 4)},
}


@cache
def made(config):
    return split(TextNet(config, rngs=nnx.Rngs(0)))


def net(seed=0, **fields):
    """Definition and parameters, all of which are random (biases, too)."""
    definition, params = made(ClassifierConfig.tiny(**fields))
    rng = np.random.default_rng(seed)
    return definition, jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape) * 0.7, jnp.float32), params)


def padded(texts, length, rng):
    """Tokens with random words for padding, and lengths."""
    tokens = rng.integers(0, 7, (len(texts), length)).astype(np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    return tokens, np.array([len(text) for text in texts], np.int32)


# ---- the oracle: float64, a word or a window at a time, from the equations ----


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_cell(cell, p, carry, x):
    h, n = carry[0], len(carry[0])
    w, u, b = p["w_xh"], p["w_hh"], p["b"]
    gate = [slice(i * n, (i + 1) * n) for i in range(4)]
    if cell.kind == "rnn":
        return (np.tanh(x @ w + h @ u + b),)
    if cell.kind == "lstm":
        i, f, g, o = (x @ w[:, s] + h @ u[:, s] + b[s] for s in gate)
        c = sigmoid(f) * carry[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    r, z = (sigmoid(x @ w[:, s] + h @ u[:, s] + b[s]) for s in gate[:2])
    s = gate[2]
    if cell.reset == "after":
        candidate = np.tanh(x @ w[:, s] + b[s] + r * (h @ u[:, s] + p["b_hh"]))
    else:
        candidate = np.tanh(x @ w[:, s] + (r * h) @ u[:, s] + b[s])
    return (z * h + (1 - z) * candidate,) if cell.update == "cho" else ((1 - z) * h + z * candidate,)


def naive_text(config, p, text):
    """v of one text."""
    vectors = [p["embedding"][token] for token in text]
    if config.encoder == "cnn":
        found = []
        for i, width in enumerate(config.widths):
            w, zeros = p["filters"][i], [np.zeros(config.d_embed)] * (width - 1)
            around = zeros + vectors + zeros
            windows = [sum(around[t + j] @ w[j] for j in range(width)) for t in range(len(around) - width + 1)]
            bias = p["filter_bias"][i * config.filters : (i + 1) * config.filters]
            found.append(np.maximum(np.max(windows, axis=0) + bias, 0))
        return np.concatenate(found)
    directions = 1 + config.bidirectional
    for i, hidden in enumerate(config.hidden):
        outputs, last = [], []
        for d in range(directions):
            carry = (np.zeros(hidden),) * config.cell.carried
            read = []
            for x in vectors[::-1] if d else vectors:
                carry = naive_cell(config.cell, p["layers"][i]["cells"][d], carry, x)
                read.append(carry[0])
            outputs.append(read[::-1] if d else read)
            last.append(carry[0])
        vectors = [np.concatenate(both) for both in zip(*outputs, strict=True)]
    return {"last": np.concatenate(last), "mean": np.mean(vectors, axis=0), "max": np.max(vectors, axis=0)}[config.pooling]


def naive_logits(config, p, texts):
    result = []
    for text in texts:
        v = naive_text(config, p, text)
        if config.dense:
            v = np.maximum(v @ p["dense"]["kernel"] + p["dense"]["bias"], 0)
        result.append(v @ p["output"]["kernel"] + p["output"]["bias"])
    return np.array(result)


def naive_loss(config, p, texts, labels):
    logits = naive_logits(config, p, texts)
    return -np.mean([z[y] - np.log(np.exp(z).sum()) for z, y in zip(logits, labels, strict=True)])


def doubles(params):
    return jax.tree.map(lambda p: np.asarray(p, np.float64), params)


@pytest.mark.parametrize("name", NETS)
def test_logits_are_those_of_a_naive_loop_whatever_the_padding(name):
    definition, params = net(**NETS[name])
    expected = naive_logits(ClassifierConfig.tiny(**NETS[name]), doubles(params), TEXTS)
    rng = np.random.default_rng(0)
    first, second = (call(definition, "forward", params, *padded(TEXTS, 9, rng)) for _ in range(2))
    assert_allclose(first, expected, atol=1e-5)
    assert_array_equal(first, second)


@pytest.mark.parametrize("name", NETS)
def test_gradient_is_that_of_finite_differences(name):
    """Central differences of the naive loop in float64, along random directions in each array of parameters; one row is no text."""
    config = ClassifierConfig.tiny(**NETS[name])
    definition, params = net(2, **NETS[name])
    tokens, lengths = padded([*TEXTS, []], 6, np.random.default_rng(3))
    labels = np.array([2, 0, 1, 0], np.int32)
    batch = {"tokens": tokens, "lengths": lengths, "labels": labels, "index": np.array([7, 0, 2, -1], np.int32)}
    loss = label_loss(definition)
    (value, (_, metrics)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, None, batch, None)
    exact = doubles(params)
    labels = labels[:3]
    assert_allclose(value, naive_loss(config, exact, TEXTS, labels), atol=1e-5)
    right = (naive_logits(config, exact, TEXTS).argmax(axis=1) == labels).sum()
    assert (int(metrics["texts"]), int(metrics["right"])) == (3, right)
    rng, step = np.random.default_rng(4), 1e-6
    leaves, tree = jax.tree.flatten(exact)
    for i, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        for _ in range(2):
            along = rng.normal(size=leaf.shape)
            ends = [
                naive_loss(config, jax.tree.unflatten(tree, [*leaves[:i], leaf + s * along, *leaves[i + 1 :]]), TEXTS, labels)
                for s in (step, -step)
            ]
            assert_allclose((along * np.asarray(slope)).sum(), (ends[0] - ends[1]) / (2 * step), atol=2e-5, rtol=2e-4)


@pytest.mark.parametrize("name", ["cnn", "lstm max, both ways", "rnn last"])
def test_a_text_without_words_is_told_by_the_bias_alone(name):
    definition, params = net(**NETS[name])
    batch = {name: np.zeros(1, np.int32) for name in ("lengths", "labels", "index")} | {"tokens": np.full((1, 4), 3, np.int32)}
    value, gradient = jax.jit(jax.value_and_grad(lambda p: label_loss(definition)(p, None, batch, None)[0]))(params)
    assert_allclose(value, -jax.nn.log_softmax(params["output"]["bias"])[0], rtol=1e-5)
    assert np.abs(gradient["output"].pop("bias")).max() > 0.1
    for leaf in jax.tree.leaves(gradient):
        assert_array_equal(leaf, np.zeros(leaf.shape))


def test_pooling_by_hand():
    h_BLH = jnp.array([[[1.0, 8], [3, -2], [9, 9]], [[5, 6], [9, 9], [9, 9]], [[9, 9]] * 3])
    lengths_B = jnp.array([2, 1, 0])
    assert_array_equal(pool(h_BLH, lengths_B, "last"), [[3, -2], [5, 6], [0, 0]])
    assert_array_equal(pool(h_BLH, lengths_B, "last", bidirectional=True), [[3, 8], [5, 6], [0, 0]])
    assert_array_equal(pool(h_BLH, lengths_B, "mean"), [[2, 3], [5, 6], [0, 0]])
    assert_array_equal(pool(h_BLH, lengths_B, "max"), [[3, 8], [5, 6], [0, 0]])


def test_convolution_equals_xlas():
    rng = np.random.default_rng(0)
    x_BLD = rng.normal(size=(2, 6, 3)).astype(np.float32)
    for width in (1, 2, 5):
        w_WDF = rng.normal(size=(width, 3, 4)).astype(np.float32)
        layout = {"dimension_numbers": ("NWC", "WIO", "NWC"), "padding": [(width - 1, width - 1)]}
        assert_allclose(convolve(x_BLD, w_WDF), jax.lax.conv_general_dilated(x_BLD, w_WDF, (1,), **layout), atol=1e-5)


# ---- what a net begins with ----


def test_presets_have_the_sizes_of_the_tutorials():
    """Parameters as Keras counts them; two outputs in place of one sigmoid."""

    def lstm(d, h):
        return 4 * (d * h + h * h + h)

    expected = {
        "lstm_64_32": 256 * 100 + lstm(256, 64) + lstm(64, 32) + 32 * 64 + 64 + 64 * 2 + 2,
        "lstm_128": 50 * 100 + lstm(50, 128) + 128 * 2 + 2,
        "lstm_1024": 128 * 100 + lstm(128, 1024) + 1024 * 1024 + 1024 + 1024 * 2 + 2,
        "lstm_512_512": 256 * 100 + lstm(256, 512) + lstm(512, 512) + 512 * 2 + 2,
        "kim": 300 * 100 + 100 * (300 * (3 + 4 + 5) + 3) + 300 * 2 + 2,
    }
    for name, size in expected.items():
        params = jax.eval_shape(lambda name=name: split(TextNet(getattr(ClassifierConfig, name)(100), rngs=nnx.Rngs(0)))[1])
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size, name


def test_the_forget_gate_begins_open():
    fields = {"cell": LSTM, "hidden": (50,), "bidirectional": True}
    (open_, shut) = (split(TextNet(ClassifierConfig.tiny(**fields, forget_bias=b), rngs=nnx.Rngs(0)))[1] for b in (1.0, 0.0))
    for i in (0, 1):
        a, b = open_["layers"][0]["cells"][i]["b"], shut["layers"][0]["cells"][i]["b"]
        assert_allclose(a - b, np.repeat([0, 1, 0, 0], 50), atol=1e-6)
    TextNet(ClassifierConfig.tiny(cell=Cell("lstm", forget_gate=False)), rngs=nnx.Rngs(0))  # has none


@partial(jax.jit, static_argnums=0)
def many(definition, params, batch, keys):
    """Logits of a batch with each of the keys, one after the other."""
    return jax.lax.map(lambda key: merge(definition, params).forward(*batch, key=key), keys)


def test_dropout_is_a_function_of_the_key_and_on_average_none():
    batch = padded(TEXTS, 5, np.random.default_rng(0))
    definition, params = net(encoder="cnn", dropout=0.5)
    keys = jax.random.split(jax.random.key(0), 2000)
    draws = many(definition, params, batch, keys)
    assert_array_equal(draws[:5], many(definition, params, batch, keys)[:5])
    assert np.std(draws, axis=0).min() > 0.1
    assert_allclose(draws.mean(axis=0), call(definition, "forward", params, *batch), atol=0.1)  # linear in what is dropped
    draws = many(*net(hidden=(4, 1), dropout=0.5), batch, keys[:20])
    assert min(len(np.unique(logits)) for logits in draws[:, :, 0].T) > 2  # not only of the one number that is left of a text
    for fields in ({"dropout_words": 0.5}, {"state_dropout": 0.5}, {"dense": 9, "dropout": 0.5}):
        draws = many(*net(**fields), batch, keys[:8])
        seen = np.array([True, "state_dropout" not in fields, True])  # there is no state before the first word
        assert_array_equal(np.std(draws, axis=0).max(axis=1) > 1e-3, seen, err_msg=str(fields))


# ---- batches, predictions ----


def test_every_label_stands_by_its_text():
    texts = [[i % 7] * (1 + i) for i in range(10)]
    batches = LabelledSequences(texts, np.arange(10) % 3, 4, seed=1, vocab_size=7)
    seen = []
    for step in range(len(batches), 2 * len(batches)):
        batch = batches[step]
        for index, label, length in zip(batch["index"], batch["labels"], batch["lengths"], strict=True):
            assert label == (index % 3 if index >= 0 else 0)
            assert length == index + 1
        seen += batch["index"][batch["index"] >= 0].tolist()
    assert sorted(seen) == list(range(10))
    assert batches[0]["labels"].dtype == np.int32
    again = LabelledSequences(texts, np.arange(10) % 3, 4, seed=1, vocab_size=7)
    jax.tree.map(assert_array_equal, batches[4], again[4])  # asked for by itself
    with pytest.raises(ShapeError, match="10 texts have 3 labels"):
        LabelledSequences(texts, [0, 1, 2], 4, vocab_size=7)
    with pytest.raises(VocabularyError, match="labels"):
        LabelledSequences(texts, [-1] * 10, 4, vocab_size=7)


def test_quantile_boundaries_hold_all_and_share_alike():
    lengths = np.array([0, 3, 3, 5, 8, 13, 21, 40, 40])
    found = quantile_boundaries(lengths, 3)
    assert found == (3, 13, 40)
    assert np.bincount(np.searchsorted(found, lengths)).tolist() == [3, 3, 3]
    assert quantile_boundaries([0, 0]) == (1,)


@pytest.mark.parametrize("name", ["lstm last, both ways", "cnn"])
def test_predictions_do_not_depend_on_the_other_texts(name):
    definition, params = net(**NETS[name])
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 7, n).tolist() for n in (3, 0, 17, 1, 8, 8, 2)]
    logp = predict(definition, params, texts, batch_size=2, boundaries=(8, 17))
    assert_allclose(np.exp(logp).sum(axis=1), 1, rtol=1e-5)
    whole = [text for text in texts if text]
    logits = naive_logits(ClassifierConfig.tiny(**NETS[name]), doubles(params), whole)
    assert_allclose(logp[[i for i, text in enumerate(texts) if text]], jax.nn.log_softmax(logits), atol=1e-5)
    assert_allclose(predict(definition, params, texts, boundaries=(20,)), logp, atol=1e-6)
    assert predict(definition, params, []).shape == (0, 3)
    with pytest.raises(VocabularyError, match=r"sequences\[1\]"):
        predict(definition, params, [[1], [7]])
    with pytest.raises(ShapeError, match="last boundary"):
        predict(definition, params, [[1] * 9], boundaries=(8,))


# ---- learning ----


def order_task(n, rng):
    """Texts of 3 to 12 words, among them one 1 and one 2: the label is which comes first. Word counts alone tell nothing."""
    texts, labels = [], []
    for _ in range(n):
        text = rng.integers(3, 7, rng.integers(3, 13))
        first, second = sorted(rng.choice(len(text), 2, replace=False))
        label = int(rng.integers(2))
        text[[first, second]] = (1, 2) if label else (2, 1)
        texts.append(text)
        labels.append(label)
    return texts, labels


def trigger_task(n, rng):
    """The label is whether the word 1 stands directly before the word 2; both stand in every text."""
    texts, labels = [], []
    for _ in range(n):
        text, label = list(rng.integers(3, 7, rng.integers(3, 11))), int(rng.integers(2))
        at = rng.integers(len(text))
        text[at:at] = (1, 2) if label else (2, 1)
        texts.append(text)
        labels.append(label)
    return texts, labels


@pytest.mark.parametrize(
    ("fields", "task"),
    [
        ({"cell": LSTM}, order_task),
        ({"cell": GRU, "bidirectional": True, "pooling": "mean"}, order_task),
        ({"encoder": "cnn", "filters": 8, "widths": (2, 3), "dropout": 0.1}, trigger_task),
    ],
    ids=["lstm", "gru", "cnn"],
)
def test_learns_what_counting_words_cannot(fields, task):
    rng = np.random.default_rng(0)
    if fields.get("encoder") != "cnn":
        fields = fields | {"hidden": (16,)}
    model = TextNet(ClassifierConfig.tiny(classes=2, d_embed=8, **fields), rngs=nnx.Rngs(0))
    definition, params = split(model)
    batches = LabelledSequences(*task(512, rng), 32, boundaries=(12,), vocab_size=7)
    steps = 12 * len(batches)
    optimizer = make_optimizer(OptimConfig(learning_rate=1e-2, clip=1.0), steps)
    run = fit(
        make_train_step(label_loss(definition), optimizer),
        init_train_state(params, optimizer),
        batches,
        key=jax.random.key(0),
        steps=steps,
        steps_per_call=len(batches),
    )
    history, state = [], None
    for state, metrics in run:  # noqa: B007
        history.append(metrics)
    losses = fetch(history)["loss"]
    assert losses[0] > 0.6
    texts, labels = task(200, np.random.default_rng(1))
    assert (predict(definition, state["params"], texts, boundaries=(12,)).argmax(axis=1) == labels).mean() > 0.95


def test_a_step_with_an_unknown_word_or_label_is_skipped():
    definition, params = net()
    optimizer = make_optimizer(OptimConfig(), 10)
    step = jax.jit(make_train_step(label_loss(definition), optimizer))
    sound = next(iter(LabelledSequences(TEXTS, [0, 1, 2], 3, boundaries=(5,), vocab_size=7)))
    for name, value in (("tokens", 7), ("tokens", -1), ("labels", 3), ("labels", -1)):
        batch = jax.tree.map(np.copy, sound)
        batch[name][0, ...] = value
        state, _ = step(init_train_state(params, optimizer), batch, jax.random.key(0))
        assert int(state["skipped"]) == 1
        jax.tree.map(assert_array_equal, state["params"], params)
    state, _ = step(init_train_state(params, optimizer), sound, jax.random.key(0))
    assert int(state["skipped"]) == 0


@pytest.mark.parametrize("fields", [{"cell": LSTM, "bidirectional": True}, {"encoder": "cnn", "dropout": 0.5}], ids=["lstm", "cnn"])
def test_training_lowers_for_three_platforms(fields):
    definition, params = net(**fields)
    tokens, lengths = padded(TEXTS, 5, np.random.default_rng(0))
    batch = {"tokens": tokens, "lengths": lengths, "labels": np.zeros(3, np.int32), "index": np.arange(3)}
    gradient = jax.jit(jax.grad(lambda params, key: label_loss(definition)(params, None, batch, key)[0]))
    text = jax.export.export(gradient, platforms=("cpu", "cuda", "tpu"))(params, jax.random.key(0)).mlir_module()
    assert "f64" not in text
    assert "callback" not in text


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 5, "classes": 0}, "classes"),
        ({"vocab_size": 5, "hidden": ()}, "hidden"),
        ({"vocab_size": 5, "hidden": (4, 0)}, r"hidden\[1\]"),
        ({"vocab_size": 5, "widths": (0,), "encoder": "cnn"}, r"widths\[0\]"),
        ({"vocab_size": 5, "dropout": 1.0}, "dropout"),
        ({"vocab_size": 5, "dense": -1}, "dense"),
        ({"vocab_size": 5, "pooling": "min"}, "pooling"),
        ({"vocab_size": 5, "encoder": "bag"}, "encoder"),
        ({"vocab_size": 5, "encoder": "cnn", "pooling": "mean"}, "pooling is an option of encoder='recurrent'"),
        ({"vocab_size": 5, "filters": 3}, "filters is an option of encoder='cnn'"),
    ],
)
def test_config_refuses_what_makes_no_net(fields, what):
    with pytest.raises(ConfigError, match=what):
        from_dict(ClassifierConfig, fields)


def test_config_survives_json():
    config = ClassifierConfig.lstm_64_32(cell=Cell("gru", update="chung"), dropout=0.1)
    assert from_dict(ClassifierConfig, to_dict(config)) == config
